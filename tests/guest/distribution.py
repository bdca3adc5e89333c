#!/usr/bin/env python3
# qemu: --with tests/lib
"""Which node a client is given: shares by weight, and that a client stays where it is."""

import os
import random
import struct
import sys
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_clients import (OTHER, TCP, UDP, Clients, chosen, client_address, reply, request, segment,  # noqa: E402
                         shares)
from fep_packet import ACK, SYN, ether  # noqa: E402
from fep_test import case, check, equal, finish, load_module, note  # noqa: E402
from fep_wire import CLIENT, CLIENT_MAC, OUT_MAC, VIP, Wire, node  # noqa: E402

SEED = int(os.environ.get("FEP_SEED") or random.randrange(1 << 32))


def exact_shares(wire, clients):
    for weights in ((1,), (1, 1), (2, 1, 1), (5, 1, 1), (3, 0, 2), (7, 3, 1, 1), (1, 2, 3, 4), (100, 1), (50, 30, 20)):
        total = sum(weights)
        cycles = max(3, 60 // total)
        with case(f"shares {':'.join(map(str, weights))} are exact in each of {cycles} cycles"):
            wire.fep.add_service(UDP, [(node(n), 53, weight) for n, weight in enumerate(weights, 1)])
            pairs = chosen(wire, clients.take(total * cycles))
            equal(len(pairs), total * cycles, "requests at the nodes")
            want = {n: weight for n, weight in enumerate(weights, 1) if weight}
            for at in range(0, len(pairs), total):
                equal(shares(pairs[at:at + total]), want, f"cycle {at // total}")
            records = wire.fep.dump("backends", service=UDP)
            equal([r.connections for r in records], [weight * cycles for weight in weights], "connections")
            equal([r.routes for r in records], [weight * cycles for weight in weights], "routes")
        wire.fep.commit(op("service_del", UDP))
    with case("shares are smooth: no node is ever more than one client ahead"):
        weights = (5, 3, 2)
        wire.fep.add_service(UDP, [(node(n), 53, weight) for n, weight in enumerate(weights, 1)])
        had = Counter()
        for count, (_, number) in enumerate(chosen(wire, clients.take(100)), 1):
            had[number] += 1
            for n, weight in enumerate(weights, 1):
                check(abs(had[n] - count * weight / 10) <= 1, f"after {count}: {had}")
        wire.fep.commit(op("service_del", UDP))


def services_do_not_disturb_each_other(wire, clients):
    with case("services have rounds of their own, and a change of one leaves the others' alone"):
        wire.fep.add_service(UDP, [(node(1), 53, 2), (node(2), 53, 1)])
        wire.fep.add_service(OTHER, [(node(3), 54, 1), (node(4), 54, 1)])
        mine, theirs = [], []
        for turn in range(30):
            mine += chosen(wire, clients.take(1))
            theirs += chosen(wire, clients.take(1, OTHER))
            if turn % 3 == 0:
                wire.fep.weight(OTHER, (node(3), 54), 1)
        for at in range(0, 30, 3):
            equal(shares(mine[at:at + 3]), {1: 2, 2: 1}, "shares of the one")
        equal(shares(theirs), {3: 15, 4: 15}, "shares of the other")
        wire.fep.commit(op("service_del", UDP), op("service_del", OTHER))


def ten_thousand(wire):
    count, rounds = 10_000, 10
    wire.fep.add_service(UDP, [(node(n), 53, weight) for n, weight in enumerate((4, 3, 2, 1), 1)])
    frames = [request(number) for number in range(count)]
    order = list(range(count))
    nodes_of = {}
    with case(f"{count} clients keep their node through {rounds} requests each"):
        note(f"FEP_SEED={SEED}")
        shuffle = random.Random(SEED)
        for turn in range(rounds):
            pairs = chosen(wire, [frames[number] for number in order])
            equal(len(pairs), count, f"requests at the nodes in round {turn}")
            if turn == 0:
                nodes_of = dict(pairs)
                equal(len(nodes_of), count, "clients")
            moved = [pair for pair in pairs if nodes_of[pair[0]] != pair[1]]
            equal(moved[:5], [], f"moved in round {turn}")
            shuffle.shuffle(order)
        equal(shares(nodes_of.items()), {1: 4000, 2: 3000, 3: 2000, 4: 1000}, "shares")
    with case("the list of routes says the same, each client once"):
        routes = wire.fep.routes()
        equal(len(routes), count, "routes")
        listed = {route.client: route for route in routes}
        for number in range(count):
            route = listed[client_address(number)]
            equal((route.backend, route.service, route.state), ((node(nodes_of[number]), 53), UDP, "udp"), "route")
        equal(len(wire.fep.routes(backend=(node(4), 0))), count // 10, "routes to node 4")
        status = wire.fep.status()
        equal((status.routes, status.counters["route_allocated"] >= count), (count, True), "status")
    with case("every client gets its reply, from the VIP"):
        wire.client.take_fast()
        for at in range(0, count, 500):
            for number in range(at, at + 500):
                there = nodes_of[number]
                wire.nodes.send(reply(there, node(there), number))
            wire.settle()
            got = wire.client.take_fast()
            want = [ether(CLIENT_MAC, OUT_MAC, packet.udp(VIP, client_address(n)[0], 53, client_address(n)[1],
                                                          struct.pack("!I", n), summed=False, ttl=63))
                    for n in range(at, at + 500)]
            equal(got == want, True, f"replies from {at} on")
    with case("a flush forgets them all"):
        equal(wire.fep.flush(), count, "deleted")
        equal((wire.fep.routes(), wire.fep.status().routes), ([], 0), "routes")
    wire.fep.commit(op("service_del", UDP))


def tcp_clients(wire):
    with case("1,000 TCP clients keep their node through 10 segments each"):
        wire.fep.add_service(TCP, [(node(n), 80, weight) for n, weight in enumerate((2, 1, 1), 1)])
        syns, acks = ([segment(n, flags) for n in range(1000)] for flags in (SYN, ACK))
        where = {}
        for turn in range(10):
            seen = chosen(wire, syns if turn == 0 else acks)
            equal(len(seen), 1000, "segments")
            where = where or dict(seen)
            equal(dict(seen), where, f"nodes in round {turn}")
        equal(shares(where.items()), {1: 500, 2: 250, 3: 250}, "shares")
        wire.fep.commit(op("service_del", TCP))


def key_of_a_client(wire):
    with case("a client is its address, port, protocol and service: each of them makes another one"):
        wire.fep.commit(
            *(part for service in (UDP, OTHER, ("udp", "192.0.2.11", 53), ("tcp", VIP, 53)) for part in (
                op("service_add", service),
                *(op("backend_add", service, (node(n), 1000 + service[2]), weight=1) for n in (1, 2)))))
        before = wire.fep.status().routes
        for send in (packet.udp(CLIENT, VIP, 5000, 53), packet.udp(CLIENT, VIP, 5001, 53),
                     packet.udp("192.0.2.101", VIP, 5000, 53), packet.udp(CLIENT, VIP, 5000, 54),
                     packet.udp(CLIENT, "192.0.2.11", 5000, 53), packet.tcp(CLIENT, VIP, 5000, 53, SYN)):
            wire.to_vip(send)
            wire.to_vip(send)
        wire.settle()
        equal(wire.fep.status().routes - before, 6, "routes")
        keys = {(route.service, route.client) for route in wire.fep.routes()}
        equal(len(keys), 6, "different keys")


def main():
    load_module()
    wire = Wire(nodes=8)
    clients = Clients(20_000)
    exact_shares(wire, clients)
    services_do_not_disturb_each_other(wire, clients)
    ten_thousand(wire)
    tcp_clients(wire)
    key_of_a_client(wire)
    finish()


main()
