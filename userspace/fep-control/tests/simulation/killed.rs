// SPDX-License-Identifier: GPL-2.0

//! The daemon is killed at every step of every sequence.

use crate::daemon::Kill;
use crate::{Named, Run, CALM, FAULTS, SECOND};

/// Load comes and goes, so that processes are added and taken away, and a node is taken out. In each run
/// the daemon is killed once, at another step of another interval.
#[test]
fn a_daemon_killed_at_any_step_goes_on() {
    let spare = |seed: &u64| !Run::new(*seed).scenario.candidates.is_empty();
    let seeds: Vec<u64> = (0..).filter(spare).take(2).collect();
    for seed in seeds {
        for at in 1..FAULTS {
            for kill in Kill::ALL {
                let _named = Named(seed);
                let mut run = Run::new(seed);
                for tick in 1..=FAULTS + CALM {
                    for demand in run.world.demand.values_mut() {
                        let busy = (5 * SECOND..20 * SECOND).contains(&tick);
                        *demand = run.scenario.capacity * if busy { 110 } else { 2 } / 100;
                    }
                    let lives = run.daemon.plane.is_some();
                    if tick >= 15 * SECOND && run.maintained.is_empty() && lives {
                        run.maintain(tick);
                    }
                    run.tick(tick, false, (tick == at).then_some(kill));
                }
                run.at_rest();
                assert!(
                    run.world.spawned > 0,
                    "{kill:?} at {at}: nothing was started"
                );
                let plane = run.daemon.plane.as_ref().expect("it lives");
                for &(key, node) in &run.scenario.candidates {
                    let processes = plane.processes(key).expect("it has some");
                    assert!(
                        processes.state().instances.is_empty(),
                        "{kill:?} at {at}: {node} is not taken away"
                    );
                }
                assert!(
                    run.checks.seen.drained > 0,
                    "{kill:?} at {at}: nothing was drained"
                );
            }
        }
    }
}
