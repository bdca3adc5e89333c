#!/usr/bin/env python3
# qemu: --with tests/lib
"""The configuration changes while clients are there: weights, draining, failure, removal, return."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import STATE_FAILED, op  # noqa: E402
from fep_clients import OTHER, TCP, UDP, Clients, chosen, reply, request, segment, shares  # noqa: E402
from fep_packet import ACK, FIN, RST, SYN, Seen, ether  # noqa: E402
from fep_test import case, check, equal, finish, load_module  # noqa: E402
from fep_wire import CLIENT, CLIENT_MAC, IN_MAC, OUT_MAC, VIP, Wire, node, node_mac  # noqa: E402

CLIENTS = Clients()


def nodes(*weights, port=53):
    return [(node(n), port, weight) for n, weight in enumerate(weights, 1)]


def again(wire, pairs):
    """The same clients' next requests: all arrive, and where."""
    seen = chosen(wire, [request(number) for number, _ in pairs])
    equal(len(seen), len(pairs), "requests at the nodes")
    return seen


class Fresh:
    """A service for one case, gone with its routes afterwards."""

    def __init__(self, wire, *weights, service=UDP, port=53):
        self.wire, self.service = wire, service
        wire.fep.add_service(service, nodes(*weights, port=port))

    def __enter__(self):
        return self.wire.fep

    def __exit__(self, *_):
        self.wire.fep.commit(op("service_del", self.service))


def weights(wire):
    with case("new weights are for new clients; the others stay"), Fresh(wire, 1, 1) as fep:
        before = chosen(wire, CLIENTS.take(100))
        equal(shares(before), {1: 50, 2: 50}, "shares before")
        fep.weight(UDP, (node(1), 53), 3)
        equal(again(wire, before), before, "nodes of known clients")
        equal(shares(chosen(wire, CLIENTS.take(400))), {1: 300, 2: 100}, "shares after")
        fep.weight(UDP, (node(1), 53), 1)
        fep.weight(UDP, (node(2), 53), 4)
        equal(shares(chosen(wire, CLIENTS.take(500))), {1: 100, 2: 400}, "shares at last")
        equal(again(wire, before), before, "nodes of known clients at last")
    with case("a node that is added gets its share of the new clients only"), Fresh(wire, 1, 1) as fep:
        before = chosen(wire, CLIENTS.take(100))
        fep.commit(op("backend_add", UDP, (node(3), 53), weight=2))
        equal(again(wire, before), before, "nodes of known clients")
        equal(shares(chosen(wire, CLIENTS.take(400))), {1: 100, 2: 100, 3: 200}, "shares")
    with case("several changes in one commit are one change"), Fresh(wire, 1, 1) as fep:
        before = fep.status().generation
        fep.commit(op("backend_set", UDP, (node(1), 53), weight=9), op("backend_set", UDP, (node(2), 53), weight=0),
                   op("backend_add", UDP, (node(3), 53), weight=1), op("backend_set", UDP, (node(1), 53), weight=3))
        equal(fep.status().generation, before + 1, "generation")
        equal(shares(chosen(wire, CLIENTS.take(400))), {1: 300, 3: 100}, "shares")


def draining(wire):
    with case("weight 0: known clients stay, new ones go elsewhere, until the weight is back"), \
            Fresh(wire, 1, 1, 2) as fep:
        before = chosen(wire, CLIENTS.take(200))
        fep.weight(UDP, (node(3), 53), 0)
        equal(again(wire, before), before, "nodes of known clients")
        equal(shares(chosen(wire, CLIENTS.take(100))), {1: 50, 2: 50}, "shares while draining")
        fep.weight(UDP, (node(3), 53), 2)
        equal(shares(chosen(wire, CLIENTS.take(200))), {1: 50, 2: 50, 3: 100}, "shares afterwards")
        equal(again(wire, before), before, "nodes of known clients at last")
    with case("all nodes draining: known clients are served, new ones refused and counted"), \
            Fresh(wire, 1, 1) as fep:
        before = chosen(wire, CLIENTS.take(10))
        fep.commit(*(op("backend_set", UDP, (node(n), 53), weight=0) for n in (1, 2)))
        equal(again(wire, before), before, "nodes of known clients")
        wire.exchange(request(CLIENTS.numbers(1)[0])).are(drop_no_backend=1)
    for name, end in (("both sides closed", (("request", FIN | ACK), ("reply", FIN | ACK), ("request", ACK))),
                      ("a reset of the client", (("request", RST | ACK),)),
                      ("a reset of the node", (("reply", RST | ACK),))):
        with case(f"a TCP client leaves a draining node when its connection has ended: {name}"), \
                Fresh(wire, 1, 1, service=TCP, port=80) as fep:
            number = CLIENTS.numbers(1)[0]
            (_, there), = chosen(wire, [segment(number, SYN)])
            node_says(wire, there, number, SYN | ACK)
            equal(chosen(wire, [segment(number, ACK)]), [(number, there)], "established")
            fep.weight(TCP, (node(there), 80), 0)
            equal(chosen(wire, [segment(number, ACK), segment(number, SYN)]), [(number, there)] * 2, "in service")
            for side, flags in end:
                if side == "request":
                    equal(chosen(wire, [segment(number, flags)]), [(number, there)], "closing")
                else:
                    node_says(wire, there, number, flags)
            # The same port again.
            equal(chosen(wire, [segment(number, SYN)]), [(number, 3 - there)], "next connection")
            equal([route.backend for route in fep.routes()], [(node(3 - there), 80)], "routes")


