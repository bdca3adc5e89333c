// SPDX-License-Identifier: GPL-2.0

//! The commands for fepd that wait, against one that is in the test.

mod common;
#[path = "common/fepd.rs"]
mod fepd;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use common::{Ended, Place};
use fep_operator::{Answer, Maintenance, MaintenanceState, NodeState, ProcessState, Snapshot};
use fepctl::Exit;
use fepd::{change, instance, snapshot, words, Fepd};

/// Runs a command that waits; the daemon has the snapshots one after the other.
fn through(
    fepd: &Fepd,
    arguments: &[&str],
    snapshots: impl IntoIterator<Item = Snapshot>,
) -> Ended {
    let mut snapshots: Vec<Snapshot> = snapshots.into_iter().collect();
    snapshots.reverse();
    let first = snapshots.pop().expect("one at least");
    fepd.change(|state| state.snapshot = first);
    let state = Arc::clone(&fepd.state);
    fepd.run_with(arguments, move || {
        if let Some(next) = snapshots.pop() {
            change(&state, |state| state.snapshot = next);
        }
        true
    })
}

fn maintained(state: MaintenanceState, routes: u64, left_ms: u64) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.nodes[0].state = NodeState::Maintenance;
    snapshot.nodes[0].maintenance = Some(Maintenance {
        state,
        routes,
        left_ms,
    });
    snapshot
}

const DRAIN: &[&str] = &["node", "maintenance", "on", "a", "--wait"];

#[test]
fn a_maintenance_is_waited_for() {
    let fepd = Fepd::with(snapshot());
    let sequence = || {
        [
            maintained(MaintenanceState::Draining, 3, 29_999),
            maintained(MaintenanceState::Draining, 3, 29_500),
            maintained(MaintenanceState::Draining, 1, 29_000),
            maintained(MaintenanceState::Done, 0, 28_500),
        ]
    };
    let ended = through(&fepd, DRAIN, sequence());
    assert_eq!((ended.exit, ended.out.as_str()), (Exit::Ok, ""));
    assert_eq!(
        ended.err,
        "node a: 3 routes left, 30 s of its time\nnode a: 1 routes left, 30 s of its time\n"
    );
    let ended = through(&fepd, &[DRAIN, &["--json"]].concat(), sequence());
    assert_eq!(ended.json()["done"], true);
    let shown = fepd.run(&["node", "list"]).ok();
    assert!(shown.contains("maintenance: done"), "{shown}");
}

#[test]
fn a_maintenance_that_is_late_or_ended_is_an_error() {
    let fepd = Fepd::with(snapshot());
    let late = maintained(MaintenanceState::Late, 2, 0);
    let error = through(&fepd, DRAIN, [late]).error(Exit::NotInTime);
    assert!(error.contains("2 routes are left"), "{error}");
    through(&fepd, DRAIN, [snapshot()]).error(Exit::Refused);
    through(&fepd, DRAIN, [Snapshot::default()]).error(Exit::NotThere);
}

#[test]
fn the_waiting_ends_with_its_time() {
    let fepd = Fepd::with(maintained(MaintenanceState::Draining, 3, 99_000));
    let arguments = [DRAIN, &["--timeout", "5", "--json"]].concat();
    let ended = fepd.run(&arguments);
    assert_eq!((ended.exit, ended.out.as_str()), (Exit::NotInTime, ""));
    assert!(
        ended.err.contains("\"reason\":\"not_in_time\""),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("not done after 5 s"), "{}", ended.err);
    let mut rounds = 0;
    let ended = fepd.run_with(DRAIN, move || {
        rounds += 1;
        rounds < 3
    });
    assert_eq!(ended.exit, Exit::NotInTime);
    assert!(ended.err.contains("interrupted"), "{}", ended.err);
}

#[test]
fn a_restart_of_fepd_does_not_end_the_waiting() {
    let fepd = Fepd::with(maintained(MaintenanceState::Draining, 3, 99_000));
    let socket = fepd.socket.to_str().expect("UTF-8").to_owned();
    let fepd = Rc::new(RefCell::new(fepd));
    let place = Place::new();
    let arguments = [DRAIN, &["--socket", &socket]].concat();
    let mut rounds = 0;
    let ended = place.run_with(&arguments, "", move || {
        rounds += 1;
        let mut fepd = fepd.borrow_mut();
        match rounds {
            1 => fepd.end(),
            2 => {
                fepd.change(|state| state.snapshot = maintained(MaintenanceState::Done, 0, 1));
                fepd.start();
            }
            _ => panic!("it is done by now"),
        }
        true
    });
    assert_eq!(ended.exit, Exit::Ok, "{}", ended.err);
    assert_eq!(
        words(&ended.err),
        [
            "node a: 3 routes left, 100 s of its time",
            "node a: fepd is not running, waits for it"
        ]
    );
}

fn running(state: Option<ProcessState>) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.processes[0].instances = state.map(instance).into_iter().collect();
    snapshot
}

#[test]
fn a_process_is_waited_for() {
    let fepd = Fepd::with(snapshot());
    let chosen = Answer::Done {
        node: Some("a".to_owned()),
    };
    fepd.change(|state| state.answer = Some(chosen));
    let start = ["process", "start", "web", "--wait"];
    let sequence = [
        None,
        Some(ProcessState::Starting),
        Some(ProcessState::Ready),
    ];
    let ended = through(&fepd, &start, sequence.map(running));
    assert_eq!(ended.exit, Exit::Ok);
    assert_eq!(ended.out, "process web on node a\n");
    assert_eq!(
        ended.err,
        "process web on node a: not started\nprocess web on node a: starting: because\n"
    );
    let failed = || [running(Some(ProcessState::Failed))];
    let error = through(&fepd, &start, failed()).error(Exit::Refused);
    assert!(error.ends_with("process web on node a: failed: because\n"));
    let stop = ["process", "stop", "web", "a", "--wait", "--json"];
    for end in [None, Some(ProcessState::Stopped)] {
        let sequence = [
            Some(ProcessState::Draining),
            Some(ProcessState::Stopping),
            end,
        ];
        let ended = through(&fepd, &stop, sequence.map(running));
        assert_eq!(ended.json()["node"], "a");
    }
    through(&fepd, &stop[..5], failed()).error(Exit::Refused);
    fepd.change(|state| state.answer = None);
    fepd.run(&["process", "start", "web"]).error(Exit::Internal);
}
