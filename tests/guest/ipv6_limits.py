#!/usr/bin/env python3
# qemu: --with tests/lib
"""IPv6 packets that do not go on as they are: an ended hop limit, packets too large for the way out, no
way out at all; and VLAN devices."""

import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_flow import TIME_EXCEEDED, TOO_BIG, Flow, client_is_told, node_is_told  # noqa: E402
from fep_packet import ETH_IPV6, SYN, Tap, ether  # noqa: E402
from fep_test import case, equal, finish, load_module  # noqa: E402
from fep_wire import CLIENT_MAC, IN_MAC, OUT_MAC, V6, Wire, node_mac  # noqa: E402

BYTES = bytes(range(256)) * 8
HOP_BY_HOP = ((0, b"\x05\x02\0\0\x01\0"),)
DESTINATION = ((60, b"\x01\x04\0\0\0\0"),)


def flow(sport, protocol="udp", **more):
    return Flow(sport, protocol, V6, **more)


def hop_limit(wire):
    for number, protocol in enumerate(("udp", "tcp")):
        for hops in (1, 0):
            with case(f"{protocol}: hop limit {hops} of a new client: told, no route"):
                before = len(wire.fep.routes())
                new = flow(6000 + 10 * number + hops, protocol)
                data = b"x" if protocol == "udp" else b""
                client_is_told(wire.exchange(new.request(data, SYN, ttl=hops)), new, TIME_EXCEEDED,
                               new.request_packet(data, SYN, ttl=hops), drop_ttl=1)
                equal(len(wire.fep.routes()) - before, 0, "new routes")
            for size in (100, 1400):
                with case(f"{protocol}: hop limit {hops} of a known client, {size} bytes"):
                    known = flow(6020 + 10 * number + hops, protocol)
                    known.begin(wire)
                    client_is_told(wire.exchange(known.request(BYTES[:size], ttl=hops)), known, TIME_EXCEEDED,
                                   known.request_packet(BYTES[:size], ttl=hops), drop_ttl=1)
        known = flow(6040 + number, protocol)
        known.begin(wire)
        with case(f"{protocol}: hop limit 1 of a known client, with extension headers"):
            client_is_told(wire.exchange(known.request(ttl=1, extensions=HOP_BY_HOP)), known, TIME_EXCEEDED,
                           known.request_packet(ttl=1, extensions=HOP_BY_HOP), drop_ttl=1)
        with case(f"{protocol}: hop limit 1 of a reply: the node is told, the client is not"):
            node_is_told(wire.exchange(known.reply(BYTES[:100], ttl=1), via="node"), known, TIME_EXCEEDED,
                         known.reply_packet(BYTES[:100], ttl=1), drop_ttl=1)
        with case(f"{protocol}: hop limit 2 goes on with 1, 255 with 254"):
            for hops in (2, 255):
                known.is_forwarded(wire, ttl=hops)
    with case("the service counts them too"):
        for service in wire.fep.dump("services"):
            equal(service.counters["drop_ttl"], 8, f"{service.service}")


