#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measures what a client's entry takes, by the kernel's own accounts. See scripts/bench-memory --help."""

import argparse
import json
import os
import re
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), folder) for folder in ("../lib", ".")]

from fep_test import Failure, equal  # noqa: E402
from flows import Flows  # noqa: E402
from measure import Measurement  # noqa: E402
from paths import Unavailable  # noqa: E402
from rows import Row  # noqa: E402

PAGE = 4096
PATHS = ("fep-nat", "fep-dr", "ipvs-nat", "nft-dnat")


def accounts():
    """Bytes that are not free; those of each slab cache; those of areas of pages, by who asked for them."""
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")
    with open("/proc/meminfo", encoding="ascii") as file:
        free = int(re.search(r"^MemFree: +(\d+) kB", file.read(), re.M)[1]) * 1024
    slabs, areas = {}, {}
    with open("/proc/slabinfo", encoding="ascii") as file:
        for line in file.readlines()[2:]:
            words = line.split()
            slabs[words[0]] = int(words[14]) * int(words[5]) * PAGE
    with open("/proc/vmallocinfo", encoding="ascii") as file:
        for line in file:
            who = re.match(r"\S+ +(\d+) (\S+?)\+", line)
            if who:
                areas[who[2]] = areas.get(who[2], 0) + int(who[1])
    return -free, slabs, areas


def growth(before, after):
    """What has grown by more than a page, by name."""
    return {name: now - before.get(name, 0) for name, now in after.items() if now - before.get(name, 0) > PAGE}


def settled():
    """The accounts, once they stand still: tables grow and are given back in the background."""
    was = accounts()
    for _ in range(60):
        time.sleep(10)
        now = accounts()
        if abs(now[0] - was[0]) < 256 * 1024:
            return now
        was = now
    raise Failure("the kernel's accounts do not come to rest")


def routes_of(path):
    """Entries that the path says it has."""
    if path.name.startswith("fep"):
        return json.loads(path.front.run("fepctl", "status", "--json"))["routes"]
    if path.name.startswith("ipvs"):
        with path.front, open("/proc/thread-self/net/ip_vs_conn", encoding="ascii") as file:
            return sum(1 for _ in file) - 1
    with path.front, open("/proc/sys/net/netfilter/nf_conntrack_count", encoding="ascii") as file:
        return int(file.read())


def measured(name, family, flows):
    """A path's row."""
    measurement = Measurement(Row(name, family, "udp", "request", "large"), nodes=4)
    try:
        # What the generator takes once is not the path's.
        sender = measurement.sender(False)
        sender.send(flows, 1)
        before = settled()
        measurement.path.set_up()
        time.sleep(30)
        sender.once(flows)
        count = routes_of(measurement.path)
        equal(count, flows.count, "entries")
        after = settled()
    finally:
        measurement.close()
    slabs, areas = growth(before[1], after[1]), growth(before[2], after[2])
    main = max(slabs, key=slabs.get)
    return {"path": name, "family": family, "routes": count,
            "bytes_per_route": round((after[0] - before[0]) / count, 1),
            "entry": main, "entry_bytes_per_route": round(slabs[main] / count, 1),
            "slabs": slabs, "areas": areas}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--addresses", type=int, default=977)
    args = parser.parse_args()
    flows = Flows(args.addresses, 1024)
    rows, failed = [], False
    print(f"{'bytes for each of ' + str(flows.count):34} {'all in':>7} {'entry':>7}", flush=True)
    for family in (4, 6):
        for name in PATHS:
            try:
                row = measured(name, family, flows)
            except Unavailable as error:
                print(f"{name} IPv{family}: skip: {error}", flush=True)
                continue
            except Failure as error:
                print(f"{name} IPv{family}: FAILED: {error}", flush=True)
                failed = True
                continue
            print(f"{name + ' IPv' + str(family):34} {row['bytes_per_route']:7.1f} {row['entry_bytes_per_route']:7.1f}"
                  f"  ({row['entry']})", flush=True)
            rows.append(row)
            with open(args.out, "w", encoding="utf-8") as file:
                json.dump(rows, file)
    sys.exit(int(failed))


main()
