"""One client of one service on the bare wires: its frames, and what has to become of them.

What comes out is built from addresses and ports anew, not from what went in.
"""

import struct
from dataclasses import dataclass, replace

import fep_packet as packet
from fep_packet import ACK, SYN, ether
from fep_test import check, equal
from fep_wire import CLIENT_MAC, IN_MAC, OUT_MAC, V4, Ends, node_mac


@dataclass(frozen=True)
class Flow:
    """`direct`: the node's method is dr. `far`: the client is behind the router, in `ends.clients`."""

    sport: int
    protocol: str = "udp"
    ends: Ends = V4
    number: int = 1
    port: int = 80
    node_port: int = 8080
    direct: bool = False
    far: bool = False

    def but(self, **changes):
        """Another flow."""
        return replace(self, **changes)

    @property
    def service(self):
        return self.protocol, self.ends.vip, self.port

    @property
    def node(self):
        return self.ends.node(self.number), self.port if self.direct else self.node_port

    @property
    def client(self):
        if not self.far:
            return self.ends.client, self.sport
        return ("198.18.0.1" if self.ends.version == 4 else "2001:db8:2::1"), self.sport

    def _packet(self, source, destination, data, flags, header):
        (source, sport), (destination, dport) = source, destination
        if self.protocol == "udp":
            return packet.udp(source, destination, sport, dport, data, **header)
        return packet.tcp(source, destination, sport, dport, flags, data=data, **header)

    def request_packet(self, data=b"data", flags=ACK, **header):
        """As the client sends it."""
        return self._packet(self.client, self.service[1:], data, flags, header)

    def reply_packet(self, data=b"data", flags=ACK, **header):
        """As the node sends it."""
        source = self.service[1:] if self.direct else self.node
        return self._packet(source, self.client, data, flags, header)

    def request(self, data=b"data", flags=ACK, **header):
        """The frame of the client."""
        return ether(OUT_MAC, CLIENT_MAC, self.request_packet(data, flags, **header))

    def reply(self, data=b"data", flags=ACK, **header):
        """The frame of the node."""
        return ether(IN_MAC, node_mac(self.number), self.reply_packet(data, flags, **header))

    def at_node(self, data=b"data", flags=ACK, **header):
        """The request as the node has to get it; `ttl`: what the client sent."""
        if self.direct:
            return ether(node_mac(self.number), IN_MAC, self.request_packet(data, flags, **header))
        header["ttl"] = header.get("ttl", 64) - 1
        return ether(node_mac(self.number), IN_MAC, self._packet(self.client, self.node, data, flags, header))

    def at_client(self, data=b"data", flags=ACK, **header):
        """The reply as the client has to get it."""
        if self.direct:
            return ether(CLIENT_MAC, OUT_MAC, self.reply_packet(data, flags, **header))
        header["ttl"] = header.get("ttl", 64) - 1
        return ether(CLIENT_MAC, OUT_MAC, self._packet(self.service[1:], self.client, data, flags, header))

    def first(self):
        """The frame that makes a route."""
        return self.request(b"" if self.protocol == "tcp" else b"begin", SYN)

    def begin(self, wire):
        """Makes a route."""
        wire.client.send(self.first())
        wire.settle()

    def route(self, wire):
        """The route, or None."""
        found = [r for r in wire.fep.routes(service=self.service) if r.client == self.client]
        check(len(found) <= 1, f"{len(found)} routes of one client")
        return found[0] if found else None

    def is_forwarded(self, wire, data=b"data", **header):
        """One packet each way."""
        wire.exchange(self.request(data, **header)).are(nodes=[self.at_node(data, **header)], forward_request=1)
        wire.exchange(self.reply(data, **header), via="node").are(
            client=[self.at_client(data, **header)], forward_reply=1)


TIME_EXCEEDED, TOO_BIG = "time exceeded", "too big"
# Type and code of ICMP and ICMPv6.
ERRORS = {TIME_EXCEEDED: {4: (11, 0), 6: (3, 0)}, TOO_BIG: {4: (3, 4), 6: (2, 0)}}


def is_icmp_error(frame, error, about, ends, mtu=0):
    """An ICMP or ICMPv6 error that quotes the packet `about` to the byte. `ends`: link-layer destination
    and source, IP source and destination."""
    mac_to, mac_from, source, destination = ends
    version = about[0] >> 4
    equal(frame[:14].hex(), ether(mac_to, mac_from, about)[:14].hex(), "link-layer header")
    size = 20 if version == 4 else 40
    header, message = frame[14:14 + size], frame[14 + size:]
    equal(packet.addresses(frame[14:]), (source, destination), "addresses")
    kind, code = ERRORS[error][version]
    if version == 4:
        equal((header[0], header[9], packet.checksum(header), packet.checksum(message)), (0x45, 1, 0, 0),
              "IP header, checksums")
        info = struct.pack("!HH", 0, mtu)
        least, most = 28, len(about)
    else:
        equal((header[0] >> 4, header[6], struct.unpack_from("!H", header, 4)[0]), (6, 58, len(message)), "IP header")
        whole = packet.icmp(source, destination, message[0], message[1], message[4:])
        equal(message[2:4].hex(), whole[42:44].hex(), "ICMPv6 checksum")
        info = struct.pack("!I", mtu)
        # As much as fits the smallest MTU (RFC 4443, 3.1).
        least = most = min(len(about), 1280 - 48)
    equal((message[0], message[1], message[4:8].hex()), (kind, code, info.hex()), "ICMP type, code, MTU")
    quoted = message[8:]
    check(min(least, len(about)) <= len(quoted) <= most, f"{len(quoted)} bytes quoted")
    equal(quoted.hex(), about[:len(quoted)].hex(), "quoted packet")


def client_is_told(outcome, flow, error, about, mtu=0, **counters):
    """Nothing comes of a client's frame but an ICMP error, from the VIP."""
    equal((outcome.nodes, outcome.passed, outcome.counters), ([], [], counters), "the rest")
    equal(len(outcome.client), 1, "answers")
    is_icmp_error(outcome.client[0], error, about, (CLIENT_MAC, OUT_MAC, flow.ends.vip, flow.client[0]), mtu)


def node_is_told(outcome, flow, error, about, mtu=0, **counters):
    """The same of a node's frame, from the front-end."""
    equal((outcome.client, outcome.passed, outcome.counters), ([], [], counters), "the rest")
    equal(len(outcome.nodes), 1, "answers")
    ends = (node_mac(flow.number), IN_MAC, flow.ends.fe_in, packet.addresses(about)[0])
    is_icmp_error(outcome.nodes[0], error, about, ends, mtu)
