#!/usr/bin/env python3
# qemu: --with tests/lib
"""ICMPv6 errors about packets of routes, byte for byte."""

import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_flow import Flow  # noqa: E402
from fep_packet import ACK, ether, icmp, ip_bytes, transport_at  # noqa: E402
from fep_test import case, check, equal, finish, load_module  # noqa: E402
from fep_wire import CLIENT_MAC, IN_MAC, OUT_MAC, V6, Wire, node_mac  # noqa: E402

CLIENT, VIP, NODE, PORT, NODE_PORT = V6.client, V6.vip, V6.node(1), 80, 8080
OUTER_ROUTER, INNER_ROUTER = "2001:db8:77::7", "2001:db8:1::fe"
SPORT = 40_000
TOO_BIG = (2, 0, struct.pack("!I", 1280))
HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
PAD6 = b"\1\4\0\0\0\0"
SOME = [(HOP, PAD6), (DESTINATION, PAD6)]
MANY = [(HOP, PAD6)] + [(DESTINATION, PAD6)] * 31


def quoted(protocol, source, destination, sport, dport, cut=None, **more):
    """The first bytes of a packet; `cut` says how many behind its headers of IPv6."""
    if protocol == "tcp":
        whole = packet.tcp(source, destination, sport, dport, ACK, data=b"what got lost", ttl=57, **more)
    else:
        whole = packet.udp(source, destination, sport, dport, b"what got lost", ttl=57, **more)
    return whole if cut is None else whole[:transport_at(whole)[0] + cut]


def error(source, destination, kind, quote, **header):
    kind, code, rest = kind
    return icmp(source, destination, kind, code, rest + quote, **header)


class About:
    """An error about a packet of the route of a client port, as it arrives and as it has to leave."""

    def __init__(self, reply, protocol="tcp", sport=SPORT, kind=TOO_BIG, source=None, quote=None, tail=b"", ttl=64,
                 **header):
        quote = quote or {}
        self.reply = reply
        if reply:
            source = source or OUTER_ROUTER
            self.arrives = ether(OUT_MAC, CLIENT_MAC, error(
                source, VIP, kind, quoted(protocol, VIP, CLIENT, PORT, sport, **quote), ttl=ttl, **header))
            self.leaves = ether(node_mac(1), IN_MAC, error(
                source, NODE, kind, quoted(protocol, NODE, CLIENT, NODE_PORT, sport, **quote), ttl=ttl - 1, **header))
        else:
            self.arrives = ether(IN_MAC, node_mac(1), error(
                source or NODE, CLIENT, kind, quoted(protocol, CLIENT, NODE, sport, NODE_PORT, **quote), ttl=ttl,
                **header))
            self.leaves = ether(CLIENT_MAC, OUT_MAC, error(
                VIP, CLIENT, kind, quoted(protocol, CLIENT, VIP, sport, PORT, **quote), ttl=ttl - 1, **header))
        self.arrives += tail

    def exchange(self, wire):
        return wire.exchange(self.arrives, via="client" if self.reply else "node")

    def is_translated(self, wire):
        there = {"nodes" if self.reply else "client": [self.leaves]}
        self.exchange(wire).are(**there, forward_icmp=1)

    def passes(self, wire, **counters):
        self.exchange(wire).are(passed=[self.arrives], **counters)


def begin(wire, sport=SPORT):
    for protocol in ("tcp", "udp"):
        Flow(sport, protocol, V6).begin(wire)


