"""What changes around the filter takes effect with the next packet, however many went the old way just
before: routes, neighbours, devices, MTUs; of requests and replies, nat and dr, over either version of IP."""

import contextlib
import socket
import struct
import time

import fep_packet as packet
from fep_flow import TOO_BIG, Flow, client_is_told, node_is_told
from fep_packet import ETH_ARP, Tap, ether, icmp, ip_bytes, mac_bytes
from fep_test import case, check, equal, veth, wait_for
from fep_wire import CLIENT_MAC, IN_MAC, NODE_MAC, OUT_MAC, V4, V6, Wire, node_mac

ALT_MAC, ALT_PEER = "02:fe:00:00:00:03", "02:be:00:00:00:a1"
NEW_MAC, FIRST, SECOND = "02:be:00:00:00:b1", "02:be:00:00:00:b2", "02:be:00:00:00:b3"
LINK_LOCAL = "fe80::fe"
BYTES = bytes(range(256)) * 6
HOT = 30


class Way:
    """One way of one flow: where its packets come from, and where they go."""

    def __init__(self, wire, known, request):
        self.wire, self.flow, self.request, ends = wire, known, request, known.ends
        self.via, self.there = ("client", "nodes") if request else ("node", "client")
        self.counter = "forward_request" if request else "forward_reply"
        # Who gets the packets, and by which device.
        self.target = known.node[0] if request else known.client[0]
        self.device, self.mac, self.peer = ("in0", IN_MAC, node_mac(1)) if request else ("out0", OUT_MAC, CLIENT_MAC)
        self.tap, self.far_device = (wire.nodes, "b0") if request else (wire.client, "c0")
        self.version, self.alone = ends.version, ends.alone(self.target)
        prefix = self.target.rpartition("." if self.version == 4 else ":")[0] + ("." if self.version == 4 else ":")
        self.gateways = (f"{prefix}61", f"{prefix}62")
        self.name = f"ipv{self.version} {'dr' if known.direct else 'nat'} {'request' if request else 'reply'}"

    def sent(self, data=b"data", **header):
        return self.flow.request(data, **header) if self.request else self.flow.reply(data, **header)

    def exchange(self, *frames):
        return self.wire.exchange(*frames, via=self.via)

    def arrives(self, mac=None, by=None, data=b"data", **header):
        want = self.flow.at_node(data, **header) if self.request else self.flow.at_client(data, **header)
        return mac_bytes(mac or self.peer) + mac_bytes(by or self.mac) + want[12:]

    def goes_on(self, mac=None, count=1):
        """Packets go to that link-layer address."""
        self.exchange(*[self.sent()] * count).are(
            **{self.there: [self.arrives(mac)] * count, self.counter: count})

    def hot(self):
        """As many packets as make everything that is kept, kept."""
        self.goes_on(count=HOT)

    def is_dropped(self):
        self.exchange(self.sent()).are(drop_no_output=1)

    def ip(self, *lines):
        self.wire.fe.ip(*lines)

    def ip_of_version(self, words):
        self.wire.fe.run("ip", f"-{self.version}", *words.split())

    def neighbour(self, mac, state="permanent", address=None, device=None):
        self.ip(f"neigh replace {address or self.target} lladdr {mac} dev {device or self.device} nud {state}")


@contextlib.contextmanager
def hot_case(way, name):
    """Ends with packets that go the usual way, as it has to begin."""
    with case(f"{way.name}: {name}"):
        try:
            yield
            way.goes_on()
        except BaseException:
            as_it_was(way)
            raise


def as_it_was(way):
    """Whatever a case that failed has left."""
    for words in (f"route del {way.alone}", f"-{way.version} rule del pref 50"):
        way.wire.fe.run("ip", *words.split(), check_status=False)
    for ends in (V4, V6):
        for address, device, mac in ((ends.node(1), "in0", node_mac(1)), (ends.client, "out0", CLIENT_MAC)):
            way.ip(f"link set {device} up mtu 1500", f"addr replace {LINK_LOCAL}/64 dev {device}")
            way.neighbour(mac, address=address, device=device)


