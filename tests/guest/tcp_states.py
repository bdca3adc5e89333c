#!/usr/bin/env python3
# qemu: --with tests/lib
"""TCP connections from the filter's point of view: states, resets, ports that are used again."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_clients import NODE_OF_MAC, TCP, Clients, client_address, segment  # noqa: E402
from fep_packet import ACK, FIN, PSH, RST, SYN, Seen, ether  # noqa: E402
from fep_test import case, check, equal, finish, load_module  # noqa: E402
from fep_wire import IN_MAC, VIP, Wire, node, node_mac  # noqa: E402

CLIENTS = Clients()
FLAGS = {"S": SYN, "A": ACK, "F": FIN, "R": RST, "P": PSH, ".": 0}


class Connection:
    """A client's port, and the node that it got."""

    def __init__(self, wire):
        self.wire = wire
        self.number, = CLIENTS.numbers(1)
        self.address, self.port = client_address(self.number)
        self.there = 0

    def route(self):
        found = [route for route in self.wire.fep.routes() if route.client == (self.address, self.port)]
        check(len(found) <= 1, f"{len(found)} routes of one client")
        return found[0] if found else None

    def client(self, flags):
        """A segment of the client: the node that gets it, or None."""
        outcome = self.wire.exchange(segment(self.number, flags))
        check(len(outcome.nodes) <= 1, "one frame makes one frame")
        if outcome.nodes:
            self.there = NODE_OF_MAC[outcome.nodes[0][:6]]
        return self.there if outcome.nodes else None

    def node(self, flags, there=0):
        """A segment of the node: whether the client gets it, from the VIP."""
        there = there or self.there
        sent = packet.tcp(node(there), self.address, 80, self.port, flags, ack=1)
        outcome = self.wire.exchange(ether(IN_MAC, node_mac(there), sent), via="node")
        for frame in outcome.client:
            equal((Seen(frame).source, Seen(frame).sport, Seen(frame).flags), (VIP, 80, flags), "reply")
        return bool(outcome.client)

    def play(self, steps):
        """ "SA>" is a segment of the client, "<SA" one of the node; all go through."""
        for step in steps.split():
            flags = sum(FLAGS[letter] for letter in step.strip("<>"))
            if step.startswith("<"):
                check(self.node(flags), f"{step} reaches the client")
            else:
                before = self.there
                got = self.client(flags)
                check(got and before in (0, got), f"{step} reaches node {got}, not {before}")
        return self.route().state


OPEN = "S> <SA A> "
STATES = [
    ("S>", "syn_sent"), ("S> S> S>", "syn_sent"), ("S> A>", "syn_sent"), ("S> <SA", "syn_received"),
    ("S> <SA S>", "syn_received"), ("S> <SA <SA", "syn_received"), (OPEN, "established"),
    (OPEN + "PA> <PA A>", "established"), (OPEN + "S>", "established"), (OPEN + "<SA", "established"),
    ("S> <SA PA>", "established"), ("S> <SA FA>", "fin_wait"), (OPEN + "FA>", "fin_wait"),
    (OPEN + "<FA", "fin_wait"), (OPEN + "FA> <A", "fin_wait"), (OPEN + "FA> <PA <PA", "fin_wait"),
    (OPEN + "FA> FA>", "fin_wait"), (OPEN + "<FA A> PA>", "fin_wait"), (OPEN + "FA> <FA", "time_wait"),
    (OPEN + "<FA FA>", "time_wait"), (OPEN + "FA> <FA A>", "time_wait"), (OPEN + "F>", "established"),
    ("S> <RA", "closed"), ("S> R>", "closed"), ("S> <SA R>", "closed"), (OPEN + "R>", "closed"),
    (OPEN + "<RA", "closed"), (OPEN + "RA>", "closed"), (OPEN + "FA> R>", "closed"),
    # A reset that the client does not heed was not for it.
    (OPEN + "R> A>", "established"), (OPEN + "<R PA>", "established"), ("S> <RA A>", "closed"),
    # The same port again.
    (OPEN + "FA> <FA A> S>", "syn_sent"), (OPEN + "FA> <FA A> " + OPEN, "established"),
    (OPEN + "R> S>", "syn_sent"), (OPEN + "R> " + OPEN, "established"), ("S> <RA " + OPEN, "established"),
    (OPEN + "FA> S>", "syn_sent"), (OPEN + "<FA S>", "syn_sent"),
]


def states(wire):
    for steps, state in STATES:
        with case(f"{steps.strip()}: {state}"):
            equal(Connection(wire).play(steps), state, "state")


def node_of_a_port(wire):
    with case("a SYN that is repeated goes to the same node"):
        connection = Connection(wire)
        equal(len({connection.client(SYN) for _ in range(10)}), 1, "nodes")
        equal(wire.fep.counters()["route_allocated"] - BEFORE["route_allocated"], len(STATES) + 1, "routes allocated")
    for name, steps in (("after both sides closed", OPEN + "FA> <FA A>"), ("after a reset", OPEN + "R>")):
        with case(f"a port that is used again {name} keeps its node while the route lasts"):
            connection = Connection(wire)
            connection.play(steps)
            connection.play(OPEN)
        with case(f"a port that is used again {name}: elsewhere when the node has failed meanwhile"):
            connection = Connection(wire)
            connection.play(steps)
            failed = connection.there
            wire.fep.commit(op("backend_fail", None, (node(failed), 0)))
            got = connection.client(SYN)
            check(got not in (None, failed), f"node {got}")
            check(not connection.node(RST | ACK, there=failed), "a segment of the failed node reaches the client")
            check(connection.node(SYN | ACK), "the new node's answer reaches the client")
            wire.fep.commit(op("backend_restore", None, (node(failed), 0)))
    with case("the node fails in the middle of a connection: a reset, then another node"):
        connection = Connection(wire)
        connection.play(OPEN)
        failed = connection.there
        wire.fep.commit(op("backend_fail", None, (node(failed), 0)))
        equal(connection.route(), None, "route")
        outcome = wire.exchange(segment(connection.number, PSH | ACK))
        equal(outcome.counters, {"pass_no_route": 1}, "counters")
        answers = [(Seen(f).source, Seen(f).sport, Seen(f).flags & RST) for f in outcome.client]
        equal(answers, [(VIP, 80, RST)], "answers")
        equal(outcome.nodes, [], "at the nodes")
        got = connection.client(SYN)
        check(got not in (None, failed), f"node {got}")
        wire.fep.commit(op("backend_restore", None, (node(failed), 0)))
    with case("the middle of a connection that nobody knows makes no route"):
        connection = Connection(wire)
        for flags in (ACK, PSH | ACK, FIN | ACK, RST, SYN | ACK, SYN | FIN, SYN | RST):
            equal(connection.client(flags), None, "node")
        equal(connection.route(), None, "route")


def main():
    global BEFORE
    load_module("routes_limit=1000")
    wire = Wire()
    wire.fep.add_service(TCP, [(node(n), 80) for n in (1, 2, 3)])
    BEFORE = wire.fep.counters()
    states(wire)
    node_of_a_port(wire)
    finish()


main()
