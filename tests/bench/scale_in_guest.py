#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measures what a packet costs with more of everything, and with two processors. See scripts/bench-scale --help."""

import argparse
import ipaddress
import json
import os
import re
import statistics
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), folder) for folder in ("../lib", ".")]

from directors import FepNat  # noqa: E402
from fep_test import Failure, check, equal  # noqa: E402
from flows import KINDS, Flows  # noqa: E402
from lab import PORT  # noqa: E402
from measure import Measurement  # noqa: E402
from rows import Row  # noqa: E402
from senders import Pktgen  # noqa: E402

ROUTES = {4_096: Flows(64, 64, random=True), 65_536: Flows(64, 1024, random=True),
          1_048_576: Flows(1024, 1024, random=True), 8_388_608: Flows(8192, 1024, random=True)}
SERVICES = (1, 100, 10_000)
NODES = (1, 64, 4_096)
STEADY, NEW = (Row("fep-nat", 4, "udp", "request", kind) for kind in ("steady", "new"))


class Many(FepNat):
    """fep with more services than the one that is measured, which is added last."""

    more = 0

    def set_up(self):
        self.front.run("modprobe", "fep")
        self.front.run("fepctl", "limit", "set", str(16 << 20))
        first = ipaddress.ip_address("203.0.0.1")
        text = "".join(f'[[services]]\nkey = "udp/{first + n}:{PORT}"\n'
                       f'backends = [{{ addr = "{self.nodes[0]}:{PORT}" }}]\n' for n in range(self.more))
        if text:
            self.front.run("fepctl", "apply", "-f", "-", text=text)
        super().set_up()


def cost(row, flows=None, nodes=None, more=0, count=20_000):
    """Instructions of a packet."""
    measurement = Measurement(row, nodes)
    measurement.flows = flows or measurement.flows
    measurement.path = Many(measurement.lab, row.protocol, False)
    measurement.path.more = more
    try:
        return min(measurement.run(count, 1 if row.kind == "new" else 3))
    finally:
        measurement.close()


def counted(keep):
    """The rows that are counted in instructions."""
    for routes, flows in ROUTES.items():
        keep("routes", routes, "steady", cost(STEADY, flows))
    for row in (STEADY, NEW):
        for services in SERVICES:
            keep("services", services, row.kind, cost(row, more=services - 1))
        for nodes in NODES:
            keep("nodes", nodes, row.kind, cost(row, nodes=nodes, flows=KINDS[row.kind]))


def send_on(sender, flows, count, processors):
    """Sends `count` packets from each of so many processors at once, and gives packets per second of all."""
    devices = [f"{sender.device}@{n}" for n in range(processors)]
    # Threads that have nothing to send are not waited for.
    for n in range(2):
        sender._write(f"kpktgend_{n}", "rem_device_all")
    for n, device in enumerate(devices):
        sender._write(f"kpktgend_{n}", f"add_device {device}")
        sender._write(device, "clone_skb 0", "burst 1", "pkt_size 60", "delay 0", f"count {count}",
                      f"dst_mac {sender.mac}", *sender._ends(flows), "flag !SHARED")
    sender._write("pgctrl", "start")
    longest = 0
    for device in devices:
        with sender.namespace, open(f"/proc/thread-self/net/pktgen/{device}", encoding="ascii") as file:
            said = file.read()
        done = re.search(r"Result: OK: (\d+)\(c\d+\+d\d+\) usec, (\d+) ", said)
        check(done and int(done[2]) == count, f"pktgen: {said.splitlines()[-1]}")
        longest = max(longest, int(done[1]))
    return count * processors * 1e6 / longest


def speed_up(name, count, rounds):
    """Packets per second with one processor and with two, taken in turn, each of `rounds` times."""
    measurement = Measurement(Row(name, 4, "udp", "request", "steady"), nodes=1)
    found = {1: [], 2: []}
    try:
        measurement.path.set_up()
        time.sleep(2)
        sender = measurement.sender(False, Pktgen)
        measurement.sender(False).once(measurement.flows)
        for _ in range(rounds):
            for processors, rates in found.items():
                before = measurement.path.arrived()
                rates.append(send_on(sender, measurement.flows, count, processors))
                equal(measurement.path.arrived() - before, count * processors, "packets that arrived")
    finally:
        measurement.close()
    return found


def timed(keep, args):
    """Two processors against one, fep and plain forwarding in turn."""
    found = {}
    for turn in range(args.turns):
        for name in ("forwarding", "fep-nat") if turn % 2 else ("fep-nat", "forwarding"):
            rates = speed_up(name, args.count, 1)
            for processors, more in rates.items():
                found.setdefault((name, processors), []).extend(more)
            print(f"  turn {turn + 1}: {name}: {rates[1][0]:.0f} and {rates[2][0]:.0f} packets/s", flush=True)
    for name in ("forwarding", "fep-nat"):
        one, two = (statistics.median(found[name, processors]) for processors in (1, 2))
        pairs = [b / a for a, b in zip(found[name, 1], found[name, 2])]
        keep("processors", 2, name, statistics.median(pairs), one=round(one), two=round(two),
             pairs=[round(pair, 3) for pair in pairs])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--processors", action="store_true")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--count", type=int, default=200_000)
    args = parser.parse_args()
    rows = []

    def keep(what, number, kind, value, **more):
        rows.append({"what": what, "number": number, "kind": kind, "value": round(value, 3), **more})
        print(f"{what:12} {number:>10} {kind:12} {value:10.3f}", flush=True)
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump(rows, file)

    try:
        if args.processors:
            timed(keep, args)
        else:
            counted(keep)
    except Failure as error:
        sys.exit(f"FAILED: {error}")


main()
