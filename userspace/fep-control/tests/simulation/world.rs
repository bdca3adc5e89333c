// SPDX-License-Identifier: GPL-2.0

//! A model of the cluster: nodes, their servers, their agents and the links to them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use fep_client::{NodeAddr, ServiceKey};
use fep_control::plane::Event;
use fep_control::process::Report;

use crate::filter::{At, Filter};
use crate::random::Random;

/// What an agent is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Start(At, u64),
    Stop(At),
}

/// A process of an agent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Process {
    pub(crate) state: Option<Report>,
    ready_at: u64,
    /// The last start that was obeyed.
    number: u64,
}

/// A node as it really is.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) dead: bool,
    pub(crate) agent_dead: bool,
    pub(crate) capacity: u64,
    pub(crate) load: u32,
    pub(crate) processes: BTreeMap<ServiceKey, Process>,
    to_agent: VecDeque<(u64, Order)>,
    from_agent: VecDeque<(u64, Event)>,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) nodes: BTreeMap<IpAddr, Node>,
    /// Servers by configuration that have died on a node that lives.
    pub(crate) broken: BTreeSet<At>,
    /// Clients that come to a service in ten ticks.
    pub(crate) demand: BTreeMap<ServiceKey, u64>,
    /// Since when a server has not answered.
    pub(crate) silent_since: BTreeMap<At, u64>,
    /// Checks that go on, with their ends.
    checks: Vec<(u64, At, bool)>,
    /// The starts that agents have obeyed.
    pub(crate) spawned: u64,
}

impl World {
    /// Whether clients of the service get an answer from the node.
    pub(crate) fn answers(&self, at: At, candidate: bool) -> bool {
        let node = &self.nodes[&at.1.address];
        let process = node.processes.get(&at.0).copied().unwrap_or_default();
        let runs = if candidate {
            process.state == Some(Report::Ready)
        } else {
            !self.broken.contains(&at)
        };
        !node.dead && runs
    }

    /// A check of the node begins; its result comes later, and may be wrong.
    pub(crate) fn check(&mut self, at: At, good: bool, tick: u64, random: &mut Random) {
        // A bad one ends by its time limit, of half an interval, at the latest.
        let takes = if good {
            random.below(2)
        } else {
            random.below(3)
        };
        self.checks.push((tick + takes, at, good));
    }

    /// The checks that have ended.
    pub(crate) fn checked(&mut self, tick: u64) -> Vec<(At, bool)> {
        let (ended, on) = self.checks.drain(..).partition(|(end, ..)| *end <= tick);
        self.checks = on;
        let ended: Vec<(u64, At, bool)> = ended;
        ended.into_iter().map(|(_, at, good)| (at, good)).collect()
    }

    /// Nobody waits for the checks any more.
    pub(crate) fn forget_checks(&mut self) {
        self.checks.clear();
    }

    /// An order goes out; on a link that is down it is lost.
    pub(crate) fn order(&mut self, order: Order, tick: u64, random: &mut Random) {
        let (Order::Start(at, _) | Order::Stop(at)) = order;
        let node = self.nodes.get_mut(&at.1.address).expect("a node");
        if !node.dead && !node.agent_dead {
            let after = node.to_agent.back().map_or(tick, |(when, _)| *when);
            let when = after.max(tick + random.below(4));
            node.to_agent.push_back((when, order));
        }
    }

    /// The load of the nodes by the shares they have of the clients.
    pub(crate) fn share_load(&mut self, filter: &Filter) {
        let mut loads: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for service in filter.config.services.iter().flatten() {
            let usable = service.backends.iter();
            let usable = usable.filter(|node| node.failed != Some(true));
            let whole: u64 = usable.clone().map(|node| u64::from(node.weight.0)).sum();
            let demand = self.demand[&service.key] * 1000;
            for node in usable {
                let share = demand * u64::from(node.weight.0) / whole.max(1);
                *loads.entry(node.addr.address).or_default() += share;
            }
        }
        for (address, node) in &mut self.nodes {
            let work = loads.get(address).copied().unwrap_or(0);
            node.load = u32::try_from(work / node.capacity).expect("small");
        }
    }

    /// The agents obey orders and say what they see; `noise` loses and delays what they say.
    pub(crate) fn agents(&mut self, tick: u64, noise: bool, random: &mut Random) -> Vec<Event> {
        let mut events = Vec::new();
        for (&address, node) in &mut self.nodes {
            if node.dead {
                for process in node.processes.values_mut() {
                    *process = Process::default();
                }
            }
            if node.dead || node.agent_dead {
                node.to_agent.clear();
                node.from_agent.clear();
                continue;
            }
            while let Some(&(when, order)) = node.to_agent.front() {
                if when > tick {
                    break;
                }
                node.to_agent.pop_front();
                obey(node, order, tick, &mut self.spawned, random);
            }
            let mut said = Vec::new();
            for (&service, process) in &mut node.processes {
                if process.state == Some(Report::Starting) && tick >= process.ready_at {
                    let fails = noise && random.one_in(4);
                    process.state = Some(if fails { Report::Failed } else { Report::Ready });
                }
                if noise && process.state == Some(Report::Ready) && random.one_in(150) {
                    process.state = Some(Report::Failed);
                }
                said.push((service, process.state.unwrap_or(Report::Stopped)));
            }
            if tick % 5 == 0 && !(noise && random.one_in(10)) {
                let after = node.from_agent.back().map_or(tick, |(when, _)| *when);
                let late = if noise { random.below(8) } else { 1 };
                let when = after.max(tick + late);
                node.from_agent
                    .push_back((when, Event::Load(address, node.load)));
                for (service, report) in said {
                    let node_addr = NodeAddr { address, port: 80 };
                    let event = Event::Process {
                        service,
                        node: node_addr,
                        report,
                    };
                    node.from_agent.push_back((when, event));
                }
            }
            while node
                .from_agent
                .front()
                .is_some_and(|(when, _)| *when <= tick)
            {
                events.extend(node.from_agent.pop_front().map(|(_, event)| event));
            }
        }
        events
    }
}

fn obey(node: &mut Node, order: Order, tick: u64, spawned: &mut u64, random: &mut Random) {
    match order {
        Order::Start((service, _), number) => {
            let process = node.processes.entry(service).or_default();
            let runs = matches!(process.state, Some(Report::Starting | Report::Ready));
            if runs || process.number == number {
                return;
            }
            *spawned += 1;
            *process = Process {
                state: Some(Report::Starting),
                ready_at: tick + random.below(15),
                number,
            };
        }
        Order::Stop((service, _)) => {
            node.processes.entry(service).or_default().state = Some(Report::Stopped);
        }
    }
}
