#!/usr/bin/env python3
# qemu: --with tests/lib --smp 2
# timeout: 1800
"""Every allocation of every operation fails once: the operation ends with ENOMEM, or does without, nothing
is half done, traffic goes on and nothing leaks. Without fault injection in the kernel each operation is
done once, and that is all."""

import ctypes
import errno
import os
import platform
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_failnth  # noqa: E402
from fep_abi import Fep, op  # noqa: E402
from fep_lab import VIP, Lab, UdpMirror, node  # noqa: E402
from fep_test import case, check, equal, finish, load_module, module_loaded, note, run, skip  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_DELETE_MODULE, SYS_FINIT_MODULE = 176, 313
SERVICE, OTHER = ("udp", VIP, 53), ("tcp", VIP, 8000)
SLOW = 60


class Operation:
    """What is done, and undone; `same()` is what must be as it was when it has failed."""

    def __init__(self, do, undo=None, same=lambda: None):
        self.do, self.same = do, same
        self.undo = undo or (lambda: None)
        self.before = same()

    def __call__(self):
        try:
            return self.do() or 0
        except OSError as error:
            return error.errno

    def failed(self, number):
        equal(errno.errorcode.get(number), "ENOMEM", "how it ended")
        equal(self.same(), self.before, "what was there before")


def walked(name, operation, can):
    """Has each allocation of an operation fail; the operation can be done afterwards."""
    with case(f"{name}: without memory it fails and changes nothing" if can else f"{name}: it works"):
        if can:
            failed, stood = fep_failnth.walk(operation, operation.failed)
            note(f"{name}: {failed} allocations were failed, {stood} of them it did without")
            check(failed, "no allocation was failed")
        else:
            equal(operation(), 0, "errno")
        operation.undo()


def raw_call(*arguments):
    """Errno of a system call, made without the help of others."""
    return ctypes.get_errno() if LIBC.syscall(*arguments) < 0 else 0


def loading(can):
    """The module's own."""
    path = f"/usr/lib/modules/{platform.release()}/updates/fep.ko"
    with open(path, "rb") as file:
        load = Operation(lambda: raw_call(SYS_FINIT_MODULE, file.fileno(), b"", 0),
                         lambda: equal(raw_call(SYS_DELETE_MODULE, b"fep", 0), 0, "errno of unloading"), module_loaded)
        walked("load", load, can)
    load_module()


def opening(can):
    def open_and_close():
        number = os.open("/dev/fep", os.O_RDWR)
        os.close(number)
    walked("open", Operation(open_and_close), can)


def namespace(can):
    """Another task's, so that ours stays where it is."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    walked("namespace", Operation(lambda: os.unshare(os.CLONE_NEWNET),
                                  lambda: os.setns(home, os.CLONE_NEWNET)), can)
    os.close(home)


def commits(lab, fep, can):
    def commit(*ops):
        return lambda: fep.try_commit(ops).errno

    add = (op("service_add", OTHER), op("backend_add", OTHER, (node(1), 80)), op("backend_add", OTHER, (node(2), 80)))
    walked("commit that adds a service", Operation(commit(*add), lambda: fep.commit(op("service_del", OTHER)),
                                                    weights(fep)), can)
    six = ("tcp", "2001:db8::10", 80)
    walked("commit that adds a service of IPv6", Operation(
        commit(op("service_add", six), op("backend_add", six, (node(1, 6), 80))),
        lambda: fep.commit(op("service_del", six)), weights(fep)), can)
    fep.commit(*add)
    walked("commit that changes a weight", Operation(commit(op("backend_set", OTHER, (node(1), 80), weight=7)),
           lambda: fep.commit(op("backend_set", OTHER, (node(1), 80), weight=1)), weights(fep)), can)
    walked("commit that removes a service", Operation(commit(op("service_del", OTHER)), lambda: fep.commit(*add),
           weights(fep)), can)
    lab.fe.ip("link add extra type dummy", "link set extra up")
    walked("commit that attaches a device", Operation(commit(op("device_attach", device="extra")),
           lambda: fep.commit(op("device_detach", device="extra")), weights(fep)), can)
    fep.attach("extra")
    walked("commit that detaches a device", Operation(commit(op("device_detach", device="extra")),
           lambda: fep.attach("extra"), weights(fep)), can)
    fep.commit(op("device_detach", device="extra"), op("service_del", OTHER))


def weights(fep):
    """The configuration but for its generation, which each change and its undoing raise."""
    return lambda: fep.config()[1:]


def others(lab, fep, can):
    def listed(objects):
        def do():
            fep.page(objects)
        return do

    for objects in ("devices", "services", "backends", "nodes", "routes"):
        walked(f"list of {objects}", Operation(listed(objects), None, weights(fep)), can)

    walked("flush", Operation(lambda: fep.flush(("tcp", VIP, 9)) and 0, None, weights(fep)), can)

    def end():
        fep.end(fep.routes(tokens=True)[:1])

    walked("end of routes", Operation(end, None, weights(fep)), can)

    def subscribe():
        with lab.fe, Fep() as own:
            own.subscribe(1000)

    walked("subscription", Operation(subscribe, None, weights(fep)), can)


class Traffic:
    """A client that asks, on a port of its own or on one that has no route yet."""

    def __init__(self, lab):
        self.lab = lab
        self.steady = self._socket()

    def _socket(self):
        found = self.lab.c.socket(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        found.settimeout(SLOW)
        return found

    def flows(self, sock=None):
        sock = sock or self.steady
        sock.sendto(b"hello", (VIP, SERVICE[2]))
        equal(sock.recv(100), b"hello", "what came back")

    def flows_for_new(self, count=20):
        for _ in range(count):
            with self._socket() as sock:
                self.flows(sock)


def main():
    can = fep_failnth.available()
    if not can:
        skip("allocation failure", "this kernel has no fault injection")
    loading(can)
    opening(can)
    namespace(can)
    lab = Lab()
    mirrors = [UdpMirror(lab.b[n], 53) for n in lab.b]
    fep = lab.fep
    fep.add_service(SERVICE, [(node(n), 53) for n in lab.b])
    traffic = Traffic(lab)
    with case("traffic flows"):
        traffic.flows()
        traffic.flows_for_new()
    commits(lab, fep, can)
    others(lab, fep, can)
    with case("traffic goes on"):
        traffic.flows()
        traffic.flows_for_new()
    for mirror in mirrors:
        mirror.close()
    traffic.steady.close()
    lab.delete()
    with case("it is unloaded"):
        run("rmmod", "fep")
        check(not module_loaded(), "it is loaded still")
    finish()


main()
