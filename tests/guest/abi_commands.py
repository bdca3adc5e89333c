#!/usr/bin/env python3
# qemu: --with tests/lib --mem 1G
"""Commands as a whole: unknown ones, bad pointers, transactions, generations, large commits, and
lists that are read page by page while they change."""

import ctypes
import mmap
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import (COMMIT, DUMP, FLUSH, IOC_COMMIT, IOC_DUMP, IOC_FLUSH, IOC_STATUS, OPS_MAX,  # noqa: E402
                     STATUS, errno_name, op, service_id)
from fep_clients import UDP, Clients, chosen  # noqa: E402
from fep_test import case, check, equal, finish, load_module, note  # noqa: E402
from fep_wire import VIP, Wire, node  # noqa: E402

COMMANDS = {"status": (IOC_STATUS, STATUS), "commit": (IOC_COMMIT, COMMIT), "dump": (IOC_DUMP, DUMP),
            "flush": (IOC_FLUSH, FLUSH)}
BAD_POINTERS = (0, 1, 4096, 0x7FFF_FFFF_F000, 0x8000_0000_0000, 0xFFFF_8000_0000_0000, 0xFFFF_FFFF_FFFF_FFF8,
                0xFFFF_FFFF_FFFF_FFFF)
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)


def raw_ioctl(fep, command, address):
    """The errno of an ioctl with this very pointer."""
    return errno_name(ctypes.get_errno()) if libc.ioctl(fep.fd, command, address) else "0"


