#!/usr/bin/env python3
# qemu: --smp 2 --mem 768M --with tests/lib
"""The table grows and shrinks under traffic: nobody misses a route, and lists are whole."""

import os
import sys
import threading
import time
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_pktgen  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_clients import TCP, TCP6, UDP, UDP6, Clients, Flood, chosen, request, segment  # noqa: E402
from fep_packet import ACK, PSH, SYN  # noqa: E402
from fep_test import case, check, equal, finish, load_module, note, skip, wait_for  # noqa: E402
from fep_wire import V4, V6, Wire  # noqa: E402

FLOWS, MANY, SMALLEST = 150, 262_144, 1024


def received(wire):
    """Packets that the front-end's device towards the clients has got, and how many it lost."""
    with wire.fe, open("/proc/thread-self/net/dev", encoding="ascii") as file:
        line = next(line for line in file if line.strip().startswith("out0:")).split()
    return int(line[2])


class Established:
    """Connections in service whose segments a process sends all the while: a segment that misses its
    route is passed on to the host, and counted as pass_no_route."""

    def __init__(self, wire):
        self.wire = wire
        for service, ends in ((TCP, V4), (TCP6, V6)):
            wire.fep.add_service(service, [(ends.node(n), 80) for n in (1, 2)])
        numbers = Clients().numbers(FLOWS)
        frames = []
        for service in (TCP, TCP6):
            for flags in (SYN, ACK):
                chosen(wire, [segment(number, flags, service) for number in numbers])
            frames += [segment(number, PSH | ACK, service) for number in numbers]
        self.frames = frames

    def __enter__(self):
        self.wire.settle()
        self.before, self.received = self.wire.fep.counters(), received(self.wire)
        self.flood = Flood(self.wire.c, "c0", self.frames, 1, pause=0.01)
        return self

    def __exit__(self, *_):
        self.flood.stop()
        self.wire.settle()

    def counted(self):
        """What was counted meanwhile, and checks that every packet was."""
        wait_for(lambda: self.wire.fep.counters() == self.wire.fep.counters(), "silence")
        after = self.wire.fep.counters()
        grown = {name: after[name] - self.before[name] for name in after if after[name] != self.before[name]}
        packets = sum(count for name, count in grown.items() if not name.startswith("route_"))
        equal(packets, received(self.wire) - self.received, "packets counted, and received")
        return grown


def beside():
    """The calling thread leaves the generator its processor."""
    os.sched_setaffinity(threading.get_native_id(), {1})


class Lists:
    """Reads the list of the permanent routes over and over, in pages of some size."""

    def __init__(self, wire, services, capacity):
        self.wire, self.services, self.capacity = wire, services, capacity
        self.want = {service: Counter(self.read(service)) for service in services}
        self.wrong, self.count, self.stopped = [], 0, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def read(self, service):
        with self.wire.fe.fep() as fep:
            return [record[:72] for record in fep.dump("routes", service=service, capacity=self.capacity, raw=True)]

    def run(self):
        beside()
        while not self.stopped.wait(0.02):
            for service in self.services:
                got = Counter(self.read(service))
                if got != self.want[service]:
                    missing, twice = self.want[service] - got, got - self.want[service]
                    self.wrong.append(f"{len(missing)} missing, {len(twice)} too many")
                self.count += 1

    def stop(self):
        self.stopped.set()
        self.thread.join()
        equal(self.wrong[:3], [], "lists that were wrong")
        # One of each service at least was begun while the table changed.
        check(self.count >= 2, f"{self.count} lists")


