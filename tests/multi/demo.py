#!/usr/bin/env python3
"""The demo as a test: each of its checks is one, and so are its times and its end."""

import json
import os
import signal
import subprocess
import sys
import time

from checks import TREE, Checks

FIRST_PACKET_MAX = 45  # seconds from the start, caches warm
TOTAL_MAX = 120


def interrupted(check):
    """Ctrl-C while the guests boot."""
    process = subprocess.Popen([f"{TREE}/tests/demo/run"], stdin=subprocess.DEVNULL, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    for line in process.stdout:
        if "Linux" in line:
            break
    time.sleep(2)
    mine = guests_of(process.pid)
    process.send_signal(signal.SIGINT)
    try:
        rest = process.communicate(timeout=20)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        rest = process.communicate()[0]
    left = [pid for pid in mine if os.path.exists(f"/proc/{pid}")]
    check("ctrl-C powers everything off", mine and not left and process.returncode == 130
          and "Traceback" not in rest,
          f"{len(mine)} processes, {len(left)} left, status {process.returncode} {rest[-300:]}")


def guests_of(parent):
    """The processes that `parent` has started: QEMUs and the switch."""
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == parent:
                    pids.append(int(pid))
        except OSError:
            pass
    return pids


def main():
    check = Checks()
    os.environ.pop("INTERACTIVE", None)
    interrupted(check)
    # The output has no line that begins like a test's: its own are indented.
    status = subprocess.run([f"{TREE}/tests/demo/run"], stdin=subprocess.DEVNULL, check=False).returncode
    try:
        with open(f"{TREE}/build/demo.json", encoding="utf-8") as file:
            report = json.load(file)
    except (OSError, ValueError) as error:
        check("demo writes its report", False, error)
        sys.exit(1)
    for one in report["checks"]:
        check(f"demo: {one['name']}", one["ok"], one["found"])
    check("demo: its status says the same", (status == 0) == report["ok"], f"status {status}")
    first, total = (report["seconds"].get(key, float("inf")) for key in ("first_balanced_packet", "total"))
    check("demo: first balanced packet in time", first <= FIRST_PACKET_MAX,
          f"{first} s of {FIRST_PACKET_MAX}")
    check("demo: done in time", total <= TOTAL_MAX, f"{total} s of {TOTAL_MAX}")
    sys.exit(1 if check.failed else 0)


if __name__ == "__main__":
    main()
