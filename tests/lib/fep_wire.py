"""The topology of the byte-exact tests: a front-end between two bare wires.

    namespace c            namespace fe               namespace b
    c0 (raw frames) ------ out0  [fep]  in0 --------- b0 (raw frames)
    m0 ---------------------------------------------- m1

Nobody behind c0 and b0 has an address: what is sent there is what the test
sends, and answers come from the front-end only. All neighbours are permanent.
The second pair tells when everything sent has been dealt with; see settle().
"""

from fep_packet import ETH_IP, Tap, ether
from fep_test import Namespace, equal, veth

VIP = "192.0.2.10"
FE_OUT, FE_IN = "192.0.2.1", "10.0.0.1"
CLIENT = "192.0.2.100"
# Clients elsewhere, behind a router with the client's link-layer address.
CLIENTS = "198.18.0.0/15"
OUT_MAC, IN_MAC = "02:fe:00:00:00:01", "02:fe:00:00:00:02"
CLIENT_MAC, NODE_MAC = "02:c0:00:00:00:01", "02:be:00:00:00:01"
MARKER = ether("ff:ff:ff:ff:ff:ff", CLIENT_MAC, b"settled".ljust(46, b"\0"), 0x88B5)


def node(number):
    """Address of a node, from 1 on."""
    return f"10.0.0.{10 + number}"


def node_mac(number):
    return f"02:be:00:00:00:{number:02x}"


class Wire:
    """See above. `fep` is the open control device of the front-end."""

    def __init__(self, nodes=4, attach=True, suffix=""):
        self.c, self.fe, self.b = (Namespace(name + suffix) for name in ("c", "fe", "b"))
        self.fe.sysctl("net.ipv4.ip_forward", 0)
        # Every ICMP error that is due is wanted.
        self.fe.sysctl("net.ipv4.icmp_ratelimit", 0)
        veth(self.fe, "out0", self.c, "c0", OUT_MAC, CLIENT_MAC)
        veth(self.fe, "in0", self.b, "b0", IN_MAC, NODE_MAC)
        veth(self.c, "m0", self.b, "m1")
        self.fe.ip(
            f"addr add {FE_OUT}/24 dev out0", f"addr add {VIP}/32 dev out0", f"addr add {FE_IN}/24 dev in0",
            f"neigh replace {CLIENT} lladdr {CLIENT_MAC} dev out0 nud permanent",
            f"neigh replace 192.0.2.254 lladdr {CLIENT_MAC} dev out0 nud permanent",
            f"route add {CLIENTS} via 192.0.2.254",
            *(f"neigh replace {node(n)} lladdr {node_mac(n)} dev in0 nud permanent" for n in range(1, nodes + 1)))
        self.client = Tap(self.c, "c0")
        self.nodes = Tap(self.b, "b0")
        self._marker, self._marked = Tap(self.c, "m0"), Tap(self.b, "m1")
        # What the filter leaves for the stack.
        self.passed_out, self.passed_in = Tap(self.fe, "out0", ETH_IP), Tap(self.fe, "in0", ETH_IP)
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
            client=self.client.take(), nodes=self.nodes.take(),
            passed=(self.passed_out if via == "client" else self.passed_in).take(),
            counters={name: after[name] - before[name] for name in after if after[name] != before[name]})


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


