"""What every guest test needs: reports, namespaces, and polling with a deadline.

    with case("it works"):
        equal(2 + 2, 4, "the sum")
    finish()

A case that raises is reported as failed, and the next one goes on.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
import traceback

from fep_abi import Fep

_failed = []
_here = threading.local()
_started = time.monotonic()


class Failure(AssertionError):
    """A check that did not hold."""


def note(text):
    """For whoever reads the log."""
    print(f"# [{time.monotonic() - _started:.1f}] {text}", flush=True)


def check(condition, why):
    if not condition:
        raise Failure(why)


def equal(got, want, what):
    if got != want:
        raise Failure(f"{what}: got {got!r}, want {want!r}")


@contextlib.contextmanager
def case(name):
    start = time.monotonic()
    try:
        yield
    except Exception as error:  # pylint: disable=broad-except
        if not isinstance(error, Failure):
            traceback.print_exc(file=sys.stdout)
        text = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        print(f"not ok {name}: {' '.join(text.split())[:600]}", flush=True)
        _failed.append(name)
    else:
        print(f"ok {name}", flush=True)
        if time.monotonic() - start > 2:
            note(f"{name}: {time.monotonic() - start:.1f} s")


def skip(name, reason):
    print(f"skip {name}: {reason}", flush=True)


def finish():
    """Ends the file."""
    sys.stdout.flush()
    # Threads and children of a failed case must not keep the guest waiting.
    os._exit(1 if _failed else 0)


def wait_for(condition, what, seconds=10.0):
    """Waits until `condition()` is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"after {seconds:g} s still not: {what}")
        time.sleep(0.005)


def run(*command, check_status=True, text=None):
    """Output of a command, its errors included."""
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if check_status and done.returncode:
        raise Failure(f"{' '.join(command)} ended with {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def load_module(*parameters):
    run("modprobe", "fep", *parameters)


def unload_module():
    run("rmmod", "fep")


def module_loaded():
    return os.path.isdir("/sys/module/fep")


class Namespace:
    """A network namespace. `with ns:` puts the calling thread, and what it starts, into it.

    Without `ipv6` neighbour discovery would mix with what the tests count."""

    def __init__(self, name, ipv6=False):
        self.name = name
        run("ip", "netns", "add", name)
        self._fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        self._processes = []
        # A kernel that was booted without IPv6 has none of these.
        for scope in ("all", "default") if os.path.exists("/proc/sys/net/ipv6") else ():
            self.sysctl(f"net.ipv6.conf.{scope}.disable_ipv6", int(not ipv6))
            # Addresses are there at once, and nowhere else from.
            self.sysctl(f"net.ipv6.conf.{scope}.accept_dad", 0)
            self.sysctl(f"net.ipv6.conf.{scope}.accept_ra", 0)
        self.ip("link set lo up")

    def __enter__(self):
        stack = _here.__dict__.setdefault("stack", [])
        stack.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        os.setns(self._fd, os.CLONE_NEWNET)
        return self

    def __exit__(self, *_):
        before = _here.stack.pop()
        os.setns(before, os.CLONE_NEWNET)
        os.close(before)

    def run(self, *command, **options):
        with self:
            return run(*command, **options)

    def ip(self, *lines):
        """Lines for `ip`, all at once."""
        return self.run("ip", "-batch", "-", text="\n".join(lines) + "\n")

    def start(self, *command, **options):
        """A process in the background, which ends with the namespace."""
        with self:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
        self._processes.append(process)
        return process

    def sysctl(self, name, value):
        with self, open(f"/proc/sys/{name.replace('.', '/')}", "w", encoding="ascii") as file:
            file.write(str(value))

    def fep(self):
        with self:
            return Fep()

    def socket(self, make):
        """What `make()` returns, made in the namespace."""
        with self:
            return make()

    def counters(self):
        """The stack's counters, by names such as TcpInCsumErrors."""
        found = {}
        with self, contextlib.suppress(FileNotFoundError):
            with open("/proc/thread-self/net/snmp6", encoding="ascii") as file:
                found.update((name, int(value)) for name, value in map(str.split, file))
        for path in ("snmp", "netstat"):
            with self, open(f"/proc/thread-self/net/{path}", encoding="ascii") as file:
                lines = file.read().splitlines()
            for names, values in zip(lines[::2], lines[1::2]):
                prefix, *names = names.split()
                found.update(zip((prefix[:-1] + name for name in names), map(int, values.split()[1:])))
        return found

    def stop(self):
        """Ends its processes."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._processes.clear()

    def delete(self):
        """Ends everything in it. The kernel removes it when the last file and socket is closed."""
        self.stop()
        os.close(self._fd)
        run("ip", "netns", "del", self.name)


def veth(here, name, there, peer, here_mac="", there_mac="", options=""):
    """A pair of devices between two namespaces, both up."""
    mac = f"address {here_mac} " if here_mac else ""
    peer_mac = f"address {there_mac} " if there_mac else ""
    here.ip(f"link add {name} {mac}{options} type veth peer name {peer} {peer_mac}{options} netns {there.name}",
            f"link set {name} up")
    there.ip(f"link set {peer} up")
