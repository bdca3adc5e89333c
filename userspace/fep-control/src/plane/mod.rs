// SPDX-License-Identifier: GPL-2.0

//! The whole control plane as one machine: what is seen goes in, what the filter should hold and what
//! is to be done come out.
//!
//! Each interval the daemon
//!
//! 1. starts the checks that are [due](Plane::due) and puts every result in with
//!    [`event`](Plane::event), also what the filter says of the nodes that are
//!    [watched](Plane::watched);
//! 2. takes a [`step`](Plane::step);
//! 3. writes [`saved`](Plane::saved) to its file, where it has changed;
//! 4. commits the difference between what the filter holds and what is [wanted](Plane::wanted), or
//!    leaves it to the next interval when another has changed the filter meanwhile;
//! 5. does the actions of the step.
//!
//! It may be killed anywhere in between: [`Plane::new`] goes on from the file and the filter.

mod decide;
mod event;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use fep_client::{Backend, Config, NodeAddr, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::health::{self, Health};
use crate::load::{Load, Permille};
use crate::maintenance::{Maintenance, Progress, State as Upkeep};
use crate::passive::Evidence;
use crate::pool::Pool;
use crate::presence::Heartbeat;
use crate::process::{self, Processes};

pub use event::{Action, Event, Notice};
pub use rules::{ProcessRules, Rules, ServiceRules};

/// What another life of the daemon needs, beside the configuration and what the filter holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// The health of nodes of which the filter's mark does not say all.
    pub health: BTreeMap<ServiceKey, BTreeMap<NodeAddr, health::Saved>>,
    /// The ratios of nodes that do not get their whole weight.
    pub ratios: BTreeMap<IpAddr, Permille>,
    /// The nodes in maintenance.
    pub maintenance: BTreeMap<IpAddr, Maintained>,
    /// The processes of services.
    pub processes: BTreeMap<ServiceKey, process::State>,
}

/// The maintenance of a node, by its services.
pub type Maintained = BTreeMap<ServiceKey, BTreeMap<NodeAddr, Maintenance>>;

/// What is known of one service.
#[derive(Clone, Debug)]
struct Service {
    rules: ServiceRules,
    pool: Pool,
    evidence: BTreeMap<NodeAddr, Evidence>,
    /// Nodes of the configuration with a weight of 0.
    unused: BTreeSet<NodeAddr>,
    /// Nodes of the configuration.
    configured: BTreeSet<NodeAddr>,
    processes: Option<Processes>,
}

/// What is known of one node, whatever its services.
#[derive(Clone, Debug)]
struct Node {
    heartbeat: Heartbeat,
    load: Load,
}

/// The control plane.
#[derive(Clone, Debug)]
pub struct Plane {
    rules: Rules,
    desired: Config,
    services: BTreeMap<ServiceKey, Service>,
    nodes: BTreeMap<IpAddr, Node>,
    maintenance: BTreeMap<IpAddr, Maintained>,
    /// Actions that events have caused.
    due: Vec<Action>,
}

