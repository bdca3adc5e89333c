#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A packet costs no more instructions than in the committed baseline: the short form of `make bench-check`."""

import os
import sys

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.execv(f"{TREE}/scripts/bench-check", ["bench-check", "--short", *sys.argv[1:]])
