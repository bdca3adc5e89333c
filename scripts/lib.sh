# shellcheck shell=bash
# Shared by the scripts here: where things are, how to say what goes on,
# how to end with one clear line. Sourced, never run.

set -euo pipefail

FEP_TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
FEP_CACHE=${FEP_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/fep}
case $FEP_CACHE in /*) ;; *) FEP_CACHE=$PWD/$FEP_CACHE ;; esac
FEP_MIRROR=${FEP_MIRROR:-http://deb.debian.org/debian}
FEP_SUITE=trixie
# The cache as seen inside the toolchain root. Kernel build trees hold absolute
# paths, so they need one that depends neither on the user nor on FEP_CACHE.
FEP_STABLE=/fep-cache
export FEP_TREE FEP_CACHE FEP_MIRROR

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
note() { printf '%s\n' "$*" >&2; }

# Makes SUDO the prefix that runs a command as root.
need_root() {
	SUDO=()
	[ "$(id -u)" = 0 ] && return
	command -v sudo >/dev/null ||
		die "no root and no sudo: run as root, or install sudo for $(id -un)"
	sudo -n true 2>/dev/null || sudo -v ||
		die "no root and no sudo: sudo refused $(id -un)"
	SUDO=(sudo)
}

# need_space GIB DIR: ends unless the file system of DIR has that much free.
need_space() {
	local free
	mkdir -p "$2" 2>/dev/null || die "no space: cannot create $2"
	free=$(df -Pk "$2" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge $(($1 * 1048576)) ] ||
		die "no space: $1 GiB needed in $2, $((free / 1048576)) GiB free (FEP_CACHE= moves the cache)"
}

# A short key for the content of standard input; comments do not count.
content_key() { sed -e 's/[[:space:]]*#.*//' -e '/^$/d' | sha256sum | cut -c1-12; }

# package_list FILE: the names in it, comma separated.
package_list() { sed -e 's/[[:space:]]*#.*//' -e '/^$/d' "$1" | paste -sd,; }

# The cached entries: each name holds the key of what it was made from.
toolchain_recipe=1
toolchain_dir() {
	local key
	key=$({ cat "$FEP_TREE/scripts/toolchain.packages"; echo "$FEP_SUITE $toolchain_recipe"; } | content_key)
	echo "$FEP_CACHE/toolchain-$key"
}

guest_recipe=1
guest_image() {
	local key
	key=$({ cat "$FEP_TREE/scripts/guest.packages"; echo "$FEP_SUITE $guest_recipe"; } | content_key)
	echo "$FEP_CACHE/guest-$key.ext4"
}

guest_agent() {
	local key
	key=$({ cat "$FEP_TREE/qemu/agent.rs" "$FEP_TREE/qemu/switch.rs" | sha256sum; basename "$(toolchain_dir)"; } | content_key)
	echo "$FEP_CACHE/agent-$key"
}

# Holds the lock NAME of the cache until the process ends.
cache_lock() {
	mkdir -p "$FEP_CACHE" 2>/dev/null || die "no space: cannot create $FEP_CACHE"
	exec 9>"$FEP_CACHE/.lock-$1"
	flock -n 9 && return
	note "waiting for another set-up of $1"
	flock 9
}

# step NAME SECONDS WHAT CMD...: runs CMD with its output in a log, says what
# runs, how long it has run and how long it took last time (SECONDS until then).
step() {
	local name=$1 expect=$2 what=$3 log start pid rc=0 tick=0 now
	shift 3
	mkdir -p "$FEP_CACHE/log"
	log=$FEP_CACHE/log/$name.log
	[ -s "$FEP_CACHE/log/$name.seconds" ] && expect=$(cat "$FEP_CACHE/log/$name.seconds")
	printf '%s%s (about %s s)\n' "${FEP_STEP:+$FEP_STEP }" "$what" "$expect"
	start=$SECONDS
	("$@") >"$log" 2>&1 </dev/null &
	pid=$!
	# shellcheck disable=SC2064
	trap "kill -TERM $pid 2>/dev/null; wait $pid 2>/dev/null; exit 130" INT TERM
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.5
		tick=$((tick + 1))
		now=$((SECONDS - start))
		[ $((tick % 20)) = 0 ] && printf '      %s: %s of about %s s%s\n' \
			"$name" "$now" "$expect" "$(progress_of "$name")"
	done
	wait "$pid" || rc=$?
	trap - INT TERM
	if [ "$rc" != 0 ]; then
		step_failed "$name" "$log"
		exit 1
	fi
	echo $((SECONDS - start)) >"$FEP_CACHE/log/$name.seconds"
	printf '      %s: done in %s s\n' "$name" "$((SECONDS - start))"
}

