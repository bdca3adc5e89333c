#!/usr/bin/env python3
# qemu: --with tests/lib
"""Packets that the filter translates, byte for byte, both ways.

Scapy says what has to come out: it takes the packet that went in apart, the test changes what a
translation changes, and scapy computes lengths and checksums anew.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from scapy.layers.inet import IP, TCP, UDP  # noqa: E402
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.packet import Padding  # noqa: E402

import fep_packet as packet  # noqa: E402
from fep_packet import ACK, FIN, PSH, RST, SYN, ether  # noqa: E402
from fep_test import case, equal, finish, load_module  # noqa: E402
from fep_wire import CLIENT, CLIENT_MAC, IN_MAC, OUT_MAC, VIP, Wire, node, node_mac  # noqa: E402

NODE, PORT, NODE_PORT = node(1), 80, 8080
ROUTER_ALERT = bytes([148, 4, 0, 0])
RECORD_ROUTE = bytes([7, 7, 4, 0, 0, 0, 0, 0])
TIMESTAMP = bytes([68, 12, 5, 0]) + bytes(8)
NOPS_END = bytes([1, 1, 1, 0])
FULL_OPTIONS = bytes([7, 39, 40]) + bytes(range(36)) + b"\0"
SYN_OPTIONS = bytes([2, 4, 5, 180, 4, 2, 8, 10]) + bytes(range(8)) + bytes([1, 3, 3, 7])
FULL_TCP_OPTIONS = bytes([8, 10]) + bytes(8) + bytes([5, 26]) + bytes(range(24)) + b"\1\1\1\0"
assert len(FULL_OPTIONS) == 40 and len(FULL_TCP_OPTIONS) == 40
BYTES = bytes(range(256)) * 6


def translated(frame, request):
    """The frame as it has to come out."""
    parsed = Ether(frame)
    ip = parsed[IP]
    if ip.haslayer(Padding):
        ip[Padding].underlayer.remove_payload()
    transport = ip.payload
    parsed.src, parsed.dst = (IN_MAC, node_mac(1)) if request else (OUT_MAC, CLIENT_MAC)
    if request:
        ip.dst, transport.dport = NODE, NODE_PORT
    else:
        ip.src, transport.sport = VIP, PORT
    ip.ttl -= 1
    del ip.chksum
    # No checksum stays no checksum; scapy itself turns a sum of 0 into 0xffff.
    if not (isinstance(transport, UDP) and transport.chksum == 0):
        del transport.chksum
    return bytes(parsed)


def payload_for_zero_sum(build):
    """Two bytes that make the checksum of what `build(bytes)` returns the one's complement of 0."""
    plain = build(b"\0\0")
    header = (plain[0] & 15) * 4
    total = ~int.from_bytes(plain[header + 6:header + 8], "big") & 0xFFFF
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
    return [("sum 0 before", before(payload_for_zero_sum(before))),
            ("sum 0 after", before(payload_for_zero_sum(after)))]


