# SPDX-License-Identifier: GPL-2.0
"""All rows, in the order in which they are measured."""

import fnmatch
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Row:
    """What is measured. `kind`: steady, large or new (flows.KINDS). `held`: somebody else looks at each packet
    too, as a tap does."""

    path: str
    family: int
    protocol: str
    direction: str
    kind: str
    held: bool = False

    @property
    def name(self):
        return (f"{self.path} {self.protocol}{self.family} {self.direction} {self.kind}"
                + (" held" if self.held else ""))

    @property
    def ground(self):
        """The drop line to compare with."""
        return replace(self, path="drop")


def _rows():
    for direction, kind in (("request", "steady"), ("reply", "steady"), ("request", "new")):
        yield Row("drop", 4, "udp", direction, kind)
        for path in ("forwarding", "fep-nat", "ipvs-nat"):
            yield Row(path, 4, "udp", direction, kind)


ROWS = list(_rows())


def chosen(patterns):
    """Rows that begin with a pattern, each after the drop line that it is compared with."""
    wanted = []
    for row in ROWS:
        if not patterns or any(fnmatch.fnmatch(row.name, f"{pattern}*") for pattern in patterns):
            wanted += [row.ground, row]
    return list(dict.fromkeys(wanted))


def named(name):
    """The row of that name, or None."""
    return next((row for row in ROWS if row.name == name), None)
