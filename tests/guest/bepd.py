#!/usr/bin/env python3
# qemu: --with tests/lib
"""The agent of a node: who may ask, the load, which connections are live, its file, its processes."""

import contextlib
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_test import case, check, equal, finish  # noqa: E402

# Nothing here takes more than a second or two; a machine that is slower may take its time.
PATIENCE = 60
PORT = 7600
# Addresses and ports that nobody has.
STRANGER = {4: "192.0.2.9:9", 6: "[2001:db8::9]:9"}


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


def pki(folder, *names):
    run("fepctl", "pki", "init", folder)
    for name in names:
        run("fepctl", "pki", "issue", folder, name)


class Link:
    """A front-end's link to the agent."""

    def __init__(self, folder, name, node="node-1", port=PORT):
        context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
        if name:
            context.load_cert_chain(f"{folder}/{name}.pem", f"{folder}/{name}.key")
        raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.tls = context.wrap_socket(raw, server_hostname="node-1")
        self._id = 0
        self.welcome = self.ask({"type": "hello", "protocol_min": 1, "protocol_max": 1, "node": node,
                                 "program_version": "0"})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tls.close()

    def say(self, message):
        body = json.dumps(message).encode()
        self.tls.sendall(struct.pack(">I", len(body)) + body)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.tls.recv(size - len(data))
            if not piece:
                raise ConnectionError("closed")
            data += piece
        return data

    def hear(self):
        return json.loads(self._exactly(struct.unpack(">I", self._exactly(4))[0]))

    def ask(self, message):
        self.say(message)
        return self.hear()

    def request(self, kind, **fields):
        self._id += 1
        self.say({"type": kind, "id": self._id, **fields})
        answer = self.hear()
        while answer["type"] == "process_changed":
            answer = self.hear()
        equal(answer.get("id"), self._id, "id of the answer")
        return answer

    def report(self):
        answer = self.request("ask_report", time_limit_ms=PATIENCE * 1000)
        equal(answer["type"], "report", "answer")
        return answer["report"]

    def live(self, *connections):
        asked = [dict(zip(("transport", "local", "peer"), each)) for each in connections]
        answer = self.request("connections", list=asked)
        equal(answer["type"], "live", f"answer {answer}")
        return answer["live"]


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        check(time.monotonic() < deadline, f"not in time: {what}")
        time.sleep(0.05)


@contextlib.contextmanager
def agent(path, log, end=signal.SIGTERM):
    with open(log, "wb") as output, subprocess.Popen(
            ["bepd", "--config", path, "--log-format", "json"], stderr=output) as process:
        try:
            until(lambda: '"ready"' in read(log), "ready")
            yield process
        finally:
            process.send_signal(end)
            equal(process.wait(PATIENCE), 0 if end == signal.SIGTERM else -end, "exit code at its end")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, front_ends, tables="", **more):
    with open(path, "w", encoding="utf-8") as file:
        file.write('node = "node-1"\nauthority = "pki/ca.pem"\ncertificate = "pki/node-1.pem"\n'
                   f'key = "pki/node-1.key"\nlisten = "127.0.0.1:{PORT}"\n'
                   f"front_ends = {json.dumps(front_ends)}\n")
        for key, value in more.items():
            file.write(f"{key} = {json.dumps(value)}\n")
        file.write(tables)


def refused(attempt):
    """Whether the link is refused, and with which words."""
    try:
        with attempt() as link:
            return link.welcome.get("why") if link.welcome["type"] == "refused" else None
    except (ssl.SSLError, ConnectionError):
        return "link"


def trust(folder, other):
    with case("only configured front-ends are welcome"):
        with Link(folder, "fep-1") as link:
            equal(link.welcome["type"], "welcome", "answer")
            equal(link.welcome["node"], "node-1", "node")
        equal(refused(lambda: Link(folder, "fep-2")), "not a front-end of this node", "fep-2")
        equal(refused(lambda: Link(folder, "fep-1", node="node-2")), "this is another node", "node-2")
        equal(refused(lambda: Link(folder, None)), "link", "no certificate")
    with case("a certificate of another authority is refused"):
        for end in ("pem", "key"):
            os.replace(f"{other}/fep-1.{end}", f"{folder}/other.{end}")
        equal(refused(lambda: Link(folder, "other")), "link", "foreign fep-1")


