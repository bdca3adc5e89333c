# SPDX-License-Identifier: GPL-2.0
"""Compares what packets cost in fep with the committed baseline. See scripts/bench-check --help."""

import argparse
import json
import os
import sys

from bench import FULL, HERE, QUICK, in_guest, versions
from rows import ROWS

BASELINE = f"{HERE}/baseline.json"
# Of the whole cost of a packet, generator and devices included: instructions are counted, so this is no noise.
ALLOWED = 0.01
# Repetitions may differ by so much here: the least of them is compared, which nothing that disturbs makes smaller.
SPREAD = 0.1
SHORT = ("fep-nat udp4 request steady", "fep-nat udp4 reply steady", "fep-nat udp4 request new",
         "fep-dr udp4 request steady", "fep-nat udp6 request steady", "fep-nat tcp4 request steady")
FEP = tuple(row.name for row in ROWS if row.path.startswith("fep-"))


def costs(rows):
    """By name: the least instructions of a packet, and how many of them are above the drop line's."""
    least = {row["name"]: min(row["values"]) for row in rows if "values" in row}
    grounds = {row.name: row.ground.name for row in ROWS}
    return {name: {"insn_per_packet": value, "above_drop": round(value - least[grounds[name]], 1)}
            for name, value in least.items() if name in FEP}


def compare(was, now):
    """Whether a row has become no slower, and a line that says so."""
    more = now["above_drop"] - was["above_drop"]
    share = more / was["insn_per_packet"]
    said = f"{now['above_drop']:.0f} instructions above the drop line, {was['above_drop']:.0f} in the baseline ({share:+.2%})"
    if share < -ALLOWED:
        said += "; the baseline may be updated"
    return share <= ALLOWED, said


def _arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/bench-check", description="Fails when a packet costs over 1 % more instructions than in the "
                                                "baseline, tests/bench/baseline.json.")
    parser.add_argument("--short", action="store_true", help="a few rows, and fewer packets")
    parser.add_argument("--update", action="store_true", help="make what is measured the baseline")
    parser.add_argument("--kernel", default=os.environ.get("KERNEL"), metavar="V")
    return parser.parse_args()


def main():
    args = _arguments()
    with open(BASELINE, encoding="utf-8") as file:
        baseline = json.load(file)
    measured_on = versions(args.kernel)
    wanted = SHORT if args.short else FEP
    status, rows = in_guest("in_guest.py", "--count", QUICK if args.short else FULL, "--repetitions", 3,
                            "--spread", SPREAD, *wanted, kernel=args.kernel)
    found = costs(rows)
    if args.update:
        if status:
            return status
        kept = baseline["rows"] if baseline["kernel"] == measured_on["kernel"] else {}
        with open(BASELINE, "w", encoding="utf-8") as file:
            json.dump({"kernel": measured_on["kernel"], "date": measured_on["date"],
                       "rows": dict(sorted({**kept, **found}.items()))}, file, indent=1)
            file.write("\n")
        return 0
    failed = status
    for name in wanted:
        if name not in found:
            said = next((row for row in rows if row["name"] == name), {})
            if "skip" in said:
                print(f"skip {name}: {said['skip']}")
                continue
            print(f"not ok {name}: not measured: {said.get('failed', 'the guest ended before')}")
            failed = 1
        elif baseline["kernel"] != measured_on["kernel"]:
            print(f"skip {name}: the baseline is of {baseline['kernel']}, this is {measured_on['kernel']}: "
                  "scripts/bench-check --update on the commit before yours makes one")
        elif name not in baseline["rows"]:
            print(f"not ok {name}: not in the baseline: scripts/bench-check --update adds it")
            failed = 1
        else:
            good, said = compare(baseline["rows"][name], found[name])
            print(f"ok {name}: {said}" if good else f"not ok {name}: {said}, 1 % is allowed")
            failed = failed or not good
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
