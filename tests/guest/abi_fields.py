#!/usr/bin/env python3
# qemu: --with tests/lib
"""Every field of every structure with every kind of bad value: the errno, the reason, the operation
that is named, and that nothing has changed."""

import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import (DUMP, FLUSH, IOC_DUMP, IOC_FLUSH, IOC_STATUS, KINDS, LIMIT_MAX, OP, STATUS,  # noqa: E402
                     TIMEOUT_MAX, WEIGHT_MAX, endpoint, errno_name, op, service_id)
from fep_test import case, equal, finish, load_module  # noqa: E402
from fep_wire import VIP, Wire, node  # noqa: E402

U32 = 0xFFFFFFFF
SERVICE, ABSENT, FRESH = ("udp", VIP, 53), ("udp", VIP, 99), ("tcp", VIP, 99)
NODE, NO_NODE = (node(1), 53), (node(7), 53)
# Offset and size of each field of an operation, from its documentation.
FIELDS = {"kind": (0, 4), "flags": (4, 4), "service": (8, 24), "backend": (32, 24), "weight": (56, 4),
          "scheduler": (60, 4), "timeouts": (64, 20), "limit": (84, 4), "device": (88, 16), "reserved": (104, 24)}
assert sum(size for _, size in FIELDS.values()) == OP.size
USES = {"device_attach": "device", "device_detach": "device", "service_add": "service scheduler timeouts",
        "service_set": "service scheduler timeouts", "service_del": "service",
        "backend_add": "service backend weight", "backend_set": "service backend weight",
        "backend_del": "service backend", "backend_fail": "service backend", "backend_restore": "service backend",
        "limit_set": "limit"}
GOOD = {
    "device_attach": op("device_attach", device="spare0"),
    "device_detach": op("device_detach", device="out0"),
    "service_add": op("service_add", FRESH),
    "service_set": op("service_set", SERVICE),
    "service_del": op("service_del", SERVICE),
    "backend_add": op("backend_add", SERVICE, NO_NODE, weight=1),
    "backend_set": op("backend_set", SERVICE, NODE, weight=7),
    "backend_del": op("backend_del", SERVICE, NODE),
    "backend_fail": op("backend_fail", SERVICE, NODE),
    "backend_restore": op("backend_restore", SERVICE, NODE),
    "limit_set": op("limit_set", limit=1000),
}
NOT_UNICAST = [bytes(4), b"\0\1\2\3", b"\x7f\0\0\1", b"\x7f\xff\xff\xff", b"\xe0\0\0\1",
               b"\xef\xff\xff\xff", b"\xff" * 4]


def patched(data, at, value):
    return data[:at] + value + data[at + len(value):]


def u32(value):
    return struct.pack("=I", value)


def bad_addresses(at):
    """Bad values of an address at `at`: (offset, bytes, reason)."""
    for address in NOT_UNICAST:
        yield at, address, "address_not_unicast"
    for unused in range(4, 16):
        yield at + unused, b"\1", "reserved_not_zero"


def bad_services(optional):
    start = FIELDS["service"][0]
    if optional:
        # No service, but something in it.
        none = bytes(24)
        for at in range(1, 24):
            yield start, patched(none, at, b"\1"), "reserved_not_zero"
    for family in ((1, 2, 3, 5, 10, 255) if optional else (0, 1, 2, 3, 5, 10, 255)):
        yield start, bytes([family]), "bad_family"
    yield start, b"\6", "family_unsupported"
    for protocol in (0, 1, 5, 7, 16, 18, 132, 136, 255):
        yield start + 1, bytes([protocol]), "bad_protocol"
    yield start + 2, b"\0\0", "port_zero"
    for byte in range(4):
        yield start + 4 + byte, b"\x80", "reserved_not_zero"
    yield from bad_addresses(start + 8)


def bad_backends(any_port):
    start = FIELDS["backend"][0]
    for family in (0, 1, 2, 3, 5, 10, 255):
        yield start, bytes([family]), "bad_family"
    yield start, b"\6", "family_unsupported"
    yield start + 1, b"\1", "reserved_not_zero"
    if not any_port:
        yield start + 2, b"\0\0", "port_zero"
    for byte in range(4):
        yield start + 4 + byte, b"\x80", "reserved_not_zero"
    yield from bad_addresses(start + 8)


def bad_devices():
    start = FIELDS["device"][0]
    for name in (b"", b".", b"..", b"a/b", b"/", b"a:b", b"a b", b"a\tb", b"a\nb", b"\xa0", b"out0\0x",
                 b"out0\0\0\0\0\1", b"\0out0"):
        yield start, name.ljust(16, b"\0"), "bad_device_name"
    yield start, b"a" * 16, "bad_device_name"
    yield start, b"out0".ljust(15, b"\0") + b"x", "bad_device_name"
    for name in (b"nosuch0", b"a" * 15, b"OUT0", b"out0%d"):
        yield start, name.ljust(16, b"\0"), "no_such_device"


