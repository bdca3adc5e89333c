"""What the demo shows and what it has found out."""

import os
import sys
import textwrap
import time

WIDTH = 80


class Screen:
    """Prints steps, tables and checks, 80 columns wide, and keeps the checks and figures."""

    def __init__(self, began):
        self.began = began
        self.checks = []
        self.figures = {}
        self.seconds = {}
        self.versions = {}
        self._colour = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._step = None
        self._steps = 0

    def _print(self, line="", style=""):
        if self._colour and style:
            line = f"\033[{style}m{line}\033[0m"
        print(line, flush=True)

    def now(self):
        """Seconds since the demo was asked for."""
        return time.monotonic() - self.began

    def text(self, *lines):
        for line in lines:
            if len(line) > WIDTH - 3:
                line = line[:WIDTH - 4] + "…"
            self._print(f"   {line}".rstrip())

    def plain(self, text):
        for line in text.splitlines():
            self._print(line)

    def end_step(self):
        if self._step:
            name, start = self._step
            self.seconds[name] = round(self.now() - start, 1)
            self._step = None

    def step(self, name, title):
        self.end_step()
        self._step = (name, self.now())
        self._steps += 1
        clock = f"{self.now():.0f} s"
        title = f"{self._steps}  {title}"
        self._print()
        self._print(f"{title}{clock:>{WIDTH - len(title)}}", "1")

    def command(self, text):
        """A command as it is typed on the front-end."""
        self._print(f"   fe# {text}", "36")

    def table(self, head, rows):
        """The first column to the left, the rest to the right."""
        rows = [[str(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(head, *rows)]

        def shown(row):
            cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:])]
            return "  ".join([f"{row[0]:<{widths[0]}}", *cells])
        self._print(f"   {shown(head)}", "4")
        for row in rows:
            self.text(shown(row))

    def check(self, name, ok, found):
        """Records whether something that must hold does, with what was found."""
        ok = bool(ok)
        self.checks.append({"name": name, "ok": ok, "found": found, "step": self._step and self._step[0]})
        mark, style = ("ok  ", "32") if ok else ("FAIL", "1;31")
        if self._colour:
            mark = f"\033[{style}m{mark}\033[0m"
        first, *more = textwrap.wrap(f"{name}: {found}", WIDTH - 8)
        print(f"   {mark} {first}", flush=True)
        for line in more:
            self.text("     " + line)
        return ok

    def failed(self):
        return [check for check in self.checks if not check["ok"]]

    def report(self):
        return {
            "ok": bool(self.checks) and not self.failed(),
            "checks": self.checks,
            "figures": self.figures,
            "seconds": self.seconds,
            "versions": self.versions,
        }


def process_start():
    """When the demo was asked for, on the monotonic clock: when the `make` of `make demo` began,
    else when this process did."""
    began = None
    pid = os.getpid()
    while pid > 1:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().split(b"\0")
        is_make = os.path.basename(command[0]) == b"make" and b"demo" in command
        if began is None or is_make:
            began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        if is_make:
            break
        pid = int(fields[1])
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - began)
