# SPDX-License-Identifier: GPL-2.0
"""Which clients a generator speaks for, and how many packets it sends for them."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Flows:
    """Clients: `addresses` from number `first` on, each with `ports` from FIRST_PORT on. Random: each packet is
    of any of them. Else one after the other, address and port both advancing with every packet, so that their
    numbers must have no common divisor."""

    addresses: int
    ports: int
    random: bool = False
    first: int = 0

    FIRST_PORT = 1024

    @property
    def count(self):
        return self.addresses * self.ports

    def each(self):
        """The same clients as ranges that can be gone through one after the other."""
        if not self.random:
            return [self]
        return [replace(self, addresses=1, first=self.first + n, random=False) for n in range(self.addresses)]

    def block(self, number):
        """As many other clients."""
        return replace(self, first=self.first + number * self.addresses)


STEADY = Flows(64, 64, random=True)
LARGE = Flows(977, 1024)
KINDS = {"steady": STEADY, "large": LARGE, "new": LARGE}
