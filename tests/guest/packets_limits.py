#!/usr/bin/env python3
# qemu: --with tests/lib
"""What does not go on as it is: an ended time to live, packets too large for the way out, no way out
at all; and VLAN devices."""

import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_fragments import reassembled  # noqa: E402
from fep_packet import ACK, ETH_IP, SYN, Tap, ether  # noqa: E402
from fep_test import case, check, equal, finish, load_module  # noqa: E402
from fep_wire import (CLIENT, CLIENT_MAC, FE_IN, IN_MAC, OUT_MAC, VIP, Wire, node, node_mac)  # noqa: E402

NODE, PORT, NODE_PORT = node(1), 80, 8080
SERVICE = {protocol: (protocol, VIP, PORT) for protocol in ("tcp", "udp")}
BYTES = bytes(range(256)) * 8
DF, MAY_FRAGMENT = 0x4000, 0


def request(protocol, sport, data=b"data", flags=ACK, **ip):
    make = {"udp": lambda *ends: packet.udp(*ends, data, **ip),
            "tcp": lambda *ends: packet.tcp(*ends, flags, data=data, **ip)}[protocol]
    return make(CLIENT, VIP, sport, PORT)


def reply(protocol, sport, data=b"data", **ip):
    make = {"udp": lambda *ends: packet.udp(*ends, data, **ip),
            "tcp": lambda *ends: packet.tcp(*ends, ACK, data=data, **ip)}[protocol]
    return make(NODE, CLIENT, NODE_PORT, sport)


def at_node(protocol, sport, data=b"data", **ip):
    """The request as the node has to get it."""
    make = {"udp": lambda *ends: packet.udp(*ends, data, **ip),
            "tcp": lambda *ends: packet.tcp(*ends, ACK, data=data, **ip)}[protocol]
    return ether(node_mac(1), IN_MAC, make(CLIENT, NODE, sport, NODE_PORT))


def at_client(protocol, sport, data=b"data", **ip):
    make = {"udp": lambda *ends: packet.udp(*ends, data, **ip),
            "tcp": lambda *ends: packet.tcp(*ends, ACK, data=data, **ip)}[protocol]
    return ether(CLIENT_MAC, OUT_MAC, make(VIP, CLIENT, PORT, sport))


def from_client(sent):
    return ether(OUT_MAC, CLIENT_MAC, sent)


def from_node(sent):
    return ether(IN_MAC, node_mac(1), sent)


def begin(wire, protocol, sport):
    wire.to_vip(request(protocol, sport, b"" if protocol == "tcp" else b"x", flags=SYN))


def is_icmp_error(frame, kind, code, about, ends, mtu=0):
    """An ICMP error from `ends[0]` to `ends[1]` that quotes `about` to the byte."""
    mac_to, mac_from, source, destination = ends
    equal(frame[:12].hex(), (packet.mac_bytes(mac_to) + packet.mac_bytes(mac_from)).hex(), "link-layer addresses")
    header, message = frame[14:34], frame[34:]
    equal((header[0], header[9], packet.checksum(header)), (0x45, 1, 0), "IP header")
    equal((header[12:16], header[16:20]), (packet.ip_bytes(source), packet.ip_bytes(destination)), "addresses")
    equal((message[0], message[1], packet.checksum(message)), (kind, code, 0), "ICMP type, code, checksum")
    equal(struct.unpack_from("!HH", message, 4), (0, mtu), "MTU")
    quoted = message[8:]
    check(len(quoted) >= min(len(about), 28), "at least the header and eight bytes quoted")
    equal(quoted.hex(), about[:len(quoted)].hex(), "quoted packet")


