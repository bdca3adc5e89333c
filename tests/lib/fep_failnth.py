"""Failing the first allocation of an operation, then the second, and so on until none is left: by
/proc/thread-self/fail-nth, of kernels with fault injection (Documentation/fault-injection)."""

import contextlib
import os

from fep_test import Failure, run

_SWITCHES = {"failslab": {"ignore-gfp-wait": "N", "cache-filter": "N", "verbose": "0"},
             "fail_page_alloc": {"ignore-gfp-wait": "N", "ignore-gfp-highmem": "N", "min-order": "0", "verbose": "0"}}
# More allocations than any operation has.
MOST = 2000


def available():
    """Whether the kernel can; then it is made ready."""
    if not os.path.exists("/proc/thread-self/fail-nth"):
        return False
    with contextlib.suppress(Failure):
        run("mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug")
    for folder, switches in _SWITCHES.items():
        for name, value in switches.items():
            with open(f"/sys/kernel/debug/{folder}/{name}", "w", encoding="ascii") as file:
                file.write(value)
    return True


def walk(operation, after_failure):
    """Runs the operation with its first allocation failing, then its second, …, until none has failed.

    `operation` returns the errno it has ended with, 0 when it has been done; `after_failure(errno)` checks
    what has become of it. Returns how many allocations were failed, and how many of these it has stood."""
    with open("/proc/thread-self/fail-nth", "r+b", buffering=0) as switch:
        failed = stood = 0
        for number in range(1, MOST):
            switch.write(str(number).encode())
            got = operation()
            # What is left of the number is 0 when an allocation was failed.
            left = int(os.pread(switch.fileno(), 32, 0).strip(b"\0\n "))
            switch.write(b"0")
            if left:
                if got:
                    raise Failure(f"ended with errno {got} though no allocation was failed")
                return failed, stood
            failed += 1
            if got:
                after_failure(got)
            else:
                stood += 1
                return_to = getattr(operation, "undo", None)
                if return_to:
                    return_to()
    raise Failure(f"still not done after {MOST} allocations have failed")
