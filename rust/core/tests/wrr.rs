// SPDX-License-Identifier: GPL-2.0

//! The scheduler: exact shares, smoothness, known sequences, a plain reference.

use fep_core::wrr::{build, carry, next, next_where, Slot};
use proptest::prelude::*;

/// Slots with these weights, indices from 0, ready to pick from.
fn slots(weights: &[u32]) -> Vec<Slot> {
    let mut slots: Vec<Slot> = (0..)
        .zip(weights)
        .map(|(index, &weight)| Slot {
            weight,
            done: 0,
            index,
        })
        .collect();
    build(&mut slots);
    slots
}

/// The next `count` picks, as letters.
fn letters(weights: &[u32], count: usize) -> String {
    let mut slots = slots(weights);
    (0..count)
        .map(|_| char::from(b'a' + u8::try_from(next(&mut slots).unwrap()).unwrap()))
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        gcd(b, a % b)
    }
}

fn sum(weights: &[u32]) -> u64 {
    weights.iter().map(|&weight| u64::from(weight)).sum()
}

/// Picks `parts` of the smallest exact parts of a cycle, each of which gives every node its share.
fn check_exact(weights: &[u32], parts: u64) {
    let common = weights
        .iter()
        .fold(0, |common, &weight| gcd(common, weight.into()));
    let mut slots = slots(weights);
    let mut picks = vec![0u64; weights.len()];
    for part in 1..=parts {
        for _ in 0..sum(weights) / common {
            picks[usize::try_from(next(&mut slots).unwrap()).unwrap()] += 1;
        }
        for (&picks, &weight) in picks.iter().zip(weights) {
            assert_eq!(picks, part * u64::from(weight) / common, "{weights:?}");
        }
    }
}

#[test]
fn known_sequences() {
    for (weights, sequence) in [
        // F2: 8080 is A:1 B:1, 8081 is C:2 D:1, 8082 is E:1 F:1.
        (&[1, 1][..], "ababab"),
        (&[2, 1], "abaaba"),
        (&[1], "aaa"),
        (&[7], "aaaaaaaaaa"),
        (&[1, 1, 1], "abcabc"),
        (&[5, 1, 1], "aaabcaaaaabcaa"),
        (&[1, 1, 5], "ccabcccccabccc"),
        (&[4, 2], "abaabaaba"),
        (&[3, 2], "ababaababa"),
        (&[1, 3], "babbbabb"),
        (&[10, 20, 10], "bacbbacbb"),
    ] {
        assert_eq!(letters(weights, sequence.len()), sequence, "{weights:?}");
    }
}

#[test]
fn nothing_to_pick() {
    assert_eq!(next(&mut []), None);
    assert_eq!(next(&mut slots(&[0])), None);
    assert_eq!(next(&mut slots(&[0, 0, 0])), None);
    let mut empty: [Slot; 0] = [];
    build(&mut empty);
    carry(&[], &mut empty);
    carry(&slots(&[1, 2]), &mut empty);
}

#[test]
fn weight_zero_is_never_picked() {
    assert_eq!(letters(&[0, 2, 0, 1], 9), "bdbbdbbdb");
    let mut slots = slots(&[0, 3, 0]);
    for _ in 0..10 {
        assert_eq!(next(&mut slots), Some(1));
    }
}

#[test]
fn slots_that_are_not_acceptable_are_passed_over() {
    // However heavy the one that is refused.
    let mut heavy = slots(&[1000, 1, 1]);
    assert_eq!(next_where(&mut heavy, |index| index != 0), Some(1));
    assert_eq!(next_where(&mut heavy, |index| index != 0), Some(2));
    let before = heavy.clone();
    assert_eq!(next_where(&mut heavy, |_| false), None);
    assert_eq!(heavy, before);
    assert_eq!(next_where(&mut slots(&[3, 0]), |index| index != 0), None);

    // What was passed over is made up for: ten picks that refuse the first two, then any.
    let mut even = slots(&[10, 10, 10, 10]);
    let mut picks = [0; 4];
    for t in 0..80 {
        let index = next_where(&mut even, |index| t >= 10 || index > 1).unwrap();
        picks[index as usize] += 1;
    }
    assert_eq!(picks, [20; 4]);
}

#[test]
fn fields_that_do_not_fit_do_no_harm() {
    let mut slots = [
        Slot {
            weight: u32::MAX,
            done: u32::MAX,
            index: 0,
        },
        Slot {
            weight: 1,
            done: u32::MAX,
            index: 1,
        },
        Slot {
            weight: 0,
            done: u32::MAX,
            index: 1,
        },
        Slot {
            weight: u32::MAX,
            done: 0,
            index: 3,
        },
    ];
    build(&mut slots);
    for _ in 0..1000 {
        assert!(matches!(next(&mut slots), Some(0 | 1 | 3)));
    }
    let old = slots;
    carry(&old, &mut slots);
    assert!(slots.iter().all(|slot| slot.done <= slot.weight));
}

