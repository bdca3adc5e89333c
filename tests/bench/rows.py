# SPDX-License-Identifier: GPL-2.0
"""All rows, in the order in which they are measured."""

import fnmatch
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Row:
    """What is measured. `kind`: steady, large or new (flows.KINDS). `variant`: "held", somebody else looks at each
    packet too, as a tap does; "own", the benchmarks' own generator in pktgen's place; "checksummed", the same with
    checksums in the packets, as TCP and UDP over IPv6 always have."""

    path: str
    family: int
    protocol: str
    direction: str
    kind: str
    variant: str = ""

    @property
    def name(self):
        return f"{self.path} {self.protocol}{self.family} {self.direction} {self.kind} {self.variant}".strip()

    @property
    def ground(self):
        """The drop line to compare with."""
        return replace(self, path="drop")

    @property
    def pktgen(self):
        """The kernel's generator is the one that is measured with."""
        return self.protocol == "udp" and self.family == 4 and self.variant in ("", "held")

    @property
    def checksum(self):
        """The benchmarks' generator writes checksums."""
        return not self.pktgen and self.variant != "own"


BOTTOM = ("drop", "drop-c", "redirect-c", "floor")
NAT = ("nft-flowtable", "nft-dnat", "ipvs-nat", "fep-nat")
ONE_WAY = ("ipvs-dr", "ipvs-tunnel", "fep-dr", "fep-tunnel")
SHORT = ("drop", "forwarding", "ipvs-nat", "fep-nat")

GROUPS = (
    (4, "udp", "request", "steady", "", (*BOTTOM, "forwarding", *NAT, *ONE_WAY)),
    (4, "udp", "reply", "steady", "", (*BOTTOM, "forwarding", *NAT)),
    (4, "udp", "request", "new", "", ("drop", *NAT, "fep-nat-steer", "fep-nat-optimal", *ONE_WAY)),
    (4, "udp", "request", "large", "", ("drop", "floor", "forwarding", *NAT, "ipvs-dr", "fep-dr")),
    (4, "udp", "request", "steady", "held", ("floor", *SHORT)),
    (4, "udp", "request", "steady", "own", SHORT),
    (4, "udp", "request", "steady", "checksummed", (*SHORT, "floor", "nft-dnat", "nft-flowtable")),
    (4, "udp", "request", "new", "checksummed", ("drop", "nft-dnat", "ipvs-nat", "fep-nat")),
    (4, "tcp", "request", "steady", "", (*BOTTOM, "forwarding", *NAT, *ONE_WAY)),
    (4, "tcp", "reply", "steady", "", ("drop", "floor", "forwarding", *NAT)),
    (4, "tcp", "request", "new", "", ("drop", *NAT, *ONE_WAY)),
    (6, "udp", "request", "steady", "", (*BOTTOM, "forwarding", *NAT, *ONE_WAY)),
    (6, "udp", "reply", "steady", "", ("drop", "floor", "forwarding", *NAT)),
    (6, "udp", "request", "new", "", ("drop", *NAT, "ipvs-dr", "fep-dr")),
    (6, "udp", "request", "large", "", ("drop", "forwarding", "ipvs-nat", "fep-nat")),
    (6, "tcp", "request", "steady", "", ("drop", "floor", "forwarding", *NAT)),
    (6, "tcp", "reply", "steady", "", ("drop", "floor", "forwarding", *NAT)),
    (6, "tcp", "request", "new", "", ("drop", "ipvs-nat", "fep-nat")),
)

ROWS = [Row(path, family, protocol, direction, kind, variant)
        for family, protocol, direction, kind, variant, paths in GROUPS
        for path in dict.fromkeys(("drop", *paths))]


def chosen(patterns):
    """Rows that have a pattern for a name or begin with it, each after the drop line that it is compared with."""
    names = {row.name for row in ROWS}
    patterns = [pattern if pattern in names else f"{pattern}*" for pattern in patterns]
    wanted = []
    for row in ROWS:
        if not patterns or any(fnmatch.fnmatch(row.name, pattern) for pattern in patterns):
            wanted += [row.ground, row]
    return list(dict.fromkeys(wanted))


def named(name):
    """The row of that name, or None."""
    return next((row for row in ROWS if row.name == name), None)
