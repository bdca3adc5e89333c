# SPDX-License-Identifier: GPL-2.0
"""The ways through the front-end that are measured: how each is set up, what it does to a packet, and what it
counts itself. A path that cannot be set up here raises Unavailable with the reason."""

import json
import re
import time

from fep_test import Failure, run, wait_for
from lab import PORT, drop, dropped, node_mac


class Unavailable(Exception):
    """This kernel or this version of fep does not have it."""


def unload(*modules):
    """Unloads modules with all that only they used; namespaces that end may still hold them a little."""
    def gone():
        run("modprobe", "-ra", *modules, check_status=False)
        with open("/proc/modules", encoding="ascii") as file:
            return not {line.split()[0] for line in file} & set(modules)
    wait_for(gone, f"{' '.join(modules)} unloaded", 120)


class Path:
    """A way. `target`: where requests go to. `shared`: they are spread over all nodes. `modules`: what is
    unloaded when it is over. `counts`: it counts packets by node itself."""

    modules = ()
    shared = True
    counts = False
    reply = True

    def __init__(self, lab, protocol):
        self.lab, self.net, self.protocol = lab, lab.net, protocol
        self.front = lab.front
        self.nodes = [self.net.node(n) for n in range(1, lab.nodes + 1)]
        self.target = self.net.vip
        self.source = self.nodes[0]

    def set_up(self):
        """Makes it."""

    def forward(self):
        name = "ipv4.ip_forward" if self.net.family == 4 else "ipv6.conf.all.forwarding"
        self.front.sysctl(f"net.{name}", 1)

    def arrived(self, reply):
        """Packets that have come to their end."""
        return dropped(self.lab.sink(reply)[0])[0]

    def matches(self, reply):
        """What a packet is when it arrives, by node."""
        word = self.net.word
        if reply:
            return [f"{word} saddr {self.target} {self.protocol} sport {PORT} ether saddr 02:fe:00:00:00:02"]
        return [f"ether daddr {node_mac(n)} {word} daddr {address} {self.protocol} dport {PORT}"
                for n, address in enumerate(self.nodes, 1)]

    def packets(self):
        """Packets to each node by the path's own count."""
        raise NotImplementedError

    def tear_down(self):
        """Undoes it, before the namespaces go."""

    def service(self):
        """The virtual service as the tools write it."""
        vip = self.net.vip if self.net.family == 4 else f"[{self.net.vip}]"
        return f"{vip}:{PORT}"


class Drop(Path):
    """All that comes is dropped where it comes in: what generator and devices cost by themselves."""

    name = "drop"

    def set_up(self):
        for number, device in enumerate(("f0", "f1")):
            if device == self.device:
                drop(self.front, device)

    device = "f0"

    def arrived(self, reply):
        if self.device != ("f1" if reply else "f0"):
            self.device = "f1" if reply else "f0"
            drop(self.front, self.device)
        return dropped(self.front)[0]

    def matches(self, reply):
        return None


class Forwarding(Path):
    """The kernel's IP forwarding, to one node and back."""

    name = "forwarding"
    shared = False

    def __init__(self, lab, protocol):
        super().__init__(lab, protocol)
        self.nodes = self.nodes[:1]
        self.target = self.nodes[0]

    def set_up(self):
        self.forward()


class Ipvs(Path):
    """IPVS, with the method that a subclass names."""

    modules = ("ip_vs_wrr", "ip_vs")
    counts = True

    def set_up(self):
        if "not found" in run("modprobe", "-a", *self.modules, check_status=False):
            raise Unavailable("this kernel has no IPVS")
        self.forward()
        flag = "-t" if self.protocol == "tcp" else "-u"
        self.front.run("ipvsadm", "-A", flag, self.service(), "-s", "wrr")
        for address in self.nodes:
            there = address if self.net.family == 4 else f"[{address}]"
            self.front.run("ipvsadm", "-a", flag, self.service(), "-r", f"{there}:{PORT}", self.method, "-w", "1")

    def packets(self):
        time.sleep(3)  # it adds up every two seconds
        said = self.front.run("ipvsadm", "-Ln", "--stats", "--exact")
        found = {re.sub(r"[][]", "", address): int(packets)
                 for address, packets in re.findall(r"-> (\S+):\d+ +\d+ +(\d+)", said)}
        return [found[address] for address in self.nodes]

    def tear_down(self):
        self.front.run("ipvsadm", "-C")


class IpvsNat(Ipvs):
    """IPVS with address translation."""

    name, method = "ipvs-nat", "-m"


class Fep(Path):
    """fep, with the method that a subclass names."""

    modules = ("fep",)
    counts = True
    scheduler = "wrr"

    def fepctl(self, *arguments):
        try:
            return self.front.run("fepctl", *arguments)
        except Failure as error:
            raise Unavailable(" ".join(str(error).split())) from None

    def set_up(self):
        run("modprobe", "fep")
        self.fepctl("device", "attach", "f0")
        self.fepctl("device", "attach", "f1")
        key = f"{self.protocol}/{self.service()}"
        self.fepctl("service", "add", key, "--scheduler", self.scheduler, "--timeout-udp", "864000")
        for address in self.nodes:
            there = address if self.net.family == 4 else f"[{address}]"
            self.fepctl("backend", "add", key, there, *self.method)

    def packets(self):
        stats = json.loads(self.front.run("fepctl", "stats", "--json"))
        found = {backend["backend"].rpartition(":")[0].strip("[]"): backend["traffic"]["packets_in"]
                 for service in stats["services"] for backend in service["backends"]}
        return [found[address] for address in self.nodes]

    def tear_down(self):
        self.front.run("fepctl", "flush", "--devices")


class FepNat(Fep):
    """fep with address translation."""

    name, method = "fep-nat", ()


PATHS = {path.name: path for path in (Drop, Forwarding, IpvsNat, FepNat)}
