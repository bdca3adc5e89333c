#!/usr/bin/env python3
# qemu: --with tests/lib
"""The same checks against IPVS and against fep, where both promise the same: a check that IPVS fails
is probably wrong. Clients and servers have real stacks."""

import os
import socket
import sys
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import op  # noqa: E402
from fep_lab import VIP, Lab, Mirrored, TcpMirror, UdpMirror, node, random_bytes  # noqa: E402
from fep_test import case, check, equal, finish, load_module, run, skip, unload_module  # noqa: E402

NODES = 3
WEIGHTS = (2, 1, 1)


class Ipvs:
    """IPVS as the director: NAT, as fep does it."""

    name = "ipvs"

    def __init__(self, lab):
        self.fe = lab.fe
        # NAT of IPVS goes through the forwarding path.
        self.fe.sysctl("net.ipv4.ip_forward", 1)
        for flag, port in (("-t", 80), ("-u", 53)):
            self.fe.run("ipvsadm", "-A", flag, f"{VIP}:{port}", "-s", "wrr")
            for n, weight in enumerate(WEIGHTS, 1):
                self.fe.run("ipvsadm", "-a", flag, f"{VIP}:{port}", "-r", f"{node(n)}:{port + 8000}", "-m", "-w",
                            str(weight))

    def weight(self, number, weight):
        self.fe.run("ipvsadm", "-e", "-t", f"{VIP}:80", "-r", f"{node(number)}:8080", "-m", "-w", str(weight))

    def close(self):
        self.fe.run("ipvsadm", "-C")


class FepDirector:
    """fep as the director."""

    name = "fep"

    def __init__(self, lab):
        self.fep = lab.fep
        for protocol, port in (("tcp", 80), ("udp", 53)):
            self.fep.add_service((protocol, VIP, port),
                                 [(node(n), port + 8000, weight) for n, weight in enumerate(WEIGHTS, 1)])

    def weight(self, number, weight):
        self.fep.commit(op("backend_set", ("tcp", VIP, 80), (node(number), 8080), weight=weight))

    def close(self):
        self.fep.close()


def answered(lab, count):
    """How often each node answers so many connections."""
    found = Counter()
    for _ in range(count):
        connection = Mirrored(lab.c)
        found[connection.ask(b"who")] += 1
        connection.close()
    return dict(found)


def checks(lab, director):
    name = director.name
    with case(f"{name}: a TCP connection both ways"):
        connection = Mirrored(lab.c)
        with lab.nothing_damaged():
            first = connection.ask(random_bytes(1_000_000))
            equal(connection.ask(random_bytes(3)), first, "node of the same connection")
        equal(connection.socket.getpeername(), (VIP, 80), "the peer that the client sees")
        connection.close()
    with case(f"{name}: shares of {WEIGHTS} in each cycle"):
        total = sum(WEIGHTS)
        # The round need not be at its beginning; a whole cycle is the same wherever it begins.
        for _ in range(5):
            equal(answered(lab, total), {f"node{n}".encode(): weight for n, weight in enumerate(WEIGHTS, 1)}, "shares")
    with case(f"{name}: UDP clients keep their node"):
        for _ in range(20):
            sock = lab.c.socket(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.settimeout(10)
            sock.connect((VIP, 53))
            for size in (0, 1, 100, 1472):
                data = random_bytes(size, size)
                sock.send(data)
                equal(sock.recv(2000), data, "answer")
            sock.close()
    with case(f"{name}: weight 0 drains: the connection goes on, new ones go elsewhere"):
        connection = Mirrored(lab.c)
        there = connection.ask(b"who")
        number = int(there[-1:])
        director.weight(number, 0)
        found = answered(lab, 12)
        check(there not in found and sum(found.values()) == 12, f"new connections at {found}")
        equal(connection.ask(random_bytes(100_000)), there, "node of the old connection")
        connection.close()
        director.weight(number, WEIGHTS[number - 1])
        check(there in answered(lab, 12), "it gets connections again")
    with case(f"{name}: a connection to a closed port is refused"):
        try:
            Mirrored(lab.c, port=81).close()
        except ConnectionRefusedError:
            pass
        else:
            raise AssertionError("it was accepted")
    with case(f"{name}: 300 connections at once"):
        with lab.nothing_damaged():
            many = [Mirrored(lab.c) for _ in range(300)]
            found = Counter(connection.ask(b"who") for connection in many)
            equal(sorted(found.values()), [75, 75, 150], "shares")
            again = [connection.ask(b"again") for connection in many]
            equal(Counter(again), found, "nodes of the same connections")
            for connection in many:
                connection.close()


def serve(lab):
    for n, namespace in lab.b.items():
        TcpMirror(namespace, 8080, f"node{n}".encode())
        UdpMirror(namespace, 8053)


def main():
    if "ip_vs_wrr" in run("modprobe", "-a", "ip_vs", "ip_vs_wrr", check_status=False):
        skip("ipvs", "this kernel has no IPVS")
    else:
        load_module()
        lab = Lab(NODES, suffix="i", attach=False)
        serve(lab)
        director = Ipvs(lab)
        checks(lab, director)
        director.close()
        lab.fep.close()
        unload_module()
    load_module()
    lab = Lab(NODES)
    serve(lab)
    director = FepDirector(lab)
    checks(lab, director)
    finish()


main()
