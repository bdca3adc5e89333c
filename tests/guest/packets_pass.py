#!/usr/bin/env python3
# qemu: --with tests/lib
"""Packets that the filter must leave alone.

Each is sent twice: to a front-end without fep on its devices, and with it. Behind the filter it
arrives with exactly its bytes, nothing leaves towards the other side (forwarding is off), the
front-end's own stack answers what it answered without fep, and exactly one counter has grown by one.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_packet import ACK, ETH_ARP, ETH_IP, ETH_IPV6, FIN, PSH, RST, SYN, Seen, Tap, ether  # noqa: E402
from fep_test import case, equal, finish, load_module, wait_for  # noqa: E402
from fep_wire import (CLIENT, CLIENT_MAC, FE_OUT, IN_MAC, OUT_MAC, V6, VIP, Wire, in_time, node, node_mac)  # noqa: E402

PORT, NODE_PORT = 80, 8080
CLOSED = 81


def udp(data=b"data", sport=5000, dport=PORT, source=CLIENT, destination=VIP, **ip):
    return packet.udp(source, destination, sport, dport, data, **ip)


def tcp(flags=SYN, sport=5000, dport=PORT, source=CLIENT, destination=VIP, **more):
    return packet.tcp(source, destination, sport, dport, flags, **more)


def header_sum(data):
    """The packet with a right header checksum."""
    length = max((data[0] & 15) * 4, 20)
    header = data[:10] + b"\0\0" + data[12:length]
    return data[:10] + packet.checksum(header).to_bytes(2, "big") + data[12:]


def patched(data, at, value):
    """The packet with other bytes at a place, and a right header checksum."""
    return header_sum(data[:at] + value + data[at + len(value):])


def with_options(options):
    return packet.ipv4(CLIENT, VIP, 17, udp()[20:], options=options)


def malformed():
    yield "no bytes", b""
    yield "one byte", b"\x45"
    yield "19 bytes", udp()[:19]
    yield "header of 16 bytes", patched(udp(), 0, b"\x44")
    yield "header of 0 bytes", patched(udp(), 0, b"\x40")
    yield "header longer than the packet", patched(udp(), 0, b"\x4f")[:40]
    yield "total length above the packet's", patched(udp(), 2, (len(udp()) + 1).to_bytes(2, "big"))
    yield "total length 65535", patched(udp(), 2, b"\xff\xff")
    yield "total length below the header's", patched(udp(), 2, (19).to_bytes(2, "big"))
    yield "total length 0", patched(udp(), 2, b"\0\0")
    yield "udp header cut off", packet.ipv4(CLIENT, VIP, 17, udp()[20:27])
    yield "udp without header", packet.ipv4(CLIENT, VIP, 17, b"")
    yield "udp length 7", patched(udp(), 24, b"\0\7")
    yield "udp length 0", patched(udp(), 24, b"\0\0")
    yield "udp length above the packet's", patched(udp(), 24, (8 + 5).to_bytes(2, "big"))
    yield "tcp header cut off", packet.ipv4(CLIENT, VIP, 6, tcp()[20:39])
    yield "tcp without header", packet.ipv4(CLIENT, VIP, 6, b"")
    yield "tcp header of 16 bytes", patched(tcp(), 32, b"\x40")
    yield "tcp header above the packet's", patched(tcp(), 32, b"\x60")
    yield "udp source port 0", udp(sport=0)
    yield "udp destination port 0", udp(dport=0)
    yield "tcp source port 0", tcp(sport=0)
    yield "tcp destination port 0", tcp(dport=0)
    yield "option of length 0", with_options(bytes([7, 0, 4, 0]))
    yield "option of length 1", with_options(bytes([68, 1, 4, 0]))
    yield "option longer than the header", with_options(bytes([7, 7, 4, 0]))
    yield "option without length", with_options(bytes([1, 1, 1, 7]))
    for protocol, sent in (("udp", udp()), ("tcp", tcp())):
        bad = bytearray(sent)
        bad[10] ^= 0x40
        yield f"{protocol}: wrong header checksum of a new client", bytes(bad)
    bad = bytearray(with_options(bytes([148, 4, 0, 0])))
    bad[22] ^= 1
    yield "wrong header checksum, over options", bytes(bad)


def foreign():
    yield "version 5", patched(udp(), 0, b"\x55")
    yield "version 6 with the type of IPv4", patched(udp(), 0, b"\x65")
    for number in (1, 2, 4, 41, 47, 50, 132, 136, 255, 0):
        yield f"protocol {number}", packet.ipv4(CLIENT, VIP, number, udp()[20:])
    for source in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.255", "255.255.255.255"):
        yield f"from {source}", udp(source=source)
    for destination in ("224.0.0.1", "239.1.1.1", "255.255.255.255"):
        yield f"to {destination}", udp(destination=destination)


def elsewhere():
    yield "udp to another port of the VIP", udp(dport=CLOSED)
    yield "tcp to another port of the VIP", tcp(dport=CLOSED)
    yield "udp to the front-end's own address", udp(destination=FE_OUT)
    yield "tcp to the front-end's own address", tcp(destination=FE_OUT)
    yield "udp to somebody else", udp(destination="203.0.113.9")
    yield "tcp to somebody else", tcp(destination="203.0.113.9")
    yield "udp to a node's port, past the VIP", udp(destination=node(1), dport=NODE_PORT)
    yield "tcp to the node's port at the VIP", tcp(dport=NODE_PORT)


def without_route():
    """TCP to a service, not a SYN, from a client without route."""
    for name, flags in (("ack", ACK), ("data", PSH | ACK), ("fin", FIN | ACK), ("syn and ack", SYN | ACK),
                        ("no flags", 0), ("xmas", FIN | PSH | 0x20), ("syn and fin", SYN | FIN),
                        ("rst", RST), ("rst and ack", RST | ACK), ("syn and rst", SYN | RST)):
        yield f"tcp {name}", tcp(flags, ack=77, seq=99)


def fragments():
    whole = udp(b"0123456789abcdef")
    # The first two make a whole for the stack, which has nobody at that port.
    yield "first", packet.ipv4(CLIENT, VIP, 17, whole[20:36], fragment=0x2000)
    yield "last", packet.ipv4(CLIENT, VIP, 17, whole[36:], fragment=2)
    yield "middle", packet.ipv4(CLIENT, VIP, 17, b"12345678", fragment=0x2001, ident=8)
    yield "tiny first", packet.ipv4(CLIENT, VIP, 17, whole[20:28], fragment=0x2000, ident=9)
    yield "of tcp", packet.ipv4(CLIENT, VIP, 6, tcp()[20:36], fragment=0x2000, ident=10)
    yield "with df", packet.ipv4(CLIENT, VIP, 17, whole[20:36], fragment=0x6000, ident=11)


def source_routes():
    address = packet.ip_bytes(node(1))
    for name, kind in (("loose", 131), ("strict", 137)):
        for pointer in (4, 8):
            yield f"{name}, pointer {pointer}", with_options(bytes([kind, 7, pointer]) + address + b"\0")
    yield "behind another option", with_options(bytes([1, 148, 4, 0, 0, 131, 7, 4]) + address)


def of_nodes():
    """What nodes send that is no reply."""
    yield "pass_no_service", "a node's own business", packet.udp(node(1), CLIENT, 53, 5353, b"x")
    yield "pass_foreign", "a node's ping", packet.ipv4(node(1), CLIENT, 1, bytes(16))
    reply = packet.udp(node(1), CLIENT, NODE_PORT, 5000, bytes(16))
    yield "pass_fragment", "of a node", packet.ipv4(node(1), CLIENT, 17, reply[20:36], fragment=0x2000)


def all_packets():
    """Counter, name, packet and the side it comes from."""
    for counter, packets in (("pass_malformed", malformed()), ("pass_foreign", foreign()),
                             ("pass_no_service", elsewhere()), ("pass_no_route", without_route()),
                             ("pass_fragment", fragments()), ("pass_source_route", source_routes())):
        for name, sent in packets:
            yield counter, name, ether(OUT_MAC, CLIENT_MAC, sent, ETH_IP), "client"
    for counter, name, sent in of_nodes():
        yield counter, name, ether(IN_MAC, node_mac(1), sent), "node"


def answers(outcome):
    """Frames of the front-end's stack, without what it counts up: identification and header checksum."""
    return [frame[:18].hex() + "...." + frame[20:24].hex() + "...." + frame[26:].hex()
            for frame in in_time(outcome.client)]