def bad_fields(kind):
    """(offset, bytes, reason) of everything that can be wrong with an operation looked at by itself."""
    for value in (1, 2, 0x80000000, U32):
        yield FIELDS["flags"][0], u32(value), "unknown_flag"
    used = USES[kind].split()
    for field, (at, size) in FIELDS.items():
        if field in ("kind", "flags") or field in used:
            continue
        for byte in range(size):
            yield at + byte, b"\1", "reserved_not_zero"
    if "service" in used:
        yield from bad_services(optional=kind in ("backend_fail", "backend_restore"))
    if "backend" in used:
        yield from bad_backends(any_port=kind in ("backend_fail", "backend_restore"))
    if "weight" in used:
        for value in (WEIGHT_MAX + 1, 0x10000, 0x80000000, U32):
            yield FIELDS["weight"][0], u32(value), "weight_too_large"
    if "scheduler" in used:
        for value in (1, 2, 0x100, U32):
            yield FIELDS["scheduler"][0], u32(value), "bad_scheduler"
    if "timeouts" in used:
        for index in range(5):
            for value in (TIMEOUT_MAX + 1, 0x80000000, U32):
                yield FIELDS["timeouts"][0] + 4 * index, u32(value), "timeout_too_long"
    if "limit" in used:
        for value in (0, LIMIT_MAX + 1, U32):
            yield FIELDS["limit"][0], u32(value), "bad_limit"
    if "device" in used:
        yield from bad_devices()


ERRNO = {"no_such_device": "ENODEV", "no_such_service": "ENOENT", "no_such_backend": "ENOENT",
         "device_not_attached": "ENOENT", "service_exists": "EEXIST", "backend_exists": "EEXIST",
         "device_attached": "EEXIST"}


def refused(fep, bad, reason, before, what):
    """The bad operation between two good ones, for real and dry: refused by name, nothing changed."""
    first, last = op("service_add", ("tcp", VIP, 5)), op("service_add", ("tcp", VIP, 6))
    for dry_run in (True, False):
        out = fep.try_commit([first, bad, last], dry_run=dry_run)
        equal((errno_name(out.errno), out.reason, out.failed), (ERRNO.get(reason, "EINVAL"), reason, 1), what)
        equal((out.generation, out.deleted), (before[0], 0), f"{what}: generation, routes deleted")
    equal(fep.config(), before, f"{what}: configuration")


def operations(fep):
    before = fep.config()
    with case("unknown kinds of operation"):
        for kind in (0, len(KINDS) + 1, 0x80, 0x8000_0001, U32):
            refused(fep, patched(GOOD["service_add"], 0, u32(kind)), "unknown_op", before, f"kind {kind}")
    for kind, good in GOOD.items():
        with case(f"{kind}: acceptable as it is"):
            out = fep.try_commit([good], dry_run=True)
            equal((out.errno, out.reason), (0, "none"), "dry run")
            equal(fep.config(), before, "configuration after a dry run")
        count = 0
        with case(f"{kind}: each field with each bad value"):
            for at, value, reason in bad_fields(kind):
                refused(fep, patched(good, at, value), reason, before, f"byte {at}: {value.hex()}")
                count += 1
        print(f"# {kind}: {count} bad values", flush=True)


