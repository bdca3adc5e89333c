// SPDX-License-Identifier: GPL-2.0

//! The scheduler across changes of the configuration: no bursts, no pauses, exact afterwards.

use std::collections::BTreeMap;

use fep_core::wrr::{build, carry, next, Slot};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn carry_of_the_same_weights_changes_nothing(weights in prop::collection::btree_map(0..60u32, 1..=300u32, 1..40), count in 0..5000usize) {
        let mut old = from_map(&weights);
        for _ in 0..count {
            next(&mut old);
        }
        let mut new = from_map(&weights);
        carry(&old, &mut new);
        for _ in 0..1000 {
            prop_assert_eq!(next(&mut old), next(&mut new));
        }
    }

    /// After any change each node's picks follow its new share from then on: what it is ahead or
    /// behind at the change is less than a few picks, whatever the weights.
    #[test]
    fn carry_makes_no_bursts(
        old_weights in prop::collection::btree_map(0..40u32, 1..=200u32, 1..24),
        new_weights in prop::collection::btree_map(0..40u32, prop_oneof![1..=200u32, 1..=65_535u32], 1..24),
        count in 0..5000u32,
    ) {
        check_carry(&old_weights, &new_weights, count);
    }
}

fn from_map(weights: &BTreeMap<u32, u32>) -> Vec<Slot> {
    let slot = |(&index, &weight)| Slot {
        weight,
        done: 0,
        index,
    };
    let mut slots: Vec<Slot> = weights.iter().map(slot).collect();
    build(&mut slots);
    slots
}

fn check_carry(old_weights: &BTreeMap<u32, u32>, new_weights: &BTreeMap<u32, u32>, count: u32) {
    let mut old = from_map(old_weights);
    for _ in 0..count {
        next(&mut old);
    }
    let old_total: f64 = old_weights.values().copied().map(f64::from).sum();
    let picks: f64 = old.iter().map(|slot| f64::from(slot.done)).sum();
    let clock = picks / old_total;

    let mut new = from_map(new_weights);
    carry(&old, &mut new);

    // A newcomer is at most half a pick off; who was there is off by what it was and half a pick.
    let mut most = 0.5f64;
    for slot in &new {
        let ahead = f64::from(slot.done) - f64::from(slot.weight) * clock;
        let before = old.iter().find(|old| old.index == slot.index);
        let inherited = before.map_or(0.0, |old| {
            f64::from(old.done) - f64::from(old.weight) * clock
        });
        assert!(slot.done <= slot.weight);
        assert!((ahead - inherited).abs() < 0.5 + 1e-6 || ahead.abs() < inherited.abs());
        most = most.max(ahead.abs());
    }

    // With e(i) in [-most, most] at the change and ever after, as for `bound`, the picks since the
    // change are within 2 * most * (1 + (n - 2) * s) of t * s.
    let total: f64 = new_weights.values().copied().map(f64::from).sum();
    let nodes = new_weights.len() as f64;
    let mut since: BTreeMap<u32, f64> = BTreeMap::new();
    for t in 1..=1000 {
        *since.entry(next(&mut new).unwrap()).or_default() += 1.0;
        for (index, &weight) in new_weights {
            let share = f64::from(weight) / total;
            let away = since.get(index).unwrap_or(&0.0) - f64::from(t) * share;
            let bound = 2.0 * most * (1.0 + (nodes - 2.0).max(0.0) * share) + 1e-6;
            assert!(
                away.abs() <= bound,
                "node {index}: {away} > {bound} after {t}"
            );
        }
    }

    // And from the end of the cycle on, cycles are exact again.
    let total = new_weights.values().sum::<u32>();
    if total < 100_000 {
        let spent: u32 = new.iter().map(|slot| slot.done).sum();
        for _ in spent..total {
            next(&mut new);
        }
        assert!(new.iter().all(|slot| slot.done == slot.weight));
    }
}

#[test]
fn finer_weights_are_no_burst() {
    // Ten equal nodes, four of which have had a client in this cycle; then all weights times 100.
    // Progress in proportion would leave those four without clients for the next 600.
    let coarse: BTreeMap<u32, u32> = (0..10).map(|index| (index, 1)).collect();
    let fine = (0..10).map(|index| (index, 100)).collect();
    let mut old = from_map(&coarse);
    (0..4).for_each(|_| _ = next(&mut old));
    let mut new = from_map(&fine);
    carry(&old, &mut new);
    let mut picks = [0; 10];
    for _ in 0..100 {
        picks[next(&mut new).unwrap() as usize] += 1;
    }
    assert!(
        picks.iter().all(|picks| (9..=11).contains(picks)),
        "{picks:?}"
    );
}

#[test]
fn newcomer_is_neither_flooded_nor_starved() {
    for (count, weight) in [(0, 1), (50, 10), (99, 10), (50, 1), (100, 100)] {
        let two: BTreeMap<u32, u32> = [(0, 50), (1, 50)].into();
        let three = [(0, 50), (1, 50), (2, weight)].into();
        check_carry(&two, &three, count);
    }
}
