// SPDX-License-Identifier: GPL-2.0

//! What the daemon knows of the nodes, and what the filter should hold for it.
//!
//! No clock, socket or randomness: the time is a [`Duration`] since any fixed moment, random numbers
//! are arguments. Checks go out as [`Order`]s, and their results, what the filter counted, and the
//! operator's wishes come in.

mod passive;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fep_client::{NodeAddr, NodeDetails, ServiceKey};
use fep_config::{Check, Config, Member, Service};
use fep_control::health::Health;
use fep_control::maintenance::{Maintenance, State as Drain};
use fep_control::pool::{Pool, Verdict};
use fep_control::reconcile::{self, Decision, Decisions};

use crate::state::Saved;
use passive::Counters;

/// A service and one of its nodes.
pub type Place = (ServiceKey, NodeAddr);

/// A node that is to be checked now.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which one, for which service.
    pub place: Place,
    /// All of them have to be good.
    pub checks: Arc<[Check]>,
}

/// What a check of a node said, or why it is bad.
pub type CheckResult = Result<(), String>;

/// A change of what is decided about a node, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The node, for which service.
    pub place: Place,
    /// What is decided now; `None` where the node is no more.
    pub now: Option<Verdict>,
    /// Why.
    pub why: String,
}

/// What the daemon knows.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    services: BTreeMap<ServiceKey, Served>,
    maintenance: BTreeMap<String, Maintenance>,
    /// When the maintenances end, in the file's time.
    deadlines: BTreeMap<String, u64>,
}

/// A service that is watched.
#[derive(Debug)]
struct Served {
    pool: Pool,
    checks: Arc<[Check]>,
    nodes: BTreeMap<NodeAddr, Watched>,
}

/// A node that is watched.
#[derive(Debug, Default)]
struct Watched {
    /// A check is under way.
    busy: bool,
    /// The last result, and when it came.
    last: Option<(Duration, CheckResult)>,
    counters: Counters,
    /// What was decided last.
    verdict: Option<Verdict>,
}

impl Engine {
    /// Begins at `now`, which is `wall` seconds since 1970, with what the filter holds: a node that
    /// is marked failed there is failed until it has answered often enough.
    pub fn new(
        config: Config,
        held: &fep_client::Config,
        saved: &Saved,
        (now, wall): (Duration, u64),
        random: &mut dyn FnMut() -> u64,
    ) -> Self {
        let mut engine = Self {
            config: config.clone(),
            services: BTreeMap::new(),
            maintenance: BTreeMap::new(),
            deadlines: BTreeMap::new(),
        };
        let mut marked = BTreeMap::new();
        for service in held.services.iter().flatten() {
            for backend in &service.backends {
                marked.insert((service.key, backend.addr), backend.failed == Some(true));
            }
        }
        engine.serve(config, &marked, now, random);
        for (node, deadline) in &saved.maintenance {
            if engine.config.node(node).is_some() {
                let left = Duration::from_secs(deadline.saturating_sub(wall));
                engine.drain(node, now, left, *deadline);
            }
        }
        engine
    }

    /// Takes a new configuration at `now`. What did not change keeps all that is known of it.
    pub fn reload(&mut self, config: Config, now: Duration, random: &mut dyn FnMut() -> u64) {
        self.serve(config, &BTreeMap::new(), now, random);
        let config = &self.config;
        self.maintenance
            .retain(|node, _| config.node(node).is_some());
        self.deadlines.retain(|node, _| config.node(node).is_some());
    }

