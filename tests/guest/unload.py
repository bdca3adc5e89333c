#!/usr/bin/env python3
# qemu: --with tests/lib --smp 2
"""The module is unloaded twenty times while traffic flows both ways, and nothing of it is left."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import op  # noqa: E402
from fep_clients import Flood, serve, traffic  # noqa: E402
from fep_test import (Namespace, case, check, equal, finish, load_module, module_loaded, note, run,  # noqa: E402
                      unload_module, wait_for)
from fep_wire import Wire  # noqa: E402

TIMES = 20
CLIENTS = 2000


def kernel_memory():
    """Kilobytes that the kernel holds and cannot give back."""
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":") for line in file)
    return {name: int(fields[name].split()[0]) for name in ("SUnreclaim", "VmallocUsed", "Percpu", "KernelStack")}


def flows(fep, seconds=20):
    """Waits for so much traffic that every client has routes."""
    before = fep.counters()

    def enough():
        now = fep.counters()
        return (now["forward_request"] - before["forward_request"] > 2 * CLIENTS
                and now["forward_reply"] - before["forward_reply"] > CLIENTS)

    wait_for(enough, "traffic in both directions", seconds)


def configure(wire):
    wire.fep = wire.fe.fep()
    serve(wire.fep)
    wire.fep.attach("out0", "in0")


def main():
    load_module()
    wire = Wire(attach=False)
    wire.fep.close()
    unload_module()
    others = [Namespace(f"other{n}") for n in range(3)]
    requests, replies = traffic(CLIENTS)
    floods = [Flood(wire.c, "c0", requests), Flood(wire.b, "b0", replies)]
    memory = []
    for turn in range(1, TIMES + 1):
        with case(f"unloaded under traffic, number {turn}"):
            load_module()
            configure(wire)
            for other in others:
                with other.fep() as theirs:
                    serve(theirs)
            flows(wire.fep)
            routes = wire.fep.status().routes
            if turn % 4 == 0:
                # From a configuration that is being taken apart already.
                wire.fep.commit(*remove_all(wire.fep))
            wire.fep.close()
            start = time.monotonic()
            unload_module()
            took = time.monotonic() - start
            check(not module_loaded() and not os.path.exists("/dev/fep"), "the module is gone")
            check(routes >= CLIENTS, f"only {routes} routes")
            memory.append(kernel_memory())
            if turn % 5 == 0:
                note(f"{routes} routes, unloaded in {took:.2f} s, {memory[-1]}")
    for flood in floods:
        flood.stop()
    with case("memory does not grow from time to time"):
        # The first rounds fill caches of the kernel; what a round makes is some 700 kB of routes alone.
        early, late = memory[4], memory[-1]
        grown = {name: late[name] - early[name] for name in early}
        note(f"grown by {grown} kB in {TIMES - 5} rounds")
        check(sum(grown.values()) < 3000, f"grown by {grown} kB")
    with case("nothing of the module is left in the kernel's lists"):
        equal([line for line in run("cat", "/proc/slabinfo", "/proc/misc", "/proc/modules").splitlines()
               if "fep" in line], [], "lines")
    with case("and it can be used again"):
        load_module()
        configure(wire)
        flood = Flood(wire.c, "c0", requests)
        other = Flood(wire.b, "b0", replies)
        flows(wire.fep)
        flood.stop()
        other.stop()
    finish()


def remove_all(fep):
    return ([op("device_detach", device=name) for name in fep.devices()]
            + [op("service_del", record.service) for record in fep.dump("services")])


main()
