#!/usr/bin/env python3
# qemu: --with tests/lib
"""What the control plane has of the filter: routes found by their node, listed and handed back; steering, loads and
priorities; SYNs that a node did not answer."""

import os
import sys
import time
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_clients import (OTHER, TCP, UDP, Clients, chosen, client_address, number_of, request, segment,  # noqa: E402
                         shares)
from fep_packet import ACK, RST, SYN, ether  # noqa: E402
from fep_test import case, check, equal, finish, load_module, wait_for  # noqa: E402
from fep_wire import IN_MAC, Wire, node, node_mac  # noqa: E402


def visited(fep, what):
    """How many routes were looked at meanwhile, and what it says."""
    before = fep.status().visited
    out = what()
    return fep.status().visited - before, out


def deletes(work, out, routes, what):
    """A commit that deletes so many routes looks at no more. The sweep may have been there before it."""
    equal(out.deleted, routes, f"{what}: deleted")
    check(work <= routes, f"{what}: looked at {work} for {routes}")


def routes_by_node(wire, clients):
    fep = wire.fep
    for crowd in (0, 1000, 6000):
        with case(f"deleting a node's 40 routes looks at 40, with {crowd} routes of another beside"):
            fep.add_service(OTHER, [(node(4), 54)])
            chosen(wire, clients.take(crowd, OTHER))
            fep.add_service(UDP, [(node(1), 53, 2), (node(2), 53), (node(3), 53)])
            chosen(wire, clients.take(160))
            equal(fep.status().routes, crowd + 160, "routes")
            work, out = visited(fep, lambda: fep.commit(op("backend_fail", None, (node(2), 0))))
            deletes(work, out, 40, "failure")
            work, out = visited(fep, lambda: fep.flush(backend=(node(3), 0)))
            equal((work, out), (40, 40), "flush of a node")
            work, out = visited(fep, lambda: fep.flush(backend=(node(3), 0)))
            equal((work, out), (0, 0), "the same again")
            work, out = visited(fep, lambda: fep.commit(op("backend_del", UDP, (node(1), 53))))
            deletes(work, out, 80, "removal")
            fep.commit(op("backend_restore", None, (node(2), 0)))
            chosen(wire, clients.take(50))
            work, out = visited(fep, lambda: fep.flush(service=UDP))
            equal((work, out), (50, 50), "flush of a service")
            equal((fep.status().routes, fep.routes(service=UDP)), (crowd, []), "routes that are left")
            work, out = visited(fep, lambda: fep.commit(op("service_del", UDP)))
            deletes(work, out, 0, "removal of a service without routes")
            work, out = visited(fep, lambda: fep.commit(op("service_del", OTHER)))
            deletes(work, out, crowd, "removal of a service")
            equal(fep.status().routes, 0, "routes in the end")
    with case("a node that fails and is restored at once loses the routes that it had, and no other"):
        fep.add_service(UDP, [(node(1), 53)])
        chosen(wire, clients.take(100))
        out = fep.commit(op("backend_fail", UDP, (node(1), 53)), op("backend_restore", UDP, (node(1), 53)))
        equal((out.deleted, fep.status().routes), (100, 0), "deleted, left")
        chosen(wire, clients.take(30))
        equal([record.routes for record in fep.dump("backends")], [30], "routes of the node")
        fep.commit(op("service_del", UDP))


def handed_back(wire, clients):
    fep = wire.fep
    fep.add_service(UDP, [(node(1), 53), (node(2), 53)])
    numbers = clients.numbers(200)
    frames = {number: request(number) for number in numbers}
    chosen(wire, list(frames.values()))
    with case("routes are listed with tokens where these are asked for"):
        equal({route.token for route in fep.routes()}, {0}, "tokens that were not asked for")
        listed = fep.routes(tokens=True)
        equal(len(listed), 200, "routes")
        check(all(route.token for route in listed), "tokens")
        equal(sorted(route.token for route in fep.routes(tokens=True)), sorted(route.token for route in listed),
              "tokens of a second list")
    with case("of those that are handed back, the used ones stay"):
        used = numbers[::4]
        chosen(wire, [frames[number] for number in used])
        out = fep.end(listed)
        equal((out.deleted, out.used, out.gone), (150, 50, 0), "deleted, used, gone")
        equal({route.client for route in fep.routes()}, {client_address(number) for number in used}, "clients left")
        out = fep.end(listed)
        equal((out.deleted, out.used, out.gone), (0, 50, 150), "the same again")
    with case("a client that came back meanwhile keeps its new route"):
        chosen(wire, list(frames.values()))
        out = fep.end(listed)
        # It may have been given the other node, which is another route.
        equal((out.deleted, out.used + out.gone), (0, 200), "deleted, used or gone")
        check(out.used >= 50, "used")
        equal(fep.status().routes, 200, "routes")
    with case("without a token nothing is deleted"):
        out = fep.end(fep.routes())
        equal((out.deleted, out.used, out.gone), (0, 200, 0), "deleted, used, gone")
    with case("routes of one node are handed back by pages, while others come"):
        total = 0
        cursor = 0
        while True:
            page, at = fep.page("routes", cursor, 64, backend=(node(1), 53), tokens=True)
            chosen(wire, clients.take(20))
            out = fep.end(page) if page else None
            if out:
                equal((out.used, out.gone), (0, 0), "used, gone")
                total += out.deleted
            if at.end:
                break
            cursor = at.cursor
        check(total >= 100, f"{total} deleted")
        records = fep.dump("backends")
        equal(sum(record.routes for record in records), fep.status().routes, "routes")
        check(fep.status().routes - total < 200 + 20 * 10, "routes that are left")
    with case("a route that ends within two seconds has no token"):
        fep.commit(op("service_set", UDP, timeouts=(0, 0, 0, 0, 2)))
        equal({route.token for route in fep.routes(tokens=True)} - {0}, set(), "tokens")
    fep.commit(op("service_del", UDP))


