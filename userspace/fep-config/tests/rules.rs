// SPDX-License-Identifier: GPL-2.0

//! Every rule of fep.toml: a file that breaks it, and what is said of it.

use std::path::Path;

use fep_config::Config;

/// A file with one node and a service, which the lines are added to.
const SOUND: &str = r#"devices = ["eth0"]
[[node]]
name = "a"
address = "10.0.1.1"
[[node]]
name = "b"
address = "10.0.1.2"
"#;

fn problems(text: &str) -> Vec<String> {
    match Config::parse(Path::new("f"), text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    }
}

/// The lines as a service's, behind a sound file of 7 lines: `[[service]]` is line 8, the lines
/// begin at 9.
fn of_service(lines: &str) -> Vec<String> {
    problems(&format!("{SOUND}[[service]]\n{lines}\n"))
}

#[track_caller]
fn assert_one(found: &[String], wanted: &str) {
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(wanted), "{found:?} is not {wanted}");
}

#[test]
fn a_sound_file_has_none() {
    assert_eq!(problems(SOUND), [""; 0]);
    let service = "key = \"tcp/10.0.0.1:80\"\n[[service.node]]\nname = \"a\"";
    assert_eq!(of_service(service), [""; 0]);
}

#[test]
fn what_is_not_toml_has_its_place() {
    assert_one(&problems("devices = [\n  \"eth0\n]"), "f:2:");
}

#[test]
fn every_rule_of_the_file() {
    for (text, wanted) in [
        (
            "device = [\"eth0\"]",
            "f:1:1: device: is not known here; known are ",
        ),
        (
            "devices = \"eth0\"",
            "f:1:11: devices: is a text, not an array of texts",
        ),
        (
            "devices = [5]",
            "f:1:12: devices[0]: is an integer, not a text",
        ),
        (
            "devices = [\"a\", \"a\"]",
            "f:1:17: devices: a device is listed twice",
        ),
        (
            "devices = [\"abcdefghijklmnopq\"]",
            "f:1:12: devices: \"abcdefghijklmnopq\" is longer",
        ),
        (
            "limit = 0",
            "f:1:9: limit: is not an integer from 1 to 134217728",
        ),
        ("limit = \"5\"", "f:1:9: limit: is not an integer from 1 to"),
        (
            "limit = 99999999999999999999999",
            "f:1:9: limit: is not an integer from 1 to",
        ),
        (
            "load = { low_percent = 90 }",
            "f:1:24: load.low_percent: is not less than high_percent",
        ),
        ("daemon = 5", "f:1:10: daemon: is an integer, not a table"),
        (
            "[daemon]\nsocket = \"fepd.sock\"",
            "f:2:10: daemon.socket: is not a path from the root",
        ),
        ("[daemon]\nstate = \"\"", "f:2:9: daemon.state: is empty"),
        (
            "[daemon]\nhttp = \"nowhere\"",
            "f:2:8: daemon.http: invalid socket address",
        ),
        (
            "[daemon]\nhttp = \"0.0.0.0:80\"",
            "f:2:8: daemon.http: is not a loopback address",
        ),
        (
            "[daemon]\nhttp_beyond_loopback = 1",
            "f:2:24: daemon.http_beyond_loopback: is an integer, not true",
        ),
        (
            "[agents]\nca = \"/a\"\nkey = \"/b\"",
            "f:1:1: agents.certificate: is missing",
        ),
        (
            "[agents]\nca = \"/a\"\nkey = \"/b\"\ncertificate = \"/c\"\nreport = \"5\"",
            "f:5:10: agents.report: \"5\" is not a duration such as",
        ),
        (
            "[agents]\nca = \"/a\"\nkey = \"/b\"\ncertificate = \"/c\"\nreport = \"5h\"",
            "f:5:10: agents.report: is not between 100ms and 1m",
        ),
        (
            "[agents]\nca = \"/a\"\nkey = \"/b\"\ncertificate = \"/c\"\nport = 65536",
            "f:5:8: agents.port: is not an integer from 1 to 65535",
        ),
        (
            "node = 1",
            "f:1:8: node: is an integer, not an array of tables",
        ),
        ("node = [1]", "f:1:9: node[0]: is an integer, not a table"),
        (
            "[[node]]\naddress = \"10.0.0.1\"",
            "f:1:1: node[0].name: is missing",
        ),
        (
            "[[node]]\nname = \"-a\"\naddress = \"10.0.0.1\"",
            "f:2:8: node[0].name: is not a name: ",
        ),
        (
            "[[node]]\nname = \"a\"\naddress = \"10.0.0\"",
            "f:3:11: node[0].address: invalid IP address",
        ),
        (
            "[[node]]\nname = \"a\"\naddress = \"0.0.0.0\"",
            "f:3:11: node[0].address: is not the address of one node",
        ),
        (
            "[[node]]\nname = \"a\"\naddress = \"10.0.0.1\"\nagent = \"yes\"",
            "f:4:9: node[0].agent: is a text, not true",
        ),
        (
            "[[node]]\nname = \"a\"\naddress = \"10.0.0.1\"\npriority = 65536",
            "f:4:12: node[0].priority: is not an integer from 0 to 65535",
        ),
        (
            "[[group]]\nname = \"g\"",
            "f:1:1: group[0].nodes: is missing",
        ),
        (
            "[[group]]\nname = \"g\"\nnodes = [\"x\"]",
            "f:3:10: group[0].nodes: there is no node \"x\"",
        ),
    ] {
        assert_one(&problems(text), wanted);
    }
}