impl Plane {
    /// Begins at `now`, or goes on from what another life of the daemon `saved` and the filter holds.
    /// `random` spreads the first checks.
    pub fn new(
        rules: Rules,
        desired: Config,
        kernel: &Config,
        saved: Saved,
        now: Duration,
        mut random: impl FnMut() -> u64,
    ) -> Self {
        let mut services = BTreeMap::new();
        let held = |key: ServiceKey| {
            let mut held = kernel.services.iter().flatten();
            held.find(|service| service.key == key)
                .map_or(&[][..], |service| &service.backends)
        };
        for service in desired.services.iter().flatten() {
            let (key, held) = (service.key, held(service.key));
            let own = rules.services.get(&key).cloned().unwrap_or_default();
            let mut processes = own.processes.as_ref().map(|own| {
                let state = saved.processes.get(&key).cloned().unwrap_or_default();
                Processes::resume(own.rules, state)
            });
            let configured: BTreeSet<NodeAddr> =
                service.backends.iter().map(|node| node.addr).collect();
            for node in held {
                let unknown = !configured.contains(&node.addr);
                let own = own.processes.as_ref();
                let may = own.is_some_and(|own| own.candidates.contains_key(&node.addr));
                if let (true, true, Some(processes)) = (unknown, may, &mut processes) {
                    processes.adopt(node.addr, node.weight.0, now);
                }
            }
            if let Some(processes) = &mut processes {
                processes.forget(&configured);
            }
            let mut pool = Pool::new(own.pool);
            let old = saved.health.get(&key);
            let failed: BTreeSet<NodeAddr> = held
                .iter()
                .filter(|node| node.failed == Some(true))
                .map(|node| node.addr)
                .collect();
            let placed: Vec<NodeAddr> = processes.iter().flat_map(Processes::placed).collect();
            for &node in configured.iter().chain(&placed) {
                let health = match old.and_then(|old| old.get(&node)) {
                    Some(&old) => Health::resume(own.thresholds, old, now, random()),
                    None => Health::new(own.thresholds, !failed.contains(&node), now, random()),
                };
                pool.nodes.insert(node, health);
            }
            let unused = |node: &&Backend| node.weight.0 == 0;
            let unused = service.backends.iter().filter(unused);
            let service = Service {
                pool,
                evidence: BTreeMap::new(),
                unused: unused.map(|node| node.addr).collect(),
                configured,
                processes,
                rules: own,
            };
            services.insert(key, service);
        }
        let mut plane = Self {
            nodes: BTreeMap::new(),
            maintenance: saved.maintenance,
            rules,
            desired,
            services,
            due: Vec::new(),
        };
        for (&address, &ratio) in &saved.ratios {
            plane.node(address).load = Load::resume(plane.rules.load, ratio);
        }
        let maintained = plane.maintenance.values_mut();
        for upkeep in maintained.flat_map(BTreeMap::values_mut) {
            for upkeep in upkeep.values_mut() {
                *upkeep = upkeep.clone().resume(now);
            }
        }
        plane
    }

    /// Goes on with another configuration at `now`. What is the same in it goes on as if nothing had
    /// happened; processes of which it knows nothing any more are ordered to stop.
    pub fn reconfigure(
        &mut self,
        rules: Rules,
        desired: Config,
        now: Duration,
        random: impl FnMut() -> u64,
    ) {
        let held = self.wanted(now);
        let next = Self::new(rules, desired, &held, self.saved(), now, random);
        let old = std::mem::replace(self, next);
        self.due = old.due;
        let same_load = self.rules.load == old.rules.load;
        for (address, node) in old.nodes {
            let load = node.load.clone();
            let new = self.node(address);
            new.heartbeat = node.heartbeat;
            if same_load {
                new.load = load;
            }
        }
        for (key, old) in old.services {
            let mut new = self.services.get_mut(&key);
            if let Some(new) = &mut new {
                let same = new.rules.thresholds == old.rules.thresholds;
                for (node, health) in old.pool.nodes {
                    if let (true, Some(new)) = (same, new.pool.nodes.get_mut(&node)) {
                        *new = health;
                    }
                }
                new.evidence = old.evidence;
            }
            let Some(processes) = old.processes else {
                continue;
            };
            match new.and_then(|new| new.processes.as_mut()) {
                Some(new) => new.take_over(processes),
                None => {
                    let nodes = processes.state().instances.keys();
                    let stop = nodes.map(|&node| Action::Stop { service: key, node });
                    self.due.extend(stop);
                }
            }
        }
        self.settle();
    }

