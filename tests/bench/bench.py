# SPDX-License-Identifier: GPL-2.0
"""The part of the benchmark that runs on the host: boots the guest, keeps its results. See scripts/bench --help."""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile

from rows import ROWS

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
FULL, QUICK = 100_000, 20_000


def _output(*command):
    done = subprocess.run(command, capture_output=True, text=True, cwd=TREE, check=False)
    return done.stdout.strip()


def versions(kernel):
    """What the results are of."""
    parts = dict(line.split("=", 1) for line in _output("scripts/cached", kernel or "").splitlines())
    commit = _output("git", "-c", f"safe.directory={TREE}", "describe", "--always", "--dirty")
    return {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"),
            "kernel": parts["release"],
            "qemu": _output("qemu-system-x86_64", "--version").partition("version ")[2].split()[0],
            "fep": f"{_output('build/bin/fepctl', '--version').split()[-1]} ({commit})"}


def with_module(kernel):
    """Options of qemu/run for the benchmarks' module, which is built."""
    module = subprocess.run([f"{TREE}/scripts/bench-module", "--kernel", kernel or ""], stdout=subprocess.PIPE, text=True,
                            check=True).stdout.strip()
    return ["--with", f"{module}:/usr/lib/fep/fep_bench.ko"]


def in_guest(script, *arguments, kernel=None, mem="3G", timeout=10_800, options=(), icount=True):
    """Runs a script of this folder in a guest, which counts instructions unless told otherwise. Its status, and what
    it wrote down."""
    with tempfile.NamedTemporaryFile(mode="r", suffix=".json") as out:
        command = [f"{TREE}/qemu/run", *(["--icount"] if icount else []), "--mem", mem, "--timeout", str(timeout), "--with", f"{TREE}/tests/lib",
                   "--with", HERE, *with_module(kernel), "--out", f"/tmp/results.json:{out.name}",
                   *(["--kernel", kernel] if kernel else []),
                   *options, f"{HERE}/{script}", "--out", "/tmp/results.json", *map(str, arguments)]
        status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
        text = out.read()
    return status, json.loads(text) if text else []


def _kept(path, rows):
    """The rows that a file has, with these in the place of theirs, in the order of ROWS."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            old = json.load(file)["rows"]
        rows = list({row["name"]: row for row in [*old, *rows]}.values())
    order = [row.name for row in ROWS]
    return sorted(rows, key=lambda row: order.index(row["name"]))


def _arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Counts the instructions that a packet costs on each way through a front-end.")
    parser.add_argument("--rows", action="append", default=[], metavar="PATTERN",
                        help="only rows whose name begins so, and the drop lines they are compared with; repeatable")
    parser.add_argument("--list", action="store_true", help="names of the rows")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} packets in place of {FULL}")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N")
    parser.add_argument("--kernel", default=os.environ.get("KERNEL"), metavar="V")
    parser.add_argument("--json", metavar="FILE", help="where results are kept (build/bench.json; with --rows nowhere). Those of "
                             "--rows take the place of the same rows in it")
    return parser.parse_args()


def main():
    args = _arguments()
    if args.list:
        print("\n".join(row.name for row in ROWS))
        return 0
    status, rows = in_guest("in_guest.py", "--count", QUICK if args.quick else FULL, "--repetitions", args.repetitions,
                            *args.rows, kernel=args.kernel)
    path = args.json or (None if args.rows else f"{TREE}/build/bench.json")
    if path and rows:
        rows = _kept(path, rows) if args.rows else rows
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**versions(args.kernel), "rows": rows}, file, indent=1)
            file.write("\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