def live(fep, service):
    return {record.backend[0]: record.routes for record in fep.dump("backends", service=service)}


def steering(wire, clients):
    fep = wire.fep
    with case("steering: the live distribution follows the weights, exactly"):
        fep.add_service(UDP, [(node(1), 53), (node(2), 53)], scheduler="steer")
        equal(shares(chosen(wire, clients.take(100))), {1: 50, 2: 50}, "new clients")
        fep.weight(UDP, (node(2), 53), 3)
        equal(shares(chosen(wire, clients.take(100))), {2: 100}, "new clients until the ratio is reached")
        equal(shares(chosen(wire, clients.take(40))), {1: 10, 2: 30}, "new clients from then on")
    with case("steering: what a node loses it is given again"):
        equal(fep.flush(backend=(node(1), 53)), 60, "routes that ended")
        equal(shares(chosen(wire, clients.take(60))), {1: 60}, "new clients")
        equal(live(fep, UDP), {node(1): 60, node(2): 180}, "live routes")
    with case("steering: weight 0 gets nothing, and its clients stay"):
        fep.weight(UDP, (node(1), 53), 0)
        equal(fep.flush(backend=(node(2), 53)), 180, "routes that ended")
        equal(shares(chosen(wire, clients.take(50))), {2: 50}, "new clients")
        equal(live(fep, UDP), {node(1): 60, node(2): 50}, "live routes")
    with case("without steering new clients are given by the weights, whatever there is"):
        fep.weight(UDP, (node(1), 53), 1)
        fep.commit(op("service_set", UDP, scheduler="wrr"))
        pairs = chosen(wire, clients.take(80))
        equal(shares(pairs), {1: 20, 2: 60}, "new clients")
        fep.commit(op("service_set", UDP, scheduler="steer"))
        equal(shares(chosen(wire, clients.take(50))), {2: 50}, "new clients")
    with case("steering among more nodes than are compared at once"):
        fep.commit(op("service_del", UDP))
        # On 70 ports of four nodes, so that the frames can be told by their nodes.
        backends = [(node(1 + n % 4), 1000 + n) for n in range(70)]
        fep.add_service(UDP, backends, scheduler="steer")
        chosen(wire, clients.take(700))
        spread = Counter(record.routes for record in fep.dump("backends"))
        equal(sum(count * n for n, count in spread.items()), 700, "routes")
        check(min(spread) >= 8 and max(spread) <= 12, f"routes of the nodes: {spread}")
    fep.commit(op("service_del", UDP))


def best_load(wire, clients):
    fep = wire.fep
    master, a, b, c = 1, 2, 3, 4
    with case("optimal: the worked examples of the state table"):
        fep.add_service(UDP, [(node(n), 53) for n in (c, b, a, master)], scheduler="optimal")
        fep.add_service(OTHER, [(node(n), 54) for n in (c, b)], scheduler="optimal")
        fep.commit(*(op("backend_priority", UDP, (node(n), 53), priority=n) for n in (master, a, b, c)),
                   *(op("backend_load", None, (node(n), 0), load=load)
                     for n, load in ((master, 60), (a, 20), (b, 50), (c, 70))))
        equal(shares(chosen(wire, clients.take(20))), {a: 20}, "the least load")
        equal(shares(chosen(wire, clients.take(20, OTHER))), {b: 20}, "the least load of the group")
        fep.commit(op("backend_load", UDP, (node(b), 53), load=20))
        equal(shares(chosen(wire, clients.take(20))), {a: 20}, "equal loads: the better priority")
        fep.commit(op("backend_priority", UDP, (node(b), 53), priority=1))
        equal(shares(chosen(wire, clients.take(20))), {b: 20}, "equal loads: a priority that was changed")
    with case("optimal: nodes that are not running are left out"):
        fep.commit(op("backend_fail", UDP, (node(b), 0)))
        equal(shares(chosen(wire, clients.take(20))), {a: 20}, "one failed")
        fep.weight(UDP, (node(a), 53), 0)
        equal(shares(chosen(wire, clients.take(20))), {master: 20}, "and one drained")
        fep.commit(op("backend_restore", UDP, (node(b), 0)))
        equal(shares(chosen(wire, clients.take(20))), {b: 20}, "one restored")
    with case("loads and priorities are listed"):
        records = {record.backend[0]: record for record in fep.nodes(service=UDP)}
        equal({address: (record.priority, record.load) for address, record in records.items()},
              {node(master): (1, 60), node(a): (2, 20), node(b): (1, 20), node(c): (4, 70)}, "priority, load")
        equal([record.load for record in fep.nodes(service=OTHER)], [70, 50], "loads in the other service")
    fep.commit(op("service_del", UDP), op("service_del", OTHER))


