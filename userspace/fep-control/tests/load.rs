// SPDX-License-Identifier: GPL-2.0

//! Ratios by load: they come to rest under constant demand, in a whole service too, and expire.

#[path = "simulation/random.rs"]
mod random;

use std::time::Duration;

use fep_control::load::{Load, Rules};
use random::Random;

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Nodes of different sizes share a constant demand by their weights, and report at different times.
/// Whatever the demand is, no ratio moves any more after a while.
#[test]
fn the_ratios_of_a_service_come_to_rest() {
    let mut latest = 0;
    for seed in 0..5_000 {
        let mut random = Random(seed);
        let nodes = 1 + random.below(8) as usize;
        let capacity: Vec<u64> = (0..nodes).map(|_| 20 + random.below(200)).collect();
        let demand = capacity.iter().sum::<u64>() * random.below(2_000);
        let mut loads: Vec<Load> = (0..nodes).map(|_| Load::new(Rules::default())).collect();
        let mut last = 0;
        for round in 1..=600 {
            for node in 0..nodes {
                if random.one_in(4) {
                    continue;
                }
                let weights = loads
                    .iter()
                    .map(|load| u64::from(load.ratio()).div_ceil(10));
                let share = demand * u64::from(loads[node].ratio()).div_ceil(10);
                let load = share / weights.sum::<u64>() / capacity[node];
                let before = loads[node].ratio();
                if loads[node].reported(u32::try_from(load).expect("small")) {
                    last = round;
                    let step = loads[node].ratio().abs_diff(before);
                    assert!(step <= Rules::default().step, "a step of {step}");
                }
                loads[node].check_invariants();
            }
        }
        let ratios: Vec<u32> = loads.iter().map(Load::ratio).collect();
        assert!(
            last < 400,
            "seed {seed}: round {last} still moves {ratios:?}, demand {demand}, capacity {capacity:?}"
        );
        latest = latest.max(last);
    }
    println!("the last change was made after {latest} reports");
}

#[test]
fn reports_expire_and_the_ratio_goes_back_in_steps() {
    let mut load = Load::new(Rules::default());
    for second in 0..20 {
        load.reported_at(2000, at(second));
    }
    let lowered = load.ratio();
    assert!(lowered <= 400, "{lowered}");
    assert!(!load.silent(at(10), at(29)) && load.last() == Some(2000));
    assert!(load.silent(at(10), at(30)));
    assert_eq!((load.ratio(), load.last()), (lowered + 200, None));
    assert!(!load.silent(at(10), at(40)), "one step every ten seconds");
    for second in 40..200 {
        load.silent(at(10), at(second));
    }
    assert_eq!(load.ratio(), 1000);
}

#[test]
fn another_life_goes_on_with_the_ratio() {
    let load = Load::resume(Rules::default(), 350);
    assert_eq!(load.ratio(), 350);
    assert_eq!(
        Load::resume(Rules::default(), 0).ratio(),
        50,
        "never below the floor"
    );
    assert_eq!(Load::resume(Rules::default(), 5000).ratio(), 1000);
}