def against_the_configuration(fep):
    before = fep.config()
    for name, bad, reason in [
            ("service there already", op("service_add", SERVICE), "service_exists"),
            ("set a service that is not there", op("service_set", ABSENT), "no_such_service"),
            ("delete a service that is not there", op("service_del", ABSENT), "no_such_service"),
            ("the protocol makes another service", op("service_del", ("tcp", VIP, 53)), "no_such_service"),
            ("node of no service", op("backend_add", ABSENT, NODE, weight=1), "no_such_service"),
            ("node there already", op("backend_add", SERVICE, NODE, weight=1), "backend_exists"),
            ("set a node that is not there", op("backend_set", SERVICE, NO_NODE, weight=1), "no_such_backend"),
            ("set a node's other port", op("backend_set", SERVICE, (NODE[0], 54), weight=1), "no_such_backend"),
            ("delete a node that is not there", op("backend_del", SERVICE, NO_NODE), "no_such_backend"),
            ("fail a node that is not there", op("backend_fail", None, NO_NODE), "no_such_backend"),
            ("fail a node of no service", op("backend_fail", ABSENT, NODE), "no_such_service"),
            ("restore a node that is not there", op("backend_restore", SERVICE, NO_NODE), "no_such_backend"),
            ("the VIP as its own node", op("backend_add", SERVICE, (VIP, 54), weight=1), "backend_is_vip"),
            ("another service as a node", op("backend_add", SERVICE, ("192.0.2.11", 53), weight=1), "backend_is_vip"),
            ("device attached already", op("device_attach", device="out0"), "device_attached"),
            ("device not attached", op("device_detach", device="spare0"), "device_not_attached"),
            ("loopback", op("device_attach", device="lo"), "device_unsuitable")]:
        with case(f"refused: {name}"):
            refused(fep, bad, reason, before, name)
    with case("a service where another has a node: refused, as in the other order"):
        for ops, at in (([op("service_add", ("udp", *NODE))], 0),
                        ([op("backend_add", SERVICE, NO_NODE, weight=1), op("service_add", ("udp", *NO_NODE))], 1)):
            out = fep.try_commit(ops, dry_run=True)
            equal((out.reason, out.failed), ("backend_is_vip", at), "refusal")
    with case("operations of one commit see each other"):
        for ops, reason, at in [
                ([op("service_add", FRESH), op("service_add", FRESH)], "service_exists", 1),
                ([op("service_del", SERVICE), op("service_set", SERVICE)], "no_such_service", 1),
                ([op("service_del", SERVICE), op("backend_set", SERVICE, NODE, weight=1)], "no_such_service", 1),
                ([op("backend_del", SERVICE, NODE), op("backend_del", SERVICE, NODE)], "no_such_backend", 1),
                ([op("device_attach", device="spare0"), op("device_attach", device="spare0")], "device_attached", 1),
                ([op("device_detach", device="out0"), op("device_detach", device="out0")], "device_not_attached", 1),
                ([op("backend_add", SERVICE, NO_NODE, weight=1), op("service_add", FRESH),
                  op("backend_add", FRESH, NO_NODE, weight=1), op("backend_add", FRESH, NO_NODE, weight=1)],
                 "backend_exists", 3)]:
            out = fep.try_commit(ops)
            equal((out.reason, out.failed), (reason, at), "refusal")
            equal(fep.config(), before, "configuration")
    with case("operations that cancel each other change nothing but the generation"):
        fep.commit(op("device_attach", device="spare0"), op("device_detach", device="spare0"),
                   op("device_detach", device="out0"), op("device_attach", device="out0"),
                   op("service_add", FRESH), op("service_del", FRESH))
        equal(fep.config()[1:], before[1:], "configuration")
    with case("limits themselves are allowed"):
        fep.commit(op("service_add", FRESH, timeouts=(TIMEOUT_MAX,) * 5),
                   op("backend_add", FRESH, NO_NODE, weight=WEIGHT_MAX), op("limit_set", limit=1))
        fep.commit(op("limit_set", limit=LIMIT_MAX))
        service = next(s for s in fep.dump("services") if s.service == FRESH)
        equal((service.timeouts, fep.status().limit), ((TIMEOUT_MAX,) * 5, LIMIT_MAX), "as set")


def other_structures(fep):
    before = fep.config()
    with case("status: anything but zero"):
        for at in range(STATUS.size):
            number, _ = fep.ioctl(IOC_STATUS, patched(bytes(STATUS.size), at, b"\1"))
            equal(errno_name(number), "EINVAL", f"byte {at}")
    dump = {"object": 2, "flags": 0, "cursor": 0, "buffer": 0, "capacity": 64, "count": 0, "generation": 0,
            "service": bytes(24), "backend": bytes(24), "reserved": 0}

    def is_refused(**fields):
        number, _ = fep.ioctl(IOC_DUMP, DUMP.pack(*{**dump, **fields}.values()))
        equal(errno_name(number), "EINVAL", f"{fields}")

    with case("dump: each field with each bad value"):
        for value in (0, 5, 6, 0x100, U32):
            is_refused(object=value)
        for value in (1, 2, U32):
            is_refused(flags=value)
        for value in (0, 1, 63):
            is_refused(capacity=value)
        for value in (1, 1 << 63):
            is_refused(reserved=value)
        for objects in (3, 4):
            for at, value, _ in bad_services(optional=True):
                is_refused(object=objects, service=patched(
                    bytes(24) if len(value) == 24 else service_id(SERVICE), at - 8, value))
            for at, value, _ in bad_backends(any_port=True):
                if value == b"\0":
                    continue
                is_refused(object=objects, backend=patched(endpoint(NODE), at - 32, value))
        for objects in (1, 2):
            is_refused(object=objects, service=service_id(SERVICE))
            is_refused(object=objects, backend=endpoint(NODE))
    with case("flush: each field with each bad value"):
        for at, value, _ in bad_services(optional=True):
            bad = patched(bytes(24) if len(value) == 24 else service_id(SERVICE), at - 8, value)
            equal(errno_name(fep.ioctl(IOC_FLUSH, FLUSH.pack(bad, bytes(24), 0, 0))[0]), "EINVAL", f"{at} {value}")
        for at, value, _ in bad_backends(any_port=True):
            bad = patched(endpoint(NODE), at - 32, value)
            equal(errno_name(fep.ioctl(IOC_FLUSH, FLUSH.pack(bytes(24), bad, 0, 0))[0]), "EINVAL", f"{at} {value}")
        for value in (1, 1 << 63):
            equal(errno_name(fep.ioctl(IOC_FLUSH, FLUSH.pack(bytes(24), bytes(24), value, 0))[0]), "EINVAL", "reserved")
    with case("none of it changed anything"):
        equal(fep.config(), before, "configuration")


def main():
    load_module()
    wire = Wire()
    wire.fe.ip("link add spare0 type dummy")
    fep = wire.fep
    fep.add_service(SERVICE, [NODE, (node(2), 53)])
    fep.add_service(("udp", "192.0.2.11", 53))
    operations(fep)
    against_the_configuration(fep)
    other_structures(fep)
    finish()


main()
