#!/usr/bin/env python3
# qemu: --with tests/lib
"""Events: what is read from the control device, when, and by whom."""

import os
import select
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import EVENT, EVENTS_MAX, IOC_SUBSCRIBE, SUBSCRIBE, errno_name, op  # noqa: E402
from fep_clients import TCP, UDP, Clients, chosen, client_address, segment  # noqa: E402
from fep_packet import ACK, RST, SYN, ether  # noqa: E402
from fep_test import case, check, equal, finish, load_module  # noqa: E402
from fep_wire import IN_MAC, Wire, node, node_mac  # noqa: E402

# Events come within a second or two; a machine that is slower may take its time.
PATIENCE = 60


def is_readable(fep, seconds):
    waiter = select.poll()
    waiter.register(fep.fd, select.POLLIN)
    return bool(waiter.poll(seconds * 1000))


def events_until(fep, condition, what):
    """Reads events until one satisfies the condition. All of them."""
    seen = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not is_readable(fep, 1):
            continue
        for event in fep.read_events(1):
            seen.append(event)
            if condition(event):
                return seen
    raise AssertionError(f"no event: {what}; there were {[event.kind for event in seen]}")


def until(fep, kind):
    return events_until(fep, lambda event: event.kind == kind, kind)


def errno_of(attempt):
    try:
        attempt()
    except OSError as error:
        return errno_name(error.errno)
    return "0"


def subscribing(wire):
    with case("who has not subscribed reads nothing"):
        with wire.fe.fep() as fep:
            equal(errno_of(lambda: os.read(fep.fd, EVENT.size)), "EINVAL", "read")
            check(not is_readable(fep, 0), "readable")
    with case("subscribing: each field with each bad value, and twice"):
        with wire.fe.fep() as fep:
            for fields in ((0, 0, 0, 0), (EVENTS_MAX + 1, 0, 0, 0), (0xFFFFFFFF, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0),
                           (1, 0, 0, 1)):
                equal(errno_name(fep.ioctl(IOC_SUBSCRIBE, SUBSCRIBE.pack(*fields))[0]), "EINVAL", f"{fields}")
            fep.subscribe()
            equal(errno_of(fep.subscribe), "EEXIST", "a second time")
            equal(errno_of(lambda: os.read(fep.fd, EVENT.size - 1)), "EINVAL", "no room for an event")
            check(not is_readable(fep, 0), "readable")
            os.set_blocking(fep.fd, False)
            equal(errno_of(lambda: os.read(fep.fd, EVENT.size)), "EAGAIN", "no event")


def changes(wire):
    with case("a commit is told, with its generation; a dry run or a refusal is not"):
        with wire.fe.fep() as fep:
            first = fep.subscribe()
            wire.fep.commit(op("limit_set", limit=5000), dry_run=True)
            wire.fep.try_commit([op("limit_set", limit=0)])
            check(not is_readable(fep, 0), "readable")
            generation = wire.fep.commit(op("limit_set", limit=5000)).generation
            event, = fep.read_events()
            equal((event.kind, event.generation, event.sequence, event.lost, event.service, event.backend, event.syns),
                  ("config_changed", generation, first, 0, None, None, (0, 0, 0)), "event")
            check(not is_readable(fep, 0), "readable again")
    with case("who waits in a read is woken, and so is who waits in poll"):
        with wire.fe.fep() as fep:
            fep.subscribe()
            got = []
            reader = threading.Thread(target=lambda: got.extend(fep.read_events()))
            reader.start()
            wire.fep.commit(op("limit_set", limit=5001))
            reader.join(PATIENCE)
            equal([event.kind for event in got], ["config_changed"], "read")
            waiting = threading.Thread(target=lambda: got.append(is_readable(fep, PATIENCE)))
            waiting.start()
            wire.fep.commit(op("limit_set", limit=5002))
            waiting.join(PATIENCE)
            equal(got[1:], [True], "poll")
    with case("every listener is told the same, those that are gone or elsewhere do not matter"):
        other = Wire(nodes=1, suffix="2")
        with wire.fe.fep() as one, wire.fe.fep() as two, other.fe.fep() as elsewhere:
            for fep in (one, two, elsewhere):
                fep.subscribe()
            with wire.fe.fep() as gone:
                gone.subscribe()
            for limit in range(6000, 6010):
                wire.fep.commit(op("limit_set", limit=limit))
            listed = [(event.sequence, event.generation) for event in one.read_events()]
            equal(len(listed), 10, "events")
            equal([(event.sequence, event.generation) for event in two.read_events()], listed, "events of the other")
            equal([sequence - listed[0][0] for sequence, _ in listed], list(range(10)), "sequence")
            check(not is_readable(elsewhere, 0), "another namespace was told")
    with case("without room the newest are lost and counted"):
        with wire.fe.fep() as fep:
            first = fep.subscribe(4)
            for limit in range(7000, 7010):
                wire.fep.commit(op("limit_set", limit=limit))
            events = fep.read_events()
            equal([(event.sequence - first, event.lost) for event in events], [(n, 0) for n in range(4)], "kept")
            for limit in (8000, 8001):
                wire.fep.commit(op("limit_set", limit=limit))
            events = fep.read_events()
            equal([(event.sequence - first, event.lost) for event in events], [(10, 6), (11, 0)], "afterwards")


