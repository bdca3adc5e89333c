#!/usr/bin/env python3
# qemu: --with tests/lib
"""Direct routing with real stacks, the same checks against IPVS first: nodes have the VIP on their
loopback device and reply to clients directly, neighbours and others."""

import json
import os
import socket
import sys
import time
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import op  # noqa: E402
from fep_directors import VIPS, no_ipvs, with_port  # noqa: E402
from fep_lab import (VIP, VIP6, Mirrored, TcpMirror, UdpMirror, family, nothing_damaged,  # noqa: E402
                     random_bytes)
from fep_segment import FAR, FAR6, Segment, node  # noqa: E402
from fep_test import case, check, equal, finish, load_module, skip, wait_for  # noqa: E402

NODES, WEIGHTS = 2, (2, 1)
SERVICES = [(protocol, vip, port) for vip in (VIP, VIP6) for protocol, port in (("tcp", 80), ("udp", 53))]


class Ipvs:
    """IPVS as the director."""

    name = "ipvs"

    def __init__(self, lab):
        self.fe = lab.fe
        for service in SERVICES:
            self.fe.run("ipvsadm", "-A", *self._service(service), "-s", "wrr")
            for n, weight in enumerate(WEIGHTS, 1):
                self._node("-a", service, n, weight)

    @staticmethod
    def _service(service):
        protocol, vip, port = service
        return "-t" if protocol == "tcp" else "-u", with_port(vip, port)

    def _node(self, verb, service, number, weight):
        there = node(number, 6 if ":" in service[1] else 4)
        self.fe.run("ipvsadm", verb, *self._service(service), "-r", with_port(there, service[2]), "-g", "-w",
                    str(weight))

    def weight(self, service, number, weight):
        self._node("-e", service, number, weight)

    def close(self):
        self.fe.run("ipvsadm", "-C")


class FepDirector:
    """fep as the director."""

    name = "fep"

    def __init__(self, lab):
        lab.attach()
        self.fep = lab.fep
        for service in SERVICES:
            version = 6 if ":" in service[1] else 4
            self.fep.add_service(service, [(node(n, version), service[2], weight)
                                           for n, weight in enumerate(WEIGHTS, 1)], method="dr")

    def weight(self, service, number, weight):
        self.fep.weight(service, (node(number, 6 if ":" in service[1] else 4), service[2]), weight)


def serve(lab):
    """At the VIP: what is sent from another address is no answer."""
    for n, there in lab.b.items():
        for vip in VIPS.values():
            TcpMirror(there, 80, f"node{n}".encode(), vip)
            UdpMirror(there, 53, vip)


def answered(client, vip, count):
    """How often each node answers so many connections."""
    found = Counter()
    for _ in range(count):
        connection = Mirrored(client, vip=vip)
        found[connection.ask(b"who")] += 1
        connection.close()
    return dict(found)


def udp_socket(client, vip):
    sock = client.socket(lambda: socket.socket(family(vip), socket.SOCK_DGRAM))
    sock.settimeout(10)
    sock.connect((vip, 53))
    return sock


def checks(lab, director, version, client, where):
    vip, name = VIPS[version], f"{director.name}, ipv{version}, {where}"
    tcp = ("tcp", vip, 80)
    with case(f"{name}: a TCP connection both ways, and the front-end sends requests only"):
        connection = Mirrored(client, vip=vip)
        before = lab.sent_by_front_end()
        with nothing_damaged(lab.namespaces()):
            first = connection.ask(b"who")
            equal(connection.ask(random_bytes(1_000_000)), first, "node of the same connection")
        equal(connection.socket.getpeername()[:2], (vip, 80), "the peer that the client sees")
        upload = lab.sent_by_front_end() - before
        before = lab.sent_by_front_end()
        connection.socket.sendall(b"\0\0\0\1x")
        connection.socket.recv(100)
        check(lab.sent_by_front_end() - before < 8, "the front-end sends replies")
        check(upload > 10, f"{upload} packets of the upload")
        connection.close()
    with case(f"{name}: shares of {WEIGHTS} in each cycle"):
        for _ in range(5):
            equal(answered(client, vip, sum(WEIGHTS)),
                  {f"node{n}".encode(): weight for n, weight in enumerate(WEIGHTS, 1)}, "shares")
    with case(f"{name}: UDP clients keep their node, and get their answers from the VIP"):
        for _ in range(10):
            sock = udp_socket(client, vip)
            for size in (0, 1, 100, 1452):
                data = random_bytes(size, size)
                sock.send(data)
                equal(sock.recv(2000), data, "answer")
            sock.close()
    with case(f"{name}: weight 0 drains: the connection goes on, new ones go elsewhere"):
        connection = Mirrored(client, vip=vip)
        there = connection.ask(b"who")
        number = int(there[-1:])
        director.weight(tcp, number, 0)
        equal(answered(client, vip, 6), {f"node{3 - number}".encode(): 6}, "new connections")
        equal(connection.ask(random_bytes(100_000)), there, "node of the old connection")
        connection.close()
        director.weight(tcp, number, WEIGHTS[number - 1])
        check(there in answered(client, vip, 6), "it gets connections again")
    with case(f"{name}: 90 connections at once"):
        many = [Mirrored(client, vip=vip) for _ in range(90)]
        found = [connection.ask(b"who") for connection in many]
        equal(sorted(Counter(found).values()), [30, 60], "shares")
        equal([connection.ask(b"again") for connection in many], found, "nodes of the same connections")
        for connection in many:
            connection.close()


