# SPDX-License-Identifier: GPL-2.0
"""The part of bench-tcp that runs on the host."""

import argparse
import json
import os
import sys

from bench import TREE, in_guest, versions

KINDS = ("bulk up", "bulk down", "keep-alive", "connection per request")


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/bench-tcp", description="Real TCP between namespaces of one guest, through fep, IPVS and plain "
        "forwarding in turn: iperf3 in both directions, wrk with nginx, with and without keep-alive. By the clock on two "
        "processors, or counted in instructions of the whole guest. Medians; ratios are medians of each turn's own. "
        "Results: build/bench-tcp.json, build/bench-tcp-counted.json.")
    parser.add_argument("--counted", action="store_true", help="instructions of one processor in place of time on two")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns that count (5)")
    parser.add_argument("--seconds", type=int, default=5, metavar="N", help="of each run of iperf3 or wrk (5); counted, "
                        "a second is 1,000,000,000 instructions")
    parser.add_argument("--only", action="append", choices=KINDS, default=[], help="only this traffic; repeatable")
    parser.add_argument("--kernel", default=os.environ.get("KERNEL"), metavar="V")
    args = parser.parse_args()
    status, rows = in_guest(
        "tcp_in_guest.py", "--rounds", args.rounds, "--seconds", args.seconds,
        *(["--counted"] if args.counted else []), *(word for kind in args.only for word in ("--only", kind)),
        kernel=args.kernel, icount=args.counted, timeout=7200, options=() if args.counted else ("--smp", "2"))
    if rows and not args.only:
        with open(f"{TREE}/build/bench-tcp{'-counted' if args.counted else ''}.json", "w", encoding="utf-8") as file:
            json.dump({**versions(args.kernel), "rows": rows}, file, indent=1)
            file.write("\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
