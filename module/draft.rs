// SPDX-License-Identifier: GPL-2.0

//! A configuration in the making.
//!
//! Operations are applied to a draft, where each may fail without consequence. Only when all have
//! been, and everything the new configuration needs is allocated, is it published ([`crate::commit`]).

use crate::{
    index::Index,
    node::AnyBackend,
    snapshot::{service_hash, ServiceVersion, Snapshot},
};
use fep_core::{
    hash::HashKey,
    validate::{Change, Node, NodePattern, Service},
};
use fep_net::netns::has_ipv6;
use fep_uapi::{Method, Reason, Scheduler, BACKENDS_MAX, SERVICES_MAX, TIMEOUTS};
use kernel::{alloc::AllocError, prelude::*, sync::Arc};

/// Why an operation cannot be applied.
pub(crate) struct Refusal(pub(crate) Reason);

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}

impl From<AllocError> for Refusal {
    fn from(_: AllocError) -> Self {
        Self(Reason::NoMemory)
    }
}

impl From<Error> for Refusal {
    fn from(_: Error) -> Self {
        Self(Reason::NoMemory)
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Refusal>;

/// A back-end node in the making.
pub(crate) struct DraftMember {
    /// The node as it is, unless it is new.
    pub(crate) backend: Option<AnyBackend>,
    pub(crate) node: Node,
    pub(crate) method: Method,
    pub(crate) serial: u32,
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) load: u32,
    pub(crate) failed: bool,
    /// Its routes have to go: it failed.
    pub(crate) ended: bool,
}

/// The new contents of a service.
pub(crate) struct Contents {
    pub(crate) scheduler: Scheduler,
    pub(crate) timeouts: [u32; TIMEOUTS],
    pub(crate) members: KVVec<DraftMember>,
    pub(crate) next_serial: u32,
}

/// A service in the making.
pub(crate) struct DraftService {
    pub(crate) id: Service,
    /// The service as it is, unless it is new.
    pub(crate) base: Option<Arc<ServiceVersion>>,
    /// Its new contents, if they change.
    pub(crate) contents: Option<Contents>,
    pub(crate) removed: bool,
}

impl DraftService {
    /// The contents, copied from the base when first changed.
    pub(crate) fn edit(&mut self) -> Outcome<&mut Contents> {
        let contents = match self.contents.take() {
            Some(contents) => contents,
            None => {
                // A service has a base, or was given contents when it was added.
                let base = self.base.as_ref().ok_or(Reason::NoSuchService)?;
                let mut members = KVVec::with_capacity(base.members.len(), GFP_KERNEL_ACCOUNT)?;
                for member in base.members.iter() {
                    let info = member.backend.info();
                    let copy = DraftMember {
                        backend: Some(member.backend.clone()),
                        node: info.node,
                        method: info.method,
                        serial: info.serial,
                        weight: member.weight,
                        priority: member.priority,
                        load: member.load,
                        failed: member.failed,
                        ended: false,
                    };
                    members.push(copy, GFP_KERNEL_ACCOUNT)?;
                }
                Contents {
                    scheduler: base.scheduler,
                    timeouts: base.timeouts,
                    members,
                    next_serial: base.next_serial,
                }
            }
        };
        Ok(self.contents.insert(contents))
    }

