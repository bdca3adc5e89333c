"""Real stacks through fep with every mix of offloads: partial checksums, GSO, GRO, page fragments,
fragment lists, and buffers shared with a capture. Nobody may count a damaged packet, and what comes
back is what was sent."""

import json
import os
import signal
import socket
import struct

from fep_lab import (CLIENT, CLIENT6, UDP_SEGMENT, VIP, VIP6, Lab, Mirrored, TcpMirror, UdpMirror, ethtool, family,
                     node, random_bytes)
from fep_test import Failure, case, check, equal, note, run, wait_for

TCP_BYTES = 3 << 20
ENDS, OURS = ("c0", "b0"), ("out0", "in1")
ON = ("rx on", "tx on", "sg on", "tso on", "gso on", "gro off", "rx-gro-list off", "rx-udp-gro-forwarding off")
# Name, switches of the two ends, switches of the front-end's devices.
MIXES = [
    ("as they come", (), ()),
    ("no checksum offload anywhere", ("tx off", "rx off"), ("tx off", "rx off")),
    ("ends offload, the front-end must finish checksums and segments", ("rx off",), ("tx off", "tso off", "gso off")),
    ("ends segment, the front-end merges", ("tso off", "gso off", "rx off"), ("gro on",)),
    ("ends do everything, the front-end merges", ("tx off", "rx off"), ("gro on",)),
    ("the front-end merges and must segment again", ("tx off", "rx off"), ("gro on", "tx off")),
    ("linear buffers only", ("sg off",), ("sg off",)),
    ("the front-end must copy into linear buffers", ("rx off",), ("sg off", "tx off")),
    ("the front-end merges into fragment lists", ("tso off", "gso off", "rx off"),
     ("gro on", "rx-gro-list on", "rx-udp-gro-forwarding on")),
    ("fragment lists, and the front-end must segment", ("tso off", "gso off", "rx off"),
     ("gro on", "rx-gro-list on", "rx-udp-gro-forwarding on", "tx off", "sg off")),
    ("everybody merges", ("gro on", "rx-udp-gro-forwarding on"), ("gro on", "rx-udp-gro-forwarding on")),
]


def device_owner(lab, device):
    return {"c0": lab.c, "b0": lab.b[1]}.get(device, lab.fe)


def switch(lab, ends, ours):
    for device in (*ENDS, *OURS):
        wanted = {words.split()[0]: words.split()[1] for words in (*ON, *(ends if device in ENDS else ours))}
        ethtool(device_owner(lab, device), device, " ".join(f"{name} {value}" for name, value in wanted.items()))


def tcp_both_ways(lab, size=TCP_BYTES):
    connection = Mirrored(lab.c, vip=lab.vip)
    connection.ask(random_bytes(size))
    connection.ask(b"x")
    connection.ask(random_bytes(10_001))
    connection.close()


def udp_socket(lab):
    sock = lab.c.socket(lambda: socket.socket(family(lab.vip), socket.SOCK_DGRAM))
    sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
    sock.settimeout(10)
    sock.connect((lab.vip, 53))
    return sock


def udp_both_ways(lab):
    sock = udp_socket(lab)
    for size in (0, 1, 2, 3, 100, 512, 1000, lab.most - 1, lab.most):
        data = random_bytes(size, size)
        sock.send(data)
        equal(sock.recv(65536) == data, True, f"datagram of {size} bytes")
    sock.close()


def udp_gso(lab):
    """One large buffer, which leaves as many datagrams; all come back, none twice."""
    sock = udp_socket(lab)
    sock.send(b"begin")
    equal(sock.recv(100), b"begin", "first datagram")
    for size in (1400, lab.most, 501):
        data = b"".join(struct.pack("!I", n) + random_bytes(size - 4, n) for n in range(20)) + b"last"
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        sock.send(data)
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
        got = [sock.recv(65536) for _ in range(21)]
        equal(b"".join(got) == data, True, f"datagrams of {size} bytes")
    sock.close()


def mixes(lab):
    for name, ends, ours in MIXES:
        with case(f"{name}: what comes back is what was sent"):
            switch(lab, ends, ours)
            before = lab.fep.counters()
            with lab.nothing_damaged():
                tcp_both_ways(lab)
                udp_both_ways(lab)
                udp_gso(lab)
            now = lab.fep.counters()
            equal({name for name in now if name.startswith("drop_") and now[name] != before[name]}, set(), "drops")
    switch(lab, (), ())


def counted_by_segments(lab):
    with case("a GSO packet counts as its segments, in bytes as one"):
        before, = lab.fep.dump("backends", service=("udp", lab.vip, 53))
        sock = udp_socket(lab)
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        sock.send(bytes(10_000))
        for _ in range(10):
            sock.recv(65536)
        after, = lab.fep.dump("backends", service=("udp", lab.vip, 53))
        equal(after.packets_in - before.packets_in, 10, "packets in")
        equal(after.packets_out - before.packets_out, 10, "packets out")
        note(f"bytes in: {after.bytes_in - before.bytes_in}, out: {after.bytes_out - before.bytes_out}")


