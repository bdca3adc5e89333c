#!/usr/bin/env python3
# qemu: --with tests/lib --smp 2
"""Two processors at once: clients that both see first, and configurations that change under traffic."""

import mmap
import os
import struct
import sys
import threading
import time
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import op  # noqa: E402
from fep_clients import NODE_OF_MAC, OTHER, UDP, Clients, Flood, serve, traffic  # noqa: E402
from fep_test import case, check, equal, finish, load_module, note, wait_for  # noqa: E402
from fep_wire import Wire, node  # noqa: E402

RACES = 4000
STEADY = 4000


def racer(wire, cpu, both, frames):
    """A process that sends each frame together with the other processor's racer."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.sched_setaffinity(0, {cpu})
        mine, other = (8, 0) if cpu else (0, 8)
        view = memoryview(both).cast("Q")
        mine, other = mine // 8, other // 8
        for at, frame in enumerate(frames, 1):
            view[mine] = at
            while view[other] < at:
                pass
            wire.client.send(frame)
        os._exit(0)
    finally:
        os._exit(1)


def collect(tap, count, seconds=60):
    """So many frames, as (client, node)."""
    frames = []

    def enough():
        frames.extend(tap.take_fast())
        return len(frames) >= count

    wait_for(enough, f"{count} frames", seconds)
    return [(struct.unpack_from("!I", frame, 42)[0], NODE_OF_MAC[frame[:6]]) for frame in frames]


def races(wire):
    fep = wire.fep
    fep.add_service(UDP, [(node(n), 53) for n in (1, 2, 3, 4)])
    with case(f"{RACES} new clients whose first packets meet on two processors: one route each"):
        frames = Clients().take(RACES)
        both = mmap.mmap(-1, mmap.PAGESIZE)
        wire.nodes.take_fast()
        before = fep.counters()
        pids = [racer(wire, cpu, both, frames) for cpu in (0, 1)]
        pairs = collect(wire.nodes, 2 * RACES)
        for pid in pids:
            equal(os.waitpid(pid, 0)[1], 0, "status of a racer")
        after = fep.counters()
        equal(after["route_allocated"] - before["route_allocated"], RACES, "routes allocated")
        equal(fep.status().routes, RACES, "routes")
        routes = fep.routes()
        equal((len(routes), len({route.client for route in routes})), (RACES, RACES), "routes listed")
        nodes_of = {}
        torn = [pair for pair in pairs if nodes_of.setdefault(*pair) != pair[1]]
        equal((len(pairs), torn), (2 * RACES, []), "requests, and clients with two nodes")
        equal(sum(record.routes for record in fep.dump("backends")), RACES, "routes of the nodes")
        # Who loses a race takes no turn.
        equal(Counter(nodes_of.values()), {n: RACES // 4 for n in (1, 2, 3, 4)}, "shares")
    with case("all of them flushed from both processors at once"):
        deleted = []
        threads = [threading.Thread(target=lambda: deleted.append(fep.flush())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal((sum(deleted), fep.status().routes), (RACES, 0), "deleted, left")
    fep.commit(op("service_del", UDP))


def churn(fep, stop, done, itself):
    """Changes everything but the service under test, over and over; `itself`: what changes nothing of it."""
    turn = 0
    while not stop.is_set():
        turn += 1
        fep.commit(op("service_add", OTHER), op("backend_add", OTHER, (node(1), 54), weight=1),
                   op("backend_add", OTHER, (node(2), 54), weight=1), op("limit_set", limit=100_000 + turn))
        fep.commit(op("backend_set", OTHER, (node(1), 54), weight=turn % 7), op("backend_fail", OTHER, (node(2), 0)))
        fep.commit(op("device_attach", device="spare0"), op("backend_restore", OTHER, (node(2), 0)))
        fep.commit(op("device_detach", device="spare0"), op("service_del", OTHER))
        if itself:
            fep.weight(UDP, (node(1), 53), 1)
        fep.dump("services")
        fep.dump("backends")
        if turn % 5 == 0:
            fep.routes()
    done.append(turn)


def changes_under_traffic(wire, itself):
    fep = wire.fep
    fep.add_service(UDP, [(node(n), 53) for n in (1, 2, 3, 4)])
    frames = Clients(50_000).take(STEADY)
    what = "services change, also this one" if itself else "other services change"
    with case(f"{what}, under traffic: no packet is lost, no client moved"):
        stop, done = threading.Event(), []
        thread = threading.Thread(target=churn, args=(fep, stop, done, itself))
        thread.start()
        before = fep.counters()
        nodes_of = {}
        start = time.monotonic()
        rounds = 0
        while rounds < 3 or time.monotonic() - start < 6:
            rounds += 1
            for at in range(0, STEADY, 400):
                for frame in frames[at:at + 400]:
                    wire.client.send(frame)
                for client, there in collect(wire.nodes, 400):
                    equal(nodes_of.setdefault(client, there), there, f"node of client {client}")
        stop.set()
        thread.join()
        after = fep.counters()
        grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        equal(grown, {"forward_request": rounds * STEADY, "route_allocated": STEADY}, "counters")
        shares = Counter(nodes_of.values())
        note(f"{rounds * STEADY} packets, {done[0]} rounds of changes, shares {dict(shares)}")
        check(done[0] >= 5, "changes")
        # Also of the service itself: its scheduler goes on across configurations.
        equal(shares, {n: STEADY // 4 for n in (1, 2, 3, 4)}, "shares")
    fep.commit(op("service_del", UDP))


def everything_at_once(wire):
    with case("failures, removals, flushes and lists under traffic on both processors: the sums are right"):
        fep = wire.fep
        serve(fep)
        requests, replies = traffic(1000)
        floods = [Flood(wire.c, "c0", requests, 0), Flood(wire.b, "b0", replies, 1)]
        end = time.monotonic() + 8
        turn = 0
        while time.monotonic() < end:
            turn += 1
            fep.commit(op("backend_fail", None, (node(1), 0)))
            # Its routes are gone, however many packets are in flight.
            equal(fep.routes(backend=(node(1), 0)), [], "routes to the failed node")
            fep.commit(op("backend_restore", None, (node(1), 0)))
            fep.commit(op("backend_del", UDP, (node(2), 53)))
            fep.commit(op("backend_add", UDP, (node(2), 53), weight=1))
            if turn % 3 == 0:
                fep.flush(service=UDP)
        for flood in floods:
            flood.stop()
        wait_for(lambda: len({str(fep.counters()) for _ in range(3)}) == 1, "silence")
        status = fep.status()
        counters = status.counters
        equal(counters["route_allocated"] - counters["route_expired"] - counters["route_deleted"], status.routes,
              "routes allocated and not ended")
        equal(len(fep.routes()), status.routes, "routes listed")
        equal(sum(record.routes for record in fep.dump("backends")), status.routes, "routes of the nodes")
        equal(sum(record.routes for record in fep.dump("services")), status.routes, "routes of the services")
        note(f"{turn} rounds, {counters['route_allocated']} routes made")
        check(turn > 3, "rounds")


def main():
    load_module("routes_limit=100000")
    wire = Wire()
    races(wire)
    wire.fe.ip("link add spare0 type dummy")
    changes_under_traffic(wire, itself=False)
    changes_under_traffic(wire, itself=True)
    everything_at_once(wire)
    finish()


main()
