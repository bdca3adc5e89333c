#!/usr/bin/env python3
"""Several services on the same nodes, TCP and UDP: each has its own turn, routes and failures.

  tcp/VIP:80  -> nodes port 80    2:1:1      udp/VIP:53   -> nodes port 5353  3:2:1
  tcp/VIP:81  -> nodes port 8080  1:1:2      udp/VIP:5354 -> nodes port 5354  1:1:1
  tcp/VIP:82  -> nodes port 80    1:1:1 (the same port as the first)
"""

from checks import WEB, Client, by_node, failed_first, main
from cluster import CLIENT, SHARED, VIP

ALT, SAME = f"tcp/{VIP}:81", f"tcp/{VIP}:82"
DNS, ECHO = f"udp/{VIP}:53", f"udp/{VIP}:5354"


def add(cluster, service, port, weights):
    cluster.fepctl(f"service add {service}")
    for node, weight in zip(cluster.nodes, weights):
        cluster.fepctl(f"backend add {service} {cluster.address(node)}:{port} --weight {weight}")


def udp(cluster, client, check):
    for node in cluster.nodes:
        node.spawn(["python3", f"{SHARED}/udp_answer.py"])
        node.run("until ss -Huln sport = 5354 | grep -q .; do sleep 0.1; done", check=True, timeout=20)
    add(cluster, DNS, 5353, (3, 2, 1))
    ports = list(range(30001, 30061))
    first = client("udp", service=53, ports=ports)
    check("udp: exact share", by_node(first) == [30, 20, 10] and not failed_first(first), by_node(first))
    check("udp: nodes see the client", all(a[2] == f"{CLIENT}:{a[0]}" for a in first), first[:3])
    again = client("udp", service=53, ports=ports)
    same = sum(1 for a, b in zip(first, again) if a[1] == b[1])
    count = sum(cluster.connections(DNS).values())
    check("udp: a client port keeps its node", same == len(ports) == count, f"{same} same, {count} clients")

    lost = cluster.address(cluster.nodes[0])
    cluster.fepctl(f"backend set {DNS} {lost}:5353 --weight 0")
    again = client("udp", service=53, ports=ports)
    same = sum(1 for a, b in zip(first, again) if a[1] == b[1])
    new = client("udp", service=53, ports=list(range(30101, 30131)))
    check("udp: a drained node keeps its clients", same == len(ports), f"{same} of {len(ports)}")
    check("udp: a drained node gets no new ones", by_node(new) == [0, 20, 10], by_node(new))

    cluster.fepctl(f"backend fail {lost} --service {DNS}")
    gone = cluster.routes(f"--service {DNS} --backend {lost}")
    moved = client("udp", service=53, ports=ports)
    stayed = sum(1 for a, b in zip(first, moved) if a[1] == b[1] != "be1")
    check("udp: a failed node's clients go elsewhere at once", gone == [] and stayed == 30
          and by_node(moved)[0] == 0 and not failed_first(moved),
          f"{len(gone)} routes, {by_node(moved)}, {stayed} stay")
    cluster.fepctl(f"backend restore {lost} --service {DNS}")
    cluster.fepctl(f"backend set {DNS} {lost}:5353 --weight 3")
    new = client("udp", service=53, ports=list(range(30201, 30213)))
    check("udp: restored, it has its share", by_node(new) == [6, 4, 2], by_node(new))

    add(cluster, ECHO, 5354, (1, 1, 1))
    other = client("udp", service=5354, ports=ports)
    check("udp: a second service for the same client ports", by_node(other) == [20, 20, 20], by_node(other))


def two_services(cluster, client, check):
    add(cluster, ALT, 8080, (1, 1, 2))
    ports = list(range(31001, 31041))
    web, alt = [], []
    # Turn by turn: one service's turns are not the other's.
    for at in range(0, len(ports), 8):
        web += client("fetch", ports=ports[at:at + 8])
        alt += client("fetch", service=81, ports=ports[at:at + 8])
    check("two services: each has its exact share", by_node(web) == [20, 10, 10]
          and by_node(alt) == [10, 10, 20] and not failed_first(web + alt), (by_node(web), by_node(alt)))
    records = cluster.json(f"route list --service {ALT}")["routes"]
    check("two services: to the node's other port", len(records) == 40
          and all(r["backend"].endswith(":8080") for r in records), records[:2])

    add(cluster, SAME, 80, (1, 1, 1))
    same = client("fetch", service=82, ports=ports)
    apart = sum(1 for a, b in zip(web, same) if a[1] != b[1])
    check("two services on one node port: replies stay apart", apart == len(ports)
          and not failed_first(same),
          f"{apart} of {len(ports)} on another node, {by_node(same)}, {len(failed_first(same))} failed")

    lost = cluster.address(cluster.nodes[1])
    before = cluster.routes(f"--service {ALT} --backend {lost}")
    others = {s: len(cluster.routes(f"--service {s} --backend {lost}")) for s in (WEB, SAME, DNS)}
    cluster.fepctl(f"backend fail {lost} --service {ALT}")
    left = cluster.routes(f"--service {ALT} --backend {lost}")
    kept = {s: len(cluster.routes(f"--service {s} --backend {lost}")) for s in others}
    check("failed in one service: its routes end", len(before) == 10 and left == [], (len(before), len(left)))
    check("failed in one service: the others keep theirs", kept == others and all(kept.values()),
          (others, kept))
    ports = list(range(31101, 31113))
    web, alt = client("fetch", ports=ports), client("fetch", service=81, ports=ports)
    check("failed in one service: it works in the other", by_node(web) == [6, 3, 3]
          and by_node(alt) == [4, 0, 8], (by_node(web), by_node(alt)))
    cluster.fepctl(f"backend fail {lost}")
    left = cluster.routes(f"--backend {lost}")
    ports = list(range(31201, 31213))
    answers = [client("fetch", service=number, ports=ports) for number in (80, 81)]
    answers += [client("udp", service=53, ports=ports)]
    check("failed: no route of any service leads there", left == []
          and not any(by_node(a)[1] for a in answers) and not any(map(failed_first, answers)),
          (len(left), [by_node(a) for a in answers]))
    cluster.fepctl(f"backend restore {lost}")
    ports = list(range(31301, 31313))
    answers = [client("fetch", service=number, ports=ports) for number in (80, 81)]
    answers += [client("udp", service=53, ports=ports)]
    check("restored: it is back in all", [by_node(a) for a in answers] == [[6, 3, 3], [3, 3, 6], [6, 4, 2]],
          [by_node(a) for a in answers])


def body(cluster, check):
    client = Client(cluster)
    udp(cluster, client, check)
    two_services(cluster, client, check)


if __name__ == "__main__":
    main(body)
