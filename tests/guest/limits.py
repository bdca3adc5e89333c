#!/usr/bin/env python3
# qemu: --with tests/lib
"""The limit of the allocated-route table, and the timeouts that end routes."""

import contextlib
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import op  # noqa: E402
from fep_clients import OTHER, TCP, UDP, Clients, chosen, client_address, request, segment  # noqa: E402
from fep_packet import ACK, FIN, RST, SYN, ether  # noqa: E402
from fep_test import case, check, equal, finish, load_module, run, unload_module, wait_for  # noqa: E402
from fep_wire import IN_MAC, Wire, node, node_mac  # noqa: E402

CLIENTS = Clients()
SYN_SECONDS, OPEN_SECONDS, CLOSING_SECONDS, RESET_SECONDS, UDP_SECONDS = TIMEOUTS = (3, 7, 5, 2, 4)


def limit(wire):
    fep = wire.fep
    fep.add_service(UDP, [(node(1), 53), (node(2), 53)])
    with case("at the limit new clients are refused and counted; the others never suffer"):
        fep.commit(op("limit_set", limit=100))
        frames = CLIENTS.take(150)
        seen = chosen(wire, frames)
        equal(len(seen), 100, "clients that got through")
        status = fep.status()
        equal((status.routes, status.limit, status.counters["drop_table_full"]), (100, 100, 50), "status")
        equal(fep.dump("services")[0].counters["drop_table_full"], 50, "counter of the service")
        equal(chosen(wire, frames), seen, "the same clients again")
        equal(chosen(wire, CLIENTS.take(1000)), [], "a thousand more")
        equal(chosen(wire, frames[:100]), seen, "the same clients after that")
        equal(fep.counters()["drop_table_full"], 1100, "counter")
    with case("a raised limit lets them in"):
        fep.commit(op("limit_set", limit=120))
        got = chosen(wire, frames)
        equal((len(got), got[:100]), (120, seen), "clients that got through")
        equal(fep.status().routes, 120, "routes")
    with case("a limit below what is there ends nothing"):
        fep.commit(op("limit_set", limit=1))
        equal(chosen(wire, frames), got, "known clients")
        equal(fep.status().routes, 120, "routes")
    with case("room that a flush or a failure makes is used"):
        fep.commit(op("limit_set", limit=120))
        fep.commit(op("backend_fail", None, (node(2), 0)))
        equal(fep.status().routes, 60, "routes")
        equal(len(chosen(wire, CLIENTS.take(100))), 60, "new clients that got through")
        equal(fep.status().routes, 120, "routes")
    fep.commit(op("service_del", UDP), op("limit_set", limit=100_000))
    equal(fep.status().routes, 0, "routes")


def room_after_timeouts(wire):
    with case("room that timeouts make is used"):
        wire.fep.add_service(UDP, [(node(1), 53)], timeouts=(0, 0, 0, 0, 1))
        wire.fep.commit(op("limit_set", limit=50))
        equal(len(chosen(wire, CLIENTS.take(60))), 50, "clients that got through")
        wait_for(lambda: len(chosen(wire, CLIENTS.take(1))) == 1, "room for a new client", 12)
        wait_for(lambda: wire.fep.status().routes == 0, "no routes", 12)
        wire.fep.commit(op("service_del", UDP), op("limit_set", limit=100_000))


def from_node(wire, number, flags):
    address, port = client_address(number)
    wire.from_node(packet.tcp(node(1), address, 80, port, flags, ack=1))


def tcp_route(wire, *steps):
    """A new client that goes through these steps: ("c", FLAGS) or ("n", FLAGS)."""
    number, = CLIENTS.numbers(1)
    for side, flags in steps:
        if side == "c":
            wire.client.send(segment(number, flags))
        else:
            from_node(wire, number, flags)
    return client_address(number)