def is_reset(frame):
    return frame[23] == 6 and Seen(frame).flags & RST != 0


def untouched(wire, counter, name, frame, via, unfiltered):
    with case(f"{counter}: {name}"):
        outcome = wire.exchange(frame, via=via)
        equal([f.hex() for f in outcome.passed], [frame.hex()], "behind the filter")
        if via == "client":
            equal([f.hex() for f in outcome.nodes], [], "at the nodes")
        equal(answers(outcome), answers(unfiltered), "answers, with fep and without")
        equal(unfiltered.counters, {}, "counters of devices that are not attached")
        equal(outcome.counters, {counter: 1}, "counters")
        if counter == "pass_no_route" and not Seen(frame).flags & RST:
            # So that the client tries again at once.
            equal([is_reset(f) for f in in_time(outcome.client)], [True], "resets")


def other_addresses(wire):
    """Frames that are not for the front-end's link-layer address."""
    for name, mac in (("another host's", "02:00:00:00:00:99"), ("broadcast", "ff:ff:ff:ff:ff:ff"),
                      ("multicast", "01:00:5e:00:00:01")):
        with case(f"pass_foreign: link-layer address is {name}"):
            for sent in (udp(), tcp()):
                frame = ether(mac, CLIENT_MAC, sent)
                outcome = wire.exchange(frame)
                equal([f.hex() for f in outcome.passed], [frame.hex()], "behind the filter")
                equal(outcome.nodes, [], "at the nodes")
                equal(outcome.counters, {"pass_foreign": 1}, "counters")


