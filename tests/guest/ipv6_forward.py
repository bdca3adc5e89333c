#!/usr/bin/env python3
# qemu: --with tests/lib
"""IPv6 packets that the filter translates, byte for byte, both ways.

Scapy says what has to come out: it takes the packet that went in apart, the test changes what a
translation changes, and scapy computes checksums anew.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from scapy.layers.inet import TCP, UDP  # noqa: E402
from scapy.layers.inet6 import IPv6  # noqa: E402
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.packet import Padding  # noqa: E402

import fep_packet as packet  # noqa: E402
from fep_flow import Flow  # noqa: E402
from fep_packet import ACK, FIN, PSH, RST, SYN, ether  # noqa: E402
from fep_test import case, check, equal, finish, load_module  # noqa: E402
from fep_wire import CLIENT_MAC, IN_MAC, OUT_MAC, V6, Wire, node_mac  # noqa: E402

CLIENT, VIP, NODE, PORT, NODE_PORT = V6.client, V6.vip, V6.node(1), 80, 8080
SYN_OPTIONS = bytes([2, 4, 5, 160, 4, 2, 8, 10]) + bytes(range(8)) + bytes([1, 3, 3, 7])
FULL_TCP_OPTIONS = bytes([8, 10]) + bytes(8) + bytes([5, 26]) + bytes(range(24)) + b"\1\1\1\0"
BYTES = bytes(range(256)) * 6
HOP, ROUTING, DESTINATION = 0, 43, 60
PAD6, ALERT = b"\1\4\0\0\0\0", b"\x05\2\0\0\1\0"


def padded(size):
    """Options of so many bytes, all padding, for a header of two bytes more."""
    out = b""
    while size > 257:
        out, size = out + b"\1\xff" + bytes(255), size - 257
    return out + (b"\0" if size == 1 else b"\1" + bytes([size - 2]) + bytes(size - 2))


def route_done(kind, address="2001:db8:9::9"):
    """A routing header that has done its work: no segments left."""
    return bytes([kind, 0, 0, 0, 0, 0]) + packet.ip_bytes(address)


EXTENSIONS = [
    ("hop by hop", [(HOP, PAD6)]), ("hop by hop, router alert", [(HOP, ALERT)]),
    ("hop by hop, 24 bytes", [(HOP, padded(22))]), ("destination options", [(DESTINATION, PAD6)]),
    ("destination options twice", [(DESTINATION, PAD6), (DESTINATION, padded(14))]),
    ("routing done", [(ROUTING, route_done(2))]), ("routing done, unknown type", [(ROUTING, route_done(254))]),
    ("all of them", [(HOP, ALERT), (DESTINATION, PAD6), (ROUTING, route_done(0)), (DESTINATION, PAD6)]),
    ("256 bytes in one", [(HOP, padded(254))]),
    ("256 bytes in 32", [(HOP, PAD6)] + [(DESTINATION, PAD6)] * 31),
]


def translated(frame, request):
    """The frame as it has to come out."""
    parsed = Ether(frame)
    ip = parsed[IPv6]
    if ip.haslayer(Padding):
        ip[Padding].underlayer.remove_payload()
    transport = ip[TCP] if ip.haslayer(TCP) else ip[UDP]
    parsed.src, parsed.dst = (IN_MAC, node_mac(1)) if request else (OUT_MAC, CLIENT_MAC)
    if request:
        ip.dst, transport.dport = NODE, NODE_PORT
    else:
        ip.src, transport.sport = VIP, PORT
    ip.hlim -= 1
    # No checksum stays no checksum; scapy itself turns a sum of 0 into 0xffff.
    if not (isinstance(transport, UDP) and transport.chksum == 0):
        del transport.chksum
    return bytes(parsed)


def payload_for_zero_sum(build):
    """Two bytes that make the checksum of what `build(bytes)` returns the one's complement of 0."""
    plain = build(b"\0\0")
    total = ~int.from_bytes(plain[46:48], "big") & 0xFFFF
    return (0xFFFF - total).to_bytes(2, "big")


def zero_sums(request, sport):
    """A datagram whose checksum is 0xffff, and one whose translated checksum is."""
    if request:
        def before(data):
            return packet.udp(CLIENT, VIP, sport, PORT, data)

        def after(data):
            return packet.udp(CLIENT, NODE, sport, NODE_PORT, data)
    else:
        def before(data):
            return packet.udp(NODE, CLIENT, NODE_PORT, sport, data)

        def after(data):
            return packet.udp(VIP, CLIENT, PORT, sport, data)
    yield "sum 0 before", before(payload_for_zero_sum(before))
    yield "sum 0 after", before(payload_for_zero_sum(after))


