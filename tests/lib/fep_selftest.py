"""The self-test build of the module: what it can do, by name. See module/selftest.rs."""

import fcntl
import glob
import os
import platform
import socket
from concurrent.futures import ThreadPoolExecutor

from fep_test import Failure, Namespace, check, equal, run, veth, wait_for

COMMAND = 0x7E00
DEVICE = "/dev/fep_selftest"
PORT = 4444
# Seconds for what takes a moment.
SLOW = 120


def load(*parameters):
    """Loads the self-test build in place of the module."""
    found = glob.glob(f"{os.environ['FEP_TREE']}/build/{platform.release()}.selftest/modroot/lib/modules/*/updates/fep.ko")
    equal(len(found), 1, "modules of the self-test build here")
    run("insmod", found[0], *parameters)


class Selftest:
    """An open file of the device, with its own state and that of the caller's namespace."""

    def __init__(self):
        self.fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        lines = [line.split() for line in os.read(self.fd, 65536).decode().splitlines()]
        self.numbers = {name: number for number, (_, name) in enumerate(lines)}
        self.kinds = {}
        for kind, name in lines:
            self.kinds.setdefault(kind, []).append(name)
        equal(len(self.numbers), len(lines), "names, each once")
        self.used = set()

    def __call__(self, name, argument=0):
        """Runs it and returns what it has found."""
        self.used.add(name)
        try:
            return fcntl.ioctl(self.fd, COMMAND + self.numbers[name], argument)
        except OSError as error:
            raise Failure(f"{name}({argument}): {error.strerror}: {said(name)}") from error

    def at_once(self, *calls):
        """Runs (name, argument) in a thread for each, and returns what they have found."""
        with ThreadPoolExecutor(len(calls)) as pool:
            return [future.result() for future in [pool.submit(self, *call) for call in calls]]

    def unused(self, *kinds):
        return sorted(name for kind in kinds for name in self.kinds[kind] if name not in self.used)

    def close(self):
        os.close(self.fd)


def log():
    """The kernel's log, without its times."""
    return run("dmesg", "--notime").splitlines()


def said(name):
    """The last lines that the module has said of it."""
    lines = [line for line in log() if "selftest: " in line]
    return " / ".join(lines[-2:]) or f"nothing said of {name}"


def all_reported(names):
    """Each of the cases has reported itself, once and as good."""
    reports = [line.partition("selftest: ")[2] for line in log() if "selftest: " in line]
    equal(sorted(reports), sorted(f"{name} ok" for name in names), "reports in the log")
    check(names, "no cases at all")


class Peer:
    """What is beyond st0."""

    def __init__(self, here, name):
        self.there = Namespace(name, ipv6=True)
        veth(here, "st0", self.there, "st1")
        here.ip("addr add 10.9.0.1/24 dev st0", "addr add 2001:db8:9::1/64 dev st0")
        self.there.ip("addr add 10.9.0.2/24 dev st1", "addr add 2001:db8:9::2/64 dev st1")
        self.sockets = {family: self.there.socket(lambda family=family: socket.socket(family, socket.SOCK_DGRAM))
                        for family in (socket.AF_INET, socket.AF_INET6)}
        for family, peer in self.sockets.items():
            if family == socket.AF_INET6:
                peer.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            peer.bind(("", PORT))
            peer.settimeout(SLOW)
        self.here = here
        self.ready()

    def ready(self):
        """Waits until both ends know of each other: before, they drop what they are given."""
        for there, device in ((self.here, "st0"), (self.there, "st1")):
            wait_for(lambda t=there, d=device: " state UP " in t.run("ip", "-o", "link", "show", d), f"{device} up", SLOW)

    def send(self):
        self.sockets[socket.AF_INET].sendto(b"x", ("10.9.0.1", 9))

    def delete(self):
        for peer in self.sockets.values():
            peer.close()
        self.there.delete()