OPENING = [("c", SYN), ("n", SYN | ACK), ("c", ACK)]
STATES = [
    ("syn_sent", SYN_SECONDS, [("c", SYN)]),
    ("syn_received", SYN_SECONDS, [("c", SYN), ("n", SYN | ACK)]),
    ("established", OPEN_SECONDS, OPENING),
    ("fin_wait", CLOSING_SECONDS, [*OPENING, ("c", FIN | ACK)]),
    ("fin_wait", CLOSING_SECONDS, [*OPENING, ("n", FIN | ACK)]),
    ("time_wait", CLOSING_SECONDS, [*OPENING, ("c", FIN | ACK), ("n", FIN | ACK), ("c", ACK)]),
    ("closed", RESET_SECONDS, [*OPENING, ("c", RST)]),
    ("closed", RESET_SECONDS, [*OPENING, ("n", RST | ACK)]),
    ("closed", RESET_SECONDS, [("c", SYN), ("n", RST | ACK)]),
]


def timeouts(wire):
    fep = wire.fep
    for service in (TCP, UDP):
        fep.add_service(service, [(node(1), service[2])], timeouts=TIMEOUTS)
    before = fep.counters()
    start = time.monotonic()
    wanted = {}
    for state, seconds, steps in STATES:
        wanted[tcp_route(wire, *steps)] = (state, seconds)
    frame, = CLIENTS.take(1)
    wire.client.send(frame)
    wanted[client_address(CLIENTS.next - 1)] = ("udp", UDP_SECONDS)
    wire.settle()
    made = time.monotonic() - start
    with case("states and times in the list of routes"):
        listed = {route.client: route for route in fep.routes()}
        equal({client: route.state for client, route in listed.items()},
              {client: state for client, (state, _) in wanted.items()}, "states")
        for client, route in listed.items():
            lifetime = wanted[client][1] * 1000
            check(abs(route.idle_ms + route.expires_ms - lifetime) <= 20, f"{route}")
            check(route.idle_ms <= (time.monotonic() - start) * 1000 + 20, f"{route}")
    ended = {}
    while len(ended) < len(wanted) and time.monotonic() - start < 20:
        left = {route.client for route in fep.routes()}
        now = time.monotonic() - start
        ended.update({client: now for client in wanted if client not in left and client not in ended})
        time.sleep(0.02)
    for client, (state, seconds) in wanted.items():
        with case(f"a route that is {state} ends after {seconds} s ({client[1]})"):
            check(client in ended, "it has not ended")
            check(seconds - 0.1 <= ended[client] <= seconds + made + 0.5, f"it ended after {ended[client]:.2f} s")
    with case("the sweep takes ended routes out of the table and counts them"):
        wait_for(lambda: fep.status().routes == 0, "an empty table", 15)
        equal(fep.counters()["route_expired"] - before["route_expired"], len(wanted), "routes expired")
        equal(sum(s.counters["route_expired"] for s in fep.dump("services")), len(wanted), "of the services")
        equal([b.routes for b in fep.dump("backends")], [0, 0], "routes of the nodes")


def use_and_change(wire):
    fep = wire.fep
    with case("a route that is used lasts"):
        number, = CLIENTS.numbers(1)
        frame = request(number)
        before = fep.counters()["route_allocated"]
        end = time.monotonic() + 2.5 * UDP_SECONDS
        while time.monotonic() < end:
            wire.client.send(frame)
            time.sleep(0.5)
        equal(fep.counters()["route_allocated"] - before, 1, "routes allocated")
        equal(len(fep.routes()), 1, "routes")
    with case("new timeouts are for routes that are there, too"):
        route, = fep.routes()
        fep.commit(op("service_set", UDP, timeouts=(0, 0, 0, 0, 100)))
        route, = fep.routes()
        check(90_000 < route.expires_ms <= 100_000, f"{route}")
        fep.commit(op("service_set", UDP, timeouts=(0, 0, 0, 0, 1)))
        wait_for(lambda: not fep.routes(), "the route's end", 3)
    with case("a client that comes back after the timeout is a new one"):
        # Whether the sweep has come by already or not.
        counters = wire.exchange(frame).counters
        counters.pop("route_expired", None)
        equal(counters, {"forward_request": 1, "route_allocated": 1}, "counters")
    with case("a node's reply after the timeout is dropped"):
        number, = CLIENTS.numbers(1)
        wire.client.send(request(number))
        wire.settle()
        wait_for(lambda: not fep.routes(), "the route's end", 4)
        address, port = client_address(number)
        late = packet.udp(node(1), address, 53, port, b"late")
        outcome = wire.exchange(ether(IN_MAC, node_mac(1), late), via="node")
        equal((outcome.client, outcome.counters.get("drop_stale_reply")), ([], 1), "frames at the client, counter")
    with case("defaults stand for zero"):
        fep.commit(op("service_set", UDP))
        number, = CLIENTS.numbers(1)
        wire.client.send(request(number))
        wire.settle()
        route, = (route for route in fep.routes() if route.client == client_address(number))
        check(298_000 < route.idle_ms + route.expires_ms <= 300_000, f"{route}")
        equal([s.timeouts for s in fep.dump("services") if s.service == UDP], [(0,) * 5], "timeouts as set")


