// SPDX-License-Identifier: GPL-2.0

//! How packets reach a backend: `nat`, `dr`, and methods that only the module knows.

mod common;

use common::{Place, A, B, WEB};
use fep_client::ServiceKey;
use fep_uapi::{Counter, RouteRecord};
use fepctl::Exit;

/// Codes of the methods of the first service's nodes.
fn methods(place: &Place) -> Vec<u32> {
    place.kernel.with(|state| {
        let nodes = state.entries[0].backends.iter();
        nodes.map(|node| node.method).collect()
    })
}

/// The service with a node of each method.
fn each() -> Place {
    let place = Place::new();
    place.run(&["service", "add", WEB]).ok();
    place.run(&["backend", "add", WEB, "10.1.0.2"]).ok();
    place
        .run(&["backend", "add", WEB, "10.1.0.3", "--method", "dr"])
        .ok();
    place
}

#[test]
fn a_backend_has_a_method() {
    let place = each();
    assert_eq!(methods(&place), [0, 1]);
    let done = place
        .run(&[
            "backend", "add", WEB, "10.1.0.4", "--method", "nat", "--json",
        ])
        .json();
    assert_eq!(
        done["changes"][0]["text"],
        "backend add tcp/10.0.0.100:80 10.1.0.4:80 weight 1"
    );
    let done = place
        .run(&[
            "backend",
            "add",
            WEB,
            "10.1.0.5:80",
            "--method",
            "dr",
            "--json",
        ])
        .json();
    assert_eq!(
        done["changes"][0]["text"],
        "backend add tcp/10.0.0.100:80 10.1.0.5:80 weight 1 method dr"
    );
    assert_eq!(methods(&place), [0, 1, 0, 1]);
    // The weight alone can be set.
    place
        .run(&["backend", "set", WEB, "10.1.0.5", "--weight", "3"])
        .ok();
    assert_eq!(methods(&place), [0, 1, 0, 1]);
}

