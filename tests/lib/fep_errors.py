"""ICMP errors as real stacks need them, over either version of IP.

Routers with a smaller MTU stand in front of a client and in front of a node, and the hosts behind them
do not know of it:

    far ---- (mtu 1280) c ---- fe ---- b1 (mtu 1280) ---- deep
    198.51.100.2/.3                                       10.9.0.2
    2001:db8:f::2/::3                                     2001:db8:9::2
"""

import hashlib
import socket
import struct
import threading
from types import SimpleNamespace

import fep_packet as packet
from fep_lab import CLIENT, CLIENT6, VIP, VIP6, Lab, Server, exactly, family, node, random_bytes
from fep_test import Failure, Namespace, case, check, equal, veth

# The addresses of each version; how the routers' sysctls are called; ICMP types and codes.
WORLD = {
    4: SimpleNamespace(version=4, vip=VIP, client=CLIENT, far="198.51.100.2", far_too="198.51.100.3",
                       far_router="198.51.100.1", deep="10.9.0.2", deep_router="10.9.0.1", length=24, any="0.0.0.0",
                       forward="net.ipv4.ip_forward", ratelimit="net.ipv4.icmp_ratelimit", refused=(3, 3), icmp="icmp"),
    6: SimpleNamespace(version=6, vip=VIP6, client=CLIENT6, far="2001:db8:f::2", far_too="2001:db8:f::3",
                       far_router="2001:db8:f::1", deep="2001:db8:9::2", deep_router="2001:db8:9::1", length=64,
                       any="::", forward="net.ipv6.conf.all.forwarding", ratelimit="net.ipv6.icmp.ratelimit",
                       refused=(1, 4), icmp="ipv6-icmp"),
}


class Bulk(Server):
    """Takes (upload, download) sizes, so many bytes, and answers with their digest and so many bytes."""

    def __init__(self, namespace, port, address):
        super().__init__(namespace, socket.SOCK_STREAM, port, address)

    def serve(self):
        self.socket.listen(8)
        while True:
            threading.Thread(target=self._one, args=(self.socket.accept()[0],), daemon=True).start()

    @staticmethod
    def _one(peer):
        try:
            with peer:
                upload, download = struct.unpack("!II", exactly(peer, 8))
                data = exactly(peer, upload) if upload else b""
                peer.sendall(hashlib.sha256(data).digest() + random_bytes(download))
        except (OSError, Failure):
            pass


def transfer(world, namespace, source, port, upload, download, seconds=20):
    """Sends and fetches so many bytes."""
    client = namespace.socket(lambda: socket.socket(family(source), socket.SOCK_STREAM))
    with client:
        client.settimeout(seconds)
        client.bind((source, 0))
        client.connect((world.vip, port))
        data = random_bytes(upload, 2)
        client.sendall(struct.pack("!II", upload, download) + data)
        equal(exactly(client, 32), hashlib.sha256(data).digest(), "digest of what the node got")
        equal(exactly(client, download), random_bytes(download), "what the node sent")


def icmp_seen(frames):
    """(source, destination, type, code) of ICMP errors among frames."""
    found = set()
    for frame in frames:
        if frame[12:14] not in (b"\x08\0", b"\x86\xdd"):
            continue
        at, protocol = packet.transport_at(frame[14:])
        kind, code = frame[14 + at:16 + at]
        if (protocol == 1 and kind in (3, 11, 12)) or (protocol == 58 and kind < 128):
            found.add((*packet.addresses(frame[14:]), kind, code))
    return found


