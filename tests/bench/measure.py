# SPDX-License-Identifier: GPL-2.0
"""Measures one row: sets its path up, establishes what it needs, checks that everything goes where it has to,
and counts instructions per packet."""

import statistics
from dataclasses import asdict

from fep_test import check, equal
from flows import KINDS
from lab import PORT, Lab, expect
from paths import PATHS, unload
from pktgen import Pktgen

NODES = 4
SPREAD = 0.005
# What a verification pass sends when there are very many flows.
VERIFIED = 8_000


class Measurement:
    """A row's path, set up, and what sends through it."""

    def __init__(self, row):
        self.row = row
        self.reply = row.direction == "reply"
        self.lab = Lab(row.family, 1 if self.reply else NODES)
        self.path = PATHS[row.path](self.lab, row.protocol)
        self.flows = KINDS[row.kind]
        self.fresh = row.kind == "new"
        self.background = []

    def generator(self, reply):
        fixed = (self.path.source if reply else self.path.target, PORT)
        return Pktgen(*self.lab.sender(reply), fixed, self.lab.net, reply=reply, shared=self.row.held)

    def once(self, reply, flows, count=None):
        """Sends once for each of the flows, or for the first `count` of them."""
        generator = self.generator(reply)
        for part in flows.each():
            generator.send(part, count or part.count)

    def verified(self, reply, flows):
        """The same, and every node must get its share: by its own count, and by the path's."""
        matches = self.path.matches(reply)
        if matches is None:
            return
        some = VERIFIED if flows.count > VERIFIED else None
        shares = [(some or flows.count) // len(matches)] * len(matches)
        counted = self.path.counts and not reply
        before = self.path.packets() if counted else shares
        expect(*self.lab.sink(reply), matches, shares, lambda: self.once(reply, flows, some))
        if counted:
            equal([now - was for now, was in zip(self.path.packets(), before)], shares,
                  "packets to each node by the path's own count")

    def send(self, count):
        """Sends so many packets, and no more."""
        if self.fresh:
            self.flows = self.flows.block(1)
        return self.generator(self.reply).send(self.flows, count)

    def timed(self, count):
        """Instructions per packet of one run, in which every packet must arrive."""
        before = self.path.arrived(self.reply)
        counted = sum(self.path.packets()) if self.path.counts and not self.reply else None
        sent = self.send(count)
        arrived = self.path.arrived(self.reply) - before
        equal(arrived, count, "packets that arrived")
        if counted is not None:
            equal(sum(self.path.packets()) - counted, count, "packets by the path's own count")
        self.background.append(1 - sent.instructions / sent.nanoseconds)
        return sent.instructions / count

    def prepare(self):
        """Makes all flows known, in both directions where that matters, and checks where they go."""
        if self.fresh:
            self.verified(False, self.flows)
            return
        if self.row.path != "drop":
            self.once(False, self.flows)
            if self.reply:
                self.once(True, self.flows)
            self.verified(self.reply, self.flows)
        self.timed(1000)
        self.background.clear()

    def run(self, count, repetitions=1):
        """The costs of a packet in each of the repetitions."""
        self.prepare()
        return [self.timed(count) for _ in range(repetitions)]

    def close(self):
        self.path.tear_down()
        self.lab.delete()
        unload(*self.path.modules)


def measured(row, count, repetitions):
    """The row's results. Raises Unavailable when its path is not here, Failure when something is wrong."""
    values, background = [], []
    fresh = row.kind == "new"
    for _ in range(repetitions if fresh else 1):  # a table is fresh only once
        measurement = Measurement(row)
        try:
            measurement.path.set_up()
            values += measurement.run(count, 1 if fresh else repetitions)
        finally:
            measurement.close()
        background += measurement.background
    median = statistics.median(values)
    spread = (max(values) - min(values)) / median
    check(spread <= SPREAD, f"spread of {spread:.2%} in {[round(v, 1) for v in values]}")
    total = count * len(values)
    return dict(asdict(row), flows=KINDS[row.kind].count, insn_per_packet=round(median, 1), spread=round(spread, 5),
                background=round(statistics.mean(background), 5), sent=total, delivered=total,
                values=[round(v, 1) for v in values])