def packets(request, sport):
    """Names and IPv6 packets of one client port, to the VIP or from the node."""
    ends = (CLIENT, VIP, sport, PORT) if request else (NODE, CLIENT, NODE_PORT, sport)

    def udp(data=b"", **more):
        return packet.udp(*ends, data, **more)

    def tcp(flags, **more):
        return packet.tcp(*ends, flags, **more)

    yield "udp empty", udp()
    for size in (1, 2, 3, 5, 6, 7, 511, 1451, 1452):
        yield f"udp {size} bytes", udp(BYTES[:size])
    yield "udp without checksum", udp(b"abc", summed=False)
    yield from (("udp " + name, sent) for name, sent in zero_sums(request, sport))
    yield "udp traffic class, flow label", udp(b"xy", tos=0xB9, flow=0xFFFFF)
    yield "udp hop limit 255", udp(b"xy", ttl=255)
    yield "udp hop limit 2", udp(b"xy", ttl=2)
    for name, extensions in EXTENSIONS:
        yield f"udp behind {name}", udp(b"abcde", extensions=extensions)
    yield "tcp data", tcp(PSH | ACK, seq=2 ** 32 - 2, ack=7, data=b"abcd")
    yield "tcp odd data", tcp(ACK, data=b"abc")
    yield "tcp full", tcp(ACK, data=BYTES[:1440])
    yield "tcp timestamps", tcp(ACK, options=b"\1\1\10\12" + bytes(range(8)), data=b"x")
    yield "tcp 40 bytes of options", tcp(ACK, options=FULL_TCP_OPTIONS, data=b"xyz")
    yield "tcp traffic class, flow label", tcp(ACK, data=b"x", tos=0x47, flow=0x12345)
    yield "tcp behind all extension headers", tcp(ACK, data=b"abc", options=SYN_OPTIONS, extensions=EXTENSIONS[7][1])
    yield "tcp behind 256 bytes", tcp(ACK, data=b"abc", extensions=EXTENSIONS[9][1])
    yield "tcp ecn flags", tcp(ACK | 0x40 | 0x80, data=b"x")
    yield "tcp urgent", tcp(ACK | 0x20, data=b"x")
    yield "tcp no flags", tcp(0)
    yield "tcp fin", tcp(FIN | ACK)
    yield "tcp syn in between", tcp(SYN | (0 if request else ACK), options=SYN_OPTIONS)
    yield "tcp rst", tcp(RST)


def both_ways(wire):
    sport = 20_000
    for request in (True, False):
        for name, _ in list(packets(request, 1)):
            # Each packet has a client of its own.
            sport += 1
            sent = dict(packets(request, sport))[name]
            with case(f"{'request' if request else 'reply'}: {name}"):
                Flow(sport, name[:3], V6).begin(wire)
                ours = ether(OUT_MAC, CLIENT_MAC, sent) if request else ether(IN_MAC, node_mac(1), sent)
                outcome = wire.exchange(ours, via="client" if request else "node")
                if request:
                    outcome.are(nodes=[translated(ours, True)], forward_request=1)
                else:
                    outcome.are(client=[translated(ours, False)], forward_reply=1)


def new_clients(wire):
    for name, sent in (("tcp", packet.tcp(CLIENT, VIP, 31_000, PORT, SYN | 0xC0, options=SYN_OPTIONS)),
                       ("udp, empty", packet.udp(CLIENT, VIP, 31_000, PORT)),
                       ("udp without checksum", packet.udp(CLIENT, VIP, 31_001, PORT, b"abc", summed=False)),
                       ("udp, port 1", packet.udp(CLIENT, VIP, 1, PORT, b"q")),
                       ("udp, port 65535", packet.udp(CLIENT, VIP, 65535, PORT, b"q")),
                       ("udp behind extension headers", packet.udp(CLIENT, VIP, 31_002, PORT, b"q",
                                                                   extensions=EXTENSIONS[7][1])),
                       ("tcp behind extension headers", packet.tcp(CLIENT, VIP, 31_002, PORT, SYN,
                                                                   extensions=EXTENSIONS[9][1]))):
        with case(f"first packet of a client: {name}"):
            frame = ether(OUT_MAC, CLIENT_MAC, sent)
            wire.exchange(frame).are(nodes=[translated(frame, True)], forward_request=1, route_allocated=1)
    with case("clients whose addresses differ in one bit are different clients"):
        whole = int.from_bytes(packet.ip_bytes("2001:db8:2::1"), "big")
        frames = [ether(OUT_MAC, CLIENT_MAC, packet.udp(packet.ip_text((whole ^ 1 << bit).to_bytes(16, "big")), VIP,
                                                        31_003, PORT, b"q")) for bit in range(1, 80)]
        wire.exchange(*frames).are(nodes=[translated(frame, True) for frame in frames], forward_request=79,
                                   route_allocated=79)
        wire.exchange(*frames).are(nodes=[translated(frame, True) for frame in frames], forward_request=79)
        equal(len({r.client for r in wire.fep.routes() if r.client[1] == 31_003}), 79, "clients")
    with case("ipv4 and ipv6 clients of one front-end"):
        four = Flow(31_004)
        wire.exchange(four.first()).are(nodes=[four.at_node(b"begin")], forward_request=1, route_allocated=1)
        six = Flow(31_004, ends=V6)
        wire.exchange(six.first(), six.request(), four.request()).are(
            nodes=[six.at_node(b"begin"), six.at_node(), four.at_node()], forward_request=3, route_allocated=1)
        four.is_forwarded(wire)
        six.is_forwarded(wire)


