#!/usr/bin/env python3
# qemu: --with tests/lib
"""IPv6 packets that the filter must leave alone, those above all that IPv6 itself lives on.

As in packets_pass.py each is sent twice: to a front-end without fep on its devices, and with it. Behind
the filter it arrives with exactly its bytes, nothing leaves towards the other side, the front-end's own
stack answers what it answered without fep, and exactly one counter has grown by one.
"""

import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_flow import Flow  # noqa: E402
from fep_packet import ACK, ETH_IP, ETH_IPV6, FIN, PSH, RST, SYN, Seen, ether, icmp, ip_bytes  # noqa: E402
from fep_test import case, check, equal, finish, load_module, wait_for  # noqa: E402
from fep_wire import CLIENT_MAC, IN_MAC, OUT_MAC, V4, V6, Wire, in_time, node_mac  # noqa: E402

CLIENT, VIP, NODE = V6.client, V6.vip, V6.node(1)
PORT, NODE_PORT, CLOSED = 80, 8080, 81
HOP, ROUTING, FRAGMENT, AUTHENTICATION, NONE, DESTINATION, MOBILITY = 0, 43, 44, 51, 59, 60, 135
PAD6, ALERT = b"\1\4\0\0\0\0", b"\x05\2\0\0\1\0"
LINK_LOCAL = "fe80::c0:ff:fe00:1"


def udp(data=b"data", sport=5000, dport=PORT, source=CLIENT, destination=VIP, **header):
    return packet.udp(source, destination, sport, dport, data, **header)


def tcp(flags=SYN, sport=5000, dport=PORT, source=CLIENT, destination=VIP, **more):
    return packet.tcp(source, destination, sport, dport, flags, **more)


def patched(data, at, value):
    return data[:at] + value + data[at + len(value):]


def raw(kind, payload, **header):
    """A packet with whatever behind its header."""
    return packet.ipv6(CLIENT, VIP, kind, payload, **header)


def malformed():
    yield "no bytes", b""
    yield "one byte", b"\x60"
    yield "39 bytes", udp()[:39]
    yield "header only", patched(udp()[:40], 4, b"\0\0")
    yield "payload length above the packet's", patched(udp(), 4, (len(udp()) - 39).to_bytes(2, "big"))
    yield "payload length 65535", patched(udp(), 4, b"\xff\xff")
    yield "payload length 0", patched(udp(), 4, b"\0\0")
    yield "payload length 7", patched(udp(), 4, b"\0\7")
    for size in (1, 3, 7):
        yield f"udp header, {size} bytes", raw(17, udp()[40:40 + size])
    yield "udp without header", raw(17, b"")
    for length in (0, 7, 8 + 5, 65535):
        yield f"udp length {length}", patched(udp(), 44, length.to_bytes(2, "big"))
    for size in (0, 1, 13, 19):
        yield f"tcp header, {size} bytes", raw(6, tcp()[40:40 + size])
    for offset in (b"\0", b"\x40", b"\x60", b"\xf0"):
        yield f"tcp header of {offset[0] >> 2} bytes", patched(tcp(), 52, offset)
    for protocol, make in (("udp", udp), ("tcp", tcp)):
        yield f"{protocol} source port 0", make(sport=0)
        yield f"{protocol} destination port 0", make(dport=0)
    yield "hop by hop twice", udp(extensions=[(HOP, PAD6), (HOP, PAD6)])
    yield "hop by hop behind destination options", udp(extensions=[(DESTINATION, PAD6), (HOP, PAD6)])
    for kind, name in ((HOP, "hop by hop"), (DESTINATION, "destination options"), (ROUTING, "routing")):
        yield f"{name} cut off", raw(kind, b"\x11\0\1")
        yield f"{name} longer than the packet", raw(kind, b"\x11\5\1\0\0\0\0\0" + udp()[40:])
    yield "udp cut off behind an extension header", raw(DESTINATION, b"\x11\0" + PAD6 + udp()[40:47])
    yield "a jumbogram that is none", patched(udp(extensions=[(HOP, b"\xc2\4\0\1\0\0")]), 4, b"\0\0")