def translated(wire):
    shapes = [
        ("tcp, 8 bytes quoted", {"quote": {"cut": 8}}), ("tcp, 16 bytes quoted", {"quote": {"cut": 16}}),
        ("tcp, 18 bytes quoted", {"quote": {"cut": 18}}),
        ("tcp, quoted whole", {}),
        ("udp, 8 bytes quoted", {"protocol": "udp", "quote": {"cut": 8}}),
        ("udp, 9 bytes quoted", {"protocol": "udp", "quote": {"cut": 9}}), ("udp, quoted whole", {"protocol": "udp"}),
        ("udp without checksum", {"protocol": "udp", "quote": {"summed": False}}),
        ("extension headers outside", {"extensions": SOME}),
        ("extension headers quoted", {"quote": {"extensions": SOME, "cut": 8}}),
        ("extension headers in both", {"extensions": SOME, "quote": {"extensions": SOME}}),
        ("as many extension headers as it takes in both", {"extensions": MANY, "quote": {"extensions": MANY}}),
        ("a quoted routing header that has done its work",
         {"quote": {"extensions": [(ROUTING, b"\2\0\0\0\0\0" + ip_bytes("2001:db8:9::9"))]}}),
        ("traffic class and flow label", {"tos": 0xC0, "flow": 0xABCDE, "quote": {"tos": 8, "flow": 0x12345}}),
        ("hop limit 2", {"ttl": 2}), ("trailing bytes", {"tail": b"\xee" * 9}),
        ("as long as they come", {"protocol": "udp", "extensions": [(DESTINATION, b"\1\xf8" + bytes(248) + PAD6[:4])]}),
    ]
    for code in range(8):
        shapes.append((f"unreachable, code {code}", {"kind": (1, code, bytes(4))}))
    for mtu in (0, 68, 1280, 1500, 0xFFFFFFFF):
        shapes.append((f"too big, MTU {mtu}", {"kind": (2, 0, struct.pack("!I", mtu))}))
    for code in (0, 1):
        shapes.append((f"time exceeded, code {code}", {"kind": (3, code, bytes(4))}))
    for code in (0, 1, 2):
        shapes.append((f"parameter problem, code {code}", {"kind": (4, code, b"\0\0\0\x28")}))
    for reply, what in ((True, "about a reply"), (False, "about a request")):
        for name, shape in shapes:
            with case(f"{what}: {name}"):
                About(reply, **shape).is_translated(wire)
    with case("about a reply, of the client itself"):
        About(True, source=CLIENT, kind=(1, 4, bytes(4)), protocol="udp").is_translated(wire)
    with case("about a request, of a router between"):
        About(False, source=INNER_ROUTER).is_translated(wire)


def damaged(wire):
    for reply in (True, False):
        way = "about a reply" if reply else "about a request"
        # Where the ICMPv6 checksum is, and that of the quoted TCP header.
        for name, at in (("icmp", 56), ("quoted transport", 118)):
            with case(f"{way}: a wrong checksum ({name}) stays wrong by the same amount"):
                about = About(reply)
                frame = bytearray(about.arrives)
                frame[at + 1] ^= 1
                out = wire.exchange(bytes(frame), via="client" if reply else "node")
                frames = out.nodes if reply else out.client
                equal(len(frames), 1, "frames")

                def number(data, at=at):
                    return int.from_bytes(data[at:at + 2], "big")
                equal((number(frames[0]) - number(about.leaves)) % 0xFFFF,
                      (number(frame) - number(about.arrives)) % 0xFFFF, "error of the checksum")
                # The ICMPv6 checksum covers the quote, so damage there makes it wrong; it has to stay so.
                seen = frames[0][14:]
                right = icmp(*packet.addresses(seen), seen[40], seen[41], seen[44:])
                equal(right[42:44] == seen[42:44], False, "whether the ICMPv6 checksum is right")


def dropped(wire):
    for reply in (True, False):
        for hops in (1, 0):
            with case(f"hop limit {hops} ends here and is not answered ({'reply' if reply else 'request'})"):
                about = About(reply, ttl=1)
                about.arrives = about.arrives[:21] + bytes([hops]) + about.arrives[22:]
                about.exchange(wire).are(drop_ttl=1)
    with case("larger than the way out: dropped, and not answered"):
        wire.fe.ip("link set in0 mtu 1280")
        whole = quoted("udp", VIP, CLIENT, PORT, SPORT) + bytes(1200)
        frame = ether(OUT_MAC, CLIENT_MAC, error(OUTER_ROUTER, VIP, TOO_BIG, whole))
        wire.exchange(frame).are(drop_too_big=1)
        wire.fe.ip("link set in0 mtu 1500")


