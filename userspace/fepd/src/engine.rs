// SPDX-License-Identifier: GPL-2.0

//! The control plane of a configuration: `fep-control`'s [`Plane`] with what the file says, the checks
//! that are under way, and why the last of each was bad.
//!
//! No clock, socket or randomness: the time is a [`Duration`] since any fixed moment, random numbers
//! are arguments.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fep_client::{Method, NodeAddr, NodeDetails, ServiceKey, Snapshot};
use fep_config::{Check, Config};
use fep_control::passive::Counters;
use fep_control::plane::{Action, Event, Plane, Saved};
use fep_control::pool::Verdict;

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

/// What a check of a node said: nothing, or why it is bad.
pub type CheckResult = Result<(), String>;

/// The control plane of a configuration.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    plane: Plane,
    checks: BTreeMap<ServiceKey, Arc<[Check]>>,
    /// Checks that are under way.
    busy: BTreeSet<Place>,
    /// The last result of each, and when it came.
    last: BTreeMap<Place, (Duration, CheckResult)>,
    /// Nodes that do not answer and are kept, as was said last.
    kept: BTreeSet<Place>,
}

fn checks(config: &Config) -> BTreeMap<ServiceKey, Arc<[Check]>> {
    let of = |service: &fep_config::Service| (service.key, service.checks.clone().into());
    config.services.iter().map(of).collect()
}

impl Engine {
    /// Begins at `now`, or goes on with what another life of the daemon has `saved` and the filter
    /// holds.
    pub fn new(
        config: Config,
        held: &fep_client::Config,
        saved: Saved,
        now: Duration,
        random: &mut dyn FnMut() -> u64,
    ) -> Self {
        let (rules, desired) = (rules::of(&config), config.filter());
        Self {
            plane: Plane::new(rules, desired, held, saved, now, random),
            checks: checks(&config),
            busy: BTreeSet::new(),
            last: BTreeMap::new(),
            kept: BTreeSet::new(),
            config,
        }
    }

    /// Takes a new configuration at `now`. What did not change keeps all that is known of it.
    pub fn reload(&mut self, config: Config, now: Duration, random: &mut dyn FnMut() -> u64) {
        let (rules, desired) = (rules::of(&config), config.filter());
        self.plane.reconfigure(rules, desired, now, random);
        self.checks = checks(&config);
        self.config = config;
        let plane = &self.plane;
        self.last
            .retain(|&(service, node), _| plane.health(service, node).is_some());
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The control plane.
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// The control plane, for the orders of an administrator and what agents say.
    pub fn plane_mut(&mut self) -> &mut Plane {
        &mut self.plane
    }

    /// The checks that are to begin at `now`. One that is still under way is not begun again.
    pub fn due(&mut self, now: Duration, random: &mut dyn FnMut() -> u64) -> Vec<Order> {
        let mut orders = Vec::new();
        for place in self.plane.due(now, random) {
            let Some(checks) = self.checks.get(&place.0) else {
                continue;
            };
            if self.busy.insert(place) {
                let checks = Arc::clone(checks);
                orders.push(Order { place, checks });
            }
        }
        orders
    }

    /// A check ended at `now`.
    pub fn checked(&mut self, place: Place, result: CheckResult, now: Duration) {
        self.busy.remove(&place);
        let (service, node) = place;
        let good = result.is_ok();
        // First, so that a failure that comes of it finds its reason.
        if self.plane.health(service, node).is_some() {
            self.last.insert(place, (now, result));
        }
        let event = Event::Checked {
            service,
            node,
            good,
        };
        self.plane.event(event, now);
    }

    /// The last result of the checks of a node, and when it came.
    pub fn last(&self, place: Place) -> Option<&(Duration, CheckResult)> {
        self.last.get(&place)
    }

    /// The filter's counters of the nodes at `now`.
    pub fn counted(&mut self, nodes: &[NodeDetails], now: Duration) {
        for node in nodes {
            let counters = Counters {
                unanswered: node.syn_unanswered,
                reset: node.syn_reset,
                repeated: node.syn_repeated,
            };
            let event = Event::Counted {
                service: node.service,
                node: node.backend,
                counters,
            };
            self.plane.event(event, now);
        }
    }

    /// What the filter holds at `now`, after the last commit.
    pub fn listed(&mut self, held: &Snapshot, now: Duration) {
        for (service, node) in self.plane.watched() {
            let backends = held.service(&service).map(|service| &service.backends);
            let mut backends = backends.into_iter().flatten();
            let found = backends.find(|backend| backend.addr == node);
            let event = Event::Listed {
                service,
                node,
                found: found.map(|backend| (backend.weight.0, backend.routes)),
            };
            self.plane.event(event, now);
        }
    }

    /// What is to be done at `now`.
    pub fn step(&mut self, now: Duration) -> Vec<Action> {
        self.plane.step(now)
    }

    /// The nodes of which it is new at `now` that they do not answer and get clients all the same,
    /// because too many would be out.
    pub fn alarms(&mut self, now: Duration) -> Vec<Place> {
        let mut kept = BTreeSet::new();
        for &service in self.checks.keys() {
            let verdicts = self.plane.verdicts(service, now);
            let these = verdicts
                .iter()
                .filter(|(_, &verdict)| verdict == Verdict::Kept);
            kept.extend(these.map(|(&node, _)| (service, node)));
        }
        let new = kept.difference(&self.kept).copied().collect();
        self.kept = kept;
        new
    }

    /// How packets reach a node of a service.
    pub fn method(&self, (service, node): Place) -> Method {
        let mut services = self.config.services.iter();
        let service = services.find(|other| other.key == service);
        let mut members = service.iter().flat_map(|service| &service.members);
        let member = members.find(|member| member.addr == node);
        member.map_or(Method::NAT, |member| member.method)
    }

    /// The process of a service.
    pub fn process(&self, service: ServiceKey) -> Option<&str> {
        let mut services = self.config.services.iter();
        let service = services.find(|other| other.key == service)?;
        service
            .process
            .as_ref()
            .map(|process| process.name.as_str())
    }

    /// The service of a process.
    pub fn service_of(&self, process: &str) -> Option<ServiceKey> {
        let mut services = self.config.services.iter();
        let is = |service: &&fep_config::Service| {
            service
                .process
                .as_ref()
                .is_some_and(|own| own.name == process)
        };
        services.find(is).map(|service| service.key)
    }

    /// The name of a node.
    pub fn name(&self, address: IpAddr) -> Option<&str> {
        let mut nodes = self.config.nodes.iter();
        let node = nodes.find(|node| node.address == address)?;
        Some(&node.name)
    }
}
