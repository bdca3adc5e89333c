// SPDX-License-Identifier: GPL-2.0

//! What a front-end node must do, written from the requirements (F1 to F3, F6, F8) without a line of
//! `fep_core`: time does not wrap, tables are lists, nothing is fast.
//!
//! Which node a new client is given is not predicted but judged: it must be one that takes new
//! clients, and the choices together must follow the weights.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::connection::{odd, RefRoute};

/// (protocol, address, port).
pub(crate) type ServiceKey = (u8, IpAddr, u16);
/// (address, port).
pub(crate) type Endpoint = (IpAddr, u16);

/// A request or a reply, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) protocol: u8,
    pub(crate) from: Endpoint,
    pub(crate) to: Endpoint,
    pub(crate) flags: u8,
}

/// A node that packets are sent to: translated, or as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) node: Endpoint,
    pub(crate) direct: bool,
}

/// What must become of a packet.
#[derive(Debug, PartialEq)]
pub(crate) enum Expected {
    /// Sent to this node, on a route that is in this state then.
    To(Target, &'static str),
    /// Sent to one of these, and the choice told to [`Reference::chosen`].
    ToOneOf(Vec<Target>),
    /// Sent with this source.
    From(Endpoint),
    /// Sent on as it is: the node answered for itself.
    Onward,
    /// Not sent, and counted by this name.
    Ended(&'static str),
}

#[derive(Clone, Debug)]
struct RefNode {
    at: Endpoint,
    direct: bool,
    weight: u32,
    failed: bool,
}

#[derive(Clone, Debug, Default)]
struct RefService {
    timeouts: [u32; 5],
    nodes: Vec<RefNode>,
    /// The nodes given to new clients since the distribution last changed.
    choices: Vec<Endpoint>,
}

impl RefNode {
    fn target(&self) -> Target {
        Target {
            node: self.at,
            direct: self.direct,
        }
    }
}

impl RefService {
    fn eligible(&self) -> impl Iterator<Item = &RefNode> {
        let nodes = self.nodes.iter();
        nodes.filter(|node| node.weight > 0 && !node.failed)
    }
}

/// What was judged, and how it was.
#[derive(Default)]
pub(crate) struct Judged {
    /// Clients that left a node in maintenance between two connections.
    pub(crate) moved_on: u64,
    /// Those of them that left one which answered them itself.
    pub(crate) moved_on_direct: u64,
    /// Whole cycles that were compared.
    pub(crate) cycles: u64,
    /// Farthest that any node was from its share, in clients.
    pub(crate) farthest: f64,
}

pub(crate) struct Reference {
    /// Time units in a second.
    second: u64,
    limit: usize,
    services: BTreeMap<ServiceKey, RefService>,
    pub(crate) routes: BTreeMap<(ServiceKey, Endpoint), RefRoute>,
    pub(crate) judged: Judged,
}

impl Reference {
    pub(crate) fn new(second: u32, limit: usize) -> Self {
        Self {
            second: second.into(),
            limit,
            services: BTreeMap::new(),
            routes: BTreeMap::new(),
            judged: Judged::default(),
        }
    }

    /// When a route ends if it is not used.
    pub(crate) fn end_of(&self, key: &(ServiceKey, Endpoint)) -> u64 {
        const DEFAULTS: [u32; 5] = [30, 900, 120, 10, 300];
        let route = &self.routes[key];
        let which = match route.state() {
            "syn_sent" | "syn_received" => 0,
            "established" => 1,
            "fin_wait" | "time_wait" => 2,
            "closed" => 3,
            _ => 4,
        };
        let seconds = match self.services[&key.0].timeouts[which] {
            0 => DEFAULTS[which],
            seconds => seconds,
        };
        route.last_used + u64::from(seconds) * self.second
    }

    pub(crate) fn packet(&mut self, seen: Seen, now: u64) -> Expected {
        let service = (seen.protocol, seen.to.0, seen.to.1);
        if self.services.contains_key(&service) {
            return self.request(service, seen, now);
        }
        if let Some(expected) = self.reply(seen, now) {
            return expected;
        }
        if let Some(ended) = odd(seen) {
            return Expected::Ended(ended);
        }
        // A node's own address is not for the client to see.
        let nodes = self
            .services
            .iter()
            .filter(|(key, _)| key.0 == seen.protocol);
        let mut nodes = nodes.flat_map(|(_, service)| &service.nodes);
        if nodes.any(|node| !node.direct && node.at == seen.from) {
            return Expected::Ended("drop_stale_reply");
        }
        Expected::Ended("pass_no_service")
    }

    /// Whether the node answers clients of the service itself; `false` when it is not there.
    pub(crate) fn is_direct(&self, service: &ServiceKey, at: Endpoint) -> bool {
        let service = self.services.get(service);
        let mut nodes = service.into_iter().flat_map(|service| &service.nodes);
        nodes.any(|node| node.at == at && node.direct)
    }

    fn request(&mut self, service: ServiceKey, seen: Seen, now: u64) -> Expected {
        let key = (service, seen.from);
        let begins = seen.protocol == 17 || seen.flags & 0b1_0111 == 2;
        if self.routes.contains_key(&key) && self.end_of(&key) <= now {
            self.routes.remove(&key);
        }
        if let Some(route) = self.routes.get_mut(&key) {
            let nodes = &self.services[&service].nodes;
            let node = nodes.iter().find(|node| node.at == route.node).unwrap();
            let next_connection = begins && seen.protocol == 6;
            if next_connection && node.weight == 0 {
                // A node in maintenance keeps what is in service and gets nothing new.
                if !route.ended() {
                    route.used(true, 0, now, self.second);
                    return Expected::To(route.target(), route.state());
                }
                self.judged.moved_on += 1;
                self.judged.moved_on_direct += u64::from(route.direct);
                self.routes.remove(&key);
            } else {
                route.used(true, seen.flags, now, self.second);
                return Expected::To(route.target(), route.state());
            }
        }
        if let Some(ended) = odd(seen) {
            return Expected::Ended(ended);
        }
        if !begins {
            return Expected::Ended("pass_no_route");
        }
        if self.routes.len() >= self.limit {
            return Expected::Ended("drop_table_full");
        }
        let eligible = self.services[&service].eligible();
        let targets: Vec<Target> = eligible.map(RefNode::target).collect();
        if targets.is_empty() {
            return Expected::Ended("drop_no_backend");
        }
        Expected::ToOneOf(targets)
    }

    /// `None`: it is no reply of a route.
    fn reply(&mut self, seen: Seen, now: u64) -> Option<Expected> {
        let mut routes = self.routes.iter();
        let (&key, _) = routes.find(|(key, route)| {
            let from = if route.direct {
                (key.0 .1, key.0 .2)
            } else {
                route.node
            };
            key.0 .0 == seen.protocol && key.1 == seen.to && from == seen.from
        })?;
        if self.end_of(&key) <= now {
            return None;
        }
        let route = self.routes.get_mut(&key).unwrap();
        route.used(false, seen.flags, now, self.second);
        Some(if route.direct {
            Expected::Onward
        } else {
            Expected::From((key.0 .1, key.0 .2))
        })
    }

    /// A new client was given a node: remembers the route and judges the distribution (F2).
    pub(crate) fn chosen(&mut self, seen: Seen, target: Target, now: u64) {
        let name = (seen.protocol, seen.to.0, seen.to.1);
        let Target { node, direct } = target;
        let route = RefRoute::new(node, direct, seen.protocol == 6, now);
        assert!(self.routes.insert((name, seen.from), route).is_none());

        let service = self.services.get_mut(&name).unwrap();
        service.choices.push(node);
        let eligible = service.eligible();
        let eligible: Vec<_> = eligible.map(|node| (node.at, node.weight)).collect();
        let cycle: u32 = eligible.iter().map(|(_, weight)| weight).sum();
        let count = |choices: &[Endpoint], node| choices.iter().filter(|&&at| at == node).count();
        for &(node, weight) in &eligible {
            let share = f64::from(weight) / f64::from(cycle);
            let due = service.choices.len() as f64 * share;
            let away = (count(&service.choices, node) as f64 - due).abs();
            self.judged.farthest = self.judged.farthest.max(away);
        }
        // The change came in the middle of a cycle. From the end of that one on, any choices as
        // many as a cycle has are exactly the weights.
        let cycle = cycle as usize;
        if service.choices.len() >= 2 * cycle {
            let last = &service.choices[service.choices.len() - cycle..];
            for (node, weight) in eligible {
                assert_eq!(
                    count(last, node),
                    weight as usize,
                    "distribution of {name:?}"
                );
            }
            self.judged.cycles += 1;
        }
    }

    /// Deletes what has ended; returns how much.
    pub(crate) fn sweep(&mut self, now: u64) -> usize {
        let ended = |key: &&(ServiceKey, Endpoint)| self.end_of(key) <= now;
        let ended: Vec<_> = self.routes.keys().filter(ended).copied().collect();
        ended.iter().for_each(|key| _ = self.routes.remove(key));
        ended.len()
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds a service; `false` when it is there.
    pub(crate) fn add_service(&mut self, name: ServiceKey, timeouts: [u32; 5]) -> bool {
        let new = !self.services.contains_key(&name);
        if new {
            let service = RefService {
                timeouts,
                ..RefService::default()
            };
            self.services.insert(name, service);
        }
        new
    }

    pub(crate) fn set_service(&mut self, name: ServiceKey, timeouts: [u32; 5]) -> bool {
        let service = self.services.get_mut(&name);
        service.map(|service| service.timeouts = timeouts).is_some()
    }

    /// Removes a service and its routes; how many, or `None` when it is not there.
    pub(crate) fn remove_service(&mut self, name: ServiceKey) -> Option<usize> {
        self.services.remove(&name)?;
        Some(self.remove_routes(|key, _| key.0 == name))
    }

    /// Adds a node; `false` when it is there or cannot be one.
    pub(crate) fn add_node(
        &mut self,
        name: ServiceKey,
        at: Endpoint,
        weight: u32,
        direct: bool,
    ) -> bool {
        let other_family = at.0.is_ipv4() != name.1.is_ipv4();
        if other_family || direct && at.1 != name.2 {
            return false;
        }
        let Some(service) = self.services.get_mut(&name) else {
            return false;
        };
        let new = service.nodes.iter().all(|node| node.at != at);
        if new {
            service.nodes.push(RefNode {
                at,
                direct,
                weight,
                failed: false,
            });
            service.choices.clear();
        }
        new
    }

    /// Sets a weight. 0 is maintenance: nothing that is in service notices (F8, F11).
    pub(crate) fn set_weight(&mut self, name: ServiceKey, at: Endpoint, weight: u32) -> bool {
        let Some(service) = self.services.get_mut(&name) else {
            return false;
        };
        let Some(node) = service.nodes.iter_mut().find(|node| node.at == at) else {
            return false;
        };
        node.weight = weight;
        service.choices.clear();
        true
    }

    pub(crate) fn remove_node(&mut self, name: ServiceKey, at: Endpoint) -> Option<usize> {
        let service = self.services.get_mut(&name)?;
        let place = service.nodes.iter().position(|node| node.at == at)?;
        service.nodes.remove(place);
        service.choices.clear();
        Some(self.remove_routes(|key, route| key.0 == name && route.node == at))
    }

    /// F6: the node takes no client, and every route to it is deleted. Or it is back. On every port
    /// where `port` is `None`, in every service where `name` is `None`.
    pub(crate) fn mark(
        &mut self,
        name: Option<ServiceKey>,
        (address, port): (IpAddr, Option<u16>),
        failed: bool,
    ) -> Option<usize> {
        let meant = |other: ServiceKey, at: Endpoint| {
            name.is_none_or(|name| name == other)
                && at.0 == address
                && port.is_none_or(|port| port == at.1)
        };
        let mut found = false;
        for (&other, service) in &mut self.services {
            for node in &mut service.nodes {
                if meant(other, node.at) {
                    node.failed = failed;
                    found = true;
                }
            }
            service.choices.clear();
        }
        let deleted = self.remove_routes(|key, route| failed && meant(key.0, route.node));
        found.then_some(deleted)
    }

    fn remove_routes(
        &mut self,
        gone: impl Fn(&(ServiceKey, Endpoint), &RefRoute) -> bool,
    ) -> usize {
        let before = self.routes.len();
        self.routes.retain(|key, route| !gone(key, route));
        before - self.routes.len()
    }
}
