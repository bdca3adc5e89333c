#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Generates the bindings delta: bindgen.sh OBJTREE HEADER OUTPUT
#
# The C flags are those that the kernel's own bindings were generated with, as
# kbuild recorded them; so the layout of every type agrees with kernel::bindings.
set -eu

objtree=$1 header=$2 output=$3
header_dir=$(cd "$(dirname "$header")" && pwd)
header=$header_dir/$(basename "$header")
output=$(pwd)/$output
cmd=$objtree/rust/bindings/.bindings_generated.rs.cmd

if [ ! -r "$cmd" ]; then
	echo "fep: $objtree has no Rust metadata (rust/bindings): it cannot build a Rust module" >&2
	exit 1
fi

flags=$(sed -n '1s/.* -- \(.*\) -DMODULE.*/\1/p' "$cmd" | sed 's/-Wp,-MMD,[^ ]*//')
structs='fep_helper_arrival|nf_hook_ops|nf_hook_state|nf_hook_ops_type|nf_hookfn'
functions='nf_(un)?register_net_hook|(un)?register_netdevice_notifier|__dev_get_by_name'
functions="$functions|rtnl_(un)?lock|dst_release|synchronize_net|dev_disable_lro"
functions="$functions|fep_helper_.*"
variables='FEP_CONST_.*'

# What some supported kernels' bindings have and others lack.
theirs=$objtree/rust/bindings/bindings_generated.rs
for item in struct:pernet_operations fn:register_pernet_subsys fn:unregister_pernet_subsys; do
	name=${item#*:}
	grep -q "pub ${item%:*} $name\b" "$theirs" && continue
	case $item in
	struct:*) structs="$structs|$name" ;;
	fn:*) functions="$functions|$name" ;;
	esac
done

cd "$objtree"
# shellcheck disable=SC2086 # The flags are a list of words; eval undoes kbuild's quoting.
eval bindgen "$header" \
	--rust-target 1.85 --use-core --with-derive-default --ctypes-prefix ffi \
	--no-layout-tests --no-debug "'.*'" --no-doc-comments --no-recursive-allowlist \
	--with-derive-custom-struct "'.*=MaybeZeroable'" \
	--allowlist-type "'($structs)'" --allowlist-function "'($functions)'" \
	--allowlist-var "'($variables)'" \
	--raw-line "'use kernel::{bindings::*, ffi}; use pin_init::MaybeZeroable;'" \
	-o "$output.tmp" -- $flags -DMODULE ${FEP_SELFTEST:+-DFEP_SELFTEST} -w
sed -i 's/pub const FEP_CONST_/pub const /; s/pub static FEP_CONST_/pub static /' "$output.tmp"
mv "$output.tmp" "$output"
