"""Many clients on the raw wire, each of which says in its packets who it is."""

import os
import signal
import socket
import struct
import time
from collections import Counter

import fep_packet as packet
from fep_packet import ACK, FIN, RST, SYN, ether
from fep_wire import CLIENT_MAC, IN_MAC, OUT_MAC, V6, VIP, node, node_mac

UDP, TCP, OTHER = ("udp", VIP, 53), ("tcp", VIP, 80), ("udp", VIP, 54)
UDP6, TCP6 = ("udp", V6.vip, 53), ("tcp", V6.vip, 80)
NODE_OF_MAC = {packet.mac_bytes(node_mac(n)): n for n in range(1, 9)}


def client_address(number, service=UDP):
    """(address, port) of client `number` of a service: a hundred ports each."""
    host, port = number // 100, 10_000 + number % 100
    if ":" in service[1]:
        return f"2001:db8:2::{host + 1:x}", port
    return f"198.{18 + (host >> 16)}.{host >> 8 & 255}.{host & 255}", port


def request(number, service=UDP):
    """A datagram of client `number`."""
    address, port = client_address(number, service)
    return ether(OUT_MAC, CLIENT_MAC, packet.udp(address, service[1], port, service[2], struct.pack("!I", number),
                                                 summed=":" in address))


def segment(number, flags, service=TCP):
    """A TCP segment of client `number`, whose sequence number says so."""
    address, port = client_address(number, service)
    return ether(OUT_MAC, CLIENT_MAC, packet.tcp(address, service[1], port, service[2], flags, seq=number))


def reply(there, address, number, service=UDP):
    """The frame of a node, at `address`, to client `number`."""
    client, port = client_address(number, service)
    return ether(IN_MAC, node_mac(there), packet.udp(
        address, client, service[2], port, struct.pack("!I", number), summed=":" in address))


def number_of(frame):
    """The client that a frame says it is of: behind the UDP header, or the sequence number."""
    at, kind = (54, frame[20]) if frame[12] == 0x86 else (34, frame[23])
    return struct.unpack_from("!I", frame, at + (8 if kind == 17 else 4))[0]


def chosen(wire, frames):
    """Sends frames and returns (client, node) of each, in the order of arrival."""
    wire.nodes.take_fast()
    seen = []
    for at in range(0, len(frames), 500):
        for frame in frames[at:at + 500]:
            wire.client.send(frame)
        wire.settle()
        seen += wire.nodes.take_fast()
    return [(number_of(frame), NODE_OF_MAC[frame[:6]]) for frame in seen if not frame[0] & 1]


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


class Flood:
    """A process that sends the same frames over and over, whatever becomes of the device."""

    def __init__(self, namespace, device, frames, cpu=None, pause=0):
        ready, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                namespace.__enter__()
                os.dup2(told, 3)
                # Nothing of the parent's may keep a namespace or the module.
                os.closerange(4, 4096)
                if cpu is not None:
                    os.sched_setaffinity(0, {cpu})
                os.write(3, b"x")
                self._send(device, frames, pause)
            finally:
                os._exit(1)
        os.close(told)
        os.read(ready, 1)
        os.close(ready)

    @staticmethod
    def _send(device, frames, pause):
        sock = None
        while True:
            try:
                if sock is None:
                    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                    sock.bind((device, 0))
                for frame in frames:
                    sock.send(frame)
                if pause:
                    time.sleep(pause)
            except OSError:
                # The device is gone, down or full; it may come again.
                if sock is not None:
                    sock.close()
                sock = None
                time.sleep(0.01)

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def traffic(count):
    """Requests and replies of so many UDP and TCP clients, some TCP connections ending each round: for
    two floods."""
    requests, replies = [], []
    for number in range(count):
        address, port = client_address(number)
        requests += [request(number), segment(number, SYN), segment(number, ACK), segment(number, FIN | ACK)]
        for there in (1, 2):
            replies += [reply(there, node(there), number), ether(IN_MAC, node_mac(there), packet.tcp(
                node(there), address, 80, port, (SYN | ACK, ACK, FIN | ACK, RST)[number % 4], ack=1))]
    return requests, replies


def serve(fep):
    """The services that `traffic()` is for."""
    for service in (UDP, TCP):
        fep.add_service(service, [(node(n), service[2]) for n in (1, 2)])
