// SPDX-License-Identifier: GPL-2.0

//! Server processes that come and go (F10), step by step.

use std::time::Duration;

use fep_client::NodeAddr;
use fep_control::process::{
    Action, Candidate, Notice, Phase, Place, Processes, Refused, Report, Rules, State,
};

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn node(n: u32) -> NodeAddr {
    format!("10.1.0.{n}:80").parse().expect("an address")
}

fn rules() -> Rules {
    Rules {
        overloaded_for: at(10),
        idle_for: at(20),
        ready_within: at(30),
        drain_within: at(60),
        stop_within: at(15),
        again: at(5),
        retry: at(1),
        retry_max: at(60),
        tries: 2,
        barred_for: at(100),
        ..Rules::default()
    }
}

/// Nodes 10, 11 and 12 may be given a process; 11 has the least load.
fn candidates() -> Vec<Candidate> {
    [(10, 300), (11, 100), (12, 200)]
        .map(|(n, load)| Candidate {
            node: node(n),
            load,
            priority: 1,
        })
        .to_vec()
}

/// Steps with the configured nodes and those of processes at `load`.
fn step(processes: &mut Processes, load: u32, now: u64) -> Vec<Action> {
    let mut serving = vec![(node(1), Some(load)), (node(2), Some(load))];
    let placed = processes
        .placed()
        .filter(|&node| processes.place(node) == Place::Serving);
    serving.extend(placed.map(|node| (node, Some(load))));
    let actions = processes.step(&serving, &candidates(), at(now));
    processes.check_invariants();
    actions
}

/// The daemon dies and goes on with what it saved.
fn reborn(processes: &Processes) -> Processes {
    let text = serde_json::to_string(processes.state()).expect("it can be written");
    let state: State = serde_json::from_str(&text).expect("it can be read");
    assert_eq!(&state, processes.state());
    Processes::resume(rules(), state)
}

fn start(n: u32, number: u64) -> Action {
    let node = node(n);
    Action::Start { node, number }
}

/// Overloaded until the process of node 11 is started, at 10 s.
fn started() -> Processes {
    let mut processes = Processes::new(rules());
    for now in 0..10 {
        assert_eq!(step(&mut processes, 900, now), []);
    }
    assert_eq!(step(&mut processes, 900, 10), [start(11, 1)]);
    processes
}

fn serving() -> Processes {
    let mut processes = started();
    processes.reported(node(11), Report::Ready, at(12));
    let added = Action::Tell(Notice::Added(node(11)));
    assert_eq!(step(&mut processes, 700, 12), [added]);
    processes
}

#[test]
fn up_in_order() {
    let mut processes = started();
    assert_eq!(processes.place(node(11)), Place::Out);
    // The need is there still, and no second start comes of it, only the same again.
    for now in 11..15 {
        assert_eq!(step(&mut processes, 900, now), []);
    }
    assert_eq!(step(&mut processes, 900, 15), [start(11, 1)]);
    processes.reported(node(11), Report::Starting, at(16));
    assert_eq!(processes.place(node(11)), Place::Out);
    processes.reported(node(11), Report::Ready, at(17));
    assert_eq!(processes.place(node(11)), Place::Serving);
    let added = Action::Tell(Notice::Added(node(11)));
    assert_eq!(step(&mut processes, 900, 17), [added]);
    // One more only when all have been overloaded again for the whole time.
    for now in 18..27 {
        assert_eq!(step(&mut processes, 900, now), []);
    }
    assert_eq!(step(&mut processes, 900, 27), [start(12, 2)]);
}

#[test]
fn down_in_order() {
    let mut processes = serving();
    for now in 13..33 {
        assert_eq!(step(&mut processes, 100, now), []);
    }
    let end_dead = Action::EndDead { node: node(11) };
    assert_eq!(step(&mut processes, 100, 33), [end_dead]);
    assert_eq!(processes.place(node(11)), Place::Drained);
    // Routes that were counted before the weight of 0 was in force do not count.
    processes.listed(node(11), Some((100, 0)), at(34));
    assert_eq!(step(&mut processes, 100, 34), []);
    processes.listed(node(11), Some((0, 3)), at(38));
    assert_eq!(step(&mut processes, 100, 38), [end_dead]);
    assert_eq!(processes.place(node(11)), Place::Drained);
    processes.listed(node(11), Some((0, 0)), at(39));
    assert_eq!(
        step(&mut processes, 100, 39),
        [],
        "it is in the table still"
    );
    assert_eq!(processes.place(node(11)), Place::Out);
    processes.listed(node(11), None, at(40));
    let stop = Action::Stop { node: node(11) };
    assert_eq!(step(&mut processes, 100, 40), [stop]);
    assert_eq!(
        step(&mut processes, 100, 45),
        [stop],
        "again, as it may be lost"
    );
    processes.reported(node(11), Report::Stopped, at(46));
    let removed = Action::Tell(Notice::Removed(node(11)));
    assert_eq!(step(&mut processes, 100, 46), [removed]);
    assert!(processes.state().instances.is_empty());
}

