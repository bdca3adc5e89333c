// SPDX-License-Identifier: GPL-2.0

//! What each command does to the kernel, and what it prints.

mod common;

use common::{Place, A, B, WEB};
use fep_client::ServiceKey;
use fep_core::validate::Service;
use fep_uapi::{Counter, Endpoint, RouteRecord, ServiceId};
use fepctl::Exit;

fn route(client: u8, backend: &str) -> RouteRecord {
    let service: ServiceKey = WEB.parse().unwrap();
    let backend: fep_client::NodeAddr = backend.parse().unwrap();
    let client = fep_client::NodeAddr {
        address: [192, 0, 2, client].into(),
        port: 40_000,
    };
    RouteRecord {
        service: ServiceId::from(service),
        client: Endpoint::from(client),
        backend: Endpoint::from(backend),
        state: 3,
        idle_ms: 1500,
        expires_ms: 898_500,
        ..RouteRecord::default()
    }
}

#[test]
fn devices_are_attached_and_detached() {
    let place = Place::new();
    assert_eq!(place.run(&["device", "attach", "eth0"]).ok(), "");
    assert_eq!(place.kernel.with(|state| state.attached.clone()), ["eth0"]);
    let status = place.run(&["status", "--json"]).json();
    assert_eq!(status["devices"][0]["name"], "eth0");
    assert_eq!(place.run(&["device", "detach", "eth0"]).ok(), "");
    assert!(place.kernel.with(|state| state.attached.is_empty()));
}

#[test]
fn services_are_added_set_and_removed() {
    let place = Place::new();
    place
        .run(&[
            "service",
            "add",
            WEB,
            "--scheduler",
            "wrr",
            "--timeout-syn",
            "5",
        ])
        .ok();
    place
        .run(&["service", "set", WEB, "--timeout-udp", "60"])
        .ok();
    let timeouts = place.kernel.with(|state| state.entries[0].timeouts);
    assert_eq!(timeouts, [5, 0, 0, 0, 60], "set leaves the rest as it is");
    let commits = place.kernel.commits();
    place
        .run(&["service", "set", WEB, "--timeout-udp", "60"])
        .ok();
    assert_eq!(
        place.kernel.commits(),
        commits,
        "nothing to set, nothing committed"
    );
    assert_eq!(
        place.run(&["service", "del", WEB]).ok(),
        "0 routes deleted\n"
    );
    assert!(place.kernel.with(|state| state.entries.is_empty()));
}

#[test]
fn backends_are_added_set_and_removed() {
    let place = Place::new();
    place.run(&["service", "add", WEB]).ok();
    place.run(&["backend", "add", WEB, "10.1.0.2"]).ok();
    place
        .run(&["backend", "add", WEB, "10.1.0.3:8080", "--weight", "65535"])
        .ok();
    let nodes = place.kernel.with(|state| {
        let nodes = state.entries[0].backends.iter();
        nodes
            .map(|node| (node.node.port, node.weight))
            .collect::<Vec<_>>()
    });
    assert_eq!(
        nodes,
        [(80, 1), (8080, 65_535)],
        "the service's port, unless given"
    );
    place
        .run(&["backend", "set", WEB, "10.1.0.2", "--weight", "0"])
        .ok();
    assert_eq!(
        place
            .kernel
            .with(|state| state.entries[0].backends[0].weight),
        0
    );
    let deleted = place.run(&["backend", "del", WEB, "10.1.0.2"]).ok();
    assert_eq!(deleted, "0 routes deleted\n");
    assert_eq!(
        place.kernel.with(|state| state.entries[0].backends.len()),
        1
    );
}

#[test]
fn a_failed_backend_loses_its_routes() {
    let place = Place::with_web();
    place.kernel.with(|state| {
        state.routes = vec![route(1, A), route(2, A), route(3, B)];
    });
    let failed = place.run(&["backend", "fail", "10.1.0.2"]).ok();
    assert_eq!(failed, "2 routes deleted\n");
    assert!(place
        .kernel
        .with(|state| state.entries[0].backends[0].failed));
    assert_eq!(place.kernel.with(|state| state.routes.len()), 1);
    place.run(&["backend", "restore", A, "--service", WEB]).ok();
    assert!(!place
        .kernel
        .with(|state| state.entries[0].backends[0].failed));
}