def nobody_else_answers(lab, director):
    with case(f"{director.name}: only the front-end answers for the VIP"):
        link, = json.loads(lab.fe.run("ip", "-j", "link", "show", "eth0"))
        for there in (lab.c, lab.r):
            seen = {entry["dst"]: entry.get("lladdr") for entry in json.loads(there.run("ip", "-j", "neigh"))}
            equal({seen.get(vip) for vip in VIPS.values()}, {link["address"]}, "link-layer addresses of the VIPs")


def states(lab, version):
    """What fep knows of connections of which it sees one way."""
    vip = VIPS[version]
    service = ("tcp", vip, 80)

    def route(connection):
        port = connection.socket.getsockname()[1]
        found = [r for r in lab.fep.routes(service=service) if r.client[1] == port]
        equal(len(found), 1, "routes of the client")
        return found[0]

    with case(f"ipv{version}: established once the client has acknowledged, closed once it has closed"):
        connection = Mirrored(lab.c, vip=vip)
        equal(route(connection).state, "established", "state of a connection without data")
        connection.ask(b"x")
        equal(route(connection).state, "established", "state")
        port = connection.socket.getsockname()[1]
        connection.close()
        wait_for(lambda: [r.state for r in lab.fep.routes(service=service) if r.client[1] == port] == ["time_wait"],
                 "time_wait")
    with case(f"ipv{version}: no replies are counted, and fepctl says how the nodes are reached"):
        equal({(b.method, b.packets_out, b.bytes_out) for b in lab.fep.dump("backends")}, {("dr", 0, 0)}, "nodes")
        equal(lab.fep.counters()["forward_reply"], 0, "forward_reply")
        status = json.loads(lab.fe.run("fepctl", "--json", "status"))
        equal({b["method"] for s in status["services"] for b in s["backends"]}, {"dr"}, "methods")
        listed = json.loads(lab.fe.run("fepctl", "--json", "route", "list"))
        equal(listed["count"], len(lab.fep.routes()), "routes")
    with case(f"ipv{version}: a failed node's client is reset and gets another by trying again"):
        connection = Mirrored(lab.c, vip=vip)
        number = int(connection.ask(b"who")[-1:])
        lab.fep.commit(op("backend_fail", None, (node(number, version), 0)))
        try:
            connection.ask(b"are you there?")
        except ConnectionResetError:
            pass
        else:
            raise AssertionError("it is there")
        equal(answered(lab.c, vip, 3), {f"node{3 - number}".encode(): 3}, "new connections")
        lab.fep.commit(op("backend_restore", None, (node(number, version), 0)))


def through_the_front_end(lab, version):
    vip, length = VIPS[version], {4: 32, 6: 128}[version]
    here, far = {4: ("192.0.2.1", FAR), 6: ("2001:db8::1", FAR6)}[version]
    with case(f"ipv{version}: replies that come by the front-end go on, from the VIP"):
        for there in lab.b.values():
            there.ip(f"route add {far}/{length} via {here}")
        before = lab.fep.counters()
        with nothing_damaged(lab.namespaces()):
            connection = Mirrored(lab.far, vip=vip)
            first = connection.ask(b"who")
            equal(connection.ask(random_bytes(500_000)), first, "node")
            connection.close()
            sock = udp_socket(lab.far, vip)
            sock.send(b"hello")
            equal(sock.recv(100), b"hello", "answer")
        check(lab.fep.counters()["forward_reply"] - before["forward_reply"] > 300, "replies that came by")
        for there in lab.b.values():
            there.ip(f"route del {far}/{length} via {here}")


def without_the_vip(lab, version):
    """A node that was forgotten: it takes the packet for one to be forwarded."""
    vip, length = VIPS[version], {4: 32, 6: 128}[version]
    with case(f"ipv{version}: a node without the VIP that forwards makes no loop"):
        for there in lab.b.values():
            there.ip(f"addr del {vip}/{length} dev lo")
            there.sysctl("net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding", 1)
        before = lab.fep.counters()
        sock = udp_socket(lab.c, vip)
        sent = lab.sent_by_front_end()
        for _ in range(5):
            sock.send(b"anybody?")
        wait_for(lambda: lab.fep.counters()["drop_loop"] - before["drop_loop"] == 5, "loops counted")
        time.sleep(0.3)
        after = lab.fep.counters()
        equal((after["drop_loop"] - before["drop_loop"], after["forward_request"] - before["forward_request"]), (5, 5),
              "requests, and loops")
        check(lab.sent_by_front_end() - sent < 40, "the front-end sends more and more")
        for there in lab.b.values():
            there.ip(f"addr add {vip}/{length} dev lo")
            there.sysctl("net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding", 0)


def direct(lab, director):
    for version in (4, 6):
        checks(lab, director, version, lab.c, "neighbour")
        checks(lab, director, version, lab.far, "far away")
    nobody_else_answers(lab, director)


def main():
    if no_ipvs():
        skip("ipvs", "this kernel has no IPVS")
    else:
        lab = Segment(NODES, suffix="i")
        serve(lab)
        director = Ipvs(lab)
        direct(lab, director)
        director.close()
    load_module()
    lab = Segment(NODES)
    serve(lab)
    direct(lab, FepDirector(lab))
    for version in (4, 6):
        states(lab, version)
    for version in (4, 6):
        through_the_front_end(lab, version)
        without_the_vip(lab, version)
    finish()


main()
