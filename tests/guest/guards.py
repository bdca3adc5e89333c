#!/usr/bin/env python3
# qemu: --smp 2 --with tests/lib
"""What must not happen: a front-end cut off from its nodes, a node's address shown to a client, a
machine that waits for somebody's long commit, a container that takes more than the host gives."""

import ctypes
import os
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import Fep, op  # noqa: E402
from fep_lab import VIP, Lab, Mirrored, TcpMirror, node  # noqa: E402
from fep_test import case, check, equal, finish, load_module, run, wait_for  # noqa: E402

WEB = ("tcp", VIP, 80)
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
ETH_P_ALL = socket.htons(3)
libc = ctypes.CDLL(None, use_errno=True)


def front_end_reaches_its_nodes(lab):
    with case("the front-end itself reaches a node's service port"):
        before = lab.fep.counters()
        direct = Mirrored(lab.fe, vip=node(1), seconds=5)
        equal(direct.ask(b"are you well?"), b"one", "who answers")
        direct.close()
        equal(lab.fep.counters()["drop_stale_reply"], before["drop_stale_reply"], "drop_stale_reply")


def address_becomes_local(lab):
    with case("an address that was a client's and becomes the host's makes no more routes, until it is gone"):
        raw = lab.c.socket(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        address, ports = "198.51.100.77", iter(range(41000, 41100))

        def grown(counter, count):
            before = lab.fep.counters()[counter]
            for _ in range(count):
                raw.sendto(syn(address, next(ports)), (VIP, 0))
            wait_for(lambda: lab.fep.counters()[counter] - before >= count, f"{count} more in {counter}")

        grown("route_allocated", 3)
        for _ in range(2):
            lab.fe.ip(f"addr add {address}/32 dev out0")
            grown("pass_foreign", 3)
            lab.fe.ip(f"addr del {address}/32 dev out0")
            grown("route_allocated", 3)


def martian_clients(lab):
    with case("clients that claim to be the host make no routes, and do not disturb its connections"):
        raw = lab.c.socket(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        before = lab.fep.counters()
        own = "10.0.1.1"
        for source in (own, VIP, "192.0.2.1", "192.0.2.255", "10.0.1.255"):
            for port in range(40000, 40004):
                raw.sendto(syn(source, port), (VIP, 0))
        wait_for(lambda: lab.fep.counters()["pass_foreign"] - before["pass_foreign"] >= 20, "martians counted")
        after = lab.fep.counters()
        equal(after["route_allocated"], before["route_allocated"], "route_allocated")
        for port in range(40000, 40004):
            direct = lab.fe.socket(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            direct.settimeout(3)
            direct.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            direct.bind((own, port))
            direct.connect((node(1), 80))
            direct.close()


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source, port):
    """A SYN to the web service from any source; the kernel completes the IP header's checksum."""
    addresses = socket.inet_aton(source) + socket.inet_aton(VIP)
    tcp = struct.pack("!HHIIBBHHH", port, 80, 1, 0, 5 << 4, 2, 1024, 0, 0)
    total = checksum(addresses + struct.pack("!HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + addresses + tcp


def failed_and_restored_at_once(lab):
    with case("a node that fails and is restored in one commit serves again"):
        lab.fep.commit(op("backend_fail", WEB, (node(1), 0)), op("backend_restore", WEB, (node(1), 0)))
        for _ in range(3):
            connection = Mirrored(lab.c, seconds=5)
            check(connection.ask(b"x" * 5000) in (b"one", b"two"), "answer of no node")
            connection.close()


def dead_neighbour(lab):
    with case("a node that does not answer ARP is not named to the client"):
        lab.fep.commit(op("backend_set", WEB, (node(2), 80), weight=0))
        lab.b[1].ip("link set b0 down")
        lab.fe.ip("neigh flush dev in1")
        tap = lab.c.socket(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, ETH_P_ALL))
        tap.bind(("c0", 3))
        tap.settimeout(0.1)
        frames = []
        stop = threading.Event()

        def listen():
            while not stop.is_set():
                try:
                    frames.append(tap.recv(2000))
                except TimeoutError:
                    continue

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        client = lab.c.socket(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        client.setblocking(False)
        client.connect_ex((VIP, 80))
        # Three probes of a second each, then the neighbour is given up.
        wait_for(lambda: "FAILED" in lab.fe.run("ip", "neigh", "show", "dev", "in1"), "neighbour given up", 15)
        time.sleep(0.5)
        stop.set()
        listener.join()
        check(any(socket.inet_aton(VIP) in frame for frame in frames), "nothing was captured")
        shown = [frame.hex() for frame in frames if socket.inet_aton(node(1)) in frame]
        equal(shown, [], "frames with the node's address")
        lab.b[1].ip("link set b0 up", "route replace default via 10.0.1.1")
        lab.fep.commit(op("backend_set", WEB, (node(2), 80), weight=1))


def in_container(work):
    """Runs `work(fep)` in a child that is an unprivileged user, root of its own user namespace.
    Returns the child and the reading end of its pipe."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            libc.prctl(4, 1, 0, 0, 0)
            if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            with Fep() as fep:
                os.write(write, (work(fep) or "done").encode())
        except BaseException as error:  # pylint: disable=broad-except
            os.write(write, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(write)
    return child, read


def outcome(child, read):
    with os.fdopen(read, "rb") as file:
        text = file.read().decode()
    os.waitpid(child, 0)
    return text


def limits_of_containers():
    def raise_limit(fep):
        limit = fep.status().limit
        fep.commit(op("limit_set", limit=limit // 2))
        fep.commit(op("limit_set", limit=limit))
        out = fep.try_commit([op("limit_set", limit=limit + 1)])
        return f"{out.errno} {out.reason} {fep.status().limit - limit}"

    with case("a container cannot raise its limit above the module's"):
        equal(outcome(*in_container(raise_limit)), "1 limit_not_permitted 0", "what became of it")
    with case("the host's administrator can"):
        with Fep() as fep:
            limit = fep.status().limit
            fep.commit(op("limit_set", limit=limit + 1))
            equal(fep.status().limit, limit + 1, "limit")
            fep.commit(op("limit_set", limit=limit))


def long_commits():
    services = [("tcp", struct.pack("!I", 0xC6120000 + n), 80) for n in range(4000)]
    setup = [op("service_add", service) for service in services]
    setup += [op("backend_add", service, ("10.9.9.9", 80)) for service in services]
    # Each of these looks at every service.
    marks = [op(kind, None, ("10.9.9.9", 0)) for _ in range(4000) for kind in ("backend_fail", "backend_restore")]

    def endless(fep):
        fep.commit(*setup)
        while True:
            fep.commit(*marks)

    with case("a container's long commits hold up nobody, and can be killed"):
        child, read = in_container(endless)
        time.sleep(3)
        slowest = 0.0
        for _ in range(5):
            start = time.monotonic()
            run("ip", "link", "add", "d0", "type", "dummy")
            run("ip", "link", "del", "d0")
            slowest = max(slowest, time.monotonic() - start)
        check(os.waitpid(child, os.WNOHANG) == (0, 0), "the commits ended by themselves: nothing was tested")
        check(slowest < 2, f"ip link took {slowest:.1f} s")
        start = time.monotonic()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        check(time.monotonic() - start < 2, f"the killed commit went on for {time.monotonic() - start:.1f} s")


def main():
    load_module()
    lab = Lab(nodes=2)
    for number, name in ((1, b"one"), (2, b"two")):
        TcpMirror(lab.b[number], 80, name)
    lab.fep.add_service(WEB, [(node(1), 80), (node(2), 80)])
    front_end_reaches_its_nodes(lab)
    martian_clients(lab)
    address_becomes_local(lab)
    failed_and_restored_at_once(lab)
    dead_neighbour(lab)
    limits_of_containers()
    long_commits()
    lab.delete()
    finish()


main()
