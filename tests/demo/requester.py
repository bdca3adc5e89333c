"""Sends requests from the client guest: jobs as JSON lines in, answers as JSON lines out.

  fetch  one HTTP request from each of the ports given, `parallel` at a time
  open   opens connections that stay, from each of the ports given, and asks once on each
  again  asks once more on each of them, all at once, and from the new ports given
  forget closes them
  load   requests without pause from `parallel` clients, until stop
  stop   ends the load; its answer is the load's
  udp    one datagram from each of the ports given

An answer to a request is [client port, node, client as the node saw it, tries, seconds];
node is null when every try has failed. A try is a connection of its own; the
client's port is the same for all of them.
"""

import http.client
import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

RETRY_PAUSE = 0.2
_out = threading.Lock()
kept = {}
load = None


def say(**answer):
    with _out:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class FirstReply:
    """Says once that a reply has come."""

    def __init__(self):
        self._told = threading.Lock()

    def __call__(self):
        if self._told.acquire(blocking=False):
            say(first=True)


def connect(vip, service, port, timeout):
    """A connection from a port that may have been in use a moment ago (0: any)."""
    connection = http.client.HTTPConnection(vip, service, timeout=timeout)

    def create(address, limit, _source):
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stream.settimeout(limit)
        try:
            if port:
                stream.bind(("", port))
            stream.connect(address)
        except OSError:
            stream.close()
            raise
        return stream

    connection._create_connection = create
    return connection


def ask(connection, *, keep):
    """The page's text and the client's address as the node saw it."""
    connection.request("GET", "/", headers={} if keep else {"Connection": "close"})
    response = connection.getresponse()
    page = response.read().decode().strip()
    if response.status != 200 or page != response.getheader("X-Node"):
        raise http.client.HTTPException(f"status {response.status}, page {page!r}")
    return page, response.getheader("X-Client")


def reset_on_close(connection):
    """Nothing of the connection stays behind, so that its port can be used again at once."""
    if connection.sock:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def request(job, port, first=lambda: None, connection=None, keep=False):
    """One request, with retries until one of `tries` has an answer."""
    start = time.monotonic()
    tries = 0
    node = client = None
    while node is None and tries < job.get("tries", 1):
        if tries:
            time.sleep(RETRY_PAUSE)
        tries += 1
        fresh = connection is None
        if fresh:
            connection = connect(job["vip"], job["service"], port, job.get("timeout", 5))
        try:
            node, client = ask(connection, keep=keep)
            first()
        except (OSError, http.client.HTTPException):
            reset_on_close(connection)
            connection = None
    if connection is not None:
        if keep:
            kept[port] = connection
        else:
            connection.close()
    return [port, node, client, tries, round(time.monotonic() - start, 3)]


def fetch(job):
    first = FirstReply()
    with ThreadPoolExecutor(job.get("parallel", 8)) as pool:
        return list(pool.map(lambda port: request(job, port, first), job["ports"]))


def open_(job):
    return [request(job, port, keep=True) for port in job["ports"]]


def again(job):
    ports = [*kept, *job.get("ports", [])]
    with ThreadPoolExecutor(max(1, len(ports))) as pool:
        return list(pool.map(lambda port: request(job, port, connection=kept.pop(port, None), keep=True),
                             ports))


def forget(_job):
    for connection in kept.values():
        reset_on_close(connection)
    kept.clear()
    return []


def udp(job):
    answers = []
    for port in job["ports"]:
        start = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
            stream.bind(("", port))
            stream.settimeout(job.get("timeout", 2))
            # Connected: an answer from another address than the VIP does not count.
            stream.connect((job["vip"], job["service"]))
            node = client = None
            tries = 0
            while node is None and tries < job.get("tries", 1):
                tries += 1
                try:
                    stream.send(b"%d" % port)
                    node, client, text = stream.recv(2048).decode().split()
                    node = node if text == str(port) else None
                except OSError:
                    pass
        answers.append([port, node, client, tries, round(time.monotonic() - start, 3)])
    return answers


class Load:
    def __init__(self, job):
        self.job, self.results, self.done = job, [], threading.Event()
        self.threads = [threading.Thread(target=self._work) for _ in range(job.get("parallel", 4))]
        for thread in self.threads:
            thread.start()

    def _work(self):
        while not self.done.is_set():
            self.results.append(request(self.job, 0))

    def end(self):
        self.done.set()
        for thread in self.threads:
            thread.join()
        return self.results


def start_load(job):
    global load
    load = Load(job)
    return []


def stop_load(_job):
    return load.end()


def look(_job):
    """How many answers the load has had so far."""
    return [sum(1 for r in list(load.results) if r[1])]


JOBS = {"hello": lambda job: [], "fetch": fetch, "open": open_, "again": again, "forget": forget,
        "load": start_load, "stop": stop_load, "look": look, "udp": udp}


def main():
    for line in sys.stdin:
        try:
            job = json.loads(line)
            say(answers=JOBS[job["job"]](job))
        except Exception as error:  # whatever it is, the other side waits for a line
            say(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