def foreign():
    for number in (1, 2, 4, 41, 47, 50, AUTHENTICATION, NONE, 132, MOBILITY, 136, 139, 140, 253, 255):
        yield f"protocol {number}", raw(number, udp()[40:])
        yield f"protocol {number} behind an extension header", raw(number, udp()[40:], extensions=[(HOP, PAD6)])
    yield "264 bytes of extension headers", udp(extensions=[(HOP, PAD6)] + [(DESTINATION, PAD6)] * 32)
    yield "264 bytes in one", udp(extensions=[(DESTINATION, b"\1\xff" + bytes(255) + b"\1\3\0\0\0")])
    for source in ("::", "::1", "ff02::1", "ff0e::7", LINK_LOCAL, "::ffff:192.0.2.100"):
        yield f"udp from {source}", udp(source=source)
        yield f"tcp from {source}", tcp(source=source)
    for name, own in (("the VIP", VIP), ("an address of the device", V6.fe_out), ("another address", V6.fe_in)):
        yield f"udp from {name}", udp(source=own)
        yield f"tcp from {name}", tcp(source=own)
    for destination in ("ff02::1", "ff02::1:ff00:10", "ff0e::7"):
        yield f"to {destination}", udp(destination=destination)


def elsewhere():
    yield "udp to another port of the VIP", udp(dport=CLOSED)
    yield "tcp to another port of the VIP", tcp(dport=CLOSED)
    yield "udp to the front-end's own address", udp(destination=V6.fe_out)
    yield "tcp to the front-end's own address", tcp(destination=V6.fe_out)
    yield "udp to somebody else", udp(destination="2001:db8:77::9")
    yield "tcp to somebody else", tcp(destination="2001:db8:77::9")
    yield "udp to a node's port, past the VIP", udp(destination=NODE, dport=NODE_PORT)
    yield "tcp to the node's port at the VIP", tcp(dport=NODE_PORT)
    yield "udp to the unspecified address", udp(destination="::")
    yield "udp to the loopback address", udp(destination="::1")


def without_route():
    """TCP to a service, not a SYN, from a client without route."""
    for name, flags in (("ack", ACK), ("data", PSH | ACK), ("fin", FIN | ACK), ("syn and ack", SYN | ACK),
                        ("no flags", 0), ("xmas", FIN | PSH | 0x20), ("syn and fin", SYN | FIN),
                        ("rst", RST), ("rst and ack", RST | ACK), ("syn and rst", SYN | RST)):
        yield f"tcp {name}", tcp(flags, ack=77, seq=99)
    yield "tcp ack behind extension headers", tcp(ACK, ack=77, extensions=[(HOP, PAD6), (DESTINATION, PAD6)])


def fragment(offset, more, ident=1):
    return FRAGMENT, struct.pack("!HI", offset << 3 | more, ident)


def fragments():
    whole = udp(b"0123456789abcdef")[40:]
    # The first two make a whole for the stack, which has nobody at that port.
    yield "first", raw(17, whole[:16], extensions=[fragment(0, 1)])
    yield "last", raw(17, whole[16:], extensions=[fragment(2, 0)])
    yield "middle", raw(17, b"12345678", extensions=[fragment(1, 1, 8)])
    yield "tiny first", raw(17, whole[:8], extensions=[fragment(0, 1, 9)])
    yield "of tcp", raw(6, tcp()[40:56], extensions=[fragment(0, 1, 10)])
    yield "the only one", raw(17, udp(dport=CLOSED)[40:], extensions=[fragment(0, 0, 11)])
    yield "behind hop by hop", raw(17, whole[:16], extensions=[(HOP, PAD6), fragment(0, 1, 12)])
    yield "before destination options", raw(17, whole[:8], extensions=[fragment(0, 1, 13), (DESTINATION, PAD6)])
    yield "header cut off", raw(FRAGMENT, b"\x11\0\0")
    yield "of icmp", raw(58, bytes(16), extensions=[fragment(0, 1, 14)])


def source_routes():
    for kind in (0, 2, 3, 4, 253):
        header = bytes([kind, 1, 0, 0, 0, 0]) + ip_bytes(NODE)
        yield f"type {kind}, a segment left", udp(extensions=[(ROUTING, header)])
        yield f"type {kind}, a segment left, tcp", tcp(extensions=[(HOP, PAD6), (ROUTING, header)])
    yield "255 segments left", udp(extensions=[(ROUTING, b"\0\xff\0\0\0\0")])


def solicitation(source, target, destination=None, ttl=255):
    """Who has `target`?"""
    last = ip_bytes(target)[13:]
    group = packet.ip_text(bytes.fromhex("ff0200000000000000000001ff") + last)
    option = b"\1\1" + packet.mac_bytes(CLIENT_MAC)
    return icmp(source, destination or group, 135, 0, bytes(4) + ip_bytes(target) + option, ttl=ttl)


