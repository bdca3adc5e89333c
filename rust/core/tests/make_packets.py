#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes data/packets.txt: packets and their translations, both made by scapy.

    pip install scapy && ./make_packets.py

The file is committed, so that the tests need neither scapy nor Python. One case per line:

    name side address port coverage input expected

side is "source" or "destination", address and port are what it becomes, coverage is "full" or
"partial" (Linux's CHECKSUM_PARTIAL), input and expected are packets from the IPv4 header on.
"""

import pathlib
import random

from scapy.layers.inet import (
    IP,
    TCP,
    UDP,
    IPOption_NOP,
    IPOption_RR,
    IPOption_Router_Alert,
    IPOption_Timestamp,
    in4_pseudoheader,
)
from scapy.packet import Raw
from scapy.utils import checksum

OUT = pathlib.Path(__file__).parent / "data" / "packets.txt"

CLIENT, VIP, NODE = "198.51.100.9", "192.0.2.1", "10.0.0.7"
TCP_OPTIONS = {
    "plain": [],
    "syn": [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)],
    "data": [("NOP", None), ("NOP", None), ("Timestamp", (0xFFFFFFFF, 0x80000000))],
    "full": [("NOP", None)] * 40,
}
IP_OPTIONS = {
    "plain": [],
    "nop": [IPOption_NOP()] * 4,
    "alert": [IPOption_Router_Alert()],
    "rr": [IPOption_RR(length=11, routers=["0.0.0.0", "0.0.0.0"])],
    "ts": [IPOption_Timestamp()],
    "full": [IPOption_NOP()] * 40,
}


def recompute(packet):
    """The packet again, with every length and checksum computed by scapy."""
    packet = packet.copy()
    del packet[IP].chksum, packet[IP].len, packet[IP].ihl
    transport = packet[IP].payload
    absent = transport.name == "UDP" and transport.chksum == 0
    if not absent:
        del transport.chksum
    return IP(bytes(packet))


def partial(packet):
    """The packet as a sender hands it to a device that completes checksums."""
    packet = recompute(packet)
    transport = packet[IP].payload
    pseudo = in4_pseudoheader(packet.proto, packet[IP], len(bytes(transport)))
    transport.chksum = ~checksum(pseudo) & 0xFFFF
    return IP(bytes(packet))


def translate(packet, side, address, port):
    """The packet after the front-end node."""
    packet = packet.copy()
    packet.ttl -= 1
    if side == "source":
        packet.src, packet.payload.sport = address, port
    else:
        packet.dst, packet.payload.dport = address, port
    return packet


def case(name, packet, side, address, port, finish=recompute):
    """One line."""
    coverage = "partial" if finish is partial else "full"
    before = bytes(finish(packet))
    after = bytes(finish(translate(finish(packet), side, address, port)))
    return f"{name} {side} {address} {port} {coverage} {before.hex()} {after.hex()}"


def request(transport, payload=b"", **ip):
    """From the client to the service."""
    transport.sport, transport.dport = 40001, 8080
    return IP(src=CLIENT, dst=VIP, **ip) / transport / Raw(payload)


def reply(transport, payload=b"", **ip):
    """From the node to the client."""
    transport.sport, transport.dport = 80, 40001
    return IP(src=NODE, dst=CLIENT, **ip) / transport / Raw(payload)


def both_ways(name, transport, payload=b"", finish=recompute, **ip):
    """A request and a reply of the same shape."""
    yield case(f"{name}/request", request(transport(), payload, **ip), "destination", NODE, 80, finish)
    yield case(f"{name}/reply", reply(transport(), payload, **ip), "source", VIP, 8080, finish)


def solve(packet, side, address, port, field, wanted):
    """Chooses the free field so that the checksum after the translation is `wanted`.

    The field is one word, so the checksum goes through (almost) all values with it.
    """
    for value in range(0x10000):
        if field == "id":
            packet.id = value
        else:
            packet[Raw].load = value.to_bytes(2, "big")
        after = recompute(translate(recompute(packet), side, address, port))
        found = after.chksum if field == "id" else after.payload.chksum
        if found == wanted:
            return packet
    raise ValueError(f"no {field} gives {wanted:#x}")


def quick_solve(packet, side, address, port, field, wanted):
    """As `solve`, beginning close to the answer."""
    if field == "id":
        packet.id = 0
    else:
        packet[Raw].load = b"\0\0"
    after = recompute(translate(recompute(packet), side, address, port))
    now = after.chksum if field == "id" else after.payload.chksum
    total = (~now & 0xFFFF) + wanted
    guess = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    if field == "id":
        packet.id = guess
    else:
        packet[Raw].load = guess.to_bytes(2, "big")
    after = recompute(translate(recompute(packet), side, address, port))
    found = after.chksum if field == "id" else after.payload.chksum
    return packet if found == wanted else solve(packet, side, address, port, field, wanted)


def shapes():
    """Every kind of header."""
    for ip_name, options in IP_OPTIONS.items():
        for tcp_name, tcp_options in TCP_OPTIONS.items():
            for finish in (recompute, partial):
                name = f"tcp/{ip_name}/{tcp_name}/{finish.__name__}"
                make = lambda: TCP(options=list(tcp_options), flags="PA", seq=0xFFFFFFFE)
                yield from both_ways(name, make, b"GET / HTTP/1.1\r\n\r\n!", finish, options=options)
        for finish in (recompute, partial):
            name = f"udp/{ip_name}/{finish.__name__}"
            yield from both_ways(name, UDP, b"odd", finish, options=options)
        yield from both_ways(f"udp/{ip_name}/absent", lambda: UDP(chksum=0), b"odd", options=options)


def lengths():
    """Odd and even, none and many."""
    for length in (0, 1, 2, 3, 7, 8, 1000, 1459, 1460):
        payload = bytes(range(1, 252)) * 6
        for name, make in (("tcp", TCP), ("udp", UDP)):
            yield from both_ways(f"{name}/length/{length}", make, payload[:length])


def fields():
    """Whatever else a header holds travels as it is."""
    for flags in ("S", "SA", "A", "FA", "R", "RA", "SEC", "FSRPAUEC"):
        yield from both_ways(f"tcp/flags/{flags}", lambda: TCP(flags=flags, urgptr=7, reserved=1))
    for ttl in (1, 2, 128, 255):
        yield from both_ways(f"udp/ttl/{ttl}", UDP, b"x", ttl=ttl)
    yield from both_ways("tcp/tos", TCP, tos=0xFF, flags="DF", id=0xFFFF)


def corners():
    """Checksums at the two zeros of one's complement."""
    for name, make in (("tcp", TCP), ("udp", UDP)):
        for side, address, port, packet in (
            ("destination", NODE, 80, lambda: request(make(), b"\0\0")),
            ("source", VIP, 8080, lambda: reply(make(), b"\0\0")),
        ):
            wanted = (0x0000, 0x0001, 0xFFFE) if name == "tcp" else (0x0001, 0xFFFE, 0xFFFF)
            for value in wanted:
                solved = quick_solve(packet(), side, address, port, "load", value)
                yield case(f"{name}/after/{value:04x}", solved, side, address, port)
                # The same checksum before the translation: solved for a translation to itself.
                same = (packet().dst, packet()[IP].payload.dport)
                solved = quick_solve(packet(), "destination", *same, "load", value)
                yield case(f"{name}/before/{value:04x}", solved, side, address, port)
            for value in (0x0000, 0x0001, 0xFFFE):
                solved = quick_solve(packet(), side, address, port, "id", value)
                yield case(f"{name}/header/{value:04x}", solved, side, address, port)


def noise(count):
    """Anything, from a fixed seed."""
    dice = random.Random(20240607)
    for number in range(count):
        make = dice.choice([TCP, UDP])
        packet = IP(
            src=f"{dice.randint(1, 126)}.{dice.randint(0, 255)}.{dice.choice([0, 255])}.1",
            dst=f"{dice.randint(128, 223)}.255.255.{dice.randint(0, 255)}",
            id=dice.getrandbits(16),
            ttl=dice.randint(1, 255),
        )
        packet /= make(sport=dice.randint(1, 65535), dport=dice.randint(1, 65535))
        packet /= Raw(dice.randbytes(dice.randint(0, 40)))
        address = ".".join(str(dice.choice([0, 1, 254, 255])) for _ in range(4))
        side = dice.choice(["source", "destination"])
        finish = dice.choice([recompute, recompute, partial])
        yield case(f"noise/{number}", packet, side, address, dice.randint(1, 65535), finish)


def main():
    """Writes the file."""
    lines = [*shapes(), *lengths(), *fields(), *corners(), *noise(100)]
    header = "# Written by make_packets.py; see there.\n"
    OUT.write_text(header + "\n".join(lines) + "\n", encoding="ascii")
    print(f"{len(lines)} cases in {OUT}")


if __name__ == "__main__":
    main()
