#!/usr/bin/env python3
# qemu: --with tests/lib
"""Web servers and many web clients at once, while nodes drain, fail and return."""

import asyncio
import os
import sys
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))

from fep_abi import op  # noqa: E402
from fep_lab import VIP, Lab, node  # noqa: E402
from fep_test import case, check, equal, finish, load_module, wait_for  # noqa: E402

HTTP = ("tcp", VIP, 80)
NODES = 4
CONFIG = """
worker_processes 1; daemon off; error_log /dev/null; pid /tmp/nginx-{0}.pid;
events {{ worker_connections 2000; }}
http {{
    access_log off;
    keepalive_requests 100000;
    server {{ listen 80 backlog=1024; location / {{ return 200 "node {0}\\n"; }} }}
}}
"""


def start(lab):
    for n, namespace in lab.b.items():
        with open(f"/tmp/nginx-{n}.conf", "w", encoding="ascii") as file:
            file.write(CONFIG.format(n))
        namespace.start("nginx", "-c", f"/tmp/nginx-{n}.conf")
    for namespace in lab.b.values():
        wait_for(lambda namespace=namespace: ":80 " in namespace.run("ss", "-ltn"), "nginx")


class Client:
    """A web client with one connection."""

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection(VIP, 80)
        return self

    async def get(self):
        """The node that answers."""
        self.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        check(head.startswith(b"HTTP/1.1 200"), head)
        body = await asyncio.wait_for(self.reader.readline(), 30)
        return int(body.split()[1])

    def close(self):
        self.writer.close()


async def clients(count):
    return await asyncio.gather(*(Client().connect() for _ in range(count)))


async def get_all(many):
    return await asyncio.gather(*(client.get() for client in many))


async def sticky(lab):
    with case("400 connections at once, 10 requests each, stay on their nodes, with exact shares"):
        many = await clients(400)
        first = await get_all(many)
        equal(Counter(first), {1: 160, 2: 80, 3: 80, 4: 80}, "shares")
        for _ in range(9):
            equal(await get_all(many), first, "nodes")
        equal(len(lab.fep.routes()), 400, "routes")
    with case("a drained node keeps its connections and gets no new ones"):
        lab.fep.weight(HTTP, (node(1), 80), 0)
        more = await clients(90)
        equal(Counter(await get_all(more)), {2: 30, 3: 30, 4: 30}, "shares of new connections")
        equal(await get_all(many), first, "nodes of the old ones")
    with case("a failed node: its clients are reset at once and get another by trying again"):
        lab.fep.weight(HTTP, (node(1), 80), 2)
        lab.fep.commit(op("backend_fail", None, (node(2), 0)))
        equal(lab.fep.routes(backend=(node(2), 0)), [], "routes to the failed node")

        async def request(client):
            try:
                return await client.get()
            except (ConnectionResetError, asyncio.IncompleteReadError):
                client.close()
                await client.connect()
                return -await client.get()

        now = await asyncio.gather(*map(request, many))
        equal([n for n, was in zip(now, first) if was != 2 and n != was], [], "clients of other nodes that noticed")
        retried = [n for n, was in zip(now, first) if was == 2]
        equal((len(retried), max(retried) < 0, -2 in retried), (80, True, False), "clients that tried again")
    with case("the node returns"):
        lab.fep.commit(op("backend_restore", None, (node(2), 0)))
        fresh = await clients(50)
        equal(Counter(await get_all(fresh)), {1: 20, 2: 10, 3: 10, 4: 10}, "shares")
        # What is left of the connections before the failure is reset, not delivered.
        equal(await get_all([c for c, was in zip(many, first) if was != 2]), [n for n in first if n != 2], "nodes")
    for client in many + more + fresh:
        client.close()
    await asyncio.gather(*(client.writer.wait_closed() for client in many + more + fresh))
    with case("states of closed connections"):
        wait_for(lambda: {route.state for route in lab.fep.routes()} <= {"time_wait", "closed"}, "all closed")


def main():
    load_module("routes_limit=10000")
    lab = Lab(NODES)
    start(lab)
    lab.fep.add_service(HTTP, [(node(n), 80, 2 if n == 1 else 1) for n in lab.b])
    with lab.c, lab.nothing_damaged():
        asyncio.run(sticky(lab))
    finish()


main()
