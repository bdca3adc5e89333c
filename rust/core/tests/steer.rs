// SPDX-License-Identifier: GPL-2.0

//! Steering: from wherever the live routes are, new clients make them follow the weights.

use std::cell::Cell;

use fep_core::steer::{choose, Live, ALL, WINDOW};
use fep_core::wrr::{build, next, Slot};
use proptest::prelude::*;

/// The node that is given one client.
fn give(nodes: &mut [Live]) -> Option<usize> {
    let at = choose(nodes.iter().copied().enumerate(), |_| true)?;
    nodes[at].routes += 1;
    Some(at)
}

fn sums(nodes: &[Live]) -> (u64, u64) {
    nodes.iter().fold((0, 0), |(weights, routes), live| {
        (
            weights + u64::from(live.weight),
            routes + u64::from(live.routes),
        )
    })
}

/// Whether each node with a weight has its part of the routes, up to (1 + (n - 2) * s) / 2.
fn is_distributed(nodes: &[Live]) -> bool {
    let usable: Vec<Live> = nodes
        .iter()
        .copied()
        .filter(|live| live.weight > 0)
        .collect();
    let (weights, routes) = sums(&usable);
    let others = i64::try_from(usable.len()).unwrap() - 2;
    usable.iter().all(|live| {
        let [weight, mine, weights, routes] =
            [live.weight.into(), live.routes.into(), weights, routes].map(|n: u64| i128::from(n));
        // Both sides times 2 * weights.
        let off = (2 * (mine * weights - routes * weight)).abs();
        off <= weights + i128::from(others) * weight
    })
}

/// How many clients it takes at the most until each node has its part: as many as make the fullest node
/// not too full.
fn enough(nodes: &[Live]) -> u64 {
    let usable: Vec<Live> = nodes
        .iter()
        .copied()
        .filter(|live| live.weight > 0)
        .collect();
    let (weights, routes) = sums(&usable);
    let fullest = usable
        .iter()
        .map(|live| (u64::from(live.routes) + 1) * weights / u64::from(live.weight) + weights);
    fullest.max().unwrap_or(0).saturating_sub(routes)
}

#[test]
fn known_choices() {
    let live = |weight, routes| Live { weight, routes };
    for (nodes, chosen) in [
        (&[][..], None),
        (&[live(0, 0)], None),
        (&[live(1, 0)], Some(0)),
        (&[live(1, 1), live(1, 1)], Some(0)),
        (&[live(1, 2), live(1, 1)], Some(1)),
        (&[live(2, 2), live(1, 1)], Some(0)),
        (&[live(3, 2), live(1, 0)], Some(1)),
        (&[live(0, 0), live(1, 1_000_000)], Some(1)),
        (
            &[live(65_535, u32::MAX), live(65_535, u32::MAX - 1)],
            Some(1),
        ),
    ] {
        let found = choose(nodes.iter().copied().enumerate(), |_| true);
        assert_eq!(found, chosen, "{nodes:?}");
    }
}

#[test]
fn a_ratio_that_changed_is_reached_and_kept() {
    // A has been overloaded: its ratio falls from 1 : 1 to 1 : 3, and its connections stay (F8).
    let mut nodes = [(1, 500), (3, 500)].map(|(weight, routes)| Live { weight, routes });
    let given: Vec<usize> = (0..1000).map(|_| give(&mut nodes).unwrap()).collect();
    assert!(
        given.iter().all(|&at| at == 1),
        "until it is reached, B gets all"
    );
    for _ in 0..400 {
        give(&mut nodes);
        assert!(is_distributed(&nodes), "{nodes:?}");
    }
    assert_eq!(nodes.map(|live| live.routes), [600, 1800]);
}

/// What one of many nodes is given is bounded work: at most so many are looked at.
#[test]
fn cost_of_a_choice_is_bounded() {
    let looked = Cell::new(0);
    let nodes = (0..ALL).map(|at| {
        looked.set(looked.get() + 1);
        (
            at,
            Live {
                weight: 1,
                routes: 3,
            },
        )
    });
    assert_eq!(choose(nodes, |_| true), Some(0));
    assert_eq!(looked.get(), ALL);
}

#[test]
fn many_nodes_converge_through_the_window() {
    // 200 nodes of four weights; some have far too many routes, some none.
    let mut nodes: Vec<Live> = (0..200u32)
        .map(|at| Live {
            weight: 1 + at % 4,
            routes: (at % 5) * 100,
        })
        .collect();
    let mut slots: Vec<Slot> = (0..)
        .zip(&nodes)
        .map(|(index, live)| Slot {
            weight: live.weight,
            done: 0,
            index,
        })
        .collect();
    build(&mut slots);
    let worst = |nodes: &[Live]| {
        let (weights, routes) = sums(nodes);
        let off = nodes.iter().map(|live| {
            let part = f64::from(live.weight) / weights as f64 * routes as f64;
            (f64::from(live.routes) - part).abs() / part
        });
        off.fold(0.0, f64::max)
    };
    assert!(worst(&nodes) > 0.9);
    for _ in 0..enough(&nodes) + 20_000 {
        let window = (0..WINDOW).map(|_| usize::try_from(next(&mut slots).unwrap()).unwrap());
        let window: Vec<(usize, Live)> = window.map(|at| (at, nodes[at])).collect();
        let at = choose(window, |_| true).unwrap();
        nodes[at].routes += 1;
    }
    assert!(worst(&nodes) < 0.02, "{}", worst(&nodes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn live_routes_converge_on_the_weights(
        start in prop::collection::vec((0u32..20, 0u32..60), 1..9),
        churn in prop::collection::vec((0usize..9, any::<bool>()), 0..200),
    ) {
        let mut nodes: Vec<Live> = start.iter()
            .map(|&(weight, routes)| Live { weight, routes })
            .collect();
        // Connections come and end in any order first.
        for (at, comes) in churn {
            if comes {
                give(&mut nodes);
            } else {
                let at = at % nodes.len();
                nodes[at].routes = nodes[at].routes.saturating_sub(7);
            }
        }
        let idle: Vec<Live> = nodes.iter().copied().filter(|live| live.weight == 0).collect();
        for _ in 0..enough(&nodes) {
            let before = nodes.clone();
            match give(&mut nodes) {
                Some(at) => prop_assert!(before[at].weight > 0),
                None => prop_assert!(nodes.iter().all(|live| live.weight == 0)),
            }
        }
        prop_assert!(is_distributed(&nodes), "{nodes:?}");
        // And stays so.
        for _ in 0..50 {
            give(&mut nodes);
            prop_assert!(is_distributed(&nodes), "{nodes:?}");
        }
        let after: Vec<Live> = nodes.iter().copied().filter(|live| live.weight == 0).collect();
        prop_assert_eq!(idle, after, "a node of weight 0 was given a client");
    }

    #[test]
    fn who_is_not_acceptable_is_given_nothing(
        nodes in prop::collection::vec((0u32..5, 0u32..9), 0..9),
        refused in prop::collection::vec(any::<bool>(), 9),
    ) {
        let nodes = nodes.iter().map(|&(weight, routes)| Live { weight, routes }).enumerate();
        let chosen = choose(nodes.clone(), |&at| !refused[at]);
        let acceptable = nodes.filter(|&(at, live)| live.weight > 0 && !refused[at]).count();
        prop_assert_eq!(chosen.is_some(), acceptable > 0);
        prop_assert!(chosen.is_none_or(|at| !refused[at]));
    }
}
