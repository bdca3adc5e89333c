"""Runs the tests and counts them; see scripts/test.

  cargo          the workspace's unit, property and documentation tests
  tests/host/*   executables, on this host, in the toolchain root
  tests/guest/*  executables, each in a guest of its own; a line "# qemu: OPTIONS"
                 among the first 20 gives qemu/run options, "# timeout: SECONDS" its limit (600)
  tests/selftest/*  as those, with the self-test build of the module (build-module FEP_SELFTEST=1)
                 beside it; only when they are named
  tests/multi/*  executables that boot several guests with qemu/guest.py

An executable prints `ok NAME`, `not ok NAME: why` or `skip NAME: reason` for each
test and ends with a status other than 0 when one has failed. The log of each is
in build/log/.
"""

import argparse
import glob
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = f"{TREE}/build/log"
LINE = re.compile(r"(ok|not ok|skip)\b(?: \d+)?(?: -)? +(.*)")
CARGO = re.compile(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")
TIMEOUT = 600
HARNESS = {124: "timed out", 125: "harness failed", 126: "kernel reports trouble"}


class Totals:
    """What has been counted, and one line per file as it is done."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self._lock = threading.Lock()

    def add(self, name, seconds, passed, failed, skipped, shown, log):
        with self._lock:
            self.passed += passed
            self.failed += failed
            self.skipped += skipped
            counts = f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")
            print(f"{name}: {counts} ({seconds:.0f} s)", flush=True)
            for line in shown:
                print(f"    {line}", flush=True)
            if failed:
                print(f"    log: {os.path.relpath(log, TREE)}", flush=True)

    def last_line(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def say_what_runs():
    """Once a minute, for whoever watches."""
    while True:
        time.sleep(60)
        names = sorted(f"{name} ({time.monotonic() - start:.0f} s)" for name, start in RUNNING.values())
        if names:
            print(f"... running: {', '.join(names)}", flush=True)


def run(name, command, log, timeout):
    """The status and the output of a command, kept in `log` too; 124 when it had to be killed."""
    with open(log, "w+b") as file:
        process = subprocess.Popen(command, cwd=TREE, stdin=subprocess.DEVNULL, stdout=file,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        RUNNING[process] = (name, time.monotonic())
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            status = 124
        del RUNNING[process]
        file.seek(0)
        return status, file.read().decode("utf-8", "replace")


RUNNING = {}


def stop_all(number, _frame):
    for process in list(RUNNING):
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    os._exit(128 + number)


def cargo(totals):
    log = f"{LOGS}/cargo.log"
    start = time.monotonic()
    status, output = run("cargo test", ["cargo", "test", "--workspace", "--locked", "--manifest-path", "userspace/Cargo.toml",
                          "--target-dir", "build/cargo", "--no-fail-fast"], log, 1800)
    counts = [tuple(map(int, m)) for m in CARGO.findall(output)]
    passed, failed, ignored = (sum(c) for c in zip(*counts)) if counts else (0, 0, 0)
    shown = [m[5:] for m in re.findall(r"^test .* \.\.\. FAILED$", output, re.M)]
    if status and not failed:
        failed, shown = 1, ["cargo test: " + " ".join(re.findall(r"^error.*", output, re.M)[:3])]
    totals.add("cargo test", time.monotonic() - start, passed, failed, ignored, shown, log)


def header(path):
    """A test file's qemu/run options and its time limit in seconds."""
    with open(path, "rb") as file:
        head = file.read(4096).decode("utf-8", "replace").splitlines()[:20]
    options = [o for line in head if (m := re.match(r"\s*# qemu: (.*)", line)) for o in shlex.split(m[1])]
    limits = [int(m[1]) for line in head if (m := re.match(r"\s*# timeout: (\d+)", line))]
    return options, limits[0] if limits else TIMEOUT


def judge(status, output):
    """Counts from the lines a test file has printed, and the lines worth showing."""
    passed = failed = skipped = 0
    shown = []
    for line in output.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        if match[1] == "ok":
            passed += 1
            continue
        shown.append(line)
        if match[1] == "skip":
            skipped += 1
        else:
            failed += 1
    if status in HARNESS or (status and not failed):
        failed += 1
        shown += [f"not ok: {HARNESS.get(status, f'ended with status {status}')}; its output ends:"]
        shown += ["| " + line for line in output.splitlines()[-25:]]
    elif not passed and not failed and not skipped:
        failed += 1
        shown.append("not ok: it has reported no test")
    return passed, failed, skipped, shown


def one_file(totals, path, kernel, several):
    folder = os.path.basename(os.path.dirname(path))
    name = f"{folder}/{os.path.basename(path)}" + (f" [{kernel}]" if several else "")
    log = f"{LOGS}/{re.sub('[^A-Za-z0-9._-]+', '-', name).strip('-')}.log"
    command = [path]
    options, limit = header(path)
    if folder in ("guest", "selftest"):
        if folder == "selftest":
            options = options + [o for path in glob.glob(f"{TREE}/build/*.selftest/modroot") for o in ("--with", path)]
        command = [f"{TREE}/qemu/run", "--timeout", str(limit), "--log", log[:-4] + ".kernel",
                   "--env", f"FEP_TREE={TREE}", "--env", f"FEP_SEED={os.environ.get('FEP_SEED', '')}",
                   *(["--kernel", kernel] if kernel else []), *options, path]
    elif folder == "multi" and kernel:
        command = ["env", f"KERNEL={kernel}", path]
    start = time.monotonic()
    status, output = run(name, command, log, limit + 30)
    totals.add(name, time.monotonic() - start, *judge(status, output), log)


def files(folder):
    found = sorted(glob.glob(f"{TREE}/tests/{folder}/*"))
    return [f for f in found if os.path.isfile(f) and os.access(f, os.X_OK)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel", action="append", default=[])
    parser.add_argument("--guests-only", action="store_true")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or min(os.cpu_count(), 4)))
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_all)
    os.makedirs(LOGS, exist_ok=True)

    named = [os.path.abspath(f) for f in args.files]
    for path in named:
        if not (os.path.isfile(path) and os.access(path, os.X_OK)):
            print(f"{path}: not an executable test file", file=sys.stderr)
            print("0 passed, 1 failed")
            sys.exit(1)

    def chosen(folder):
        if named:
            return [f for f in named if os.path.basename(os.path.dirname(f)) == folder]
        return files(folder)

    threading.Thread(target=say_what_runs, daemon=True).start()
    totals = Totals()
    kernels = args.kernel or [""]
    if not args.guests_only:
        if not named:
            cargo(totals)
        for path in chosen("host"):
            one_file(totals, path, "", False)
    several = len(kernels) > 1
    # A file that boots several guests has the machine for itself.
    with ThreadPoolExecutor(args.jobs) as pool:
        for future in [pool.submit(one_file, totals, path, kernel, several)
                       for kernel in kernels for path in (chosen("selftest") if named else []) + chosen("guest")]:
            future.result()
    for kernel in kernels:
        for path in chosen("multi"):
            one_file(totals, path, kernel, several)

    print(totals.last_line(), flush=True)
    sys.exit(1 if totals.failed or not totals.passed else 0)


if __name__ == "__main__":
    main()
