"""Reads a capture file (the classic pcap format of tcpdump -w, Ethernet)."""

import collections
import socket
import struct

IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
TCP = 6


class Capture:
    """What one station with the address `own` has exchanged with whom.

    peers     IPv4 address -> packets, of the other side of each packet
    tcp       the same, TCP packets only
    ports     own TCP ports from which a connection was opened
    received  TCP packets received
    arp       addresses of others that ARP packets were about
    macs      Ethernet addresses that IPv4 packets came from
    """

    def __init__(self, data, own):
        self.own = own
        self.packets = 0
        self.received = 0
        self.peers = collections.Counter()
        self.tcp = collections.Counter()
        self.ports = set()
        self.arp = set()
        self.macs = set()
        magic = data[:4]
        order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}.get(magic)
        if order is None:
            raise ValueError("not a capture file")
        at = 24
        while at + 16 <= len(data):
            length, = struct.unpack_from(order + "I", data, at + 8)
            self._frame(data[at + 16:at + 16 + length])
            at += 16 + length

    def _frame(self, frame):
        self.packets += 1
        kind, = struct.unpack_from(">H", frame, 12)
        if kind == ARP:
            self.arp |= {socket.inet_ntoa(frame[28:32]), socket.inet_ntoa(frame[38:42])} - {self.own}
        if kind != IPV4:
            return
        source, destination = (socket.inet_ntoa(frame[n:n + 4]) for n in (26, 30))
        sent = source == self.own
        peer = destination if sent else source
        self.peers[peer] += 1
        if not sent:
            self.macs.add(frame[6:12].hex(":"))
            if destination != self.own:
                self.peers[destination] += 1
        if frame[23] != TCP:
            return
        self.tcp[peer] += 1
        self.received += not sent
        transport = 14 + 4 * (frame[14] & 15)
        flags = frame[transport + 13]
        if sent and flags & 0x12 == 0x02:
            self.ports.add(struct.unpack_from(">H", frame, transport)[0])
