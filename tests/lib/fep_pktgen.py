"""The kernel's packet generator: many packets in no time, UDP over IPv4 with changing sources."""

import re

from fep_test import Failure, run, wait_for
from fep_wire import CLIENT_MAC, OUT_MAC


def available():
    return "not found" not in run("modprobe", "pktgen", check_status=False)


def pktgen(namespace, device, *lines, cpu=0):
    """Sends by a device of a namespace as the lines say, and returns what the generator says of it."""
    base = "/proc/thread-self/net/pktgen"

    def write(name, text):
        with open(f"{base}/{name}", "w", encoding="ascii") as file:
            file.write(text + "\n")

    def free():
        with open(f"{base}/kpktgend_{cpu}", encoding="ascii") as file:
            return not re.search(r"^(Running|Stopped): *\S", file.read(), re.MULTILINE)

    with namespace:
        write(f"kpktgend_{cpu}", "rem_device_all")
        # Its thread does that when it gets to run.
        wait_for(free, "pktgen has no device", 60)
        write(f"kpktgend_{cpu}", f"add_device {device}")
        for line in lines:
            write(device, line)
        write("pgctrl", "start")
        with open(f"{base}/{device}", encoding="ascii") as file:
            return file.read()


# So many addresses and ports, which have no common factor, are counted through side by side.
ADDRESSES, PORTS = 512, 513


def new_clients(wire, service, count, cpu=0, first="198.18.128.0"):
    """The first requests of so many clients of a UDP service, no two alike up to 262,656."""
    low = [int(part) for part in first.split(".")]
    last = f"{low[0]}.{low[1]}.{low[2] + ADDRESSES // 256 - 1}.255"
    said = pktgen(wire.c, "c0", "clone_skb 0", "burst 1", "pkt_size 60", "delay 0", f"count {count}",
                  f"dst_mac {OUT_MAC}", f"src_mac {CLIENT_MAC}", f"dst {service[1]}", f"src_min {first}",
                  f"src_max {last}", "udp_src_min 2000", f"udp_src_max {2000 + PORTS}", f"udp_dst_min {service[2]}",
                  f"udp_dst_max {service[2]}", "flag !SHARED", cpu=cpu)
    sent = re.search(r"Result: OK: \d+\(c\d+\+d\d+\) usec, (\d+) ", said)
    if not sent or int(sent[1]) != count:
        raise Failure(f"pktgen: {said}")