def padded_frames(wire):
    with case("link padding is cut off"):
        for size in (0, 1, 5):
            known = Flow(32_000 + size, ends=V6)
            known.begin(wire)
            for tail in (1, 7, 60):
                wire.exchange(known.request(BYTES[:size]) + b"\xee" * tail).are(
                    nodes=[known.at_node(BYTES[:size])], forward_request=1)
                wire.exchange(known.reply(BYTES[:size]) + b"\xee" * tail, via="node").are(
                    client=[known.at_client(BYTES[:size])], forward_reply=1)
    with case("trailing bytes behind a large packet, and behind extension headers, are cut off"):
        frame = known.request(BYTES[:1000], extensions=EXTENSIONS[7][1])
        wire.exchange(frame + b"\xee" * 9).are(nodes=[translated(frame, True)], forward_request=1)
    with case("padding of the first packet of a client is cut off"):
        new = Flow(32_100, ends=V6)
        wire.exchange(new.request(b"") + b"\xee" * 9).are(nodes=[new.at_node(b"")], forward_request=1,
                                                          route_allocated=1)


def damaged(wire):
    for protocol, at in (("udp", 46), ("tcp", 56)):
        with case(f"a wrong {protocol} checksum stays wrong by the same amount"):
            known = Flow(33_000, protocol, V6)
            known.begin(wire)
            for request in (True, False):
                good = known.request() if request else known.reply()
                bad = bytearray(good)
                bad[14 + at + 1] ^= 1
                outcome = wire.exchange(bytes(bad), via="client" if request else "node")
                seen = outcome.nodes if request else outcome.client
                equal(len(seen), 1, "frames")

                def number(frame, at=14 + at):
                    return int.from_bytes(frame[at:at + 2], "big")
                equal((number(seen[0]) - number(translated(good, request))) % 0xFFFF,
                      (number(bad) - number(good)) % 0xFFFF, "error of the checksum")


def traffic_is_counted(wire):
    with case("traffic of service and node: packets and bytes from the IP header on"):
        def figures():
            service = next(s for s in wire.fep.dump("services") if s.service == ("udp", VIP, PORT))
            backend, = wire.fep.dump("backends", service=("udp", VIP, PORT))
            return [(r.connections, r.packets_in, r.packets_out, r.bytes_in, r.bytes_out) for r in (service, backend)]

        known = Flow(34_000, ends=V6)
        before = figures()
        wire.exchange(known.request(b"12345") + b"\0" * 13)
        wire.exchange(known.request(b"12345", extensions=[(HOP, PAD6)]))
        wire.exchange(known.reply(b"1234567"), via="node")
        for was, now in zip(before, figures()):
            equal(tuple(n - w for n, w in zip(now, was)), (1, 2, 1, 53 + 61, 55), "traffic")
    with case("routes are listed with their IPv6 addresses"):
        route = known.route(wire)
        check(route is not None, "no route")
        equal((route.service, route.client, route.backend), (known.service, known.client, (NODE, NODE_PORT)), "route")


def main():
    load_module()
    wire = Wire(ipv6=True)
    for protocol in ("tcp", "udp"):
        wire.fep.add_service((protocol, VIP, PORT), [(NODE, NODE_PORT)])
    wire.fep.add_service(Flow(1).service, [Flow(1).node])
    new_clients(wire)
    both_ways(wire)
    padded_frames(wire)
    damaged(wire)
    traffic_is_counted(wire)
    finish()


main()