def load(folder):
    with case("the load is that of the node"), Link(folder, "fep-1") as link:
        report = link.report()
        total = next(int(line.split()[1]) * 1024 for line in read("/proc/meminfo").splitlines()
                     if line.startswith("MemTotal:"))
        equal(report["memory_total"], total, "memory_total")
        check(0 < report["memory_available"] < total, f"memory_available {report}")
        check(report["uptime"] > 0 and report["sockets"] > 0, f"uptime, sockets {report}")
    with case("a CPU hog shows, and its end as well"), Link(folder, "fep-1") as link:
        link.say({"type": "report_every", "ms": 500})

        def reports_until(condition, what):
            deadline = time.monotonic() + PATIENCE
            seen = []
            while not (seen and condition(seen[-1])):
                check(time.monotonic() < deadline, f"{what}: {seen}")
                message = link.hear()
                equal((message["type"], message["id"]), ("report", None), "message")
                seen.append(message["report"]["cpu_percent"])

        hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"])  # pylint: disable=R1732
                for _ in range(os.cpu_count())]
        try:
            reports_until(lambda percent: percent > 80, "busy")
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
        reports_until(lambda percent: percent < 50, "idle")


def pair(kind, family):
    """A server's socket and its client's, and the texts of their addresses."""
    any_port = ("127.0.0.1" if family == socket.AF_INET else "::1", 0)
    server = socket.socket(family, kind)
    server.bind(any_port)
    client = socket.socket(family, kind)
    if kind == socket.SOCK_STREAM:
        server.listen()
        client.connect(server.getsockname())
        taken, _ = server.accept()
        server.close()
        server = taken
    else:
        client.bind(any_port)
        server.connect(client.getsockname())
    return server, client, text(server.getsockname()), text(client.getsockname())


def text(name):
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


KINDS = [(kind, name, family, version)
         for kind, name in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp"))
         for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6))]


def connections(folder):
    for kind, name, family, version in KINDS:
        with case(f"{name} over IPv{version}: live, then dead"), Link(folder, "fep-1") as link:
            server, client, local, peer = pair(kind, family)
            asked = [(name, local, STRANGER[version]), (name, local, peer)]
            equal(link.live(*asked), [False, True], "while open")
            server.close()
            client.close()
            until(lambda: link.live(*asked) == [False, False], "dead after the close")  # noqa: B023


IN_NAMESPACE = """
import socket, sys
s = socket.socket({family}, socket.SOCK_DGRAM)
s.bind(("{address}", 4242))
print("bound", flush=True)
sys.stdin.read()
"""