def nodes(wire, clients):
    service_node = (UDP, (node(1), 53))
    with wire.fe.fep() as fep:
        fep.subscribe()
        with case("a drained node is told when its last route is gone, and not before"):
            wire.fep.add_service(UDP, [(node(1), 53), (node(2), 53)])
            chosen(wire, clients.take(20))
            generation = wire.fep.weight(*service_node, 0).generation
            wire.fep.flush(backend=(node(2), 53))
            # The sweep's work has looked round at least once when it has told of something else.
            wire.fep.commit(op("limit_set", limit=1))
            chosen(wire, clients.take(2))
            seen = until(fep, "table_full")
            equal([event.kind for event in seen if event.kind != "config_changed"], ["table_full"], "events until then")
            wire.fep.commit(op("limit_set", limit=5000))
            until(fep, "table_room")
            equal(wire.fep.flush(backend=(node(1), 53)), 10, "routes")
            event = until(fep, "backend_drained")[-1]
            equal((event.service, event.backend), service_node, "service, node")
            check(event.generation >= generation, "generation")
        with case("it is told once, and again when it has had clients again"):
            wire.fep.weight(*service_node, 1)
            chosen(wire, clients.take(10))
            wire.fep.weight(*service_node, 0)
            wire.fep.flush()
            seen = until(fep, "backend_drained")
            equal([event.kind for event in seen if event.kind != "config_changed"], ["backend_drained"], "events")
            wire.fep.commit(op("service_del", UDP))
        with case("SYNs that a node answers with a reset are told"):
            wire.fep.add_service(TCP, [(node(1), 80)])
            chosen(wire, [segment(number, SYN) for number in range(6)])
            for number in range(4):
                client, port = client_address(number, TCP)
                wire.nodes.send(ether(IN_MAC, node_mac(1), packet.tcp(node(1), client, 80, port, RST | ACK, ack=1)))
            event = events_until(fep, lambda event: event.syns == (0, 4, 0), "four resets")[-1]
            equal((event.kind, event.service, event.backend), ("syn_failures", TCP, (node(1), 80)), "event")
        with case("SYNs without an answer are told when their routes have ended"):
            wire.fep.commit(op("service_set", TCP, timeouts=(1, 1, 1, 1, 1)))
            events_until(fep, lambda event: event.syns == (2, 4, 0), "two without an answer")
            wire.fep.commit(op("service_del", TCP))


def main():
    load_module()
    wire = Wire(nodes=2)
    clients = Clients(20_000)
    subscribing(wire)
    changes(wire)
    nodes(wire, clients)
    finish()


main()
