#!/usr/bin/env python3
# qemu: --with tests/lib
"""Who may do what: privileges, user namespaces, and which network namespace an open file acts on."""

import ctypes
import os
import sys
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import (COMMIT, DUMP, FLUSH, IOC_COMMIT, IOC_DUMP, IOC_FLUSH, Fep, errno_name, op)  # noqa: E402
from fep_clients import UDP  # noqa: E402
from fep_test import Namespace, case, check, equal, finish, load_module, run  # noqa: E402
from fep_wire import VIP, Wire, node  # noqa: E402

NOBODY = 65534
PR_SET_DUMPABLE = 4
libc = ctypes.CDLL(None, use_errno=True)


def as_child(work):
    """Runs `work()` in a child process; what it raises is raised here."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            work()
        except BaseException:  # pylint: disable=broad-except
            os.write(write, traceback.format_exc().encode()[-2000:])
            os._exit(1)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        text = file.read().decode()
    _, status = os.waitpid(child, 0)
    check(status == 0, text)


def become_nobody():
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def answers(fep):
    """Errnos of a dry run, of each list, and of a flush of nothing."""
    memory = ctypes.create_string_buffer(op("service_add", ("tcp", VIP, 4711)))
    page = ctypes.create_string_buffer(112 * 64)
    commit = COMMIT.pack(ctypes.addressof(memory), 1, 1, 0, 0, 0, 0, 0)
    found = {"commit": errno_name(fep.ioctl(IOC_COMMIT, commit)[0])}
    for number, name in enumerate(("devices", "services", "backends"), 1):
        dump = DUMP.pack(number, 0, 0, ctypes.addressof(page), 64, 0, 0, bytes(24), bytes(24), 0)
        found[name] = errno_name(fep.ioctl(IOC_DUMP, dump)[0])
    found["flush"] = errno_name(fep.ioctl(IOC_FLUSH, FLUSH.pack(bytes(24), bytes(24), 0, 0))[0])
    return found


FORBIDDEN = dict.fromkeys(("commit", "devices", "services", "backends", "flush"), "EPERM")
ALLOWED = dict.fromkeys(FORBIDDEN, "0")


def users(wire):
    before = wire.fep.config()

    def nobody():
        become_nobody()
        with Fep() as fep:
            equal(answers(fep), FORBIDDEN, "answers")
            equal(fep.status().services, 1, "services in the status")

    def nobody_with_roots_file():
        fd = wire.fep
        become_nobody()
        equal(answers(fd), FORBIDDEN, "answers")
        fd.status()

    def nobody_with_bad_pointers():
        become_nobody()
        with Fep() as fep:
            for command in (IOC_COMMIT, IOC_DUMP, IOC_FLUSH):
                equal(libc.ioctl(fep.fd, ctypes.c_ulong(command), ctypes.c_void_p(0)), -1, "result")
                equal(errno_name(ctypes.get_errno()), "EPERM", "errno")

    def root_without_the_capability():
        os.execvp("setpriv", ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable,
                              os.path.abspath(__file__), "expect-forbidden"])

    def in_fe(work):
        def inside():
            # The child ends there: it may not have the right to come back.
            wire.fe.__enter__()
            work()
        return inside

    with case("nobody: the status, and nothing else"):
        as_child(in_fe(nobody))
    with case("nobody with a file that root has opened: no more than that"):
        as_child(in_fe(nobody_with_roots_file))
    with case("without privilege a bad pointer says no more than EPERM"):
        as_child(in_fe(nobody_with_bad_pointers))
    with case("root without CAP_NET_ADMIN is nobody"):
        as_child(in_fe(root_without_the_capability))
    with case("root"):
        as_child(in_fe(lambda: equal(answers(Fep()), ALLOWED, "answers")))
    equal(wire.fep.config(), before, "configuration")


def user_namespaces(wire):
    def own_user_namespace():
        become_nobody()
        os.unshare(os.CLONE_NEWUSER)
        with Fep() as fep:
            equal(answers(fep), FORBIDDEN, "answers about the namespace of others")

    def own_both():
        become_nobody()
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
        with Fep() as fep:
            equal(answers(fep), ALLOWED, "answers about its own namespace")
            equal(fep.status().services, 0, "services")
            fep.add_service(UDP, [(node(1), 53)])
            equal((fep.status().services, fep.status().backends), (1, 1), "services, nodes")
        # The file of the outer namespace stays the outer's.
        equal(answers(wire.fep), FORBIDDEN, "answers about the outer namespace")

    with case("root of a user namespace has no say in the network namespace of others"):
        as_child(own_user_namespace)
    with case("root of a user namespace rules its own network namespace"):
        as_child(own_both)
    with case("nothing of that is left, nothing came here"):
        equal(wire.fep.status().services, 1, "services")


def files(wire):
    other = Namespace("other")
    with case("a file acts on the namespace it was opened in, wherever it is used"):
        with other:
            equal(wire.fep.status().services, 1, "services of fe")
            theirs = Fep()
        equal(theirs.status().services, 0, "services of the other")
        theirs.add_service(("tcp", VIP, 1))
        equal([s.service for s in theirs.dump("services")], [("tcp", VIP, 1)], "the other's")
        equal([s.service for s in wire.fep.dump("services")], [UDP], "fe's")
    with case("devices are looked for in that namespace"):
        out = theirs.try_commit([op("device_attach", device="out0")])
        equal((errno_name(out.errno), out.reason), ("ENODEV", "no_such_device"), "refusal")
        with other:
            out = wire.fep.try_commit([op("device_attach", device="out0")])
            equal(out.reason, "device_attached", "refusal")
    with case("an open file keeps a deleted namespace's configuration; the module stays"):
        other.delete()
        equal(theirs.status().services, 1, "services")
        theirs.commit(op("service_add", ("tcp", VIP, 2)))
        theirs.close()
    with case("many open files"):
        opened = [wire.fe.fep() for _ in range(200)]
        equal({file.status().services for file in opened}, {1}, "services")
        check(int(open("/sys/module/fep/refcnt", encoding="ascii").read()) >= 200, "references to the module")
        for file in opened:
            file.close()
    with case("a module with open files is not unloaded"):
        text = run("rmmod", "fep", check_status=False)
        check("in use" in text, text)
        equal(wire.fep.status().services, 1, "services")


def expect_forbidden():
    """What this file does when it is run without CAP_NET_ADMIN."""
    with Fep() as fep:
        if answers(fep) != FORBIDDEN:
            sys.exit(f"not forbidden: {answers(fep)}")
        fep.status()


def main():
    if sys.argv[1:] == ["expect-forbidden"]:
        expect_forbidden()
        return
    load_module()
    wire = Wire()
    wire.fep.add_service(UDP, [(node(1), 53)])
    users(wire)
    user_namespaces(wire)
    files(wire)
    finish()


main()
