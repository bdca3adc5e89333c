#!/usr/bin/env python3
# qemu: --with tests/lib --append ipv6.disable=1
"""A host without IPv6 at all: its tables are not there, so nothing may ask for them."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

import fep_packet as packet  # noqa: E402
from fep_abi import Refused, op  # noqa: E402
from fep_lab import Lab  # noqa: E402
from fep_packet import ETH_IPV6  # noqa: E402
from fep_test import case, equal, finish, load_module, wait_for  # noqa: E402
from fep_wire import Tap, V6  # noqa: E402

PACKETS = 10


def refusal(fep, *operation, **fields):
    try:
        fep.commit(op(*operation, **fields))
    except Refused as refused:
        return refused.reason
    return "accepted"


def hardware_address(namespace, device):
    words = namespace.run("ip", "-br", "link", "show", device).split()
    return bytes.fromhex(words[2].replace(":", ""))


load_module()
lab = Lab(nodes=1)

with case("a service of IPv6 is refused, with the reason"):
    equal(refusal(lab.fep, "service_add", ("tcp", V6.vip, 80)), "family_unsupported", "the refusal")
    equal(refusal(lab.fep, "service_add", ("tcp", "192.0.2.10", 80)), "accepted", "a service of IPv4")
    equal(refusal(lab.fep, "backend_add", ("tcp", "192.0.2.10", 80), (V6.node(1), 80)), "family_mismatch",
          "a node of IPv6")

with case("frames of IPv6 go on untouched"):
    tap = Tap(lab.c, "c0")
    to, source = hardware_address(lab.fe, "out0"), hardware_address(lab.c, "c0")
    before = lab.fep.status().counters["pass_no_service"]
    frame = to + source + ETH_IPV6.to_bytes(2, "big") + packet.udp(V6.client, V6.vip, 5000, 80, b"data")
    for _ in range(PACKETS):
        tap.send(frame)
    wait_for(lambda: lab.fep.status().counters["pass_no_service"] >= before + PACKETS, "the packets to be passed")

finish()
