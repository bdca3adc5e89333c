#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The part of the benchmark that runs in the guest: measures rows and writes their results down."""

import argparse
import json
import os
import sys
import time
import traceback

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), folder) for folder in ("../lib", ".")]

from measure import SPREAD, measured  # noqa: E402
from paths import Unavailable  # noqa: E402
from rows import chosen  # noqa: E402


def result_of(row, args, ground):
    """The row's result, and how a person is told."""
    try:
        result = measured(row, args.count, args.repetitions, args.spread)
    except Unavailable as error:
        return {"skip": str(error)}, f"skip: {error}"
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc(file=sys.stdout)
        return {"failed": f"{type(error).__name__}: {error}"}, f"FAILED: {error}"
    if row == row.ground:
        ground[row] = result["insn_per_packet"]
    if row.ground in ground:
        result["above_drop"] = round(result["insn_per_packet"] - ground[row.ground], 1)
    return result, (f"{result['insn_per_packet']:8.0f} {result.get('above_drop', float('nan')):11.0f} "
                    f"{result['spread']:7.2%} {result['background']:11.2%}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--repetitions", type=int, required=True)
    parser.add_argument("--spread", type=float, default=SPREAD)
    parser.add_argument("rows", nargs="*")
    args = parser.parse_args()
    rows = chosen(args.rows)
    if not rows:
        sys.exit(f"no row matches {' '.join(args.rows)}")
    results, ground = [], {}
    width = max(len(row.name) for row in rows)
    print(f"{'instructions per packet':{width}} {'all':>8} {'above drop':>11} {'spread':>7} {'background':>11}", flush=True)
    for row in rows:
        start = time.monotonic()
        result, said = result_of(row, args, ground)
        print(f"{row.name:{width}} {said}", flush=True)
        results.append(dict(result, name=row.name, guest_seconds=round(time.monotonic() - start, 1)))
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump(results, file)
    sys.exit(1 if any("failed" in result for result in results) else 0)


main()
