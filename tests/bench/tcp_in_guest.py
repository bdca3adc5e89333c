#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measures real TCP through fep, IPVS and plain forwarding, in turn. See scripts/bench-tcp --help."""

import argparse
import json
import os
import re
import statistics
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), folder) for folder in ("../lib", ".")]

from fep_lab import VIP, Lab, node  # noqa: E402
from fep_test import Failure, check, load_module, run, wait_for  # noqa: E402

IPERF, HTTP = 5201, 80
BODY = 128  # bytes of an answer
MSS = 1448
NGINX = """
worker_processes 1; daemon off; error_log /dev/null; pid /tmp/nginx.pid;
events { worker_connections 4000; }
http {
    access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
    server { listen 80 backlog=4096; location / { return 200 "%s"; } }
}
""" % ("x" * BODY)


class Forwarding:
    """The node's own address, by the front-end's IP forwarding."""

    name, target = "forwarding", node(1)

    def up(self, lab):
        lab.fe.sysctl("net.ipv4.ip_forward", 1)
        lab.c.ip("route replace 10.0.1.0/24 via 192.0.2.1")

    def down(self, lab):
        lab.fe.sysctl("net.ipv4.ip_forward", 0)
        lab.c.ip("route del 10.0.1.0/24")


class Ipvs:
    """IPVS with address translation."""

    name, target = "ipvs-nat", VIP

    def up(self, lab):
        lab.fe.sysctl("net.ipv4.ip_forward", 1)
        for port in (IPERF, HTTP):
            lab.fe.run("ipvsadm", "-A", "-t", f"{VIP}:{port}", "-s", "wrr")
            lab.fe.run("ipvsadm", "-a", "-t", f"{VIP}:{port}", "-r", f"{node(1)}:{port}", "-m")

    def down(self, lab):
        lab.fe.run("ipvsadm", "-C")
        lab.fe.sysctl("net.ipv4.ip_forward", 0)


class Fep:
    """fep with address translation."""

    name, target = "fep-nat", VIP

    def up(self, lab):
        for device in ("out0", "in1"):
            lab.fe.run("fepctl", "device", "attach", device)
        for port in (IPERF, HTTP):
            lab.fe.run("fepctl", "service", "add", f"tcp/{VIP}:{port}")
            lab.fe.run("fepctl", "backend", "add", f"tcp/{VIP}:{port}", node(1))

    def down(self, lab):
        lab.fe.run("fepctl", "flush", "--devices")


WAYS = (Forwarding(), Ipvs(), Fep())


class Clock:
    """What a run takes: nanoseconds, or where the guest counts instructions, those of all that ran."""

    def __init__(self, counted):
        self.counted = counted

    def idle(self):
        """Nanoseconds so far in which nothing ran, where instructions are counted."""
        if not self.counted:
            return 0
        with open("/proc/stat", encoding="ascii") as file:
            words = next(line for line in file if line.startswith("cpu0 ")).split()
        # Ticks of 10 ms.
        return (int(words[4]) + int(words[5])) * 10_000_000


def packets(lab, device):
    """Buffers that a device of the front-end has received."""
    with lab.fe, open("/proc/thread-self/net/dev", encoding="ascii") as file:
        line = next(line for line in file if line.strip().startswith(f"{device}:"))
    return int(line.split()[2])


def bulk(lab, way, clock, args, reverse):
    """Moves bytes through one connection: what a byte takes, and packets for each buffer at the front-end."""
    device = "in1" if reverse else "out0"
    idle, buffers = clock.idle(), packets(lab, device)
    # By time: with a number of bytes to send iperf3 waits, busily, for the end of a second.
    said = json.loads(lab.c.run("iperf3", "-c", way.target, "-p", str(IPERF), "-t", str(args.seconds), "-J",
                                *(["-R"] if reverse else [])))
    check("error" not in said, said.get("error"))
    received = said["end"]["sum_received"]
    moved, spent = received["bytes"], received["seconds"] * 1e9 - (clock.idle() - idle)
    check(moved > 0, "nothing arrived")
    return {"cost": spent / moved, "packets_per_buffer": round(moved / MSS / (packets(lab, device) - buffers), 1)}


