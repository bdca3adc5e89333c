#!/usr/bin/env python3
# qemu: --smp 2 --mem 768M --with tests/lib
"""The table under stress: clients that come, flushes, failures, lists and timeouts on two processors
while it grows and shrinks; its limits; and unloading in the middle of it."""

import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
import fep_pktgen  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_clients import OTHER, UDP, UDP6, Clients, Flood, chosen, request  # noqa: E402
from fep_packet import ether  # noqa: E402
from fep_test import (case, check, equal, finish, load_module, note, skip, unload_module, wait_for)  # noqa: E402
from fep_wire import CLIENT_MAC, OUT_MAC, V4, V6, Wire  # noqa: E402

CLIENT_ROUTES = 64


def is_silent(fep):
    before = fep.counters()
    time.sleep(0.05)
    return fep.counters() == before


def sums(fep):
    """What has to add up when nothing runs."""
    wait_for(lambda: is_silent(fep), "silence")
    status = fep.status()
    counters = status.counters
    equal(counters["route_allocated"] - counters["route_expired"] - counters["route_deleted"], status.routes,
          "routes allocated and not ended")
    equal(sum(record.routes for record in fep.dump("backends")), status.routes, "routes of the nodes")
    equal(sum(record.routes for record in fep.dump("services")), status.routes, "routes of the services")
    listed = fep.dump("routes", raw=True)
    equal(len({record[:72] for record in listed}), len(listed), "different routes listed")
    return status.routes, len(listed)