def node_says(wire, there, number, flags):
    """A TCP segment of a node, which has to reach the client."""
    frame = segment(number, 0)
    client, port = Seen(frame).source, Seen(frame).sport
    outcome = wire.exchange(ether(IN_MAC, node_mac(there), packet.tcp(node(there), client, 80, port, flags, ack=1)),
                            via="node")
    equal([(Seen(f).source, Seen(f).sport, Seen(f).flags) for f in outcome.client], [(VIP, 80, flags)], "reply")


def failure(wire):
    with case("a failed node: its routes are gone when the call returns, its clients go on elsewhere"), \
            Fresh(wire, 1, 1, 2) as fep:
        before = chosen(wire, CLIENTS.take(400))
        start = fep.counters()
        gone = [pair for pair in before if pair[1] == 3]
        out = fep.commit(op("backend_fail", None, (node(3), 53)))
        equal(fep.routes(backend=(node(3), 53)), [], "routes to the node")
        equal((out.deleted, len(fep.routes()), fep.status().routes), (200, 200, 200), "routes deleted, left")
        equal(fep.counters()["route_deleted"] - start["route_deleted"], 200, "counter")
        records = fep.dump("backends")
        equal([(r.state, r.routes) for r in records], [(0, 100), (0, 100), (STATE_FAILED, 0)], "nodes")
        equal(fep.dump("services")[0].counters["route_deleted"], 200, "counter of the service")
        # Late replies of the node, before its clients come back.
        wire.take()
        for number, there in gone:
            wire.nodes.send(reply(there, node(there), number))
        wire.settle()
        equal(wire.client.take(), [], "frames of the failed node at the client")
        equal(fep.counters()["drop_stale_reply"] - start["drop_stale_reply"], 200, "stale replies")
        equal(shares(again(wire, gone)), {1: 100, 2: 100}, "new nodes of its clients")
        for number, there in gone:
            wire.nodes.send(reply(there, node(there), number))
        wire.settle()
        equal(wire.client.take(), [], "frames of the failed node at clients that have another now")
        stayed = [pair for pair in before if pair[1] != 3]
        equal(again(wire, stayed), stayed, "nodes of the other clients")
    with case("a node that failed and returned gets new clients; its old ones stay where they are"), \
            Fresh(wire, 1, 1) as fep:
        before = chosen(wire, CLIENTS.take(100))
        fep.commit(op("backend_fail", None, (node(2), 0)))
        moved = again(wire, before)
        equal(shares(moved), {1: 100}, "shares while failed")
        fep.commit(op("backend_restore", None, (node(2), 0)))
        equal(again(wire, before), moved, "nodes of known clients")
        equal(shares(chosen(wire, CLIENTS.take(100))), {1: 50, 2: 50}, "shares afterwards")
    with case("failed and restored at once: the routes are gone all the same"), Fresh(wire, 1) as fep:
        chosen(wire, CLIENTS.take(10))
        out = fep.commit(op("backend_fail", None, (node(1), 0)), op("backend_restore", None, (node(1), 0)))
        equal((out.deleted, fep.routes()), (10, []), "routes")
        equal(shares(chosen(wire, CLIENTS.take(10))), {1: 10}, "shares")
    with case("failed twice is failed once"), Fresh(wire, 1, 1) as fep:
        chosen(wire, CLIENTS.take(10))
        equal(fep.commit(op("backend_fail", None, (node(1), 0))).deleted, 5, "deleted first")
        equal(fep.commit(op("backend_fail", None, (node(1), 0))).deleted, 0, "deleted then")
        fep.commit(op("backend_restore", None, (node(1), 0)))
        equal([r.state for r in fep.dump("backends")], [0, 0], "states")
    with case("every node failed: new clients and old ones are refused"), Fresh(wire, 1, 1) as fep:
        number = CLIENTS.numbers(1)[0]
        chosen(wire, [request(number)])
        fep.commit(op("backend_fail", None, (node(1), 0)), op("backend_fail", None, (node(2), 0)))
        wire.exchange(request(number)).are(drop_no_backend=1)
    with case("failed in one service only, or on one port only"):
        fep = wire.fep
        fep.add_service(UDP, [(node(1), 53), (node(1), 5353), (node(2), 53)])
        fep.add_service(OTHER, [(node(1), 54), (node(2), 54)])
        first, second = chosen(wire, CLIENTS.take(30)), chosen(wire, CLIENTS.take(30, OTHER))
        equal((shares(first), shares(second)), ({1: 20, 2: 10}, {1: 15, 2: 15}), "shares")
        equal(fep.commit(op("backend_fail", None, (node(1), 5353))).deleted, 10, "deleted: one port")
        equal(fep.commit(op("backend_fail", UDP, (node(1), 0))).deleted, 10, "deleted: one service")
        equal([r.state for r in fep.dump("backends")], [1, 1, 0, 0, 0], "states")
        equal(len(fep.routes(service=OTHER)), 30, "routes of the other service")
        equal(fep.commit(op("backend_fail", None, (node(1), 0))).deleted, 15, "deleted: everywhere")
        fep.commit(op("service_del", UDP), op("service_del", OTHER))