class Guarded:
    """Memory whose end is followed by a page that nobody may touch."""

    def __init__(self, data):
        size = -(-len(data) // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = mmap.mmap(-1, size + mmap.PAGESIZE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        if libc.mprotect(ctypes.c_void_p(base + size), mmap.PAGESIZE, 0):
            raise OSError("mprotect")
        self.address = base + size - len(data)
        ctypes.memmove(self.address, data, len(data))


def unknown_commands(fep):
    before = fep.config()
    with case("unknown commands: ENOTTY"):
        buffer = ctypes.create_string_buffer(16384)
        commands = [code ^ bit for code, _ in COMMANDS.values() for bit in (
            1 << 30, 2 << 30, 3 << 30, 1 << 16, 8 << 16, 0x100, 0x40, 0x80)]
        commands += [(3 << 30) | (64 << 16) | 0xF900 | number for number in range(4, 256)]
        commands += [0, 1, 0xFFFFFFFF, 0x5401, 0x5421]
        known = {code for code, _ in COMMANDS.values()}
        for command in commands:
            if command in known:
                continue
            # FIONBIO and its like are the file layer's own.
            if command == 0x5421:
                continue
            equal(raw_ioctl(fep, command, ctypes.addressof(buffer)), "ENOTTY", f"{command:#x}")
    with case("read, write, lseek, mmap of the device"):
        for name, attempt in (("read", lambda: os.read(fep.fd, 10)), ("write", lambda: os.write(fep.fd, b"x")),
                              ("mmap", lambda: mmap.mmap(fep.fd, 4096))):
            try:
                attempt()
            except OSError as error:
                check(errno_name(error.errno) in ("EINVAL", "ENODEV"), f"{name}: {error}")
            else:
                raise AssertionError(f"{name} worked")
    equal(fep.config(), before, "configuration")


def pointers(fep):
    before = fep.config()
    with case("bad pointers to the structure: EFAULT"):
        for name, (command, _) in COMMANDS.items():
            for address in BAD_POINTERS:
                equal(raw_ioctl(fep, command, address), "EFAULT", f"{name} {address:#x}")
    with case("a structure that is not all there: EFAULT"):
        for name, (command, layout) in COMMANDS.items():
            memory = Guarded(bytes(layout.size))
            for cut in (1, 8, layout.size - 1):
                equal(raw_ioctl(fep, command, memory.address + cut), "EFAULT", f"{name}, {cut} bytes short")
    with case("a structure that cannot be written: EFAULT"):
        page = mmap.mmap(-1, mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        libc.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ)
        for name in ("status", "flush"):
            equal(raw_ioctl(fep, COMMANDS[name][0], address), "EFAULT", name)
    with case("bad pointers to operations: EFAULT, nothing changed"):
        good = op("service_add", ("udp", VIP, 77))
        for address in BAD_POINTERS:
            number, _ = fep.ioctl(IOC_COMMIT, COMMIT.pack(address, 1, 0, 0, 0, 0, 0, 0))
            equal(errno_name(number), "EFAULT", f"{address:#x}")
        for count in (1, 2, 31, 32, 33, 64, 100):
            many = Guarded(b"".join(op("service_add", ("udp", VIP, 1000 + n)) for n in range(count)))
            number, _ = fep.ioctl(IOC_COMMIT, COMMIT.pack(many.address, count + 1, 0, 0, 0, 0, 0, 0))
            equal(errno_name(number), "EFAULT", f"{count} of {count + 1} operations")
            equal(fep.config(), before, "configuration")
        short = Guarded(good[1:])
        number, _ = fep.ioctl(IOC_COMMIT, COMMIT.pack(short.address, 1, 0, 0, 0, 0, 0, 0))
        equal((errno_name(number), fep.config()), ("EFAULT", before), "one byte short")
    with case("bad pointers to a page: EFAULT"):
        for address in BAD_POINTERS:
            number, _ = fep.ioctl(IOC_DUMP, DUMP.pack(1, 0, 0, address, 64, 0, 0, bytes(24), bytes(24), 0))
            equal(errno_name(number), "EFAULT", f"{address:#x}")
    with case("operations of any alignment"):
        memory = ctypes.create_string_buffer(b"\0\0\0" + op("service_add", ("udp", VIP, 77)))
        number, _ = fep.ioctl(IOC_COMMIT, COMMIT.pack(ctypes.addressof(memory) + 3, 1, 1, 0, 0, 0, 0, 0))
        equal(number, 0, "errno")


def transactions(fep):
    before = fep.config()
    with case("a commit's own fields"):
        good = [op("service_add", ("udp", VIP, 77))]
        for flags in (2, 3, 4, 0x80000000, 0xFFFFFFFF):
            out = fep.try_commit(good, flags=flags)
            equal((errno_name(out.errno), out.reason), ("EINVAL", "unknown_flag"), f"flags {flags:#x}")
        for count in (0, OPS_MAX + 1, 0xFFFFFFFF):
            out = fep.try_commit(good, count=count)
            equal((errno_name(out.errno), out.reason), ("EINVAL", "bad_op_count"), f"{count} operations")
        equal(fep.config(), before, "configuration")
    with case("expected generation: another one is refused, the right one is not"):
        generation = fep.status().generation
        for expect in (generation - 1, generation + 1, 1 << 63, 0xFFFF_FFFF_FFFF_FFFF):
            if expect == 0:
                continue
            out = fep.try_commit(good, expect=expect)
            equal((errno_name(out.errno), out.reason, out.generation), ("EBUSY", "generation_changed", generation),
                  f"expect {expect}")
        equal(fep.config(), before, "configuration")
        out = fep.commit(*good, expect=generation)
        equal((out.generation, fep.status().generation), (generation + 1, generation + 1), "generation")
        out = fep.try_commit([op("service_del", ("udp", VIP, 77))], expect=generation)
        equal(out.reason, "generation_changed", "the old generation")
        fep.commit(op("service_del", ("udp", VIP, 77)))
    with case("a dry run finds what is wrong and changes nothing"):
        before = fep.config()
        out = fep.commit(*good, op("device_detach", device="out0"), op("limit_set", limit=5), dry_run=True)
        equal((out.generation, fep.config()), (before[0], before), "configuration")
        out = fep.try_commit([*good, *good], dry_run=True)
        equal((out.reason, out.failed), ("service_exists", 1), "refusal")
    with case("every kind of operation before one that fails: nothing of it happens"):
        ops = [op("service_add", ("udp", VIP, 77)), op("service_set", UDP, timeouts=(1,) * 5),
               op("backend_add", UDP, (node(4), 53), weight=3), op("backend_set", UDP, (node(1), 53), weight=9),
               op("backend_del", UDP, (node(2), 53)), op("backend_fail", None, (node(1), 53)),
               op("device_detach", device="out0"), op("device_attach", device="spare0"), op("limit_set", limit=7)]
        routes = sorted((r.client, r.backend) for r in fep.routes())
        check(len(routes) == 100, f"{len(routes)} routes")
        out = fep.try_commit([*ops, op("service_del", ("tcp", VIP, 9))])
        equal((out.reason, out.failed, fep.config()), ("no_such_service", len(ops), before), "outcome")
        equal(sorted((r.client, r.backend) for r in fep.routes()), routes, "routes")
    with case("all of them together"):
        out = fep.commit(*ops)
        equal((out.deleted, fep.status().limit, sorted(fep.devices())), (100, 7, ["in0", "spare0"]), "outcome")
        equal([(b.backend, b.weight, b.state) for b in fep.dump("backends")],
              [((node(1), 53), 9, 1), ((node(4), 53), 3, 0)], "nodes")


def timed(fep, *ops):
    """How many seconds a commit takes."""
    start = time.monotonic()
    out = fep.try_commit(ops)
    return time.monotonic() - start, out


def large(fep):
    """As large as it gets. Time is bounded loosely: an operation that is not constant shows by far."""
    services = [("tcp", f"10.9.{n >> 8}.{n & 255}", 80) for n in range(OPS_MAX)]
    add = [op("service_add", service) for service in services]
    with case("65,536 services in one commit; with the last one bad, none"):
        before = fep.config()
        seconds, out = timed(fep, *add[:-1], op("service_add", services[0]))
        equal((out.reason, out.failed), ("service_exists", OPS_MAX - 1), "refusal")
        equal(fep.config(), before, "configuration")
        note(f"refused after {seconds:.2f} s")
        seconds, out = timed(fep, *add)
        note(f"done after {seconds:.2f} s")
        equal((out.errno, fep.status().services), (0, OPS_MAX), "services")
    with case("one more is too many"):
        out = fep.try_commit([op("service_add", ("udp", VIP, 1))])
        equal((errno_name(out.errno), out.reason), ("ENOSPC", "too_many_services"), "refusal")
    with case("list of 65,536 services"):
        records = fep.dump("services", raw=True)
        equal([record[:24] for record in records] == [service_id(s) for s in services], True, "services, in order")
    with case("one small change among them"):
        seconds, out = timed(fep, op("service_set", services[4711], timeouts=(1,) * 5))
        equal(out.errno, 0, "errno")
        note(f"done after {seconds:.2f} s")
    with case("65,536 deletions in one commit"):
        seconds, out = timed(fep, *(op("service_del", service) for service in services))
        note(f"done after {seconds:.2f} s")
        equal((out.errno, fep.status().services), (0, 0), "services")
    with case("4,096 nodes of a service; one more is too many"):
        fep.commit(op("service_add", UDP))
        seconds, out = timed(fep, *(op("backend_add", UDP, (f"10.8.{n >> 8}.{n & 255}", 53), weight=n % 100)
                                    for n in range(4096)))
        note(f"done after {seconds:.2f} s")
        equal((out.errno, fep.status().backends), (0, 4096), "nodes")
        out = fep.try_commit([op("backend_add", UDP, ("10.7.0.1", 53), weight=1)])
        equal((errno_name(out.errno), out.reason), ("ENOSPC", "too_many_backends"), "refusal")
        equal([b.backend[0] for b in fep.dump("backends")],
              [f"10.8.{n >> 8}.{n & 255}" for n in range(4096)], "nodes, in order")
        fep.commit(op("service_del", UDP))


def paged(fep, objects, between):
    """A list in the smallest pages, with `between()` after each."""
    records, cursor = [], 0
    while True:
        more, page = fep.page(objects, cursor, 64)
        check(len(more) <= 64, "size of the page")
        records += more
        if page.end:
            return records
        check(page.cursor > cursor, "the cursor moves")
        cursor = page.cursor
        between(len(records))


def paging(wire, fep):
    names = [("tcp", VIP, 1000 + n) for n in range(400)]
    fep.commit(*(op("service_add", name) for name in names),
               *(op("backend_add", name, (node(n), 80), weight=1) for name in names for n in (1, 2)))
    with case("services: what is there throughout is listed exactly once"):
        gone = set()

        def change(seen):
            # One before the cursor, one behind it, and a new one.
            for name in (names[seen // 2], names[200 + seen // 2]):
                if name not in gone:
                    gone.add(name)
                    fep.commit(op("service_del", name), op("service_add", ("udp", VIP, 2000 + len(gone))))

        listed = [record.service for record in paged(fep, "services", change)]
        check(len(gone) > 8, f"{len(gone)} deleted meanwhile")
        equal(len(listed), len(set(listed)), "listed once")
        equal([name for name in names if name not in gone and name not in listed], [], "missing")
    with case("nodes: what is there throughout is listed exactly once"):
        left = [record.service for record in fep.dump("services") if record.backends == 2]
        changed = set()

        def change_nodes(seen):
            for name in (left[seen // 8], left[200 + seen // 16]):
                if name not in changed:
                    changed.add(name)
                    fep.commit(op("backend_del", name, (node(1), 80)), op("backend_add", name, (node(3), 80), weight=1))

        listed = [(record.service, record.backend) for record in paged(fep, "backends", change_nodes)]
        equal(len(listed), len(set(listed)), "listed once")
        want = {(name, (node(n), 80)) for name in left for n in (1, 2) if n == 2 or name not in changed}
        equal(want - set(listed), set(), "missing")
    fep.commit(*(op("service_del", record.service) for record in fep.dump("services")))
    fep.add_service(UDP, [(node(1), 53)])
    with case("routes: what is there throughout is listed exactly once, while the table grows"):
        clients = Clients(30_000)
        chosen(wire, clients.take(1000))
        stay = {route.client for route in fep.routes()}
        equal(len(stay), 1000, "routes")
        buckets = fep.status().buckets
        listed = [route.client for route in paged(fep, "routes", lambda _: chosen(wire, clients.take(300)))]
        check(fep.status().buckets > 4 * buckets, f"{buckets} buckets, then {fep.status().buckets}")
        equal(stay - set(listed), set(), "missing")
        twice = [client for client in listed if client in stay and listed.count(client) > 1]
        equal(twice, [], "listed twice")
    with case("routes: deleted meanwhile"):
        listed = [route.client for route in paged(fep, "routes", lambda seen: fep.flush() if seen > 300 else 0)]
        equal(len(listed), len(set(listed)), "listed once")
        check(len(listed) < 400, "the list ends early")
    with case("any cursor ends the list or is refused"):
        for objects in ("devices", "services", "backends", "routes", "nodes"):
            for cursor in (1, 0xFFFFFF, 0xFFFF_FFFF, 1 << 32, (2 << 32) - 1, 2 << 32, (2 << 32) + 1, 3 << 32,
                           (1 << 56) - 1, 1 << 63, 0xFFFF_FFFF_FFFF_FFFF):
                try:
                    fep.page(objects, cursor, 64)
                except OSError as error:
                    equal(errno_name(error.errno), "EINVAL", f"{objects} from {cursor:#x}")
    with case("a page larger than the kernel makes is no harm"):
        memory = ctypes.create_string_buffer(112 * 4096)
        number, out = fep.ioctl(IOC_DUMP, DUMP.pack(3, 0, 0, ctypes.addressof(memory), 0xFFFFFFFF, 0, 0, bytes(24),
                                                    bytes(24), 0))
        equal((number, DUMP.unpack(out)[5]), (0, 1), "errno, records")


def main():
    load_module()
    wire = Wire()
    wire.fe.ip("link add spare0 type dummy")
    fep = wire.fep
    fep.add_service(UDP, [(node(1), 53), (node(2), 53)])
    with case("the version"):
        equal(fep.status().abi, (1, 2), "major, minor")
    unknown_commands(fep)
    pointers(fep)
    chosen(wire, Clients().take(100))
    transactions(fep)
    fep.commit(op("device_detach", device="spare0"), op("device_attach", device="out0"), op("limit_set", limit=100_000),
               *(op("service_del", record.service) for record in fep.dump("services")))
    paging(wire, fep)
    fep.commit(op("service_del", UDP))
    large(fep)
    finish()


main()
