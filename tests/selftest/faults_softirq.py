#!/usr/bin/env python3
# qemu: --with tests/lib --smp 2 --append "slab_debug=FZPU kasan_multi_shot" --allow .
"""The fault that needs lockdep of its own: it ends with its first report."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_faults import available, caught, in_hook  # noqa: E402
from fep_selftest import Peer, Selftest, load  # noqa: E402
from fep_test import Namespace, finish, note  # noqa: E402

# In this order: see fep_faults.
FAULTS_HERE = ("softirq_lock",)


def main():
    detectors = available()
    note(f"detectors: {', '.join(sorted(detectors))}")
    load()
    here = Namespace("here", ipv6=True)
    with here:
        test = Selftest()
    peer = Peer(here, "peer")
    test("hook_attach")
    for fault in FAULTS_HERE:
        hook = in_hook(test, peer) if fault in ("sleep", "softirq_lock") else None
        caught(test, fault, detectors, hook)
    finish()


main()