def too_large(wire):
    for number, protocol in enumerate(("udp", "tcp")):
        known = flow(6100 + number, protocol)
        known.begin(wire)
        for mtu in (1500, 1300, 1280):
            room = mtu - {"udp": 48, "tcp": 60}[protocol]
            wire.fe.ip(f"link set in0 mtu {mtu}")
            with case(f"{protocol} request of just the MTU, {mtu}"):
                wire.exchange(known.request(BYTES[:room])).are(nodes=[known.at_node(BYTES[:room])], forward_request=1)
            with case(f"{protocol} request of just the MTU, {mtu}, with extension headers"):
                wire.exchange(known.request(BYTES[:room - 8], extensions=DESTINATION)).are(
                    nodes=[known.at_node(BYTES[:room - 8], extensions=DESTINATION)], forward_request=1)
        with case(f"{protocol} request one byte above the MTU: the client is told"):
            client_is_told(wire.exchange(known.request(BYTES[:room + 1])), known, TOO_BIG,
                           known.request_packet(BYTES[:room + 1]), mtu, drop_too_big=1)
        with case(f"{protocol} request above the MTU by its extension header: the client is told"):
            client_is_told(wire.exchange(known.request(BYTES[:room - 7], extensions=DESTINATION)), known, TOO_BIG,
                           known.request_packet(BYTES[:room - 7], extensions=DESTINATION), mtu, drop_too_big=1)
        with case(f"{protocol} request of hop limit 1 and above the MTU: the hop limit ends it"):
            client_is_told(wire.exchange(known.request(BYTES[:room + 1], ttl=1)), known, TIME_EXCEEDED,
                           known.request_packet(BYTES[:room + 1], ttl=1), drop_ttl=1)
        wire.fe.ip("link set in0 mtu 1500", "link set out0 mtu 1280")
        with case(f"{protocol} reply above the MTU: the node is told"):
            wire.exchange(known.reply(BYTES[:room]), via="node").are(
                client=[known.at_client(BYTES[:room])], forward_reply=1)
            node_is_told(wire.exchange(known.reply(BYTES[:room + 1]), via="node"), known, TOO_BIG,
                         known.reply_packet(BYTES[:room + 1]), 1280, drop_too_big=1)
        wire.fe.ip("link set out0 mtu 1500")
    with case("a smaller MTU of the route counts as the device's does"):
        known = flow(6120)
        wire.fe.ip(f"route add {V6.node(1)} dev in0 mtu 1400")
        known.begin(wire)
        client_is_told(wire.exchange(known.request(BYTES[:1353])), known, TOO_BIG, known.request_packet(BYTES[:1353]),
                       1400, drop_too_big=1)
        wire.exchange(known.request(BYTES[:1352])).are(nodes=[known.at_node(BYTES[:1352])], forward_request=1)
        wire.fe.ip(f"route del {V6.node(1)} dev in0 mtu 1400")
        wire.exchange(known.request(BYTES[:1353])).are(nodes=[known.at_node(BYTES[:1353])], forward_request=1)
    with case("the first packet of a client is too large: a route, and the client is told"):
        new = flow(6130)
        wire.fe.ip("link set in0 mtu 1280")
        client_is_told(wire.exchange(new.request(BYTES[:1300])), new, TOO_BIG, new.request_packet(BYTES[:1300]), 1280,
                       drop_too_big=1, route_allocated=1)
        wire.fe.ip("link set in0 mtu 1500")


def no_way_out(wire):
    service = ("udp", V6.vip, 99)
    known = flow(6200, port=99, node_port=9)
    for name, address in (("no route to the node", "2001:db8:ffff::1"), ("the node is the front-end", V6.fe_in),
                          ("the node is the router anycast address", "2001:db8:1::")):
        with case(f"drop_no_output: {name}"):
            wire.fe.sysctl("net.ipv6.conf.in0.forwarding", 1)
            wire.fep.add_service(service, [(address, 9)])
            wire.exchange(known.request()).are(route_allocated=1, drop_no_output=1)
            wire.fep.commit(op("service_del", service))
            wire.fe.sysctl("net.ipv6.conf.in0.forwarding", 0)
    far = "2001:db8:ffff::1"

    def at(number):
        return ether(node_mac(number), IN_MAC, packet.udp(V6.client, far, 6200, 9, b"data", ttl=63))

    with case("drop_no_output until there is a route; the way follows it"):
        wire.fep.add_service(service, [(far, 9)])
        wire.exchange(known.request()).are(route_allocated=1, drop_no_output=1)
        wire.fe.ip(f"route add 2001:db8:ffff::/64 via {V6.node(1)}")
        wire.exchange(known.request()).are(nodes=[at(1)], forward_request=1)
        for kind in ("unreachable", "prohibit", "blackhole"):
            wire.fe.ip(f"route add {kind} {far}/128")
            wire.exchange(known.request()).are(drop_no_output=1)
            wire.fe.ip(f"route del {kind} {far}/128")
        wire.fe.ip(f"route replace 2001:db8:ffff::/64 via {V6.node(2)}")
        wire.exchange(known.request()).are(nodes=[at(2)], forward_request=1)
        wire.fe.ip("route del 2001:db8:ffff::/64")
    with case("drop_no_output: no way back to the client"):
        known = flow(6201)
        known.begin(wire)
        wire.fe.ip(f"route add unreachable {V6.client}/128")
        wire.exchange(known.reply(), via="node").are(drop_no_output=1)
        wire.fe.ip(f"route del unreachable {V6.client}/128")
        wire.exchange(known.reply(), via="node").are(client=[known.at_client()], forward_reply=1)


