"""IPVS and fep as directors that translate, and checks that both have to pass: one that IPVS fails is
probably wrong. Clients and servers have real stacks."""

import socket
from collections import Counter

from fep_abi import op
from fep_lab import VIP, VIP6, Lab, Mirrored, TcpMirror, UdpMirror, family, node, random_bytes
from fep_test import case, check, equal, load_module, run, skip, unload_module

NODES = 3
WEIGHTS = (2, 1, 1)
VIPS = {4: VIP, 6: VIP6}


def with_port(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def no_ipvs():
    """Whether this kernel has none."""
    return "ip_vs_wrr" in run("modprobe", "-a", "ip_vs", "ip_vs_wrr", check_status=False)


class Ipvs:
    """IPVS as the director: NAT, as fep does it."""

    def __init__(self, lab, version):
        self.name, self.fe, self.version, self.vip = f"ipvs, ipv{version}", lab.fe, version, VIPS[version]
        # NAT of IPVS goes through the forwarding path.
        self.fe.sysctl("net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding", 1)
        for flag, port in (("-t", 80), ("-u", 53)):
            self.fe.run("ipvsadm", "-A", flag, with_port(self.vip, port), "-s", "wrr")
            for n, weight in enumerate(WEIGHTS, 1):
                self._node("-a", flag, port, n, weight)

    def _node(self, verb, flag, port, number, weight):
        self.fe.run("ipvsadm", verb, flag, with_port(self.vip, port), "-r",
                    with_port(node(number, self.version), port + 8000), "-m", "-w", str(weight))

    def weight(self, number, weight):
        self._node("-e", "-t", 80, number, weight)

    def close(self):
        self.fe.run("ipvsadm", "-C")


class FepDirector:
    """fep as the director."""

    def __init__(self, lab, version):
        self.name, self.fep, self.version, self.vip = f"fep, ipv{version}", lab.fep, version, VIPS[version]
        for protocol, port in (("tcp", 80), ("udp", 53)):
            self.fep.add_service((protocol, self.vip, port),
                                 [(node(n, version), port + 8000, weight) for n, weight in enumerate(WEIGHTS, 1)])

    def weight(self, number, weight):
        self.fep.commit(op("backend_set", ("tcp", self.vip, 80), (node(number, self.version), 8080), weight=weight))


def answered(lab, vip, count):
    """How often each node answers so many connections."""
    found = Counter()
    for _ in range(count):
        connection = Mirrored(lab.c, vip=vip)
        found[connection.ask(b"who")] += 1
        connection.close()
    return dict(found)


def checks(lab, director):
    name, vip = director.name, director.vip
    with case(f"{name}: a TCP connection both ways"):
        connection = Mirrored(lab.c, vip=vip)
        with lab.nothing_damaged():
            first = connection.ask(random_bytes(1_000_000))
            equal(connection.ask(random_bytes(3)), first, "node of the same connection")
        equal(connection.socket.getpeername()[:2], (vip, 80), "the peer that the client sees")
        connection.close()
    with case(f"{name}: shares of {WEIGHTS} in each cycle"):
        total = sum(WEIGHTS)
        # The round need not be at its beginning; a whole cycle is the same wherever it begins.
        for _ in range(5):
            equal(answered(lab, vip, total), {f"node{n}".encode(): weight for n, weight in enumerate(WEIGHTS, 1)},
                  "shares")
    with case(f"{name}: UDP clients keep their node"):
        for _ in range(20):
            sock = lab.c.socket(lambda: socket.socket(family(vip), socket.SOCK_DGRAM))
            sock.settimeout(10)
            sock.connect((vip, 53))
            for size in (0, 1, 100, 1472 if director.version == 4 else 1452):
                data = random_bytes(size, size)
                sock.send(data)
                equal(sock.recv(2000), data, "answer")
            sock.close()
    with case(f"{name}: weight 0 drains: the connection goes on, new ones go elsewhere"):
        connection = Mirrored(lab.c, vip=vip)
        there = connection.ask(b"who")
        number = int(there[-1:])
        director.weight(number, 0)
        found = answered(lab, vip, 12)
        check(there not in found and sum(found.values()) == 12, f"new connections at {found}")
        equal(connection.ask(random_bytes(100_000)), there, "node of the old connection")
        connection.close()
        director.weight(number, WEIGHTS[number - 1])
        check(there in answered(lab, vip, 12), "it gets connections again")
    with case(f"{name}: a connection to a closed port is refused"):
        try:
            Mirrored(lab.c, 81, vip).close()
        except ConnectionRefusedError:
            pass
        else:
            raise AssertionError("it was accepted")
    with case(f"{name}: 300 connections at once"):
        with lab.nothing_damaged():
            many = [Mirrored(lab.c, vip=vip) for _ in range(300)]
            found = Counter(connection.ask(b"who") for connection in many)
            equal(sorted(found.values()), [75, 75, 150], "shares")
            again = [connection.ask(b"again") for connection in many]
            equal(Counter(again), found, "nodes of the same connections")
            for connection in many:
                connection.close()


def serve(lab, version):
    for n, namespace in lab.b.items():
        TcpMirror(namespace, 8080, f"node{n}".encode(), node(n, version))
        UdpMirror(namespace, 8053, node(n, version))


def compare(version):
    """The checks against IPVS first, then against fep."""
    if no_ipvs():
        skip(f"ipvs, ipv{version}", "this kernel has no IPVS")
    else:
        load_module()
        lab = Lab(NODES, suffix="i", attach=False, ipv6=version == 6)
        serve(lab, version)
        director = Ipvs(lab, version)
        checks(lab, director)
        director.close()
        lab.fep.close()
        unload_module()
    load_module()
    lab = Lab(NODES, ipv6=version == 6)
    serve(lab, version)
    checks(lab, FepDirector(lab, version))
