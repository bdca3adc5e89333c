// SPDX-License-Identifier: GPL-2.0

//! The transfer-control table (F2): a configuration as packets see it.
//!
//! A [`Snapshot`] never changes. A commit builds the next one beside it and publishes it whole.
//! Services that a commit does not touch are shared between the two.

use crate::{
    index::Index,
    node::{AnyBackend, ServiceShared},
};
use core::net::IpAddr;
use fep_core::{
    address::Address,
    hash::HashKey,
    rank::{self, Rank},
    steer::{self, Live},
    validate::Service,
    wrr,
};
use fep_net::rx::RxContext;
use fep_uapi::{Method, Scheduler, TIMEOUTS};
use kernel::{prelude::*, sync::Arc};

/// A back-end node in a service.
pub(crate) struct Member {
    pub(crate) backend: AnyBackend,
    /// The node's, where a search finds it without a look at the node.
    pub(crate) serial: u32,
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) load: u32,
    pub(crate) failed: bool,
    /// Generation of the node that routes made from this configuration get.
    pub(crate) generation: u32,
}

impl Member {
    fn takes_clients(&self) -> bool {
        self.weight != 0 && !self.failed
    }
}

/// A service of a configuration.
pub(crate) struct ServiceVersion {
    pub(crate) shared: Arc<ServiceShared>,
    pub(crate) scheduler: Scheduler,
    /// As set, in seconds.
    pub(crate) timeouts: [u32; TIMEOUTS],
    /// In the order of their serials.
    pub(crate) members: KVVec<Member>,
    /// Serial of the next node.
    pub(crate) next_serial: u32,
    /// Whether any node is reached directly.
    pub(crate) any_direct: bool,
    /// Nodes that take new clients, as they rank.
    pub(crate) ranks: KVVec<Rank>,
    /// Those of the best tier, as positions in `members`.
    pub(crate) tier: KVVec<u32>,
}

/// Nodes that take new clients, as they rank, and those of the best tier. Sleeps.
pub(crate) fn ranks(members: &[Member]) -> Result<(KVVec<Rank>, KVVec<u32>)> {
    let usable = || members.iter().filter(|member| member.takes_clients());
    let mut ranks = KVVec::with_capacity(members.len(), GFP_KERNEL_ACCOUNT)?;
    for member in usable() {
        let rank = Rank {
            load: member.load,
            priority: member.priority,
            index: member.serial,
        };
        ranks.push(rank, GFP_KERNEL_ACCOUNT)?;
    }
    rank::lead(&mut ranks);
    let best = rank::tier(usable().map(|member| member.priority));
    let mut tier = KVVec::with_capacity(members.len(), GFP_KERNEL_ACCOUNT)?;
    for (at, member) in (0u32..).zip(members) {
        if member.takes_clients() && Some(member.priority) == best {
            tier.push(at, GFP_KERNEL_ACCOUNT)?;
        }
    }
    Ok((ranks, tier))
}

impl ServiceVersion {
    /// Nodes of the best tier that take new clients.
    fn tier(&self) -> impl Iterator<Item = &Member> {
        let positions = self.tier.iter();
        positions.filter_map(|&at| self.members.get(at as usize))
    }

