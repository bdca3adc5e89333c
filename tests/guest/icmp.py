#!/usr/bin/env python3
# qemu: --with tests/lib
"""ICMP errors about packets of routes: byte for byte, and as real stacks need them."""

import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_errors import between_stacks  # noqa: E402
from fep_packet import ACK, SYN, ether  # noqa: E402
from fep_test import case, check, equal, finish, load_module  # noqa: E402
from fep_wire import CLIENT, CLIENT_MAC, FE_OUT, IN_MAC, OUT_MAC, VIP, Wire, node, node_mac  # noqa: E402

NODE, PORT, NODE_PORT = node(1), 80, 8080
OUTER_ROUTER, INNER_ROUTER = "203.0.113.7", "10.0.0.254"
SPORT = 40_000
RECORD_ROUTE = bytes([7, 7, 4, 0, 0, 0, 0, 0])
FRAG_NEEDED = (3, 4, struct.pack("!HH", 0, 1280))


def icmp(source, destination, error, quote, **ip):
    kind, code, rest = error
    message = bytes([kind, code, 0, 0]) + rest + quote
    message = message[:2] + struct.pack("!H", packet.checksum(message)) + message[4:]
    return packet.ipv4(source, destination, 1, message, **ip)


def quoted(protocol, source, destination, sport, dport, cut=None, **more):
    """The first bytes of a packet; `cut` says how many behind its IP header."""
    if protocol == "tcp":
        whole = packet.tcp(source, destination, sport, dport, ACK, data=b"what got lost", ttl=57, **more)
    else:
        whole = packet.udp(source, destination, sport, dport, b"what got lost", ttl=57, **more)
    return whole if cut is None else whole[:(whole[0] & 15) * 4 + cut]


class About:
    """An error about a packet of the route of a client port, as it arrives and as it has to leave."""

    def __init__(self, reply, protocol="tcp", sport=SPORT, error=FRAG_NEEDED, source=None, quote=None, tail=b"", **ip):
        quote, ttl = quote or {}, ip.pop("ttl", 64)
        self.reply = reply
        if reply:
            source = source or OUTER_ROUTER
            self.arrives = ether(OUT_MAC, CLIENT_MAC, icmp(
                source, VIP, error, quoted(protocol, VIP, CLIENT, PORT, sport, **quote), ttl=ttl, **ip))
            self.leaves = ether(node_mac(1), IN_MAC, icmp(
                source, NODE, error, quoted(protocol, NODE, CLIENT, NODE_PORT, sport, **quote), ttl=ttl - 1, **ip))
        else:
            self.arrives = ether(IN_MAC, node_mac(1), icmp(
                source or NODE, CLIENT, error, quoted(protocol, CLIENT, NODE, sport, NODE_PORT, **quote), ttl=ttl, **ip))
            self.leaves = ether(CLIENT_MAC, OUT_MAC, icmp(
                VIP, CLIENT, error, quoted(protocol, CLIENT, VIP, sport, PORT, **quote), ttl=ttl - 1, **ip))
        self.arrives += tail

    def exchange(self, wire):
        return wire.exchange(self.arrives, via="client" if self.reply else "node")

    def is_translated(self, wire):
        there = {"nodes" if self.reply else "client": [self.leaves]}
        self.exchange(wire).are(**there, forward_icmp=1)

    def passes(self, wire, **counters):
        self.exchange(wire).are(passed=[self.arrives], **counters)


def begin(wire, sport=SPORT):
    wire.to_vip(packet.tcp(CLIENT, VIP, sport, PORT, SYN))
    wire.to_vip(packet.udp(CLIENT, VIP, sport, PORT, b"begin"))
    wire.settle()


