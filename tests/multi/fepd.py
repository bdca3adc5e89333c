#!/usr/bin/env python3
"""fepd keeps the front-end's table by itself: nodes and servers that fail and come back, a daemon that is killed and
started again under traffic, configurations that are changed and refused. Nobody operates anything."""

import time

from checks import WEB, Client, by_node, failed, failed_first, main

CONFIG = "/etc/fep/fep.toml"
LOAD = {"parallel": 4, "timeout": 4, "tries": 20}
# Long enough for a guest that has a quarter of a processor; what is fast is asked from the simulation.
LONG = 90


def config(cluster, weights=(2, 1, 1), more=""):
    nodes = "".join(f'[[node]]\nname = "{node.name}"\naddress = "{cluster.address(node)}"\n' for node in cluster.nodes)
    members = "".join(f'[[service.node]]\nname = "{node.name}"\nweight = {weight}\n'
                      for node, weight in zip(cluster.nodes, weights))
    return f"""devices = ["eth0", "eth1"]
{nodes}
[[service]]
key = "{WEB}"
slow_start = "0s"
{members}
[service.health]
interval = "500ms"
hold = "500ms"
[[service.check]]
type = "http"
body = "^be[0-9]"
timeout = "5s"
[[service.check]]
type = "icmp"
timeout = "5s"
{more}"""


class Daemon:
    """fepd on the front-end, and what it logs."""

    def __init__(self, cluster):
        self.cluster, self.fe = cluster, cluster.fe
        self.running = None

    def write(self, text, path=CONFIG):
        self.fe.run(["sh", "-c", f"mkdir -p /etc/fep && cat >{path}.new && mv {path}.new {path}"], input=text.encode(),
                    check=True)

    def start(self):
        self.fe.run("rm -f /run/fepd.log", check=True)
        self.running = self.fe.spawn(["sh", "-c", "exec fepd --log-level debug 2>/run/fepd.log"])
        return self.logged("watches")

    def log(self):
        return self.fe.run("cat /run/fepd.log").output

    def logged(self, text, within=LONG):
        return until(lambda: text in self.log(), within)

    def signal(self, name):
        self.fe.run(f"pkill -{name} -x fepd", check=True)

    def ended(self):
        """The status it ended with."""
        return self.running.wait(30)


def until(is_so, within=LONG):
    """Waits for something; how long it took, or None."""
    start = time.monotonic()
    while time.monotonic() < start + within:
        if is_so():
            return round(time.monotonic() - start, 1)
        time.sleep(0.1)
    return None


def state(cluster, node):
    return cluster.backends(WEB)[node.name]["state"]


def generation(cluster):
    return cluster.json("status")["generation"]


def weights(cluster):
    return [cluster.backends(WEB)[node.name]["weight"] for node in cluster.nodes]


def begins(cluster, daemon, client, check):
    fe = cluster.fe
    daemon.write(config(cluster).replace("weight = 2", "weight = -2"))
    found = fe.run("fepd --check")
    check("--check names file, place, key and rule", found.status == 2 and
          f"{CONFIG}:17:10: service[0].node[0].weight: is not an integer from 0 to 65535" in found.output, found.output)
    daemon.write(config(cluster))
    check("--check finds nothing", fe.run("fepd --check").status == 0, fe.run("fepd --check").output)
    check("it starts", daemon.start() is not None, daemon.log())
    check("the filter has what the file says", weights(cluster) == [2, 1, 1], cluster.fepctl("dump").output)
    answers = client("fetch", ports=list(range(20001, 20041)))
    check("clients have their share", by_node(answers) == [20, 10, 10], by_node(answers))
    other = fe.run("fepd")
    check("a second one is refused", other.status == 1 and "another fepd runs with it" in other.output, other.output)