    /// The scheduler's slots: nodes that take new clients, by serial. Sleeps.
    pub(crate) fn slots(&self) -> Result<KVVec<wrr::Slot>> {
        let mut slots = KVVec::with_capacity(self.members.len(), GFP_KERNEL_ACCOUNT)?;
        for member in self.tier() {
            let slot = wrr::Slot {
                weight: member.weight,
                done: 0,
                index: member.serial,
            };
            slots.push(slot, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(slots)
    }

    /// Chooses a node for a new client (F2), the next one that `acceptable` accepts. Receive path;
    /// takes the scheduler's lock, below that of a bucket of the allocated-route table.
    ///
    /// Slots outlive configurations, so while one is replaced they may be those of the other: nodes
    /// that this configuration does not have are passed over.
    pub(crate) fn schedule(
        &self,
        cx: &RxContext<'_>,
        mut acceptable: impl FnMut(&Member) -> bool,
    ) -> Choice<'_> {
        let accepts = |serial| self.member(serial).is_some_and(&mut acceptable);
        let chosen = match self.scheduler {
            Scheduler::Wrr => {
                let slots = &mut self.shared.slots.lock_rx(cx);
                wrr::next_where(slots, accepts).and_then(|serial| self.member(serial))
            }
            Scheduler::Optimal => {
                rank::best(&self.ranks, accepts).and_then(|serial| self.member(serial))
            }
            Scheduler::Steer => self.steer(cx, acceptable),
        };
        match chosen {
            Some(member) => Choice::Node(member),
            None if self.tier.is_empty() => Choice::None,
            None => Choice::Refused,
        }
    }

    /// [`Self::schedule`] by live routes (F7).
    fn steer(
        &self,
        cx: &RxContext<'_>,
        mut acceptable: impl FnMut(&Member) -> bool,
    ) -> Option<&Member> {
        let live = |member: &Member| Live {
            weight: member.weight,
            routes: member.backend.routes(),
        };
        if self.tier.len() <= steer::ALL {
            let all = self.tier().map(|member| (member, live(member)));
            return steer::choose(all, |member| acceptable(member));
        }
        let mut slots = self.shared.slots.lock_rx(cx);
        let window = (0..steer::WINDOW).filter_map(|_| {
            let accepts = |serial| self.member(serial).is_some_and(&mut acceptable);
            let member = self.member(wrr::next_where(&mut slots, accepts)?)?;
            Some((member, live(member)))
        });
        steer::choose(window, |_| true)
    }

    /// The node with that serial. `binary_search_by_key()` has checked arithmetic: panic paths.
    fn member(&self, serial: u32) -> Option<&Member> {
        let (mut low, mut high) = (0usize, self.members.len());
        while low < high {
            // OVERFLOW: None: between the two.
            let middle = low.wrapping_add(high.wrapping_sub(low) / 2);
            if self.members.get(middle)?.serial < serial {
                low = middle.wrapping_add(1);
            } else {
                high = middle;
            }
        }
        self.members
            .get(low)
            .filter(|member| member.serial == serial)
    }
}

/// What the scheduler found.
pub(crate) enum Choice<'a> {
    /// This node.
    Node(&'a Member),
    /// No node takes new clients.
    None,
    /// Nodes take new clients, but not this one.
    Refused,
}

/// A node of any service.
struct KnownNode {
    id: Service,
    /// Whether it answers with an address of its own, in some service: one that is reached directly
    /// answers with the service's.
    translated: bool,
}

/// A configuration.
pub(crate) struct Snapshot {
    /// Grows with every commit.
    pub(crate) generation: u64,
    /// The namespace's: who chooses the services may be a container's administrator.
    pub(crate) key: HashKey,
    /// In the order of their serials.
    pub(crate) services: KVVec<Arc<ServiceVersion>>,
    by_service: Index,
    /// Nodes of all services, by protocol, address and port.
    nodes: KVVec<KnownNode>,
    by_node: Index,
}

/// Hash of a service, or of a node with its protocol.
pub(crate) fn service_hash(key: &HashKey, service: &Service) -> u32 {
    let (protocol, port) = (service.protocol, service.port);
    match service.address {
        IpAddr::V4(address) => address.client_hash(key, protocol, port),
        IpAddr::V6(address) => address.client_hash(key, protocol, port),
    }
}

impl Snapshot {
    /// The first configuration: nothing. Sleeps.
    pub(crate) fn empty(key: HashKey) -> Result<Arc<Self>> {
        Self::new(1, key, KVVec::new())
    }

    /// Makes a configuration of services in the order of their serials. Sleeps.
    pub(crate) fn new(
        generation: u64,
        key: HashKey,
        services: KVVec<Arc<ServiceVersion>>,
    ) -> Result<Arc<Self>> {
        let mut by_service = Index::with_capacity(services.len())?;
        let mut members = 0usize;
        for (position, service) in (0u32..).zip(services.iter()) {
            by_service.insert(service_hash(&key, &service.shared.id), position, |_| false);
            members = members.saturating_add(service.members.len());
        }
        let mut by_node = Index::with_capacity(members)?;
        let mut nodes: KVVec<KnownNode> = KVVec::with_capacity(members, GFP_KERNEL_ACCOUNT)?;
        for service in services.iter() {
            for info in service.members.iter().map(|member| member.backend.info()) {
                let id = Service {
                    protocol: service.shared.id.protocol,
                    address: info.node.address,
                    port: info.node.port,
                };
                let translated = info.method == Method::Nat;
                let hash = service_hash(&key, &id);
                let known = by_node.find(hash, |at| {
                    nodes.get(at as usize).is_some_and(|node| node.id == id)
                });
                match known.and_then(|at| nodes.get_mut(at as usize)) {
                    Some(node) => node.translated |= translated,
                    None => {
                        // CAST: No more nodes than `SERVICES_MAX * BACKENDS_MAX`, which is 2^28.
                        by_node.insert(hash, nodes.len() as u32, |_| false);
                        nodes.push(KnownNode { id, translated }, GFP_KERNEL_ACCOUNT)?;
                    }
                }
            }
        }
        Ok(Arc::new(
            Self {
                generation,
                key,
                services,
                by_service,
                nodes,
                by_node,
            },
            GFP_KERNEL_ACCOUNT,
        )?)
    }

    /// The service at an address. Any context.
    pub(crate) fn service(&self, id: &Service) -> Option<&ServiceVersion> {
        let at = self.by_service.find(service_hash(&self.key, id), |at| {
            let service = self.services.get(at as usize);
            service.is_some_and(|service| service.shared.id == *id)
        })?;
        self.services.get(at as usize).map(|service| &**service)
    }

    /// Whether a back-end node of any service is there. Any context.
    pub(crate) fn is_node(&self, id: &Service) -> bool {
        self.node(id).is_some()
    }

    /// Whether a back-end node of any service answers from there, with an address of its own. Any
    /// context.
    pub(crate) fn answers_from(&self, id: &Service) -> bool {
        self.node(id).is_some_and(|node| node.translated)
    }

    fn node(&self, id: &Service) -> Option<&KnownNode> {
        let at = self.by_node.find(service_hash(&self.key, id), |at| {
            self.nodes
                .get(at as usize)
                .is_some_and(|node| node.id == *id)
        })?;
        self.nodes.get(at as usize)
    }
}
