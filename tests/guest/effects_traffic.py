#!/usr/bin/env python3
# qemu: --smp 2 --with tests/lib
"""Changes of routes, neighbours and devices while packets of both versions of IP and both methods run
both ways on one processor, and the changes are made on the other: when a command has returned, no
packet goes the old way any more, and what was not changed goes on."""

import os
import sys
import time
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import op  # noqa: E402
from fep_clients import Flood  # noqa: E402
from fep_flow import Flow  # noqa: E402
from fep_packet import Tap, addresses, mac_bytes, transport_at  # noqa: E402
from fep_test import case, check, equal, finish, load_module, note, veth, wait_for  # noqa: E402
from fep_wire import CLIENT_MAC, IN_MAC, NODE_MAC, OUT_MAC, V4, V6, Wire, node_mac  # noqa: E402

ALT_MAC, ALT_PEER, NEW_MAC = "02:fe:00:00:00:03", "02:be:00:00:00:a1", "02:be:00:00:00:b1"
ROUNDS = 2
BYTES = bytes(600)


class Scene:
    """The wires with all that runs over them."""

    def __init__(self, wire):
        self.wire = wire
        veth(wire.fe, "alt0", wire.b, "b1", ALT_MAC, NODE_MAC)
        self.taps = {"nodes": wire.nodes, "client": wire.client, "alt": Tap(wire.b, "b1")}
        self.flows = [Flow(50_000, ends=ends, port=port, direct=direct)
                      for ends in (V4, V6) for port, direct in ((80, False), (81, True))]
        for known in self.flows:
            wire.fep.add_service(known.service, [known.node], method="dr" if known.direct else "nat")
            known.begin(wire)
        for device in ("in0", "out0"):
            wire.fe.sysctl(f"net.ipv6.conf.{device}.keep_addr_on_down", 1)
        self.neighbours()
        self.floods = [Flood(wire.c, "c0", [known.request(BYTES) for known in self.flows], 1),
                       Flood(wire.b, "b0", [known.reply(BYTES) for known in self.flows], 1)]
        # Where each flow's packets go, by flow and way.
        self.usual = {(known, way): (("nodes", node_mac(1), IN_MAC) if way == "request" else
                                     ("client", CLIENT_MAC, OUT_MAC))
                      for known in self.flows for way in ("request", "reply")}

    def neighbours(self):
        self.wire.fe.ip(*(f"neigh replace {address} lladdr {mac} dev {device} nud permanent" for ends in (V4, V6)
                          for address, device, mac in ((ends.node(1), "in0", node_mac(1)),
                                                       (ends.client, "out0", CLIENT_MAC),
                                                       (ends.node(1), "alt0", ALT_PEER), (ends.client, "alt0", ALT_PEER))))

    def key(self, frame):
        """The flow and way of a frame that was forwarded."""
        packet = frame[14:]
        source, destination = addresses(packet)
        at, _ = transport_at(packet)
        ports = int.from_bytes(packet[at:at + 2], "big"), int.from_bytes(packet[at + 2:at + 4], "big")
        for known in self.flows:
            if (source, ports[0]) == known.client and ports[1] == known.node[1]:
                return known, "request"
            if (destination, ports[1]) == known.client and (source, ports[0]) == known.service[1:]:
                return known, "reply"
        return None

    def seen(self, seconds=0.04):
        """How many packets of each flow went each way in the next moment: tap, link-layer addresses."""
        # What was on its way.
        time.sleep(0.02)
        for tap in self.taps.values():
            tap.take_fast()
        time.sleep(seconds)
        found = Counter()
        for name, tap in self.taps.items():
            heads = Counter(frame[:82] for frame in tap.take_fast() if frame[12] in (0x08, 0x86) and not frame[0] & 1)
            for head, count in heads.items():
                found[self.key(head), (name, head[:6], head[6:12])] += count
        return found

    def goes(self, what, changed=(), there=None):
        """The flows and ways of `changed` go `there` (None: nowhere), all others as usual."""
        want = {}
        for key, usual in self.usual.items():
            way = there if key in changed else usual
            if way:
                want[key] = (way[0], mac_bytes(way[1]), mac_bytes(way[2]))
        found = self.seen()
        if set(found) != set(want.items()):
            # Whoever sends may not have had its turn.
            found += self.seen(0.3)
        strange = {key: count for key, count in found.items() if key not in want.items() and key[0]}
        equal(strange, {}, f"{what}: packets on the wrong way")
        equal({key for key in want if not found[key, want[key]]}, set(), f"{what}: flows without packets")