def removal(wire):
    with case("a removed node: its routes are gone, its clients go on elsewhere"), \
            Fresh(wire, 1, 1) as fep:
        before = chosen(wire, CLIENTS.take(100))
        out = fep.commit(op("backend_del", UDP, (node(2), 53)))
        equal((out.deleted, len(fep.routes()), fep.status().backends), (50, 50, 1), "routes, nodes")
        equal(shares(again(wire, before)), {1: 100}, "shares")
        service, = fep.dump("services")
        equal((service.connections, service.packets_in), (150, 200), "traffic of the removed node is kept")
    with case("removed and added again, a node is a new one"), Fresh(wire, 1, 1) as fep:
        chosen(wire, CLIENTS.take(100))
        fep.commit(op("backend_del", UDP, (node(1), 53)), op("backend_add", UDP, (node(1), 53), weight=1))
        equal([(r.backend[0], r.connections, r.routes) for r in fep.dump("backends")],
              [(node(2), 50, 50), (node(1), 0, 0)], "nodes")
        equal(len(fep.routes()), 50, "routes")
    with case("a removed service: its routes are gone, its clients get what the stack says"):
        wire.fep.add_service(UDP, nodes(1))
        chosen(wire, CLIENTS.take(10))
        equal(wire.fep.commit(op("service_del", UDP)).deleted, 10, "deleted")
        equal((wire.fep.routes(), wire.fep.status().routes, wire.fep.status().services), ([], 0, 0), "left")
        equal(wire.exchange(request(CLIENTS.numbers(1)[0])).counters, {"pass_no_service": 1}, "counters")
    with case("a flush of one service, one node, one port"):
        fep = wire.fep
        fep.add_service(UDP, nodes(1, 1))
        fep.add_service(OTHER, [(node(1), 54), (node(1), 55)])
        chosen(wire, CLIENTS.take(20) + CLIENTS.take(20, OTHER))
        equal(fep.flush(service=OTHER, backend=(node(1), 55)), 10, "service and port")
        equal(fep.flush(service=OTHER, backend=(node(2), 0)), 0, "a node that is not there")
        equal(fep.flush(backend=(node(1), 0)), 20, "node, any service")
        equal((fep.flush(service=OTHER), fep.flush(service=UDP)), (0, 10), "service")
        fep.commit(op("service_del", UDP), op("service_del", OTHER))


def shared_nodes(wire):
    ask = {service: packet.udp(CLIENT, VIP, 7000, service[2], b"data") for service in (UDP, OTHER)}
    with case("one client port to two services that share a node and port: another node, so that replies differ"):
        fep = wire.fep
        for service in (UDP, OTHER):
            fep.add_service(service, [(node(1), 9), (node(2), 9)])
        for service in (UDP, OTHER):
            wire.to_vip(ask[service])
        wire.settle()
        equal(sorted(r.backend for r in fep.routes()), [(node(1), 9), (node(2), 9)], "nodes")
        for route in fep.routes():
            back = packet.udp(route.backend[0], CLIENT, 9, 7000, b"back")
            outcome = wire.exchange(ether(IN_MAC, node_mac(1), back), via="node")
            equal([Seen(f).sport for f in outcome.client], [route.service[2]], "port of the reply")
    with case("drop_reply_conflict when there is no other node, until the first route has ended"):
        fep.commit(*(op("backend_del", service, (node(2), 9)) for service in (UDP, OTHER)))
        fep.flush()
        wire.exchange(ether(OUT_MAC, CLIENT_MAC, ask[UDP]))
        wire.exchange(ether(OUT_MAC, CLIENT_MAC, ask[OTHER])).are(drop_reply_conflict=1)
        equal(fep.flush(service=UDP), 1, "routes of the first")
        check("forward_request" in wire.exchange(ether(OUT_MAC, CLIENT_MAC, ask[OTHER])).counters, "now it may")
        fep.commit(op("service_del", UDP), op("service_del", OTHER))


def main():
    load_module()
    wire = Wire(nodes=8)
    weights(wire)
    draining(wire)
    failure(wire)
    removal(wire)
    shared_nodes(wire)
    finish()


main()
