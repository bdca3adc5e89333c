// SPDX-License-Identifier: GPL-2.0

//! All that the daemon knows, as an administrator sees it.

use std::time::Duration;

use fep_client::NodeAddr;
use fep_config::Service as Configured;
use fep_control::group::{optimal, Row};
use fep_control::maintenance::State as Upkeep;
use fep_control::pool::Verdict;
use fep_control::presence::Standing;
use fep_control::process::Phase;
use fep_operator as show;

use crate::agents::Agents;
use crate::engine::Engine;

/// What a view is made of.
pub(super) struct View<'a> {
    pub(super) engine: &'a Engine,
    pub(super) agents: &'a Agents,
    pub(super) held: &'a fep_client::Snapshot,
    pub(super) now: Duration,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A part of a whole in thousandths.
fn permille(part: u64, whole: u64) -> Option<u32> {
    let thousand = u128::from(part) * 1000;
    let share = thousand.checked_div(u128::from(whole))?;
    u32::try_from(share).ok()
}

impl View<'_> {
    /// The view; `daemon` is what is known of the daemon itself.
    pub(super) fn snapshot(&self, daemon: show::Daemon) -> show::Snapshot {
        let config = self.engine.config();
        let services: Vec<show::Service> = config
            .services
            .iter()
            .map(|service| self.service(service))
            .collect();
        let nodes = config.nodes.iter();
        show::Snapshot {
            daemon,
            nodes: nodes.map(|node| self.node(node, &services)).collect(),
            groups: config
                .groups
                .iter()
                .map(|group| self.group(group))
                .collect(),
            processes: config
                .services
                .iter()
                .filter_map(|service| self.process(service))
                .collect(),
            services,
        }
    }

    fn node(&self, node: &fep_config::Node, services: &[show::Service]) -> show::Node {
        use show::{MemberState as M, NodeState as N};
        let plane = self.engine.plane();
        let members: Vec<&show::Member> = services
            .iter()
            .flat_map(|service| &service.members)
            .filter(|member| member.node == node.name)
            .collect();
        let is_out = |member: &&&show::Member| matches!(member.state, M::Failed | M::Kept);
        let out: Vec<&&show::Member> = members.iter().filter(is_out).collect();
        let maintenance = plane.maintenance(node.address, self.now);
        let state = match (members.len(), out.len()) {
            _ if maintenance.is_some() => N::Maintenance,
            (0, _) => N::Idle,
            (_, 0) => N::Up,
            (all, out) if all == out => N::Failed,
            _ => N::Partly,
        };
        let standing = match plane.standing(node.address, self.now) {
            Standing::AgentDead => "its agent does not answer, its services do",
            Standing::ServicesDead => "its agent answers, its services do not",
            Standing::SomeServicesDead => "its agent answers, some of its services do not",
            _ => "",
        };
        let why = out.first().map_or("", |member| member.why.as_str());
        let why = [standing, why]
            .iter()
            .filter(|text| !text.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join("; ");
        let maintenance = maintenance.map(|parts| {
            let left: u64 = parts.iter().map(|(.., progress)| progress.left).sum();
            let late = parts
                .iter()
                .any(|(_, _, state, _)| matches!(state, Upkeep::Late(_)));
            let done = parts.iter().all(|(_, _, state, _)| *state == Upkeep::Done);
            let remaining = parts.iter().map(|(.., progress)| progress.remaining).max();
            show::Maintenance {
                state: match (done, late) {
                    (true, _) => show::MaintenanceState::Done,
                    (_, true) => show::MaintenanceState::Late,
                    _ => show::MaintenanceState::Draining,
                },
                routes: left,
                left_ms: remaining.map_or(0, ms),
            }
        });
        show::Node {
            name: node.name.clone(),
            address: node.address.to_string(),
            state,
            why,
            agent: match (node.agent, self.agents.has_link(node.address)) {
                (false, _) => show::Agent::None,
                (_, true) => show::Agent::Alive,
                _ => show::Agent::Silent,
            },
            load_permille: plane
                .load(node.address)
                .and_then(|load| load.smoothed().or(load.last())),
            priority: node.priority,
            routes: members.iter().map(|member| member.routes).sum(),
            next: maintenance.as_ref().and_then(|upkeep| {
                (upkeep.state == show::MaintenanceState::Draining)
                    .then(|| format!("waits for {} routes to end", upkeep.routes))
            }),
            maintenance,
        }
    }

    fn service(&self, service: &Configured) -> show::Service {
        let held = self.held.service(&service.key);
        let verdicts = self.engine.plane().verdicts(service.key, self.now);
        let backends = held.map_or(&[][..], |held| &held.backends);
        let asked: u64 = backends
            .iter()
            .map(|node| u64::from(node.effective_weight()))
            .sum();
        let given: u64 = backends.iter().map(|node| node.traffic.connections).sum();
        let member = |name: &str, addr: NodeAddr, weight: u32| {
            let backend = backends.iter().find(|backend| backend.addr == addr);
            let effective = backend.map_or(0, |backend| backend.effective_weight());
            let last = self.engine.last((service.key, addr));
            let problem = last.and_then(|(_, result)| result.clone().err());
            use show::MemberState as M;
            let state = match verdicts.get(&addr) {
                Some(Verdict::Ejected) => M::Failed,
                Some(Verdict::Kept) => M::Kept,
                _ if effective == 0 => M::Draining,
                Some(Verdict::Serve(percent)) if *percent < 100 => M::Slow,
                _ => M::Up,
            };
            show::Member {
                node: name.to_owned(),
                address: addr.to_string(),
                state,
                why: match state {
                    M::Failed | M::Kept => problem
                        .clone()
                        .unwrap_or_else(|| "its checks or clients".to_owned()),
                    _ => String::new(),
                },
                weight,
                weight_now: backend.map_or(0, |backend| backend.weight.0),
                asked_permille: permille(effective.into(), asked).unwrap_or(0),
                achieved_permille: backend
                    .and_then(|backend| permille(backend.traffic.connections, given)),
                routes: backend.map_or(0, |backend| backend.routes),
                check: last.map(|(at, _)| show::Check {
                    age_ms: ms(self.now.saturating_sub(*at)),
                    problem,
                }),
                next: matches!(state, M::Failed)
                    .then(|| "is taken back when it answers again".to_owned()),
            }
        };
        let mut members: Vec<show::Member> = service
            .members
            .iter()
            .map(|own| member(&own.node, own.addr, own.weight))
            .collect();
        let processes = self.engine.plane().processes(service.key);
        for addr in processes.into_iter().flat_map(|all| all.placed()) {
            let name = self.engine.name(addr.address).unwrap_or_default();
            members.push(member(name, addr, 1));
        }
        let kept = members
            .iter()
            .filter(|m| m.state == show::MemberState::Kept)
            .count();
        let serves = members
            .iter()
            .any(|m| m.weight_now > 0 && m.state != show::MemberState::Failed);
        show::Service {
            service: service.key.to_string(),
            scheduler: service.scheduler.name().to_owned(),
            group: service.group.clone(),
            sorry: service.sorry.map(|sorry| sorry.to_string()),
            alarm: match (kept, serves) {
                (_, false) => Some("no node serves".to_owned()),
                (0, _) => None,
                (kept, _) => Some(format!("{kept} nodes do not answer and still get clients")),
            },
            routes: held.map_or(0, |held| held.routes),
            members,
        }
    }

    /// The state table of a group (requirement D3): a node runs while its agent answers.
    fn group(&self, group: &fep_config::Group) -> show::Group {
        let config = self.engine.config();
        let nodes: Vec<&fep_config::Node> = group
            .nodes
            .iter()
            .filter_map(|name| config.node(name))
            .collect();
        let load = |node: &fep_config::Node| {
            let load = self.engine.plane().load(node.address)?;
            load.smoothed().or(load.last())
        };
        let row = |node: &fep_config::Node| Row {
            running: self.agents.has_link(node.address),
            load: load(node).unwrap_or(0),
            priority: node.priority,
        };
        let table = (0..).zip(nodes.iter().map(|node| row(node))).collect();
        let best = optimal::<usize>(&table).and_then(|at| nodes.get(at));
        show::Group {
            name: group.name.clone(),
            best: best.map(|node| node.name.clone()),
            nodes: nodes
                .iter()
                .map(|node| show::GroupNode {
                    node: node.name.clone(),
                    running: self.agents.has_link(node.address),
                    load_permille: load(node),
                    priority: node.priority,
                })
                .collect(),
        }
    }

    fn process(&self, service: &Configured) -> Option<show::Process> {
        use show::ProcessState as P;
        let process = service.process.as_ref()?;
        let processes = self.engine.plane().processes(service.key)?;
        let instances = processes.state().instances.iter();
        let instance = |(addr, known): (&NodeAddr, &fep_control::process::Instance)| {
            let (state, next) = match known.phase {
                Phase::Starting { .. } => (P::Starting, Some("waits until it is ready")),
                Phase::Waiting { .. } => (P::Failed, Some("is started again")),
                Phase::Serving { .. } => (P::Ready, None),
                Phase::Draining { .. } => (P::Draining, Some("is stopped when it has no routes")),
                Phase::Leaving => (P::Draining, Some("is stopped")),
                Phase::Stopping { .. } => (P::Stopping, Some("waits until it has ended")),
            };
            show::Instance {
                node: self
                    .engine
                    .name(addr.address)
                    .unwrap_or_default()
                    .to_owned(),
                state,
                why: self.agents.process_why(addr.address, &process.name),
                restarts: known.failures,
                next: next.map(str::to_owned),
            }
        };
        Some(show::Process {
            name: process.name.clone(),
            service: service.key.to_string(),
            instances: instances.map(instance).collect(),
        })
    }
}
