#!/usr/bin/env python3
# qemu: --with tests/lib
"""IPv6 with real stacks: ICMPv6 errors, neighbour discovery, gateways with link-local addresses, and
both versions of IP at once."""

import json
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_errors import between_stacks  # noqa: E402
from fep_lab import (CLIENT, CLIENT6, VIP, VIP6, Lab, Mirrored, TcpMirror, UdpMirror, node, random_bytes)  # noqa: E402
from fep_test import Failure, case, check, equal, finish, load_module, wait_for  # noqa: E402

WEB, DNS = ("tcp", VIP6, 80), ("udp", VIP6, 53)


def asked(lab, vip=VIP6):
    """Who answers a connection."""
    connection = Mirrored(lab.c, vip=vip, seconds=10)
    name = connection.ask(random_bytes(20_000))
    connection.close()
    return name


def neighbours(lab):
    with case("the first packet waits for neighbour discovery, and the answer as well"):
        for namespace, device in ((lab.fe, "in1"), (lab.fe, "out0")):
            namespace.ip(f"neigh flush dev {device}")
        with lab.nothing_damaged():
            asked(lab)
        seen = {entry["dst"]: entry["state"] for entry in json.loads(lab.fe.run("ip", "-6", "-j", "neigh"))}
        check(seen.get(node(1, 6)) and "FAILED" not in seen[node(1, 6)], f"neighbours: {seen}")
    with case("a node that does not answer neighbour discovery is not named to the client"):
        tap = packet.Tap(lab.c, "c0")
        lab.fep.weight(WEB, (node(2, 6), 8080), 0)
        lab.b[1].ip("link set b0 down")
        lab.fe.run("ip", "-6", "neigh", "flush", "dev", "in1")
        client = lab.c.socket(lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
        client.setblocking(False)
        client.connect_ex((VIP6, 80))
        wait_for(lambda: "FAILED" in lab.fe.run("ip", "-6", "neigh", "show", "dev", "in1"), "neighbour given up", 15)
        lab.c.run("ping", "-c", "1", "-W", "5", VIP6)
        frames = tap.take()
        lab.b[1].ip("link set b0 up", f"addr replace {node(1, 6)}/64 dev b0", "route replace default via 2001:db8:1::1",
                    "route replace default via 10.0.1.1")
        lab.fep.weight(WEB, (node(2, 6), 8080), 1)
        check(any(packet.ip_bytes(VIP6) in frame for frame in frames), "nothing was captured")
        equal([f.hex() for f in frames if packet.ip_bytes(node(1, 6)) in f], [], "frames with the node's address")
        tap.close()
        client.close()
    with case("the node is back: the neighbour is found anew"):
        wait_for(lambda: {asked(lab), asked(lab)} == {b"node1", b"node2"}, "both nodes")


def gateways(lab):
    """Routes by the link-local address of a router, as router advertisements make them."""
    def link_local(namespace, device):
        listed = json.loads(namespace.run("ip", "-6", "-j", "addr", "show", "dev", device))
        return next(a["local"] for entry in listed for a in entry.get("addr_info", ()) if a.get("scope") == "link")

    with case("a client and a node behind gateways with link-local addresses"):
        lab.c.ip("addr add 2001:db8:a::7/128 dev lo")
        lab.b[1].ip("addr add 2001:db8:b::7/128 dev lo")
        TcpMirror(lab.b[1], 8081, b"deep", "2001:db8:b::7")
        lab.fep.add_service(("tcp", VIP6, 81), [("2001:db8:b::7", 8081)])
        lab.fe.ip(f"route add 2001:db8:a::/64 via {link_local(lab.c, 'c0')} dev out0",
                  f"route add 2001:db8:b::/64 via {link_local(lab.b[1], 'b0')} dev in1")
        client = lab.c.socket(lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
        client.settimeout(10)
        client.bind(("2001:db8:a::7", 0))
        client.connect((VIP6, 81))
        client.sendall(b"\0\0\0\5hello")
        got = b""
        while len(got) < 14:
            got += client.recv(100)
        equal(got, b"\0\0\0\5hello\4deep", "answer")
        client.close()


def the_host_itself(lab):
    with case("the front-end itself reaches a node's service port, and is pinged at the VIP"):
        before = lab.fep.counters()["drop_stale_reply"]
        direct = Mirrored(lab.fe, 8080, node(1, 6), seconds=5)
        equal(direct.ask(b"are you well?"), b"node1", "who answers")
        direct.close()
        equal(lab.fep.counters()["drop_stale_reply"], before, "drop_stale_reply")
        check("1 received" in lab.c.run("ping", "-c", "1", "-W", "5", VIP6), "no answer to a ping")
    with case("what fep does not handle reaches the host: a closed port, a fragmented datagram"):
        try:
            Mirrored(lab.c, 82, VIP6).close()
        except ConnectionRefusedError:
            pass
        else:
            raise Failure("it was accepted")
        before = lab.fep.counters()["pass_fragment"]
        sock = lab.c.socket(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        sock.sendto(bytes(4000), (VIP6, 53))
        wait_for(lambda: lab.fep.counters()["pass_fragment"] - before == 3, "fragments counted")
        sock.close()


def both_at_once(lab):
    with case("many clients of both versions of IP at once, each at the node that it was given"):
        failures = []

        def client(vip):
            try:
                for _ in range(5):
                    connection = Mirrored(lab.c, vip=vip)
                    first = connection.ask(random_bytes(3000))
                    for _ in range(3):
                        equal(connection.ask(random_bytes(3000)), first, "node")
                    connection.close()
            except Exception as error:  # pylint: disable=broad-except
                failures.append(f"{vip}: {error}")

        with lab.nothing_damaged():
            threads = [threading.Thread(target=client, args=(vip,)) for vip in (VIP, VIP6) * 6]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        equal(failures, [], "failures")
        routes = lab.fep.routes()
        equal({(":" in r.service[1], ":" in r.client[0], ":" in r.backend[0]) for r in routes},
              {(True, True, True), (False, False, False)}, "families of service, client and node")
        check(len([r for r in routes if r.client[0] == CLIENT]) >= 30, "IPv4 routes")
        check(len([r for r in routes if r.client[0] == CLIENT6]) >= 30, "IPv6 routes")
        equal(lab.fep.status().routes, len(routes), "routes of both versions together")


def main():
    load_module()
    between_stacks(6)
    lab = Lab(nodes=2, ipv6=True)
    for version, vip in ((4, VIP), (6, VIP6)):
        for n, there in lab.b.items():
            TcpMirror(there, 8080, f"node{n}".encode(), node(n, version))
            UdpMirror(there, 5353, node(n, version))
        lab.fep.add_service(("tcp", vip, 80), [(node(n, version), 8080) for n in lab.b])
        lab.fep.add_service(("udp", vip, 53), [(node(n, version), 5353) for n in lab.b])
    neighbours(lab)
    gateways(lab)
    the_host_itself(lab)
    both_at_once(lab)
    with case("a service of one version can go, the other's connections stay"):
        connection = Mirrored(lab.c, vip=VIP)
        first = connection.ask(b"x")
        lab.fep.commit(op("service_del", WEB), op("service_del", DNS))
        equal(connection.ask(b"y"), first, "node")
        equal({":" in r.service[1] for r in lab.fep.routes(service=("tcp", VIP, 80))}, {False}, "families left")
    finish()


main()
