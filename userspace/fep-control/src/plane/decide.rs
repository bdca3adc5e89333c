// SPDX-License-Identifier: GPL-2.0

//! What follows from what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use fep_client::{Backend, Config, NodeAddr, ServiceKey, Weight};

use super::{Action, Event, Node, Notice, Plane, Service};
use crate::health::Health;
use crate::load::{Load, Permille};
use crate::maintenance;
use crate::pool::Verdict;
use crate::presence::{standing, Heartbeat, Standing};
use crate::process::{self, Candidate, Place, Processes};
use crate::reconcile::{wanted, Decision, Decisions};

impl Plane {
    /// Something was seen at `now`. What is not known, because it was removed meanwhile, is passed over.
    pub fn event(&mut self, event: Event, now: Duration) {
        match event {
            Event::Checked {
                service,
                node,
                good,
            } => self.health_event(service, node, |health, _| health.checked(good, now)),
            Event::Counted {
                service,
                node,
                counters,
            } => self.health_event(service, node, |health, evidence| {
                let signs = evidence.counted(counters);
                health.missed(signs, now)
            }),
            Event::Heard(address) => self.node(address).heartbeat.heard(now),
            Event::Lost(address) => self.node(address).heartbeat.lost(),
            Event::Load(address, load) => {
                let node = self.node(address);
                node.heartbeat.heard(now);
                if node.load.reported_at(load, now) {
                    self.ratio_changed(address);
                }
            }
            Event::Process {
                service,
                node,
                report,
            } => {
                self.node(node.address).heartbeat.heard(now);
                let service = self.services.get_mut(&service);
                // A node of the configuration is not this daemon's to start or stop.
                let service = service.filter(|service| !service.configured.contains(&node));
                if let Some(processes) = service.and_then(|service| service.processes.as_mut()) {
                    processes.reported(node, report, now);
                }
            }
            Event::Listed {
                service,
                node,
                found,
            } => self.listed(service, node, found, now),
        }
    }

    pub(super) fn node(&mut self, address: IpAddr) -> &mut Node {
        let rules = self.rules.load;
        self.nodes.entry(address).or_insert_with(|| Node {
            heartbeat: Heartbeat::default(),
            load: Load::new(rules),
        })
    }

    fn health_event(
        &mut self,
        key: ServiceKey,
        node: NodeAddr,
        change: impl FnOnce(&mut Health, &mut crate::passive::Evidence) -> bool,
    ) {
        let Some(service) = self.services.get_mut(&key) else {
            return;
        };
        let Some(health) = service.pool.nodes.get_mut(&node) else {
            return;
        };
        if change(health, service.evidence.entry(node).or_default()) {
            let notice = if health.is_up() {
                Notice::Returned(key, node)
            } else {
                Notice::Failed(key, node, health.cause())
            };
            self.due.push(Action::Tell(notice));
        }
    }

    /// The ratio of a node changed: what is dead on it goes, so that what is left is what counts (F7).
    fn ratio_changed(&mut self, address: IpAddr) {
        let ratio = self.nodes[&address].load.ratio();
        self.due.push(Action::Tell(Notice::Ratio(address, ratio)));
        for (&service, state) in &self.services {
            let nodes = state.pool.nodes.keys();
            let here = nodes.filter(|node| node.address == address);
            self.due
                .extend(here.map(|&node| Action::EndDead { service, node }));
        }
    }

    fn listed(
        &mut self,
        service: ServiceKey,
        node: NodeAddr,
        found: Option<(u32, u64)>,
        now: Duration,
    ) {
        let upkeep = self.maintenance.get_mut(&node.address);
        let upkeep = upkeep.and_then(|upkeep| upkeep.get_mut(&service)?.get_mut(&node));
        let left = match found {
            Some((0, routes)) => routes,
            // The weight is not in force yet, and more routes may come.
            Some((_, routes)) => routes.max(1),
            None => 0,
        };
        if let Some(upkeep) = upkeep {
            if upkeep.routes(left, now) == maintenance::Action::EndDead {
                self.due.push(Action::EndDead { service, node });
            }
        }
        let state = self.services.get_mut(&service);
        if let Some(processes) = state.and_then(|state| state.processes.as_mut()) {
            processes.listed(node, found, now);
        }
    }

    /// What is to be done at `now`, after [`saved`](Self::saved) was written and the filter changed.
    pub fn step(&mut self, now: Duration) -> Vec<Action> {
        let mut changed = Vec::new();
        for (&address, node) in &mut self.nodes {
            if node.load.silent(self.rules.expiry, now) {
                changed.push(address);
            }
        }
        for address in changed {
            self.ratio_changed(address);
        }
        let keys: Vec<ServiceKey> = self.services.keys().copied().collect();
        for service in keys {
            let Some(actions) = self.step_processes(service, now) else {
                continue;
            };
            self.due.extend(actions.into_iter().map(|action| {
                use process::Action as Of;
                match action {
                    Of::Start { node, number } => Action::Start {
                        service,
                        node,
                        number,
                    },
                    Of::Stop { node } => Action::Stop { service, node },
                    Of::EndDead { node } => Action::EndDead { service, node },
                    Of::Tell(notice) => Action::Tell(Notice::Process(service, notice)),
                }
            }));
        }
        self.settle();
        std::mem::take(&mut self.due)
    }

    fn step_processes(&mut self, key: ServiceKey, now: Duration) -> Option<Vec<process::Action>> {
        let (serving, candidates) = self.serving_and_candidates(self.services.get(&key)?, now)?;
        let processes = self.services.get_mut(&key)?.processes.as_mut()?;
        Some(processes.step(&serving, &candidates, now))
    }

