"""A guest's kernel log: kept in a file, read as it comes, searched for what must not be there."""

import re
import threading

# What a healthy kernel never says. A line is enough: the context is printed.
_BAD = [
    r"Kernel panic",
    r"\bOops\b",
    r"\bBUG: ",
    r"kernel BUG at",
    r"cut here \]-",
    r"WARNING: .*(CPU|PID|at \S+\+0x|possible|suspicious|bad unlock|inconsistent)",
    r"\bCall Trace:",
    r"general protection fault",
    r"unable to handle",
    r"rcu: INFO: .*(stall|detected)",
    r"rcu_\w+ .*stall",
    r"(soft|hard) lockup",
    r"LOCKUP",
    r"blocked for more than \d+ seconds",
    r"UBSAN: ",
    r"KASAN: ",
    r"refcount_t: ",
    r"list_(add|del) corruption",
    r"scheduling while atomic",
    r"sleeping function called",
    r"unregister_netdevice: waiting",
    r"hw csum failure",
    r"rust_kernel: panicked",
    r"Out of memory: Killed",
    r"page allocation failure",
    r"kmemleak: \d+ new suspected",
    r"fep-init: giving up",
]
BAD = re.compile("|".join(_BAD))


class KernelLog:
    """Follows the file QEMU writes the serial console to, until `over` is set. A file and not a
    socket: QEMU drops characters that nobody takes in time."""

    def __init__(self, path, allow=(), on_bad=None):
        self.path = path
        self.lines = []
        self.bad = None
        self.over = threading.Event()
        self._allow = [re.compile(a) for a in allow]
        self._on_bad = on_bad
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self):
        with open(self.path, "rb") as file:
            rest = b""
            while True:
                last = self.over.is_set()
                *lines, rest = (rest + file.read()).split(b"\n")
                for line in lines:
                    self._line(line.decode("utf-8", "replace").rstrip("\r"))
                if last:
                    break
                self.over.wait(0.05)
            if rest:
                self._line(rest.decode("utf-8", "replace"))

    def finish(self):
        """QEMU is gone: reads what is left."""
        self.over.set()
        self.thread.join()

    def _line(self, line):
        self.lines.append(line)
        if self.bad is None and BAD.search(line) and not any(a.search(line) for a in self._allow):
            self.bad = len(self.lines) - 1
            if self._on_bad:
                # The report's remaining lines are still on their way.
                threading.Timer(1.0, self._on_bad).start()

    def around_bad(self, before=5, after=60):
        """The report found, with what surrounds it."""
        if self.bad is None:
            return []
        return self.lines[max(0, self.bad - before):self.bad + after]

    def tail(self, count=25):
        return self.lines[-count:]
