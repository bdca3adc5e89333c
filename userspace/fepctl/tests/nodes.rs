// SPDX-License-Identifier: GPL-2.0

//! Priorities, loads and schedulers by the command line.

mod common;

use common::{Place, WEB};
use fep_uapi::{Event, EventKind};
use fepctl::Exit;

#[test]
fn priorities_and_loads_are_set_and_shown() {
    let place = Place::with_web();
    place
        .run(&["backend", "priority", WEB, "10.1.0.2", "3"])
        .ok();
    place.run(&["backend", "load", "10.1.0.2", "40"]).ok();
    let text = place.run(&["status"]).ok();
    assert!(
        text.contains("  10.1.0.2:80: priority 3, load 40\n"),
        "{text}"
    );
    let backend = &place.run(&["status", "--json"]).json()["services"][0]["backends"][0];
    assert_eq!(backend["priority"], 3);
    assert_eq!(backend["load"], 40);
    assert_eq!(backend["syns"]["reset"], 0);
    let done = place
        .run(&[
            "--json",
            "backend",
            "load",
            "10.1.0.2",
            "41",
            "--service",
            WEB,
        ])
        .json();
    assert_eq!(done["changes"][0]["action"], "backend_load");
    place
        .run(&["service", "set", WEB, "--scheduler", "steer"])
        .ok();
    let file = place.run(&["dump"]).ok();
    assert!(file.contains("scheduler = \"steer\""), "{file}");
}

#[test]
fn priorities_and_loads_have_limits() {
    let place = Place::with_web();
    let error = place
        .run(&["backend", "priority", WEB, "10.1.0.2", "65536"])
        .error(Exit::Refused);
    assert!(
        error.contains("priority 65536 is above the limit 65535"),
        "{error}"
    );
    let error = place
        .run(&["backend", "load", "10.1.0.2", "1000001"])
        .error(Exit::Refused);
    assert!(
        error.contains("load 1000001 is above the limit 1000000"),
        "{error}"
    );
    place
        .run(&["backend", "load", "10.1.0.99", "1"])
        .error(Exit::NotThere);
}

#[test]
fn events_are_printed_as_they_come() {
    let place = Place::with_web();
    let record = |kind: EventKind, sequence| Event {
        sequence,
        kind: kind.code(),
        generation: 3,
        ..Event::default()
    };
    let key: fep_client::ServiceKey = WEB.parse().unwrap();
    let node: fep_client::NodeAddr = "10.1.0.2:80".parse().unwrap();
    let failures = Event {
        service: key.into(),
        backend: node.into(),
        syn_reset: 4,
        lost: 2,
        ..record(EventKind::SynFailures, 9)
    };
    let events = [
        record(EventKind::ConfigChanged, 6),
        failures,
        Event {
            kind: 77,
            ..record(EventKind::TableFull, 10)
        },
    ];
    for event in events {
        place.kernel.happens(event);
    }
    let text = place.run(&["events", "--count", "3"]).ok();
    assert_eq!(
        text,
        "6 config_changed generation 3\n\
         9 syn_failures tcp/10.0.0.100:80 10.1.0.2:80 reset 4 generation 3 (2 lost before it)\n\
         10 unknown generation 3\n"
    );
    place.kernel.happens(failures);
    let json = place.run(&["events", "--json", "--count", "1"]).json();
    assert_eq!(json["event"], "syn_failures");
    assert_eq!(json["backend"], "10.1.0.2:80");
    assert_eq!(json["syns"]["reset"], 4);
    assert_eq!(json["lost"], 2);
}
