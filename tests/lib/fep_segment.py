"""The topology of direct routing: client, front-end and nodes on one segment, all with their own stacks.

    namespace far                  namespace sw: a bridge
    far0 -- r0 (namespace r) r1 ---+---- c    eth0 192.0.2.100
    198.51.100.2                   +---- fe   eth0 192.0.2.1, 192.0.2.10 (VIP)     [fep]
                                   +---- b1   eth0 192.0.2.21, lo 192.0.2.10
                                   +---- b2   eth0 192.0.2.22, lo 192.0.2.10

Nodes have the VIP on a device that does not answer for it. Everybody's default route is r, so that
nodes reply to clients directly, wherever they are. The same addresses of IPv6: 2001:db8::100 and so on,
2001:db8:f::2.
"""

import json

from fep_lab import VIP, VIP6
from fep_test import Namespace, veth

FAR, FAR6 = "198.51.100.2", "2001:db8:f::2"


def node(number, version=4):
    return f"192.0.2.{20 + number}" if version == 4 else f"2001:db8::{20 + number}"


def mac(number):
    """Link-layer address of a node."""
    return f"02:be:00:00:01:{number:02x}"


class Segment:
    """See above. `fep` is the open control device of the front-end, once `attach()` was called."""

    def __init__(self, nodes=2, suffix=""):
        names = ["c", "fe", "r", "far", *(f"b{n}" for n in range(1, nodes + 1))]
        self.sw = Namespace("sw" + suffix)
        self.sw.ip("link add br0 type bridge forward_delay 0", "link set br0 up")
        spaces = {name: Namespace(name + suffix, ipv6=True) for name in names}
        self.c, self.fe, self.r, self.far = (spaces[name] for name in names[:4])
        self.b = {n: spaces[f"b{n}"] for n in range(1, nodes + 1)}
        self.fe.sysctl("net.ipv4.ip_forward", 0)
        for name, there in spaces.items():
            if name != "far":
                veth(there, "eth0", self.sw, name, mac(int(name[1:])) if name[1:].isdigit() else "")
                self.sw.ip(f"link set {name} master br0")
        self._router()
        for there, last in ((self.c, 100), (self.fe, 1)):
            there.ip(f"addr add 192.0.2.{last}/24 dev eth0", f"addr add 2001:db8::{last}/64 dev eth0",
                     "route add default via 192.0.2.254", "route add default via 2001:db8::fe")
        self.fe.ip(f"addr add {VIP}/32 dev eth0", f"addr add {VIP6}/128 dev eth0")
        for n, there in self.b.items():
            there.sysctl("net.ipv4.conf.all.arp_ignore", 1)
            there.sysctl("net.ipv4.conf.all.arp_announce", 2)
            there.ip(f"addr add {node(n)}/24 dev eth0", f"addr add {node(n, 6)}/64 dev eth0",
                     "route add default via 192.0.2.254", "route add default via 2001:db8::fe",
                     f"addr add {VIP}/32 dev lo", f"addr add {VIP6}/128 dev lo")
        self.fep = None

    def _router(self):
        for family in (4, 6):
            self.r.sysctl("net.ipv4.ip_forward" if family == 4 else "net.ipv6.conf.all.forwarding", 1)
        for kind in ("all", "default"):
            self.r.sysctl(f"net.ipv4.conf.{kind}.rp_filter", 0)
            self.r.sysctl(f"net.ipv4.conf.{kind}.send_redirects", 0)
        veth(self.r, "r0", self.far, "far0")
        self.r.ip("addr add 192.0.2.254/24 dev eth0", "addr add 2001:db8::fe/64 dev eth0",
                  "addr add 198.51.100.1/24 dev r0", "addr add 2001:db8:f::1/64 dev r0")
        self.far.ip(f"addr add {FAR}/24 dev far0", f"addr add {FAR6}/64 dev far0",
                    "route add default via 198.51.100.1", "route add default via 2001:db8:f::1")

    def attach(self):
        self.fep = self.fe.fep()
        self.fep.attach("eth0")

    def namespaces(self):
        return [self.c, self.fe, self.r, self.far, *self.b.values()]

    def sent_by_front_end(self):
        """Packets that have left the front-end."""
        link, = json.loads(self.fe.run("ip", "-s", "-j", "link", "show", "eth0"))
        return link["stats64"]["tx"]["packets"]

    def delete(self):
        if self.fep:
            self.fep.close()
        for there in [*self.namespaces(), self.sw]:
            there.delete()
