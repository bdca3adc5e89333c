// SPDX-License-Identifier: GPL-2.0

//! The commands that are for fepd, against one that is in the test.

mod common;
#[path = "common/fepd.rs"]
mod fepd;

use common::{Place, WEB};
use fep_operator::{Answer, Reason, Reload, Request};
use fepctl::Exit;
use fepd::{snapshot, words, Fepd};

#[test]
fn nodes_are_listed() {
    let fepd = Fepd::with(snapshot());
    let printed = fepd.run(&["node", "list"]).ok();
    assert_eq!(
        words(&printed),
        [
            "NODE ADDRESS AGENT LOAD ROUTES STATE NEXT",
            "a 10.1.0.2 alive 25.3% 5 up -",
            "b 10.1.0.3 none - 0 failed: no service answers -",
        ]
    );
    let json = fepd.run(&["node", "list", "--json"]).json();
    assert_eq!(json["nodes"][1]["state"], "failed");
    assert_eq!(json["nodes"][0]["load_permille"], 253);
}

#[test]
fn a_node_is_shown_with_its_services() {
    let fepd = Fepd::with(snapshot());
    let printed = fepd.run(&["node", "show", "b"]).ok();
    let printed = words(&printed);
    assert_eq!(printed.len(), 5);
    assert_eq!(
        printed[4],
        "tcp/10.0.0.100:80 10.1.0.3:80 3 3 50.0% - 0 bad 42s ago: no \\u{1b}answer \
         failed: 3 checks in a row check in 0.5s"
    );
    let json = fepd.run(&["node", "show", "a", "--json"]).json();
    assert_eq!(json["node"]["name"], "a");
    assert_eq!(json["services"][0]["service"], WEB);
    let error = fepd.run(&["node", "show", "c"]).error(Exit::NotThere);
    assert_eq!(error, "fepctl: there is no node c\n");
}

#[test]
fn services_are_listed() {
    let fepd = Fepd::with(snapshot());
    let printed = fepd.run(&["service", "list", "tcp/10.0.0.100:http"]).ok();
    let printed = words(&printed);
    assert_eq!(
        printed[..4],
        [
            "tcp/10.0.0.100:80 scheduler wrr, 5 routes, group films",
            "ALARM: half of its nodes are out",
            "NODE SERVES AT WEIGHT NOW ASKED ACHIEVED ROUTES CHECK STATE NEXT",
            "a 10.1.0.2:80 2 2 50.0% 100.0% 5 good 1.2s ago up -",
        ]
    );
    let json = fepd.run(&["service", "list", "--json"]).json();
    assert_eq!(json["services"][0]["members"][1]["node"], "b");
    let other = fepd.run(&["service", "list", "udp/10.0.0.100:53"]);
    let error = other.error(Exit::NotThere);
    assert_eq!(error, "fepctl: there is no service udp/10.0.0.100:53\n");
}

#[test]
fn groups_and_processes_are_listed() {
    let fepd = Fepd::with(snapshot());
    let printed = fepd.run(&["group", "status", "films"]).ok();
    assert_eq!(
        words(&printed)[1..],
        ["films a yes 20.0% 1 yes", "films b no - 1"]
    );
    let json = fepd.run(&["group", "status", "--json"]).json();
    assert_eq!(json["groups"][0]["best"], "a");
    fepd.run(&["group", "status", "x"]).error(Exit::NotThere);
    let printed = fepd.run(&["process", "list"]).ok();
    assert_eq!(
        words(&printed)[1],
        format!("web {WEB} a 2 ready: because -")
    );
    fepd.change(|state| state.snapshot.processes[0].instances.clear());
    let printed = fepd.run(&["process", "list"]).ok();
    assert_eq!(words(&printed)[1], format!("web {WEB} - - - -"));
    let json = fepd.run(&["process", "list", "--json"]).json();
    assert_eq!(json["processes"][0]["name"], "web");
}

#[test]
fn the_daemon_tells_of_itself() {
    let fepd = Fepd::with(snapshot());
    let printed = fepd.run(&["daemon", "status"]).ok();
    assert_eq!(
        printed,
        "fepd 0.1.0, process 77, runs for 12s\n\
         configuration /etc/fep/fep.toml: in force since the start\n\
         filter: as it should be; generation 4, 5 of 100 routes\n\
         state file: as it should be\n"
    );
    fepd.change(|state| {
        let daemon = &mut state.snapshot.daemon;
        daemon.trouble = Some("table full".to_owned());
        daemon.state_trouble = Some("disk full".to_owned());
        daemon.reload = Some(Reload {
            age_ms: 2000,
            problem: Some("line 3\nline 4".to_owned()),
        });
    });
    let printed = fepd.run(&["daemon", "status"]).ok();
    for wanted in [
        "fep.toml: refused 2.0s ago: line 3 line 4\n",
        "filter: table full;",
        "state file: disk full\n",
    ] {
        assert!(printed.contains(wanted), "{printed}");
    }
    let json = fepd.run(&["daemon", "status", "--json"]).json();
    assert_eq!(json["daemon"]["reload"]["problem"], "line 3\nline 4");
}