def routes(way, alt):
    with hot_case(way, "a route by another device, and back"):
        way.hot()
        way.neighbour(ALT_PEER, device="alt0")
        for _ in range(3):
            way.ip(f"route add {way.alone} dev alt0")
            outcome = way.exchange(*[way.sent()] * 3)
            outcome.are(**{way.counter: 3})
            equal([f.hex() for f in alt.take() if not f[0] & 1], [way.arrives(ALT_PEER, ALT_MAC).hex()] * 3,
                  "by the other device")
            way.ip(f"route del {way.alone} dev alt0")
            way.goes_on()
            equal([f.hex() for f in alt.take() if not f[0] & 1], [], "by the other device then")
    with hot_case(way, "a gateway, another gateway, none"):
        way.hot()
        for address, mac in zip(way.gateways, (FIRST, SECOND)):
            way.neighbour(mac, address=address)
        way.ip(f"route add {way.alone} via {way.gateways[0]}")
        way.goes_on(FIRST, 3)
        way.ip(f"route replace {way.alone} via {way.gateways[1]}")
        way.goes_on(SECOND, 3)
        way.ip(f"route replace {way.alone} via {way.gateways[0]}")
        way.goes_on(FIRST)
        way.ip(f"route del {way.alone}")
    for kind in ("blackhole", "unreachable", "prohibit"):
        with hot_case(way, f"a route that is {kind}"):
            way.hot()
            way.ip(f"route add {kind} {way.alone}")
            way.is_dropped()
            way.is_dropped()
            way.ip(f"route del {kind} {way.alone}")
    with hot_case(way, "a rule with a table of its own"):
        way.hot()
        way.ip(f"route add {way.alone} via {way.gateways[0]} table 77")
        way.ip_of_version(f"rule add to {way.alone} lookup 77 pref 50")
        way.goes_on(FIRST)
        way.ip(f"route replace {way.alone} via {way.gateways[1]} table 77")
        way.goes_on(SECOND)
        way.ip_of_version("rule del pref 50")
    if way.version == 6:
        with hot_case(way, "a route that expires"):
            way.hot()
            way.ip(f"route add {way.alone} via {way.gateways[0]} expires 2")
            end = time.monotonic() + 0.6
            while time.monotonic() < end:
                way.goes_on(FIRST, 3)
            wait_for(lambda: way.exchange(way.sent()).__dict__[way.there] == [way.arrives()], "the way back", 5)


def neighbours(way):
    with hot_case(way, "another link-layer address"):
        way.hot()
        for mac in (NEW_MAC, FIRST, NEW_MAC):
            way.neighbour(mac)
            way.goes_on(mac, 3)
        way.neighbour(way.peer)
    with hot_case(way, "a neighbour that is stale, or being looked for, is still used"):
        way.hot()
        for state in ("stale", "delay", "probe", "reachable", "noarp"):
            way.neighbour(NEW_MAC, state)
            frames = way.exchange(*[way.sent()] * 3).__dict__[way.there]
            # It may be asked whether it is still there.
            equal([f.hex() for f in frames if f[12:] == way.arrives()[12:]], [way.arrives(NEW_MAC).hex()] * 3, state)
        way.neighbour(way.peer)
    with hot_case(way, "the neighbour announces another link-layer address"):
        way.hot()
        way.neighbour(way.peer, "reachable")
        way.goes_on()
        way.tap.send(announcement(way, NEW_MAC))
        way.wire.settle()
        frames = way.exchange(way.sent()).__dict__[way.there]
        equal([f.hex() for f in frames if f[12:] == way.arrives()[12:]], [way.arrives(NEW_MAC).hex()], "frames")
        way.neighbour(way.peer)
    with hot_case(way, "a neighbour that is forgotten is asked for, and gets the packet then"):
        way.hot()
        way.ip(f"neigh del {way.target} dev {way.device}")
        outcome = way.exchange(way.sent())
        equal(outcome.counters, {way.counter: 1}, "counters")
        # It may be asked for more than once.
        equal({is_question(f, way.target) for f in outcome.__dict__[way.there]}, {True}, "questions, and nothing else")
        way.tap.send(answer(way, NEW_MAC))
        way.wire.settle()
        equal([f.hex() for f in way.tap.take() if not is_question(f, way.target)], [way.arrives(NEW_MAC).hex()],
              "packets that have waited")
        way.goes_on(NEW_MAC)
        way.neighbour(way.peer)


def arp(kind, way, mac, to, address):
    return ether(to, mac, b"\0\1\x08\0\6\4\0" + bytes([kind]) + mac_bytes(mac) + ip_bytes(way.target) + mac_bytes(to)
                 + ip_bytes(address), ETH_ARP)


def announcement(way, mac):
    """The target has another link-layer address."""
    if way.version == 4:
        return arp(1, way, mac, "ff:ff:ff:ff:ff:ff", way.target)
    body = b"\x20\0\0\0" + ip_bytes(way.target) + b"\2\1" + mac_bytes(mac)
    return ether("33:33:00:00:00:01", mac, icmp(way.target, "ff02::1", 136, 0, body, ttl=255))


def own_address(way):
    ends = way.flow.ends
    return ends.fe_in if way.device == "in0" else ends.fe_out


def answer(way, mac):
    if way.version == 4:
        return arp(2, way, mac, way.mac, own_address(way))
    body = b"\x60\0\0\0" + ip_bytes(way.target) + b"\2\1" + mac_bytes(mac)
    return ether(way.mac, mac, icmp(way.target, LINK_LOCAL, 136, 0, body, ttl=255))