def captured(path, expression):
    """Lines of a capture."""
    return [line for line in run("tcpdump", "-n", "-r", path, expression).splitlines() if " IP " in line or " IP6 " in line]


def with_a_capture(lab):
    """The capture shares every buffer with the filter."""
    for name, ends, ours in (MIXES[0], MIXES[3]):
        with case(f"{name}: with a capture on the front-end's devices"):
            switch(lab, ends, ours)
            last = b"the end of " + name[:20].encode()
            paths = {device: f"/tmp/{device}.{len(name)}.pcap" for device in OURS}
            captures = [lab.fe.start("tcpdump", "--immediate-mode", "-U", "-n", "-p", "-i", device, "-s", "96", "-w",
                                     path) for device, path in paths.items()]
            wait_for(lambda: all(map(os.path.exists, paths.values())), "captures")
            with lab.nothing_damaged():
                tcp_both_ways(lab)
                udp_both_ways(lab)
                udp_gso(lab)
                sock = udp_socket(lab)
                sock.send(last)
                sock.recv(100)
            for path in paths.values():
                wait_for(lambda path=path: open(path, "rb").read().count(last) == 2, "the last packet captured")
            for capture in captures:
                capture.send_signal(signal.SIGINT)
                capture.wait()
            for device, other_side in (("out0", f"host {node(1, lab.version)}"), ("in1", f"host {lab.vip}")):
                path = paths[device]
                wrong = captured(path, f"(tcp or udp) and {other_side}")
                equal(wrong[:2], [], f"addresses of the other side on {device}")
                check(len(captured(path, "tcp or udp")) > 50, f"packets on {device}")
                check(captured(path, "tcp and greater 3000"), f"packets larger than the MTU on {device}")
    switch(lab, (), ())


def path_mtu(lab):
    with case("a smaller MTU behind the front-end: both ends learn it by ICMP"):
        lab.fe.ip("link set in1 mtu 1300", "link set out0 mtu 1280")
        before = lab.fep.counters()["drop_too_big"]
        with lab.nothing_damaged():
            tcp_both_ways(lab, 300_000)
        check(lab.fep.counters()["drop_too_big"] - before >= 2, "packets too large")
        lab.fe.ip("link set in1 mtu 1500", "link set out0 mtu 1500")
        for version in ("-4", "-6"):
            lab.c.run("ip", version, "route", "flush", "cache")


def iperf(lab, *options):
    """The sum of an iperf3 run through the VIP."""
    out = lab.c.run("iperf3", "-c", lab.vip, "-J", *options)
    try:
        return json.loads(out)["end"]
    except ValueError as error:
        raise Failure(f"iperf3 {options}: {out}") from error


def iperf3(lab):
    for protocol in ("tcp", "udp"):
        lab.fep.add_service((protocol, lab.vip, 5201), [(node(1, lab.version), 5201)])
    server = lab.b[1].start("iperf3", "-s", "-J", "--logfile", "/tmp/iperf3")
    wait_for(lambda: ":5201" in lab.b[1].run("ss", "-ltn"), "iperf3 server")
    for name, ends, ours in (MIXES[0], MIXES[1], MIXES[2], MIXES[3]):
        switch(lab, ends, ours)
        for options in (("-n", "20M"), ("-n", "20M", "-R"), ("-n", "8M", "-P", "4")):
            with case(f"iperf3 tcp {' '.join(options)}: {name}"), lab.nothing_damaged():
                end = iperf(lab, *options)
                check(end["sum_received"]["bytes"] >= 8 << 20, f"received {end['sum_received']}")
        for options in (("-u", "-b", "20M", "-t", "1"), ("-u", "-b", "20M", "-t", "1", "-R")):
            with case(f"iperf3 udp {' '.join(options)}: {name}"), lab.nothing_damaged():
                end = iperf(lab, *options)["sum"]
                check(end["packets"] > 10, f"packets: {end['packets']}")
                note(f"lost {end['lost_packets']} of {end['packets']}")
    server.kill()


def check_offloads(version):
    """All of it over one version of IP."""
    lab = Lab(nodes=1, ipv6=version == 6)
    lab.version, lab.vip = version, {4: VIP, 6: VIP6}[version]
    # What a datagram has room for.
    lab.most = {4: 1472, 6: 1452}[version]
    there = node(1, version)
    servers = [TcpMirror(lab.b[1], 8080, address=there), UdpMirror(lab.b[1], 5353, there)]
    lab.fep.add_service(("tcp", lab.vip, 80), [(there, 8080)])
    lab.fep.add_service(("udp", lab.vip, 53), [(there, 5353)])
    mixes(lab)
    counted_by_segments(lab)
    with_a_capture(lab)
    path_mtu(lab)
    iperf3(lab)
    with case("the nodes see the client's own address"):
        equal([server.peers for server in servers], [{{4: CLIENT, 6: CLIENT6}[version]}] * 2, "peers")