def packets(request, sport):
    """Names and IPv4 packets of one client port, to the VIP or from the node."""
    udp_ends = (CLIENT, VIP, sport, PORT) if request else (NODE, CLIENT, NODE_PORT, sport)

    def udp(data=b"", **more):
        return packet.udp(*udp_ends, data, **more)

    def tcp(flags, **more):
        return packet.tcp(*udp_ends, flags, **more)

    yield "udp empty", udp()
    for size in (1, 2, 3, 17, 18, 19, 511, 1471, 1472):
        yield f"udp {size} bytes", udp(BYTES[:size])
    yield "udp without checksum", udp(b"abc", summed=False)
    yield "udp without checksum, empty", udp(summed=False)
    yield from (("udp " + name, sent) for name, sent in zero_sums(request, sport))
    yield "udp may be fragmented", udp(b"xy", fragment=0)
    yield "udp evil bit", udp(b"xy", fragment=0x8000)
    yield "udp tos, ident", udp(b"xy", tos=0xB9, ident=0xFFFF)
    yield "udp ttl 255", udp(b"xy", ttl=255)
    yield "udp ttl 2", udp(b"xy", ttl=2)
    for name, options in (("router alert", ROUTER_ALERT), ("record route", RECORD_ROUTE), ("timestamp", TIMESTAMP),
                          ("nops and end", NOPS_END), ("40 bytes", FULL_OPTIONS)):
        yield f"udp ip options {name}", udp(b"abcde", options=options)
    yield "tcp data", tcp(PSH | ACK, seq=2 ** 32 - 2, ack=7, data=b"abcd")
    yield "tcp odd data", tcp(ACK, data=b"abc")
    yield "tcp full", tcp(ACK, data=BYTES[:1460])
    yield "tcp timestamps", tcp(ACK, options=b"\1\1\10\12" + bytes(range(8)), data=b"x")
    yield "tcp 40 bytes of options", tcp(ACK, options=FULL_TCP_OPTIONS, data=b"xyz")
    yield "tcp options of a syn", tcp(ACK, options=SYN_OPTIONS, data=b"x")
    yield "tcp ecn flags", tcp(ACK | 0x40 | 0x80, data=b"x")
    yield "tcp urgent", tcp(ACK | 0x20, data=b"x")
    yield "tcp no flags", tcp(0)
    yield "tcp every flag but syn, rst, fin", tcp(0xF8)
    yield "tcp fin", tcp(FIN | ACK)
    yield "tcp syn in between", tcp(SYN | (0 if request else ACK), options=SYN_OPTIONS)
    yield "tcp rst", tcp(RST)


def with_ip_options(sport):
    return packet.ipv4(CLIENT, VIP, 6, packet.tcp(CLIENT, VIP, sport, PORT, ACK, options=SYN_OPTIONS, data=b"q")[20:],
                       options=FULL_OPTIONS)


def begin(wire, sport, protocol):
    """A route for a client port."""
    if protocol == "tcp":
        wire.to_vip(packet.tcp(CLIENT, VIP, sport, PORT, SYN))
    else:
        wire.to_vip(packet.udp(CLIENT, VIP, sport, PORT, b"begin"))


def forward_one(wire, name, sent, request, sport):
    ours = ether(OUT_MAC, CLIENT_MAC, sent) if request else ether(IN_MAC, node_mac(1), sent)
    begin(wire, sport, name[:3])
    outcome = wire.exchange(ours, via="client" if request else "node")
    want = translated(ours, request)
    if request:
        outcome.are(nodes=[want], forward_request=1)
    else:
        outcome.are(client=[want], forward_reply=1)


def both_ways(wire):
    sport = 20_000
    for request in (True, False):
        way = "request" if request else "reply"
        for name, _ in list(packets(request, 1)):
            # Each packet has a client of its own.
            sport += 1
            sent = dict(packets(request, sport))[name]
            with case(f"{way}: {name}"):
                forward_one(wire, name, sent, request, sport)
    with case("request: tcp with 40 bytes of options in both headers"):
        forward_one(wire, "tcp", with_ip_options(30_000), True, 30_000)


def new_clients(wire):
    with case("first packet of a client: tcp"):
        frame = ether(OUT_MAC, CLIENT_MAC, packet.tcp(CLIENT, VIP, 31_000, PORT, SYN | 0xC0, options=SYN_OPTIONS))
        wire.exchange(frame).are(nodes=[translated(frame, True)], forward_request=1, route_allocated=1)
    with case("first packet of a client: udp, empty"):
        frame = ether(OUT_MAC, CLIENT_MAC, packet.udp(CLIENT, VIP, 31_000, PORT))
        wire.exchange(frame).are(nodes=[translated(frame, True)], forward_request=1, route_allocated=1)
    with case("the client's port 65535 and 1"):
        for sport in (65535, 1):
            frame = ether(OUT_MAC, CLIENT_MAC, packet.udp(CLIENT, VIP, sport, PORT, b"q"))
            wire.exchange(frame).are(nodes=[translated(frame, True)], forward_request=1, route_allocated=1)
            back = ether(IN_MAC, node_mac(1), packet.udp(NODE, CLIENT, NODE_PORT, sport, b"a"))
            wire.exchange(back, via="node").are(client=[translated(back, False)], forward_reply=1)