def time_to_live(wire):
    to_client = (CLIENT_MAC, OUT_MAC, VIP, CLIENT)
    for protocol in ("udp", "tcp"):
        for ttl in (1, 0):
            with case(f"{protocol}: time to live {ttl} of a new client: told, no route"):
                before = len(wire.fep.routes())
                sent = request(protocol, 6000 + ttl, b"x" if protocol == "udp" else b"", flags=SYN, ttl=ttl)
                outcome = wire.exchange(from_client(sent))
                equal((outcome.nodes, outcome.passed), ([], []), "frames elsewhere")
                equal(outcome.counters, {"drop_ttl": 1}, "counters")
                equal(len(wire.fep.routes()) - before, 0, "new routes")
                equal(len(outcome.client), 1, "answers")
                is_icmp_error(outcome.client[0], 11, 0, sent, to_client)
            with case(f"{protocol}: time to live {ttl} of a known client"):
                begin(wire, protocol, 6010 + ttl)
                sent = request(protocol, 6010 + ttl, BYTES[:100], ttl=ttl)
                outcome = wire.exchange(from_client(sent))
                equal((outcome.nodes, outcome.passed, outcome.counters), ([], [], {"drop_ttl": 1}), "the rest")
                equal(len(outcome.client), 1, "answers")
                is_icmp_error(outcome.client[0], 11, 0, sent, to_client)
        with case(f"{protocol}: time to live 1 of a reply: the node is told, the client is not"):
            begin(wire, protocol, 6020)
            sent = reply(protocol, 6020, BYTES[:100], ttl=1)
            outcome = wire.exchange(from_node(sent), via="node")
            equal((outcome.client, outcome.passed, outcome.counters), ([], [], {"drop_ttl": 1}), "the rest")
            equal(len(outcome.nodes), 1, "answers")
            is_icmp_error(outcome.nodes[0], 11, 0, sent, (node_mac(1), IN_MAC, FE_IN, NODE))
        with case(f"{protocol}: time to live 2 goes on with 1"):
            begin(wire, protocol, 6021)
            wire.exchange(from_client(request(protocol, 6021, ttl=2))).are(
                nodes=[at_node(protocol, 6021, ttl=1)], forward_request=1)
    with case("the service counts them too"):
        for service in wire.fep.dump("services"):
            equal(service.counters["drop_ttl"], 5, f"{service.service}")


def too_large(wire, mtu=1000):
    wire.fe.ip(f"link set in0 mtu {mtu}")
    room = {"udp": mtu - 28, "tcp": mtu - 40}
    for number, protocol in enumerate(("udp", "tcp")):
        sport = 6100 + number
        begin(wire, protocol, sport)
        with case(f"{protocol} request of just the MTU"):
            wire.exchange(from_client(request(protocol, sport, BYTES[:room[protocol]]))).are(
                nodes=[at_node(protocol, sport, BYTES[:room[protocol]], ttl=63)], forward_request=1)
        with case(f"{protocol} request one byte above the MTU, not to be fragmented: the client is told"):
            sent = request(protocol, sport, BYTES[:room[protocol] + 1])
            outcome = wire.exchange(from_client(sent))
            equal((outcome.nodes, outcome.passed, outcome.counters), ([], [], {"drop_too_big": 1}), "the rest")
            equal(len(outcome.client), 1, "answers")
            is_icmp_error(outcome.client[0], 3, 4, sent, (CLIENT_MAC, OUT_MAC, VIP, CLIENT), mtu)
        for size in (room[protocol] + 1, 1400, 1472 if protocol == "udp" else 1460):
            with case(f"{protocol} request of {size} bytes is fragmented"):
                outcome = wire.exchange(from_client(request(protocol, sport, BYTES[:size], fragment=MAY_FRAGMENT)))
                check(len(outcome.nodes) > 1, "several fragments")
                equal(reassembled(outcome.nodes, mtu).hex(),
                      at_node(protocol, sport, BYTES[:size], ttl=63, fragment=MAY_FRAGMENT).hex(), "the whole")
                equal((outcome.client, outcome.passed, outcome.counters), ([], [], {"forward_request": 1}), "the rest")
    wire.fe.ip("link set in0 mtu 1500", f"link set out0 mtu {mtu}")
    for number, protocol in enumerate(("udp", "tcp")):
        sport = 6110 + number
        begin(wire, protocol, sport)
        with case(f"{protocol} reply above the MTU, not to be fragmented: the node is told"):
            sent = reply(protocol, sport, BYTES[:room[protocol] + 1])
            outcome = wire.exchange(from_node(sent), via="node")
            equal((outcome.client, outcome.counters), ([], {"drop_too_big": 1}), "the rest")
            equal(len(outcome.nodes), 1, "answers")
            is_icmp_error(outcome.nodes[0], 3, 4, sent, (node_mac(1), IN_MAC, FE_IN, NODE), mtu)
        with case(f"{protocol} reply of 1400 bytes is fragmented"):
            sent = reply(protocol, sport, BYTES[:1400], fragment=MAY_FRAGMENT)
            outcome = wire.exchange(from_node(sent), via="node")
            equal(reassembled(outcome.client, mtu).hex(),
                  at_client(protocol, sport, BYTES[:1400], ttl=63, fragment=MAY_FRAGMENT).hex(), "the whole")
            equal(outcome.counters, {"forward_reply": 1}, "counters")
    wire.fe.ip("link set out0 mtu 1500")
    with case("a smaller MTU of the route counts as the device's does"):
        wire.fe.ip(f"route add {NODE} dev in0 mtu 900")
        begin(wire, "udp", 6120)
        sent = request("udp", 6120, BYTES[:873])
        outcome = wire.exchange(from_client(sent))
        equal((outcome.nodes, outcome.counters), ([], {"drop_too_big": 1}), "the rest")
        is_icmp_error(outcome.client[0], 3, 4, sent, (CLIENT_MAC, OUT_MAC, VIP, CLIENT), 900)
        wire.fe.ip(f"route del {NODE} dev in0 mtu 900")
        wire.exchange(from_client(sent)).are(nodes=[at_node("udp", 6120, BYTES[:873], ttl=63)], forward_request=1)


