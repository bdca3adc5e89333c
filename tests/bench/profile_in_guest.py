#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Runs one row for the profile, in two phases that differ in how many packets are sent."""

import argparse
import ctypes
import mmap
import os
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), folder) for folder in ("../lib", ".")]

from measure import Measurement  # noqa: E402
from rows import named  # noqa: E402


def begin(phase):
    """Tells profile.c which phase this is: nopl 0xfe900000 + phase(%rax); ret."""
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(bytes((0x0F, 0x1F, 0x80, phase, 0x00, 0x90, 0xFE, 0xC3)))
        at = ctypes.c_char.from_buffer(page)
        ctypes.CFUNCTYPE(None)(ctypes.addressof(at))()
        del at


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("row")
    args = parser.parse_args()
    measurement = Measurement(named(args.row))
    measurement.prepare()
    for phase in (1, 2):
        begin(phase)
        measurement.send(phase * args.count)
        begin(0)
    with open("/proc/kallsyms", encoding="ascii") as symbols, open(args.symbols, "w", encoding="ascii") as out:
        out.write(symbols.read())


main()