#[test]
fn what_is_asked_for_is_what_was_typed() {
    let fepd = Fepd::with(snapshot());
    let (a, web) = (|| "a".to_owned(), || WEB.to_owned());
    let assigned = |port, weight, priority, method: &str| Request::Assign {
        service: web(),
        node: a(),
        port,
        weight,
        priority,
        method: method.to_owned(),
    };
    let added = |agent, agent_port, priority| Request::NodeAdd {
        node: a(),
        address: "10.1.0.2".parse().expect("an address"),
        agent,
        agent_port,
        priority,
    };
    let maintained = |limit_seconds| Request::MaintenanceOn {
        node: a(),
        limit_seconds,
    };
    for (typed, wanted) in [
        ("daemon reload", Request::Reload),
        ("node add a 10.1.0.2", added(false, None, 0)),
        (
            "node add a 10.1.0.2 --agent --agent-port 9 --priority 4",
            added(true, Some(9), 4),
        ),
        ("node del a", Request::NodeDel { node: a() }),
        ("node maintenance on a", maintained(None)),
        ("node maintenance on a --limit 60", maintained(Some(60))),
        (
            "node maintenance off a",
            Request::MaintenanceOff { node: a() },
        ),
        (
            "service assign tcp/10.0.0.100:http a",
            assigned(None, 1, None, "nat"),
        ),
        (
            "service assign tcp/10.0.0.100:80 a --port 8080 --weight 0 --priority 2 --method dr",
            assigned(Some(8080), 0, Some(2), "dr"),
        ),
        (
            "service unassign tcp/10.0.0.100:http a",
            Request::Unassign {
                service: web(),
                node: a(),
            },
        ),
        (
            "service weight tcp/10.0.0.100:www a 65535",
            Request::Weight {
                service: web(),
                node: a(),
                weight: 65535,
            },
        ),
        (
            "process start web a",
            Request::ProcessStart {
                process: "web".to_owned(),
                node: Some(a()),
            },
        ),
        (
            "process stop web a",
            Request::ProcessStop {
                process: "web".to_owned(),
                node: a(),
            },
        ),
    ] {
        let words: Vec<&str> = typed.split(' ').collect();
        let printed = fepd.run(&words).ok();
        let said = typed.starts_with("process start");
        let wanted_text = if said { "process web on node a\n" } else { "" };
        assert_eq!(printed, wanted_text, "{typed}");
        assert_eq!(fepd.asked(), [wanted.clone()], "{typed}");
        let json = fepd.run(&[words.as_slice(), &["--json"]].concat()).json();
        assert_eq!(json["done"], true, "{typed}");
        assert_eq!(fepd.asked(), [wanted], "{typed}");
    }
}

#[test]
fn what_makes_no_sense_is_not_asked_for() {
    let fepd = Fepd::with(snapshot());
    for typed in [
        "node add a nowhere",
        "node add a 10.1.0.2 --agent-port 9",
        "node maintenance on a --timeout 5",
        "node maintenance on a --limit 86401",
        "node maintenance a",
        "service assign nonsense a",
        "service assign tcp/10.0.0.100:80 a --weight 65536",
        "service assign tcp/10.0.0.100:80 a --method magic",
        "service weight tcp/10.0.0.100:80 a -1",
        "process stop web",
    ] {
        let words: Vec<&str> = typed.split(' ').collect();
        fepd.run(&words).error(Exit::BadInput);
    }
    assert_eq!(fepd.asked(), []);
}

#[test]
fn a_refusal_is_an_error_with_its_own_code() {
    let fepd = Fepd::with(snapshot());
    for (reason, exit) in [
        (Reason::NotThere, Exit::NotThere),
        (Reason::AlreadyThere, Exit::AlreadyThere),
        (Reason::BadInput, Exit::BadInput),
        (Reason::Rule, Exit::Refused),
        (Reason::Filter, Exit::Refused),
        (Reason::Unsupported, Exit::Refused),
        (Reason::Busy, Exit::Internal),
        (Reason::Other, Exit::Internal),
    ] {
        let answer = Answer::refused(reason, "node a: \u{1b}why");
        fepd.change(|state| state.answer = Some(answer));
        let error = fepd.run(&["node", "del", "a"]).error(exit);
        assert_eq!(error, "fepctl: node a: \\u{1b}why\n");
        let ended = fepd.run(&["node", "del", "a", "--json"]);
        let error: serde_json::Value = serde_json::from_str(&ended.err).expect("JSON");
        assert_eq!(error["error"]["reason"], reason.name());
        assert_eq!(error["error"]["code"], exit.code());
    }
}

#[test]
fn without_fepd_it_says_so() {
    let place = Place::new();
    let socket = place.directory.path().join("nobody.sock");
    let socket = socket.to_str().expect("UTF-8");
    for arguments in [&["node", "list"][..], &["daemon", "reload"]] {
        let arguments = [arguments, &["--socket", socket]].concat();
        let error = place.run(&arguments).error(Exit::NoDaemon);
        assert_eq!(
            error,
            format!(
                "fepctl: {socket}: nobody listens; is fepd running? \
                 (systemctl start fepd; --socket for another socket)\n"
            )
        );
    }
}
