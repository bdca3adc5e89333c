#!/usr/bin/env python3
# qemu: --with tests/lib --smp 2 --append slab_debug=FZPU
"""Every abstraction of rust/net on real kernel objects, by the self-test build. Memory of the kernel is
poisoned and has red zones, so that a use after free, or out of bounds, of Rust or C is reported."""

import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_selftest import DEVICE, SLOW, Peer, Selftest, all_reported, load  # noqa: E402
from fep_test import (Namespace, case, check, equal, finish, module_loaded, run, unload_module,  # noqa: E402
                      wait_for)

PAYLOAD = 100
# Of every kind, so that none is lost: when one is added, here too.
COUNTS = {"case": 24, "shared": 14, "script": 15, "fault": 13}
WORKERS = 4


def by_itself(test):
    for name in test.kinds["case"]:
        with case(name):
            equal(test(name), 0, "result")
    with case("each case is in the log once"):
        all_reported(test.kinds["case"])


def shared(test):
    with case("inserts of the same keys end with one entry each"):
        test("table_tidy")
        smallest = test("table_buckets")
        new = test.at_once(*(("table_race", worker) for worker in range(WORKERS)))
        equal(sum(new), test("table_entries"), "entries")
        equal(test("table_walk"), sum(new), "entries that a walk meets")
    with case("insertion, lookup and removal while others do the same"):
        before = test("table_entries")
        more = test.at_once(*(("table_churn", worker) for worker in range(WORKERS)))
        equal(before + sum(one - 1_000_000 for one in more), test("table_entries"), "entries")
        equal(test("table_walk"), test("table_entries"), "entries that a walk meets")
    with case("the table grows under lookups, insertions, removals and walks, and shrinks again"):
        test.at_once(*(("table_fill", worker) for worker in range(WORKERS)), ("table_churn", 9), ("table_walk", 0))
        wait_for(lambda: test("table_buckets") >= test("table_entries"), "as many buckets as entries", SLOW)
        check(test("table_buckets") > 16 * smallest, "it has not grown")
        equal(test("table_walk"), test("table_entries"), "entries that a walk meets")
        entries = test("table_entries")
        equal(test("table_empty"), entries, "entries that went")
        test("table_tidy")
        wait_for(lambda: test("table_buckets") == smallest, "as many buckets as at first", SLOW)
    with case("values behind RCU are whole, whoever replaces them"):
        test.at_once(*[("rcu_read", 0)] * 3, ("rcu_replace", 1), ("rcu_replace", 2))
    with case("per-CPU counters lose nothing"):
        done = test.at_once(*[("count", 0)] * WORKERS)
        equal(test("counted"), sum(done), "the sum")
    with case("a lock lets one in, from packets and from processes"):
        done = test.at_once(*[("lock", 0)] * WORKERS)
        equal(test("locked"), sum(done), "the count")


def routes(test, here):
    with case("a device that is not there"):
        equal((test("device"), test("route4"), test("route6")), (0, 0, 0), "device and routes")
    peer = Peer(here, "peer")
    with case("a route is found when it has come"):
        check(test("device") > 1, "no device")
        equal((test("route4"), test("route6")), (1500, 1500), "MTUs")
    with case("its MTU, and the way, are followed"):
        here.ip("link set st0 mtu 1400")
        equal((test("route4"), test("route6")), (1400, 1400), "MTUs of the device")
        here.ip("route add 10.9.0.2/32 dev st0 mtu 1300", "route add 2001:db8:9::2/128 dev st0 mtu 1310")
        equal((test("route4"), test("route6")), (1300, 1310), "MTUs of another route")
        here.ip("route add unreachable 10.9.0.2/32 metric 5", "route del 10.9.0.2/32 dev st0",
                "route del 2001:db8:9::2/128 dev st0", "route add unreachable 2001:db8:9::2/128")
        equal((test("route4"), test("route6")), (0, 0), "routes where it is unreachable")
        equal((test("send4"), test("send6")), (2, 2), "what became of packets")
        here.ip("route del unreachable 10.9.0.2/32", "route del unreachable 2001:db8:9::2/128",
                "link set st0 mtu 1500")
        equal((test("route4"), test("route6")), (1500, 1500), "MTUs again")
    with case("addresses that come and go are noticed"):
        equal((test("foreign4"), test("local4")), (1, 0), "before")
        here.ip("addr add 10.9.0.77/32 dev lo")
        equal((test("foreign4"), test("local4")), (0, 1), "with it")
        here.ip("addr del 10.9.0.77/32 dev lo")
        equal((test("foreign4"), test("local4")), (1, 0), "after")
    return peer