def no_way_out(wire):
    service = ("udp", VIP, 99)
    sent = packet.udp(CLIENT, VIP, 6200, 99, b"data")
    for name, address in (("no route to the node", "172.31.0.1"), ("the node is the front-end", FE_IN),
                          ("the node is a broadcast address", "10.0.0.255")):
        with case(f"drop_no_output: {name}"):
            wire.fep.add_service(service, [(address, 9)])
            wire.exchange(from_client(sent)).are(route_allocated=1, drop_no_output=1)
            wire.fep.commit(op("service_del", service))
    with case("drop_no_output until there is a route"):
        wire.fep.add_service(service, [("172.31.0.1", 9)])
        wire.exchange(from_client(sent)).are(route_allocated=1, drop_no_output=1)
        wire.fe.ip(f"route add 172.31.0.0/24 via {NODE}")
        want = ether(node_mac(1), IN_MAC, packet.udp(CLIENT, "172.31.0.1", 6200, 9, b"data", ttl=63))
        wire.exchange(from_client(sent)).are(nodes=[want], forward_request=1)
        wire.fe.ip("route replace unreachable 172.31.0.0/24")
        wire.exchange(from_client(sent)).are(drop_no_output=1)
        wire.fe.ip("route del 172.31.0.0/24")
    with case("the way follows the routes: another next hop"):
        wire.fe.ip(f"route add 172.31.0.0/24 via {node(2)}")
        want = ether(node_mac(2), IN_MAC, packet.udp(CLIENT, "172.31.0.1", 6200, 9, b"data", ttl=63))
        wire.exchange(from_client(sent)).are(nodes=[want], forward_request=1)
        wire.fe.ip("route del 172.31.0.0/24")
    with case("drop_no_output: no way back to the client"):
        begin(wire, "udp", 6201)
        wire.fe.ip(f"route add unreachable {CLIENT}/32")
        wire.exchange(from_node(reply("udp", 6201)), via="node").are(drop_no_output=1)
        wire.fe.ip(f"route del unreachable {CLIENT}/32")
        wire.exchange(from_node(reply("udp", 6201)), via="node").are(
            client=[at_client("udp", 6201, ttl=63)], forward_reply=1)


def tagged(frame, vlan):
    return frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]


