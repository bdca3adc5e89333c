#!/usr/bin/env python3
# qemu: --with tests/lib
"""Every field of every structure with every kind of bad value: the errno, the reason, the operation
that is named, and that nothing has changed."""

import ctypes
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import (DUMP, END, END_MAX, FLUSH, IOC_DUMP, IOC_END, IOC_FLUSH, IOC_STATUS, KINDS,  # noqa: E402
                     LIMIT_MAX, LOAD_MAX, METHODS, OP, PRIORITY_MAX, ROUTE_RECORD, SCHEDULERS, STATUS, TIMEOUT_MAX,
                     WEIGHT_MAX, address_bytes, endpoint, errno_name, op, service_id)
from fep_test import case, equal, finish, load_module  # noqa: E402
from fep_wire import VIP, Wire, node  # noqa: E402

U32 = 0xFFFFFFFF
VIP6 = "2001:db8::10"
SERVICE, ABSENT, FRESH = ("udp", VIP, 53), ("udp", VIP, 99), ("tcp", VIP, 99)
SERVICE6, FRESH6 = ("udp", VIP6, 53), ("tcp", VIP6, 99)
NODE, NO_NODE = (node(1), 53), (node(7), 53)
NODE6, NO_NODE6 = ("2001:db8:1::11", 53), ("2001:db8:1::17", 53)
DIRECT6 = ("2001:db8:1::12", 53)
# Offset and size of each field of an operation, from its documentation.
FIELDS = {"kind": (0, 4), "flags": (4, 4), "service": (8, 24), "backend": (32, 24), "weight": (56, 4),
          "scheduler": (60, 4), "timeouts": (64, 20), "limit": (84, 4), "device": (88, 16), "method": (104, 4),
          "priority": (108, 4), "load": (112, 4), "reserved": (116, 12)}
assert sum(size for _, size in FIELDS.values()) == OP.size
USES = {"device_attach": "device", "device_detach": "device", "service_add": "service scheduler timeouts",
        "service_set": "service scheduler timeouts", "service_del": "service",
        "backend_add": "service backend weight method", "backend_set": "service backend weight",
        "backend_del": "service backend", "backend_fail": "service backend", "backend_restore": "service backend",
        "limit_set": "limit", "backend_priority": "service backend priority", "backend_load": "service backend load"}