#[test]
fn names_of_ports_come_from_the_services_file() {
    let place = Place::new();
    place.run(&["service", "add", "tcp/10.0.0.100:http"]).ok();
    place.run(&["service", "add", "udp/10.0.0.100:domain"]).ok();
    place
        .run(&["backend", "add", "tcp/10.0.0.100:www", "10.1.0.2:http-alt"])
        .ok();
    let ports = place.kernel.with(|state| {
        let services = state.entries.iter().map(|entry| entry.service.port);
        (
            services.collect::<Vec<_>>(),
            state.entries[0].backends[0].node.port,
        )
    });
    assert_eq!(ports, (vec![80, 53], 8080));
    place.run(&["backend", "fail", "10.1.0.2:http-alt"]).ok();
}

#[test]
fn the_limit_is_set() {
    let place = Place::new();
    assert_eq!(place.run(&["limit", "set", "5000"]).ok(), "");
    assert_eq!(place.kernel.with(|state| state.limit), 5000);
}

#[test]
fn routes_are_listed_page_by_page() {
    let place = Place::with_web();
    place.kernel.limit_pages(7);
    place.kernel.with(|state| {
        state.routes = (1..=100)
            .map(|at| route(at, if at % 4 == 0 { B } else { A }))
            .collect();
    });
    let list = place.run(&["route", "list"]).ok();
    assert_eq!(list.lines().count(), 101, "a heading and all routes");
    let first = list.lines().nth(1).unwrap();
    let words: Vec<&str> = first.split_whitespace().collect();
    assert_eq!(
        words,
        [WEB, "192.0.2.1:40000", A, "established", "1s", "898s"]
    );

    let all = place.run(&["route", "list", "--json"]).json();
    assert_eq!(all["count"], 100);
    assert_eq!(all["routes"].as_array().unwrap().len(), 100);
    assert_eq!(all["routes"][3]["backend"], B);
    assert_eq!(all["routes"][0]["state"], "established");
    assert_eq!(all["routes"][0]["idle_seconds"], 1.5);

    let some = place.run(&[
        "route",
        "list",
        "--backend",
        "10.1.0.3",
        "--service",
        WEB,
        "--json",
    ]);
    assert_eq!(some.json()["count"], 25);
    let few = place
        .run(&["route", "list", "--limit", "10", "--json"])
        .json();
    assert_eq!(few["count"], 10);
    assert_eq!(
        place
            .run(&["route", "list", "--limit", "0", "--json"])
            .json()["count"],
        0
    );
}

#[test]
fn routes_are_flushed() {
    let place = Place::with_web();
    let fill = || {
        place
            .kernel
            .with(|state| state.routes = vec![route(1, A), route(2, A), route(3, B)]);
    };
    fill();
    let some = place.run(&["route", "flush", "--backend", A]).ok();
    assert_eq!(some, "2 routes deleted\n");
    fill();
    let all = place.run(&["route", "flush", "--json"]).json();
    assert_eq!(all["routes_deleted"], 3);
}