def vlans(wire):
    frame = from_client(request("udp", 6300))
    with case("a tagged frame on the attached device below passes"):
        for vlan in (5, 4094, 0xE005):
            outcome = wire.exchange(tagged(frame, vlan))
            equal((outcome.nodes, outcome.client, outcome.counters), ([], [], {"pass_foreign": 1}), "outcome")
    with case("a tag with a priority and no VLAN is none"):
        begin(wire, "udp", 6300)
        for priority in (0, 0xE000):
            wire.exchange(tagged(frame, priority)).are(nodes=[at_node("udp", 6300, ttl=63)], forward_request=1)
    wire.fe.ip("link add link out0 name out0.5 type vlan id 5", "link set out0.5 up",
               "addr add 192.0.3.1/24 dev out0.5",
               f"neigh replace 192.0.3.100 lladdr {CLIENT_MAC} dev out0.5 nud permanent")
    frame = from_client(packet.udp("192.0.3.100", VIP, 6300, PORT, b"data"))
    with case("a VLAN device that is not attached gets it untouched"):
        tap = Tap(wire.fe, "out0.5", ETH_IP)
        outcome = wire.exchange(tagged(frame, 5))
        equal([f.hex() for f in tap.take()], [frame.hex()], "on the VLAN device")
        equal((outcome.nodes, outcome.counters), ([], {"pass_foreign": 1}), "the rest")
    with case("an attached VLAN device: both ways"):
        wire.fep.attach("out0.5")
        at = ether(node_mac(1), IN_MAC, packet.udp("192.0.3.100", NODE, 6300, NODE_PORT, b"data", ttl=63))
        wire.exchange(tagged(frame, 5)).are(nodes=[at], pass_foreign=1, forward_request=1, route_allocated=1)
        back = from_node(packet.udp(NODE, "192.0.3.100", NODE_PORT, 6300, b"back"))
        want = ether(CLIENT_MAC, OUT_MAC, packet.udp(VIP, "192.0.3.100", PORT, 6300, b"back", ttl=63))
        wire.exchange(back, via="node").are(client=[tagged(want, 5)], forward_reply=1)
    with case("a VLAN device alone, the one below not attached"):
        wire.fep.commit(op("device_detach", device="out0"))
        wire.exchange(tagged(frame, 5)).are(nodes=[at], forward_request=1)
        wire.exchange(back, via="node").are(client=[tagged(want, 5)], forward_reply=1)
        wire.fep.attach("out0")
    with case("nodes behind a VLAN device"):
        wire.fe.ip("link add link in0 name in0.7 type vlan id 7", "link set in0.7 up", "addr add 10.0.7.1/24 dev in0.7",
                   f"neigh replace 10.0.7.9 lladdr {node_mac(9)} dev in0.7 nud permanent")
        wire.fep.commit(op("device_attach", device="in0.7"), op("service_add", ("udp", VIP, 97)),
                        op("backend_add", ("udp", VIP, 97), ("10.0.7.9", 7), weight=1))
        sent = packet.udp(CLIENT, VIP, 6301, 97, b"data")
        at = ether(node_mac(9), IN_MAC, packet.udp(CLIENT, "10.0.7.9", 6301, 7, b"data", ttl=63))
        wire.exchange(from_client(sent)).are(nodes=[tagged(at, 7)], forward_request=1, route_allocated=1)
        back = ether(IN_MAC, node_mac(9), packet.udp("10.0.7.9", CLIENT, 7, 6301, b"back"))
        want = ether(CLIENT_MAC, OUT_MAC, packet.udp(VIP, CLIENT, 97, 6301, b"back", ttl=63))
        wire.exchange(tagged(back, 7), via="node").are(client=[want], pass_foreign=1, forward_reply=1)


def main():
    load_module()
    wire = Wire()
    for service in SERVICE.values():
        wire.fep.add_service(service, [(NODE, NODE_PORT)])
    time_to_live(wire)
    too_large(wire)
    no_way_out(wire)
    vlans(wire)
    finish()


main()