# Kinds that may be about every service and every port.
PATTERNS = ("backend_fail", "backend_restore", "backend_load")
NOT_UNICAST = {
    4: ("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.1", "239.255.255.255", "255.255.255.255"),
    6: ("::", "::1", "fe80::", "fe80::1", "fe80::1:2:3:4", "febf:ffff::1", "ff00::", "ff02::1", "ff0e::101",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:0.0.0.0", "::ffff:192.0.2.1", "::ffff:255.255.255.255"),
}
UNICAST6 = ("::2", "::192.0.2.1", "64:ff9b::c000:201", "100::1", "fc00::1", "fdff::1", "fe7f:ffff::1", "fec0::1",
            "feff:ffff::1", "0:0:0:0:1:ffff:c000:201", "3fff::1")


def acceptable(service, fresh, there, absent):
    """An operation of each kind that is."""
    return {
        "service_add": op("service_add", fresh), "service_set": op("service_set", service),
        "service_del": op("service_del", service), "backend_add": op("backend_add", service, absent, weight=1),
        "backend_set": op("backend_set", service, there, weight=7), "backend_del": op("backend_del", service, there),
        "backend_fail": op("backend_fail", service, there), "backend_restore": op("backend_restore", service, there),
        "backend_priority": op("backend_priority", service, there, priority=PRIORITY_MAX),
        "backend_load": op("backend_load", service, there, load=LOAD_MAX),
    }


# By kind and IP version; those without addresses once.
GOOD = {(kind, 4): good for kind, good in acceptable(SERVICE, FRESH, NODE, NO_NODE).items()} | {
    (kind, 6): good for kind, good in acceptable(SERVICE6, FRESH6, NODE6, NO_NODE6).items()} | {
    ("device_attach", 4): op("device_attach", device="spare0"),
    ("device_detach", 4): op("device_detach", device="out0"),
    ("limit_set", 4): op("limit_set", limit=1000),
}


def patched(data, at, value):
    return data[:at] + value + data[at + len(value):]


def u32(value):
    return struct.pack("=I", value)


def bad_addresses(at, version):
    """Bad values of an address at `at`: (offset, bytes, reason)."""
    for address in NOT_UNICAST[version]:
        yield at, address_bytes(address), "address_not_unicast"
    if version == 4:
        for unused in range(4, 16):
            yield at + unused, b"\1", "reserved_not_zero"


def bad_services(optional, version=4):
    start = FIELDS["service"][0]
    if optional:
        # No service, but something in it.
        none = bytes(24)
        for at in range(1, 24):
            yield start, patched(none, at, b"\1"), "reserved_not_zero"
    for family in ((1, 2, 3, 5, 10, 255) if optional else (0, 1, 2, 3, 5, 10, 255)):
        yield start, bytes([family]), "bad_family"
    if version == 6:
        # More than an IPv4 address has room for.
        yield start, b"\4", "reserved_not_zero"
    for protocol in (0, 1, 5, 7, 16, 18, 132, 136, 255):
        yield start + 1, bytes([protocol]), "bad_protocol"
    yield start + 2, b"\0\0", "port_zero"
    for byte in range(4):
        yield start + 4 + byte, b"\x80", "reserved_not_zero"
    yield from bad_addresses(start + 8, version)


def bad_backends(any_port, version=4):
    start = FIELDS["backend"][0]
    for family in (0, 1, 2, 3, 5, 10, 255):
        yield start, bytes([family]), "bad_family"
    if version == 6:
        yield start, b"\4", "reserved_not_zero"
    yield start + 1, b"\1", "reserved_not_zero"
    if not any_port:
        yield start + 2, b"\0\0", "port_zero"
    for byte in range(4):
        yield start + 4 + byte, b"\x80", "reserved_not_zero"
    yield from bad_addresses(start + 8, version)


def bad_devices():
    start = FIELDS["device"][0]
    for name in (b"", b".", b"..", b"a/b", b"/", b"a:b", b"a b", b"a\tb", b"a\nb", b"\xa0", b"out0\0x",
                 b"out0\0\0\0\0\1", b"\0out0"):
        yield start, name.ljust(16, b"\0"), "bad_device_name"
    yield start, b"a" * 16, "bad_device_name"
    yield start, b"out0".ljust(15, b"\0") + b"x", "bad_device_name"
    for name in (b"nosuch0", b"a" * 15, b"OUT0", b"out0%d"):
        yield start, name.ljust(16, b"\0"), "no_such_device"


def unused_fields(used):
    for field, (at, size) in FIELDS.items():
        if field in ("kind", "flags") or field in used:
            continue
        for byte in range(size):
            yield at + byte, b"\1", "reserved_not_zero"


def bad_fields(kind, version):
    """(offset, bytes, reason) of everything that can be wrong with an operation looked at by itself."""
    used = USES[kind].split()
    if version == 6:
        # What else there is does not depend on the addresses.
        used = [field for field in used if field in ("service", "backend")]
    else:
        yield from unused_fields(used)
        for value in (1, 2, 0x80000000, U32):
            yield FIELDS["flags"][0], u32(value), "unknown_flag"
    if "service" in used:
        yield from bad_services(kind in PATTERNS, version)
    if "backend" in used:
        yield from bad_backends(kind in PATTERNS, version)
    if "weight" in used:
        for value in (WEIGHT_MAX + 1, 0x10000, 0x80000000, U32):
            yield FIELDS["weight"][0], u32(value), "weight_too_large"
    if "scheduler" in used:
        for value in (len(SCHEDULERS), 0xFF, 0x100, U32):
            yield FIELDS["scheduler"][0], u32(value), "bad_scheduler"
    if "timeouts" in used:
        for index in range(5):
            for value in (TIMEOUT_MAX + 1, 0x80000000, U32):
                yield FIELDS["timeouts"][0] + 4 * index, u32(value), "timeout_too_long"
    if "limit" in used:
        for value in (0, LIMIT_MAX + 1, U32):
            yield FIELDS["limit"][0], u32(value), "bad_limit"
    for field, most in (("priority", PRIORITY_MAX), ("load", LOAD_MAX)):
        if field in used:
            for value in (most + 1, 0x80000000, U32):
                yield FIELDS[field][0], u32(value), f"{field}_too_large"
    if "device" in used:
        yield from bad_devices()
    if "method" in used:
        for value in (len(METHODS), 0xFF, 0x100, 0x10000, 0x80000001, U32):
            yield FIELDS["method"][0], u32(value), "bad_method"


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
            refused(fep, patched(GOOD["service_add", 4], 0, u32(kind)), "unknown_op", before, f"kind {kind}")
    for (kind, version), good in GOOD.items():
        name = f"{kind}, ipv{version}" if "service" in USES[kind] else kind
        with case(f"{name}: acceptable as it is"):
            out = fep.try_commit([good], dry_run=True)
            equal((out.errno, out.reason), (0, "none"), "dry run")
            equal(fep.config(), before, "configuration after a dry run")
        count = 0
        with case(f"{name}: each field with each bad value"):
            for at, value, reason in bad_fields(kind, version):
                refused(fep, patched(good, at, value), reason, before, f"byte {at}: {value.hex()}")
                count += 1
        print(f"# {name}: {count} bad values", flush=True)


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
            ("priority of a node that is not there", op("backend_priority", SERVICE, NO_NODE, priority=1),
             "no_such_backend"),
            ("load of a node that is not there", op("backend_load", None, NO_NODE, load=1), "no_such_backend"),
            ("load of a node of no service", op("backend_load", ABSENT, NODE, load=1), "no_such_service"),
            ("fail a node of no service", op("backend_fail", ABSENT, NODE), "no_such_service"),
            ("restore a node that is not there", op("backend_restore", SERVICE, NO_NODE), "no_such_backend"),
            ("the VIP as its own node", op("backend_add", SERVICE, (VIP, 54), weight=1), "backend_is_vip"),
            ("another service as a node", op("backend_add", SERVICE, ("192.0.2.11", 53), weight=1), "backend_is_vip"),
            ("the IPv6 VIP as its own node", op("backend_add", SERVICE6, (VIP6, 54), weight=1), "backend_is_vip"),
            ("another IPv6 service as a node", op("backend_add", SERVICE6, ("2001:db8::11", 53), weight=1),
             "backend_is_vip"),
            ("an IPv6 node in an IPv4 service", op("backend_add", SERVICE, NO_NODE6, weight=1), "family_mismatch"),
            ("an IPv4 node in an IPv6 service", op("backend_add", SERVICE6, NO_NODE, weight=1), "family_mismatch"),
            ("an IPv6 node in an IPv4 service, dr", op("backend_add", SERVICE, NO_NODE6, weight=1, method="dr"),
             "family_mismatch"),
            ("set an IPv6 node of an IPv4 service", op("backend_set", SERVICE, NODE6, weight=1), "no_such_backend"),
            ("delete an IPv4 node of an IPv6 service", op("backend_del", SERVICE6, NODE), "no_such_backend"),
            ("fail an IPv6 node of an IPv4 service", op("backend_fail", SERVICE, NODE6), "no_such_backend"),
            ("dr with another port", op("backend_add", SERVICE, (NO_NODE[0], 54), weight=1, method="dr"),
             "port_not_service"),
            ("dr with another port, IPv6", op("backend_add", SERVICE6, (NO_NODE6[0], 54), weight=1, method="dr"),
             "port_not_service"),
            ("the same node by another method", op("backend_add", SERVICE, NODE, weight=1, method="dr"),
             "backend_exists"),
            ("the same direct node by translation", op("backend_add", SERVICE6, DIRECT6, weight=1), "backend_exists"),
            ("another service as a direct node", op("backend_add", SERVICE, ("192.0.2.11", 53), weight=1, method="dr"),
             "backend_is_vip"),
            ("device attached already", op("device_attach", device="out0"), "device_attached"),
            ("device not attached", op("device_detach", device="spare0"), "device_not_attached"),
            ("loopback", op("device_attach", device="lo"), "device_unsuitable")]:
        with case(f"refused: {name}"):
            refused(fep, bad, reason, before, name)
    for name, service, there, absent, method in (("ipv4", SERVICE, NODE, NO_NODE, "nat"),
                                                 ("ipv6", SERVICE6, NODE6, NO_NODE6, "nat"),
                                                 ("ipv6, dr", SERVICE6, DIRECT6, NO_NODE6, "dr")):
        with case(f"a service where another has a node: refused, as in the other order ({name})"):
            for ops, at in (([op("service_add", ("udp", *there))], 0),
                            ([op("backend_add", service, absent, weight=1, method=method),
                              op("service_add", ("udp", *absent))], 1)):
                out = fep.try_commit(ops, dry_run=True)
                equal((out.reason, out.failed), ("backend_is_vip", at), "refusal")
    with case("every other address of IPv6 is acceptable"):
        for address in UNICAST6:
            fep.commit(op("service_add", ("udp", address, 7)), dry_run=True)
            fep.commit(op("backend_add", SERVICE6, (address, 53), weight=1), dry_run=True)
    with case("the same bytes are different addresses in different families"):
        other = ("udp", socket.inet_ntop(socket.AF_INET6, address_bytes(VIP).ljust(16, b"\0")), 53)
        fep.commit(op("service_add", other), op("backend_add", other, NO_NODE6, weight=1), op("service_del", other),
                   dry_run=True)
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