def churn(wire):
    fep = wire.fep
    for service, ends in ((UDP, V4), (UDP6, V6)):
        fep.add_service(service, [(ends.node(n), 53) for n in (1, 2, 3)])
    # Routes of this one time out all the while.
    fep.add_service(OTHER, [(V4.node(n), 54) for n in (1, 2)], timeouts=(0, 0, 0, 0, 1))
    with case("clients, flushes, failures, timeouts and lists at once, while the table grows and shrinks"):
        floods = [Flood(wire.c, "c0", [request(n, UDP6) for n in range(1500)], 1, pause=0.05),
                  Flood(wire.c, "c0", [request(n, OTHER) for n in range(1500)], 1, pause=0.3)]
        stopped, failures, turns, sizes = threading.Event(), [], [], set()

        def repeat(work):
            os.sched_setaffinity(threading.get_native_id(), {1})
            turn = 0
            try:
                with wire.fe.fep() as own:
                    while not stopped.is_set():
                        work(own, turn)
                        turn += 1
                turns.append(turn)
            except BaseException as error:  # pylint: disable=broad-except
                failures.append(f"{type(error).__name__}: {error}")

        def fail(own, turn):
            there = (V4.node(1 + turn % 3), 0) if turn % 2 else (V6.node(1 + turn % 3), 0)
            own.commit(op("backend_fail", None, there))
            equal(own.dump("routes", backend=there, raw=True), [], "routes to the failed node")
            own.commit(op("backend_restore", None, there))
            time.sleep(0.1)

        def lists(own, _):
            seen = own.dump("routes", service=UDP6, raw=True)
            equal(len({record[24:48] for record in seen}), len(seen), "different clients listed")
            sizes.add(own.status().buckets)
            time.sleep(0.02)

        def flush(own, turn):
            own.flush(service=(UDP6, OTHER)[turn % 2])
            time.sleep(0.35)

        threads = [threading.Thread(target=repeat, args=(work,)) for work in (fail, lists, flush)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 14
        rounds = 0
        while time.monotonic() < end:
            rounds += 1
            fep_pktgen.new_clients(wire, UDP, 15_000)
            fep.flush(service=UDP)
            wait_for(lambda: fep.status().buckets <= 8192, "the table has shrunk", 15)
        stopped.set()
        for thread in threads:
            thread.join()
        for flood in floods:
            flood.stop()
        equal(failures, [], "failures")
        note(f"{rounds} rounds, {turns} turns of the others, buckets {sorted(sizes)}, {fep.counters()}")
        check(rounds >= 2 and min(turns) >= 5, "rounds")
        routes, listed = sums(fep)
        # Those of OTHER may be over, and still in the table.
        check(listed <= routes, f"{routes} routes, {listed} listed")
        fep.flush(service=OTHER)
        routes, listed = sums(fep)
        equal(routes, listed, "routes, and those listed")
        equal(fep.flush(), routes, "deleted")
        equal((fep.status().routes, fep.routes()), (0, []), "left")
    fep.commit(*(op("service_del", service) for service in (UDP, UDP6, OTHER)))


def both_versions(wire):
    fep = wire.fep
    for service, ends in ((UDP, V4), (UDP6, V6)):
        fep.add_service(service, [(ends.node(1), 53)])
    with case("one limit for both versions of IP: exactly so many, whichever comes first"):
        fep.commit(op("limit_set", limit=1000))
        clients = Clients(10_000)
        for four, six in ((300, 700), (700, 300), (0, 1000), (999, 1), (500, 500)):
            fep.flush()
            before = fep.counters()["drop_table_full"]
            first = chosen(wire, clients.take(four))
            second = chosen(wire, clients.take(six, UDP6))
            equal((len(first), len(second), fep.status().routes), (four, six, 1000), "clients let in, routes")
            equal(chosen(wire, clients.take(30) + clients.take(30, UDP6)), [], "clients beyond the limit")
            equal(fep.counters()["drop_table_full"] - before, 60, "drop_table_full")
            known = chosen(wire, [request(number, UDP6) for number, _ in second])
            equal(known, second, "known clients")
    with case("the limit is never exceeded by two processors with clients of both versions"):
        fep.flush()
        numbers = clients.numbers(3000)
        floods = [Flood(wire.c, "c0", [request(number) for number in numbers], 0),
                  Flood(wire.c, "c0", [request(number, UDP6) for number in numbers], 1)]
        seen = []
        for _ in range(8):
            fep.flush()
            end = time.monotonic() + 0.4
            while time.monotonic() < end:
                seen.append(fep.status().routes)
        # Nobody is kept out for good where there is room.
        wait_for(lambda: fep.status().routes == 1000, "a full table")
        for flood in floods:
            flood.stop()
        equal(max(seen), 1000, "most routes seen")
        equal((len(fep.routes()), sums(fep)), (1000, (1000, 1000)), "routes listed")
        counted = {":" in record.service[1]: record.routes for record in fep.dump("services")}
        note(f"{len(seen)} looks, {counted}")
    fep.commit(op("service_del", UDP), op("service_del", UDP6), op("limit_set", limit=500_000))


def one_client(wire, ends):
    """A client port has so many routes at the most: they all hang in one chain."""
    fep, ports = wire.fep, range(20_000, 20_000 + CLIENT_ROUTES + 6)
    services = [("udp", ends.vip, port) for port in ports]
    fep.commit(*(op("service_add", service) for service in services),
               *(op("backend_add", service, (ends.node(1), service[2]), weight=1) for service in services))
    frames = [ether(OUT_MAC, CLIENT_MAC, packet.udp(ends.client, ends.vip, 7000, port, b"data")) for port in ports]
    with case(f"ipv{ends.version}: a client port has {CLIENT_ROUTES} routes at the most, others are not concerned"):
        outcome = wire.exchange(*frames)
        equal((len(outcome.nodes), outcome.counters),
              (CLIENT_ROUTES, {"forward_request": CLIENT_ROUTES, "route_allocated": CLIENT_ROUTES, "drop_client_full": 6}),
              "forwarded, counters")
        equal(wire.exchange(*frames).counters, {"forward_request": CLIENT_ROUTES, "drop_client_full": 6}, "again")
        counted = {s.service: s.counters["drop_client_full"] for s in fep.dump("services")}
        equal([counted[service] for service in services], [0] * CLIENT_ROUTES + [2] * 6, "counters of the services")
        other = [ether(OUT_MAC, CLIENT_MAC, packet.udp(ends.client, ends.vip, 7001, port, b"data")) for port in ports[-6:]]
        equal(wire.exchange(*other).counters, {"forward_request": 6, "route_allocated": 6}, "another port of the client")
    with case(f"ipv{ends.version}: when one has ended another may come"):
        equal(fep.flush(service=services[0]), 1, "deleted")
        equal(wire.exchange(*frames[-6:]).counters,
              {"forward_request": 1, "route_allocated": 1, "drop_client_full": 5}, "counters")
    fep.commit(*(op("service_del", service) for service in services))


def unloading(wire):
    with case("unloading while the table grows, and while it shrinks"):
        for tap in (wire.passed_out, wire.passed_in):
            tap.close()
        for turn in range(6):
            with wire.fe.fep() as fep:
                if turn:
                    fep.attach("out0", "in0")
                fep.add_service(UDP, [(V4.node(1), 53)])
                fep_pktgen.new_clients(wire, UDP, 9_000)
                if turn % 2:
                    fep.flush()
            wire.fep.close()
            unload_module()
            load_module()
        with wire.fe.fep() as fep:
            equal((fep.status().routes, fep.status().buckets), (0, 0), "routes, buckets")


def main():
    if not fep_pktgen.available():
        skip("resizing", "this kernel has no pktgen")
        finish()
    load_module()
    wire = Wire(ipv6=True)
    churn(wire)
    both_versions(wire)
    for ends in (V4, V6):
        one_client(wire, ends)
    unloading(wire)
    finish()


main()
