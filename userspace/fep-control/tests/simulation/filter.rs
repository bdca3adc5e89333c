// SPDX-License-Identifier: GPL-2.0

//! A model of the filter: its configuration, routes and counters.

use std::collections::BTreeMap;

use fep_client::change::Change;
use fep_client::{Backend, Config, NodeAddr, NodePattern, ServiceKey};
use fep_control::passive::Counters;

use crate::random::Random;

/// A node of a service.
pub(crate) type At = (ServiceKey, NodeAddr);

/// The routes of a node.
#[derive(Clone, Copy, Default)]
pub(crate) struct Routes {
    pub(crate) live: u64,
    pub(crate) dead: u64,
}

#[derive(Default)]
pub(crate) struct Filter {
    pub(crate) config: Config,
    pub(crate) routes: BTreeMap<At, Routes>,
    pub(crate) counters: BTreeMap<At, Counters>,
    /// Clients that will repeat their SYN, and when.
    waiting: Vec<(u64, At)>,
}

impl Filter {
    /// All nodes in the table.
    pub(crate) fn backends(&self) -> impl Iterator<Item = (ServiceKey, &Backend)> {
        let services = self.config.services.iter().flatten();
        services.flat_map(|service| service.backends.iter().map(|node| (service.key, node)))
    }

    pub(crate) fn find(&self, (key, addr): At) -> Option<&Backend> {
        let mut all = self.backends();
        all.find(|(of, node)| *of == key && node.addr == addr)
            .map(|(_, node)| node)
    }

    pub(crate) fn routes_of(&self, at: At) -> u64 {
        self.routes
            .get(&at)
            .map_or(0, |routes| routes.live + routes.dead)
    }

    /// What a list of routes says of a node.
    pub(crate) fn listed(&self, at: At) -> Option<(u32, u64)> {
        self.find(at)
            .map(|node| (node.weight.0, self.routes_of(at)))
    }

    /// Becomes `next` by these changes; routes of what failed or went are gone when it returns.
    pub(crate) fn commit(&mut self, changes: &[Change], next: Config) {
        let mut gone = |service: Option<ServiceKey>, node: NodePattern| {
            let meant = |at: &At| service.is_none_or(|key| key == at.0) && node.matches(&at.1);
            self.routes.retain(|at, _| !meant(at));
            self.waiting.retain(|(_, at)| !meant(at));
        };
        for change in changes {
            match change {
                Change::BackendFail { service, backend } => gone(*service, *backend),
                Change::BackendDel { service, backend } => {
                    gone(Some(*service), (*backend).into());
                    self.counters.remove(&(*service, *backend));
                }
                _ => {}
            }
        }
        self.config = next;
    }

    /// A client comes to the service; returns its node.
    pub(crate) fn client(&mut self, key: ServiceKey, random: &mut Random) -> Option<NodeAddr> {
        let usable = |(of, node): &(ServiceKey, &Backend)| *of == key && node.failed != Some(true);
        let whole: u64 = self
            .backends()
            .filter(usable)
            .map(|(_, node)| u64::from(node.weight.0))
            .sum();
        let mut place = random.below(whole.max(1));
        let chosen = self.backends().filter(usable).find(|(_, node)| {
            let weight = u64::from(node.weight.0);
            let here = place < weight;
            place = place.saturating_sub(weight);
            here
        });
        let addr = chosen?.1.addr;
        self.routes.entry((key, addr)).or_default().live += 1;
        Some(addr)
    }

    /// The node did not answer the client that came at `tick`: with a reset, or not at all.
    pub(crate) fn unanswered(&mut self, at: At, reset: bool, tick: u64, second: u64) {
        if reset {
            self.counters.entry(at).or_default().reset += 1;
        } else {
            self.waiting.push((tick + second, at));
        }
    }

    /// Time goes on: SYNs are repeated, connections end, some without the filter's seeing it.
    pub(crate) fn tick(&mut self, tick: u64, random: &mut Random) {
        let counters = &mut self.counters;
        self.waiting.retain(|&(when, at)| {
            if when <= tick {
                counters.entry(at).or_default().repeated += 1;
            }
            when > tick
        });
        for routes in self.routes.values_mut() {
            let ended = random.below(4).min(routes.live);
            routes.live -= ended;
            if random.one_in(3) {
                routes.dead += ended;
            }
        }
    }
}
