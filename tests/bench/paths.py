# SPDX-License-Identifier: GPL-2.0
"""The ways through the front-end that are measured: how each is set up, and what it does to a packet. A path that
cannot be set up here raises Unavailable with the reason."""

from fep_test import Failure, run, wait_for
from lab import MACS, PORT, drop, dropped, node_mac
from senders import order


class Unavailable(Exception):
    """This kernel or this version of fep does not have it."""


def load(module, *parameters):
    if run("modprobe", module, *parameters, check_status=False):
        raise Unavailable(f"this kernel has no module {module}")


def unload(*modules):
    """Unloads modules and what only they used. Namespaces that are ending may still hold them for a while."""
    def gone():
        run("modprobe", "-ra", *modules, check_status=False)
        with open("/proc/modules", encoding="ascii") as file:
            return not {line.split()[0] for line in file} & set(modules)
    wait_for(gone, f"{' '.join(modules)} unloaded", 120)


class Path:
    """A way. `nodes`: where requests may end. `target`: where they go to; replies come from the first node.
    `counts`: it counts packets by node itself. `modules`: what is unloaded when it is over."""

    modules = ()
    counts = False
    second = False  # knows a flow only from its second packet on

    def __init__(self, lab, protocol, reply):
        self.lab, self.net, self.protocol, self.reply = lab, lab.net, protocol, reply
        self.front = lab.front
        self.nodes = [self.net.node(n) for n in range(1, lab.nodes + 1)]
        self.target = self.net.vip

    def set_up(self):
        """Makes it."""

    def tear_down(self):
        """Undoes it, before the namespaces go."""

    def forward(self):
        name = "ipv4.ip_forward" if self.net.family == 4 else "ipv6.conf.all.forwarding"
        self.front.sysctl(f"net.{name}", 1)

    def arrived(self):
        """Packets that have come to their end."""
        return dropped(self.lab.sink(self.reply)[0])[0]

    def requests(self):
        """What a request is when it arrives, by node."""
        return [f"ether daddr {node_mac(n)} {self.net.word} daddr {address} {self.protocol} dport {PORT}"
                for n, address in enumerate(self.nodes, 1)]

    def replies(self):
        """What a reply is when it arrives."""
        return [f"ether saddr {MACS['f0']} {self.net.word} saddr {self.target} {self.protocol} sport {PORT}"]

    def shares(self, packets, places):
        """How many of so many packets, one of each client, come to each of the places where they may."""
        return [packets // places] * places

    def packets(self):
        """Packets to each node by the path's own count."""
        raise NotImplementedError

    def bracketed(self, address):
        return address if self.net.family == 4 else f"[{address}]"


class Drop(Path):
    """All that comes is dropped where it comes in: what generator and devices cost by themselves."""

    name = "drop"

    def _device(self):
        return "f1" if self.reply else "f0"

    def set_up(self):
        drop(self.front, self._device())

    def arrived(self):
        return dropped(self.front)[0]

    def requests(self):
        return None

    def replies(self):
        return None


class DropModule(Drop):
    """The same in a hook of a module that does nothing else."""

    name = "drop-c"

    def set_up(self):
        order(self.front, f"drop device={self._device()}")

    def arrived(self):
        with self.front, open("/proc/thread-self/net/dev", encoding="ascii") as file:
            line = next(line for line in file if line.strip().startswith(f"{self._device()}:"))
        return int(line.split()[2])

    def tear_down(self):
        order(self.front, "unhook")


class Redirect(Path):
    """A hook of a module sends every packet to the other device, as it is."""

    name = "redirect-c"

    def set_up(self):
        order(self.front, "redirect device=f0 out=f1")
        order(self.front, "redirect device=f1 out=f0")

    def tear_down(self):
        order(self.front, "unhook")

    def requests(self):
        return [f"ether daddr {MACS['f0']} {self.net.word} daddr {self.target} {self.protocol} dport {PORT}"]

    def replies(self):
        return [f"ether daddr {MACS['f1']} {self.net.word} saddr {self.nodes[0]} {self.protocol} sport {PORT}"]


class Floor(Path):
    """A hook of a module translates the one address there is, and looks nothing up: what any address translation
    costs at least."""

    name = "floor"

    def __init__(self, lab, protocol, reply):
        super().__init__(lab, protocol, reply)
        self.nodes = self.nodes[:1]

    def set_up(self):
        node = self.nodes[0]
        order(self.front, f"floor device=f0 out=f1 from={self.target} to={node} next_hop={node}")
        order(self.front, f"floor device=f1 out=f0 from={node} to={self.target} next_hop={self.net.client} source=1")

    def tear_down(self):
        order(self.front, "unhook")


class Forwarding(Path):
    """The kernel's IP forwarding, to one node and back."""

    name = "forwarding"

    def __init__(self, lab, protocol, reply):
        super().__init__(lab, protocol, reply)
        self.nodes = self.nodes[:1]
        self.target = self.nodes[0]

    def set_up(self):
        self.forward()


class NftDnat(Path):
    """DNAT of nftables, by connection tracking."""

    name = "nft-dnat"
    modules = ("nft_chain_nat", "nft_numgen", "nft_nat", "nf_nat", "nf_conntrack")
    TIMEOUTS = ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream", "nf_conntrack_tcp_timeout_syn_sent",
                "nf_conntrack_tcp_timeout_syn_recv", "nf_conntrack_tcp_timeout_unacknowledged")

    def set_up(self):
        load("nf_conntrack", "hashsize=1048576")
        with open("/proc/sys/net/netfilter/nf_conntrack_max", "w", encoding="ascii") as file:
            file.write(str(1 << 23))
        self.forward()
        choice = ", ".join(f"{n} : {address}" for n, address in enumerate(self.nodes))
        word = self.net.word
        self.front.run("nft", "-f", "-", text=f"""
            table {word} bench {{
                {self.flowtable()}
                chain in {{
                    type nat hook prerouting priority dstnat;
                    {word} daddr {self.target} {self.protocol} dport {PORT} \\
                        dnat to numgen inc mod {len(self.nodes)} map {{ {choice} }}
                }}
            }}""")
        for name in self.TIMEOUTS:
            self.front.sysctl(f"net.netfilter.{name}", 864_000)

    def flowtable(self):
        """What else is in the table."""
        return ""

    def tear_down(self):
        self.front.run("nft", "delete", "table", self.net.word, "bench")


class NftFlowtable(NftDnat):
    """The same, with established connections in a flowtable, which is looked at first."""

    name = "nft-flowtable"
    modules = ("nft_flow_offload", "nf_flow_table_inet", *NftDnat.modules, "nf_flow_table")
    second = True
    TIMEOUTS = (*NftDnat.TIMEOUTS, "nf_flowtable_udp_timeout", "nf_flowtable_tcp_timeout")

    def flowtable(self):
        return f"""flowtable fast {{ hook ingress priority 0; devices = {{ f0, f1 }}; }}
                chain through {{ type filter hook forward priority 0; meta l4proto {self.protocol} flow add @fast; }}"""
