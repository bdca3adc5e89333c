"""The demo's steps. Each shows something and checks it."""

import collections
import re
import time

from capture import Capture
from cluster import CLIENT, LARGE, SHARED, VIP

WEIGHTS = (2, 1, 1)
REQUESTS = 400
SERVICE = f"tcp/{VIP}:80"
DOWNLOAD_PORT = 30000


def pages(answers):
    """How many pages came from each node."""
    return collections.Counter(answer[1] for answer in answers)


def unanswered(answers):
    return [answer for answer in answers if answer[1] is None]


def at_once(answers):
    """Answers that came at the first try."""
    return sum(1 for answer in answers if answer[1] and answer[3] == 1)


def counted(counts, names):
    return ", ".join(f"{name} {counts[name]}" for name in names)


class Demo:
    def __init__(self, cluster, screen):
        self.cluster, self.screen = cluster, screen
        self.names = [node.name for node in cluster.nodes]
        self.used_ports = set()
        self.per_request = 0.05

    def fetch(self, ports, **arguments):
        self.used_ports |= set(ports)
        return self.cluster.requester.do("fetch", vip=VIP, service=80, ports=list(ports), **arguments)

    def asked(self, weights=WEIGHTS, count=REQUESTS):
        """What smooth weighted round robin gives each node of whole cycles, exactly."""
        return collections.Counter({n: count * w // sum(weights) for n, w in zip(self.names, weights)})

    def run(self):
        self.nodes_up()
        self.configure()
        self.balance()
        self.routes()
        self.drain()
        self.power_off()
        self.restore()
        self.only_the_vip()

    def nodes_up(self):
        cluster, screen = self.cluster, self.screen
        parts = cluster.lab.parts()
        screen.step("up", "Five guests, each with its own stock kernel")
        screen.text(f"Linux {parts['release']} in QEMU ({cluster.lab.accel(parts)})", "",
                    "   client --- outside ---  fe  --- inside ---+-- be1  10.0.0.11  nginx",
                    f"{CLIENT}       VIP {VIP}  10.0.0.1  +-- be2  10.0.0.12  nginx",
                    "                         fep.ko              +-- be3  10.0.0.13  nginx", "")
        what = {"fe": "front-end", "client": "client"}
        cluster.up(lambda guest, took: screen.text(
            f"{guest.name:<7} {what.get(guest.name, 'back-end'):<10} up in {took:4.1f} s"))
        forwards = cluster.fe.run("cat /proc/sys/net/ipv4/ip_forward", check=True).output.strip()
        release = {g.name: g.run("uname -r", check=True).output.strip() for g in cluster.guests}
        web = {n.name: n.run("nginx -v 2>&1", check=True).output.strip() for n in cluster.nodes}
        screen.check("every node is up", set(release.values()) == {parts["release"]}
                     and all("nginx/" in text for text in web.values()),
                     f"{len(release)} guests, {next(iter(web.values())).rpartition(' ')[2]} on {len(web)}")
        screen.check("the front-end does not forward by itself", forwards == "0", f"ip_forward {forwards}")
        screen.versions.update(kernel=parts["release"], accelerator=cluster.lab.accel(parts),
                               nginx=web["be1"].rpartition("/")[2])
        self.sniffer = cluster.client.spawn("exec tcpdump -U -i eth0 -n -s 128 -B 16384 -w /root/demo.pcap")
        while "listening on" not in self.sniffer.output and self.sniffer.running:
            time.sleep(0.05)

    def configure(self):
        cluster, screen = self.cluster, self.screen
        screen.step("configure", f"A service: {SERVICE}, weights {':'.join(map(str, WEIGHTS))}")
        cluster.log = screen.command
        for device in ("eth0", "eth1"):
            cluster.fepctl(f"device attach {device}")
        cluster.fepctl(f"service add tcp/{VIP}:http")
        for node, weight in zip(cluster.nodes, WEIGHTS):
            cluster.fepctl(f"backend add {SERVICE} {cluster.address(node)} --weight {weight}")
        status = cluster.json("status")
        screen.versions.update(fep=status["version"],
                               fepctl=cluster.fe.run("fepctl --version", check=True).output.strip())
        found = {name: state["weight"] for name, state in cluster.backends(SERVICE).items()}
        screen.check("the module has the service", found == dict(zip(self.names, WEIGHTS)),
                     f"{SERVICE} {counted(found, self.names)}")

    def balance(self):
        cluster, screen = self.cluster, self.screen
        screen.step("balance", f"{REQUESTS} HTTP requests from {REQUESTS} client ports")
        start = time.monotonic()
        answer = self.fetch(range(20001, 20001 + REQUESTS))
        took = time.monotonic() - start
        answers = self.answers = answer["answers"]
        self.per_request = took / REQUESTS
        asked, got = self.asked(), pages(answers)
        states = cluster.backends(SERVICE)
        screen.table(["node", "weight", "asked", "pages", "share", "in fep's count", "routes"], [
            [name, weight, f"{100 * weight / sum(WEIGHTS):.1f} %", got[name],
             f"{100 * got[name] / REQUESTS:.1f} %", states[name]["connections"], states[name]["routes"]]
            for name, weight in zip(self.names, WEIGHTS)])
        counts = {name: states[name]["connections"] for name in self.names}
        ports = {a[0] for a in answers}
        screen.check("every request is answered at the first try",
                     at_once(answers) == len(ports) == REQUESTS, f"{at_once(answers)} of {REQUESTS}")
        screen.check("the share of pages is exact", got == asked, counted(got, self.names))
        screen.check("fep has counted the same", counts == asked, counted(counts, self.names))
        stats = cluster.connections(SERVICE)
        screen.check("so says fepctl stats", stats == asked, counted(stats, self.names))
        seen = sum(1 for port, _, client, *_ in answers if client == f"{CLIENT}:{port}")
        screen.check("nodes see the client's own address and port", seen == REQUESTS,
                     f"in {seen} of {REQUESTS} requests")
        first = (answer["first"] or float("inf")) - screen.began
        screen.seconds["first_balanced_packet"] = round(first, 1)
        screen.seconds["requests"] = round(took, 1)
        screen.figures.update(requests=REQUESTS, pages={n: got[n] for n in self.names}, weights=dict(zip(self.names, WEIGHTS)))
        screen.text(f"First page {first:.1f} s after the start, all in {took:.1f} s")

    def routes(self):
        cluster, screen = self.cluster, self.screen
        screen.step("routes", "The allocated-route table")
        listing = cluster.fepctl("route list").output.splitlines()
        screen.text(*listing[:6], f"… {len(listing)} lines in all", "")
        table = cluster.routes()
        per_node = collections.Counter(node for _, _, node in table)
        page_of = {(CLIENT, answer[0]): answer[1] for answer in self.answers}
        route_of = {(address, port): node for address, port, node in table}
        screen.figures["routes"] = {n: per_node[n] for n in self.names}
        screen.check("one route for each client port", len(table) == len(route_of) == REQUESTS,
                     f"{len(table)} routes; {counted(per_node, self.names)}")
        same = sum(1 for key, node in page_of.items() if route_of.get(key) == node)
        screen.check("each leads to the node whose page came", same == REQUESTS, f"{same} of {REQUESTS}")

    def drain(self):
        cluster, screen = self.cluster, self.screen
        screen.step("drain", "A node is drained while it serves a long download")
        new = 60
        lasts = max(6, 3 + 4 * new * self.per_request)
        rate = int(LARGE / lasts)
        self.used_ports.add(DOWNLOAD_PORT)
        download = cluster.client.spawn(
            f"curl -sS --max-time 120 --limit-rate {rate} --local-port {DOWNLOAD_PORT} -D /root/head"
            f" -o /root/large http://{VIP}/large")
        seen = cluster.client.run("for i in $(seq 100); do sed -n 's/^X-Node: *\\([a-z0-9]*\\).*/\\1/p'"
                                  " /root/head 2>/dev/null | grep . && exit; sleep 0.1; done; exit 1")
        if seen.status:
            screen.check("a download has begun", False, "no answer: " + download.output.strip())
            return
        name = seen.output.strip()
        node = next(n for n in cluster.nodes if n.name == name)
        screen.text(f"client$ curl --limit-rate {rate >> 10}k http://{VIP}/large   "
                    f"({LARGE >> 20} MiB, from {name})")
        cluster.fepctl(f"backend set {SERVICE} {cluster.address(node)} --weight 0")
        before = cluster.backends(SERVICE)[name]["bytes_out"]
        answers = self.fetch(range(21001, 21001 + new))["answers"]
        running = download.running
        stays = (CLIENT, DOWNLOAD_PORT, name) in cluster.routes()
        got = pages(answers)
        weights = [0 if n == name else w for n, w in zip(self.names, WEIGHTS)]
        screen.check("new requests avoid the drained node", got == self.asked(weights, new),
                     f"{at_once(answers)} of {new} at once; {counted(got, self.names)}")
        screen.check("the download keeps its route", running and stays,
                     f"client port {DOWNLOAD_PORT} -> {name if stays else 'elsewhere'}, "
                     f"{'still running' if running else 'ended before the requests'}")
        status = download.wait(130)
        after = cluster.backends(SERVICE)[name]["bytes_out"]
        screen.check("the drained node has sent the rest of it", after - before > LARGE // 4,
                     f"{(after - before) / (1 << 20):.1f} of {LARGE >> 20} MiB after the drain")
        found = cluster.client.run("sha256sum </root/large; rm /root/large").output.split()[0]
        said = f", curl status {status}: {download.output.strip()}" if status else ""
        screen.check("the download is whole", status == 0 and found == cluster.sha256(),
                     f"sha256 {found[:16]}…{said}")
        screen.figures["download"] = {"bytes": LARGE, "node": name, "after_drain": after - before}
        weight = WEIGHTS[self.names.index(name)]
        cluster.fepctl(f"backend set {SERVICE} {cluster.address(node)} --weight {weight}")

    def power_off(self):
        cluster, screen = self.cluster, self.screen
        screen.step("failure", "A node loses its power")
        lost = self.lost = cluster.nodes[1]
        address = cluster.address(lost)
        kept, new = range(22001, 22025), range(23001, 23041)
        self.used_ports |= set(kept) | set(new)
        where = {"vip": VIP, "service": 80, "timeout": 4, "tries": 6}
        opened = cluster.requester.do("open", ports=list(kept), **where)["answers"]
        theirs = pages(opened)
        screen.text(f"{len(kept)} clients keep a connection: {counted(theirs, self.names)}",
                    f"{lost.name} is switched off; each asks again, {len(new)} new ones come")
        lost.kill()
        cluster.requester.start("again", ports=list(new), **where)
        time.sleep(1)
        before = len(cluster.routes(f"--backend {address}"))
        start = time.monotonic()
        cluster.fepctl(f"backend fail {address}")
        took = time.monotonic() - start
        after = cluster.routes(f"--backend {address}")
        state = cluster.backends(SERVICE)[lost.name]
        answers = cluster.requester.wait(90)["answers"]
        retried = sum(1 for answer in answers if answer[3] > 1)
        slowest = max(answer[4] for answer in answers)
        screen.check("its routes are gone when the command returns",
                     before > 0 and after == [] and state["routes"] == 0 and state["state"] == "failed",
                     f"{before} before, {len(after)} after, {took:.2f} s")
        lost_answers = unanswered(answers)
        screen.check("no client's request has failed after retry",
                     not lost_answers and len(answers) == len(kept) + len(new),
                     f"{len(lost_answers)} of {len(answers)}; {retried} retried, slowest {slowest:.1f} s")
        by_node = pages(answers)
        screen.check("the others have answered them", retried >= theirs[lost.name] > 0
                     and by_node[lost.name] == 0, counted(by_node, self.names))
        more = self.fetch(range(24001, 24031))["answers"]
        screen.check("new requests do not notice", at_once(more) == 30
                     and pages(more) == self.asked((2, 0, 1), 30), counted(pages(more), self.names))
        screen.figures["failure"] = {"routes": before, "requests": len(answers), "retried": retried,
                                     "failed_after_retry": len(lost_answers), "slowest": slowest}
        cluster.requester.do("forget")

    def restore(self):
        cluster, screen = self.cluster, self.screen
        screen.step("restore", "It comes back")
        self.lost.check()
        self.lost.start()
        cluster.prepare(self.lost)
        screen.text(f"{self.lost.name} is up again after {cluster.up_after[self.lost.name]:.1f} s")
        cluster.fepctl(f"backend restore {cluster.address(self.lost)}")
        answers = self.fetch(range(25001, 25041))["answers"]
        screen.check("it has its share again", pages(answers) == self.asked(count=40)
                     and at_once(answers) == 40, counted(pages(answers), self.names))
        cluster.log = None

    def only_the_vip(self):
        cluster, screen = self.cluster, self.screen
        screen.step("capture", "What the client has seen, from a capture of all of the above")
        # The kernel hands packets over in blocks, the last when a second has passed.
        cluster.client.run("was=; now=0; while [ $now != \"$was\" ]; do was=$now; sleep 1.5;"
                           " now=$(stat -c %s /root/demo.pcap); done", check=True, timeout=30)
        self.sniffer.signal(2)
        self.sniffer.wait(20)
        target = f"{cluster.lab.dir}/demo.pcap"
        cluster.client.get("/root/demo.pcap", target)
        with open(target, "rb") as file:
            seen = Capture(file.read(), CLIENT)
        lost = re.search(r"(\d+) packets? dropped by kernel", self.sniffer.output)
        screen.table(["peer", "TCP packets", "IPv4 packets"],
                     [[peer, seen.tcp[peer], seen.peers[peer]] for peer in sorted(seen.peers)])
        missing = self.used_ports - seen.ports
        screen.check("the capture is complete", not missing and lost and lost[1] == "0" and seen.received,
                     f"{seen.packets} packets, {len(seen.ports)} client ports, "
                     f"{len(missing)} missing, {lost[1] if lost else '?'} dropped by the capture")
        others = set(seen.peers) - {VIP}
        screen.check("the client never sees an address but the VIP",
                     not others and seen.peers[VIP] > 0 and seen.arp <= {VIP},
                     f"IPv4: {', '.join(sorted(seen.peers))}; ARP: {', '.join(sorted(seen.arp)) or 'none'}")
        screen.check("and no station but the front-end", seen.macs == {cluster.fe.mac(0)},
                     ", ".join(sorted(seen.macs)))
        screen.figures["capture"] = {"packets": seen.packets, "tcp_peers": dict(seen.tcp)}
