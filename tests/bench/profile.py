# SPDX-License-Identifier: GPL-2.0
"""Says in which functions the instructions of a row are. See scripts/bench-profile --help.

QEMU's plugin (profile.c) counts every instruction of the kernel in two phases, which differ in how many packets are
sent: their difference, divided by that of the packets, is what a packet costs.
"""

import argparse
import bisect
import collections
import os
import re
import subprocess
import sys
import tempfile

from bench import with_module
from rows import named

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))


def plugin():
    """The compiled plugin."""
    source, out = f"{HERE}/profile.c", f"{TREE}/build/profile.so"
    if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(out), exist_ok=True)
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", out, source], check=True)
    return out


def functions(path):
    """Where each function begins, and their names. A module's has its module's name behind it."""
    found = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            address, kind, name, *module = line.split()
            # Of several names for one address, the first is the function's own.
            if kind in "tTwW":
                found.setdefault(int(address, 16), " ".join((name, *module)))
    starts = sorted(found)
    return starts, [found[start] for start in starts]


def profile(row, count, kernel):
    """Instructions per packet, by function and by place in it."""
    print(f"{row}: {count} packets, then {2 * count}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        symbols, out = f"{folder}/symbols", f"{folder}/counts"
        done = subprocess.run(
            [f"{TREE}/qemu/run", "--icount", "--mem", "3G", "--timeout", "570",
             "--with", f"{TREE}/tests/lib", "--with", HERE, *with_module(kernel), "--plugin", f"{plugin()},out={out}",
             "--out", f"/tmp/symbols:{symbols}", *(["--kernel", kernel] if kernel else []),
             f"{HERE}/profile_in_guest.py", "--symbols", "/tmp/symbols", "--count", str(count), row],
            stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            sys.exit(f"bench-profile: {row}: the guest ended with {done.returncode}")
        starts, names = functions(symbols)
        found = collections.Counter()
        with open(out, encoding="ascii") as file:
            for line in file:
                address, less, more = line.split()
                address = int(address, 16)
                place = bisect.bisect_right(starts, address) - 1
                found[names[place], address - starts[place]] += (int(more) - int(less)) / count
    return found


def by_function(places):
    sums = collections.Counter()
    for (name, _), each in places.items():
        sums[name] += each
    return sums


def readable(names):
    """Names as they are in the source, of functions in Rust too."""
    names = list(names)
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return dict(zip(names, re.sub(r"\[[0-9a-f]{16}\]", "", done.stdout).split("\n")))


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/bench-profile", description="Instructions per packet of a row (scripts/bench --list), by function.")
    parser.add_argument("row")
    parser.add_argument("--against", metavar="ROW", help="print the difference to another row")
    parser.add_argument("--function", metavar="NAME", help="the places in one function, in bytes from its beginning")
    parser.add_argument("--count", type=int, default=20_000, metavar="N", help="packets (20000)")
    parser.add_argument("--least", type=float, default=1.0, metavar="N", help="what is too little to be shown (1)")
    parser.add_argument("--kernel", default=os.environ.get("KERNEL"), metavar="V")
    args = parser.parse_args()
    for row in filter(None, (args.row, args.against)):
        if not named(row):
            parser.error(f"no row '{row}'")
    places = profile(args.row, args.count, args.kernel)
    if args.function:
        source = readable({name for name, _ in places})
        for (name, at), each in sorted(places.items()):
            if args.function in (name.split()[0], source[name].split(" [")[0]) and each >= 0.005:
                print(f"{each:10.2f}  {source[name]}+{at:#x}")
        return
    sums = by_function(places)
    if args.against:
        sums.subtract(by_function(profile(args.against, args.count, args.kernel)))
    print(f"{sum(sums.values()):10.1f}  all")
    source = readable(sums)
    for name, each in sums.most_common():
        if abs(each) >= args.least:
            print(f"{each:10.1f}  {source[name]}")


if __name__ == "__main__":
    main()
