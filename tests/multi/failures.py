#!/usr/bin/env python3
"""A node's link goes, and the front-end loses its module, while clients ask without pause."""

import time

from checks import WEB, Client, by_node, failed, failed_first, main

LOAD = {"parallel": 4, "timeout": 2, "tries": 20}


def link_down(cluster, client, check):
    node = cluster.nodes[1]
    address = cluster.address(node)
    client("load", **LOAD)
    client.progress(24, 20)
    node.run("ip link set eth0 down", check=True)
    time.sleep(1)
    cluster.fepctl(f"backend fail {address}")
    left = cluster.routes(f"--backend {address}")
    going_on = client.progress(24, 20)
    answers = client("stop")
    check("link down: routes end with the mark", left == [], len(left))
    check("link down: clients go on", going_on and not failed(answers),
          f"{len(answers)} requests, {len(failed_first(answers))} retried, {len(failed(answers))} failed")
    client("load", **LOAD)
    going_on = client.progress(24, 20)
    answers = client("stop")
    check("link down: nobody notices any more", going_on and by_node(answers)[1] == 0
          and not failed_first(answers), (by_node(answers), len(failed_first(answers))))
    node.run("ip link set eth0 up; ip route add default via 10.0.0.1", check=True)
    client("load", **LOAD)
    cluster.fepctl(f"backend restore {address}")
    client.progress(24, 20)
    answers = client("stop")
    check("link up: restored under load, no request is lost", not failed_first(answers)
          and by_node(answers)[1] > 0, (by_node(answers), failed_first(answers)[:3]))
    answers = client("fetch", ports=list(range(20001, 20041)))
    check("link up: it has its share again", by_node(answers) == [20, 10, 10], by_node(answers))


def unload(cluster, client, check):
    fe = cluster.fe
    saved = fe.run("fepctl dump >/root/fep.toml && cat /root/fep.toml", check=True).output
    kept = list(range(21001, 21013))
    client("open", ports=kept, **LOAD)
    client("load", **LOAD)
    client.progress(20, 20)
    problems = []
    for _ in range(3):
        removed = fe.run("rmmod fep")
        gone = fe.run("lsmod | grep -q ^fep").status
        time.sleep(0.3)
        without = client("look")[0]
        time.sleep(0.5)
        without = client("look")[0] - without
        if removed.status or not gone or without:
            problems.append(f"rmmod {removed.output!r}, {without} answers without the module")
        back = fe.run("modprobe fep && fepctl apply -f /root/fep.toml")
        if back.status or not client.progress(20, 20):
            problems.append(f"apply {back.status} {back.output!r}: no answers")
    answers = client("stop")
    retried = failed_first(answers)
    check("rmmod under load: works again when loaded and applied, three times", not problems, problems)
    check("rmmod under load: no request fails after retry", retried and not failed(answers),
          f"{len(answers)} requests, {len(retried)} retried, {len(failed(answers))} failed")
    check("rmmod under load: the configuration is back", fe.run("fepctl dump").output == saved, saved)
    answers = client("again", **LOAD)
    check("rmmod under load: kept connections are reset and asked anew", len(failed_first(answers)) == 12
          and not failed(answers), answers[:3])
    client("forget")
    answers = client("fetch", ports=list(range(22001, 22041)))
    counts = cluster.service(WEB)["counters"]
    check("rmmod under load: share as before", by_node(answers) == [20, 10, 10], by_node(answers))
    drops = {name: count for name, count in counts.items() if name.startswith("drop") and count}
    check("rmmod under load: nothing was dropped", not drops, drops)


def body(cluster, check):
    client = Client(cluster)
    link_down(cluster, client, check)
    unload(cluster, client, check)


if __name__ == "__main__":
    main(body, front_end_cpus=2)