def power_off(cluster, daemon, client, check):
    lost = cluster.nodes[1]
    kept = list(range(21001, 21013))
    client("open", ports=kept, **LOAD)
    client("load", **LOAD)
    client.progress(24, LONG)
    lost.kill()
    took = until(lambda: state(cluster, lost) == "failed")
    check("power off: seen without anybody's help", took is not None, f"after {took} s")
    left = cluster.routes(f"--backend {cluster.address(lost)}")
    going_on = client.progress(24, LONG)
    answers = client("stop", within=LONG)
    check("power off: its routes are gone", left == [], len(left))
    check("power off: clients go on", going_on and not failed(answers),
          f"{len(answers)} requests, {len(failed_first(answers))} retried, {len(failed(answers))} failed")
    answers = client("again", within=LONG, **LOAD)
    check("power off: kept connections get a live node", not failed(answers) and by_node(answers)[1] == 0,
          by_node(answers))
    client("forget")
    daemon.signal("KILL")
    daemon.ended()
    before = generation(cluster)
    check("power off: a daemon that starts meanwhile leaves the mark", daemon.start() is not None
          and state(cluster, lost) == "failed" and generation(cluster) == before, (before, generation(cluster)))
    lost.check()
    lost.start()
    cluster.prepare(lost)
    took = until(lambda: state(cluster, lost) == "up")
    check("power on: back without anybody's help", took is not None, f"{took} s after it served")
    answers = client("fetch", ports=list(range(22001, 22041)))
    check("power on: it has its share", by_node(answers) == [20, 10, 10] and not failed_first(answers),
          by_node(answers))


def server_stops(cluster, client, check):
    node = cluster.nodes[2]
    node.run("pkill -STOP nginx", check=True)
    took = until(lambda: state(cluster, node) == "failed")
    check("a server that hangs: seen", took is not None, f"after {took} s")
    others = client("fetch", ports=list(range(23001, 23031)))
    check("a server that hangs: gets no client", by_node(others) == [20, 10, 0], by_node(others))
    node.run("pkill -CONT nginx", check=True)
    took = until(lambda: state(cluster, node) == "up")
    check("a server that goes on: back", took is not None, f"after {took} s")


def killed(cluster, daemon, client, check):
    kept = list(range(24001, 24013))
    first = client("open", ports=kept, **LOAD)
    client("load", **LOAD)
    client.progress(12, LONG)
    before = generation(cluster), weights(cluster)
    daemon.signal("KILL")
    daemon.ended()
    going_on = client.progress(24, LONG)
    check("SIGKILL: the filter goes on", going_on)
    started = daemon.start()
    going_on = client.progress(24, LONG)
    answers = client("stop", within=LONG)
    check("SIGKILL: it starts again", started is not None and going_on, daemon.log())
    after = generation(cluster), weights(cluster)
    check("SIGKILL: nothing was set or reset", after == before, (before, after))
    check("SIGKILL: no request was lost", not failed_first(answers), failed_first(answers)[:3])
    again = client("again", **LOAD)
    same = [a[1] for a in first] == [a[1] for a in again]
    check("SIGKILL: connections stay where they are", same and not failed_first(again), again[:3])
    client("forget")


def reloads(cluster, daemon, client, check):
    client("load", **LOAD)
    before = generation(cluster)
    for name, text in (("with a mistake", config(cluster) + "x = 1\n"),
                       ("that the filter refuses", config(cluster).replace('"eth1"]', '"nodev"]'))):
        daemon.write(text)
        daemon.signal("HUP")
        refused = until(lambda: daemon.log().count("is refused; what was in force stays") > 0)
        check(f"a file {name} is refused", refused is not None and generation(cluster) == before,
              daemon.log()[-300:])
        daemon.write(config(cluster))
        until(lambda: "is in force" in daemon.log())
        daemon.fe.run("truncate -s 0 /run/fepd.log")
    # By the change of the file alone.
    daemon.write(config(cluster, weights=(2, 1, 3)))
    took = until(lambda: weights(cluster) == [2, 1, 3])
    check("a changed file is in force", took is not None, f"after {took} s")
    check("one change is one commit", generation(cluster) == before + 1, (before, generation(cluster)))
    answers = client("stop", within=LONG)
    check("reloads: no request was lost", not failed_first(answers), failed_first(answers)[:3])


