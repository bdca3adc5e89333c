# SPDX-License-Identifier: GPL-2.0
"""Which clients a generator speaks for."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Flows:
    """Clients: `addresses` from number `first` on, each with `ports` from FIRST_PORT on. Random: each packet is
    of any of them. Else they come in turn."""

    addresses: int
    ports: int
    random: bool = False
    first: int = 0

    FIRST_PORT = 1024

    @property
    def count(self):
        return self.addresses * self.ports

    def in_turn(self):
        return replace(self, random=False)

    def block(self, number):
        """As many other clients."""
        return replace(self, first=self.first + number * self.addresses)


KINDS = {
    "steady": Flows(64, 64, random=True),
    "large": Flows(977, 1024, random=True),
    "new": Flows(977, 1024),
}
