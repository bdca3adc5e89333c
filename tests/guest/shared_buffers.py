#!/usr/bin/env python3
# qemu: --with tests/lib
"""Buffers that the filter has not for itself: others still look at the frame, or receive it again."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_packet import ACK, SYN, Tap, ether  # noqa: E402
from fep_pktgen import available, pktgen  # noqa: E402
from fep_test import case, check, equal, finish, load_module, skip  # noqa: E402
from fep_wire import CLIENT, CLIENT_MAC, IN_MAC, OUT_MAC, VIP, Wire, node, node_mac  # noqa: E402

BURST = 20


def captured(wire):
    """A packet socket clones the buffer and reads it later, when the filter is long done."""
    taps = {"client": Tap(wire.fe, "out0"), "node": Tap(wire.fe, "in0")}
    for protocol, request, reply in (
            ("udp", packet.udp(CLIENT, VIP, 5000, 53, b"request"), packet.udp(node(1), CLIENT, 5353, 5000, b"reply")),
            ("tcp", packet.tcp(CLIENT, VIP, 5000, 80, SYN), packet.tcp(node(1), CLIENT, 8080, 5000, SYN | ACK))):
        for side, frame in (("client", ether(OUT_MAC, CLIENT_MAC, request)),
                            ("node", ether(IN_MAC, node_mac(1), reply))):
            with case(f"{protocol} of the {side}: a capture in front of the filter sees the frame as it came"):
                wire.settle()
                taps[side].take()
                outcome = wire.exchange(frame, via=side)
                equal([f.hex() for f in taps[side].take()], [frame.hex()], "captured")
                equal(len(outcome.nodes) + len(outcome.client), 1, "frames on the other side")
    for tap in taps.values():
        tap.close()


def received_again(wire):
    """The generator hands the same buffer to the stack over and over and keeps it all the while."""
    if not available():
        skip("shared buffer", "this kernel has no pktgen")
        return
    with case(f"one shared buffer received {BURST} times is translated {BURST} times"):
        wire.settle()
        wire.take()
        before = wire.fep.counters()
        result = pktgen(wire.fe, "out0", "xmit_mode netif_receive", f"count {BURST}", f"burst {BURST}", "clone_skb 0",
                        "pkt_size 60", f"dst_mac {OUT_MAC}", f"src_mac {CLIENT_MAC}", f"dst {VIP}",
                        f"src_min {CLIENT}", f"src_max {CLIENT}", "udp_src_min 6000", "udp_src_max 6000",
                        "udp_dst_min 53", "udp_dst_max 53", "delay 0")
        wire.settle()
        after = wire.fep.counters()
        grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        equal(grown, {"forward_request": BURST, "route_allocated": 1}, f"counters ({result})")
        frames = wire.nodes.take()
        equal(len(frames), BURST, "frames at the node")
        check(len(set(frames)) == 1, f"they differ: {sorted(frame.hex() for frame in set(frames))}")
        header = frames[0][14:34]
        # The generator's time to live is 32.
        equal((frames[0][:6], header[8], header[12:20], packet.checksum(header)),
              (packet.mac_bytes(node_mac(1)), 31, packet.ip_bytes(CLIENT) + packet.ip_bytes(node(1)), 0), "frame")


def main():
    load_module("routes_limit=1000")
    wire = Wire()
    wire.fep.add_service(("udp", VIP, 53), [(node(1), 5353)])
    wire.fep.add_service(("tcp", VIP, 80), [(node(1), 8080)])
    captured(wire)
    received_again(wire)
    finish()


main()
