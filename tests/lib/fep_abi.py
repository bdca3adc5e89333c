"""The ABI of /dev/fep, written down a second time from its documentation.

It shares nothing with the programs under userspace/, so that a mistake in one
of the two shows.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from types import SimpleNamespace

IPV4, IPV6 = 4, 6
TCP, UDP = 6, 17
PROTOCOLS = {"tcp": TCP, "udp": UDP}

SERVICE = struct.Struct("=BBHI16s")
ENDPOINT = struct.Struct("=BBHI16s")
OP = struct.Struct("=II24s24sII5II16sIII3I")
COMMIT = struct.Struct("=QIIQQIIQ")
DUMP = struct.Struct("=IIQQIIQ24s24sQ")
FLUSH = struct.Struct("=24s24sQQ")
END = struct.Struct("=QIIQQQQ")
SUBSCRIBE = struct.Struct("=IIQQ")
EVENT = struct.Struct("=QIIQ24s24sQQQ")
STATUS = struct.Struct("=II32sQQIIIIII24QQ5Q")
DEVICE = struct.Struct("=I3I16s")
SERVICE_RECORD = struct.Struct("=24sII5IIQ5Q24QQ")
BACKEND_RECORD = struct.Struct("=24s24sIIQ5QII")
ROUTE_RECORD = struct.Struct("=24s24s24sIIIIQ")
NODE_RECORD = struct.Struct("=24s24sIIIIQQQQQ3Q")
SIZES = [(SERVICE, 24), (ENDPOINT, 24), (OP, 128), (COMMIT, 48), (DUMP, 96), (FLUSH, 64), (END, 48), (SUBSCRIBE, 24), (EVENT, 96), (STATUS, 320),
         (DEVICE, 32), (SERVICE_RECORD, 304), (BACKEND_RECORD, 112), (ROUTE_RECORD, 96),
         (NODE_RECORD, 128)]
assert all(layout.size == size for layout, size in SIZES)


def _iowr(number, size):
    return 3 << 30 | size << 16 | 0xF9 << 8 | number


IOC_STATUS = _iowr(0, STATUS.size)
IOC_COMMIT = _iowr(1, COMMIT.size)
IOC_DUMP = _iowr(2, DUMP.size)
IOC_FLUSH = _iowr(3, FLUSH.size)
IOC_END = _iowr(4, END.size)
IOC_SUBSCRIBE = _iowr(5, SUBSCRIBE.size)

OPS_MAX = 65_536
WEIGHT_MAX = 65_535
TIMEOUT_MAX = 864_000
LIMIT_MAX = 1 << 27
DRY_RUN = 1
DUMP_END = 1
DUMP_TOKENS = 2
PRIORITY_MAX = 65_535
LOAD_MAX = 1_000_000
END_MAX = 4096
EVENTS_MAX = 4096
STATE_FAILED = 1

KINDS = {name: code for code, name in enumerate(
    "device_attach device_detach service_add service_set service_del backend_add backend_set backend_del "
    "backend_fail backend_restore limit_set backend_priority backend_load".split(), 1)}
REASONS = (
    "none unknown_op reserved_not_zero unknown_flag bad_family family_unsupported bad_protocol port_zero "
    "address_not_unicast weight_too_large bad_scheduler timeout_too_long service_exists no_such_service "
    "backend_exists no_such_backend bad_device_name no_such_device device_attached device_not_attached "
    "too_many_services too_many_backends too_many_devices bad_op_count bad_limit generation_changed "
    "device_unsuitable backend_is_vip no_memory namespace_gone limit_not_permitted interrupted bad_method "
    "port_not_service family_mismatch priority_too_large load_too_large").split()
METHODS = "nat dr".split()
SCHEDULERS = "wrr optimal steer".split()
EVENTS = {1: "config_changed", 2: "backend_drained", 3: "syn_failures", 4: "table_full", 5: "table_room"}
OBJECTS = {"devices": 1, "services": 2, "backends": 3, "routes": 4, "nodes": 5}
STATES = "udp syn_sent syn_received established fin_wait time_wait closed".split()
COUNTERS = (
    "forward_request forward_reply route_allocated route_expired route_deleted pass_foreign pass_malformed "
    "pass_fragment pass_no_service pass_no_route pass_source_route drop_no_backend drop_table_full "
    "drop_no_memory drop_no_output drop_ttl drop_too_big drop_reply_conflict drop_stale_reply "
    "forward_icmp drop_loop drop_client_full").split()
TRAFFIC = "connections packets_in packets_out bytes_in bytes_out".split()


class Refused(OSError):
    """A commit that the kernel refused: errno, reason, and which operation."""

    def __init__(self, number, out):
        super().__init__(number, f"{os.strerror(number)} ({out.reason}, operation {out.failed})")
        self.reason, self.failed = out.reason, out.failed


def address_bytes(address):
    """The 4 or 16 bytes of an address, in text or in bytes already."""
    if not isinstance(address, str):
        return address
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def family_and_bytes(address):
    """As both cross the boundary."""
    raw = address_bytes(address)
    return IPV6 if len(raw) == 16 else IPV4, raw


def address_text(family, raw):
    """The canonical text (RFC 5952) of what crossed the boundary."""
    if family == IPV6:
        return socket.inet_ntop(socket.AF_INET6, raw)
    assert (family, raw[4:]) == (IPV4, bytes(12)), (family, raw)
    return socket.inet_ntop(socket.AF_INET, raw[:4])


def service_id(service):
    """("tcp", "192.0.2.10", 80), ("tcp", "2001:db8::10", 80), or None for none."""
    if service is None:
        return bytes(SERVICE.size)
    protocol, address, port = service
    family, raw = family_and_bytes(address)
    return SERVICE.pack(family, PROTOCOLS[protocol], port, 0, raw)


def endpoint(node):
    """("10.0.0.11", 80), ("2001:db8::11", 80), or None for none."""
    if node is None:
        return bytes(ENDPOINT.size)
    address, port = node
    family, raw = family_and_bytes(address)
    return ENDPOINT.pack(family, 0, port, 0, raw)


def op(kind, service=None, backend=None, weight=0, scheduler=0, timeouts=(0,) * 5, limit=0, device=b"", method=0,
       priority=0, load=0):
    """An operation. The method and the scheduler are a name or a code."""
    if isinstance(device, str):
        device = device.encode()
    if isinstance(method, str):
        method = METHODS.index(method)
    if isinstance(scheduler, str):
        scheduler = SCHEDULERS.index(scheduler)
    return OP.pack(KINDS[kind], 0, service_id(service), endpoint(backend), weight, scheduler, *timeouts, limit,
                   device, method, priority, load, *(0,) * 3)


def _read_service(raw):
    family, protocol, port, reserved, address = SERVICE.unpack(raw)
    if family == 0:
        return None
    assert reserved == 0, raw
    return {TCP: "tcp", UDP: "udp"}[protocol], address_text(family, address), port


def _read_endpoint(raw):
    family, zero, port, reserved, address = ENDPOINT.unpack(raw)
    assert (zero, reserved) == (0, 0), raw
    return address_text(family, address), port


def _read_device(raw):
    ifindex, *zero, name = DEVICE.unpack(raw)
    assert not any(zero), raw
    return SimpleNamespace(ifindex=ifindex, name=name.rstrip(b"\0").decode())


def _read_service_record(raw):
    fields = SERVICE_RECORD.unpack(raw)
    service, scheduler, backends, *timeouts = fields[:8]
    assert fields[8] == 0 and fields[39] == 0 and not any(fields[15 + len(COUNTERS):39]), raw
    return SimpleNamespace(service=_read_service(service), scheduler=scheduler, backends=backends,
                           timeouts=tuple(timeouts), routes=fields[9],
                           **dict(zip(TRAFFIC, fields[10:15])), counters=dict(zip(COUNTERS, fields[15:39])))


def _read_backend_record(raw):
    service, node, weight, state, routes, *traffic, method, reserved = BACKEND_RECORD.unpack(raw)
    assert reserved == 0, raw
    return SimpleNamespace(service=_read_service(service), backend=_read_endpoint(node), weight=weight,
                           state=state, method=METHODS[method], routes=routes, **dict(zip(TRAFFIC, traffic)))


def _read_route(raw):
    service, client, node, state, idle, expires, zero, token = ROUTE_RECORD.unpack(raw)
    assert zero == 0, raw
    return SimpleNamespace(service=_read_service(service), client=_read_endpoint(client),
                           backend=_read_endpoint(node), state=STATES[state], idle_ms=idle, expires_ms=expires,
                           token=token, raw=raw)


def _read_node(raw):
    service, node, *numbers, zero1, zero2, zero3 = NODE_RECORD.unpack(raw)
    assert not any((zero1, zero2, zero3)), raw
    names = "weight state priority load routes connections syn_unanswered syn_reset syn_repeated".split()
    return SimpleNamespace(service=_read_service(service), backend=_read_endpoint(node), **dict(zip(names, numbers)))


def _read_event(raw):
    sequence, kind, lost, generation, service, backend, *syns = EVENT.unpack(raw)
    return SimpleNamespace(sequence=sequence, kind=EVENTS[kind], lost=lost, generation=generation,
                           service=_read_service(service), backend=_read_endpoint(backend) if any(backend) else None,
                           syns=tuple(syns))


_READERS = {
    "devices": (DEVICE, _read_device),
    "services": (SERVICE_RECORD, _read_service_record),
    "backends": (BACKEND_RECORD, _read_backend_record),
    "routes": (ROUTE_RECORD, _read_route),
    "nodes": (NODE_RECORD, _read_node),
}


class Fep:
    """An open /dev/fep: acts on the network namespace it was opened in."""

    def __init__(self):
        self.fd = os.open("/dev/fep", os.O_RDWR | os.O_CLOEXEC)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ioctl(self, command, argument):
        """The errno (0: none) and what the kernel made of the bytes of `argument`."""
        buffer = bytearray(argument)
        try:
            fcntl.ioctl(self.fd, command, buffer, True)
        except OSError as error:
            return error.errno, bytes(buffer)
        return 0, bytes(buffer)

    def status(self):
        number, out = self.ioctl(IOC_STATUS, bytes(STATUS.size))
        if number:
            raise OSError(number, os.strerror(number))
        fields = STATUS.unpack(out)
        major, minor, version, generation, routes, limit, buckets, services, backends, devices, zero = fields[:11]
        assert zero == 0 and not any(fields[11 + len(COUNTERS):35]) and not any(fields[36:]), out
        return SimpleNamespace(abi=(major, minor), version=version.rstrip(b"\0").decode(), generation=generation,
                               routes=routes, limit=limit, buckets=buckets, services=services, backends=backends,
                               devices=devices, counters=dict(zip(COUNTERS, fields[11:])), visited=fields[35])

    def counters(self):
        return self.status().counters

    def try_commit(self, ops, dry_run=False, expect=0, flags=0, count=None):
        """What became of a commit, refused or not: .errno .reason .failed .generation .deleted."""
        array = b"".join(ops)
        memory = ctypes.create_string_buffer(array, max(len(array), 1))
        number, out = self.ioctl(IOC_COMMIT, COMMIT.pack(
            ctypes.addressof(memory), len(ops) if count is None else count,
            flags | (DRY_RUN if dry_run else 0), expect, 0, 0, 0, 0))
        _, _, _, _, generation, failed, reason, deleted = COMMIT.unpack(out)
        return SimpleNamespace(errno=number, reason=REASONS[reason], failed=failed, generation=generation,
                               deleted=deleted)

    def commit(self, *ops, **options):
        out = self.try_commit(ops, **options)
        if out.errno:
            raise Refused(out.errno, out)
        return out

    def page(self, objects, cursor=0, capacity=4096, service=None, backend=None, raw=False, tokens=False):
        """One page: the records (`raw`: as bytes), and the rest as (.cursor .end .generation)."""
        layout, read = _READERS[objects]
        if raw:
            read = bytes
        memory = ctypes.create_string_buffer(layout.size * capacity)
        number, out = self.ioctl(IOC_DUMP, DUMP.pack(
            OBJECTS[objects], DUMP_TOKENS if tokens else 0, cursor, ctypes.addressof(memory), capacity, 0, 0, service_id(service),
            endpoint(backend), 0))
        if number:
            raise OSError(number, os.strerror(number))
        _, flags, cursor, _, _, count, generation, _, _, _ = DUMP.unpack(out)
        assert count <= capacity
        data = ctypes.string_at(memory, layout.size * count)
        records = [read(data[at:at + layout.size]) for at in range(0, len(data), layout.size)]
        return records, SimpleNamespace(cursor=cursor, end=bool(flags & DUMP_END), generation=generation)

    def dump(self, objects, **options):
        """A whole list."""
        records, cursor = [], 0
        while True:
            more, page = self.page(objects, cursor, **options)
            records += more
            if page.end:
                return records
            cursor = page.cursor

    def devices(self):
        return [device.name for device in self.dump("devices")]

    def routes(self, **options):
        return self.dump("routes", **options)

    def flush(self, service=None, backend=None):
        number, out = self.ioctl(IOC_FLUSH, FLUSH.pack(service_id(service), endpoint(backend), 0, 0))
        if number:
            raise OSError(number, os.strerror(number))
        return FLUSH.unpack(out)[3]

    def end(self, routes):
        """Hands back routes that were listed with tokens: .deleted .used .gone."""
        data = b"".join(route.raw for route in routes)
        memory = ctypes.create_string_buffer(data, max(len(data), 1))
        number, out = self.ioctl(IOC_END, END.pack(ctypes.addressof(memory), len(routes), 0, 0, 0, 0, 0))
        if number:
            raise OSError(number, os.strerror(number))
        _, _, _, deleted, used, gone, _ = END.unpack(out)
        return SimpleNamespace(deleted=deleted, used=used, gone=gone)

    def subscribe(self, capacity=EVENTS_MAX):
        """The sequence number of the next event."""
        number, out = self.ioctl(IOC_SUBSCRIBE, SUBSCRIBE.pack(capacity, 0, 0, 0))
        if number:
            raise OSError(number, os.strerror(number))
        return SUBSCRIBE.unpack(out)[2]

    def read_events(self, most=64):
        """Events that there are, waiting for the first."""
        data = os.read(self.fd, EVENT.size * most)
        return [_read_event(data[at:at + EVENT.size]) for at in range(0, len(data), EVENT.size)]

    def nodes(self, **options):
        return self.dump("nodes", **options)

    def config(self):
        """Everything that a commit could change, to compare before and after."""
        status = self.status()
        return (status.generation, status.limit, sorted(self.devices()),
                [(s.service, s.scheduler, s.timeouts) for s in self.dump("services")],
                [(b.service, b.backend, b.weight, b.state, b.method) for b in self.dump("backends")])

    def add_service(self, service, nodes=(), timeouts=(0,) * 5, method="nat", scheduler="wrr"):
        """A service and its nodes: ("10.0.0.11", 80) or ("10.0.0.11", 80, WEIGHT)."""
        return self.commit(op("service_add", service, timeouts=timeouts, scheduler=scheduler),
                           *(op("backend_add", service, node[:2], weight=(*node, 1)[2], method=method)
                             for node in nodes))

    def attach(self, *devices):
        return self.commit(*(op("device_attach", device=name) for name in devices))

    def weight(self, service, node, weight):
        return self.commit(op("backend_set", service, node, weight=weight))


def errno_name(number):
    return errno.errorcode.get(number, str(number)) if number else "0"