#[test]
fn the_deadline_of_a_drain_ends_its_routes() {
    let mut processes = serving();
    assert_eq!(processes.take_away(node(11), at(20)), Ok(()));
    assert_eq!(processes.take_away(node(11), at(20)), Err(Refused::Absent));
    step(&mut processes, 700, 20);
    processes.listed(node(11), Some((0, 4)), at(79));
    assert_eq!(processes.place(node(11)), Place::Drained);
    processes.listed(node(11), Some((0, 4)), at(80));
    assert_eq!(processes.place(node(11)), Place::Out);
    let late = Action::Tell(Notice::DrainLate(node(11), 4));
    assert_eq!(step(&mut processes, 700, 80), [late]);
    processes.listed(node(11), None, at(81));
    step(&mut processes, 700, 81);
    let actions = step(&mut processes, 700, 96);
    assert!(actions.contains(&Action::Tell(Notice::StopLate(node(11)))));
    assert!(actions.contains(&Action::Stop { node: node(11) }));
    let actions = step(&mut processes, 700, 101);
    assert_eq!(
        actions,
        [Action::Stop { node: node(11) }],
        "the alarm comes once"
    );
}

#[test]
fn one_that_dies_is_started_again_later_each_time() {
    let mut processes = serving();
    processes.reported(node(11), Report::Failed, at(20));
    assert_eq!(processes.place(node(11)), Place::Out, "its routes go");
    assert_eq!(
        step(&mut processes, 700, 20),
        [Action::Tell(Notice::Died(node(11)))]
    );
    assert_eq!(step(&mut processes, 700, 21), [start(11, 2)]);
    processes.reported(node(11), Report::Ready, at(22));
    assert_eq!(processes.place(node(11)), Place::Serving);
    // Calm for a minute: it starts again with the short wait.
    processes.reported(node(11), Report::Stopped, at(90));
    assert!(step(&mut processes, 700, 90).contains(&Action::Tell(Notice::Died(node(11)))));
    assert_eq!(step(&mut processes, 700, 91), [start(11, 3)]);
    // Not calm: that is the second in a row, and it is given up.
    processes.reported(node(11), Report::Ready, at(92));
    processes.reported(node(11), Report::Stopped, at(93));
    let actions = step(&mut processes, 700, 93);
    assert!(actions.contains(&Action::Tell(Notice::NotStarted(node(11)))));
}

#[test]
fn one_that_does_not_start_is_tried_elsewhere() {
    let mut processes = started();
    processes.reported(node(11), Report::Failed, at(11));
    assert_eq!(step(&mut processes, 900, 11), []);
    assert_eq!(step(&mut processes, 900, 12), [start(11, 2)]);
    processes.reported(node(11), Report::Failed, at(13));
    let actions = step(&mut processes, 900, 13);
    let told = Action::Tell(Notice::NotStarted(node(11)));
    let stop = Action::Stop { node: node(11) };
    assert_eq!(
        actions,
        [stop, start(12, 3), told],
        "taken back, then elsewhere"
    );
    // Silence counts as well, and then the last one; nobody is left then.
    let actions = step(&mut processes, 900, 43);
    assert!(actions.contains(&Action::Tell(Notice::NotStarted(node(12)))));
    assert!(actions.contains(&Action::Stop { node: node(12) }));
    assert!(step(&mut processes, 900, 44).contains(&start(10, 4)));
    let actions = step(&mut processes, 900, 74);
    assert!(actions.contains(&Action::Tell(Notice::NotStarted(node(10)))));
    assert!(step(&mut processes, 900, 75).contains(&Action::Tell(Notice::NobodyLeft)));
    let again = step(&mut processes, 900, 76);
    assert!(
        !again.contains(&Action::Tell(Notice::NobodyLeft)),
        "said once"
    );
    // A node that was barred, and has stopped, may be chosen again after its time.
    processes.reported(node(11), Report::Stopped, at(80));
    let mut between = |seconds: std::ops::Range<u64>| -> Vec<Action> {
        let all = seconds.flat_map(|now| step(&mut processes, 900, now));
        all.filter(|action| matches!(action, Action::Start { .. }))
            .collect()
    };
    assert_eq!(between(80..113), [], "it is barred until 113 s");
    assert_eq!(between(113..115), [start(11, 5)]);
}

