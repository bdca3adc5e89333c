#!/usr/bin/env python3
"""fepd with the agents of the nodes: load moves clients to other nodes and back, routes without a connection end, and an
agent that is gone is not a node that is gone."""

from checks import WEB, Client, by_node, failed_first, main
from cluster import CLIENT
from fepd import LOAD, LONG, Daemon, state, until, weights

PKI = "/etc/fep/pki"
WEIGHT = 20


def config(cluster):
    nodes = "".join(f'[[node]]\nname = "{node.name}"\naddress = "{cluster.address(node)}"\nagent = true\n'
                    for node in cluster.nodes)
    members = "".join(f'[[service.node]]\nname = "{node.name}"\nweight = {WEIGHT}\n' for node in cluster.nodes)
    return f"""devices = ["eth0", "eth1"]
{nodes}
[agents]
ca = "{PKI}/ca.pem"
certificate = "{PKI}/fe.pem"
key = "{PKI}/fe.key"
report = "500ms"
[[service]]
key = "{WEB}"
slow_start = "0s"
{members}
[service.health]
interval = "500ms"
[[service.check]]
type = "http"
timeout = "5s"
"""


NGINX = "/usr/local/share/fep-demo/nginx.conf"


def with_process(cluster):
    """The third node is none of the service's, but may be given its process."""
    text = config(cluster).replace(f'[[service.node]]\nname = "{cluster.nodes[2].name}"\nweight = {WEIGHT}\n', "")
    return text + """[service.process]
name = "web"
candidates = ["be3"]
start_after = "2s"
stop_after = "3s"
"""


def start_agents(cluster):
    """A private authority on the front-end, a certificate for each node, and bepd with it."""
    fe = cluster.fe
    fe.run(f"mkdir -p /etc/fep && fepctl pki init {PKI} && fepctl pki issue {PKI} fe", check=True)
    for node in cluster.nodes:
        fe.run(f"fepctl pki issue {PKI} {node.name}", check=True)
        node.run("mkdir -p /etc/fep", check=True)
        for name in ("ca.pem", f"{node.name}.pem", f"{node.name}.key"):
            text = fe.run(f"cat {PKI}/{name}", check=True).output
            node.run(["sh", "-c", f"umask 077; cat >/etc/fep/{name}"], input=text.encode(), check=True)
        text = (f'node = "{node.name}"\nlisten = "{cluster.address(node)}:7600"\nfront_ends = ["fe"]\n'
                f'authority = "ca.pem"\ncertificate = "{node.name}.pem"\nkey = "{node.name}.key"\n')
        text += f'''state = "/var/lib/bepd/state"
[process.web]
command = "/usr/sbin/nginx"
args = ["-c", "{NGINX}", "-g", "daemon off;"]
ready = {{ tcp = "127.0.0.1:80" }}
'''
        node.run(["sh", "-c", "mkdir -p /var/lib/bepd && cat >/etc/fep/bepd.toml"], input=text.encode(), check=True)
        node.spawn(["sh", "-c", "exec bepd --config /etc/fep/bepd.toml 2>/run/bepd.log"])


def connects(cluster, daemon, check):
    start_agents(cluster)
    daemon.write(config(cluster))
    check("the daemon starts", daemon.start() is not None, daemon.log())
    took = until(lambda: daemon.log().count("its agent is there") >= 3)
    check("it has a link to every agent", took is not None, f"after {took} s: {daemon.log()[-400:]}")


