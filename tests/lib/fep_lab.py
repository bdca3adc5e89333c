"""The topology of the tests with real peers: hosts around a front-end, all with their own stacks.

    namespace c           namespace fe                namespace b1, b2, ...
    c0 192.0.2.100 ------ out0 192.0.2.1 + VIP
                          in1 10.0.1.1 -------------- b0 10.0.1.2   default via fe
                          in2 10.0.2.1 -------------- b0 10.0.2.2   default via fe

Forwarding is off in fe: whatever comes through, fep has brought. A process of the test opens sockets
in any of them with `ns.socket(...)`. With `ipv6` there are the same addresses of IPv6: 2001:db8::100,
::1 and ::10, 2001:db8:N::1 and ::2.
"""

import contextlib
import hashlib
import os
import random
import socket
import struct
import threading

from fep_test import Failure, Namespace, equal, veth

VIP, CLIENT = "192.0.2.10", "192.0.2.100"
VIP6, CLIENT6 = "2001:db8::10", "2001:db8::100"
BAD = ("TcpInCsumErrors", "UdpInCsumErrors", "IpInHdrErrors", "IcmpInCsumErrors", "UdpInErrors", "UdpRcvbufErrors",
       "Udp6InCsumErrors", "Ip6InHdrErrors", "Icmp6InCsumErrors", "Udp6InErrors", "Udp6RcvbufErrors")
UDP_SEGMENT, UDP_GRO = 103, 104


def node(number, version=4):
    return f"10.0.{number}.2" if version == 4 else f"2001:db8:{number}::2"


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Lab:
    """See above. `fep` is the open control device of the front-end."""

    def __init__(self, nodes=2, suffix="", attach=True, ipv6=False):
        self.c, self.fe = Namespace("c" + suffix, ipv6), Namespace("fe" + suffix, ipv6)
        self.b = {n: Namespace(f"b{n}{suffix}", ipv6) for n in range(1, nodes + 1)}
        self.fe.sysctl("net.ipv4.ip_forward", 0)
        veth(self.fe, "out0", self.c, "c0")
        self.c.ip(f"addr add {CLIENT}/24 dev c0")
        self.fe.ip("addr add 192.0.2.1/24 dev out0", f"addr add {VIP}/32 dev out0")
        for n, there in self.b.items():
            veth(self.fe, f"in{n}", there, "b0")
            self.fe.ip(f"addr add 10.0.{n}.1/24 dev in{n}")
            there.ip(f"addr add {node(n)}/24 dev b0", f"route add default via 10.0.{n}.1")
        if ipv6:
            self._add_ipv6()
        self.fep = self.fe.fep()
        if attach:
            self.fep.attach("out0", *(f"in{n}" for n in self.b))

    def _add_ipv6(self):
        self.c.ip(f"addr add {CLIENT6}/64 dev c0")
        self.fe.ip("addr add 2001:db8::1/64 dev out0", f"addr add {VIP6}/128 dev out0")
        for n, there in self.b.items():
            self.fe.ip(f"addr add 2001:db8:{n}::1/64 dev in{n}")
            there.ip(f"addr add {node(n, 6)}/64 dev b0", f"route add default via 2001:db8:{n}::1")

    def namespaces(self):
        return [self.c, self.fe, *self.b.values()]

    def nothing_damaged(self):
        return nothing_damaged(self.namespaces())

    def delete(self):
        self.fep.close()
        for ns in self.namespaces():
            ns.delete()


@contextlib.contextmanager
def nothing_damaged(namespaces):
    """No stack may count a damaged packet meanwhile."""
    before = [ns.counters() for ns in namespaces]
    yield
    for ns, was in zip(namespaces, before):
        now = ns.counters()
        grown = {name: now.get(name, 0) - was.get(name, 0) for name in BAD}
        # Datagrams that a slow reader had no room for are counted as errors too.
        for udp in ("Udp", "Udp6"):
            grown[f"{udp}InErrors"] -= grown.pop(f"{udp}RcvbufErrors")
        equal({name: count for name, count in grown.items() if count}, {}, f"damaged packets in {ns.name}")


class Server:
    """Answers in a thread, in a namespace, until it is closed; at one address, or at any of IPv4."""

    def __init__(self, namespace, kind, port, address="0.0.0.0"):
        self.socket = namespace.socket(lambda: socket.socket(family(address), kind))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.peers = set()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            self.serve()

    def serve(self):
        raise NotImplementedError

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class TcpMirror(Server):
    """Sends back what it gets, once it has got it all, with its name in front."""

    def __init__(self, namespace, port, name=b"", address="0.0.0.0"):
        self.name = name
        super().__init__(namespace, socket.SOCK_STREAM, port, address)

    def serve(self):
        self.socket.listen(64)
        while True:
            peer, address = self.socket.accept()
            self.peers.add(address[0])
            threading.Thread(target=self._mirror, args=(peer,), daemon=True).start()

    def _mirror(self, peer):
        with peer, contextlib.suppress(OSError):
            while header := exactly(peer, 4):
                data = exactly(peer, struct.unpack("!I", header)[0])
                peer.sendall(struct.pack("!I", len(data)) + data + bytes([len(self.name)]) + self.name)


class UdpMirror(Server):
    """Sends back every datagram."""

    def __init__(self, namespace, port, address="0.0.0.0"):
        super().__init__(namespace, socket.SOCK_DGRAM, port, address)

    def serve(self):
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
        while True:
            data, address = self.socket.recvfrom(65536)
            self.peers.add(address[0])
            self.socket.sendto(data, address)


def exactly(sock, count):
    """So many bytes of a stream, or none at its end."""
    data = bytearray()
    while len(data) < count:
        more = sock.recv(min(count - len(data), 1 << 20))
        if not more:
            if data:
                raise Failure(f"the connection ended after {len(data)} of {count} bytes")
            return b""
        data += more
    return bytes(data)


class Mirrored:
    """A client's connection to a TcpMirror."""

    def __init__(self, namespace, port=80, vip=VIP, seconds=30, sport=0):
        self.socket = namespace.socket(lambda: socket.socket(family(vip), socket.SOCK_STREAM))
        self.socket.settimeout(seconds)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sport:
            self.socket.bind(("", sport))
        self.socket.connect((vip, port))

    def ask(self, data):
        """Sends data, checks that the same comes back, and returns the server's name."""
        digest = hashlib.sha256(data).digest()
        sender = threading.Thread(target=self.socket.sendall, args=(struct.pack("!I", len(data)) + data,), daemon=True)
        sender.start()
        size = struct.unpack("!I", exactly(self.socket, 4))[0]
        equal(size, len(data), "length of what came back")
        equal(hashlib.sha256(exactly(self.socket, size)).digest(), digest, "sha256 of what came back")
        return exactly(self.socket, exactly(self.socket, 1)[0])

    def close(self):
        self.socket.close()


def random_bytes(count, seed=1):
    return random.Random(seed).randbytes(count)


def ethtool(namespace, device, *features):
    """Switches of a device: "tso off gro on"."""
    for words in features:
        namespace.run("ethtool", "-K", device, *words.split())


def environment_seed():
    return int(os.environ.get("FEP_SEED") or random.randrange(1 << 32))