def translated(wire):
    shapes = [
        ("tcp, 8 bytes quoted", {"quote": {"cut": 8}}), ("tcp, 16 bytes quoted", {"quote": {"cut": 16}}),
        ("tcp, 18 bytes quoted", {"quote": {"cut": 18}}), ("tcp, quoted whole", {}),
        ("udp, 8 bytes quoted", {"protocol": "udp", "quote": {"cut": 8}}), ("udp, quoted whole", {"protocol": "udp"}),
        ("udp without checksum", {"protocol": "udp", "quote": {"summed": False}}),
        ("options in both headers", {"options": RECORD_ROUTE, "quote": {"options": RECORD_ROUTE, "cut": 8}}),
        ("first fragment quoted", {"protocol": "udp", "quote": {"fragment": 0x2000}}),
        ("may be fragmented", {"fragment": 0}), ("ttl 2", {"ttl": 2}), ("trailing bytes", {"tail": b"\xee" * 9}),
    ]
    for code in range(16):
        shapes.append((f"unreachable, code {code}", {"error": (3, code, bytes(4))}))
    for code in (0, 1):
        shapes.append((f"time exceeded, code {code}", {"error": (11, code, bytes(4))}))
    shapes.append(("parameter problem", {"error": (12, 0, b"\x14\0\0\0")}))
    for reply, what in ((True, "about a reply"), (False, "about a request")):
        for name, shape in shapes:
            with case(f"{what}: {name}"):
                About(reply, **shape).is_translated(wire)
    with case("about a reply, of the client itself"):
        About(True, source=CLIENT, error=(3, 3, bytes(4)), protocol="udp").is_translated(wire)
    with case("about a request, of a router between"):
        About(False, source=INNER_ROUTER).is_translated(wire)


def damaged(wire):
    for reply in (True, False):
        way = "about a reply" if reply else "about a request"
        for name, at in (("header", 24), ("icmp", 36), ("quoted header", 52), ("quoted transport", 78)):
            with case(f"{way}: a wrong checksum ({name}) stays wrong by the same amount"):
                about = About(reply)
                frame = bytearray(about.arrives)
                frame[at + 1] ^= 1
                out = wire.exchange(bytes(frame), via="client" if reply else "node")
                frames = out.nodes if reply else out.client
                equal(len(frames), 1, "frames")

                def number(data):
                    return int.from_bytes(data[at:at + 2], "big")
                equal((number(frames[0]) - number(about.leaves)) % 0xFFFF,
                      (number(frame) - number(about.arrives)) % 0xFFFF, "error of the checksum")
                # The ICMP checksum covers the quote, so damage there makes it wrong; it has to stay so.
                total = packet.checksum(frames[0][34:])
                equal(total in (0, 0xFFFF), at == 24, "whether the ICMP checksum is right")


def dropped(wire):
    for reply in (True, False):
        with case(f"ttl 1 ends here and is not answered ({'reply' if reply else 'request'})"):
            About(reply, ttl=1).exchange(wire).are(drop_ttl=1)


def untouched(wire):
    reply = quoted("tcp", VIP, CLIENT, PORT, SPORT)

    def bent(at, value):
        return reply[:at] + value + reply[at + len(value):]

    cases = [
        ("unknown client port", "no_service", About(True, sport=SPORT + 1).arrives),
        ("other protocol's route", "no_service", ether(OUT_MAC, CLIENT_MAC, icmp(
            OUTER_ROUTER, VIP, FRAG_NEEDED, quoted("udp", VIP, CLIENT, 443, SPORT)))),
        ("other port of the VIP", "no_service", icmp(
            OUTER_ROUTER, VIP, FRAG_NEEDED, quoted("tcp", VIP, CLIENT, PORT + 1, SPORT))),
        ("to the front-end's own address", "no_service", icmp(
            OUTER_ROUTER, FE_OUT, FRAG_NEEDED, quoted("tcp", FE_OUT, CLIENT, PORT, SPORT))),
        ("a request quoted as the client sent it", "no_service", icmp(
            OUTER_ROUTER, CLIENT, FRAG_NEEDED, quoted("tcp", CLIENT, VIP, SPORT, PORT))),
        ("quoted packet from elsewhere", "malformed", icmp(
            OUTER_ROUTER, VIP, FRAG_NEEDED, quoted("tcp", "192.0.2.11", CLIENT, PORT, SPORT))),
        ("7 transport bytes", "malformed", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, reply[:27])),
        ("no transport bytes", "malformed", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, reply[:20])),
        ("no quote", "malformed", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, b"")),
        ("7 bytes of ICMP", "malformed", packet.ipv4(OUTER_ROUTER, VIP, 1, b"\3\4\0\0\0\0\0")),
        ("no bytes of ICMP", "malformed", packet.ipv4(OUTER_ROUTER, VIP, 1, b"")),
        ("quoted version 6", "malformed", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, bent(0, b"\x65"))),
        ("quoted header of 16 bytes", "malformed", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, bent(0, b"\x44"))),
        ("quoted header beyond the end", "malformed", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, bent(0, b"\x4f")[:48])),
        ("total length beyond the end", "malformed", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, reply)[:-1]),
        ("quoted later fragment", "fragment", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, bent(6, b"\0\1"))),
        ("first fragment of an error", "fragment", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, reply, fragment=0x2000)),
        ("source-routed", "source_route", icmp(
            OUTER_ROUTER, VIP, FRAG_NEEDED, reply, options=bytes([131, 7, 4, 10, 0, 0, 11, 0]))),
        ("quoted ICMP", "foreign", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, bent(9, b"\1"))),
        ("quoted SCTP", "foreign", icmp(OUTER_ROUTER, VIP, FRAG_NEEDED, bent(9, b"\x84"))),
        ("echo reply", "foreign", icmp(OUTER_ROUTER, VIP, (0, 0, bytes(4)), reply)),
        ("source quench", "foreign", icmp(OUTER_ROUTER, VIP, (4, 0, bytes(4)), reply)),
        ("redirect", "foreign", icmp(OUTER_ROUTER, VIP, (5, 1, bytes(4)), reply)),
        ("from 127.0.0.1", "foreign", icmp("127.0.0.1", VIP, FRAG_NEEDED, reply)),
    ]
    for name, counter, sent in cases:
        with case(f"untouched: {name}"):
            frame = sent if sent[:6] == packet.mac_bytes(OUT_MAC) else ether(OUT_MAC, CLIENT_MAC, sent)
            wire.exchange(frame).are(passed=[frame], **{f"pass_{counter}": 1})
    with case("untouched: a node's error about no route, though it is a service's node"):
        About(False, sport=SPORT + 1).passes(wire, pass_no_service=1)
    with case("an echo request to the VIP is answered by the host"):
        frame = ether(OUT_MAC, CLIENT_MAC, icmp(CLIENT, VIP, (8, 0, b"ping"), b"pong"))
        out = wire.exchange(frame)
        equal((out.passed, out.nodes, out.counters), ([frame], [], {"pass_foreign": 1}), "what became of it")
        equal([(seen[34], seen[38:]) for seen in out.client], [(0, b"pingpong")], "answers")


