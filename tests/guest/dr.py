#!/usr/bin/env python3
# qemu: --with tests/lib
"""Direct routing, byte for byte: nothing of a packet changes but its link-layer header."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_clients import Clients, chosen, shares  # noqa: E402
from fep_flow import TOO_BIG, Flow, client_is_told  # noqa: E402
from fep_fragments import reassembled  # noqa: E402
from fep_packet import ACK, FIN, PSH, RST, SYN, Seen, ether  # noqa: E402
from fep_test import case, check, equal, finish, load_module  # noqa: E402
from fep_wire import CLIENT_MAC, IN_MAC, OUT_MAC, V4, V6, Wire, node_mac  # noqa: E402

BYTES = bytes(range(256)) * 6
ROUTER_ALERT = bytes([148, 4, 0, 0])
PAD6 = b"\1\4\0\0\0\0"
LIFETIMES = {"syn_received": 30, "established": 900, "fin_wait": 120, "time_wait": 120, "closed": 10}
# The mixed service.
MIXED = 81


def flow(sport, protocol="udp", ends=V4, **more):
    return Flow(sport, protocol, ends, direct=True, **more)


def shapes(ends):
    """Data and header fields of packets."""
    yield "empty", b"", {}
    for size in (1, 2, 1000, 1440):
        yield f"{size} bytes", BYTES[:size], {}
    for ttl in (255, 2, 1, 0):
        yield f"time to live {ttl}", b"data", {"ttl": ttl}
    yield "traffic class", b"data", {"tos": 0xB9}
    if ends.version == 4:
        yield "options", b"data", {"options": ROUTER_ALERT}
        yield "may be fragmented, identification", b"data", {"fragment": 0, "ident": 0xFFFF}
    else:
        yield "flow label", b"data", {"flow": 0xFFFFF}
        yield "extension headers", b"data", {"extensions": [(0, PAD6), (60, PAD6)]}


def as_they_are(wire, ends):
    for number, protocol in enumerate(("udp", "tcp")):
        known = flow(20_000 + number, protocol, ends)
        with case(f"ipv{ends.version} {protocol}: first packet of a client"):
            data = b"begin" if protocol == "udp" else b""
            wire.exchange(known.first()).are(nodes=[known.at_node(data, SYN)], forward_request=1, route_allocated=1)
        for name, data, header in shapes(ends):
            with case(f"ipv{ends.version} {protocol}: {name}, both ways"):
                known.is_forwarded(wire, data, **header)
        with case(f"ipv{ends.version} {protocol}: link padding is cut off, all else stays"):
            wire.exchange(known.request(b"") + b"\xee" * 9).are(nodes=[known.at_node(b"")], forward_request=1)
            wire.exchange(known.reply(b"") + b"\xee" * 9, via="node").are(
                client=[known.at_client(b"")], forward_reply=1)
        with case(f"ipv{ends.version} {protocol}: a wrong checksum is none of fep's business"):
            for way, there in (("client", "nodes"), ("node", "client")):
                good, want = (known.request(), known.at_node()) if way == "client" else (known.reply(), known.at_client())
                for at in (25 if ends.version == 4 else 20, -1):
                    bad, bent = bytearray(good), bytearray(want)
                    if at == 25:
                        # The header's checksum of a known client.
                        bad[at] ^= 1
                        bent[at] ^= 1
                    else:
                        bad[-1] ^= 1
                        bent[-1] ^= 1
                    out = wire.exchange(bytes(bad), via=way)
                    equal([f.hex() for f in getattr(out, there)], [bytes(bent).hex()], "frames")
    with case(f"ipv{ends.version}: a client behind a router"):
        far = flow(20_010, ends=ends, far=True)
        wire.exchange(far.first()).are(nodes=[far.at_node(b"begin")], forward_request=1, route_allocated=1)
        far.is_forwarded(wire)
    with case(f"ipv{ends.version}: a new client whose time to live ends here is sent on all the same"):
        for ttl in (1, 0):
            new = flow(20_020 + ttl, ends=ends)
            wire.exchange(new.request(ttl=ttl)).are(nodes=[new.at_node(ttl=ttl)], forward_request=1, route_allocated=1)


def what_is_counted(wire, ends):
    with case(f"ipv{ends.version}: traffic of the node; it has none out unless it comes by here"):
        known = flow(20_100, ends=ends)

        def figures():
            record, = wire.fep.dump("backends", service=known.service)
            equal((record.method, record.backend), ("dr", known.node), "method, node")
            return [record.connections, record.packets_in, record.packets_out, record.bytes_in, record.bytes_out]

        before = figures()
        wire.exchange(known.first(), known.request(b"12345"))
        size = 2 * len(known.request_packet(b"12345"))
        equal([now - was for now, was in zip(figures(), before)], [1, 2, 0, size, 0], "without replies")
        wire.exchange(known.reply(b"12345"), via="node")
        equal([now - was for now, was in zip(figures(), before)], [1, 2, 1, size, size // 2], "with one")
        route = known.route(wire)
        equal((route.service, route.client, route.backend, route.state),
              (known.service, known.client, known.node, "udp"), "route")


def loops(wire, ends):
    for protocol in ("udp", "tcp"):
        known = flow(20_200, protocol, ends)
        known.begin(wire)
        with case(f"ipv{ends.version} {protocol}: what the node sends back is dropped and counted"):
            before = next(s for s in wire.fep.dump("services") if s.service == known.service).counters["drop_loop"]
            back = ether(IN_MAC, node_mac(1), known.request_packet())
            for _ in range(3):
                wire.exchange(back, via="node").are(drop_loop=1)
            after = next(s for s in wire.fep.dump("services") if s.service == known.service).counters["drop_loop"]
            equal(after - before, 3, "counter of the service")
            # Not even a first packet.
            new = known.but(sport=20_201)
            wire.exchange(ether(IN_MAC, node_mac(1), new.first()[14:]), via="node").are(
                drop_loop=1, route_allocated=1)
        with case(f"ipv{ends.version} {protocol}: from another host of the node's segment it goes to the node"):
            wire.exchange(ether(IN_MAC, node_mac(2), known.request_packet()), via="node").are(
                nodes=[known.at_node()], forward_request=1)
        with case(f"ipv{ends.version} {protocol}: a reply that the client's side sends back is dropped"):
            wire.exchange(ether(OUT_MAC, CLIENT_MAC, known.reply_packet())).are(drop_loop=1)
        with case(f"ipv{ends.version} {protocol}: after the loop packets go on as before"):
            known.is_forwarded(wire)


def too_large(wire, ends):
    mtu, header = (1280, 28) if ends.version == 4 else (1280, 48)
    room = mtu - header
    known = flow(20_300, ends=ends)
    known.begin(wire)
    wire.fe.ip(f"link set in0 mtu {mtu}")
    with case(f"ipv{ends.version}: a request of just the MTU goes on, a larger one is told"):
        wire.exchange(known.request(BYTES[:room])).are(nodes=[known.at_node(BYTES[:room])], forward_request=1)
        client_is_told(wire.exchange(known.request(BYTES[:room + 1])), known, TOO_BIG,
                       known.request_packet(BYTES[:room + 1]), mtu, drop_too_big=1)
    if ends.version == 4:
        with case("ipv4: a large request that may be fragmented is, and nothing else of it changes"):
            out = wire.exchange(known.request(BYTES[:1400], fragment=0))
            equal(reassembled(out.nodes, mtu).hex(), known.at_node(BYTES[:1400], fragment=0).hex(), "the whole")
            equal(out.counters, {"forward_request": 1}, "counters")
    wire.fe.ip("link set in0 mtu 1500", f"link set out0 mtu {mtu}")
    with case(f"ipv{ends.version}: a reply that is too large is dropped: its sender has the front-end's own address"):
        wire.exchange(known.reply(BYTES[:room]), via="node").are(client=[known.at_client(BYTES[:room])], forward_reply=1)
        out = wire.exchange(known.reply(BYTES[:room + 1]), via="node")
        equal((out.client, out.nodes, out.passed, out.counters), ([], [], [], {"drop_too_big": 1}), "outcome")
    wire.fe.ip("link set out0 mtu 1500")


def errors(wire, ends):
    known = flow(20_400, ends=ends)
    known.begin(wire)
    kind, code = (3, 4) if ends.version == 4 else (2, 0)
    router = "203.0.113.7" if ends.version == 4 else "2001:db8:77::7"
    for ttl in (64, 1):
        with case(f"ipv{ends.version}: an error about a reply goes to the node as it is, time to live {ttl}"):
            sent = packet.icmp(router, ends.vip, kind, code, b"\0\0\5\0" + known.reply_packet(), ttl=ttl)
            wire.exchange(ether(OUT_MAC, CLIENT_MAC, sent) + b"\xee" * 3).are(
                nodes=[ether(node_mac(1), IN_MAC, sent)], forward_icmp=1)
        with case(f"ipv{ends.version}: an error about a request goes to the client as it is, time to live {ttl}"):
            sent = packet.icmp(ends.node(1), ends.client, kind, code, b"\0\0\5\0" + known.request_packet(), ttl=ttl)
            wire.exchange(ether(IN_MAC, node_mac(1), sent), via="node").are(
                client=[ether(CLIENT_MAC, OUT_MAC, sent)], forward_icmp=1)
    with case(f"ipv{ends.version}: an error that the node sends back is dropped"):
        sent = packet.icmp(router, ends.vip, kind, code, b"\0\0\5\0" + known.reply_packet())
        wire.exchange(ether(IN_MAC, node_mac(1), sent), via="node").are(drop_loop=1)


def without_route(wire, ends):
    with case(f"ipv{ends.version}: a node's late reply, and what is its own, is the stack's"):
        known = flow(20_500, ends=ends)
        late = known.reply()
        own = ether(IN_MAC, node_mac(1), packet.udp(known.node[0], known.client[0], known.port, known.sport, b"own"))
        for frame in (late, own):
            wire.exchange(frame, via="node").are(passed=[frame], pass_no_service=1)
    with case(f"ipv{ends.version}: the node failed: its routes are gone, its replies nobody's"):
        known = flow(20_501, ends=ends)
        known.begin(wire)
        wire.fep.commit(op("backend_fail", None, (known.node[0], 0)))
        equal(known.route(wire), None, "route")
        wire.exchange(known.reply(), via="node").are(passed=[known.reply()], pass_no_service=1)
        wire.exchange(known.request()).are(drop_no_backend=1)
        wire.fep.commit(op("backend_restore", None, (known.node[0], 0)))


def mixed(wire, ends):
    """Nodes of both methods in one service."""
    service = ("udp", ends.vip, MIXED)
    wire.fep.commit(op("service_add", service),
                    op("backend_add", service, (ends.node(1), MIXED), weight=1, method="dr"),
                    op("backend_add", service, (ends.node(2), 8081), weight=1),
                    op("backend_add", service, (ends.node(3), MIXED), weight=2, method="dr"),
                    op("backend_add", service, (ends.node(4), MIXED), weight=1))
    with case(f"ipv{ends.version}: nodes of both methods in one service, with exact shares"):
        equal([b.method for b in wire.fep.dump("backends", service=service)], ["dr", "nat", "dr", "nat"], "methods")
        clients = Clients(1000)
        equal(shares(chosen(wire, clients.take(100, service))), {1: 20, 2: 20, 3: 40, 4: 20}, "shares")
    with case(f"ipv{ends.version}: each client's packets go by the method of its node, both ways"):
        seen = set()
        for sport in range(21_000, 21_010):
            out = wire.exchange(Flow(sport, ends=ends, port=MIXED).first())
            there = int(out.nodes[0][5])
            known = Flow(sport, ends=ends, port=MIXED, number=there, direct=there in (1, 3),
                         node_port=8081 if there == 2 else MIXED)
            equal([f.hex() for f in out.nodes], [known.at_node(b"begin").hex()], "first packet")
            known.is_forwarded(wire)
            seen.add(there)
        equal(seen, {1, 2, 3, 4}, "nodes")
    with case(f"ipv{ends.version}: a method is changed by removing the node and adding it, in one step"):
        wire.fep.flush()
        out = wire.fep.commit(op("backend_del", service, (ends.node(1), MIXED)),
                              op("backend_add", service, (ends.node(1), MIXED), weight=1))
        equal(out.deleted, 0, "routes deleted")
        for n in (2, 3, 4):
            wire.fep.weight(service, (ends.node(n), 8081 if n == 2 else MIXED), 0)
        known = Flow(21_100, ends=ends, port=MIXED, node_port=MIXED)
        wire.exchange(known.first()).are(nodes=[known.at_node(b"begin")], forward_request=1, route_allocated=1)
    wire.fep.commit(op("service_del", service))


def connections(wire, ends):
    """What is known of a connection of which one way is seen."""
    steps = {"S": SYN, "A": ACK, "F": FIN, "R": RST, "P": PSH}
    for sport, (history, state) in enumerate((
            ("S", "syn_received"), ("S S", "syn_received"), ("S A", "established"), ("S PA", "established"),
            ("S A PA PA", "established"), ("S A S", "established"), ("S F", "syn_received"),
            ("S FA", "time_wait"), ("S A FA", "time_wait"), ("S A FA A", "time_wait"), ("S A FA FA", "time_wait"),
            ("S R", "closed"), ("S A R", "closed"), ("S A RA", "closed"), ("S A R A", "established"),
            ("S A FA R", "closed"), ("S A FA S", "syn_received"), ("S A FA S A", "established"),
            ("S A R S", "syn_received"), ("S A R S A", "established"),
            # Replies that come by.
            ("S <SA", "syn_received"), ("S <SA A", "established"), ("S A <FA", "fin_wait"),
            ("S A <FA A FA", "time_wait"), ("S <RA", "closed"), ("S A <RA", "closed")), 30_000):
        with case(f"ipv{ends.version}, one way seen: {history}: {state}"):
            known = flow(sport, "tcp", ends)
            for step in history.split():
                flags = sum(steps[letter] for letter in step.strip("<"))
                if step.startswith("<"):
                    wire.nodes.send(known.reply(b"", flags))
                else:
                    wire.client.send(known.request(b"", flags))
            wire.settle()
            route = known.route(wire)
            equal(route.state, state, "state")
            lifetime = LIFETIMES[state] * 1000
            check(abs(route.idle_ms + route.expires_ms - lifetime) <= 20, f"{route}")


def drained(wire, ends):
    with case(f"ipv{ends.version}: a draining node keeps a client until it has closed"):
        service = ("tcp", ends.vip, 82)
        wire.fep.add_service(service, [(ends.node(1), 82), (ends.node(2), 82)], method="dr")
        known = Flow(31_000, "tcp", ends, port=82, direct=True)
        there = wire.exchange(known.first()).nodes[0][5]
        known = known.but(number=there)
        wire.fep.weight(service, known.node, 0)
        for flags in (ACK, SYN, FIN | ACK, ACK):
            wire.exchange(known.request(b"", flags)).are(nodes=[known.at_node(b"", flags)], forward_request=1)
        other = known.but(number=3 - there)
        wire.exchange(other.request(b"", SYN)).are(nodes=[other.at_node(b"", SYN)], forward_request=1,
                                                   route_allocated=1, route_expired=1)
        equal(Seen(wire.exchange(other.request(b"x")).nodes[0]).destination, ends.vip, "destination")
        wire.fep.commit(op("service_del", service))


def one_segment(wire, ends):
    """Client, front-end and node on one segment: everything arrives and leaves by one device."""
    node = "192.0.2.21" if ends.version == 4 else "2001:db8::21"
    service = ("udp", ends.vip, 83)
    wire.fe.ip(f"neigh replace {node} lladdr {node_mac(7)} dev out0 nud permanent")
    wire.fep.add_service(service, [(node, 83)], method="dr")
    known = Flow(32_000, ends=ends, port=83, direct=True)
    at = ether(node_mac(7), OUT_MAC, known.request_packet())
    with case(f"ipv{ends.version}, one segment: a request goes to the node"):
        wire.exchange(known.request()).are(client=[at], forward_request=1, route_allocated=1)
        wire.exchange(known.request()).are(client=[at], forward_request=1)
    with case(f"ipv{ends.version}, one segment: what the node sends back is dropped and counted"):
        back = ether(OUT_MAC, node_mac(7), known.request_packet())
        for _ in range(3):
            wire.exchange(back).are(drop_loop=1)
        wire.exchange(known.request(), back, known.request()).are(client=[at, at], forward_request=2, drop_loop=1)
    with case(f"ipv{ends.version}, one segment: a reply that comes by goes on to the client"):
        reply = ether(OUT_MAC, node_mac(7), known.reply_packet())
        want = ether(CLIENT_MAC, OUT_MAC, known.reply_packet())
        wire.exchange(reply, known.request(), reply).are(client=[want, at, want], forward_request=1, forward_reply=2)
    with case(f"ipv{ends.version}, one segment: a node by translation beside it"):
        there = "192.0.2.22" if ends.version == 4 else "2001:db8::22"
        wire.fe.ip(f"neigh replace {there} lladdr {node_mac(8)} dev out0 nud permanent")
        wire.fep.commit(op("backend_set", service, (node, 83), weight=0),
                        op("backend_add", service, (there, 8083), weight=1))
        request = packet.udp(ends.client, ends.vip, 32_001, 83, b"data")
        wire.exchange(ether(OUT_MAC, CLIENT_MAC, request)).are(
            client=[ether(node_mac(8), OUT_MAC, packet.udp(ends.client, there, 32_001, 8083, b"data", ttl=63))],
            forward_request=1, route_allocated=1)
        reply = packet.udp(there, ends.client, 8083, 32_001, b"data")
        wire.exchange(ether(OUT_MAC, node_mac(8), reply)).are(
            client=[ether(CLIENT_MAC, OUT_MAC, packet.udp(ends.vip, ends.client, 83, 32_001, b"data", ttl=63))],
            forward_reply=1)
    wire.fep.commit(op("service_del", service))


def main():
    load_module()
    wire = Wire(ipv6=True)
    for ends in (V4, V6):
        for protocol in ("tcp", "udp"):
            wire.fep.add_service((protocol, ends.vip, 80), [(ends.node(1), 80)], method="dr")
        for part in (as_they_are, what_is_counted, loops, too_large, errors, without_route, mixed, connections,
                     drained, one_segment):
            part(wire, ends)
    finish()


main()
