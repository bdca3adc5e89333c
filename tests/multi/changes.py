#!/usr/bin/env python3
"""The configuration changes, or is said again, while clients ask: none of them notices."""

import time

from checks import WEB, Client, by_node, failed_first, lost_packets, main
from cluster import VIP

LOAD = {"parallel": 4, "timeout": 10, "tries": 1}


def config(weights, extra=""):
    nodes = "".join(f'    {{ addr = "10.0.0.{11 + n}:80", weight = {w} }},\n'
                    for n, w in enumerate(weights) if w is not None)
    return (f'devices = ["eth0", "eth1"]\n\n[[services]]\nkey = "{WEB}"\n'
            f'backends = [\n{nodes}]\n{extra}')


def said_again(cluster, client, check):
    """dump | apply, with a node drained and one failed, so that there is something to get wrong."""
    client("open", ports=list(range(20001, 20013)))
    drained, broken = (cluster.address(node) for node in cluster.nodes[:2])
    cluster.fepctl(f"backend set {WEB} {drained} --weight 0")
    cluster.fepctl(f"backend fail {broken}")
    client("again", tries=5)
    client("load", **LOAD)
    client.progress(10, 20)
    before, routes = cluster.json("status"), set(cluster.routes(f"--backend {drained}"))
    said = [cluster.fe.run(command, check=True).output.strip() for command in 3 * [
        "fepctl dump | fepctl apply -f -",
        "fepctl --json dump | fepctl apply -f -"]]
    after, left = cluster.json("status"), set(cluster.routes(f"--backend {drained}"))
    client.progress(10, 20)
    answers = client("stop")
    lost = lost_packets(before, cluster.json("status"))
    check("dump | apply: nothing to do", set(said) == {"nothing to do"}, set(said))

    def state(status):
        return [[(b["backend"], b["weight"], b["state"]) for b in s["backends"]] for s in status["services"]]
    check("dump | apply: changes nothing", before["generation"] == after["generation"]
          and state(before) == state(after), (before["generation"], after["generation"], state(after)))
    kept = client("again")
    check("dump | apply: routes and connections stay", routes and routes <= left and len(kept) == 12
          and not failed_first(kept),
          f"{len(routes)} routes, {len(left)} then, {len(failed_first(kept))} failed")
    check("dump | apply: clients do not notice", answers and not failed_first(answers) and not lost,
          f"{len(answers)} requests, {failed_first(answers)[:3]}, {lost}")
    client("forget")
    cluster.fepctl(f"backend restore {broken}")


def changed(cluster, client, check):
    """Files that differ, one after the other."""
    extra = f'\n[[services]]\nkey = "udp/{VIP}:53"\nbackends = [{{ addr = "10.0.0.11:5353" }}]\n'
    files = {"a": config((2, 1, 1)), "b": config((1, 3, 0), extra), "c": config((0, 1, 1))}
    for name, text in files.items():
        cluster.fe.run(f"cat >/root/{name}.toml", input=text.encode(), check=True)
    bad = files["b"].replace("weight = 3", "weight = 70000")
    cluster.fe.run("cat >/root/bad.toml", input=bad.encode(), check=True)
    client("load", **LOAD)
    client.progress(10, 20)
    before = cluster.json("status")
    generation = before["generation"]
    applied = [cluster.fe.run(f"fepctl apply -f /root/{name}.toml") for name in "abc" * 4 + "a"]
    now = cluster.json("status")["generation"]
    dry = cluster.fe.run("fepctl apply --dry-run -f /root/b.toml")
    refused = cluster.fe.run("fepctl apply -f /root/bad.toml")
    unchanged = cluster.json("status")["generation"]
    client.progress(10, 20)
    answers = client("stop")
    lost = lost_packets(before, cluster.json("status"))
    wrong = [a.output for a in applied if a.status or "applied" not in a.output]
    check("apply under load: each is applied in one step", not wrong and now - generation == len(applied),
          f"{wrong[:2]} generation {generation} to {now} in {len(applied)}")
    check("apply under load: no request is lost", answers and not failed_first(answers) and not lost,
          f"{len(answers)} requests, {failed_first(answers)[:3]}, {lost}")
    check("apply --dry-run: says what, changes nothing", dry.status == 0 and unchanged == now
          and "weight" in dry.output, dry.output)
    check("apply of a wrong file: refused, changes nothing", refused.status and unchanged == now
          and "70000" in refused.output, refused.output)
    answers = client("fetch", ports=list(range(22001, 22041)))
    check("apply: the share is the last file's", by_node(answers) == [20, 10, 10], by_node(answers))


def node_leaves(cluster, client, check):
    """Weight 0, wait for the last route, remove (F10); then back again. Nobody loses a request."""
    cluster.fepctl(f"service set {WEB} --timeout-closing 3")
    leaving = cluster.address(cluster.nodes[2])
    before = cluster.json("status")
    client("load", **LOAD)
    client.progress(20, 20)
    cluster.fepctl(f"backend set {WEB} {leaving} --weight 0")
    end = time.monotonic() + 15
    while (routes := cluster.backends(WEB)["be3"]["routes"]) and time.monotonic() < end:
        time.sleep(0.3)
    cluster.fepctl(f"backend del {WEB} {leaving}")
    client.progress(20, 20)
    gone = "be3" not in cluster.backends(WEB)
    cluster.fepctl(f"backend add {WEB} {leaving} --weight 1")
    client.progress(20, 20)
    answers = client("stop")
    lost = lost_packets(before, cluster.json("status"))
    check("a drained node's last route ends", routes == 0, f"{routes} routes")
    check("a node leaves and comes back: no request is lost", answers and gone
          and not failed_first(answers) and not lost,
          f"{len(answers)} requests, {failed_first(answers)[:3]}, {lost}")
    answers = client("fetch", ports=list(range(23001, 23041)))
    check("a node that came back has its share", by_node(answers) == [20, 10, 10], by_node(answers))


def body(cluster, check):
    client = Client(cluster)
    said_again(cluster, client, check)
    changed(cluster, client, check)
    node_leaves(cluster, client, check)


if __name__ == "__main__":
    main(body, front_end_cpus=2)