def messages():
    """ICMPv6 that is no error about TCP or UDP."""
    yield "echo to the VIP", icmp(CLIENT, VIP, 128, 0, b"\0\1\0\2ping")
    yield "echo to the front-end", icmp(CLIENT, V6.fe_out, 128, 0, b"\0\1\0\2ping")
    yield "echo to the VIP behind hop by hop", icmp(CLIENT, VIP, 128, 0, b"\0\1\0\2p", extensions=[(HOP, ALERT)])
    yield "echo to somebody else", icmp(CLIENT, NODE, 128, 0, b"\0\1\0\2ping")
    yield "echo reply", icmp(CLIENT, VIP, 129, 0, b"\0\1\0\2pong")
    yield "neighbour solicitation for the VIP, unicast", solicitation(CLIENT, VIP, VIP)
    yield "neighbour solicitation for the front-end, unicast", solicitation(CLIENT, V6.fe_out, V6.fe_out)
    yield "neighbour solicitation from afar", solicitation(CLIENT, VIP, VIP, ttl=64)
    yield "neighbour advertisement", icmp(CLIENT, V6.fe_out, 136, 0, b"\x60\0\0\0" + ip_bytes(CLIENT), ttl=255)
    yield "redirect", icmp(LINK_LOCAL, V6.fe_out, 137, 0, bytes(4) + ip_bytes(CLIENT) * 2, ttl=255)
    yield "router advertisement", icmp(LINK_LOCAL, V6.fe_out, 134, 0, bytes(12), ttl=255)
    yield "unknown error", icmp(CLIENT, VIP, 100, 0, bytes(4) + udp())
    yield "unknown message", icmp(CLIENT, VIP, 200, 0, bytes(4))
    yield "error about icmp", icmp(CLIENT, VIP, 1, 4, bytes(4) + icmp(VIP, CLIENT, 129, 0, b"\0\1\0\2pong"))


def groups():
    """The same to groups: name, link-layer address, packet."""
    for address in (VIP, V6.fe_out, V6.client):
        last = ip_bytes(address)[12:].hex()
        yield f"neighbour solicitation for {address}", f"33:33:ff:{last[2:4]}:{last[4:6]}:{last[6:]}", \
            solicitation(CLIENT, address)
    query = struct.pack("!HH16sBBH", 1, 0, bytes(16), 2, 125, 0)
    yield "multicast listener query", "33:33:00:00:00:01", icmp(
        LINK_LOCAL, "ff02::1", 130, 0, query, ttl=1, extensions=[(HOP, b"\x05\2\0\0\1\0")])
    yield "router solicitation", "33:33:00:00:00:02", icmp(LINK_LOCAL, "ff02::2", 133, 0, bytes(4), ttl=255)
    yield "unsolicited advertisement", "33:33:00:00:00:01", icmp(
        CLIENT, "ff02::1", 136, 0, b"\x20\0\0\0" + ip_bytes(CLIENT), ttl=255)
    yield "echo to all", "33:33:00:00:00:01", icmp(CLIENT, "ff02::1", 128, 0, b"\0\1\0\2ping")
    yield "a request, though", "33:33:00:00:00:01", udp()
    yield "a connection, though", "33:33:ff:00:00:10", tcp()


def of_nodes():
    """What nodes send that is no reply."""
    yield "pass_no_service", "a node's own business", packet.udp(NODE, CLIENT, 53, 5353, b"x")
    yield "pass_foreign", "a node's ping", icmp(NODE, CLIENT, 128, 0, b"\0\1\0\2ping")
    yield "pass_foreign", "a node's neighbour solicitation", solicitation(NODE, V6.fe_in, V6.fe_in)
    reply = packet.udp(NODE, CLIENT, NODE_PORT, 5000, bytes(16))
    yield "pass_fragment", "of a node", packet.ipv6(NODE, CLIENT, 17, reply[40:56], extensions=[fragment(0, 1, 77)])
    yield "pass_no_service", "a node answers the front-end itself", packet.udp(NODE, V6.fe_in, NODE_PORT, 5000, b"x")