def other_protocols(wire):
    request = (b"\0\1\x08\0\6\4\0\1" + packet.mac_bytes(CLIENT_MAC) + packet.ip_bytes(CLIENT) + bytes(6)
               + packet.ip_bytes(VIP))
    with case("arp for the VIP is answered by the front-end"):
        tap = Tap(wire.fe, "out0", ETH_ARP)
        frame = ether("ff:ff:ff:ff:ff:ff", CLIENT_MAC, request, ETH_ARP)
        outcome = wire.exchange(frame)
        equal([f.hex() for f in tap.take()], [frame.hex()], "behind the filter")
        equal([f[:42].hex() for f in outcome.client],
              [ether(CLIENT_MAC, OUT_MAC, b"\0\1\x08\0\6\4\0\2" + packet.mac_bytes(OUT_MAC) + packet.ip_bytes(VIP)
                     + packet.mac_bytes(CLIENT_MAC) + packet.ip_bytes(CLIENT), ETH_ARP).hex()], "answer")
        equal((outcome.nodes, outcome.counters), ([], {"pass_foreign": 1}), "the rest")
    with case("ipv6 without a service is left alone, also on a front-end that has no ipv6"):
        tap = Tap(wire.fe, "out0", ETH_IPV6)
        frame = ether(OUT_MAC, CLIENT_MAC, packet.udp(V6.client, V6.vip, 5000, PORT, b"data"))
        outcome = wire.exchange(frame)
        equal([f.hex() for f in tap.take()], [frame.hex()], "behind the filter")
        outcome.are(pass_no_service=1)
    with case("other types are left alone"):
        for kind in (0x88B5, 0x0026, 0x8847, 0x88CC):
            tap = Tap(wire.fe, "out0", kind if kind >= 0x600 else 4)
            frame = ether(OUT_MAC, CLIENT_MAC, udp().ljust(60, b"\0"), kind)
            outcome = wire.exchange(frame)
            equal([f.hex() for f in tap.take()], [frame.hex()], f"behind the filter, type {kind:#x}")
            outcome.are(pass_foreign=1)


def stale_replies(wire):
    with case("drop_stale_reply: a reply without route never shows the node's address"):
        for sent in (packet.udp(node(1), CLIENT, NODE_PORT, 5000, b"late"),
                     packet.tcp(node(1), CLIENT, NODE_PORT, 5000, ACK, data=b"late")):
            wire.exchange(ether(IN_MAC, node_mac(1), sent), via="node").are(drop_stale_reply=1)


def no_fragments(namespace):
    with namespace, open("/proc/thread-self/net/sockstat", encoding="ascii") as file:
        return "FRAG: inuse 0 " in file.read()


def to_closed_service(wire):
    with case("drop_no_backend: a service without nodes"):
        for sent in (udp(dport=88), tcp(dport=88)):
            wire.exchange(ether(OUT_MAC, CLIENT_MAC, sent)).are(drop_no_backend=1)


def main():
    load_module()
    wire = Wire(attach=False)
    for protocol in ("tcp", "udp"):
        wire.fep.add_service((protocol, VIP, PORT), [(node(1), NODE_PORT)])
        wire.fep.add_service((protocol, VIP, 88))
    wire.fe.sysctl("net.ipv4.ipfrag_time", 1)
    packets = list(all_packets())
    # The stack puts fragments together: those of the first round must not meet those of the second.
    unfiltered = [wire.exchange(frame, via=via) for _, _, frame, via in packets]
    wait_for(lambda: no_fragments(wire.fe), "fragments forgotten", 60)
    wire.fep.attach("out0", "in0")
    for (counter, name, frame, via), before in zip(packets, unfiltered):
        untouched(wire, counter, name, frame, via, before)
    wait_for(lambda: no_fragments(wire.fe), "fragments forgotten", 60)
    other_addresses(wire)
    other_protocols(wire)
    stale_replies(wire)
    to_closed_service(wire)
    with case("none of it made a route"):
        equal(wire.fep.routes(), [], "routes")
        equal(wire.fep.counters()["route_allocated"], 0, "routes allocated")
    with case("a packet without route counts in the service it is for"):
        before = {s.service: s.counters["pass_no_route"] for s in wire.fep.dump("services")}
        wire.exchange(ether(OUT_MAC, CLIENT_MAC, tcp(ACK)))
        after = {s.service: s.counters["pass_no_route"] for s in wire.fep.dump("services")}
        equal({service for service in after if after[service] != before[service]}, {("tcp", VIP, PORT)}, "services")
    finish()


main()
