#!/usr/bin/env python3
# qemu: --with tests/lib --smp 2 --append "slab_debug=FZPU kasan_multi_shot" --allow .
"""Faults of the self-test build, and that each detector which this kernel has reports its own."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_faults import FAULTS, available, caught, in_hook  # noqa: E402
from fep_selftest import Peer, Selftest, load  # noqa: E402
from fep_test import Namespace, case, equal, finish, note  # noqa: E402

# In this order: see fep_faults.
FAULTS_HERE = ("suspicious_rcu", "sleep", "lock_inversion", "shift", "leak", "object", "reference", "cache",
               "use_after_free", "use_after_free_rust", "out_of_bounds", "race", "list")


def main():
    detectors = available()
    note(f"detectors: {', '.join(sorted(detectors))}")
    load()
    here = Namespace("here", ipv6=True)
    with here:
        test = Selftest()
    peer = Peer(here, "peer")
    test("hook_attach")
    with case("no fault is left out"):
        equal(sorted(FAULTS), sorted([*FAULTS_HERE, "softirq_lock"]), "faults with a detector")
        equal(sorted(FAULTS), sorted([*test.kinds["fault"], "sleep"]), "faults of the module")
    for fault in FAULTS_HERE:
        hook = in_hook(test, peer) if fault in ("sleep", "softirq_lock") else None
        caught(test, fault, detectors, hook)
    finish()


main()
