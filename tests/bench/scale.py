# SPDX-License-Identifier: GPL-2.0
"""The part of bench-scale that runs on the host."""

import argparse
import json
import os
import sys

from bench import TREE, in_guest, versions


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/bench-scale", description="Counts the instructions of a packet with 4,096 to 8,388,608 routes, 1 to "
        "10,000 services and 1 to 4,096 nodes; then, by the clock, packets per second of two processors against one, fep "
        "and plain forwarding in turn. Results: build/bench-scale.json.")
    parser.add_argument("--only", choices=("counted", "processors"), help="one of the two parts")
    parser.add_argument("--turns", type=int, default=7, metavar="N", help="how often processors are compared (7)")
    parser.add_argument("--kernel", default=os.environ.get("KERNEL"), metavar="V")
    args = parser.parse_args()
    worst, results = 0, []
    if args.only != "processors":
        status, rows = in_guest("scale_in_guest.py", kernel=args.kernel, mem="6G", timeout=6000)
        worst, results = status, rows
    if args.only != "counted":
        status, rows = in_guest("scale_in_guest.py", "--processors", "--turns", args.turns, kernel=args.kernel, icount=False,
                                options=("--smp", "2"))
        worst, results = worst or status, results + rows
    if results:
        with open(f"{TREE}/build/bench-scale.json", "w", encoding="utf-8") as file:
            json.dump({**versions(args.kernel), "rows": results}, file, indent=1)
            file.write("\n")
    return worst


if __name__ == "__main__":
    sys.exit(main())
