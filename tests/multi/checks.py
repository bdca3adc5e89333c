"""What the tests of several guests share: the lines they report in, and a front-end set up."""

import os
import sys
import time
import traceback

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{TREE}/tests/demo")

from cluster import VIP, Cluster  # noqa: E402
from errors import GuestError  # noqa: E402

WEB = f"tcp/{VIP}:80"


class Checks:
    """Prints a line for each check, as scripts/run-tests.py counts them."""

    def __init__(self):
        self.failed = 0
        self._start = time.monotonic()

    def __call__(self, name, ok, found=""):
        text = str(found).replace("\n", " | ")
        if ok:
            print(f"ok {name}", flush=True)
        else:
            self.failed += 1
            print(f"not ok {name}: {text}", flush=True)
        print(f"  # {time.monotonic() - self._start:.1f} s  {text}", flush=True)
        return bool(ok)


def serve(cluster):
    """The service WEB, by hand."""
    for device in ("eth0", "eth1"):
        cluster.fepctl(f"device attach {device}")
    cluster.fepctl(f"service add {WEB}")
    for node, weight in zip(cluster.nodes, (2, 1, 1)):
        cluster.fepctl(f"backend add {WEB} {cluster.address(node)} --weight {weight}")


def main(body, *, configure=True, **options):
    """Runs body(cluster, check) with a cluster that is up and, unless the test configures fep itself, a service WEB
    with weights 2:1:1."""
    check = Checks()
    try:
        with Cluster(**options) as cluster:
            cluster.up()
            if configure:
                serve(cluster)
            body(cluster, check)
        check("no kernel has complained", True)
    except GuestError as error:
        check("comes to its end", False, error)
    except Exception:
        check("comes to its end", False, traceback.format_exc())
    sys.exit(1 if check.failed else 0)


def by_node(answers, names=("be1", "be2", "be3")):
    """How many answers came from each node."""
    return [sum(1 for answer in answers if answer[1] == name) for name in names]


def failed_first(answers):
    """Answers that needed more than one try, or never came."""
    return [answer for answer in answers if answer[1] is None or answer[3] > 1]


def failed(answers):
    return [answer for answer in answers if answer[1] is None]


def lost_packets(before, after):
    """The counters of packets that a configuration must not cost, with how many it did, from the
    status before and after."""
    names = [name for name in before["counters"] if name.startswith("drop_")]
    names += ["pass_no_route", "pass_no_service"]
    grown = {name: after["counters"][name] - before["counters"][name] for name in names}
    return {name: count for name, count in grown.items() if count}


class Client:
    """The client's jobs, to the service WEB unless said otherwise."""

    def __init__(self, cluster):
        self._requester = cluster.requester

    def __call__(self, job, within=60, **arguments):
        answer = self._requester.do(job, within=within, **{"vip": VIP, "service": 80, **arguments})
        return answer["answers"]

    def progress(self, more, within):
        """Whether the load has had `more` answers within so many seconds."""
        goal = self("look")[0] + more
        end = time.monotonic() + within
        while time.monotonic() < end:
            if self("look")[0] >= goal:
                return True
            time.sleep(0.1)
        return False
