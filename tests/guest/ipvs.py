#!/usr/bin/env python3
# qemu: --with tests/lib
"""The same checks against IPVS and against fep, where both promise the same, over IPv4: see
tests/lib/fep_directors.py."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_directors import compare  # noqa: E402
from fep_test import finish  # noqa: E402

compare(4)
finish()