def tiers(wire, clients):
    fep = wire.fep
    for scheduler in ("wrr", "steer"):
        with case(f"{scheduler}: only the best tier with a usable node gets new clients"):
            fep.add_service(UDP, [(node(n), 53, weight) for n, weight in enumerate((2, 1, 1, 1), 1)],
                            scheduler=scheduler)
            fep.commit(*(op("backend_priority", UDP, (node(n), 53), priority=7) for n in (3, 4)))
            equal(shares(chosen(wire, clients.take(30))), {1: 20, 2: 10}, "both of the best tier")
            fep.commit(op("backend_fail", None, (node(1), 0)))
            equal(shares(chosen(wire, clients.take(30))), {2: 30}, "one of them")
            fep.weight(UDP, (node(2), 53), 0)
            equal(shares(chosen(wire, clients.take(30))), {3: 15, 4: 15}, "none of them")
            fep.commit(op("backend_restore", None, (node(1), 0)))
            equal(shares(chosen(wire, clients.take(30))), {1: 30}, "one again")
            fep.commit(op("service_del", UDP))


def answer(wire, there, number, flags):
    """A segment of a node to client `number`."""
    client, port = client_address(number, TCP)
    wire.nodes.send(ether(IN_MAC, node_mac(there), packet.tcp(node(there), client, 80, port, flags, ack=1)))


def unanswered(wire):
    fep = wire.fep

    def seen(*names):
        record, = fep.nodes(service=TCP)
        return tuple(getattr(record, name) for name in names)

    with case("SYNs that a node answers with a reset are counted once, other resets are not"):
        fep.add_service(TCP, [(node(1), 80)])
        chosen(wire, [segment(number, SYN) for number in range(20)])
        for number in range(5):
            answer(wire, 1, number, RST | ACK)
            answer(wire, 1, number, RST | ACK)
        for number in range(5, 10):
            answer(wire, 1, number, SYN | ACK)
            answer(wire, 1, number, RST)
        wire.settle()
        chosen(wire, [segment(number, RST) for number in range(10, 15)])
        equal(seen("syn_reset", "syn_unanswered"), (5, 0), "reset, unanswered")
        chosen(wire, [segment(0, SYN)])
        answer(wire, 1, 0, RST | ACK)
        wire.settle()
        equal(seen("syn_reset", "syn_unanswered"), (6, 0), "reset, unanswered")
    with case("SYNs that are repeated after a second without an answer are counted"):
        before, = seen("syn_repeated")
        time.sleep(1.5)
        # 15 to 19 are still waiting; 5 was reset, and begins anew.
        chosen(wire, [segment(number, SYN) for number in (15, 16, 17, 5)])
        equal(seen("syn_repeated")[0] - before, 3, "repeated")
    with case("SYNs without an answer are counted when their routes end"):
        fep.commit(op("service_set", TCP, timeouts=(1, 1, 1, 1, 1)))
        wait_for(lambda: fep.status().routes == 0, "the routes' end", seconds=60)
        equal(seen("syn_unanswered", "syn_reset", "routes"), (6, 6, 0), "unanswered, reset, routes")
    with case("a SYN that takes the place of one that was not answered in time counts, too"):
        chosen(wire, [segment(30, SYN)])
        time.sleep(1.5)
        chosen(wire, [segment(30, SYN), segment(30, ACK)])
        wait_for(lambda: fep.status().routes == 0, "the routes' end", seconds=60)
        equal(seen("syn_unanswered", "connections")[0], 8, "unanswered")
    with case("SYNs of routes that are flushed do not count"):
        fep.commit(op("service_set", TCP))
        chosen(wire, [segment(number, SYN) for number in range(40, 45)])
        equal(fep.flush(service=TCP), 5, "flushed")
        equal(seen("syn_unanswered")[0], 8, "unanswered")
    fep.commit(op("service_del", TCP))


def main():
    load_module()
    wire = Wire(nodes=4)
    clients = Clients(20_000)
    equal(number_of(request(3)), 3, "a client's number")
    routes_by_node(wire, clients)
    handed_back(wire, clients)
    steering(wire, clients)
    best_load(wire, clients)
    tiers(wire, clients)
    unanswered(wire)
    finish()


main()
