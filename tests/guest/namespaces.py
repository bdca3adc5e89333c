#!/usr/bin/env python3
# qemu: --with tests/lib --smp 2
"""Network namespaces next to each other, and devices and namespaces that go away under traffic."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import errno_name, op  # noqa: E402
from fep_clients import OTHER, UDP, Flood, request, serve, traffic  # noqa: E402
from fep_test import (Namespace, case, check, equal, finish, load_module, run, unload_module, veth,  # noqa: E402
                      wait_for)
from fep_wire import (CLIENT, CLIENT_MAC, CLIENTS, FE_OUT, IN_MAC, NODE_MAC, OUT_MAC, VIP, Wire, node,  # noqa: E402
                      node_mac)


def arrives(wire, frame, what):
    """The node that a request reaches."""
    wire.take()
    wire.client.send(frame)
    frames = wire.nodes.wait(lambda seen: seen[23:24] == b"\x11", what)
    return frames[-1][:6]


def two_at_once(first, second):
    with case("the same service in two namespaces, with nodes of its own"):
        for wire, number in ((first, 1), (second, 2)):
            wire.fep.add_service(UDP, [(node(number), 53)])
        for number in range(50):
            for wire, there in ((first, 1), (second, 2)):
                equal(arrives(wire, request(number), "request"), packet.mac_bytes(node_mac(there)), "node")
        for wire, there in ((first, 1), (second, 2)):
            equal({route.backend for route in wire.fep.routes()}, {(node(there), 53)}, "nodes of the routes")
            equal((wire.fep.status().routes, wire.fep.status().devices), (50, 2), "routes, devices")
    with case("limits, flushes, failures and counters are a namespace's own"):
        before = second.fep.config()
        counters = second.fep.counters()
        first.fep.commit(op("limit_set", limit=60), op("backend_fail", None, (node(1), 0)), op("service_add", OTHER))
        first.fep.flush()
        equal(second.fep.config(), before, "configuration of the other")
        equal((second.fep.counters(), second.fep.status().routes), (counters, 50), "counters and routes of the other")
        first.fep.commit(op("backend_restore", None, (node(1), 0)), op("service_del", OTHER))
    with case("a namespace's devices cannot be attached from another"):
        out = second.fep.try_commit([op("device_attach", device="only1")])
        equal((errno_name(out.errno), out.reason), ("ENODEV", "no_such_device"), "refusal")
        first.fep.commit(op("device_attach", device="only1"))
        first.fep.commit(op("device_detach", device="only1"))
    for wire in (first, second):
        wire.fep.commit(op("service_del", UDP), op("limit_set", limit=100_000))


def growing(fep, what):
    """Waits for more requests to be forwarded."""
    before = fep.counters()["forward_request"]
    wait_for(lambda: fep.counters()["forward_request"] > before + 200, what, 20)


def recreate(wire, name="out0"):
    """The client's side of the wire, anew."""
    veth(wire.fe, name, wire.c, "c0", OUT_MAC, CLIENT_MAC)
    wire.fe.ip(f"addr add {FE_OUT}/24 dev {name}", f"addr add {VIP}/32 dev {name}",
               f"neigh replace {CLIENT} lladdr {CLIENT_MAC} dev {name} nud permanent",
               f"neigh replace 192.0.2.254 lladdr {CLIENT_MAC} dev {name} nud permanent",
               f"route replace {CLIENTS} via 192.0.2.254")