    fn serve(
        &mut self,
        config: Config,
        marked: &BTreeMap<Place, bool>,
        now: Duration,
        random: &mut dyn FnMut() -> u64,
    ) {
        let before = std::mem::replace(&mut self.config, config);
        let mut old = std::mem::take(&mut self.services);
        for service in &self.config.services {
            let was = before.services.iter().find(|was| was.key == service.key);
            let same_health = was.is_some_and(|was| was.health == service.health);
            let mut kept = old.remove(&service.key);
            let mut pool = Pool::new(service.pool);
            let mut nodes = BTreeMap::new();
            for member in &service.members {
                let known = kept.as_mut().and_then(|kept| {
                    let watched = kept.nodes.remove(&member.addr)?;
                    Some((kept.pool.nodes.remove(&member.addr)?, watched))
                });
                let (health, watched) = match known {
                    Some((health, watched)) if same_health => (health, watched),
                    Some((health, watched)) => (
                        Health::new(service.health, health.is_up(), now, random()),
                        watched,
                    ),
                    None => {
                        let failed = marked.get(&(service.key, member.addr)) == Some(&true);
                        (
                            Health::new(service.health, !failed, now, random()),
                            Watched::default(),
                        )
                    }
                };
                pool.nodes.insert(member.addr, health);
                nodes.insert(member.addr, watched);
            }
            let checks = service.checks.clone().into();
            self.services.insert(
                service.key,
                Served {
                    pool,
                    checks,
                    nodes,
                },
            );
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The checks that are due at `now`.
    pub fn due(&mut self, now: Duration, random: &mut dyn FnMut() -> u64) -> Vec<Order> {
        let mut orders = Vec::new();
        for (&key, served) in &mut self.services {
            for (&addr, health) in &mut served.pool.nodes {
                let Some(watched) = served.nodes.get_mut(&addr) else {
                    continue;
                };
                if watched.busy || health.next_check() > now {
                    continue;
                }
                watched.busy = true;
                health.check_begins(now, random());
                orders.push(Order {
                    place: (key, addr),
                    checks: Arc::clone(&served.checks),
                });
            }
        }
        orders
    }

    /// When the next check is due that is not under way.
    pub fn next_check(&self) -> Option<Duration> {
        let services = self.services.values();
        let nodes = services.flat_map(|served| {
            let idle = |addr: &NodeAddr| served.nodes.get(addr).is_some_and(|node| !node.busy);
            served.pool.nodes.iter().filter(move |(addr, _)| idle(addr))
        });
        nodes.map(|(_, health)| health.next_check()).min()
    }

    /// A check ended at `now`. Returns whether the node failed or came back.
    pub fn checked(&mut self, place: Place, result: CheckResult, now: Duration) -> bool {
        let Some((health, watched)) = self.of(place) else {
            return false; // a reload took it away meanwhile
        };
        watched.busy = false;
        let changed = health.checked(result.is_ok(), now);
        watched.last = Some((now, result));
        changed
    }

    fn of(&mut self, (service, addr): Place) -> Option<(&mut Health, &mut Watched)> {
        let served = self.services.get_mut(&service)?;
        Some((
            served.pool.nodes.get_mut(&addr)?,
            served.nodes.get_mut(&addr)?,
        ))
    }

    /// The filter's counters at `now`: clients without an answer count against a node. Returns
    /// whether one failed.
    pub fn counted(&mut self, details: &[NodeDetails], now: Duration) -> bool {
        let mut changed = false;
        for node in details {
            if let Some((health, watched)) = self.of((node.service, node.backend)) {
                let more = watched.counters.more(node);
                changed |= more > 0 && health.missed(more, now);
            }
        }
        changed
    }

    /// The configuration that the filter should hold at `now`.
    pub fn wanted(&self, now: Duration) -> fep_client::Config {
        let mut decisions = Decisions::new();
        for service in &self.config.services {
            let Some(served) = self.services.get(&service.key) else {
                continue;
            };
            let verdicts = served.pool.verdicts(now);
            for member in &service.members {
                let Some(&verdict) = verdicts.get(&member.addr) else {
                    continue;
                };
                let decision = Decision {
                    verdict,
                    ratio: 1000,
                    drained: self.maintenance.contains_key(&member.node),
                };
                decisions.insert((service.key, member.addr), decision);
            }
        }
        reconcile::wanted(&self.config.filter(), &decisions)
    }

    /// When what is wanted changes by time alone: nodes that begin slowly.
    pub fn next_share(&self, now: Duration) -> Option<Duration> {
        let slow = |service: &Service| {
            let served = self.services.get(&service.key)?;
            let verdicts = served.pool.verdicts(now);
            let slow =
                |verdict: &Verdict| matches!(verdict, Verdict::Serve(percent) if *percent < 100);
            let any = verdicts.values().any(slow);
            any.then(|| now + service.pool.slow_start / 10)
        };
        self.config.services.iter().filter_map(slow).min()
    }

    /// What changed in the verdicts since this was asked last.
    pub fn news(&mut self, now: Duration) -> Vec<Change> {
        let mut news = Vec::new();
        for (&key, served) in &mut self.services {
            let verdicts = served.pool.verdicts(now);
            for (&addr, watched) in &mut served.nodes {
                let verdict = verdicts.get(&addr).copied();
                let kind = |verdict: Verdict| std::mem::discriminant(&verdict);
                if verdict.map(kind) == watched.verdict.map(kind) {
                    continue;
                }
                let first = watched.verdict.is_none();
                watched.verdict = verdict;
                if first && matches!(verdict, Some(Verdict::Serve(_))) {
                    continue;
                }
                let why = match (&watched.last, served.pool.nodes.get(&addr)) {
                    (Some((_, Err(why))), Some(health)) if !health.is_up() => why.clone(),
                    (_, Some(health)) => format!("{:?}", health.cause()).to_lowercase(),
                    _ => String::new(),
                };
                news.push(Change {
                    place: (key, addr),
                    now: verdict,
                    why,
                });
            }
        }
        news
    }

    /// Takes a node out of service for maintenance: no new clients from `now` on; done when it has no
    /// routes, at the latest after `limit`, which is at `deadline` seconds since 1970.
    ///
    /// A node that is in maintenance already keeps its own.
    pub fn drain(&mut self, node: &str, now: Duration, limit: Duration, deadline: u64) {
        let every = Duration::from_secs(5);
        self.maintenance
            .entry(node.to_owned())
            .or_insert_with(|| Maintenance::new(now, now + limit, every));
        self.deadlines.entry(node.to_owned()).or_insert(deadline);
    }

    /// Ends the maintenance of a node. Returns whether there was one.
    pub fn resume(&mut self, node: &str) -> bool {
        self.deadlines.remove(node);
        self.maintenance.remove(node).is_some()
    }

    /// How far the maintenance of a node is.
    pub fn drained(&self, node: &str) -> Option<Drain> {
        self.maintenance.get(node).map(Maintenance::state)
    }

    /// The nodes in maintenance that are not done, with the routes that each has.
    pub fn drains(&mut self, held: &fep_client::Snapshot, now: Duration) {
        for (node, maintenance) in &mut self.maintenance {
            let of_node = |member: &&Member| member.node == *node;
            let mut routes = 0;
            for service in &self.config.services {
                let Some(there) = held.service(&service.key) else {
                    continue;
                };
                for member in service.members.iter().filter(of_node) {
                    let mut backends = there.backends.iter();
                    let backend = backends.find(|backend| backend.addr == member.addr);
                    routes += backend.map_or(0, |backend| backend.routes);
                }
            }
            maintenance.routes(routes, now);
        }
    }

    /// What has to outlive the daemon.
    pub fn saved(&self) -> Saved {
        Saved {
            maintenance: self.deadlines.clone(),
            ..Saved::default()
        }
    }

    /// Panics where a rule is broken at `now`.
    pub fn check_invariants(&self, now: Duration) {
        for served in self.services.values() {
            served.pool.check_invariants(now);
            assert!(served.nodes.keys().eq(served.pool.nodes.keys()));
        }
    }
}
