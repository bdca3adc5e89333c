# SPDX-License-Identifier: GPL-2.0
"""The topology that everything is measured in: three namespaces, made anew for each path.

    client                    front-end                    back-end
    c0 198.18.0.2 ----------- f0 198.18.0.1   f1 10.0.0.1 ----------- b0 10.0.0.2
    198.19.0.0/16 behind it   198.18.0.10 (VIP)                       10.0.1.1, 10.0.1.2, ... (nodes)

Nothing answers: the client and the back-end drop all that arrives at their device's ingress, where it
is counted. Every neighbour is permanent, and each node has a MAC address of its own.
"""

import ipaddress
import json
import time

from fep_test import Namespace, equal, veth

PORT = 53
MACS = {"c0": "02:fe:00:00:00:01", "f0": "02:fe:00:00:00:02", "f1": "02:fe:00:00:00:03", "b0": "02:fe:00:00:00:04"}


class Addresses:
    """Who is who in one address family."""

    def __init__(self, family):
        self.family, self.bits = family, (32 if family == 4 else 128)
        self.word = "ip" if family == 4 else "ip6"  # nft's
        if family == 4:
            self.vip, self.client, self.outside = "198.18.0.10", "198.18.0.2", "198.18.0.1"
            self.inside, self.back = "10.0.0.1", "10.0.0.2"
            self.near, self.far = "198.18.0.0/24", "10.0.0.0/16"
            self.sources, self._nodes = "198.19.0.0/16", ipaddress.ip_address("10.0.1.0")
        else:
            self.vip, self.client, self.outside = "fd00:c::10", "fd00:c::2", "fd00:c::1"
            self.inside, self.back = "fd00:b::1", "fd00:b::2"
            self.near, self.far = "fd00:c::/64", "fd00:b::/64"
            self.sources, self._nodes = "fd00:5::/64", ipaddress.ip_address("fd00:b::1:0")

    def node(self, number):
        """The address of a node; the first is number 1."""
        return str(self._nodes + number)

    def source(self, number):
        """A client's address behind the client's router, from 0."""
        return str(ipaddress.ip_network(self.sources)[256 + number])

    def length(self, network):
        return network.partition("/")[2]


def node_mac(number):
    return f"02:fe:00:01:{number >> 8:02x}:{number & 255:02x}"


class Lab:
    """See above."""

    def __init__(self, family, nodes):
        self.net = net = Addresses(family)
        self.nodes = nodes
        self.client, self.front, self.back = (Namespace(name) for name in ("client", "front", "back"))
        if family == 6:
            for namespace in (self.client, self.front, self.back):
                use_ipv6(namespace)
        veth(self.client, "c0", self.front, "f0", MACS["c0"], MACS["f0"])
        veth(self.back, "b0", self.front, "f1", MACS["b0"], MACS["f1"])
        near, far = net.length(net.near), net.length(net.far)
        self.client.ip(f"addr add {net.client}/{near} dev c0", f"route add default via {net.outside}",
                       f"neigh replace {net.outside} lladdr {MACS['f0']} dev c0 nud permanent")
        self.back.ip(f"addr add {net.back}/{far} dev b0", f"route add default via {net.inside}",
                     f"neigh replace {net.inside} lladdr {MACS['f1']} dev b0 nud permanent")
        self.front.ip(f"addr add {net.outside}/{near} dev f0", f"addr add {net.vip}/{net.bits} dev f0",
                      f"addr add {net.inside}/{far} dev f1", f"route add {net.sources} via {net.client}",
                      f"neigh replace {net.client} lladdr {MACS['c0']} dev f0 nud permanent",
                      *(f"neigh replace {net.node(n)} lladdr {node_mac(n)} dev f1 nud permanent"
                        for n in range(1, nodes + 1)))
        drop(self.client, "c0")
        drop(self.back, "b0")

    def sender(self, reply):
        """Who sends, by which device, and the MAC address it sends to."""
        return (self.back, "b0", MACS["f1"]) if reply else (self.client, "c0", MACS["f0"])

    def sink(self, reply):
        """Where it arrives, and by which device."""
        return (self.client, "c0") if reply else (self.back, "b0")

    def delete(self):
        for namespace in (self.client, self.front, self.back):
            namespace.delete()


def use_ipv6(namespace):
    """Lets devices to come have IPv6, without addresses, routes and questions that nobody has asked for."""
    for name, value in (("disable_ipv6", 0), ("accept_ra", 0), ("autoconf", 0), ("accept_dad", 0), ("addr_gen_mode", 1)):
        namespace.sysctl(f"net.ipv6.conf.default.{name}", value)
    namespace.sysctl("net.ipv6.conf.all.disable_ipv6", 0)


def drop(namespace, device, matches=("",)):
    """Drops all that arrives at a device, and counts it by what it matches first."""
    chain = f"netdev sink {device}"
    lines = ["add table netdev sink", "delete table netdev sink", "add table netdev sink",
             f"add chain {chain} {{ type filter hook ingress device {device} priority 0; }}",
             *(f"add rule {chain} {match} counter drop" for match in matches)]
    namespace.run("nft", "-f", "-", text="\n".join(lines) + "\n")


def dropped(namespace):
    """What each rule of drop() has counted."""
    listed = json.loads(namespace.run("nft", "-j", "list", "table", "netdev", "sink"))["nftables"]
    return [part["counter"]["packets"] for item in listed if "rule" in item
            for part in item["rule"]["expr"] if "counter" in part]


def expect(namespace, device, matches, counts, send):
    """Runs send() and sees whether each match got its count, and nothing else came."""
    drop(namespace, device, [*matches, ""])
    send()
    equal(dropped(namespace), [*counts, 0], f"packets at {device} by destination, others last")
    drop(namespace, device)