def padded_frames(wire):
    with case("link padding is cut off"):
        for size in (0, 1, 2, 17):
            sport = 32_000 + size
            begin(wire, sport, "udp")
            frame = ether(OUT_MAC, CLIENT_MAC, packet.udp(CLIENT, VIP, sport, PORT, BYTES[:size]))
            padded = frame + b"\xee" * (60 - len(frame))
            wire.exchange(padded).are(nodes=[translated(frame, True)], forward_request=1)
            back = ether(IN_MAC, node_mac(1), packet.udp(NODE, CLIENT, NODE_PORT, sport, BYTES[:size]))
            padded = back + b"\xee" * (60 - len(back))
            wire.exchange(padded, via="node").are(client=[translated(back, False)], forward_reply=1)
    with case("trailing bytes behind a large packet are cut off"):
        frame = ether(OUT_MAC, CLIENT_MAC, packet.udp(CLIENT, VIP, 32_000, PORT, BYTES[:1000]))
        wire.exchange(frame + b"\xee" * 7).are(nodes=[translated(frame, True)], forward_request=1)


def damaged(wire):
    with case("a wrong transport checksum stays wrong by the same amount"):
        for protocol, at in (("udp", 6), ("tcp", 16)):
            begin(wire, 33_000, protocol)
            good = (packet.udp(CLIENT, VIP, 33_000, PORT, b"data") if protocol == "udp"
                    else packet.tcp(CLIENT, VIP, 33_000, PORT, ACK, data=b"data"))
            bad = bytearray(good)
            bad[20 + at + 1] ^= 0x01
            outcome = wire.exchange(ether(OUT_MAC, CLIENT_MAC, bytes(bad)))
            equal(len(outcome.nodes), 1, "frames at the nodes")
            seen = Ether(outcome.nodes[0])
            right = Ether(translated(ether(OUT_MAC, CLIENT_MAC, good), True))
            layer = UDP if protocol == "udp" else TCP
            difference = (seen[layer].chksum - right[layer].chksum) % 0xFFFF
            was = (int.from_bytes(bad[20 + at:22 + at], "big") - int.from_bytes(good[20 + at:22 + at], "big")) % 0xFFFF
            equal(difference, was, f"{protocol}: error of the checksum")
    with case("a wrong header checksum of a known client stays wrong"):
        begin(wire, 33_001, "udp")
        bad = bytearray(packet.udp(CLIENT, VIP, 33_001, PORT, b"data"))
        bad[11] ^= 0x01
        outcome = wire.exchange(ether(OUT_MAC, CLIENT_MAC, bytes(bad)))
        for frame in outcome.nodes:
            header = frame[14:34]
            equal(packet.checksum(header) == 0, False, "header checksum looks right")
        equal(len(outcome.nodes), 1, "frames at the nodes")


def traffic_is_counted(wire):
    with case("traffic of service and node: packets and bytes from the IP header on"):
        def figures():
            service = next(s for s in wire.fep.dump("services") if s.service[0] == "udp")
            backend = next(b for b in wire.fep.dump("backends") if b.service[0] == "udp")
            return [(r.connections, r.packets_in, r.packets_out, r.bytes_in, r.bytes_out) for r in (service, backend)]

        before = figures()
        frame = ether(OUT_MAC, CLIENT_MAC, packet.udp(CLIENT, VIP, 34_000, PORT, b"12345"))
        back = ether(IN_MAC, node_mac(1), packet.udp(NODE, CLIENT, NODE_PORT, 34_000, b"1234567"))
        wire.exchange(frame + b"\0" * 13)
        wire.exchange(frame)
        wire.exchange(back, via="node")
        for was, now in zip(before, figures()):
            equal(tuple(n - w for n, w in zip(now, was)), (1, 2, 1, 66, 35), "traffic")


def main():
    load_module()
    wire = Wire()
    for protocol in ("tcp", "udp"):
        wire.fep.add_service((protocol, VIP, PORT), [(NODE, NODE_PORT)])
    new_clients(wire)
    both_ways(wire)
    padded_frames(wire)
    damaged(wire)
    traffic_is_counted(wire)
    finish()


main()
