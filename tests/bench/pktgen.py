# SPDX-License-Identifier: GPL-2.0
"""The kernel's own packet generator, for UDP over IPv4.

It draws random numbers from a range without its last, counts ports through a range without its last, and
addresses through a range with its last.
"""

import contextlib
import os
import re
from dataclasses import dataclass

from fep_test import Failure, equal, run

TASKS = ("kpktgend_0", "ksoftirqd/0")


@dataclass(frozen=True)
class Sent:
    """What a generator says about a run."""

    packets: int
    nanoseconds: int
    instructions: int  # of the tasks that send and handle packets, not of sweeps, estimators and the like



def executed(names):
    """Instructions that the tasks of these names have executed, with the soft interrupts in them."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/comm", encoding="ascii") as comm, open(f"/proc/{pid}/schedstat",
                                                                           encoding="ascii") as stat:
                if comm.read().strip() in names:
                    total += int(stat.read().split()[0])
    return total


class Pktgen:
    """Sends by a device of a namespace. The fixed end is (address, port); `reply`: it is the source."""

    name = "pktgen"

    def __init__(self, namespace, device, mac, fixed, net, *, reply=False, shared=False):
        self.namespace, self.device, self.mac, self.fixed, self.net = namespace, device, mac, fixed, net
        self.reply, self.shared = reply, shared
        run("modprobe", "pktgen")

    def _write(self, file, *lines):
        with self.namespace:
            for line in lines:
                try:
                    with open(f"/proc/thread-self/net/pktgen/{file}", "w", encoding="ascii") as out:
                        out.write(line)
                except OSError as error:
                    raise Failure(f"pktgen: {file}: {line}: {error}") from None

    def _ends(self, flows):
        here, there = ("dst", "src") if self.reply else ("src", "dst")
        address, port = self.fixed
        last = flows.addresses - (0 if flows.random and flows.addresses > 1 else 1)
        yield f"{here}_min {self.net.source(flows.first)}"
        yield f"{here}_max {self.net.source(flows.first + last)}"
        yield f"udp_{here}_min {flows.FIRST_PORT}"
        yield f"udp_{here}_max {flows.FIRST_PORT + flows.ports}"
        yield f"{there}_min {address}"
        yield f"{there}_max {address}"
        yield f"udp_{there}_min {port}"
        yield f"udp_{there}_max {port}"
        if flows.random:
            yield f"flag IP{here.upper()}_RND"
            yield f"flag UDP{here.upper()}_RND"

    def send(self, flows, count):
        """Sends so many packets and says how long it took."""
        # A device that is added anew has no flags of before.
        self._write("kpktgend_0", "rem_device_all", f"add_device {self.device}")
        self._write(self.device, "clone_skb 0", "burst 1", "pkt_size 60", "delay 0", f"count {count}",
                    f"dst_mac {self.mac}", *self._ends(flows), *(() if self.shared else ("flag !SHARED",)))
        before = executed(TASKS)
        self._write("pgctrl", "start")
        own = executed(TASKS) - before
        with self.namespace, open(f"/proc/thread-self/net/pktgen/{self.device}", encoding="ascii") as file:
            said = file.read()
        done = re.search(r"Result: OK: (\d+)\(c\d+\+d\d+\) usec, (\d+) ", said)
        if not done:
            raise Failure(f"pktgen: {said.splitlines()[-1]}")
        equal(re.search(r"errors: (\d+)$", said.strip())[1], "0", "pktgen's errors")
        equal(int(done[2]), count, "packets that pktgen sent")
        return Sent(count, int(done[1]) * 1000, own)