#[test]
fn nodes_and_groups_are_there_once() {
    for (lines, wanted) in [
        (
            "[[node]]\nname = \"a\"\naddress = \"10.0.1.9\"",
            "f:9:8: node[2].name: there is another node a",
        ),
        (
            "[[node]]\nname = \"c\"\naddress = \"10.0.1.1\"",
            "f:10:11: node[2].address: node a has 10.0.1.1, too",
        ),
        (
            "[[group]]\nname = \"g\"\nnodes = [\"a\", \"a\"]",
            "f:10:15: group[0].nodes: node a is listed twice",
        ),
        (
            "[[group]]\nname = \"g\"\nnodes = [\"a\"]\n[[group]]\nname = \"g\"\nnodes = [\"b\"]",
            "f:12:8: group[1].name: there is another group g",
        ),
    ] {
        assert_one(&problems(&format!("{SOUND}{lines}\n")), wanted);
    }
}

#[test]
fn every_rule_of_a_service() {
    const KEY: &str = "key = \"tcp/10.0.0.1:80\"\n";
    for (lines, wanted) in [
        ("", "f:8:1: service[0].key: is missing"),
        ("key = \"80\"", "f:9:7: service[0].key: "),
        (
            "key = \"tcp/10.0.1.1:80\"",
            "f:9:7: service[0].key: 10.0.1.1 is the address of node a",
        ),
        (
            "key = \"udp/10.0.0.1:53\"",
            "f:8:1: service[0].check: is missing: a UDP service has none",
        ),
        (
            "key = \"tcp/10.0.0.1:80\"\n[[service]]\nkey = \"tcp/10.0.0.1:80\"",
            "f:11:7: service[1].key: service tcp/10.0.0.1:80 is there twice",
        ),
    ] {
        assert_one(&of_service(lines), wanted);
    }
    for (lines, wanted) in [
        (
            "scheduler = \"rr\"",
            "f:10:13: service[0].scheduler: is not one of \"wrr\", \"optimal\", \"steer\"",
        ),
        (
            "group = \"g\"",
            "f:10:9: service[0].group: there is no group \"g\"",
        ),
        (
            "max_ejected_percent = 101",
            "f:10:23: service[0].max_ejected_percent: is not an integer from 0 to 100",
        ),
        (
            "on_down = \"sorry\"",
            "f:10:11: service[0].on_down: is \"sorry\", but there is no sorry server",
        ),
        (
            "sorry = \"10.0.1.9\"",
            "f:10:9: service[0].sorry: means nothing without on_down",
        ),
        (
            "sorry = \"x\"\non_down = \"sorry\"",
            "f:10:9: service[0].sorry: is not an address, with a port or",
        ),
        (
            "timeouts = { udp = 864001 }",
            "f:10:20: service[0].timeouts.udp: is not an integer from 0 to 864000",
        ),
        (
            "health = { fall = 0 }",
            "f:10:19: service[0].health.fall: is not an integer from 1",
        ),
        (
            "health = { hold = \"9s\", hold_max = \"1s\" }",
            "f:10:36: service[0].health.hold_max: is less than hold",
        ),
        (
            "drain_timeout = \"25h\"",
            "f:10:17: service[0].drain_timeout: is not between 0s and 1day",
        ),
        (
            "process = { name = \"p\" }",
            "f:10:11: service[0].process: needs agents",
        ),
        (
            "[[service.node]]\nname = \"x\"",
            "f:11:8: service[0].node[0].name: there is no node \"x\"",
        ),
        (
            "[[service.node]]\nname = \"a\"\nmethod = \"nta\"",
            "f:12:10: service[0].node[0].method: ",
        ),
        (
            "[[service.node]]\nname = \"a\"\nmethod = \"dr\"\nport = 81",
            "f:13:8: service[0].node[0].port: is another than the service's",
        ),
        (
            "[[service.node]]\nname = \"a\"\nweight = -1",
            "f:12:10: service[0].node[0].weight: is not an integer from 0",
        ),
        (
            "[[service.node]]\nname = \"a\"\n[[service.node]]\nname = \"a\"",
            "f:13:8: service[0].node[1].name: 10.0.1.1:80 is there twice",
        ),
        (
            "[[service.check]]",
            "f:10:1: service[0].check[0].type: is missing",
        ),
        (
            "[[service.check]]\ntype = \"ftp\"",
            "f:11:8: service[0].check[0].type: is not one of",
        ),
        (
            "[[service.check]]\ntype = \"agent\"",
            "f:11:8: service[0].check[0].type: is \"agent\", but the file has no",
        ),
        (
            "[[service.check]]\ntype = \"icmp\"\nport = 5",
            "f:12:1: service[0].check[0].port: is not known here",
        ),
        (
            "[[service.check]]\ntype = \"http\"\npath = \"x\"",
            "f:12:8: service[0].check[0].path: is not a path",
        ),
        (
            "[[service.check]]\ntype = \"http\"\nhost = \"a b\"",
            "f:12:8: service[0].check[0].host: is not a host",
        ),
        (
            "[[service.check]]\ntype = \"http\"\nstatus = \"2xx\"",
            "f:12:10: service[0].check[0].status: is not a status",
        ),
        (
            "[[service.check]]\ntype = \"http\"\nbody = \"(\"",
            "f:12:8: service[0].check[0].body: is not a regular expression: ",
        ),
        (
            "[[service.check]]\ntype = \"http\"\nverify = true",
            "f:12:1: service[0].check[0].verify: is not known here",
        ),
        (
            "[[service.check]]\ntype = \"udp\"",
            "f:10:1: service[0].check[0].send: is missing",
        ),
        (
            "[[service.check]]\ntype = \"command\"",
            "f:10:1: service[0].check[0].command: is missing",
        ),
        (
            "[[service.check]]\ntype = \"command\"\ncommand = [\"ls\"]",
            "f:12:11: service[0].check[0].command: does not begin with a program",
        ),
        (
            "[[service.check]]\ntype = \"tcp\"\ntimeout = \"0s\"",
            "f:12:11: service[0].check[0].timeout: is not between 10ms and 1m",
        ),
    ] {
        assert_one(&of_service(&format!("{KEY}{lines}")), wanted);
    }
}

