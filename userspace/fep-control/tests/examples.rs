// SPDX-License-Identifier: GPL-2.0

//! Examples of each decision, and that a ratio comes to rest.

use std::time::Duration;

use fep_client::NodeAddr;
use fep_control::health::{Cause, Health, Thresholds};
use fep_control::load::{Load, Rules as LoadRules};
use fep_control::maintenance::{Action, Maintenance, State};
use fep_control::pool::{AllDown, Pool, Rules, Verdict};

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn failed(pool: &mut Pool, node: &str, now: Duration) {
    let addr: NodeAddr = serde_json::from_value(node.into()).expect("an address");
    let mut health = Health::new(Thresholds::default(), true, at(0), 0);
    assert!(health.missed(3, now));
    pool.nodes.insert(addr, health);
}

#[test]
fn a_node_falls_rises_and_is_damped() {
    let mut health = Health::new(Thresholds::default(), true, at(0), 0);
    assert!(!health.checked(false, at(1)) && !health.checked(false, at(2)));
    assert!(
        !health.checked(true, at(3)),
        "a good check starts the count again"
    );
    assert!(!health.checked(false, at(4)) && !health.checked(false, at(5)));
    assert!(health.checked(false, at(6)));
    assert!(!health.checked(true, at(7)) && health.checked(true, at(8)));
    assert!(!health.missed(2, at(9)) && health.missed(1, at(9)));
    assert_eq!(health.cause(), Cause::Clients);
    assert_eq!(health.hold(), at(2));
    assert!(!health.checked(true, at(10)) && !health.checked(true, Duration::from_millis(10_900)));
    assert!(health.checked(true, at(11)), "the hold of 2 s is over");
    assert!(health.missed(3, at(100)));
    assert_eq!(health.hold(), at(1), "it was calm for a minute");
}

#[test]
fn a_bounded_share_is_ejected() {
    for (all_down, second) in [
        (AllDown::Keep, Verdict::Kept),
        (AllDown::Refuse, Verdict::Ejected),
    ] {
        let mut pool = Pool::new(Rules {
            all_down,
            ..Rules::default()
        });
        failed(&mut pool, "10.1.0.2:80", at(2));
        failed(&mut pool, "10.1.0.3:80", at(1));
        let verdicts: Vec<Verdict> = pool.verdicts(at(3)).into_values().collect();
        assert_eq!(verdicts, [second, Verdict::Ejected]);
    }
}

#[test]
fn a_node_that_came_back_begins_slowly() {
    let mut pool = Pool::new(Rules::default());
    let addr: NodeAddr = serde_json::from_value("10.1.0.2:80".into()).expect("an address");
    let mut health = Health::new(Thresholds::default(), true, at(0), 0);
    pool.nodes.insert(addr, health.clone());
    assert_eq!(
        pool.verdicts(at(0))[&addr],
        Verdict::Serve(100),
        "a new node"
    );
    assert!(health.missed(3, at(1)));
    assert!(!health.checked(true, at(4)) && health.checked(true, at(5)));
    pool.nodes.insert(addr, health);
    let shares: Vec<Verdict> = (5..17).map(|now| pool.verdicts(at(now))[&addr]).collect();
    let expected = [10, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 100].map(Verdict::Serve);
    assert_eq!(shares, expected);
}

#[test]
fn a_ratio_comes_to_rest_under_constant_demand() {
    for demand in 0..20_000 {
        let mut load = Load::new(LoadRules::default());
        let mut last = 0;
        for report in 1..=200 {
            if load.reported(demand * load.ratio() / 1000) {
                last = report;
            }
            load.check_invariants();
        }
        assert!(last < 100, "a demand of {demand} still moves the ratio");
    }
}

#[test]
fn maintenance_ends() {
    let mut drained = Maintenance::new(at(0), at(10), at(5));
    assert_eq!(drained.routes(2, at(1)), Action::EndDead);
    assert_eq!(drained.routes(1, at(2)), Action::Wait);
    assert_eq!(drained.routes(0, at(3)), Action::Wait);
    assert_eq!(drained.state(), State::Done);
    let mut late = Maintenance::new(at(0), at(10), at(5));
    late.routes(2, at(10));
    assert_eq!(late.state(), State::Late(2));
    late.routes(0, at(11));
    assert_eq!(late.state(), State::Done);
}
