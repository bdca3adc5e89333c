"""This process's terminal, or what stands in its place, as a guest command's own."""

import os
import select
import shutil
import termios
import threading
import tty


def write(data):
    """All of it to standard output."""
    view = memoryview(bytes(data))
    while view:
        view = view[os.write(1, view):]


def feed(command):
    """Standard input to the command from now on, until either ends."""
    def copy():
        while command.running:
            if not select.select([0], [], [], 0.2)[0]:
                continue
            data = os.read(0, 65536)
            if not data:
                command.close()
                return
            command.write(data)
    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def interactive(guest, command="exec bash -l", *, env=None):
    """Runs a shell in the guest on this terminal until it ends; returns its status. Without a
    terminal the shell reads its commands from standard input."""
    if not os.isatty(0):
        running = guest.spawn(["bash"], stdin=True, sink=write, cwd="/root", env=env)
        feed(running)
        return running.wait()
    size = shutil.get_terminal_size()
    line = f"stty cols {size.columns} rows {size.lines}; {command}"
    running = guest.spawn(["script", "-qec", line, "/dev/null"], stdin=True, sink=write, cwd="/root",
                          env={"TERM": os.environ.get("TERM", "linux"), **(env or {})})
    saved = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        thread = feed(running)
        status = running.wait()
        thread.join(1)  # or it would take what is typed for the next one
        return status
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)
