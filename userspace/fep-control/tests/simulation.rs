// SPDX-License-Identifier: GPL-2.0

//! Seeded simulation of the decisions together, against a model of the filter and of nodes that
//! die, return, answer late and are overloaded, with restarts of the daemon at any step.
//!
//! A debug build runs 300 seeds, a release build 10,000. One seed alone is run again with
//!
//! ```text
//! FEP_SEED=<seed> cargo test -p fep-control --test simulation
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use fep_client::change::Change;
use fep_client::diff::diff;
use fep_client::{Config, NodeAddr, ServiceKey};
use fep_control::health::{Health, Thresholds};
use fep_control::load::{self, Load};
use fep_control::maintenance::{self, Maintenance};
use fep_control::pool::{AllDown, Pool, Rules, Verdict};
use fep_control::reconcile::{wanted, Decision, Decisions};

const STEPS: u64 = 600;
const STEP: Duration = Duration::from_millis(100);

/// A small generator of random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.next() % many == 0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Names the seed of a run that panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with FEP_SEED={}", self.0);
        }
    }
}

/// A node as it really is.
#[derive(Clone, Default)]
struct Node {
    dead_since: Option<Duration>,
    demand: u32,
    routes: u64,
}

fn configuration(nodes: u64) -> Config {
    let backends: Vec<String> = (1..=nodes)
        .map(|n| format!(r#"{{"addr":"10.1.0.{n}:80","weight":100,"failed":false}}"#))
        .collect();
    let text = format!(
        r#"{{"services":[{{"key":"tcp/10.0.0.100:80","backends":[{}]}}]}}"#,
        backends.join(",")
    );
    serde_json::from_str(&text).expect("the configuration is well formed")
}

fn nodes_of(config: &Config) -> Vec<NodeAddr> {
    let services = config.services.as_ref().expect("there are services");
    services[0]
        .backends
        .iter()
        .map(|backend| backend.addr)
        .collect()
}

/// The daemon: what is lost with SIGKILL, and read back from the filter.
struct Daemon {
    pool: Pool,
    loads: BTreeMap<NodeAddr, Load>,
}

impl Daemon {
    fn start(rules: Rules, kernel: &Config, now: Duration, random: &mut Random) -> Self {
        let mut pool = Pool::new(rules);
        let mut loads = BTreeMap::new();
        for backend in &kernel.services.as_ref().expect("there are services")[0].backends {
            let up = backend.failed != Some(true);
            let health = Health::new(Thresholds::default(), up, now, random.next());
            pool.nodes.insert(backend.addr, health);
            loads.insert(backend.addr, Load::new(load::Rules::default()));
        }
        Self { pool, loads }
    }

    fn decisions(&self, key: ServiceKey, drained: Option<NodeAddr>, now: Duration) -> Decisions {
        let verdicts = self.pool.verdicts(now).into_iter();
        verdicts
            .map(|(node, verdict)| {
                let decision = Decision {
                    verdict,
                    ratio: self.loads[&node].ratio(),
                    drained: drained == Some(node),
                };
                ((key, node), decision)
            })
            .collect()
    }
}

fn run(seed: u64) {
    let _named = Named(seed);
    let mut random = Random(seed);
    let desired = configuration(2 + random.below(7));
    let key = desired.services.as_ref().expect("there are services")[0].key;
    let rules = Rules {
        max_ejected_percent: [34, 50, 100][random.below(3) as usize],
        all_down: if random.one_in(2) {
            AllDown::Keep
        } else {
            AllDown::Refuse
        },
        ..Rules::default()
    };
    let mut kernel = desired.clone();
    let mut real: BTreeMap<NodeAddr, Node> = nodes_of(&desired)
        .into_iter()
        .map(|node| (node, Node::default()))
        .collect();
    let mut daemon = Daemon::start(rules, &kernel, Duration::ZERO, &mut random);
    let mut last_restart = Duration::ZERO;
    let mut upkeep: Option<(NodeAddr, Maintenance)> = None;

    for step in 1..=STEPS {
        let now = STEP * u32::try_from(step).expect("few steps");
        // The world goes on. For the last third no new fault comes.
        let faults = step < STEPS * 2 / 3;
        for node in real.values_mut() {
            if faults && random.one_in(150) {
                node.dead_since = match node.dead_since {
                    None => Some(now),
                    Some(_) => None,
                };
            }
            if random.one_in(100) {
                node.demand = u32::try_from(random.below(1500)).expect("small");
            }
        }
        if faults && random.one_in(200) {
            daemon = Daemon::start(rules, &kernel, now, &mut random);
            last_restart = now;
        }
        if upkeep.is_none() && faults && random.one_in(100) {
            let all = nodes_of(&desired);
            let node = all[random.below(all.len() as u64) as usize];
            let deadline = now + Duration::from_secs(1 + random.below(10));
            upkeep = Some((node, Maintenance::new(now, deadline, STEP * 5)));
        }

        // What the daemon sees of it: some results are lost or wrong.
        for (addr, node) in &real {
            let health = daemon
                .pool
                .nodes
                .get_mut(addr)
                .expect("every node is checked");
            if now >= health.next_check() {
                health.check_begins(now, random.next());
                let noise = faults && random.one_in(20);
                health.checked((node.dead_since.is_none()) != noise, now);
            }
            if node.dead_since.is_some() && random.one_in(5) {
                health.missed(1, now);
            }
            if node.dead_since.is_none() && step % 10 == 0 && !random.one_in(10) {
                let load = daemon.loads.get_mut(addr).expect("every node has a load");
                load.reported(node.demand * load.ratio() / 1000);
                load.check_invariants();
            }
        }
        daemon.pool.check_invariants(now);

        // The decisions reach the filter, unless another's commit came between.
        let drained = upkeep.as_ref().map(|(node, _)| *node);
        let decisions = daemon.decisions(key, drained, now);
        let next = wanted(&desired, &decisions);
        let changes = diff(&kernel, &next);
        if !random.one_in(10) {
            for change in &changes {
                let (Change::BackendSet { .. }
                | Change::BackendFail { .. }
                | Change::BackendRestore { .. }) = change
                else {
                    panic!("{change:?}: more than weights and marks changed");
                };
                if let Change::BackendFail { backend, .. } = change {
                    for (addr, node) in &mut real {
                        if backend.matches(addr) {
                            node.routes = 0;
                        }
                    }
                }
            }
            kernel = next;
            assert_eq!(
                diff(&kernel, &wanted(&desired, &decisions)),
                [],
                "a second commit"
            );
        }

        // Clients come and go.
        for backend in &kernel.services.as_ref().expect("there are services")[0].backends {
            let node = real
                .get_mut(&backend.addr)
                .expect("a node of the configuration");
            if backend.failed == Some(true) {
                assert_eq!(node.routes, 0, "routes of a failed node");
            } else if backend.weight.0 > 0 {
                node.routes += random.below(3);
            }
            node.routes -= random.below(3).min(node.routes);
            let serves = matches!(decisions[&(key, backend.addr)].verdict, Verdict::Serve(_));
            assert!(
                backend.weight.0 > 0 || drained.is_some() || !serves || !changes.is_empty(),
                "a weight of 0 by accident"
            );
        }
        let mut over = false;
        if let Some((addr, upkeep)) = &mut upkeep {
            let node = real.get_mut(addr).expect("a node of the configuration");
            if upkeep.routes(node.routes, now) == maintenance::Action::EndDead {
                node.routes /= 2;
            } else {
                upkeep.check_invariants(node.routes.max(1), now);
            }
            over = upkeep.state() != maintenance::State::Draining;
        }
        if over {
            upkeep = None;
        }
    }

    // Faults ended 20 s ago: what is decided is what is true. A damped node may still be held.
    let end = STEP * u32::try_from(STEPS).expect("few steps");
    assert!(upkeep.is_none(), "a maintenance that does not end");
    assert!(end - last_restart >= Duration::from_secs(19));
    for (addr, node) in &real {
        let health = &daemon.pool.nodes[addr];
        if node.dead_since.is_some() {
            assert!(!health.is_up(), "{addr} is dead and serves");
        } else if health.hold() <= Duration::from_secs(8) {
            assert!(health.is_up(), "{addr} answers and is out");
        }
    }
}

#[test]
fn decisions_hold_through_faults() {
    if let Ok(seed) = std::env::var("FEP_SEED") {
        return run(seed.parse().expect("FEP_SEED is a number"));
    }
    let seeds = if cfg!(debug_assertions) { 300 } else { 10_000 };
    (0..seeds).for_each(run);
}