def devices(wire):
    requests, replies = traffic(500)
    floods = [Flood(wire.c, "c0", requests), Flood(wire.b, "b0", replies)]
    serve(wire.fep)
    fep = wire.fep
    growing(fep, "traffic")
    with case("a device is renamed under traffic"):
        wire.fe.ip("link set out0 name outside")
        equal(sorted(fep.devices()), ["in0", "outside"], "devices")
        growing(fep, "traffic on the renamed device")
        out = fep.try_commit([op("device_detach", device="out0")])
        equal(out.reason, "no_such_device", "the old name")
        fep.commit(op("device_detach", device="outside"), op("device_attach", device="outside"))
        out = fep.try_commit([op("device_attach", device="outside")])
        equal(out.reason, "device_attached", "the new name")
        wire.fe.ip("link set outside name out0")
        growing(fep, "traffic on the device with its old name")
    with case("a device goes down and up under traffic"):
        wire.fe.ip("link set out0 down")
        equal(sorted(fep.devices()), ["in0", "out0"], "devices")
        wire.fe.ip("link set out0 up", f"neigh replace {CLIENT} lladdr {CLIENT_MAC} dev out0 nud permanent",
                   f"neigh replace 192.0.2.254 lladdr {CLIENT_MAC} dev out0 nud permanent",
                   f"route replace {CLIENTS} via 192.0.2.254")
        growing(fep, "traffic")
    for turn in range(5):
        with case(f"a device is deleted under traffic and made again, number {turn + 1}"):
            wire.fe.ip("link del out0")
            equal((fep.devices(), fep.status().devices), (["in0"], 1), "devices")
            check(fep.status().routes > 0, "the routes stay")
            recreate(wire)
            equal(fep.devices(), ["in0"], "devices, with one of the same name")
            fep.attach("out0")
            growing(fep, "traffic on the new device")
    with case("the nodes' device is deleted under traffic and made again"):
        wire.fe.ip("link del in0")
        equal(fep.devices(), ["out0"], "devices")
        before = fep.counters()["drop_no_output"]
        wait_for(lambda: fep.counters()["drop_no_output"] > before, "packets without a way out")
        veth(wire.fe, "in0", wire.b, "b0", IN_MAC, NODE_MAC)
        wire.fe.ip("addr add 10.0.0.1/24 dev in0",
                   *(f"neigh replace {node(n)} lladdr {node_mac(n)} dev in0 nud permanent" for n in range(1, 5)))
        fep.attach("in0")
        growing(fep, "traffic by the new device")
    with case("a device is moved to another namespace under traffic: it is attached no more"):
        other = Namespace("elsewhere")
        wire.fe.ip("link set out0 netns elsewhere")
        equal(fep.devices(), ["in0"], "devices")
        theirs = other.fep()
        equal(theirs.devices(), [], "devices of the other namespace")
        other.ip("link set out0 up")
        theirs.attach("out0")
        counters = theirs.counters()
        wait_for(lambda: theirs.counters()["pass_no_service"] > counters["pass_no_service"], "packets there")
        other.ip("link set out0 netns " + wire.fe.name)
        equal((theirs.devices(), fep.devices()), ([], ["in0"]), "devices of both")
        theirs.close()
        other.delete()
    for flood in floods:
        flood.stop()


def close(wire):
    """Lets go of everything that keeps the front-end's namespace."""
    wire.fep.close()
    wire.passed_out.close()
    wire.passed_in.close()
    wire.fe.delete()


def has_device(namespace, name):
    return f" {name}" in namespace.run("ip", "-o", "link")


def deleted_namespaces():
    for turn in range(5):
        with case(f"a namespace is deleted under traffic, number {turn + 1}"):
            wire = Wire(suffix=f"d{turn}")
            requests, replies = traffic(500)
            floods = [Flood(wire.c, "c0", requests), Flood(wire.b, "b0", replies)]
            serve(wire.fep)
            growing(wire.fep, "traffic")
            close(wire)
            # A pair of devices goes with either of its ends.
            wait_for(lambda wire=wire: not has_device(wire.c, "c0") and not has_device(wire.b, "b0"),
                     "the namespace's devices are gone", 30)
            for flood in floods:
                flood.stop()
            for tap in (wire.client, wire.nodes):
                tap.close()
            wire.c.delete()
            wire.b.delete()
    with case("a new namespace of the same name is empty and works"):
        wire = Wire(suffix="d0")
        equal((wire.fep.status().services, wire.fep.status().routes), (0, 0), "services, routes")
        wire.fep.add_service(UDP, [(node(1), 53)])
        arrives(wire, request(1), "request")
        close(wire)
    with case("many namespaces come and go"):
        for _ in range(3):
            many = [Namespace(f"many{n}") for n in range(8)]
            for namespace in many:
                namespace.ip("link add d0 type dummy")
                with namespace.fep() as fep:
                    serve(fep)
                    fep.attach("d0")
            for namespace in many:
                namespace.delete()


def main():
    load_module()
    first, second = Wire(suffix="1"), Wire(suffix="2")
    first.fe.ip("link add only1 type dummy")
    two_at_once(first, second)
    devices(first)
    deleted_namespaces()
    with case("the other namespace has not noticed"):
        second.fep.add_service(UDP, [(node(3), 53)])
        equal(arrives(second, request(1), "request"), packet.mac_bytes(node_mac(3)), "node")
    with case("unloaded while namespaces are being deleted"):
        close(first)
        second.fep.close()
        run("ip", "netns", "del", "c1")
        unload_module()
    finish()


main()