def maintenance(cluster, daemon, client, check):
    node = cluster.nodes[0]
    kept = list(range(26001, 26013))
    first = client("open", ports=kept, **LOAD)
    begun = cluster.fepctl(f"node maintenance on {node.name}", check=False)
    check("maintenance: begins", begun.status == 0, begun.output)
    answers = client("fetch", ports=list(range(26101, 26131)))
    check("maintenance: no new client", by_node(answers)[0] == 0 and not failed_first(answers), by_node(answers))
    daemon.signal("KILL")
    daemon.ended()
    daemon.start()
    again = client("again", **LOAD)
    same = [a[1] for a in first] == [a[1] for a in again]
    seen = cluster.json(f"node show {node.name}")["node"]
    check("maintenance: outlives the daemon, and breaks no connection", same and not failed_first(again)
          and seen["maintenance"]["state"] == "draining" and seen["maintenance"]["routes"] > 0, seen)
    client("forget")
    again = cluster.fepctl(f"node maintenance on {node.name}", check=False)
    check("maintenance: a second one is refused", again.status == 4 and "already" in again.output,
          (again.status, again.output))
    # Its routes end by their clients, and some by their own time.
    cluster.fepctl(f"route flush --backend {cluster.address(node)}")
    took = until(lambda: cluster.json(f"node show {node.name}")["node"]["maintenance"]["state"] == "done")
    check("maintenance: done when it has no routes", took is not None, f"after {took} s")
    ended = cluster.fepctl(f"node maintenance off {node.name}", check=False)
    took = until(lambda: weights(cluster)[0] == 2)
    check("maintenance: ends", ended.status == 0 and took is not None, (ended.output, weights(cluster)))


def operates(cluster, daemon, client, check):
    names = [node["name"] for node in cluster.json("node list")["nodes"] if node["state"] == "up"]
    check("node list", names == ["be1", "be2", "be3"], cluster.fepctl("node list").output)
    check("service list shows checks and shares", "be1" in cluster.fepctl(f"service list {WEB}").output,
          cluster.fepctl(f"service list {WEB}").output)
    check("daemon status", "fepd" in cluster.fepctl("daemon status").output, cluster.fepctl("daemon status").output)
    before = generation(cluster)
    done = cluster.fepctl(f"service weight {WEB} be3 2", check=False)
    took = until(lambda: weights(cluster) == [2, 1, 2])
    check("service weight: one commit, and the file has it", done.status == 0 and took is not None
          and generation(cluster) == before + 1 and "weight = 2" in cluster.fe.run(f"cat {CONFIG}").output,
          (done.output, weights(cluster), generation(cluster) - before))
    for order in ("node add spare 10.0.0.99", f"service assign {WEB} spare --weight 0", f"service unassign {WEB} spare",
                  "node del spare"):
        done = cluster.fepctl(order, check=False)
        check(order, done.status == 0, done.output)
    check("the table is as it was", weights(cluster) == [2, 1, 2] and "10.0.0.99" not in cluster.fepctl("dump").output)
    for order, text in (("node del be1", "be1"), ("node show be9", "be9"), (f"service weight {WEB} be9 1", "be9"),
                        ("node add be1 10.0.0.98", "be1")):
        refused = cluster.fepctl(order, check=False)
        check(f"{order}: refused", refused.status not in (0, 8) and text in refused.output,
              (refused.status, refused.output))


def ends(cluster, daemon, client, check):
    before = cluster.fepctl("dump").output
    daemon.signal("TERM")
    check("SIGTERM: ends well", daemon.ended() == 0)
    nobody = cluster.fepctl("node list", check=False)
    check("without fepd fepctl says so", nobody.status == 8 and "fepd" in nobody.output, nobody.output)
    answers = client("fetch", ports=list(range(25001, 25031)))
    check("SIGTERM: the filter goes on", cluster.fepctl("dump").output == before and not failed_first(answers),
          by_node(answers))


def body(cluster, check):
    client, daemon = Client(cluster), Daemon(cluster)
    begins(cluster, daemon, client, check)
    power_off(cluster, daemon, client, check)
    server_stops(cluster, client, check)
    killed(cluster, daemon, client, check)
    reloads(cluster, daemon, client, check)
    maintenance(cluster, daemon, client, check)
    operates(cluster, daemon, client, check)
    ends(cluster, daemon, client, check)


if __name__ == "__main__":
    main(body, configure=False, front_end_cpus=2)
