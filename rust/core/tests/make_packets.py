#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes data/packets.txt: packets, ICMP errors about them, and their translations, made by scapy.

    pip install scapy && ./make_packets.py

The file is committed, so that the tests need neither scapy nor Python. One case per line:

    name side address port coverage input expected

side is "source" or "destination", address and port are what it becomes, coverage is "full" or
"partial" (Linux's CHECKSUM_PARTIAL), input and expected are packets from the IP header on.
"""

import itertools
import pathlib
import random

from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPOption_NOP,
    IPOption_RR,
    IPOption_Router_Alert,
    IPOption_Timestamp,
    in4_pseudoheader,
)
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
    PadN,
    RouterAlert,
    in6_pseudoheader,
)
from scapy.packet import Raw
from scapy.utils import checksum

OUT = pathlib.Path(__file__).parent / "data" / "packets.txt"

CLIENT, VIP, NODE = "198.51.100.9", "192.0.2.1", "10.0.0.7"
CLIENT6, VIP6, NODE6 = "2001:db8:ffff::9", "2001:db8::1", "fd00:0:0:ffff::7"
ROUTER, ROUTER6 = "203.0.113.254", "2001:db8:fffe::fffe"
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


EXTENSIONS = {
    "plain": [],
    "hop": [IPv6ExtHdrHopByHop(options=[RouterAlert()])],
    "options": [IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\xff" * 12)])],
    "routing": [IPv6ExtHdrRouting(addresses=["2001:db8::aaaa"], segleft=0)],
    "all": [
        IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]),
        IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\1" * 20)]),
        IPv6ExtHdrSegmentRouting(addresses=["2001:db8::1", "::1"], segleft=0, lastentry=1),
        IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\2" * 4)]),
    ],
}


def header(source, destination, extensions=(), **fields):
    """An IP header of the addresses' family. In IPv6, the hop limit is called `ttl` too."""
    if ":" not in source:
        return IP(src=source, dst=destination, **fields)
    if "ttl" in fields:
        fields["hlim"] = fields.pop("ttl")
    packet = IPv6(src=source, dst=destination, **fields)
    for extension in extensions:
        packet /= extension.copy()
    return packet


def upper(packet):
    """The transport header."""
    return packet[TCP] if TCP in packet else packet[UDP]


def recompute(packet):
    """The packet again, with every length and checksum computed by scapy."""
    packet = packet.copy()
    if isinstance(packet, IPv6):
        del packet.plen
    else:
        del packet.chksum, packet.len, packet.ihl
    transport = upper(packet)
    absent = transport.name == "UDP" and transport.chksum == 0
    if not absent:
        del transport.chksum
    return type(packet)(bytes(packet))


def pseudo_sum(packet, transport):
    """What the checksum field holds when the device is to complete it."""
    length = len(bytes(transport))
    if isinstance(packet, IPv6):
        number = 58 if transport.name.startswith("ICMP") else {"TCP": 6, "UDP": 17}[transport.name]
        pseudo = bytes(in6_pseudoheader(number, transport, length))
    else:
        pseudo = in4_pseudoheader(packet.proto, packet, length)
    return ~checksum(pseudo) & 0xFFFF


def partial(packet):
    """The packet as a sender hands it to a device that completes checksums."""
    packet = recompute(packet)
    transport = upper(packet)
    transport.chksum = pseudo_sum(packet, transport)
    return type(packet)(bytes(packet))


def readdress(packet, side, address, port):
    """The packet with another end."""
    packet = packet.copy()
    if side == "source":
        packet.src, upper(packet).sport = address, port
    else:
        packet.dst, upper(packet).dport = address, port
    return packet


def translate(packet, side, address, port):
    """The packet after the front-end node."""
    packet = readdress(packet, side, address, port)
    if isinstance(packet, IPv6):
        packet.hlim -= 1
    else:
        packet.ttl -= 1
    return packet


def case(name, packet, side, address, port, finish=recompute):
    """One line."""
    coverage = "partial" if finish is partial else "full"
    before = bytes(finish(packet))
    after = bytes(finish(translate(finish(packet), side, address, port)))
    return f"{name} {side} {address} {port} {coverage} {before.hex()} {after.hex()}"


def request(transport, payload=b"", ipv6=False, **ip):
    """From the client to the service."""
    transport.sport, transport.dport = 40001, 8080
    ends = (CLIENT6, VIP6) if ipv6 else (CLIENT, VIP)
    return header(*ends, **ip) / transport / Raw(payload)


def reply(transport, payload=b"", ipv6=False, **ip):
    """From the node to the client."""
    transport.sport, transport.dport = 80, 40001
    ends = (NODE6, CLIENT6) if ipv6 else (NODE, CLIENT)
    return header(*ends, **ip) / transport / Raw(payload)


def both_ways(name, transport, payload=b"", finish=recompute, ipv6=False, **ip):
    """A request and a reply of the same shape."""
    vip, node = (VIP6, NODE6) if ipv6 else (VIP, NODE)
    ip["ipv6"] = ipv6
    yield case(f"{name}/request", request(transport(), payload, **ip), "destination", node, 80, finish)
    yield case(f"{name}/reply", reply(transport(), payload, **ip), "source", vip, 8080, finish)


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
        found = after.chksum if field == "id" else upper(after).chksum
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
    now = after.chksum if field == "id" else upper(after).chksum
    total = (~now & 0xFFFF) + wanted
    guess = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    if field == "id":
        packet.id = guess
    else:
        packet[Raw].load = guess.to_bytes(2, "big")
    after = recompute(translate(recompute(packet), side, address, port))
    found = after.chksum if field == "id" else upper(after).chksum
    return packet if found == wanted else solve(packet, side, address, port, field, wanted)


def shapes():
    """Every kind of header."""
    families = (("", False, "options", IP_OPTIONS), ("6", True, "extensions", EXTENSIONS))
    for family, ipv6, field, headers in families:
        for ip_name, options in headers.items():
            ip = {"ipv6": ipv6, field: options}
            for tcp_name, tcp_options in TCP_OPTIONS.items():
                for finish in (recompute, partial):
                    name = f"tcp{family}/{ip_name}/{tcp_name}/{finish.__name__}"
                    make = lambda: TCP(options=list(tcp_options), flags="PA", seq=0xFFFFFFFE)
                    yield from both_ways(name, make, b"GET / HTTP/1.1\r\n\r\n!", finish, **ip)
            for finish in (recompute, partial):
                name = f"udp{family}/{ip_name}/{finish.__name__}"
                yield from both_ways(name, UDP, b"odd", finish, **ip)
            yield from both_ways(f"udp{family}/{ip_name}/absent", lambda: UDP(chksum=0), b"odd", **ip)


def lengths():
    """Odd and even, none and many."""
    for family, ipv6, all_lengths in (
        ("", False, (0, 1, 2, 3, 7, 8, 1000, 1459, 1460)),
        ("6", True, (0, 1, 2, 7, 1439)),
    ):
        for length in all_lengths:
            payload = bytes(range(1, 252)) * 6
            for name, make in (("tcp", TCP), ("udp", UDP)):
                name = f"{name}{family}/length/{length}"
                yield from both_ways(name, make, payload[:length], ipv6=ipv6)


def fields():
    """Whatever else a header holds travels as it is."""
    for family, ipv6 in (("", False), ("6", True)):
        for flags in ("S", "SA", "A", "FA", "R", "RA", "SEC", "FSRPAUEC"):
            make = lambda: TCP(flags=flags, urgptr=7, reserved=1)
            yield from both_ways(f"tcp{family}/flags/{flags}", make, ipv6=ipv6)
        for ttl in (1, 2, 128, 255):
            yield from both_ways(f"udp{family}/ttl/{ttl}", UDP, b"x", ttl=ttl, ipv6=ipv6)
    yield from both_ways("tcp/tos", TCP, tos=0xFF, flags="DF", id=0xFFFF)
    yield from both_ways("tcp6/flow", TCP, tc=0xFF, fl=0xFFFFF, ipv6=True)


def corners():
    """Checksums at the two zeros of one's complement."""
    for family, ipv6 in (("", False), ("6", True)):
        vip, node = (VIP6, NODE6) if ipv6 else (VIP, NODE)
        for protocol, make in (("tcp", TCP), ("udp", UDP)):
            name = f"{protocol}{family}"
            for side, address, port, packet in (
                ("destination", node, 80, lambda: request(make(), b"\0\0", ipv6)),
                ("source", vip, 8080, lambda: reply(make(), b"\0\0", ipv6)),
            ):
                wanted = (0x0000, 0x0001, 0xFFFE) if make is TCP else (0x0001, 0xFFFE, 0xFFFF)
                for value in wanted:
                    solved = quick_solve(packet(), side, address, port, "load", value)
                    yield case(f"{name}/after/{value:04x}", solved, side, address, port)
                    # The same checksum before the translation: solved for a translation to itself.
                    same = (packet().dst, upper(packet()).dport)
                    solved = quick_solve(packet(), "destination", *same, "load", value)
                    yield case(f"{name}/before/{value:04x}", solved, side, address, port)
                for value in (0x0000, 0x0001, 0xFFFE) if not ipv6 else ():
                    solved = quick_solve(packet(), side, address, port, "id", value)
                    yield case(f"{name}/header/{value:04x}", solved, side, address, port)


def error_bytes(outer, icmp, quote, finish):
    """An ICMP error, from the IP header on."""
    packet = outer / icmp.copy() / Raw(quote)
    if finish is partial:
        # ICMP of IPv4 has no pseudo-header.
        layer = packet[type(icmp)]
        if isinstance(packet, IPv6):
            layer.cksum = pseudo_sum(packet, layer)
        else:
            layer.chksum = 0
    return bytes(packet)


def error_case(name, icmp, quoted, cut, side, address, port, finish, extensions=()):
    """One line: an error about `quoted`, of which `cut` bytes behind its IP headers are quoted."""
    ipv6 = isinstance(quoted, IPv6)
    quoted = recompute(quoted)
    length = len(bytes(quoted)) - len(bytes(upper(quoted))) + cut
    router, target = ROUTER6 if ipv6 else ROUTER, quoted.src
    before = error_bytes(
        header(router, target, extensions, ttl=61), icmp, bytes(quoted)[:length], finish
    )
    opposite = "destination" if side == "source" else "source"
    quoted = recompute(readdress(quoted, opposite, address, port))
    ends = (address, target) if side == "source" else (router, address)
    after = error_bytes(header(*ends, extensions, ttl=60), icmp, bytes(quoted)[:length], finish)
    coverage = "partial" if finish is partial else "full"
    return f"{name} {side} {address} {port} {coverage} {before.hex()} {after.hex()}"


def errors():
    """ICMP errors about requests, as the node got them, and replies, as the client was to."""
    messages = {
        "unreachable": ICMP(type=3, code=3),
        "too-big": ICMP(type=3, code=4, nexthopmtu=1400),
        "exceeded": ICMP(type=11, code=0),
        "problem": ICMP(type=12, ptr=8),
    }
    messages6 = {
        "unreachable": ICMPv6DestUnreach(code=4),
        "too-big": ICMPv6PacketTooBig(mtu=1280),
        "exceeded": ICMPv6TimeExceeded(code=0),
        "problem": ICMPv6ParamProblem(code=1, ptr=40),
    }
    for family, ipv6, table, headers in (
        ("", False, messages, {"plain": []}),
        ("6", True, messages6, {name: EXTENSIONS[name] for name in ("plain", "all")}),
    ):
        client, vip, node = (CLIENT6, VIP6, NODE6) if ipv6 else (CLIENT, VIP, NODE)
        for (name, icmp), (ip_name, extensions) in itertools.product(table.items(), headers.items()):
            for protocol, make, cuts in (("tcp", TCP, (8, 18, 40)), ("udp", UDP, (8, 11))):
                for cut, finish in itertools.product(cuts, (recompute, partial)):
                    title = f"icmp{family}/{name}/{protocol}/{ip_name}/{finish.__name__}/{cut}"
                    rest = {"extensions": extensions} if ipv6 else {}
                    about = header(client, node, **rest) / make(sport=40001, dport=80) / Raw(b"x" * 50)
                    yield error_case(
                        f"{title}/request", icmp, about, cut, "source", vip, 8080, finish, extensions
                    )
                    about = header(vip, client, **rest) / make(sport=8080, dport=40001) / Raw(b"odd")
                    yield error_case(
                        f"{title}/reply", icmp, about, cut, "destination", node, 80, finish, extensions
                    )


def noise6(count):
    """Anything of IPv6, from a fixed seed."""
    dice = random.Random(20250606)

    def address(first):
        words = [first, *(dice.choice([0, 1, 0xFFFF, dice.getrandbits(16)]) for _ in range(7))]
        return ":".join(f"{word:x}" for word in words)

    for number in range(count):
        make = dice.choice([TCP, UDP])
        extensions = EXTENSIONS[dice.choice(list(EXTENSIONS))]
        packet = header(address(0x2001), address(0xFD00), extensions, ttl=dice.randint(1, 255))
        packet /= make(sport=dice.randint(1, 65535), dport=dice.randint(1, 65535))
        packet /= Raw(dice.randbytes(dice.randint(0, 40)))
        side = dice.choice(["source", "destination"])
        finish = dice.choice([recompute, recompute, partial])
        becomes = address(dice.choice([0, 0xFFFF, 0x2001]))
        yield case(f"noise6/{number}", packet, side, becomes, dice.randint(1, 65535), finish)


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
    lines = [*shapes(), *lengths(), *fields(), *corners(), *errors(), *noise(100), *noise6(100)]
    header = "# Written by make_packets.py; see there.\n"
    OUT.write_text(header + "\n".join(lines) + "\n", encoding="ascii")
    print(f"{len(lines)} cases in {OUT}")


if __name__ == "__main__":
    main()
