# SPDX-License-Identifier: GPL-2.0
"""The part of bench-memory that runs on the host."""

import argparse
import json
import os
import sys

from bench import TREE, in_guest, versions


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/bench-memory", description="Measures the memory of each client's entry at 1,000,448 clients, by "
        "the kernel's accounts before and after: all that is not free any more, and the slab cache that has grown most. "
        "Results: build/bench-memory.json.")
    parser.add_argument("--addresses", type=int, default=977, metavar="N", help="so many times 1,024 clients (977)")
    parser.add_argument("--kernel", default=os.environ.get("KERNEL"), metavar="V")
    args = parser.parse_args()
    status, rows = in_guest("memory_in_guest.py", "--addresses", args.addresses, kernel=args.kernel)
    if rows:
        with open(f"{TREE}/build/bench-memory.json", "w", encoding="utf-8") as file:
            json.dump({**versions(args.kernel), "rows": rows}, file, indent=1)
            file.write("\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