def sending(test, here, peer):
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        with case(f"packets of every shape are sent by IPv{version}, whether the neighbour is known or not"):
            for warm in (False, True):
                for shape in range(test("shapes")):
                    if not warm:
                        here.ip("neigh flush all")
                    equal(test(f"send{version}", shape), 0, f"what became of shape {shape}")
                    equal(peer.sockets[family].recv(2000), bytes([shape]) * PAYLOAD, f"payload of shape {shape}")
            wait_for(lambda: test("packets") == 0, "every packet freed", SLOW)
        with case(f"a neighbour that does not answer, or changes, in IPv{version}"):
            address = "10.9.0.2" if version == 4 else "2001:db8:9::2"
            here.ip(f"neigh replace {address} dev st0 lladdr 02:00:00:00:00:99")
            equal(test(f"send{version}", 1), 0, "to another station")
            here.ip("neigh flush all", f"neigh del {address} dev st0")
            equal(test(f"send{version}", 2), 0, "to the station")
            equal(peer.sockets[family].recv(2000), bytes([2]) * PAYLOAD, "the next payload that arrives")
            peer.there.ip("link set st1 down")
            here.ip("neigh flush all")
            for shape in range(test("shapes")):
                check(test(f"send{version}", shape) in (0, 1, 2), f"what became of shape {shape}")
            # Addresses of IPv6 go with the link.
            peer.there.ip("link set st1 up", "addr replace 2001:db8:9::2/64 dev st1")
            peer.ready()
    with case("what waited for a neighbour is freed with the device"):
        peer.delete()
        wait_for(lambda: test("device") == 0, "the device gone", SLOW)
        wait_for(lambda: test("packets") == 0, "every packet freed", SLOW)
        equal((test("route4"), test("route6")), (0, 0), "routes")


def hooks(test, here):
    peer = Peer(here, "peer2")
    with case("a hook sees packets, passes, drops and answers them"):
        test("hook_attach")
        for mode, counter, grows in ((0, "InTimeExcds", 0), (1, "InTimeExcds", 0), (2, "InTimeExcds", 1)):
            test("hook_mode", mode)
            before = peer.there.counters()[f"Icmp{counter}"], here.counters()["UdpNoPorts"]
            peer.send()
            wait_for(lambda: test("hook_packets") == 1, "one packet in the hook", SLOW)
            wait_for(lambda: peer.there.counters()[f"Icmp{counter}"] - before[0] == grows, "ICMP at the peer", SLOW)
            wait_for(lambda m=mode: here.counters()["UdpNoPorts"] - before[1] == (m == 0), "packets at the host", SLOW)
            # The error belongs to the socket.
            peer.sockets[socket.AF_INET].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            peer.sockets[socket.AF_INET].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        test("hook_mode", 0)
    with case("a hook that is gone sees nothing"):
        equal(test("hook_detach"), 1, "hooks")
        before = here.counters()["UdpNoPorts"]
        peer.send()
        wait_for(lambda: here.counters()["UdpNoPorts"] > before, "a packet at the host", SLOW)
        equal(test("hook_packets"), 0, "packets in the hook")
    with case("a device goes under its hooks, with traffic"):
        test("hook_attach")
        test("hook_attach")
        equal(test("hooks"), 2, "hooks")
        flood = peer.there.start("ping", "-q", "-f", "-w", "60", "10.9.0.1", stdout=-3)
        wait_for(lambda: here.counters()["IcmpInEchos"] > 100, "echo requests at the host", SLOW)
        peer.send()
        wait_for(lambda: test("hook_packets") >= 2, "packets in both hooks", SLOW)
        here.ip("link del st0")
        equal((test("hooks"), test("device")), (0, 0), "hooks and device")
        flood.kill()
        peer.delete()


def namespaces(test, before):
    with case("namespaces come and go, with hooks, routes and files open"):
        wait_for(lambda: test("namespaces") == before, "the earlier ones ended", SLOW)
        made = []
        for number in range(4):
            here = Namespace(f"short{number}", ipv6=True)
            with here:
                own = Selftest()
            peer = Peer(here, f"shortpeer{number}")
            own("hook_attach")
            equal((own("route4"), own("route6"), own("send4", 1)), (1500, 1500, 0), "routes, and what became of a packet")
            own("table_tidy")
            own("table_race")
            made.append((here, peer, own))
        equal(test("namespaces"), before + 8, "namespaces")
        for here, peer, own in made:
            here.delete()
            check(test("namespaces") > before, "one ended with its file open")
            own.close()
            peer.delete()
        wait_for(lambda: test("namespaces") == before, "all of them ended", SLOW)
        wait_for(lambda: test("packets") == 0, "every packet freed", SLOW)


def main():
    load()
    here = Namespace("here", ipv6=True)
    with here:
        test = Selftest()
    with case("nothing is lost of what there is to test"):
        before = test("namespaces")
        equal({kind: len(names) for kind, names in test.kinds.items()}, COUNTS, "tests of each kind")
    by_itself(test)
    shared(test)
    peer = routes(test, here)
    sending(test, here, peer)
    hooks(test, here)
    namespaces(test, before)
    with case("each test was made use of"):
        equal(test.unused("case", "shared", "script"), [], "tests that were not")
    test.close()
    with case("it is unloaded, and nothing is left"):
        unload_module()
        check(not module_loaded() and not os.path.exists(DEVICE), "the module is there still")
        lines = run("cat", "/proc/slabinfo", "/proc/misc", "/proc/modules").splitlines()
        equal([line for line in lines if "fep" in line], [], "lines")
    finish()


main()