    /// Whether any node matches, without copying anything.
    pub(crate) fn has(&self, pattern: &NodePattern) -> bool {
        match (&self.contents, &self.base) {
            (Some(contents), _) => contents.members.iter().any(|m| pattern.matches(&m.node)),
            (None, Some(base)) => base
                .members
                .iter()
                .any(|m| pattern.matches(&m.backend.info().node)),
            (None, None) => false,
        }
    }
}

/// A draft of the next configuration.
pub(crate) struct Draft {
    pub(crate) services: KVVec<DraftService>,
    index: Index,
    pub(crate) live: u32,
    pub(crate) next_serial: u32,
    pub(crate) key: HashKey,
    /// The configuration that is changed.
    base: Arc<Snapshot>,
    /// Nodes that the operations add, as addresses with the protocol of their service.
    added: KVVec<Service>,
    by_added: Index,
    pub(crate) limit: Option<u32>,
    /// Nodes all of whose routes have to go, because they failed or were removed.
    pub(crate) ended: KVVec<AnyBackend>,
    /// Those of them that were removed: their traffic is kept with the service.
    pub(crate) retired: KVVec<AnyBackend>,
}

impl Draft {
    /// A draft of `snapshot`, for `ops` operations. Sleeps.
    pub(crate) fn new(snapshot: &Arc<Snapshot>, next_serial: u32, ops: usize) -> Outcome<Self> {
        let count = snapshot.services.len();
        let most = count.checked_add(ops).ok_or(Reason::NoMemory)?;
        let key = snapshot.key;
        let mut index = Index::with_capacity(most)?;
        let mut services = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for (position, service) in (0u32..).zip(snapshot.services.iter()) {
            let id = service.shared.id;
            index.insert(service_hash(&key, &id), position, |_| false);
            let draft = DraftService {
                id,
                base: Some(service.clone()),
                contents: None,
                removed: false,
            };
            services.push(draft, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(Self {
            services,
            index,
            // CAST: At most `SERVICES_MAX`.
            live: count as u32,
            next_serial,
            key,
            base: snapshot.clone(),
            added: KVVec::new(),
            by_added: Index::with_capacity(ops)?,
            limit: None,
            ended: KVVec::new(),
            retired: KVVec::new(),
        })
    }

    pub(crate) fn position(&self, id: &Service) -> Option<usize> {
        let same = |at: u32| {
            self.services
                .get(at as usize)
                .is_some_and(|service| service.id == *id)
        };
        let at = self.index.find(service_hash(&self.key, id), same)? as usize;
        let removed = self.services.get(at)?.removed;
        (!removed).then_some(at)
    }

    pub(crate) fn service(&mut self, id: &Service) -> Outcome<&mut DraftService> {
        let at = self.position(id).ok_or(Reason::NoSuchService)?;
        Ok(self.services.get_mut(at).ok_or(Reason::NoSuchService)?)
    }

    /// Applies one change. Devices are not the draft's business.
    pub(crate) fn apply(&mut self, change: &Change<'_>) -> Outcome {
        match *change {
            Change::DeviceAttach { .. } | Change::DeviceDetach { .. } => Ok(()),
            Change::LimitSet { limit } => {
                self.limit = Some(limit);
                Ok(())
            }
            Change::ServiceAdd {
                service,
                scheduler,
                timeouts,
            } => self.add_service(service, scheduler, timeouts),
            Change::ServiceSet {
                service,
                scheduler,
                timeouts,
            } => {
                let contents = self.service(&service)?.edit()?;
                contents.scheduler = scheduler;
                contents.timeouts = timeouts;
                Ok(())
            }
            Change::ServiceDel { service } => self.remove_service(&service),
            Change::BackendAdd {
                service,
                backend,
                weight,
                method,
            } => self.add_backend(&service, backend, weight, method),
            Change::BackendSet {
                service,
                backend,
                weight,
            } => {
                self.member(&service, &backend)?.weight = weight;
                Ok(())
            }
            Change::BackendPriority {
                service,
                backend,
                priority,
            } => {
                self.member(&service, &backend)?.priority = priority;
                Ok(())
            }
            Change::BackendLoad {
                service,
                backend,
                load,
            } => self.edit_matching(service, &backend, |member| member.load = load),
            Change::BackendDel { service, backend } => self.remove_backend(&service, &backend),
            Change::BackendFail { service, backend } => self.mark(service, &backend, true),
            Change::BackendRestore { service, backend } => self.mark(service, &backend, false),
        }
    }

    fn add_service(
        &mut self,
        id: Service,
        scheduler: Scheduler,
        timeouts: [u32; TIMEOUTS],
    ) -> Outcome {
        // Packets ask the kernel's IPv6 only for addresses of services and nodes, so without services
        // it is never asked.
        if id.address.is_ipv6() && !has_ipv6() {
            return Err(Reason::FamilyUnsupported.into());
        }
        if self.position(&id).is_some() {
            return Err(Reason::ServiceExists.into());
        }
        if self.is_node(&id) {
            return Err(Reason::BackendIsVip.into());
        }
        if self.live >= SERVICES_MAX {
            return Err(Reason::TooManyServices.into());
        }
        let service = DraftService {
            id,
            base: None,
            contents: Some(Contents {
                scheduler,
                timeouts,
                members: KVVec::new(),
                next_serial: 0,
            }),
            removed: false,
        };
        // CAST: At most the services there are and one for each operation, far below 2^32.
        let at = self.services.len() as u32;
        self.services.push(service, GFP_KERNEL_ACCOUNT)?;
        let services = &self.services;
        self.index
            .insert(service_hash(&self.key, &id), at, |other| {
                services.get(other as usize).is_some_and(|s| s.id == id)
            });
        self.live = self.live.saturating_add(1);
        Ok(())
    }

    /// Whether a node of any service has that protocol, address and port.
    fn is_node(&self, node: &Service) -> bool {
        let hash = service_hash(&self.key, node);
        let was = self.base.is_node(node);
        let added = |at: u32| self.added.get(at as usize) == Some(node);
        if !was && self.by_added.find(hash, added).is_none() {
            return false;
        }
        // It was, or has been added: see whether it still is.
        let pattern = NodePattern {
            address: node.address,
            port: Some(node.port),
        };
        self.services.iter().any(|service| {
            !service.removed && service.id.protocol == node.protocol && service.has(&pattern)
        })
    }

    fn remove_service(&mut self, id: &Service) -> Outcome {
        let at = self.position(id).ok_or(Reason::NoSuchService)?;
        let service = self.services.get_mut(at).ok_or(Reason::NoSuchService)?;
        service.removed = true;
        self.live = self.live.saturating_sub(1);
        // What the service was, less the nodes that an earlier operation took out of it.
        match (service.contents.take(), &service.base) {
            (Some(contents), _) => {
                for backend in contents.members.iter().filter_map(|m| m.backend.as_ref()) {
                    self.ended.push(backend.clone(), GFP_KERNEL_ACCOUNT)?;
                }
            }
            (None, Some(base)) => {
                for member in base.members.iter() {
                    self.ended
                        .push(member.backend.clone(), GFP_KERNEL_ACCOUNT)?;
                }
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn add_backend(&mut self, id: &Service, node: Node, weight: u32, method: Method) -> Outcome {
        let vip = Service {
            protocol: id.protocol,
            address: node.address,
            port: node.port,
        };
        if self.position(&vip).is_some() {
            return Err(Reason::BackendIsVip.into());
        }
        let contents = self.service(id)?.edit()?;
        if contents.members.iter().any(|m| m.node == node) {
            return Err(Reason::BackendExists.into());
        }
        if contents.members.len() >= BACKENDS_MAX as usize {
            return Err(Reason::TooManyBackends.into());
        }
        let serial = contents.next_serial;
        contents.next_serial = serial.checked_add(1).ok_or(Reason::TooManyBackends)?;
        let member = DraftMember {
            backend: None,
            node,
            method,
            serial,
            weight,
            priority: 0,
            load: 0,
            failed: false,
            ended: false,
        };
        contents.members.push(member, GFP_KERNEL_ACCOUNT)?;
        // CAST: At most one for each operation.
        let at = self.added.len() as u32;
        self.added.push(vip, GFP_KERNEL_ACCOUNT)?;
        self.by_added
            .insert(service_hash(&self.key, &vip), at, |_| false);
        Ok(())
    }

    fn remove_backend(&mut self, id: &Service, node: &Node) -> Outcome {
        let contents = self.service(id)?.edit()?;
        let at = contents.members.iter().position(|m| m.node == *node);
        let at = at.ok_or(Reason::NoSuchBackend)?;
        let member = contents.members.remove(at);
        if let Some(backend) = member.ok().and_then(|member| member.backend) {
            self.ended.push(backend.clone(), GFP_KERNEL_ACCOUNT)?;
            self.retired.push(backend, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(())
    }
}