def tagged(frame, vlan):
    return frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]


def vlans(wire):
    known = flow(6300)
    with case("a tagged frame on the attached device below passes"):
        for vlan in (5, 4094, 0xE005):
            outcome = wire.exchange(tagged(known.request(), vlan))
            equal((outcome.nodes, outcome.client, outcome.counters), ([], [], {"pass_foreign": 1}), "outcome")
    with case("a tag with a priority and no VLAN is none"):
        known.begin(wire)
        for priority in (0, 0xE000):
            wire.exchange(tagged(known.request(), priority)).are(nodes=[known.at_node()], forward_request=1)
    there = "2001:db8:3::100"
    wire.fe.ip("link add link out0 name out0.5 type vlan id 5", "link set out0.5 up",
               "addr add 2001:db8:3::1/64 dev out0.5",
               f"neigh replace {there} lladdr {CLIENT_MAC} dev out0.5 nud permanent")
    frame = ether(OUT_MAC, CLIENT_MAC, packet.udp(there, V6.vip, 6300, 80, b"data"))
    at = ether(node_mac(1), IN_MAC, packet.udp(there, V6.node(1), 6300, 8080, b"data", ttl=63))
    back = ether(IN_MAC, node_mac(1), packet.udp(V6.node(1), there, 8080, 6300, b"back"))
    want = ether(CLIENT_MAC, OUT_MAC, packet.udp(V6.vip, there, 80, 6300, b"back", ttl=63))
    with case("a VLAN device that is not attached gets it untouched"):
        tap = Tap(wire.fe, "out0.5", ETH_IPV6)
        outcome = wire.exchange(tagged(frame, 5))
        equal([f.hex() for f in tap.take()], [frame.hex()], "on the VLAN device")
        equal((outcome.nodes, outcome.counters), ([], {"pass_foreign": 1}), "the rest")
    with case("an attached VLAN device: both ways"):
        wire.fep.attach("out0.5")
        wire.exchange(tagged(frame, 5)).are(nodes=[at], pass_foreign=1, forward_request=1, route_allocated=1)
        wire.exchange(back, via="node").are(client=[tagged(want, 5)], forward_reply=1)
    with case("a VLAN device alone, the one below not attached"):
        wire.fep.commit(op("device_detach", device="out0"))
        wire.exchange(tagged(frame, 5)).are(nodes=[at], forward_request=1)
        wire.exchange(back, via="node").are(client=[tagged(want, 5)], forward_reply=1)
        wire.fep.attach("out0")
    with case("nodes behind a VLAN device"):
        wire.fe.ip("link add link in0 name in0.7 type vlan id 7", "link set in0.7 up",
                   "addr add 2001:db8:7::1/64 dev in0.7",
                   f"neigh replace 2001:db8:7::9 lladdr {node_mac(9)} dev in0.7 nud permanent")
        wire.fep.attach("in0.7")
        wire.fep.add_service(("udp", V6.vip, 97), [("2001:db8:7::9", 7)])
        frame = ether(OUT_MAC, CLIENT_MAC, packet.udp(V6.client, V6.vip, 6301, 97, b"data"))
        at = ether(node_mac(9), IN_MAC, packet.udp(V6.client, "2001:db8:7::9", 6301, 7, b"data", ttl=63))
        wire.exchange(frame).are(nodes=[tagged(at, 7)], forward_request=1, route_allocated=1)
        back = ether(IN_MAC, node_mac(9), packet.udp("2001:db8:7::9", V6.client, 7, 6301, b"back"))
        want = ether(CLIENT_MAC, OUT_MAC, packet.udp(V6.vip, V6.client, 97, 6301, b"back", ttl=63))
        wire.exchange(tagged(back, 7), via="node").are(client=[want], pass_foreign=1, forward_reply=1)


def main():
    load_module()
    wire = Wire(ipv6=True)
    for protocol in ("udp", "tcp"):
        wire.fep.add_service((protocol, V6.vip, 80), [(V6.node(1), 8080)])
    hop_limit(wire)
    too_large(wire)
    no_way_out(wire)
    vlans(wire)
    finish()


main()
