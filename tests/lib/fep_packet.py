"""Packets as bytes, and taps that see them byte for byte. No scapy: it takes long to load."""

import errno
import functools
import select
import socket
import struct
import time

from fep_test import Failure

ETH_ALL, ETH_IP, ETH_ARP, ETH_IPV6, ETH_VLAN = 0x0003, 0x0800, 0x0806, 0x86DD, 0x8100
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

_SOL_PACKET = 263
_PACKET_AUXDATA = 8
_PACKET_IGNORE_OUTGOING = 23
_PACKET_OUTGOING = 4
_SO_RCVBUFFORCE = 33


@functools.cache
def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def ip_bytes(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def ip_text(raw):
    return socket.inet_ntop(socket.AF_INET6 if len(raw) == 16 else socket.AF_INET, raw)


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    # The one's complement sum of 16-bit words is the remainder by 2^16 - 1, with 0xffff for 0.
    number = int.from_bytes(data, "big")
    return 0xFFFF - (number % 0xFFFF or 0xFFFF) if number else 0xFFFF


def ether(destination, source, payload, kind=None):
    """`kind`: by default that of the IP packet."""
    if kind is None:
        kind = ETH_IPV6 if payload[:1] and payload[0] >> 4 == 6 else ETH_IP
    return mac_bytes(destination) + mac_bytes(source) + struct.pack("!H", kind) + payload


def ipv4(source, destination, protocol, payload, ttl=64, ident=0x1234, fragment=0x4000, tos=0, options=b""):
    """`options` has a length that four divides. `fragment`: flags and offset; by default "do not fragment"."""
    length = 20 + len(options)
    header = struct.pack("!BBHHHBBH4s4s", 0x40 | length // 4, tos, length + len(payload), ident, fragment, ttl,
                         protocol, 0, ip_bytes(source), ip_bytes(destination)) + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(source, destination, protocol, payload, ttl=64, tos=0, flow=0, extensions=()):
    """`extensions`: the kind of each extension header and what is behind its first two bytes."""
    kinds = [kind for kind, _ in extensions] + [protocol]
    chain = b"".join(extension(following, content) for following, (_, content) in zip(kinds[1:], extensions))
    return struct.pack("!IHBB16s16s", 6 << 28 | tos << 20 | flow, len(chain) + len(payload), kinds[0], ttl,
                       ip_bytes(source), ip_bytes(destination)) + chain + payload


def extension(following, content):
    """An extension header with so much behind its first two bytes, whose length is 6, 14, 22, ..."""
    assert len(content) % 8 == 6, content
    return bytes([following, len(content) // 8]) + content


def ip(source, destination, protocol, payload, **header):
    """A packet of whichever version the addresses are."""
    return (ipv6 if ":" in source else ipv4)(source, destination, protocol, payload, **header)


def _pseudo(source, destination, protocol, segment):
    ends = ip_bytes(source) + ip_bytes(destination)
    layout = "!I3xB" if ":" in source else "!xxHxB"
    return ends + struct.pack(layout, len(segment), protocol) + segment


def udp(source, destination, sport, dport, data=b"", summed=True, **header):
    """An IP packet with a UDP datagram."""
    segment = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    if summed:
        total = checksum(_pseudo(source, destination, 17, segment)) or 0xFFFF
        segment = segment[:6] + struct.pack("!H", total) + data
    return ip(source, destination, 17, segment, **header)


def tcp(source, destination, sport, dport, flags, seq=1000, ack=0, data=b"", options=b"", window=8192, **header):
    """An IP packet with a TCP segment."""
    offset = 5 + len(options) // 4
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, offset << 4, flags, window, 0, 0) + options + data
    total = checksum(_pseudo(source, destination, 6, segment))
    segment = segment[:16] + struct.pack("!H", total) + segment[18:]
    return ip(source, destination, 6, segment, **header)


def icmp(source, destination, kind, code, body, **header):
    """An IP packet with an ICMP or ICMPv6 message; `body` is what follows its checksum."""
    message = bytes([kind, code, 0, 0]) + body
    if ":" in source:
        total, protocol = checksum(_pseudo(source, destination, 58, message)), 58
    else:
        total, protocol = checksum(message), 1
    return ip(source, destination, protocol, message[:2] + struct.pack("!H", total) + body, **header)


def transport_at(packet):
    """Where the transport header of an IP packet begins, and its protocol."""
    if packet[0] >> 4 == 4:
        return (packet[0] & 15) * 4, packet[9]
    kind, at = packet[6], 40
    while kind in (0, 43, 60):
        kind, at = packet[at], at + 8 + packet[at + 1] * 8
    return at, kind


def addresses(packet):
    """Source and destination of an IP packet."""
    size, at = (16, 8) if packet[0] >> 4 == 6 else (4, 12)
    return ip_text(packet[at:at + size]), ip_text(packet[at + size:at + 2 * size])


class Seen:
    """What a frame says, as far as tests ask; only for whole TCP and UDP packets without VLAN tag."""

    def __init__(self, frame):
        self.frame = frame
        packet = frame[14:]
        at, self.protocol = transport_at(packet)
        self.source, self.destination = addresses(packet)
        self.sport, self.dport = struct.unpack_from("!HH", packet, at)
        if packet[0] >> 4 == 6:
            self.ttl, end = packet[7], 40 + struct.unpack_from("!H", packet, 4)[0]
        else:
            self.ttl, end = packet[8], struct.unpack_from("!H", packet, 2)[0]
        if self.protocol == 6:
            self.seq, self.ack, offset, self.flags = struct.unpack_from("!IIBB", packet, at + 4)
            self.data = packet[at + (offset >> 4) * 4:end]
        else:
            self.flags = 0
            self.data = packet[at + 8:end]

    def __repr__(self):
        return f"{self.source}:{self.sport} -> {self.destination}:{self.dport} flags={self.flags:#x} {self.data!r}"


class Tap:
    """A packet socket on a device of a namespace.

    With ETH_ALL it sees what the driver delivers, before the filter; with the number of one protocol,
    what is left for the stack behind the filter.
    """

    def __init__(self, namespace, device, protocol=ETH_ALL, buffer=8 << 20):
        def make():
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer)
            made.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            made.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            made.bind((device, protocol))
            made.setblocking(False)
            return made
        self.socket = namespace.socket(make)
        self.take()

    def send(self, frame):
        self.socket.send(frame)

    def take(self):
        """All frames that have arrived."""
        frames = []
        while True:
            try:
                frame, control, flags, _ = self.socket.recvmsg(70_000, 128)
            except BlockingIOError:
                return frames
            except OSError as error:
                # Says once that the device is down; it may come up again.
                if error.errno != errno.ENETDOWN:
                    raise
                continue
            if flags & socket.MSG_TRUNC:
                raise Failure("a frame was cut off")
            frames.append(_with_tag(frame, control))

    def take_fast(self):
        """As `take()`, for many frames: VLAN tags are not put back."""
        frames = []
        try:
            while True:
                frames.append(self.socket.recv(2048))
        except BlockingIOError:
            return frames

    def wait(self, wanted, what, seconds=10.0):
        """Frames up to the first for which `wanted(frame)` is true."""
        frames = []
        deadline = time.monotonic() + seconds
        while True:
            for frame in self.take():
                frames.append(frame)
                if wanted(frame):
                    return frames
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"after {seconds:g} s no {what}; seen: {[f.hex() for f in frames]}")
            select.select([self.socket], [], [], left)

    def close(self):
        self.socket.close()


def _with_tag(frame, control):
    """The frame with its VLAN tag, which the kernel keeps beside it."""
    for level, kind, data in control:
        if level == _SOL_PACKET and kind == _PACKET_AUXDATA:
            status, *_, tci, tpid = struct.unpack_from("=IIIHHHH", data)
            if status & 0x10:
                return frame[:12] + struct.pack("!HH", tpid if status & 0x40 else ETH_VLAN, tci) + frame[12:]
    return frame
