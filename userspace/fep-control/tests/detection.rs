// SPDX-License-Identifier: GPL-2.0

//! How long a dead node gets new clients, with the defaults, in simulated time.

use std::time::Duration;

use fep_control::health::{Health, Thresholds};
use fep_control::passive::{Counters, Evidence};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The time between two looks at the filter's counters.
const LOOK: u64 = 200;

/// Runs a node that dies at 5 s plus `phase`, and returns how long it took to fail it.
///
/// A check ends after `takes`. Clients come every `clients`, none if zero, and notice after `notice`.
fn detection(phase: u64, takes: u64, clients: u64, notice: u64, reset: bool) -> u64 {
    let dies = 5_000 + phase;
    let mut health = Health::new(Thresholds::default(), true, ms(0), phase);
    let mut evidence = Evidence::default();
    let mut running: Vec<(u64, bool)> = Vec::new();
    let mut counters = Counters::default();
    for now in 0..20_000 {
        if ms(now) >= health.next_check() {
            health.check_begins(ms(now), now.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7);
            let good = now < dies;
            running.push((now + if good { 1 } else { takes }, good));
        }
        let (ended, on): (Vec<_>, Vec<_>) = running.drain(..).partition(|(end, _)| *end <= now);
        running = on;
        let mut failed = false;
        for (_, good) in ended {
            failed |= health.checked(good, ms(now));
        }
        if clients > 0 && now % clients == 0 && now >= dies + notice {
            if reset {
                counters.reset += 1;
            } else {
                counters.repeated += 1;
            }
        }
        if now % LOOK == 0 {
            failed |= health.missed(evidence.counted(counters), ms(now));
        }
        if failed {
            return now - dies;
        }
    }
    panic!("a node that died at {dies} ms is not failed");
}

fn worst(takes: u64, clients: u64, notice: u64, reset: bool) -> u64 {
    let all = (0..1_200).map(|phase| detection(phase, takes, clients, notice, reset));
    all.max().expect("there are phases")
}

#[test]
fn a_dead_node_is_failed_in_time() {
    let silent = worst(500, 0, 0, false);
    let refused = worst(1, 0, 0, false);
    let resets = worst(500, 100, 0, true);
    let repeats = worst(500, 100, 1_000, false);
    println!("checks that time out after 500 ms: {silent} ms at most");
    println!("checks that are refused at once: {refused} ms at most");
    println!("resets to ten clients a second: {resets} ms at most");
    println!("no answer to ten clients a second, who repeat after 1 s: {repeats} ms at most");
    assert!(silent <= 3_000 && refused <= 1_500);
    assert!(resets <= 1_000);
    assert!(
        repeats <= 2_000,
        "one second after the first client repeats"
    );
}

#[test]
fn a_node_that_answers_its_checks_is_not_failed_by_forged_clients_in_small_numbers() {
    // One client a second that never answers the node: a good check comes between any three.
    let mut health = Health::new(Thresholds::default(), true, ms(0), 0);
    let mut checks = 0;
    for now in 0..60_000 {
        if ms(now) >= health.next_check() {
            health.check_begins(ms(now), now);
            checks += 1;
            assert!(!health.checked(true, ms(now)));
        }
        if now % 1_000 == 0 {
            assert!(!health.missed(1, ms(now)), "at {now} ms");
        }
    }
    assert!(checks < 60 * 5, "{checks} checks in a minute");
}

#[test]
fn a_flapping_node_is_kept_away_ever_longer() {
    let rules = Thresholds::default();
    let mut health = Health::new(rules, true, ms(0), 0);
    let mut changes = 0;
    // It answers for one and a half seconds, and does not for one and a half.
    for tick in 0..36_000 {
        let now = ms(tick * 100);
        if now >= health.next_check() {
            health.check_begins(now, tick);
            changes += u32::from(health.checked(tick % 30 < 15, now));
        }
        health.check_invariants();
    }
    println!("a node that flaps 1200 times in an hour changes {changes} times");
    assert!(changes > 4 && changes < 200, "{changes} changes in an hour");
    assert_eq!(health.hold(), rules.hold_max);
}

#[test]
fn health_survives_the_daemon() {
    let rules = Thresholds::default();
    let mut health = Health::new(rules, true, ms(0), 0);
    assert_eq!(health.saved(), None, "the filter's mark says it all");
    assert!(health.missed(3, ms(1_000)));
    let saved = health.saved().expect("it is down");
    let text = serde_json::to_string(&saved).expect("it can be written");
    let saved = serde_json::from_str(&text).expect("it can be read");
    let mut again = Health::resume(rules, saved, ms(1_500), 0);
    assert_eq!(again.state(), health.state());
    assert!(!again.checked(true, ms(1_600)) && !again.checked(true, ms(1_900)));
    assert!(again.checked(true, ms(2_000)), "the hold goes on");
    // The clock began again: it is not held until the clock is where it was.
    let mut rebooted = Health::resume(rules, saved, ms(10), 0);
    assert!(!rebooted.checked(true, ms(500)));
    assert!(rebooted.checked(true, ms(1_010)));
}