def namespaces(folder):
    run("ip", "netns", "add", "inner")
    run("ip", "-n", "inner", "link", "set", "lo", "up")
    for family, address, version in (("socket.AF_INET", "0.0.0.0", 4), ("socket.AF_INET6", "::", 6)):
        with case(f"a socket of IPv{version} in another namespace"), Link(folder, "fep-1") as link:
            local = "198.51.100.1:4242" if version == 4 else "[2001:db8::1]:4242"
            asked = ("udp", local, STRANGER[version])
            equal(link.live(asked), [False], "before")
            code = IN_NAMESPACE.format(family=family, address=address)
            with subprocess.Popen(["ip", "netns", "exec", "inner", sys.executable, "-c", code],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                process.stdout.readline()
                equal(link.live(asked), [True], "while bound")
                process.stdin.close()
                process.wait(PATIENCE)
            equal(link.live(asked), [False], "after its end")


def configuration(path, log, process):
    folder = f"{os.path.dirname(path)}/pki"
    with case("a bad file is refused, and the old state stays"), Link(folder, "fep-1") as link:
        write(path, ["fep-1"], colour="red")
        checked = subprocess.run(["bepd", "--config", path, "--check"], capture_output=True, text=True,
                                 check=False)
        equal(checked.returncode, 2, "exit code of --check")
        check(checked.stderr.startswith(f"{path}:7: colour: "), checked.stderr)
        process.send_signal(signal.SIGHUP)
        until(lambda: "configuration refused" in read(log), "refusal in the log")
        link.report()
    with case("a good file is taken at SIGHUP"):
        write(path, ["fep-2"])
        run("bepd", "--config", path, "--check")
        process.send_signal(signal.SIGHUP)
        until(lambda: "configuration read again" in read(log), "new configuration")
        with Link(folder, "fep-2") as link:
            link.report()
        equal(refused(lambda: Link(folder, "fep-1")), "not a front-end of this node", "fep-1")


SERVER = """
import os, socket, sys
with open(sys.argv[1], "a") as starts:
    print(os.getpid(), os.getuid(), os.environ["COLOUR"], file=starts)
s = socket.create_server(("127.0.0.1", 8080))
while True:
    s.accept()[0].close()
"""


def process_until(link, condition, what):
    deadline = time.monotonic() + PATIENCE
    while True:
        found = link.request("process_list")["list"][0]
        if condition(found):
            return found
        check(time.monotonic() < deadline, f"not in time: {what}: {found}")
        time.sleep(0.05)


def processes(path, log):
    folder = os.path.dirname(path)
    keys, starts = f"{folder}/pki", f"{folder}/starts"
    os.chmod(folder, 0o755)
    with open(starts, "w", encoding="utf-8"):
        os.chmod(starts, 0o666)
    with open(f"{folder}/server.py", "w", encoding="utf-8") as file:
        file.write(SERVER)
    write(path, ["fep-1"], "[process.web]\n"
          f"command = {json.dumps(os.path.realpath(sys.executable))}\n"
          f"args = {json.dumps([f'{folder}/server.py', starts])}\n"
          'env = { COLOUR = "red" }\nuser = "nobody"\nready = { tcp = "127.0.0.1:8080" }\n',
          state=f"{folder}/state")
    pid = 0
    with case("a process is started once, as its user, and is ready"):
        with agent(path, log, signal.SIGKILL), Link(keys, "fep-1") as link:
            check("processes" in link.welcome["features"], link.welcome)
            for _ in range(2):
                link.say({"type": "process_start", "id": 0, "key": "web"})
            answers = []
            while len(answers) < 2 or not pid:
                message = link.hear()
                if message["type"] == "processes":
                    answers += message["list"]
                elif message["state"] == "ready":
                    pid = message["pid"]
            equal(answers[0]["state"], "starting", "first answer")
            uid, = {line.split()[2] for line in read(f"/proc/{pid}/status").splitlines()
                    if line.startswith("Uid:")}
            equal(read(starts), f"{pid} {uid} red\n", "starts")
            check(uid != "0", "it runs as root")
    with case("an agent that was killed and starts again keeps its process"):
        with agent(path, log, signal.SIGKILL), Link(keys, "fep-1") as link:
            equal(process_until(link, lambda found: found["state"] == "ready", "ready")["pid"], pid, "pid")
            equal(len(read(starts).splitlines()), 1, "starts")
    with case("it dies while the agent is away, and is started again"):
        os.kill(pid, signal.SIGKILL)
        with agent(path, log), Link(keys, "fep-1") as link:
            process_until(link, lambda found: found["state"] == "ready" and found["pid"] != pid, "ready")
            equal(len(read(starts).splitlines()), 2, "starts")
            equal(link.request("process_stop", key="web")["type"], "processes", "answer")
            process_until(link, lambda found: found["state"] == "stopped", "stopped")
            equal(link.request("process_start", key="ftp")["type"], "failed", "one that is unknown")
    with case("it has ended"):
        with socket.socket() as server:
            equal(server.connect_ex(("127.0.0.1", 8080)) != 0, True, "refused")


def main():
    with tempfile.TemporaryDirectory() as folder:
        run("ip", "link", "set", "lo", "up")
        keys, path, log = f"{folder}/pki", f"{folder}/bepd.toml", f"{folder}/log"
        pki(keys, "node-1", "fep-1", "fep-2")
        pki(f"{folder}/other", "fep-1")
        write(path, ["fep-1"])
        with agent(path, log) as process:
            trust(keys, f"{folder}/other")
            load(keys)
            connections(keys)
            namespaces(keys)
            configuration(path, log, process)
        with case("every line of the log is JSON"):
            for line in read(log).splitlines():
                json.loads(line)
        processes(path, log)
    finish()


main()
