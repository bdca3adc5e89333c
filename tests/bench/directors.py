# SPDX-License-Identifier: GPL-2.0
"""The load balancers: IPVS and fep, with each of their methods."""

import json
import re
import time

from fep_test import Failure, run
from lab import PORT, node_mac
from paths import Drop, DropModule, Floor, Forwarding, NftDnat, NftFlowtable, Path, Redirect, Unavailable, load

LONG = "864000"


class Direct:
    """Requests reach the node as they are, but for the MAC address; replies do not come this way."""

    def requests(self):
        return [f"ether daddr {node_mac(n)} {self.net.word} daddr {self.target} {self.protocol} dport {PORT}"
                for n in range(1, len(self.nodes) + 1)]


class Tunnel:
    """Requests reach the node in a packet for it; replies do not come this way."""

    def requests(self):
        inner = "ip protocol 4" if self.net.family == 4 else "ip6 nexthdr 41"
        return [f"ether daddr {node_mac(n)} {self.net.word} daddr {address} {inner}"
                for n, address in enumerate(self.nodes, 1)]


class Ipvs(Path):
    """IPVS, with the method that a subclass names."""

    modules = ("ip_vs_wrr", "ip_vs", "nf_conntrack")
    counts = True

    def set_up(self):
        load("ip_vs", "conn_tab_bits=20")  # as many buckets as fep has; by default there are 4,096
        load("ip_vs_wrr")
        self.forward()
        flag = "-t" if self.protocol == "tcp" else "-u"
        service = f"{self.bracketed(self.target)}:{PORT}"
        self.front.run("ipvsadm", "--set", LONG, LONG, LONG)
        self.front.run("ipvsadm", "-A", flag, service, "-s", "wrr")
        for address in self.nodes:
            self.front.run("ipvsadm", "-a", flag, service, "-r", f"{self.bracketed(address)}:{PORT}", self.method)

    def packets(self):
        time.sleep(3)  # it adds up every two seconds
        said = self.front.run("ipvsadm", "-Ln", "--stats", "--exact")
        found = {address.strip("[]"): int(packets)
                 for address, packets in re.findall(r"-> (\S+):\d+ +\d+ +(\d+)", said)}
        return [found[address] for address in self.nodes]

    def tear_down(self):
        self.front.run("ipvsadm", "-C")


class IpvsNat(Ipvs):
    """IPVS with address translation."""

    name, method = "ipvs-nat", "-m"


class IpvsDirect(Direct, Ipvs):
    """IPVS with direct routing."""

    name, method = "ipvs-dr", "-g"


class IpvsTunnel(Tunnel, Ipvs):
    """IPVS with IP in IP."""

    name, method = "ipvs-tunnel", "-i"


class Fep(Path):
    """fep, with the method that a subclass names."""

    modules = ("fep",)
    counts = True
    scheduler = "wrr"

    def fepctl(self, *arguments):
        try:
            return self.front.run("fepctl", *arguments)
        except Failure as error:
            said = " ".join(str(error).split())
            unknown = re.search(r"invalid value '(\w+)' for '--(\w+)", said)
            raise Unavailable(f"fep has no {unknown[2]} {unknown[1]}" if unknown else said) from None

    def set_up(self):
        run("modprobe", "fep")
        self.front.run("fepctl", "device", "attach", "f0")
        self.front.run("fepctl", "device", "attach", "f1")
        key = f"{self.protocol}/{self.bracketed(self.target)}:{PORT}"
        self.fepctl("service", "add", key, "--scheduler", self.scheduler, "--timeout-udp", LONG,
                    "--timeout-syn", LONG, "--timeout-established", LONG)
        for address in self.nodes:
            self.fepctl("backend", "add", key, self.bracketed(address), *self.method)

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


class FepNatSteer(FepNat):
    """The same with the scheduler that looks at the routes that there are."""

    name, scheduler = "fep-nat-steer", "steer"


class FepNatOptimal(FepNat):
    """The same with the scheduler that looks at reported loads. They are equal: the first node has all clients."""

    name, scheduler = "fep-nat-optimal", "optimal"

    def shares(self, packets, places):
        return [packets] + [0] * (places - 1)


class FepDirect(Direct, Fep):
    """fep with direct routing."""

    name, method = "fep-dr", ("--method", "dr")


class FepTunnel(Tunnel, Fep):
    """fep with IP in IP."""

    name, method = "fep-tunnel", ("--method", "tunnel")


PATHS = {path.name: path for path in (Drop, DropModule, Redirect, Floor, Forwarding, NftDnat, NftFlowtable, IpvsNat,
                                      IpvsDirect, IpvsTunnel, FepNat, FepNatSteer, FepNatOptimal, FepDirect, FepTunnel)}