def crowd(wire, count):
    """So many new clients of OTHER: their frames, quickly made."""
    template = request(CLIENTS.next, OTHER)
    for number in range(count):
        # Without UDP checksum; that of the header follows from the address.
        address = 0xC6130000 + (number >> 12)
        head = template[14:24] + b"\0\0" + struct.pack("!I", address) + template[30:34]
        wire.client.send(template[:14] + head[:10] + struct.pack("!H", packet.checksum(head)) + head[12:]
                         + struct.pack("!H", 1024 + (number & 4095)) + template[36:])


@contextlib.contextmanager
def nothing_else_runs():
    """No kernel thread gets the processor: the table keeps its size."""
    if not os.path.isdir("/sys/kernel/debug/sched"):
        run("mount", "-t", "debugfs", "none", "/sys/kernel/debug")
    for path, value in (("/proc/sys/kernel/sched_rt_runtime_us", "-1"),
                        ("/sys/kernel/debug/sched/fair_server/cpu0/runtime", "0")):
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def whole_lists(fep, count, capacities):
    for capacity in capacities:
        raw = fep.dump("routes", service=OTHER, capacity=capacity, raw=True)
        clients = {record[24:48] for record in raw}
        equal((len(raw), len(clients)), (count, count), f"routes listed in pages of {capacity}, different ones")


def crowded_table(wire):
    """A table that has not grown yet has buckets that fill more than a page."""
    fep = wire.fep
    fep.add_service(OTHER, [(node(1), 54)])
    fep.commit(op("limit_set", limit=200_000))
    count = 75_000
    with nothing_else_runs():
        with case("the list of a table with far more routes than buckets is whole, in any size of page"):
            before, buckets = fep.counters(), fep.status().buckets
            check(buckets <= 2048, f"{buckets} buckets")
            crowd(wire, count)
            equal(fep.counters()["route_allocated"] - before["route_allocated"], count, "routes allocated")
            # One of them has some 73.
            equal(fep.status().buckets, buckets, "buckets")
            whole_lists(fep, count, (64, 4096))
            equal(fep.status().buckets, buckets, "buckets then")
    with case("the table grows when it can, and its list is as whole"):
        wait_for(lambda: count <= fep.status().buckets <= 4 * count + 1024, "buckets", 10)
        whole_lists(fep, count, (64, 4096))
    with case("flushed, it gives the buckets back"):
        equal(fep.flush(service=OTHER), count, "deleted")
        wait_for(lambda: fep.status().buckets == buckets, f"{buckets} buckets", 10)
        fep.commit(op("service_del", OTHER))


def parameter(wire):
    with case("the limit of new namespaces is a parameter of the module"):
        for tap in (wire.passed_out, wire.passed_in):
            tap.close()
        wire.fep.close()
        unload_module()
        for value, want in (("5", 5), ("0", 1), ("4294967295", 1 << 27)):
            load_module(f"routes_limit={value}")
            with wire.fe.fep() as fep:
                equal(fep.status().limit, want, f"limit with routes_limit={value}")
            unload_module()
        load_module()
        with wire.fe.fep() as fep:
            equal(fep.status().limit, 1 << 20, "limit without")


def main():
    load_module("routes_limit=1000")
    wire = Wire()
    limit(wire)
    room_after_timeouts(wire)
    timeouts(wire)
    use_and_change(wire)
    crowded_table(wire)
    parameter(wire)
    finish()


main()
