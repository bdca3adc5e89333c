// SPDX-License-Identifier: GPL-2.0

//! The clusters that are simulated.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fep_client::{Backend, Config, Method, NodeAddr, ServiceKey, Weight};
use fep_control::health::Thresholds;
use fep_control::plane::{ProcessRules, Rules, ServiceRules};
use fep_control::pool::{self, AllDown};
use fep_control::process;

use crate::filter::At;
use crate::random::Random;
use crate::world::{Node, World};

pub(crate) struct Scenario {
    pub(crate) rules: Rules,
    pub(crate) desired: Config,
    /// Nodes of the configuration.
    pub(crate) base: Vec<At>,
    /// Nodes that may be given a process.
    pub(crate) candidates: BTreeSet<At>,
    pub(crate) sorry: Option<NodeAddr>,
    /// What all nodes of the configuration can bear together.
    pub(crate) capacity: u64,
}

const NODE: u64 = 100;

fn address(n: u64) -> NodeAddr {
    format!("10.1.0.{n}:80").parse().expect("an address")
}

impl Scenario {
    pub(crate) fn new(random: &mut Random) -> Self {
        let nodes = 2 + random.below(4);
        let spare = random.below(4);
        let sorry = random.one_in(3).then(|| address(200));
        let mut base = Vec::new();
        let mut candidates = BTreeSet::new();
        let mut services = BTreeMap::new();
        let mut backends = Vec::new();
        for n in 0..1 + random.below(2) {
            let key: ServiceKey = format!("tcp/10.0.0.100:{}", 80 + n)
                .parse()
                .expect("a service");
            let own: Vec<NodeAddr> = (1..=nodes).map(address).collect();
            base.extend(own.iter().map(|&node| (key, node)));
            let spares: BTreeMap<NodeAddr, u32> = (1..=spare)
                .map(|n| (address(100 + n), u32::try_from(n % 2).expect("small")))
                .collect();
            // The second service has no processes of its own.
            let processes = (n == 0 && spare > 0).then(|| {
                candidates.extend(spares.keys().map(|&node| (key, node)));
                ProcessRules {
                    rules: process_rules(),
                    candidates: spares,
                    weight: Weight(100),
                    priority: fep_client::Priority::default(),
                    method: Method::default(),
                }
            });
            let rules = ServiceRules {
                thresholds: Thresholds {
                    hold_max: Duration::from_secs(8),
                    ..Thresholds::default()
                },
                pool: pool::Rules {
                    max_ejected_percent: [34, 50, 100][random.below(3) as usize],
                    all_down: if sorry.is_some() || random.one_in(2) {
                        AllDown::Refuse
                    } else {
                        AllDown::Keep
                    },
                    slow_start: Duration::from_secs(3),
                },
                sorry: sorry.map(|addr| backend(addr, 1)),
                processes,
            };
            services.insert(key, rules);
            backends.push(fep_client::Service {
                key,
                scheduler: fep_client::config::scheduler_named("wrr").expect("a scheduler"),
                timeouts: fep_client::Timeouts::default(),
                backends: own.into_iter().map(|addr| backend(addr, 100)).collect(),
            });
        }
        let agents = (1..=nodes).map(address);
        let agents = agents.chain((1..=spare).map(|n| address(100 + n)));
        Self {
            rules: Rules {
                expiry: Duration::from_secs(5),
                agents: agents.map(|node| node.address).collect(),
                services,
                ..Rules::default()
            },
            desired: Config {
                services: Some(backends),
                ..Config::default()
            },
            base,
            candidates,
            sorry,
            capacity: nodes * NODE,
        }
    }

    pub(crate) fn world(&self, random: &mut Random) -> World {
        let mut world = World::default();
        for address in &self.rules.agents {
            let mut node = Node::default();
            node.capacity = NODE / 2 + random.below(NODE);
            world.nodes.insert(*address, node);
        }
        for (key, node) in &self.candidates {
            let node = world.nodes.get_mut(&node.address).expect("a node");
            node.processes.insert(*key, Default::default());
        }
        for key in self.rules.services.keys() {
            world.demand.insert(*key, self.capacity / 2);
        }
        world
    }
}

fn backend(addr: NodeAddr, weight: u32) -> Backend {
    Backend {
        addr,
        weight: Weight(weight),
        priority: fep_client::Priority::default(),
        method: Method::default(),
        failed: None,
    }
}

fn process_rules() -> process::Rules {
    let seconds = Duration::from_secs;
    process::Rules {
        overloaded_for: seconds(2),
        idle_for: seconds(3),
        ready_within: seconds(4),
        drain_within: seconds(4),
        stop_within: seconds(3),
        again: seconds(1),
        retry: Duration::from_millis(500),
        retry_max: seconds(2),
        tries: 2,
        barred_for: seconds(5),
        ..process::Rules::default()
    }
}