#[test]
fn a_process_that_goes_comes_back_when_it_is_needed() {
    let mut processes = serving();
    assert_eq!(processes.take_away(node(11), at(20)), Ok(()));
    for now in 20..31 {
        step(&mut processes, 900, now);
    }
    assert_eq!(processes.place(node(11)), Place::Serving, "without a start");
}

#[test]
fn the_administrator_starts_and_stops() {
    let mut processes = Processes::new(rules());
    assert_eq!(processes.start_on(node(12), at(0)), Ok(()));
    assert_eq!(processes.start_on(node(12), at(0)), Err(Refused::Present));
    assert_eq!(step(&mut processes, 100, 0), [start(12, 1)]);
    processes.reported(node(12), Report::Ready, at(1));
    for now in 1..100 {
        step(&mut processes, 100, now);
    }
    assert_eq!(
        processes.place(node(12)),
        Place::Serving,
        "it does not go by itself"
    );
    assert_eq!(processes.take_away(node(12), at(100)), Ok(()));
    assert_eq!(processes.place(node(12)), Place::Drained);
}

#[test]
fn the_others_bear_what_is_left() {
    let mut processes = serving();
    // All are idle, but two would be overloaded without the third.
    let heavy = [(node(1), Some(290)), (node(11), Some(290))];
    let low = Rules {
        high: 500,
        ..rules()
    };
    processes = Processes::resume(low, processes.state().clone());
    for now in 20..100 {
        processes.step(&heavy, &[], at(now));
    }
    assert_eq!(processes.place(node(11)), Place::Serving);
}

#[test]
fn nobody_knows_of_an_orphan_and_a_lost_file_breaks_nothing() {
    let mut processes = Processes::new(rules());
    processes.reported(node(10), Report::Ready, at(0));
    assert_eq!(
        step(&mut processes, 500, 0),
        [Action::Stop { node: node(10) }]
    );
    processes.adopt(node(11), 100, at(0));
    processes.adopt(node(12), 0, at(0));
    processes.reported(node(11), Report::Ready, at(1));
    assert_eq!(processes.place(node(11)), Place::Serving);
    assert_eq!(processes.place(node(12)), Place::Drained);
    assert!(step(&mut processes, 500, 1)
        .iter()
        .all(|action| !matches!(action, Action::Stop { .. })));
}

#[test]
fn another_life_goes_on_in_every_phase() {
    let mut waiting = serving();
    waiting.reported(node(11), Report::Failed, at(12));
    let mut draining = serving();
    draining.take_away(node(11), at(12)).expect("it serves");
    let mut leaving = draining.clone();
    leaving.listed(node(11), Some((0, 0)), at(12));
    let mut stopping = leaving.clone();
    stopping.listed(node(11), None, at(12));
    let phase = |processes: &Processes| processes.state().instances[&node(11)].phase;
    for (mut processes, expected) in [
        (started(), vec![start(11, 1)]),
        (serving(), vec![]),
        (waiting, vec![start(11, 2)]),
        (draining, vec![Action::EndDead { node: node(11) }]),
        (leaving, vec![]),
        (stopping, vec![Action::Stop { node: node(11) }]),
    ] {
        // The order is given and may be lost with the daemon: the next life gives it again at once.
        step(&mut processes, 500, 13);
        assert_eq!(step(&mut processes, 500, 14), []);
        let mut again = reborn(&processes);
        assert_eq!(again.place(node(11)), processes.place(node(11)));
        let actions = step(&mut again, 500, 14);
        assert_eq!(actions, expected, "{:?}", phase(&processes));
    }
    // And with a clock that began again the limits are as long as before, not longer.
    let mut again = reborn(&started());
    again.step(&[], &[], at(0));
    assert!(matches!(phase(&again), Phase::Starting { .. }));
    again.step(&[], &[], at(30));
    assert!(matches!(phase(&again), Phase::Stopping { .. }));
}