#[test]
fn every_rule_of_a_process() {
    const AGENTS: &str = "[agents]\nca = \"/a\"\nkey = \"/b\"\ncertificate = \"/c\"\n\
        [[service]]\nkey = \"tcp/10.0.0.1:80\"\n[service.process]\n";
    for (lines, wanted) in [
        ("", "f:7:1: service[0].process.name: is missing"),
        (
            "name = \"p\"\ncandidates = [\"x\"]",
            "f:9:15: service[0].process.candidates: there is no node \"x\"",
        ),
        (
            "name = \"p\"\nstart_timeout = \"0s\"",
            "f:9:17: service[0].process.start_timeout: is not between",
        ),
        (
            "name = \"p\"\ncommand = [\"/p\"]",
            "f:9:1: service[0].process.command: is not known here",
        ),
    ] {
        assert_one(&problems(&format!("{AGENTS}{lines}")), wanted);
    }
}

#[test]
fn all_mistakes_come_at_once_and_in_the_order_of_the_file() {
    let found = problems(
        "limit = 0\nx = 1\n[[node]]\nname = \"a\"\naddress = \"x\"\n[daemon]\nstate = 1\n",
    );
    let places: Vec<&str> = found
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(places, ["f:1:9:", "f:2:1:", "f:5:11:", "f:7:9:"]);
}