def is_question(frame, address):
    """Whether a frame asks who has the address."""
    if frame[12:14] == struct.pack("!H", ETH_ARP):
        return frame[21] == 1 and frame[38:42] == ip_bytes(address)
    return frame[20] == socket.IPPROTO_ICMPV6 and frame[54] == 135 and frame[62:78] == ip_bytes(address)


def devices(way):
    with hot_case(way, "the device down and up again"):
        way.hot()
        for _ in range(2):
            way.ip(f"link set {way.device} down")
            way.is_dropped()
            way.ip(f"link set {way.device} up")
            way.neighbour(way.peer)
            wait_for(lambda: "state UP" in way.wire.fe.run("ip", "link", "show", way.device), "the device")
            way.wire.take()
            way.goes_on()
    # Neighbours go with a device that is down.
    as_it_was(way)


def is_told(way, outcome, data, mtu):
    if way.request:
        client_is_told(outcome, way.flow, TOO_BIG, way.flow.request_packet(data), mtu, drop_too_big=1)
    elif way.flow.direct:
        # Its sender has the front-end's own address.
        outcome.are(drop_too_big=1)
    else:
        node_is_told(outcome, way.flow, TOO_BIG, way.flow.reply_packet(data), mtu, drop_too_big=1)


def mtus(way):
    size = {4: 28, 6: 48}[way.version]
    full = BYTES[:1500 - size]

    def passes(data):
        way.exchange(way.sent(data)).are(**{way.there: [way.arrives(data=data)], way.counter: 1})

    with hot_case(way, "a smaller MTU of the device, and the larger one again"):
        way.hot()
        passes(full)
        for mtu in (1400, 1280):
            way.ip(f"link set {way.device} mtu {mtu}")
            is_told(way, way.exchange(way.sent(full)), full, mtu)
            is_told(way, way.exchange(way.sent(BYTES[:mtu - size + 1])), BYTES[:mtu - size + 1], mtu)
            passes(BYTES[:mtu - size])
        way.ip(f"link set {way.device} mtu 1500")
        passes(full)
    with hot_case(way, "a smaller MTU of the route, another one, none"):
        way.hot()
        for mtu in (1400, 1300):
            way.ip(f"route replace {way.alone} dev {way.device} mtu {mtu}")
            is_told(way, way.exchange(way.sent(full)), full, mtu)
            passes(BYTES[:mtu - size])
        way.ip(f"route del {way.alone} dev {way.device}")
        passes(full)
    with hot_case(way, "a path MTU that the front-end learns, and forgets"):
        way.hot()
        passes(full)
        learn(way, 1300)
        is_told(way, way.exchange(way.sent(full)), full, 1300)
        passes(BYTES[:1300 - size])
        # Another one, of which there is a note already.
        learn(way, 1290, BYTES[:1000])
        is_told(way, way.exchange(way.sent(BYTES[:1300 - size])), BYTES[:1300 - size], 1290)
        way.ip_of_version("route flush cache")
        passes(full)


def learn(way, mtu, data=BYTES[:1400]):
    """An ICMP error about a packet of the front-end's own."""
    family = socket.AF_INET if way.version == 4 else socket.AF_INET6
    sock = way.wire.fe.socket(lambda: socket.socket(family, socket.SOCK_DGRAM))
    sock.connect((way.target, 9))
    way.wire.take()
    sock.send(data)
    about = way.tap.wait(lambda f: f[14] >> 4 == way.version, "the front-end's own packet")[-1][14:]
    kind = (3, 4, struct.pack("!HH", 0, mtu)) if way.version == 4 else (2, 0, struct.pack("!I", mtu))
    error = icmp(way.target, packet.addresses(about)[0], kind[0], kind[1], kind[2] + about[:512])
    way.tap.send(ether(way.mac, way.peer, error))
    way.wire.settle()
    check(f"mtu {mtu}" in way.wire.fe.run("ip", "route", "get", way.target), "the front-end has not learned it")
    sock.close()


def check_effects(ends):
    """All of it over one version of IP."""
    wire = Wire(ipv6=True)
    veth(wire.fe, "alt0", wire.b, "b1", ALT_MAC, NODE_MAC)
    alt = Tap(wire.b, "b1")
    for device in ("in0", "out0", "alt0"):
        wire.fe.sysctl(f"net.ipv4.neigh.{device}.locktime", 0)
        wire.fe.sysctl(f"net.ipv6.conf.{device}.keep_addr_on_down", 1)
        # Who asks for neighbours of IPv6 needs one, and who is asked whether it is still there.
        wire.fe.ip(f"addr add {LINK_LOCAL}/64 dev {device}")
    flows = [Flow(50_000, ends=ends, port=port, direct=direct) for port, direct in ((80, False), (81, True))]
    for known in flows:
        wire.fep.add_service(known.service, [known.node], method="dr" if known.direct else "nat")
        known.begin(wire)
    for known in flows:
        for request in (True, False):
            way = Way(wire, known, request)
            routes(way, alt)
            neighbours(way)
            devices(way)
            mtus(way)