def nothing_of_the_route_changes(wire):
    def route():
        found = [r for r in wire.fep.dump("routes") if r.client == (CLIENT, SPORT) and r.service[0] == "tcp"]
        equal(len(found), 1, "routes of the client")
        return found[0]

    with case("an error neither refreshes a route nor changes its state"):
        begin(wire)
        time.sleep(2.5)
        was = route()
        for reply in (True, False):
            About(reply).is_translated(wire)
        now = route()
        check(now.idle_ms >= was.idle_ms >= 2000, f"idle {was.idle_ms} ms, then {now.idle_ms} ms")
        equal(now.state, was.state, "state")
    with case("errors are counted by service, not as traffic"):
        def figures():
            service = next(s for s in wire.fep.dump("services") if s.service[0] == "udp")
            return service.counters["forward_icmp"], service.packets_in, service.packets_out
        before = figures()
        About(True, "udp").is_translated(wire)
        About(False, "udp").is_translated(wire)
        equal([now - was for now, was in zip(figures(), before)], [2, 0, 0], "forward_icmp and packets")
    with case("untouched: errors about the routes of a failed node"):
        wire.fep.commit(op("backend_fail", None, (NODE, 0)))
        for reply in (True, False):
            About(reply).passes(wire, pass_no_service=1)
        wire.fep.commit(op("backend_restore", None, (NODE, 0)))
    with case("untouched: errors about routes whose time is over, swept or not"):
        wire.fep.commit(op("service_set", ("udp", VIP, PORT), timeouts=(30, 900, 120, 10, 1)))
        ports = range(50_000, 50_064)
        for sport in ports:
            wire.to_vip(packet.udp(CLIENT, VIP, sport, PORT, b"begin"))
        wire.settle()
        time.sleep(1.1)
        frames = [About(True, "udp", sport).arrives for sport in ports]
        out = wire.exchange(*frames)
        # The sweep takes its time; most routes are still in the table.
        out.counters.pop("route_expired", None)
        out.are(passed=frames, pass_no_service=len(frames))


def on_the_wire():
    wire = Wire(nodes=1)
    for protocol in ("tcp", "udp"):
        wire.fep.add_service((protocol, VIP, PORT), [(NODE, NODE_PORT)])
    begin(wire)
    translated(wire)
    damaged(wire)
    dropped(wire)
    untouched(wire)
    nothing_of_the_route_changes(wire)


def main():
    load_module()
    on_the_wire()
    between_stacks(4)
    finish()


main()