#[test]
fn it_is_shown() {
    let place = each();
    place.kernel.with(|state| {
        state.counters[Counter::DropLoop.code() as usize] = 4;
    });
    let text = place.run(&["status"]).ok();
    for line in [
        "  BACKEND      METHOD  WEIGHT  STATE  ROUTES",
        "  10.1.0.2:80  nat          1  up  ",
        "  10.1.0.3:80  dr           1  up  ",
        "  drop_loop      4  sent back by a dr backend, which does not have the VIP",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    let json = place.run(&["status", "--json"]).json();
    let backends = &json["services"][0]["backends"];
    assert_eq!(backends[0]["method"], "nat");
    assert_eq!(backends[1]["method"], "dr");
    assert_eq!(json["counters"]["drop_loop"], 4);

    let dump = place.run(&["dump"]).ok();
    assert!(
        dump.contains(
            "    { addr = \"10.1.0.2:80\", weight = 1 },\n    \
             { addr = \"10.1.0.3:80\", weight = 1, method = \"dr\" },\n"
        ),
        "{dump}"
    );
    let json = place.run(&["dump", "--json"]).json();
    let backends = json["services"][0]["backends"].clone();
    assert_eq!(
        backends,
        serde_json::json!([
            { "addr": A, "weight": 1 },
            { "addr": B, "weight": 1, "method": "dr" },
        ])
    );
}

#[test]
fn another_method_in_a_file_is_another_backend() {
    let place = each();
    let node = |backend: &str| {
        let service: ServiceKey = WEB.parse().unwrap();
        let end = |text: &str| text.parse::<fep_client::NodeAddr>().unwrap().into();
        RouteRecord {
            service: service.into(),
            client: end("192.0.2.1:40000"),
            backend: end(backend),
            ..RouteRecord::default()
        }
    };
    place
        .kernel
        .with(|state| state.routes = vec![node(A), node(A), node(B)]);
    place.run(&["backend", "fail", B]).ok();
    let dump = place.run(&["dump"]).ok();
    let other = dump.replace("weight = 1 }", "weight = 1, method = \"dr\" }");
    let dry = place.pipe(&["apply", "-f", "-", "--dry-run"], &other).ok();
    let changes = "backend del tcp/10.0.0.100:80 10.1.0.2:80\n\
                   backend add tcp/10.0.0.100:80 10.1.0.2:80 weight 1 method dr \
                   (was nat, its routes end)\n";
    assert_eq!(
        dry,
        format!("{changes}dry run: 2 changes would be applied, none was\n")
    );
    let commits = place.kernel.commits();
    let done = place.pipe(&["apply", "-f", "-"], &other).ok();
    assert!(done.starts_with(changes), "{done}");
    assert!(done.ends_with(", 2 routes deleted\n"), "{done}");
    assert_eq!(place.kernel.commits(), commits + 1, "one transaction");
    // A file of before there were methods: all are nat. The mark stays where nothing is said of it.
    let file = "services = [{ key = \"tcp/10.0.0.100:80\", backends = [\n\
                { addr = \"10.1.0.2:80\" }, { addr = \"10.1.0.3:80\" } ] }]";
    let done = place.pipe(&["apply", "-f", "-"], file).ok();
    assert_eq!(
        done.lines().take(5).collect::<Vec<_>>(),
        [
            "backend del tcp/10.0.0.100:80 10.1.0.2:80",
            "backend add tcp/10.0.0.100:80 10.1.0.2:80 weight 1 method nat (was dr, its routes end)",
            "backend del tcp/10.0.0.100:80 10.1.0.3:80",
            "backend add tcp/10.0.0.100:80 10.1.0.3:80 weight 1 method nat (was dr, its routes end)",
            "backend fail 10.1.0.3:80 service tcp/10.0.0.100:80",
        ]
    );
    let dump = place.run(&["dump"]).ok();
    assert!(!dump.contains("method") && dump.contains("failed = true"));
}

#[test]
fn mistakes_name_the_rule() {
    let place = each();
    let before = place.run(&["dump"]).ok();
    for (arguments, exit, message) in [
        (
            &["backend", "add", WEB, "10.1.0.9", "--method", "tun"][..],
            Exit::BadInput,
            "invalid value 'tun' for '--method <METHOD>'",
        ),
        (
            &["backend", "add", WEB, "10.1.0.9", "--method", "tun"],
            Exit::BadInput,
            "possible values: nat, dr",
        ),
        (
            &["backend", "set", WEB, A, "--weight", "1", "--method", "dr"],
            Exit::BadInput,
            "unexpected argument '--method'",
        ),
        (
            &["backend", "add", WEB, "10.1.0.9:8080", "--method", "dr"],
            Exit::Refused,
            "backend 10.1.0.9:8080 of tcp/10.0.0.100:80: method dr leaves ports as they are, so \
             this one has to be the service's, 80; and the backend has the VIP on a loopback or \
             dummy device, without answering ARP",
        ),
        (
            &["backend", "add", WEB, B, "--method", "nat"],
            Exit::AlreadyThere,
            "backend 10.1.0.3:80 of tcp/10.0.0.100:80: it is there already",
        ),
    ] {
        let error = place.run(arguments).error(exit);
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
    assert_eq!(place.run(&["dump"]).ok(), before);
}

#[test]
fn help_says_what_it_takes() {
    let place = Place::new();
    let help = place.run(&["backend", "add", "--help"]).ok();
    let words: Vec<&str> = help.split_whitespace().collect();
    let help = words.join(" ");
    for text in [
        "--method <METHOD>",
        "- nat: Translation: replies come back through the front-end",
        "- dr: Direct routing:",
        "the path MTU is what it was",
        "the port of the backend is that of the service",
        "has the VIP on a loopback or dummy device without answering ARP or neighbour discovery",
        "replies to clients directly",
        "[default: nat]",
    ] {
        assert!(help.contains(text), "{text}\nis not in\n{help}");
    }
    let directory = place.directory.path();
    place.run(&["man", directory.to_str().unwrap()]).ok();
    let page = std::fs::read_to_string(directory.join("fepctl-backend-add.1")).unwrap();
    assert!(page.contains("Direct routing"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]).ok();
        assert!(
            script.contains("method") && script.contains("dr"),
            "{shell}"
        );
    }
}

#[test]
fn an_older_module_is_told_as_such() {
    let place = Place::with_web();
    place.kernel.with(|state| state.abi = (1, 0));
    let before = place.run(&["dump"]).ok();
    let add = ["backend", "add", WEB, "10.1.0.9", "--method", "dr"];
    let error = place.run(&add).error(Exit::Refused);
    assert_eq!(
        error,
        "fepctl: backend 10.1.0.9:80 of tcp/10.0.0.100:80: the module does not know the method dr; \
         it speaks ABI 1.0, this program speaks ABI 1.2: use the fepctl and the fep.ko of one \
         release\n"
    );
    let json = place.run(&[&add[..], &["--json"]].concat()).err;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["error"]["reason"], "reserved_not_zero");

    let file = "[[services]]\nkey = \"tcp/10.0.0.100:80\"\n\
                backends = [{ addr = \"10.1.0.2:80\", method = \"dr\" }]";
    let error = place.pipe(&["apply", "-f", "-"], file).error(Exit::Refused);
    assert!(
        error.starts_with("fepctl: standard input:3:46: backend 10.1.0.2:80 of "),
        "{error}"
    );
    let error = place
        .run(&["service", "add", "tcp/[2001:db8::10]:80"])
        .error(Exit::Refused);
    assert!(
        error.contains(
            "service tcp/[2001:db8::10]:80: the module does not do IPv6, or the host does not (ipv6.disable=1); it speaks ABI 1.0"
        ),
        "{error}"
    );
    let error = place
        .run(&["route", "list", "--service", "tcp/[2001:db8::10]:80"])
        .error(Exit::NotThere);
    assert!(error.contains("there is no such service"), "{error}");
    assert_eq!(place.run(&["dump"]).ok(), before);
    // What it knows it does.
    place
        .run(&["backend", "add", WEB, "10.1.0.9", "--method", "nat"])
        .ok();
    assert!(place
        .run(&["status"])
        .ok()
        .starts_with("fep 0.1.0, ABI 1.0"));
}

#[test]
fn a_method_of_a_newer_module_is_shown_and_kept() {
    let place = each();
    place.kernel.with(|state| {
        state.abi = (1, 9);
        state.entries[0].backends[1].method = 7;
    });
    let text = place.run(&["status"]).ok();
    assert!(
        text.contains("  10.1.0.3:80  7            1  up  "),
        "{text}"
    );
    let json = place.run(&["status", "--json"]).json();
    assert_eq!(json["services"][0]["backends"][1]["method"], "7");
    let commits = place.kernel.commits();
    for format in [&["dump"][..], &["dump", "--json"]] {
        let dump = place.run(format).ok();
        let again = place.pipe(&["apply", "-f", "-"], &dump).ok();
        assert_eq!(again, "nothing to do\n");
    }
    assert_eq!(place.kernel.commits(), commits);
    place.run(&["backend", "set", WEB, B, "--weight", "0"]).ok();
    assert_eq!(methods(&place), [0, 7]);
}
