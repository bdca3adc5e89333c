#!/usr/bin/env python3
# qemu: --with tests/lib
"""Changes of routes, neighbours, devices and MTUs take effect at once over IPv6: see tests/lib/fep_effects.py."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_effects import check_effects  # noqa: E402
from fep_test import finish, load_module  # noqa: E402
from fep_wire import V6  # noqa: E402

load_module()
check_effects(V6)
finish()
