# SPDX-License-Identifier: GPL-2.0
"""What sends packets: the kernel's own generator, and that of the benchmarks' module for what it has not got.

A sender speaks for one end that is fixed, an address and a port, and for many others. Both count the instructions of
the task that sends, with the soft interrupts that handle its packets: sweeps, estimators and the like go by time and
not by packets, and run in tasks of their own.
"""

import contextlib
import os
import re
import time
from dataclasses import dataclass

from fep_test import Failure, equal, run

CONTROL = "/sys/kernel/debug/fep_bench/control"
MODULE = "/usr/lib/fep/fep_bench.ko"
PROTOCOLS = {"tcp": 6, "udp": 17}
SYN, ACK, PSH = 2, 16, 8
# Where the two ends of every TCP connection begin to count.
HERE, THERE = 1_000, 2_000_000


@dataclass(frozen=True)
class Sent:
    """What a generator says about a run."""

    packets: int
    nanoseconds: int
    instructions: int  # of these


def executed(names):
    """Instructions that the tasks of these names have executed."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/comm", encoding="ascii") as comm, open(f"/proc/{pid}/schedstat",
                                                                           encoding="ascii") as stat:
                if comm.read().strip() in names:
                    total += int(stat.read().split()[0])
    return total


class Pktgen:
    """The kernel's, for UDP over IPv4 without checksums.

    It draws random numbers from a range without its last, counts ports through a range without its last, and
    addresses through a range with its last. Unless it is told "!SHARED" it keeps a reference to each packet, as a tap
    does: whoever changes the packet has to copy it then."""

    def __init__(self, namespace, device, mac, fixed, net, *, reply=False, held=False):
        self.namespace, self.device, self.mac, self.fixed, self.net = namespace, device, mac, fixed, net
        self.reply, self.held = reply, held
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
        """Sends so many packets."""
        # A device that is added anew has no flags of before.
        self._write("kpktgend_0", "rem_device_all", f"add_device {self.device}")
        self._write(self.device, "clone_skb 0", "burst 1", "pkt_size 60", "delay 0", f"count {count}",
                    f"dst_mac {self.mac}", *self._ends(flows), *(() if self.held else ("flag !SHARED",)))
        before = executed(("kpktgend_0", "ksoftirqd/0"))
        self._write("pgctrl", "start")
        own = executed(("kpktgend_0", "ksoftirqd/0")) - before
        with self.namespace, open(f"/proc/thread-self/net/pktgen/{self.device}", encoding="ascii") as file:
            said = file.read()
        done = re.search(r"Result: OK: (\d+)\(c\d+\+d\d+\) usec, (\d+) ", said)
        if not done:
            raise Failure(f"pktgen: {said.splitlines()[-1]}")
        equal(re.search(r"errors: (\d+)$", said.strip())[1], "0", "pktgen's errors")
        equal(int(done[2]), count, "packets that pktgen sent")
        return Sent(count, int(done[1]) * 1000, own)


class Own:
    """That of module/send.c, which also knows TCP and IPv6."""

    def __init__(self, namespace, device, mac, fixed, net, *, protocol, reply=False, checksum=True, opening=False):
        self.namespace, self.reply, self.net, self.tcp = namespace, reply, net, protocol == "tcp"
        address, port = fixed
        self.words = [f"device={device}", f"mac={mac}", f"protocol={PROTOCOLS[protocol]}", f"fixed={address}",
                      f"fixed_port={port}", f"reply={int(reply)}", f"checksum={int(checksum)}"]
        self.segment = self.opening() if opening else self.data()
        insert()

    def opening(self):
        """What opens a connection: the client's SYN, or the node's answer."""
        return (f"flags={SYN | ACK} seq={THERE} ack={HERE + 1}" if self.reply else f"flags={SYN} seq={HERE}")

    def data(self):
        """The first data of an open connection, again and again."""
        seq, ack = (THERE, HERE) if self.reply else (HERE, THERE)
        return f"flags={PSH | ACK} seq={seq + 1} ack={ack + 1}"

    def acknowledgement(self):
        """What ends the opening."""
        return f"flags={ACK} seq={HERE + 1} ack={THERE + 1}"

    def _order(self, flows, count, segment):
        words = [f"first={self.net.source(flows.first)}", f"first_port={flows.FIRST_PORT}", f"count={count}",
                 f"addresses={flows.addresses}", f"ports={flows.ports}", f"random={int(flows.random)}"]
        return " ".join(["send", *self.words, *words, *([segment] if self.tcp else [])])

    def send(self, flows, count, segment=None):
        """Sends so many packets."""
        order = self._order(flows, count, segment or self.segment).encode()
        with self.namespace, open(CONTROL, "r+b", buffering=0) as control:
            softirqs = executed(("ksoftirqd/0",))
            before = time.thread_time_ns()
            control.write(order)
            own = time.thread_time_ns() - before + executed(("ksoftirqd/0",)) - softirqs
            said = control.read(100).decode().split()
        equal(int(said[1]), count, "packets that the module sent")
        return Sent(count, int(said[3]), own)

    def once(self, flows, count=None, segment=None):
        """Sends once for each of the flows, or for the first `count` of them."""
        self.send(flows.in_turn(), count or flows.count, segment)


def insert():
    """Loads the benchmarks' module."""
    if not os.path.isdir("/sys/module/fep_bench"):
        run("insmod", MODULE)


def order(namespace, text):
    """Tells the benchmarks' module to do something in a namespace."""
    insert()
    with namespace, open(CONTROL, "wb", buffering=0) as control:
        control.write(text.encode())
