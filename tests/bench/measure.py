# SPDX-License-Identifier: GPL-2.0
"""Measures one row: sets its path up, makes known what it has to know, checks that everything goes where it has to,
and counts instructions per packet."""

import statistics
import time
from dataclasses import asdict

from directors import PATHS
from fep_test import check, equal
from flows import KINDS
from lab import PORT, Lab, expect
from paths import unload
from senders import Own, Pktgen

NODES = 4
SPREAD = 0.005
# Where every packet is a new flow a table grows in the background, not at the same packet each time.
GROWING = 0.02
# What a verification pass sends when there are very many flows.
VERIFIED = 8_000


class Measurement:
    """A row's path, set up, and what sends through it."""

    def __init__(self, row, nodes=None):
        self.row = row
        self.reply = row.direction == "reply"
        self.fresh = row.kind == "new"
        self.flows = KINDS[row.kind]
        # A reply has to come from the node that the request went to; a connection has replies, too.
        single = self.reply or (row.protocol == "tcp" and not self.fresh)
        self.lab = Lab(row.family, nodes or (1 if single else NODES))
        self.path = PATHS[row.path](self.lab, row.protocol, self.reply)
        self.background = []

    def sender(self, reply, kind=Own):
        """What sends requests or replies."""
        fixed = (self.path.nodes[0] if reply else self.path.target, PORT)
        ends = (*self.lab.sender(reply), fixed, self.lab.net)
        if kind is Pktgen:
            return Pktgen(*ends, reply=reply, held=self.row.variant == "held")
        return Own(*ends, reply=reply, protocol=self.row.protocol, checksum=self.row.checksum, opening=self.fresh)

    def verified(self, reply, flows):
        """Sends once for each flow, and every node must get its share: by its own count, and by the path's."""
        matches = self.path.replies() if reply else self.path.requests()
        if matches is None:
            return
        # As many for each node: shares are exact over whole rounds.
        some = VERIFIED - VERIFIED % len(matches) if flows.count > VERIFIED else None
        shares = self.path.shares(some or flows.count, len(matches))
        counted = self.path.counts and not reply
        before = self.path.packets() if counted else shares
        expect(*self.lab.sink(reply), matches, shares, lambda: self.sender(reply).once(flows, some))
        if counted:
            equal([now - was for now, was in zip(self.path.packets(), before)], shares,
                  "packets to each node by the path's own count")

    def send(self, count):
        """Sends so many packets, and no more."""
        if self.fresh:
            self.flows = self.flows.block(1)
        return self.sender(self.reply, Pktgen if self.row.pktgen else Own).send(self.flows, count)

    def timed(self, count):
        """Instructions per packet of one run, in which every packet must arrive."""
        before = self.path.arrived()
        counted = sum(self.path.packets()) if self.path.counts and not self.reply else None
        sent = self.send(count)
        equal(self.path.arrived() - before, count, "packets that arrived")
        if counted is not None:
            equal(sum(self.path.packets()) - counted, count, "packets by the path's own count")
        self.background.append(1 - sent.instructions / sent.nanoseconds)
        return sent.instructions / count

    def connect(self):
        """Makes all flows known, in both directions where that matters."""
        request = self.sender(False)
        if self.row.protocol == "tcp":
            request.once(self.flows, segment=request.opening())
            answer = self.sender(True)
            answer.once(self.flows, segment=answer.opening())
            request.once(self.flows, segment=request.acknowledgement())
        else:
            request.once(self.flows)
        if self.path.second:
            request.once(self.flows)
        if self.reply:
            self.sender(True).once(self.flows)

    def prepare(self):
        """Does what has to be before the first packet that counts, and checks where packets go."""
        self.path.set_up()
        # IPv6 has to report its groups, tables that have grown are rebuilt in the background; a guest does not wait
        # for real when it has nothing else to do.
        time.sleep(30)
        if self.fresh:
            self.verified(False, self.flows)
            return
        if self.path.requests():
            self.connect()
            time.sleep(30)
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


def measured(row, count, repetitions, allowed=SPREAD):
    """The row's results. Raises Unavailable when its path is not here, Failure when something is wrong, or
    repetitions differ by more than is allowed."""
    values, background = [], []
    fresh = row.kind == "new"
    if fresh:
        allowed = max(allowed, GROWING)
    for _ in range(repetitions if fresh else 1):  # a table is fresh only once
        measurement = Measurement(row)
        try:
            values += measurement.run(count, 1 if fresh else repetitions)
        finally:
            measurement.close()
        background += measurement.background
    median = statistics.median(values)
    spread = (max(values) - min(values)) / median
    check(spread <= allowed, f"spread of {spread:.2%} in {[round(v, 1) for v in values]}")
    total = count * len(values)
    return dict(asdict(row), flows=KINDS[row.kind].count, insn_per_packet=round(median, 1), spread=round(spread, 5),
                background=round(statistics.mean(background), 5), sent=total, delivered=total,
                values=[round(v, 1) for v in values])
