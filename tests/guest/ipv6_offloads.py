#!/usr/bin/env python3
# qemu: --with tests/lib --mem 768M
"""Real stacks over IPv6 through fep with every mix of offloads: see tests/lib/fep_offloads.py."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_offloads import check_offloads  # noqa: E402
from fep_test import finish, load_module  # noqa: E402

load_module()
check_offloads(6)
finish()