def changes(scene, ends, way):
    """Name, lines for `ip` to make a change and to take it back, and where the packets go then."""
    usual = scene.usual[next(key for key in scene.usual if key[0].ends is ends and key[1] == way)]
    target = ends.node(1) if way == "request" else ends.client
    device = "in0" if way == "request" else "out0"
    alone = ends.alone(target)
    yield "another device", [f"route add {alone} dev alt0"], [f"route del {alone} dev alt0"], \
        ("alt", ALT_PEER, ALT_MAC)
    yield "another link-layer address", [f"neigh replace {target} lladdr {NEW_MAC} dev {device} nud permanent"], \
        [f"neigh replace {target} lladdr {usual[1]} dev {device} nud permanent"], (usual[0], NEW_MAC, usual[2])
    yield "no way", [f"route add blackhole {alone}"], [f"route del blackhole {alone}"], None
    gateway = target.rpartition("." if ends is V4 else ":")[0] + (".61" if ends is V4 else ":61")
    yield "a gateway", [f"neigh replace {gateway} lladdr {NEW_MAC} dev {device} nud permanent",
                        f"route add {alone} via {gateway}"], [f"route del {alone}"], (usual[0], NEW_MAC, usual[2])


def one_by_one(scene):
    ip = scene.wire.fe.ip
    for ends in (V4, V6):
        for way in ("request", "reply"):
            keys = {key for key in scene.usual if key[0].ends is ends and key[1] == way}
            for name, make, undo, there in changes(scene, ends, way):
                with case(f"ipv{ends.version} {way}, {ROUNDS} times: {name}, and back"):
                    for _ in range(ROUNDS):
                        ip(*make)
                        try:
                            scene.goes(name, keys, there)
                        finally:
                            ip(*undo)
                        scene.goes("back")


def devices(scene):
    for device in ("in0", "out0"):
        with case(f"{device} down and up, {ROUNDS} times"):
            for _ in range(ROUNDS):
                scene.wire.fe.ip(f"link set {device} down")
                # One way has no way out, the other does not arrive.
                scene.goes("down", set(scene.usual))
                scene.wire.fe.ip(f"link set {device} up")
                scene.neighbours()
                wait_for(lambda device=device: "state UP" in scene.wire.fe.run("ip", "link", "show", device), "up")
                time.sleep(0.1)
                scene.goes("up")


def unhooked(scene):
    with case("a device detached and attached again: what arrives by it is the stack's meanwhile"):
        for device, way in (("out0", "request"), ("in0", "reply")):
            keys = {key for key in scene.usual if key[1] == way}
            for _ in range(ROUNDS):
                scene.wire.fep.commit(op("device_detach", device=device))
                scene.goes("detached", keys)
                scene.wire.fep.commit(op("device_attach", device=device))
                scene.goes("attached")


def main():
    load_module()
    os.sched_setaffinity(0, {0})
    scene = Scene(Wire(ipv6=True))
    with case("all flows run"):
        wait_for(lambda: len(scene.seen()) == len(scene.usual), "packets of every flow")
        scene.goes("at first")
    before, start = scene.wire.fep.counters(), time.monotonic()
    one_by_one(scene)
    devices(scene)
    unhooked(scene)
    after = scene.wire.fep.counters()
    for flood in scene.floods:
        flood.stop()
    with case("nothing else happened to packets"):
        grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        seconds = time.monotonic() - start
        note(f"{grown}, {grown['forward_request'] / seconds:.0f} requests a second")
        check(set(grown) <= {"forward_request", "forward_reply", "drop_no_output", "pass_no_service"}, f"{grown}")
    finish()


main()
