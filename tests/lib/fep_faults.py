"""Deliberate faults of the self-test build, and the lines by which the kernel's detectors report them."""

import contextlib
import glob
import os
import re
import signal
import socket
import time

from fep_selftest import log
from fep_test import Failure, case, check, run, skip, wait_for

# Where each detector can be seen to be there: a symbol of the kernel's, or a file.
DETECTORS = {
    "KASAN": "kasan_report",
    "slab debugging": "/sys/kernel/slab/kmalloc-256/red_zone",
    "lockdep": "/proc/lockdep",
    "PROVE_RCU": "lockdep_rcu_suspicious",
    "DEBUG_ATOMIC_SLEEP": "__might_sleep",
    "DEBUG_OBJECTS": "debug_check_no_obj_freed",
    "UBSAN": "__ubsan_handle_shift_out_of_bounds",
    "kmemleak": "/sys/kernel/debug/kmemleak",
    "KCSAN": "kcsan_setup_watchpoint",
    "refcount": "refcount_warn_saturate",
    "list checks": "__list_del_entry_valid_or_report",
    "slab": "kmem_cache_destroy",
}

# Fault, and which detector must report it, by what line, or lines. Of several that may, the first that is there.
# Lockdep ends with its first report, and with KASAN's: its own faults come first.
FAULTS = {
    "suspicious_rcu": [("PROVE_RCU", r"WARNING: suspicious RCU usage")],
    "sleep": [("DEBUG_ATOMIC_SLEEP", r"BUG: sleeping function called from invalid context")],
    "lock_inversion": [("lockdep", r"possible circular locking dependency detected")],
    "softirq_lock": [("lockdep", r"WARNING: inconsistent lock state")],
    "shift": [("UBSAN", r"UBSAN: shift-out-of-bounds in .*selftest_fault")],
    "leak": [("kmemleak", r"kmemleak: \d+ new suspected memory leaks")],
    "object": [("DEBUG_OBJECTS", r"ODEBUG: free active .*timer_list")],
    "reference": [("refcount", r"refcount_t: underflow; use-after-free")],
    "cache": [("slab", r"fep_fault.*: (Slab cache still has objects|Objects remaining)|BUG fep_fault .*Objects remaining")],
    "use_after_free": [("KASAN", r"KASAN: slab-use-after-free in fep_helper_fault"),
                       ("slab debugging", r"\[Poison overwritten\](?s:.*)Freed in fep_helper_fault_use_after_free")],
    "use_after_free_rust": [("KASAN", r"KASAN: slab-use-after-free in .*use_after_free"),
                            ("slab debugging", r"\[Poison overwritten\](?s:.*)Allocated in _R\w*use_after_free")],
    "out_of_bounds": [("KASAN", r"KASAN: slab-out-of-bounds in fep_helper_fault"),
                      ("slab debugging", r"Redzone overwritten\](?s:.*)Allocated in fep_fault_memory")],
    "list": [("list checks", r"list_del corruption")],
    "race": [("KCSAN", r"BUG: KCSAN: data-race in fep_helper_fault_race")],
}


def available():
    """The detectors that this kernel has."""
    with contextlib.suppress(Failure):
        run("mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug")
    with open("/proc/kallsyms", encoding="ascii", errors="replace") as file:
        symbols = {line.split()[2] for line in file}
    found = set()
    for name, where in DETECTORS.items():
        if where in symbols or (where.startswith("/") and os.path.exists(where)):
            found.add(name)
    if not slab_debugging():
        found.discard("slab debugging")
    return found


def slab_debugging():
    with contextlib.suppress(OSError), open(DETECTORS["slab debugging"], encoding="ascii") as file:
        return file.read().strip() == "1"
    return False


def commit(test, fault, hook):
    """Commits it, in a process of its own: some faults end with that."""
    if hook is not None:
        hook(fault)
        return
    children = []
    for _ in range(2 if fault == "race" else 1):
        child = os.fork()
        if not child:
            signal.alarm(120)
            with contextlib.suppress(Failure):
                test(fault)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def look(detector):
    """Has those look that do so only when they are asked."""
    if detector == "slab debugging":
        for path in glob.glob("/sys/kernel/slab/kmalloc*/validate"):
            with contextlib.suppress(OSError), open(path, "w", encoding="ascii") as file:
                file.write("1")
    if detector == "kmemleak":
        # It reports what is older than five seconds.
        time.sleep(1)
        with open("/sys/kernel/debug/kmemleak", "w", encoding="ascii") as file:
            file.write("scan")


def caught(test, fault, detectors, hook=None):
    """One fault, and the line that must be in the log after it, by the name of its detector."""
    wanted = next(((name, line) for name, line in FAULTS[fault] if name in detectors), None)
    name = f"{fault} is caught by {wanted[0] if wanted else FAULTS[fault][0][0]}"
    if not wanted:
        # A kernel with KASAN is the debug kernel: it must have all but what goes with KCSAN.
        if "KASAN" in detectors and fault != "race":
            with case(name):
                check(False, "the debug kernel lacks it")
        else:
            skip(name, "this kernel does not have it")
        return
    detector, line = wanted
    with case(name):
        run("dmesg", "--clear")
        commit(test, fault, hook)

        def reported():
            look(detector)
            return re.search(line, "\n".join(log()))

        wait_for(reported, f"a line like {line!r} in the log", 120)


def in_hook(test, peer):
    """Faults of the hook: on the arrival of a packet."""
    modes = {"sleep": 3, "softirq_lock": 4}

    def commit_there(fault):
        test("hook_mode", modes[fault])
        if fault == "softirq_lock":
            test(fault)
        peer.sockets[socket.AF_INET].sendto(b"x", ("10.9.0.1", 9))
        wait_for(lambda: test("hook_packets") >= 1, "a packet in the hook", 120)
        test("hook_mode", 0)

    return commit_there