def load(cluster, check):
    busy = cluster.nodes[0]
    busy.spawn(["sh", "-c", "echo $$ >/run/hog; while :; do :; done"])
    took = until(lambda: weights(cluster)[0] <= WEIGHT // 2)
    others = weights(cluster)[1:]
    check("a node that is busy gets less", took is not None, f"half after {took} s: {weights(cluster)}")
    check("it alone", others == [WEIGHT, WEIGHT], others)
    check("it is up all the same", state(cluster, busy) == "up", state(cluster, busy))
    busy.run("kill $(cat /run/hog)", check=True)
    took = until(lambda: weights(cluster)[0] == WEIGHT)
    check("it has its weight again when it is idle", took is not None, f"after {took} s: {weights(cluster)}")


def dead_routes(cluster, daemon, client, check):
    """Connections that ended where the front-end did not see it: their routes go when the node says so."""
    node = cluster.nodes[0]
    client("open", ports=list(range(31001, 31013)), **LOAD)
    here = cluster.routes(f"--backend {cluster.address(node)}")
    # The node forgets its connections without a word to the client.
    node.run("nft add table ip mute && nft add chain ip mute out '{ type filter hook output priority 0; }' &&"
             f"nft add rule ip mute out ip daddr {CLIENT} drop", check=True)
    killed = node.run(f"ss -HtnK state established dst {CLIENT} | wc -l; nft delete table ip mute").output
    left = node.run(f"ss -Htn dst {CLIENT}").output
    check("the node has forgotten its connections", len(here) > 0 and not left, (len(here), killed, left))
    # A ratio that changes is what makes the daemon ask.
    node.spawn(["sh", "-c", "echo $$ >/run/hog; while :; do :; done"])
    took = until(lambda: cluster.routes(f"--backend {cluster.address(node)}") == [])
    said = "had no connection any more" in daemon.log()
    check("routes without a connection end when the ratio changes", took is not None and said,
          f"{len(here)} routes, after {took} s")
    node.run("kill $(cat /run/hog)")
    client("forget")


def agent_gone(cluster, daemon, client, check):
    node = cluster.nodes[1]
    until(lambda: weights(cluster) == [WEIGHT] * 3)
    client("load", **LOAD)
    node.run("pkill -STOP -x bepd", check=True)
    took = until(lambda: f'no link to its agent' in daemon.log())
    check("an agent that hangs is seen", took is not None, f"after {took} s")
    going_on = client.progress(40, LONG)
    answers = client("stop", within=LONG)
    check("its node goes on", going_on and state(cluster, node) == "up" and weights(cluster)[1] == WEIGHT
          and not failed_first(answers), (state(cluster, node), weights(cluster), failed_first(answers)[:2]))
    before = daemon.log().count("its agent is there")
    node.run("pkill -CONT -x bepd", check=True)
    took = until(lambda: daemon.log().count("its agent is there") > before)
    check("the agent is back when it goes on", took is not None, f"after {took} s")


def process(cluster, daemon, client, check):
    """A server process that comes and goes with the load (F10)."""
    spare = cluster.nodes[2]
    until(lambda: weights(cluster)[:2] == [WEIGHT] * 2)
    daemon.write(with_process(cluster))
    took = until(lambda: len(cluster.service(WEB)["backends"]) == 2)
    check("the third node leaves the service", took is not None, cluster.fepctl("dump").output)
    spare.run("nginx -c " + NGINX + " -s stop; until ! pgrep -x nginx; do sleep 0.2; done", timeout=60)
    busy = cluster.nodes[:2]
    for node in busy:
        node.spawn(["sh", "-c", "echo $$ >/run/hog; while :; do :; done"])
    took = until(lambda: len(cluster.service(WEB)["backends"]) == 3)
    check("all are busy: the process is started on the spare node, and it is added", took is not None
          and spare.run("pgrep -x nginx").status == 0, f"after {took} s: {daemon.log()[-300:]}")
    log = daemon.log()
    check("in that order: ready, then in the table", 0 < log.find("process web is Ready")
          < log.rfind(f"backend add {WEB} {cluster.address(spare)}"), log[-600:])
    answers = client("fetch", ports=list(range(33001, 33061)), **LOAD)
    check("it gets clients", by_node(answers)[2] > 0, by_node(answers))
    client("forget")
    for node in busy:
        node.run("kill $(cat /run/hog)", check=True)
    # Clients that are gone without a word keep their routes until the agent says that they are dead.
    took = until(lambda: len(cluster.service(WEB)["backends"]) == 2, 2 * LONG)
    check("all are idle: it is taken away when it has no routes", took is not None, f"after {took} s")
    took = until(lambda: spare.run("pgrep -x nginx").status != 0)
    check("and then it is stopped", took is not None, f"after {took} s")
    check("process list says so", cluster.fepctl("process list").status == 0, cluster.fepctl("process list").output)


def body(cluster, check):
    client, daemon = Client(cluster), Daemon(cluster)
    connects(cluster, daemon, check)
    load(cluster, check)
    dead_routes(cluster, daemon, client, check)
    agent_gone(cluster, daemon, client, check)
    process(cluster, daemon, client, check)
    daemon.signal("TERM")
    check("the daemon ends well", daemon.ended() == 0)


if __name__ == "__main__":
    main(body, configure=False, front_end_cpus=2)