def bad_filters():
    """Pairs of a service and a node, one of which is bad."""
    for version, service, there in ((4, SERVICE, NODE), (6, SERVICE6, NODE6)):
        for at, value, _ in bad_services(True, version):
            yield patched(bytes(24) if len(value) == 24 else service_id(service), at - 8, value), bytes(24)
        for at, value, _ in bad_backends(True, version):
            if value != b"\0":
                yield bytes(24), patched(endpoint(there), at - 32, value)


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
        for value in (0, 6, 7, 0x100, U32):
            is_refused(object=value)
        for value in (1, 2, 3, 4, U32):
            is_refused(flags=value)
        is_refused(object=4, flags=1)
        is_refused(object=4, flags=6)
        for value in (0, 1, 63):
            is_refused(capacity=value)
        for value in (1, 1 << 63):
            is_refused(reserved=value)
        for objects in (3, 4, 5):
            for bad_service, bad_backend in bad_filters():
                is_refused(object=objects, service=bad_service, backend=bad_backend)
        for objects in (1, 2):
            is_refused(object=objects, service=service_id(SERVICE))
            is_refused(object=objects, backend=endpoint(NODE))
    with case("flush: each field with each bad value"):
        for fields in [*bad_filters(), (bytes(24), bytes(24), 1), (bytes(24), bytes(24), 1 << 63)]:
            number, _ = fep.ioctl(IOC_FLUSH, FLUSH.pack(*(*fields, 0)[:3], 0))
            equal(errno_name(number), "EINVAL", f"{fields}")
    with case("end of routes: each field with each bad value"):
        good = ROUTE_RECORD.pack(service_id(SERVICE), endpoint(("192.0.2.100", 1)), endpoint(NODE), 0, 0, 0, 0, 0)
        memory = ctypes.create_string_buffer(good, len(good))

        def end(routes=None, count=1, *rest):
            ctypes.memmove(memory, good if routes is None else routes, len(good))
            fields = (*rest, 0, 0, 0, 0, 0)[:5]
            return errno_name(fep.ioctl(IOC_END, END.pack(ctypes.addressof(memory), count, *fields))[0])

        equal(end(), "0", "what is right")
        for count in (0, END_MAX + 1, U32):
            equal(end(count=count), "EINVAL", f"{count} routes")
        for at in range(5):
            equal(end(None, 1, *(1 if at == other else 0 for other in range(5))), "EINVAL", f"number {at}")
        for at in (0, 1, 4, 12, 24, 25, 28, 36, 48, 49, 52, 60, 84):
            equal(end(patched(good, at, b"\x03")), "EINVAL", f"byte {at} of the route")
        for at in (2, 50):
            equal(end(patched(good, at, b"\0\0")), "EINVAL", f"byte {at} of the route")
        client6 = endpoint(("2001:db8::1", 1))
        equal(end(patched(good, 24, client6)), "EINVAL", "a client of another family")
    with case("filters of either family, also mixed, are no mistake"):
        for service in (None, SERVICE, SERVICE6, ABSENT, FRESH6):
            for backend in (None, NODE, NODE6, (NODE6[0], 0), NO_NODE6):
                want = [(SERVICE, NODE), (SERVICE, (node(2), 53)), (SERVICE6, NODE6), (SERVICE6, DIRECT6),
                        (FRESH, NO_NODE)]
                want = [(s, b) for s, b in want if service in (None, s) and backend in (None, b, (b[0], 0))]
                equal([(r.service, r.backend) for r in fep.dump("backends", service=service, backend=backend)], want,
                      f"nodes of {service} and {backend}")
                equal((fep.routes(service=service, backend=backend), fep.flush(service, backend)), ([], 0), "routes")
    with case("none of it changed anything"):
        equal(fep.config(), before, "configuration")


def main():
    load_module()
    wire = Wire()
    wire.fe.ip("link add spare0 type dummy")
    fep = wire.fep
    fep.add_service(SERVICE, [NODE, (node(2), 53)])
    fep.add_service(("udp", "192.0.2.11", 53))
    fep.add_service(SERVICE6, [NODE6])
    fep.add_service(("udp", "2001:db8::11", 53))
    fep.commit(op("backend_add", SERVICE6, DIRECT6, weight=1, method="dr"))
    operations(fep)
    against_the_configuration(fep)
    other_structures(fep)
    finish()


main()