class Sizes:
    """Notes how many buckets there are, over and over."""

    def __init__(self, wire):
        self.wire, self.seen, self.stopped = wire, [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        beside()
        with self.wire.fe.fep() as fep:
            while not self.stopped.wait(0.01):
                buckets = fep.status().buckets
                if not self.seen or self.seen[-1] != buckets:
                    self.seen.append(buckets)

    def stop(self):
        self.stopped.set()
        self.thread.join()
        return self.seen


def permanent(wire):
    """Routes of both versions of IP that stay."""
    services = (("udp", V4.vip, 55), ("udp", V6.vip, 55))
    for service, ends in zip(services, (V4, V6)):
        wire.fep.add_service(service, [(ends.node(n), 55) for n in (1, 2)])
        chosen(wire, [request(number, service) for number in range(400)])
        equal(len(wire.fep.routes(service=service)), 400, "permanent routes")
    return services


def grow(wire, established, services):
    fep = wire.fep
    fep.add_service(UDP, [(V4.node(n), 53) for n in (1, 2, 3, 4)])
    with case(f"from {SMALLEST} buckets to {MANY} routes: established flows go on without a single miss"):
        equal(fep.status().buckets, 2 * SMALLEST, "buckets, of both versions of IP")
        lists, sizes = Lists(wire, services, 64), Sizes(wire)
        start = time.monotonic()
        with established:
            fep_pktgen.new_clients(wire, UDP, MANY)
            seconds = time.monotonic() - start
        grown = established.counted()
        note(f"{seconds:.1f} s, {grown}, buckets {sizes.stop()}")
        equal(set(grown), {"forward_request", "route_allocated"}, "counters")
        equal(grown["route_allocated"], MANY, "routes allocated")
        check(len(sizes.seen) >= 5, f"buckets: {sizes.seen}")
        wait_for(lambda: fep.status().buckets >= MANY + SMALLEST, "buckets", 10)
        check(fep.status().buckets <= 4 * MANY + SMALLEST, f"{fep.status().buckets} buckets")
    with case("lists that were read meanwhile had every route that stayed, once"):
        lists.stop()
        note(f"{lists.count} lists")
    with case(f"all {MANY} new clients have a route, and shares are exact"):
        equal(fep.status().routes, MANY + 2 * FLOWS + 800, "routes")
        equal([b.routes for b in fep.dump("backends", service=UDP)], [MANY // 4] * 4, "routes of the nodes")
        before = fep.counters()
        fep_pktgen.new_clients(wire, UDP, 20_000)
        wait_for(lambda: fep.counters()["forward_request"] - before["forward_request"] == 20_000, "requests")
        equal(fep.counters()["route_allocated"], before["route_allocated"], "routes allocated for known clients")
        raw = fep.dump("routes", service=UDP, raw=True)
        equal((len(raw), len({record[24:48] for record in raw})), (MANY, MANY), "routes listed, different clients")


def shrink(wire, established, services):
    fep = wire.fep
    with case(f"from {MANY} routes back: established flows go on without a single miss"):
        lists, sizes = Lists(wire, services, 64), Sizes(wire)
        with established:
            equal(fep.flush(service=UDP), MANY, "deleted")
            wait_for(lambda: fep.status().buckets <= 8 * SMALLEST, "buckets", 20)
        grown = established.counted()
        note(f"{grown}, buckets {sizes.stop()}")
        equal((set(grown), grown["route_deleted"]), ({"forward_request", "route_deleted"}, MANY), "counters")
        equal(fep.status().routes, 2 * FLOWS + 800, "routes")
    with case("lists that were read meanwhile had every route that stayed, once"):
        lists.stop()
        note(f"{lists.count} lists")
    fep.commit(op("service_del", UDP))


def grow_ipv6(wire, established, services):
    """The other version's table is one of its own. There is no generator for its clients."""
    fep, count = wire.fep, 12_000
    fep.add_service(UDP6, [(V6.node(1), 53)])
    with case(f"IPv6: to {count} routes and back, without a single miss"):
        was = fep.status().buckets
        template = request(0, UDP6)
        frames = [template[:36] + (n >> 8).to_bytes(2, "big") + template[38:54] + (1024 + (n & 255)).to_bytes(2, "big")
                  + template[56:60] + b"\0\0" + template[62:] for n in range(count)]
        lists = Lists(wire, services, 64)
        with established:
            for at in range(0, count, 300):
                for frame in frames[at:at + 300]:
                    wire.client.send(frame)
                wire.settle()
            wait_for(lambda: fep.status().buckets >= was + count, "buckets", 10)
            equal(len(fep.routes(service=UDP6, raw=True)), count, "routes listed")
            equal(fep.flush(service=UDP6), count, "deleted")
            wait_for(lambda: fep.status().buckets <= was + SMALLEST, "buckets", 20)
        grown = established.counted()
        equal((set(grown), grown["route_allocated"]), ({"forward_request", "route_allocated", "route_deleted"}, count),
              "counters")
        lists.stop()
    fep.commit(op("service_del", UDP6))


def main():
    if not fep_pktgen.available():
        skip("resizing", "this kernel has no pktgen")
        finish()
    load_module()
    os.sched_setaffinity(0, {0})
    wire = Wire(ipv6=True)
    established = Established(wire)
    services = permanent(wire)
    grow(wire, established, services)
    shrink(wire, established, services)
    grow_ipv6(wire, established, services)
    finish()


main()