def untouched(wire):
    reply = quoted("tcp", VIP, CLIENT, PORT, SPORT)

    def bent(at, value):
        return reply[:at] + value + reply[at + len(value):]

    def about(quote, kind=TOO_BIG, source=OUTER_ROUTER, destination=VIP, **header):
        return error(source, destination, kind, quote, **header)

    fragment = (FRAGMENT, struct.pack("!HI", 1, 7))
    segments = (ROUTING, b"\0\1\0\0\0\0" + ip_bytes(NODE))
    cases = [
        ("unknown client port", "no_service", About(True, sport=SPORT + 1).arrives[14:]),
        ("other protocol's route", "no_service", about(quoted("udp", VIP, CLIENT, 443, SPORT))),
        ("other port of the VIP", "no_service", about(quoted("tcp", VIP, CLIENT, PORT + 1, SPORT))),
        ("to the front-end's own address", "no_service", about(
            quoted("tcp", V6.fe_out, CLIENT, PORT, SPORT), destination=V6.fe_out)),
        ("a request quoted as the client sent it", "no_service", about(
            quoted("tcp", CLIENT, VIP, SPORT, PORT), destination=CLIENT)),
        ("quoted packet from elsewhere", "malformed", about(quoted("tcp", "2001:db8::11", CLIENT, PORT, SPORT))),
        ("7 transport bytes", "malformed", about(reply[:47])),
        ("no transport bytes", "malformed", about(reply[:40])),
        ("39 bytes of the quoted header", "malformed", about(reply[:39])),
        ("no quote", "malformed", about(b"")),
        ("7 bytes of ICMPv6", "malformed", packet.ipv6(OUTER_ROUTER, VIP, 58, b"\2\0\0\0\0\0\0")),
        ("no bytes of ICMPv6", "malformed", packet.ipv6(OUTER_ROUTER, VIP, 58, b"")),
        ("quoted version 4", "malformed", about(bent(0, b"\x45"))),
        ("quoted extension headers cut off", "malformed", about(
            quoted("tcp", VIP, CLIENT, PORT, SPORT, extensions=SOME)[:50])),
        ("payload length beyond the end", "malformed", about(reply)[:-1]),
        ("quoted fragment", "fragment", about(quoted("tcp", VIP, CLIENT, PORT, SPORT, extensions=[fragment]))),
        ("fragment of an error", "fragment", about(reply, extensions=[fragment])),
        ("source-routed", "source_route", about(reply, extensions=[segments])),
        ("source-routed quote", "source_route", about(quoted("tcp", VIP, CLIENT, PORT, SPORT, extensions=[segments]))),
        ("quoted ICMPv6", "foreign", about(bent(6, b"\x3a"))),
        ("quoted SCTP", "foreign", about(bent(6, b"\x84"))),
        ("ICMP of IPv4", "foreign", packet.ipv6(OUTER_ROUTER, VIP, 1, b"\3\4\0\0\0\0\5\0" + reply)),
        ("echo reply", "foreign", about(reply, (129, 0, bytes(4)))),
        ("unknown error", "foreign", about(reply, (5, 0, bytes(4)))),
        ("private error", "foreign", about(reply, (100, 0, bytes(4)))),
        ("redirect", "foreign", about(reply, (137, 0, bytes(4)))),
        ("from the loopback address", "foreign", about(reply, source="::1")),
        ("from a link-local address", "foreign", about(reply, source="fe80::7")),
        ("from a group", "foreign", about(reply, source="ff02::7")),
        ("to a group", "foreign", about(quoted("tcp", "ff0e::7", CLIENT, PORT, SPORT), destination="ff0e::7")),
    ]
    for name, counter, sent in cases:
        with case(f"untouched: {name}"):
            frame = ether(OUT_MAC, CLIENT_MAC, sent)
            out = wire.exchange(frame)
            equal([f.hex() for f in out.passed], [frame.hex()], "behind the filter")
            equal((out.nodes, out.counters), ([], {f"pass_{counter}": 1}), "the rest")
    with case("untouched: a node's error about no route, though it is a service's node"):
        About(False, sport=SPORT + 1).passes(wire, pass_no_service=1)
    with case("an error about an IPv4 route of the same ports is none about this one"):
        four = Flow(SPORT + 2)
        four.begin(wire)
        frame = ether(OUT_MAC, CLIENT_MAC, about(quoted("udp", VIP, CLIENT, PORT, SPORT + 2)))
        wire.exchange(frame).are(passed=[frame], pass_no_service=1)


def nothing_of_the_route_changes(wire):
    known = Flow(SPORT, "tcp", V6)
    with case("an error neither refreshes a route nor changes its state"):
        begin(wire)
        time.sleep(2.5)
        was = known.route(wire)
        for reply in (True, False):
            About(reply).is_translated(wire)
        now = known.route(wire)
        check(now.idle_ms >= was.idle_ms >= 2000, f"idle {was.idle_ms} ms, then {now.idle_ms} ms")
        equal(now.state, was.state, "state")
    with case("errors are counted by service, not as traffic"):
        def figures():
            service = next(s for s in wire.fep.dump("services") if s.service == ("udp", VIP, PORT))
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


def main():
    load_module()
    wire = Wire(nodes=1, ipv6=True)
    for protocol in ("tcp", "udp"):
        wire.fep.add_service((protocol, VIP, PORT), [(NODE, NODE_PORT)])
    wire.fep.add_service(Flow(1).service, [Flow(1).node])
    begin(wire)
    translated(wire)
    damaged(wire)
    dropped(wire)
    untouched(wire)
    nothing_of_the_route_changes(wire)
    finish()


main()