#[test]
fn status_shows_everything() {
    let place = Place::with_web();
    place.run(&["device", "attach", "eth0"]).ok();
    place
        .run(&["backend", "add", WEB, "10.1.0.4", "--weight", "0"])
        .ok();
    place.run(&["backend", "add", WEB, "10.1.0.5"]).ok();
    place.run(&["backend", "fail", "10.1.0.5"]).ok();
    place.kernel.with(|state| {
        for (node, connections) in [(0, 200), (1, 100)] {
            state.entries[0].backends[node].traffic.connections = connections;
        }
        state.counters[Counter::ForwardRequest.code() as usize] = 7;
        state.counters[Counter::DropTtl.code() as usize] = 9;
        state.entries[0].counters[Counter::DropNoBackend.code() as usize] = 3;
        state.routes = vec![route(1, A)];
    });
    let text = place.run(&["status"]).ok();
    for line in [
        "fep 0.1.0, ABI 1.2, generation ",
        "devices  eth0",
        "routes   1 of at most 1048576, 1024 buckets",
        "tcp/10.0.0.100:80  scheduler wrr, 1 route",
        "  BACKEND      METHOD  WEIGHT  STATE     ROUTES  CLIENTS   ASKED  ACHIEVED     LIVE\n",
        "  10.1.0.2:80  nat          2  up             1      200  66.7 %    66.7 %  100.0 %\n",
        "  10.1.0.4:80  nat          0  draining       0        0   0.0 %     0.0 %    0.0 %\n",
        "  10.1.0.5:80  nat          1  failed         0        0   0.0 %     0.0 %    0.0 %\n",
        "  drop_no_backend 3 (the service has no backend that takes new clients)",
        "forwarded\n  forward_request      7  requests sent to a backend",
        "dropped\n  drop_ttl             9  time to live ended here",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    assert!(
        !text.contains("pass_"),
        "counters that are zero are not shown\n{text}"
    );

    let json = place.run(&["status", "--json"]).json();
    let service = &json["services"][0];
    assert_eq!(service["service"], WEB);
    assert_eq!(service["timeouts_seconds"]["established"], 900);
    assert_eq!(service["backends"][2]["state"], "draining");
    assert_eq!(service["backends"][0]["traffic"]["connections"], 200);
    assert_eq!(json["counters"]["drop_ttl"], 9);
    assert_eq!(
        json["counters"]["pass_foreign"], 0,
        "programs get all of them"
    );
    assert_eq!(json["abi"]["major"], 1);
}

#[test]
fn flush_removes_services_in_one_commit() {
    let place = Place::with_web();
    place.run(&["device", "attach", "eth0"]).ok();
    place.run(&["service", "add", "udp/10.0.0.100:53"]).ok();
    let commits = place.kernel.commits();
    let text = place.run(&["flush"]).ok();
    assert!(text.starts_with(
        "service del tcp/10.0.0.100:80\nservice del udp/10.0.0.100:53\n2 changes applied"
    ));
    assert_eq!(place.kernel.commits(), commits + 1);
    assert_eq!(
        place.kernel.with(|state| state.attached.len()),
        1,
        "devices stay attached"
    );
    let text = place.run(&["flush", "--devices"]).ok();
    assert!(
        text.starts_with("device detach eth0\n1 change applied"),
        "{text}"
    );
    assert_eq!(place.run(&["flush", "--devices"]).ok(), "nothing to do\n");
}

#[test]
fn commands_tell_programs_what_they_did() {
    let place = Place::new();
    let done = place.run(&["--json", "service", "add", WEB]).json();
    assert_eq!(done["changes"][0]["action"], "service_add");
    assert_eq!(done["changes"][0]["service"], WEB);
    assert_eq!(
        done["changes"][0]["text"],
        "service add tcp/10.0.0.100:80 scheduler wrr"
    );
    assert_eq!(done["generation"], 2);
    assert_eq!(done["dry_run"], false);
    let done = place.run(&["device", "attach", "eth0", "--json"]).json();
    assert_eq!(done["changes"][0]["device"], "eth0");
}

#[test]
fn whoever_stops_reading_is_no_error() {
    let place = Place::with_web();
    for command in [
        &["status"][..],
        &["route", "list"],
        &["--help"],
        &["stats", "--watch"],
    ] {
        assert_eq!(place.run_unread(command), Exit::Ok, "{command:?}");
    }
}

#[test]
fn completions_and_manual_pages_come_from_the_definitions() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]).ok();
        assert!(script.contains("restore"), "{shell}");
    }
    let directory = place.directory.path().to_str().unwrap();
    place.run(&["man", directory]).ok();
    assert!(place
        .directory
        .path()
        .join("fepctl-backend-fail.1")
        .exists());
}

#[test]
fn the_kernel_in_memory_knows_the_service() {
    // The rules of the fake are those of the module: the same code reads the operations.
    let place = Place::with_web();
    let service = place.kernel.with(|state| state.entries[0].service);
    let key: ServiceKey = WEB.parse().unwrap();
    assert_eq!(Service::try_from(&ServiceId::from(key)), Ok(service));
}