#[test]
fn exact_with_4096_nodes() {
    let weights: Vec<u32> = (0..4096u32)
        .map(|i| i.wrapping_mul(2_654_435_761) >> 25)
        .map(|w| w + 1)
        .collect();
    check_exact(&weights, 2);
    check_exact(&vec![65_535; 4096], 3);
}

#[test]
fn exact_with_the_largest_weights() {
    check_exact(&[65_535, 65_534, 1], 2);
    check_exact(&[65_535; 64], 2);
    check_exact(&[1, 65_535], 3);
}

/// The scheduler as its definition says it: of all picks that nobody has had yet, the earliest due,
/// over a clock that never starts again.
struct Plain {
    weights: Vec<u32>,
    picks: Vec<u64>,
}

impl Plain {
    fn next(&mut self) -> u32 {
        self.next_where(|_| true).unwrap()
    }

    fn next_where(&mut self, acceptable: impl Fn(u32) -> bool) -> Option<u32> {
        let due = |i: usize| {
            (
                2 * u128::from(self.picks[i]) + 1,
                u128::from(self.weights[i]),
            )
        };
        let mut best: Option<usize> = None;
        for i in 0..self.weights.len() {
            let (number, weight) = due(i);
            let earlier = best.is_none_or(|best| {
                let (best_number, best_weight) = due(best);
                number * best_weight < best_number * weight
            });
            if weight > 0 && earlier && acceptable(u32::try_from(i).unwrap()) {
                best = Some(i);
            }
        }
        let best = best?;
        self.picks[best] += 1;
        u32::try_from(best).ok()
    }
}

/// How far from its share a node may be after any number of picks, doubled and times the sum of the
/// weights: W + (n - 2) * w. See the proof in `wrr`'s header.
fn bound(weights: &[u32], weight: u32) -> i128 {
    i128::from(sum(weights)) + (weights.len() as i128 - 2) * i128::from(weight)
}

fn weights(most: usize, heaviest: u32) -> impl Strategy<Value = Vec<u32>> {
    let weight = prop_oneof![1..=8u32, 1..=100u32, 1..=heaviest, Just(heaviest)];
    prop::collection::vec(weight, 1..=most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exact_over_each_cycle(weights in weights(64, 65_535)) {
        check_exact(&weights, 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exact_over_each_short_cycle(weights in weights(64, 60)) {
        check_exact(&weights, 3);
    }

    #[test]
    fn equals_the_plain_scheduler(
        weights in prop::collection::vec(prop_oneof![0..=6u32, 0..=65_535u32], 1..24), count in 0..3000usize,
    ) {
        prop_assume!(sum(&weights) > 0);
        let mut slots = slots(&weights);
        let mut plain = Plain { picks: vec![0; weights.len()], weights };
        for _ in 0..count {
            prop_assert_eq!(next(&mut slots), Some(plain.next()));
        }
    }

    /// With a different slot refused each time, the pick is the earliest due of the others.
    #[test]
    fn equals_the_plain_scheduler_with_refusals(
        weights in prop::collection::vec(1..=9u32, 2..12), refused in prop::collection::vec(0..12u32, 500),
    ) {
        let mut slots = slots(&weights);
        let mut plain = Plain { picks: vec![0; weights.len()], weights };
        for refused in refused {
            let expected = plain.next_where(|index| index != refused);
            prop_assert_eq!(next_where(&mut slots, |index| index != refused), expected);
        }
    }

    #[test]
    fn smooth(weights in weights(32, 65_535)) {
        let total = i128::from(sum(&weights));
        let mut slots = slots(&weights);
        let mut picks = vec![0i128; weights.len()];
        for t in 1..=2000 {
            picks[next(&mut slots).unwrap() as usize] += 1;
            for (&picks, &weight) in picks.iter().zip(&weights) {
                let away = 2 * (picks * total - t * i128::from(weight));
                prop_assert!(away.abs() <= bound(&weights, weight), "{weights:?} after {t}");
            }
        }
    }

    #[test]
    fn order_of_the_slots_does_not_matter(weights in weights(40, 100), turn in 0..40usize) {
        let mut straight = slots(&weights);
        let mut turned: Vec<Slot> = straight.iter().rev().copied().collect();
        let turn = turn % turned.len();
        turned.rotate_left(turn);
        build(&mut turned);
        for _ in 0..500 {
            prop_assert_eq!(next(&mut straight), next(&mut turned));
        }
    }
}