def refused(world, lab):
    there = node(1, world.version)
    lab.fep.add_service(("udp", world.vip, 53), [(there, 5300)])

    def datagrams(namespace):
        sock = namespace.socket(lambda: socket.socket(family(world.vip), socket.SOCK_DGRAM))
        sock.settimeout(5)
        return sock

    with case(f"ipv{world.version}: a closed port of the node refuses the client, in the VIP's name"):
        tap = packet.Tap(lab.c, "c0")
        client = datagrams(lab.c)
        client.connect((world.vip, 53))
        with lab.nothing_damaged():
            client.send(b"anybody?")
            try:
                raise Failure(f"answered: {client.recv(100)!r}")
            except ConnectionRefusedError:
                pass
        equal(icmp_seen(tap.take()), {(world.vip, world.client, *world.refused)}, "ICMP errors that the client got")
        tap.close()
        client.close()
    with case(f"ipv{world.version}: a closed port of the client refuses the node"):
        server = datagrams(lab.b[1])
        server.bind((there, 5300))
        client = datagrams(lab.c)
        client.sendto(b"bye", (world.vip, 53))
        _, address = server.recvfrom(100)
        server.connect(address)
        client.close()
        with lab.nothing_damaged():
            server.send(b"too late")
            try:
                raise Failure(f"answered: {server.recv(100)!r}")
            except ConnectionRefusedError:
                pass
        server.close()


def small_paths(world, lab):
    """Routers with a smaller MTU on both sides; the hosts behind them do not know of it."""
    far, deep = (Namespace(f"{name}{world.version}", world.version == 6) for name in ("far", "deep"))
    veth(lab.c, "r0", far, "far0")
    veth(lab.b[1], "d0", deep, "deep0")
    for router in (lab.c, lab.b[1]):
        router.sysctl(world.forward, 1)
        router.sysctl(world.ratelimit, 0)
    lab.c.ip(f"addr add {world.far_router}/{world.length} dev r0", "link set r0 mtu 1280")
    far.ip(f"addr add {world.far}/{world.length} dev far0", f"addr add {world.far_too}/{world.length} dev far0",
           f"route add default via {world.far_router}")
    lab.b[1].ip(f"addr add {world.deep_router}/{world.length} dev d0", "link set d0 mtu 1280")
    deep.ip(f"addr add {world.deep}/{world.length} dev deep0", f"route add default via {world.deep_router}")
    lab.fe.ip(f"route add {world.far_router}/32 via {world.client}" if world.version == 4 else
              f"route add {world.far_router}/128 via {world.client}",
              f"route add {world.far}/{32 if world.version == 4 else 128} via {world.client}",
              f"route add {world.far_too}/{32 if world.version == 4 else 128} via {world.client}",
              f"route add {world.deep}/{32 if world.version == 4 else 128} via {node(1, world.version)}")
    return far, deep


def path_mtu(world, lab):
    far, deep = small_paths(world, lab)
    there, name = node(1, world.version), f"ipv{world.version}"
    Bulk(lab.b[1], 80, there)
    Bulk(deep, 80, world.deep)
    lab.fep.add_service(("tcp", world.vip, 80), [(there, 80)])
    lab.fep.add_service(("tcp", world.vip, 81), [(world.deep, 80)])

    def forwarded():
        return lab.fep.counters()["forward_icmp"]

    with case(f"{name}: a smaller MTU on the client's side: the node learns it"):
        before = forwarded()
        with lab.nothing_damaged():
            transfer(world, far, world.far, 80, 100, 2_000_000)
        check(forwarded() > before, "no ICMP error was translated: nothing was tested")
        check("mtu 1280" in lab.b[1].run("ip", "route", "get", world.far), "the node did not learn the MTU")
    with case(f"{name}: a smaller MTU on the node's side: the client learns it"):
        before = forwarded()
        with lab.nothing_damaged():
            transfer(world, lab.c, world.client, 81, 2_000_000, 100)
        check(forwarded() > before, "no ICMP error was translated: nothing was tested")
        check("mtu 1280" in lab.c.run("ip", "route", "get", world.vip), "the client did not learn the MTU")
    with case(f"{name}: without the errors the same transfer stalls (the test can fail)"):
        rule = [f"-{world.version}", "rule"], ["to", world.vip, "ipproto", world.icmp, "pref", "10", "blackhole"]
        lab.c.run("ip", *rule[0], "add", *rule[1])
        try:
            transfer(world, far, world.far_too, 80, 100, 2_000_000, seconds=3)
        except TimeoutError:
            pass
        else:
            raise Failure("the transfer went through")
        finally:
            lab.c.run("ip", *rule[0], "del", "pref", "10")


def between_stacks(version):
    world = WORLD[version]
    lab = Lab(nodes=1, suffix=f"s{version}", ipv6=version == 6)
    refused(world, lab)
    path_mtu(world, lab)
