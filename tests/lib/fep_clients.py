"""Many clients on the raw wire, each of which says in its packets who it is."""

import struct
from collections import Counter

import fep_packet as packet
from fep_packet import ether
from fep_wire import CLIENT_MAC, OUT_MAC, VIP, node_mac

UDP, TCP, OTHER = ("udp", VIP, 53), ("tcp", VIP, 80), ("udp", VIP, 54)
NODE_OF_MAC = {packet.mac_bytes(node_mac(n)): n for n in range(1, 9)}


def client_address(number):
    """(address, port) of client `number`: a hundred ports each."""
    return f"198.18.{number // 100 >> 8}.{number // 100 & 255}", 10_000 + number % 100


def request(number, service=UDP):
    """A datagram of client `number`."""
    address, port = client_address(number)
    return ether(OUT_MAC, CLIENT_MAC, packet.udp(address, service[1], port, service[2], struct.pack("!I", number),
                                                 summed=False))


def segment(number, flags, service=TCP):
    """A TCP segment of client `number`, whose sequence number says so."""
    address, port = client_address(number)
    return ether(OUT_MAC, CLIENT_MAC, packet.tcp(address, service[1], port, service[2], flags, seq=number))


def reply(there, address, number, service=UDP):
    """The frame of a node, at `address`, to client `number`."""
    client, port = client_address(number)
    return ether("02:fe:00:00:00:02", node_mac(there), packet.udp(
        address, client, service[2], port, struct.pack("!I", number), summed=False))


def chosen(wire, frames):
    """Sends frames and returns (client, node) of each, in the order of arrival."""
    wire.nodes.take_fast()
    seen = []
    for at in range(0, len(frames), 500):
        for frame in frames[at:at + 500]:
            wire.client.send(frame)
        wire.settle()
        seen += wire.nodes.take_fast()
    # Behind the UDP header, or the sequence number.
    return [(struct.unpack_from("!I", frame, 42 if frame[23] == 17 else 38)[0], NODE_OF_MAC[frame[:6]])
            for frame in seen]


class Clients:
    """Hands out clients that have not been used."""

    def __init__(self, first=0):
        self.next = first

    def numbers(self, count):
        self.next += count
        return list(range(self.next - count, self.next))

    def take(self, count, service=UDP):
        """The first requests of so many new clients."""
        return [request(number, service) for number in self.numbers(count)]


def shares(pairs):
    """Requests by node."""
    return dict(sorted(Counter(number for _, number in pairs).items()))
