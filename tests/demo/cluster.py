"""The front-end, its back-end nodes and a client, as guests.

      client ---- outside ----  fe  ---- inside ---+--- be1   nginx, UDP answers
    192.0.2.100      192.0.2.10   10.0.0.1         +--- be2   10.0.0.11 and up
                      (the VIP)    (the nodes'     +--- be3
                                  default route)

The front-end does not forward (ip_forward 0): what crosses it, fep has moved.
"""

import hashlib
import json
import os
import shlex
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, f"{TREE}/qemu")

from errors import CommandFailed, GuestError  # noqa: E402
from guest import Lab  # noqa: E402

VIP = "192.0.2.10"
CLIENT = "192.0.2.100"
LARGE = 6 << 20
SHARED = "/usr/local/share/fep-demo"


def large_file():
    """What every node serves as /large: numbered lines, as seq prints them."""
    data = bytearray()
    number = 1
    while len(data) < LARGE:
        data += b"".join(b"%d\n" % n for n in range(number, number + 100000))
        number += 100000
    return bytes(data[:LARGE])


class Requester:
    """The program in the client guest that sends requests; see requester.py."""

    def __init__(self, guest):
        self._lock = threading.Condition()
        self._text = b""
        self._answers = []
        self._command = guest.spawn(["python3", f"{SHARED}/requester.py"], stdin=True, sink=self._feed)

    def _feed(self, data):
        *lines, self._text = (self._text + bytes(data)).split(b"\n")
        with self._lock:
            self._answers += [(time.monotonic(), line) for line in lines]
            self._lock.notify_all()

    def _line(self, timeout):
        end = time.monotonic() + timeout
        with self._lock:
            while not self._answers:
                left = end - time.monotonic()
                if left <= 0 or not self._command.running:
                    said = self._text.decode("utf-8", "replace")
                    raise GuestError(f"the client's requester gave no answer within {timeout} s {said}")
                self._lock.wait(min(left, 1))
            return self._answers.pop(0)

    def start(self, job, **arguments):
        """Starts a job; wait() gets its answer."""
        self._command.write(json.dumps({"job": job, **arguments}).encode() + b"\n")

    def wait(self, within=60):
        """The answer to the job that was started last, and when its first reply came."""
        first = None
        while True:
            when, line = self._line(within)
            try:
                answer = json.loads(line)
            except ValueError:
                raise GuestError(f"the client's requester: {line.decode('utf-8', 'replace')}") from None
            if "error" in answer:
                raise GuestError(f"the client's requester: {answer['error']}")
            if "first" in answer:
                first = when
                continue
            answer["first"] = first
            return answer

    def do(self, job, within=60, **arguments):
        self.start(job, **arguments)
        return self.wait(within)


class Cluster:
    """All guests of one run. `up()` makes them ready to serve; fep is loaded, not configured."""

    def __init__(self, nodes=3, *, front_end_cpus=1, kernel=None, files=None):
        self.lab = lab = Lab(kernel=kernel)
        lab.network("outside")
        lab.network("inside")
        shared = {SHARED: HERE, **(files or {})}
        self.fe = lab.guest("fe", nics=["outside", "inside"], smp=front_end_cpus, mem="384M", files=shared)
        self.nodes = [lab.guest(f"be{n}", nics=["inside"], mem="256M", files=shared)
                      for n in range(1, nodes + 1)]
        self.client = lab.guest("client", nics=["outside"], mem="384M", files=shared)
        self.guests = [self.fe, *self.nodes, self.client]
        self.up_after = {}
        self.requester = None
        self.log = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.lab.__exit__(kind, value, trace)

    def address(self, node):
        return f"10.0.0.{11 + self.nodes.index(node)}"

    def node_at(self, address):
        """The name of the node at `address`, with or without a port."""
        return {self.address(node): node.name for node in self.nodes}[address.partition(":")[0]]

    def up(self, seen=lambda guest, seconds: None):
        """Starts every guest and prepares each as soon as it is there."""
        failures = []

        def bring_up(guest):
            try:
                self.prepare(guest)
                seen(guest, self.up_after[guest.name])
            except Exception as error:  # raised again below
                failures.append(error)

        threads = []
        for guest in self.guests:
            guest.start()
            threads.append(threading.Thread(target=bring_up, args=(guest,), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def prepare(self, guest):
        """Makes a guest that was just powered on what it is to be."""
        guest.wait_ready()
        if guest is self.fe:
            guest.run("sysctl -qw net.ipv4.ip_forward=0; modprobe fep;"
                      f"ip addr add {VIP}/24 dev eth0; ip addr add 10.0.0.1/24 dev eth1;"
                      "ip link set eth0 up; ip link set eth1 up", check=True)
        elif guest is self.client:
            # Small buffers: what has left a node and is not read yet is little.
            guest.run(f"ip addr add {CLIENT}/24 dev eth0; ip link set eth0 up;"
                      "sysctl -qw net.ipv4.tcp_rmem='4096 65536 131072'", check=True)
            self.requester = Requester(guest)
            self.requester.do("hello")
        else:
            guest.run(f"ip addr add {self.address(guest)}/24 dev eth0; ip link set eth0 up;"
                      "ip route add default via 10.0.0.1;"
                      "sysctl -qw net.ipv4.tcp_wmem='4096 16384 65536';"
                      f"mkdir -p /srv/www && echo {guest.name} >/srv/www/index.html &&"
                      f"seq 1 2000000 | head -c {LARGE} >/srv/www/large &&"
                      f"nginx -c {SHARED}/nginx.conf", check=True)
        self.up_after[guest.name] = time.monotonic() - guest._started

    def fepctl(self, text, *, check=True):
        """Runs fepctl on the front-end; the Command, with .status and .output."""
        if self.log:
            self.log(f"fepctl {text}")
        return self.fe.run(["fepctl", *shlex.split(text)], check=check, timeout=60, merge=not check)

    def json(self, text):
        """What `fepctl --json TEXT` prints, as data."""
        command = self.fe.run(["fepctl", "--json", *shlex.split(text)], merge=False, timeout=60)
        if command.status:
            raise CommandFailed(f"fepctl --json {text}: status {command.status}\n{command.stderr}")
        try:
            return json.loads(command.output)
        except ValueError as error:
            raise CommandFailed(f"fepctl --json {text}: not JSON ({error}): {command.output[:200]}") from None

    def service(self, name, command="status"):
        """The service as `fepctl --json status` (or stats) has it."""
        for service in self.json(command)["services"]:
            if service["service"] == name:
                return service
        raise CommandFailed(f"fepctl --json {command}: there is no service {name}")

    def backends(self, service):
        """Node name -> weight, state, routes and traffic, all from status."""
        return {self.node_at(b["backend"]): {**b["traffic"], **b} for b in self.service(service)["backends"]}

    def connections(self, service):
        """Node name -> clients it was given, from stats."""
        backends = self.service(service, "stats")["backends"]
        return {self.node_at(b["backend"]): b["traffic"]["connections"] for b in backends}

    def routes(self, options=""):
        """The allocated routes: (client address, client port, node name)."""
        routes = []
        for route in self.json(f"route list {options}")["routes"]:
            address, _, port = route["client"].rpartition(":")
            routes.append((address, int(port), self.node_at(route["backend"])))
        return routes

    @staticmethod
    def sha256():
        return hashlib.sha256(large_file()).hexdigest()