    /// What is to be saved.
    pub fn saved(&self) -> Saved {
        let mut saved = Saved {
            maintenance: self.maintenance.clone(),
            ..Saved::default()
        };
        for (&key, service) in &self.services {
            let nodes = service.pool.nodes.iter();
            let health: BTreeMap<_, _> = nodes
                .filter_map(|(&node, health)| Some((node, health.saved()?)))
                .collect();
            if !health.is_empty() {
                saved.health.insert(key, health);
            }
            if let Some(processes) = &service.processes {
                saved.processes.insert(key, processes.state().clone());
            }
        }
        let nodes = self.nodes.iter();
        let lowered = nodes.filter(|(_, node)| node.load.ratio() < 1000);
        saved.ratios = lowered
            .map(|(&address, node)| (address, node.load.ratio()))
            .collect();
        saved
    }

    /// The checks that are to begin at `now`.
    pub fn due(
        &mut self,
        now: Duration,
        mut random: impl FnMut() -> u64,
    ) -> Vec<(ServiceKey, NodeAddr)> {
        let mut due = Vec::new();
        for (&key, service) in &mut self.services {
            for (&node, health) in &mut service.pool.nodes {
                if now >= health.next_check() {
                    health.check_begins(now, random());
                    due.push((key, node));
                }
            }
        }
        due
    }

    /// The nodes of which the filter's routes are to be read.
    pub fn watched(&self) -> Vec<(ServiceKey, NodeAddr)> {
        let mut watched = Vec::new();
        for (&key, nodes) in self.maintenance.values().flatten() {
            watched.extend(nodes.keys().map(|&node| (key, node)));
        }
        for (&key, service) in &self.services {
            let nodes = service.processes.iter().flat_map(Processes::listed_nodes);
            watched.extend(nodes.map(|node| (key, node)));
        }
        watched
    }

    /// Takes a node out of all its services, without breaking a connection before `within` is over.
    /// Returns whether it was not in maintenance before.
    pub fn maintain(&mut self, address: IpAddr, within: Duration, now: Duration) -> bool {
        if self.maintenance.contains_key(&address) {
            return false;
        }
        let mut upkeep = Maintained::new();
        for (&key, service) in &mut self.services {
            let here = |node: &&NodeAddr| node.address == address;
            for &node in service.configured.iter().filter(here) {
                let begun = Maintenance::new(now, now + within, self.rules.end_dead_every);
                upkeep.entry(key).or_default().insert(node, begun);
            }
            if let Some(processes) = &mut service.processes {
                let all = processes.state().instances.keys();
                let here: Vec<NodeAddr> = all.filter(here).copied().collect();
                for node in here {
                    // One that is going already needs no order.
                    let _ = processes.take_away(node, now);
                }
            }
        }
        self.maintenance.insert(address, upkeep);
        true
    }

    /// Ends the maintenance of a node. Returns whether it was in it.
    pub fn end_maintenance(&mut self, address: IpAddr) -> bool {
        self.maintenance.remove(&address).is_some()
    }

    /// How far the maintenance of a node is, by service; `None` when it is in none.
    pub fn maintenance(
        &self,
        address: IpAddr,
        now: Duration,
    ) -> Option<Vec<(ServiceKey, NodeAddr, Upkeep, Progress)>> {
        let upkeep = self.maintenance.get(&address)?.iter();
        let flat = upkeep.flat_map(|(&key, nodes)| nodes.iter().map(move |node| (key, node)));
        Some(
            flat.map(|(key, (&node, upkeep))| (key, node, upkeep.state(), upkeep.progress(now)))
                .collect(),
        )
    }

    /// The processes of a service.
    pub fn processes(&self, service: ServiceKey) -> Option<&Processes> {
        self.services.get(&service)?.processes.as_ref()
    }

    /// The processes of a service, for orders of the administrator.
    pub fn processes_mut(&mut self, service: ServiceKey) -> Option<&mut Processes> {
        self.services.get_mut(&service)?.processes.as_mut()
    }

    /// The health of a node for a service.
    pub fn health(&self, service: ServiceKey, node: NodeAddr) -> Option<&Health> {
        self.services.get(&service)?.pool.nodes.get(&node)
    }

    /// The load of a node, if its agent ever reported one.
    pub fn load(&self, address: IpAddr) -> Option<&Load> {
        self.nodes.get(&address).map(|node| &node.load)
    }
}