    /// The nodes that serve, with their loads, and those that may be given a process.
    #[expect(clippy::type_complexity, reason = "what `Processes::step` takes")]
    fn serving_and_candidates(
        &self,
        service: &Service,
        now: Duration,
    ) -> Option<(Vec<(NodeAddr, Option<Permille>)>, Vec<Candidate>)> {
        let rules = service.rules.processes.as_ref()?;
        let verdicts = service.pool.verdicts_without(now, self.drained(service));
        let drained = self.drained(service);
        let load = |node: &NodeAddr| self.nodes.get(&node.address)?.load.last();
        let serving: Vec<_> = verdicts
            .iter()
            .filter(|(node, verdict)| matches!(verdict, Verdict::Serve(_)) && !drained(node))
            .map(|(&node, _)| (node, load(&node)))
            .collect();
        let candidates: Vec<Candidate> = rules
            .candidates
            .iter()
            .filter(|(node, _)| {
                !service.configured.contains(node)
                    && !self.maintenance.contains_key(&node.address)
                    && self.is_agent_alive(node.address, now)
            })
            .filter_map(|(&node, &priority)| {
                Some(Candidate {
                    node,
                    load: load(&node)?,
                    priority,
                })
            })
            .collect();
        Some((serving, candidates))
    }

    /// Nodes with processes are checked while they are in the table.
    pub(super) fn settle(&mut self) {
        for service in self.services.values_mut() {
            let Some(processes) = &service.processes else {
                continue;
            };
            let placed: BTreeSet<NodeAddr> = processes.placed().collect();
            let configured = &service.configured;
            let stays = |node: &NodeAddr| configured.contains(node) || placed.contains(node);
            service.pool.nodes.retain(|node, _| stays(node));
            service.evidence.retain(|node, _| stays(node));
            for &node in &placed {
                let new = || Health::new(service.rules.thresholds, true, Duration::ZERO, 0);
                service.pool.nodes.entry(node).or_insert_with(new);
            }
        }
    }

    fn is_agent_alive(&self, address: IpAddr, now: Duration) -> bool {
        let node = self.nodes.get(&address);
        node.is_some_and(|node| node.heartbeat.is_alive(self.rules.heartbeat, now))
    }

    /// Whether a node of the service gets no clients by order.
    fn drained<'a>(&'a self, service: &'a Service) -> impl Fn(&NodeAddr) -> bool + 'a {
        |node| {
            let place = service.processes.as_ref().map(|all| all.place(*node));
            self.maintenance.contains_key(&node.address)
                || service.unused.contains(node)
                || place == Some(Place::Drained)
        }
    }

    /// The verdicts on the nodes of a service at `now`.
    pub fn verdicts(&self, service: ServiceKey, now: Duration) -> BTreeMap<NodeAddr, Verdict> {
        let Some(service) = self.services.get(&service) else {
            return BTreeMap::new();
        };
        let drained = self.drained(service);
        service.pool.verdicts_without(now, drained)
    }

    /// What the filter should hold at `now`.
    pub fn wanted(&self, now: Duration) -> Config {
        let mut desired = self.desired.clone();
        let mut decisions = Decisions::new();
        for config in desired.services.iter_mut().flatten() {
            let Some(service) = self.services.get(&config.key) else {
                continue;
            };
            let drained = self.drained(service);
            let mut anybody = false;
            for (node, verdict) in service.pool.verdicts_without(now, &drained) {
                let ratio = self.nodes.get(&node.address);
                let decision = Decision {
                    verdict,
                    ratio: ratio.map_or(1000, |node| node.load.ratio()),
                    drained: drained(&node),
                };
                anybody |= verdict != Verdict::Ejected && !decision.drained;
                decisions.insert((config.key, node), decision);
            }
            if let (Some(rules), Some(processes)) = (&service.rules.processes, &service.processes) {
                config.backends.extend(with_processes(rules, processes));
            }
            if let Some(sorry) = &service.rules.sorry {
                let weight = if anybody { Weight(0) } else { sorry.weight };
                config.backends.push(Backend {
                    weight,
                    failed: Some(false),
                    ..sorry.clone()
                });
            }
        }
        wanted(&desired, &decisions)
    }

    /// The standing of a node at `now`.
    pub fn standing(&self, address: IpAddr, now: Duration) -> Standing {
        let has_agent = self.rules.agents.contains(&address);
        let agent = has_agent.then(|| self.is_agent_alive(address, now));
        let pools = self.services.values().flat_map(|state| &state.pool.nodes);
        let here = pools.filter(|(node, _)| node.address == address);
        let (mut up, mut down) = (0, 0);
        for (_, health) in here {
            if health.is_up() {
                up += 1;
            } else {
                down += 1;
            }
        }
        standing(agent, up, down)
    }

    /// Panics where a rule of a machine is broken at `now`.
    pub fn check_invariants(&self, now: Duration) {
        for service in self.services.values() {
            service.pool.check_invariants(now);
            if let Some(processes) = &service.processes {
                processes.check_invariants();
            }
        }
        for node in self.nodes.values() {
            node.load.check_invariants();
        }
    }
}

fn with_processes<'a>(
    rules: &'a super::ProcessRules,
    processes: &'a Processes,
) -> impl Iterator<Item = Backend> + 'a {
    processes.placed().map(|addr| Backend {
        addr,
        weight: rules.weight,
        priority: rules.priority,
        method: rules.method,
        failed: None,
    })
}