# How far a step is, when it can be told: what is in FEP_WATCH of FEP_WATCH_MB.
progress_of() {
	if [ -z "${FEP_WATCH:-}" ] || [ ! -d "$FEP_WATCH" ]; then return; fi
	printf ', %s of %s MB here' "$(du -sm "$FEP_WATCH" 2>/dev/null | cut -f1)" "$FEP_WATCH_MB"
}

# One line that says what to do, from what the log says; then the log's end.
step_failed() {
	local name=$1 log=$2 why
	tail -n 15 "$log" | sed 's/^/      | /' >&2
	if why=$(grep -m1 '^fep: ' "$log"); then
		why=${why#fep: }
	elif grep -qiE 'No space left on device' "$log"; then
		why="no space: the disk of $FEP_CACHE is full (FEP_CACHE= moves the cache)"
	elif grep -qiE 'Temporary failure resolving|Could not resolve|Could not connect|Connection (refused|timed out|failed)|Failed to fetch|Unable to connect|Network is unreachable' "$log"; then
		why="archive unreachable: $FEP_MIRROR (FEP_MIRROR= names another, http_proxy= a proxy); run again to go on"
	else
		why="failed, see $log"
	fi
	printf '%s: %s: %s\n' "${0##*/}" "$name" "$why" >&2
}

# --- kernels ---------------------------------------------------------------

kernels_conf=$FEP_TREE/scripts/kernels.conf
kernel_recipe=2

# The versions of kernels.conf, in its order: what test-kernels runs on.
kernel_series() { awk '$1 ~ /^[0-9]/ { print $1 }' "$kernels_conf"; }

# kernel_pinned [KERNEL]: "SERIES VERSION FLAVOUR" of a series, a full version
# or, without one, the default.
kernel_pinned() {
	awk -v want="${1:-}" '
		$1 !~ /^[0-9]/ { next }
		flavour == "" { flavour = $3 }
		want == "" || want == $1 || want == $2 || want == $2 "-" $3 { print $1, $2, $3; found = 1; exit }
		END {
			if (found) exit
			if (want !~ /^[0-9]+\.[0-9]+\.[0-9]+\+deb[0-9]+(-[a-z0-9-]+)?$/) exit 1
			version = want; sub(/-.*/, "", version)
			if (want ~ /-/) { flavour = want; sub(/^[^-]*-/, "", flavour) }
			series = version; sub(/\.[^.]*$/, "", series); sub(/\.[0-9]+\+.*/, "", series)
			print series, version, flavour
		}' "$kernels_conf" ||
		die "KERNEL=$1: not one of $(kernel_series | paste -sd' ') and not a full version like 7.3.4+deb13"
}

# kernel_entry VERSION FLAVOUR: the name of its cache entry.
kernel_entry() {
	local key
	key=$(echo "$1 $2 $(basename "$(toolchain_dir)") $kernel_recipe" | content_key)
	echo "kernel-$1-$2-$key"
}

# kernel_dir [KERNEL]: the complete cache entry, or of the version that took a
# pinned one's place; empty when it has to be made.
kernel_dir() {
	local pinned series version flavour entry
	pinned=$(kernel_pinned "${1:-}") || exit 1
	read -r series version flavour <<<"$pinned"
	entry=$(kernel_entry "$version" "$flavour")
	if [ ! -e "$FEP_CACHE/$entry/.complete" ] && [ -s "$FEP_CACHE/instead-of-$version" ]; then
		version=$(cat "$FEP_CACHE/instead-of-$version")
		entry=$(kernel_entry "$version" "$flavour")
	fi
	[ ! -e "$FEP_CACHE/$entry/.complete" ] || echo "$FEP_CACHE/$entry"
}