def requests(lab, way, clock, args, close):
    """Makes web requests: what one takes."""
    idle, before = clock.idle(), time.monotonic_ns()
    said = lab.c.run("wrk", "-t1", "-c32", f"-d{args.seconds}s", *(["-H", "Connection: close"] if close else []),
                     f"http://{way.target}/")
    spent = time.monotonic_ns() - before - (clock.idle() - idle)
    done = int(re.search(r"(\d+) requests in", said)[1])
    check(done, said)
    errors = re.search(r"Socket errors: (.*)", said)
    # With "Connection: close" wrk takes each end for an error of reading.
    bad = [int(n) for n in re.findall(r"(?:connect|write|timeout) (\d+)", errors[1])] if errors else []
    check(not any(bad) and "Non-2xx" not in said, said)
    return {"cost": spent / done, "requests": done}


KINDS = {
    "bulk up": lambda *run_of: bulk(*run_of, reverse=False),
    "bulk down": lambda *run_of: bulk(*run_of, reverse=True),
    "keep-alive": lambda *run_of: requests(*run_of, close=False),
    "connection per request": lambda *run_of: requests(*run_of, close=True),
}


def measured(lab, kind, clock, args):
    """One kind of traffic, over every way in turn."""
    found = {way.name: [] for way in WAYS}
    for turn in range(args.rounds + 1):
        # Who comes first changes; the first round warms up.
        for way in WAYS if turn % 2 else reversed(WAYS):
            way.up(lab)
            try:
                time.sleep(0.5)
                result = KINDS[kind](lab, way, clock, args)
            finally:
                way.down(lab)
            if turn:
                found[way.name].append(result)
    return found


def say(kind, found, unit):
    """Prints a table, and gives rows."""
    rows = []
    base = {name: statistics.median(result["cost"] for result in results) for name, results in found.items()}
    for name, results in found.items():
        costs = [result["cost"] for result in results]
        # Each turn's own ratio: what disturbs a while disturbs all of it.
        ratios = {other: round(statistics.median(mine["cost"] / its["cost"] for mine, its in zip(results, found[other])), 4)
                  for other in found if other != name}
        buffers = [result["packets_per_buffer"] for result in results if "packets_per_buffer" in result]
        rows.append({"kind": kind, "path": name, "unit": unit, "median": round(base[name], 4),
                     "values": [round(cost, 4) for cost in costs], "ratio_to": ratios,
                     **({"packets_per_buffer": statistics.median(buffers)} if buffers else {})})
        print(f"{kind:24} {name:12} {base[name]:14.4f} {unit:24} " +
              "  ".join(f"{ratio:.3f} of {other}" for other, ratio in ratios.items()) +
              (f"  {statistics.median(buffers):.1f} packets a buffer" if buffers else ""), flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--counted", action="store_true")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--only", action="append", default=[])
    args = parser.parse_args()
    load_module()
    for name in ("ip_vs", "ip_vs_wrr"):
        run("modprobe", name)
    lab = Lab(nodes=1, attach=False)
    with open("/tmp/nginx.conf", "w", encoding="ascii") as file:
        file.write(NGINX)
    lab.b[1].start("nginx", "-c", "/tmp/nginx.conf")
    with open(os.devnull, "wb") as null:
        lab.b[1].start("iperf3", "-s", "-p", str(IPERF), stdout=null)
    for port in (HTTP, IPERF):
        wait_for(lambda port=port: f":{port} " in lab.b[1].run("ss", "-ltn"), "the servers", 60)
    clock, rows, failed = Clock(args.counted), [], False
    for kind in args.only or KINDS:
        thing = "byte" if kind.startswith("bulk") else "request"
        try:
            rows += say(kind, measured(lab, kind, clock, args),
                        f"{'instructions' if args.counted else 'ns'} a {thing}")
        except Failure as error:
            print(f"{kind}: FAILED: {error}", flush=True)
            failed = True
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump(rows, file)
    sys.stdout.flush()
    os._exit(int(failed))


main()