def all_frames():
    """Counter, name, frame and the side it comes from."""
    for counter, packets in (("pass_malformed", malformed()), ("pass_foreign", foreign()),
                             ("pass_no_service", elsewhere()), ("pass_no_route", without_route()),
                             ("pass_fragment", fragments()), ("pass_source_route", source_routes()),
                             ("pass_foreign", messages())):
        for name, sent in packets:
            yield counter, name, ether(OUT_MAC, CLIENT_MAC, sent, ETH_IPV6), "client"
    for name, mac, sent in groups():
        yield "pass_foreign", name, ether(mac, CLIENT_MAC, sent), "client"
    for name, mac in (("another host's", "02:00:00:00:00:99"), ("broadcast", "ff:ff:ff:ff:ff:ff")):
        yield "pass_foreign", f"link-layer address is {name}", ether(mac, CLIENT_MAC, udp()), "client"
    for nibble in (0, 4, 5, 7, 15):
        frame = ether(OUT_MAC, CLIENT_MAC, bytes([nibble << 4]) + udp()[1:], ETH_IPV6)
        yield "pass_foreign", f"version {nibble} with the type of IPv6", frame, "client"
    yield "pass_foreign", "version 6 with the type of IPv4", ether(OUT_MAC, CLIENT_MAC, udp(), ETH_IP), "client"
    for counter, name, sent in of_nodes():
        yield counter, name, ether(IN_MAC, node_mac(1), sent), "node"


def untouched(wire, counter, name, frame, via, unfiltered):
    with case(f"{counter}: {name}"):
        outcome = wire.exchange(frame, via=via)
        equal([f.hex() for f in outcome.passed], [frame.hex()], "behind the filter")
        if via == "client":
            equal([f.hex() for f in outcome.nodes], [], "at the nodes")
        outcome.client = in_time(outcome.client)
        equal([f.hex() for f in outcome.client], [f.hex() for f in in_time(unfiltered.client)], "answers, with fep and without")
        equal(unfiltered.counters, {}, "counters of devices that are not attached")
        equal(outcome.counters, {counter: 1}, "counters")
        if counter == "pass_no_route" and not Seen(frame).flags & RST:
            # So that the client tries again at once.
            equal([Seen(f).flags & RST for f in outcome.client], [RST], "resets")
        if name in ("neighbour solicitation for the VIP, unicast", f"neighbour solicitation for {VIP}"):
            equal([(f[54], f[62:78].hex()) for f in outcome.client], [(136, ip_bytes(VIP).hex())], "advertisements")
        if name.startswith("echo to the VIP"):
            equal([f[54] for f in outcome.client], [129], "answers")


def dropped(wire):
    with case("drop_stale_reply: a reply without route never shows the node's address"):
        for sent in (packet.udp(NODE, CLIENT, NODE_PORT, 5000, b"late"),
                     packet.tcp(NODE, CLIENT, NODE_PORT, 5000, ACK, data=b"late"),
                     packet.udp(NODE, CLIENT, NODE_PORT, 5000, b"late", extensions=[(HOP, PAD6)]),
                     packet.udp(NODE, "2001:db8:77::9", NODE_PORT, 5000, b"late")):
            wire.exchange(ether(IN_MAC, node_mac(1), sent), via="node").are(drop_stale_reply=1)
    with case("drop_stale_reply: after the route's end, too"):
        known = Flow(5100, ends=V6)
        known.begin(wire)
        known.is_forwarded(wire)
        wire.fep.flush(service=known.service)
        wire.exchange(known.reply(), via="node").are(drop_stale_reply=1)
    with case("drop_no_backend: a service without nodes"):
        for sent in (udp(dport=88), tcp(dport=88)):
            wire.exchange(ether(OUT_MAC, CLIENT_MAC, sent)).are(drop_no_backend=1)


def no_fragments(namespace):
    with namespace, open("/proc/thread-self/net/sockstat6", encoding="ascii") as file:
        return "FRAG6: inuse 0 " in file.read()


def main():
    load_module()
    wire = Wire(attach=False, ipv6=True)
    for protocol in ("tcp", "udp"):
        wire.fep.add_service((protocol, VIP, PORT), [(NODE, NODE_PORT)])
        wire.fep.add_service((protocol, VIP, 88))
        wire.fep.add_service((protocol, V4.vip, PORT), [(V4.node(1), NODE_PORT)])
    wire.fe.sysctl("net.ipv6.ip6frag_time", 1)
    frames = list(all_frames())
    # The stack puts fragments together: those of the first round must not meet those of the second.
    unfiltered = [wire.exchange(frame, via=via) for _, _, frame, via in frames]
    wait_for(lambda: no_fragments(wire.fe), "fragments forgotten", 60)
    wire.fep.attach("out0", "in0")
    for (counter, name, frame, via), before in zip(frames, unfiltered):
        untouched(wire, counter, name, frame, via, before)
    with case("none of it made a route"):
        equal((wire.fep.routes(), wire.fep.counters()["route_allocated"]), ([], 0), "routes")
    check(len(frames) > 150, f"{len(frames)} frames")
    wait_for(lambda: no_fragments(wire.fe), "fragments forgotten", 60)
    dropped(wire)
    finish()


main()
