"""The topology of the byte-exact tests: a front-end between two bare wires.

    namespace c            namespace fe               namespace b
    c0 (raw frames) ------ out0  [fep]  in0 --------- b0 (raw frames)
    m0 ---------------------------------------------- m1

Nobody behind c0 and b0 has an address: what is sent there is what the test
sends, and answers come from the front-end only. All neighbours are permanent.
The second pair tells when everything sent has been dealt with; see settle().
"""

from dataclasses import dataclass

from fep_packet import ETH_IP, ETH_IPV6, Tap, ether
from fep_test import Namespace, equal, veth


@dataclass(frozen=True)
class Ends:
    """The addresses of one IP version."""

    version: int
    vip: str
    fe_out: str
    fe_in: str
    client: str
    # Clients elsewhere, behind a router with the client's link-layer address.
    clients: str
    router: str
    nodes: str

    def node(self, number):
        """Address of a node, from 1 on."""
        return f"{self.nodes}{10 + number}"

    def network(self, address):
        """The address with the length of its network."""
        return f"{address}/{24 if self.version == 4 else 64}"

    def alone(self, address):
        """The address alone, as a network."""
        return f"{address}/{32 if self.version == 4 else 128}"

    def configure(self, nodes):
        """Lines for `ip` in the front-end."""
        return (
            f"addr add {self.network(self.fe_out)} dev out0", f"addr add {self.alone(self.vip)} dev out0",
            f"addr add {self.network(self.fe_in)} dev in0",
            f"neigh replace {self.client} lladdr {CLIENT_MAC} dev out0 nud permanent",
            f"neigh replace {self.router} lladdr {CLIENT_MAC} dev out0 nud permanent",
            f"route add {self.clients} via {self.router}",
            *(f"neigh replace {self.node(n)} lladdr {node_mac(n)} dev in0 nud permanent" for n in range(1, nodes + 1)))


V4 = Ends(4, "192.0.2.10", "192.0.2.1", "10.0.0.1", "192.0.2.100", "198.18.0.0/15", "192.0.2.254", "10.0.0.")
V6 = Ends(6, "2001:db8::10", "2001:db8::1", "2001:db8:1::1", "2001:db8::100", "2001:db8:2::/48", "2001:db8::fe",
          "2001:db8:1::")
VIP, FE_OUT, FE_IN, CLIENT, CLIENTS = V4.vip, V4.fe_out, V4.fe_in, V4.client, V4.clients
OUT_MAC, IN_MAC = "02:fe:00:00:00:01", "02:fe:00:00:00:02"
CLIENT_MAC, NODE_MAC = "02:c0:00:00:00:01", "02:be:00:00:00:01"
MARKER = ether("ff:ff:ff:ff:ff:ff", CLIENT_MAC, b"settled".ljust(46, b"\0"), 0x88B5)


def node(number):
    """IPv4 address of a node, from 1 on."""
    return V4.node(number)


def node_mac(number):
    return f"02:be:00:00:00:{number:02x}"


class Wire:
    """See above. `fep` is the open control device of the front-end."""

    def __init__(self, nodes=4, attach=True, suffix="", ipv6=False):
        self.c, self.b = Namespace("c" + suffix), Namespace("b" + suffix)
        self.fe = Namespace("fe" + suffix, ipv6=ipv6)
        self.fe.sysctl("net.ipv4.ip_forward", 0)
        # Every ICMP error that is due is wanted.
        self.fe.sysctl("net.ipv4.icmp_ratelimit", 0)
        self.fe.sysctl("net.ipv6.icmp.ratelimit", 0)
        # No link-local addresses, and so no neighbour discovery of its own accord.
        self.fe.sysctl("net.ipv6.conf.default.addr_gen_mode", 1)
        veth(self.fe, "out0", self.c, "c0", OUT_MAC, CLIENT_MAC)
        veth(self.fe, "in0", self.b, "b0", IN_MAC, NODE_MAC)
        veth(self.c, "m0", self.b, "m1")
        self.fe.ip(*V4.configure(nodes), *(V6.configure(nodes) if ipv6 else ()))
        self.client = Tap(self.c, "c0")
        self.nodes = Tap(self.b, "b0")
        self._marker, self._marked = Tap(self.c, "m0"), Tap(self.b, "m1")
        # What the filter leaves for the stack.
        self.passed_out = Stack(self.fe, "out0", ipv6)
        self.passed_in = Stack(self.fe, "in0", ipv6)
        self.fep = self.fe.fep()
        if attach:
            self.fep.attach("out0", "in0")

    def settle(self):
        """Returns when every frame sent so far, and all that came of it, has arrived.

        One processor has one queue of arriving frames, first in, first out. The first marker comes
        through behind what was sent; the second behind what the filter made of that.
        """
        for _ in range(2):
            self._marker.send(MARKER)
            self._marked.wait(lambda frame: frame == MARKER, "marker")

    def take(self):
        """Drops what has arrived so far."""
        for tap in (self.client, self.nodes, self.passed_out, self.passed_in):
            tap.take()

    def to_vip(self, packet):
        """Sends a packet from the client's side."""
        self.client.send(ether(OUT_MAC, CLIENT_MAC, packet))

    def from_node(self, packet, number=1):
        """Sends a packet from a node's side."""
        self.nodes.send(ether(IN_MAC, node_mac(number), packet))

    def exchange(self, *frames, via="client"):
        """Sends frames from one side and says all that happened, see Outcome."""
        self.settle()
        self.take()
        before = self.fep.counters()
        for frame in frames:
            (self.client if via == "client" else self.nodes).send(frame)
        self.settle()
        after = self.fep.counters()
        return Outcome(
            client=_without_reports(self.client.take()), nodes=_without_reports(self.nodes.take()),
            passed=(self.passed_out if via == "client" else self.passed_in).take(),
            counters={name: after[name] - before[name] for name in after if after[name] != before[name]})


def _without_reports(frames):
    """Without what the front-end tells multicast routers when it gets an address (RFC 3810)."""
    return [frame for frame in frames if frame[:6] != bytes.fromhex("333300000016")]


def in_time(frames):
    """Without what the front-end's stack says, after a second or a minute, of fragments it has waited for in vain
    (RFC 792 and 4443, "fragment reassembly time exceeded"): on a busy machine it comes beside any other packet."""
    def late(frame):
        if frame[12:14] == b"\x08\x00":
            return frame[23] == 1 and frame[34:36] == b"\x0b\x01"
        return frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54:56] == b"\x03\x01"
    return [frame for frame in frames if not late(frame)]


class Stack:
    """Taps of what the filter leaves for the stack, of both IP versions."""

    def __init__(self, namespace, device, ipv6):
        self.taps = [Tap(namespace, device, kind) for kind in ((ETH_IP, ETH_IPV6) if ipv6 else (ETH_IP,))]

    def take(self):
        return [frame for tap in self.taps for frame in tap.take()]

    def close(self):
        for tap in self.taps:
            tap.close()


class Outcome:
    """Frames that arrived at the client's and the nodes' side, frames that the front-end's own stack
    got, and the counters that changed."""

    def __init__(self, client, nodes, passed, counters):
        self.client, self.nodes, self.passed, self.counters = client, nodes, passed, counters

    def are(self, client=(), nodes=(), passed=(), **counters):
        """All of it, to the byte."""
        for what in ("nodes", "client", "passed"):
            got = [frame.hex(" ", 2) for frame in getattr(self, what)]
            want = [frame.hex(" ", 2) for frame in {"client": client, "nodes": nodes, "passed": passed}[what]]
            equal(got, want, f"frames ({what})")
        equal(self.counters, counters, "counters")


