// SPDX-License-Identifier: GPL-2.0

//! What has to change for a configuration to become another, as data.
//!
//! The changes are applied in one step, so their order is not seen by traffic. It is: devices are
//! attached, the limit is set, services are added or set, nodes are added or set, with their
//! priorities, nodes are marked or unmarked, and what is no longer wanted is removed. A removal comes first instead where an
//! addition needs its room or its address; the kernel checks each change against what those before
//! it have left.
//!
//! The method of a node cannot be set: the node is removed, which ends its routes, and added again
//! with the other one.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use fep_uapi::{BACKENDS_MAX, DEVICES_MAX, SERVICES_MAX};

use crate::change::Change;
use crate::config::{Backend, Config, Service};
use crate::name::{NodeAddr, ServiceKey};

/// The changes that make `current` into `desired`; none for what is equal.
///
/// Parts that `desired` leaves open stay as they are. The order of devices, services and nodes does
/// not matter. Neither holds anything twice ([`Config::check_unique`]).
pub fn diff(current: &Config, desired: &Config) -> Vec<Change> {
    let mut steps = Steps::default();
    steps.devices(current, desired);
    if let (limit, Some(wanted)) = (current.limit, desired.limit) {
        if limit != Some(wanted) {
            steps.add.push(Change::LimitSet {
                limit: wanted,
                was: limit,
            });
        }
    }
    if let Some(wanted) = &desired.services {
        steps.services(current.services.as_deref().unwrap_or_default(), wanted);
    }
    steps.into_changes()
}

/// The changes by when they are made.
#[derive(Default)]
struct Steps {
    /// Removals that additions wait for.
    early: Vec<Change>,
    /// Devices, limit and services.
    add: Vec<Change>,
    /// Nodes.
    nodes: Vec<Change>,
    /// Marks.
    marks: Vec<Change>,
    /// Removals of services and nodes.
    remove: Vec<Change>,
    /// Removals of devices.
    detach: Vec<Change>,
}

impl Steps {
    fn devices(&mut self, current: &Config, desired: &Config) {
        let Some(wanted) = &desired.devices else {
            return;
        };
        let present = current.devices.as_deref().unwrap_or_default();
        let (have, want): (HashSet<_>, HashSet<_>) =
            (present.iter().collect(), wanted.iter().collect());
        let attach: Vec<Change> = wanted
            .iter()
            .filter(|device| !have.contains(device))
            .cloned()
            .map(Change::DeviceAttach)
            .collect();
        let crowded = exceeds(present.len() + attach.len(), DEVICES_MAX);
        self.add.extend(attach);
        let detach = present
            .iter()
            .filter(|device| !want.contains(device))
            .cloned()
            .map(Change::DeviceDetach);
        if crowded {
            self.early.extend(detach);
        } else {
            self.detach.extend(detach);
        }
    }

    fn services(&mut self, current: &[Service], desired: &[Service]) {
        let have: HashMap<ServiceKey, &Service> = current
            .iter()
            .map(|service| (service.key, service))
            .collect();
        let want: HashSet<ServiceKey> = desired.iter().map(|service| service.key).collect();
        let new = Addresses::new(&have, desired);
        let crowded = exceeds(current.len() + new.services, SERVICES_MAX);

        for service in desired {
            let Service {
                key,
                scheduler,
                timeouts,
                ..
            } = *service;
            let old = have.get(&key).copied();
            match old {
                None => self.add.push(Change::ServiceAdd {
                    service: key,
                    scheduler,
                    timeouts,
                }),
                Some(old) if (old.scheduler, old.timeouts) != (scheduler, timeouts) => {
                    self.add.push(Change::ServiceSet {
                        service: key,
                        scheduler,
                        timeouts,
                    });
                }
                Some(_) => {}
            }
            let present = old.map(|old| old.backends.as_slice()).unwrap_or_default();
            self.backends(key, present, &service.backends, &new);
        }
        for service in current
            .iter()
            .filter(|service| !want.contains(&service.key))
        {
            let gone = Change::ServiceDel(service.key);
            let mut nodes = service.backends.iter();
            if crowded
                || new.nodes.contains(&service.key.address)
                || nodes.any(|node| new.vips.contains(&node.addr.address))
            {
                self.early.push(gone);
            } else {
                self.remove.push(gone);
            }
        }
    }

    fn backends(
        &mut self,
        service: ServiceKey,
        current: &[Backend],
        desired: &[Backend],
        new: &Addresses,
    ) {
        let have: HashMap<NodeAddr, &Backend> = current
            .iter()
            .map(|backend| (backend.addr, backend))
            .collect();
        let want: HashSet<NodeAddr> = desired.iter().map(|backend| backend.addr).collect();
        let added = want.iter().filter(|addr| !have.contains_key(addr)).count();
        let crowded = exceeds(current.len() + added, BACKENDS_MAX);

        for backend in desired {
            let Backend {
                addr,
                weight,
                method,
                ..
            } = *backend;
            let old = have.get(&addr).copied();
            let replaced = old.filter(|old| old.method != method);
            if replaced.is_some() {
                self.nodes.push(Change::BackendDel {
                    service,
                    backend: addr,
                });
            }
            match old.filter(|_| replaced.is_none()) {
                None => self.nodes.push(Change::BackendAdd {
                    service,
                    backend: addr,
                    weight,
                    method,
                    was: replaced.map(|old| old.method),
                }),
                Some(old) if old.weight != weight => self.nodes.push(Change::BackendSet {
                    service,
                    backend: addr,
                    weight,
                    was: Some(old.weight),
                }),
                Some(_) => {}
            }
            // A node that is added has the priority that is the default.
            let priority = old
                .filter(|_| replaced.is_none())
                .map(|old| old.priority)
                .unwrap_or_default();
            if priority != backend.priority {
                self.nodes.push(Change::BackendPriority {
                    service,
                    backend: addr,
                    priority: backend.priority.0,
                });
            }
            let marked = old.and_then(|old| old.failed).unwrap_or(false);
            let wanted = backend.failed.unwrap_or(marked);
            // The mark goes with a node that is removed.
            let failed = marked && replaced.is_none();
            let (service, backend_pattern) = (Some(service), addr.into());
            if wanted && !failed {
                self.marks.push(Change::BackendFail {
                    service,
                    backend: backend_pattern,
                });
            } else if failed && !wanted {
                self.marks.push(Change::BackendRestore {
                    service,
                    backend: backend_pattern,
                });
            }
        }
        for backend in current
            .iter()
            .filter(|backend| !want.contains(&backend.addr))
        {
            let gone = Change::BackendDel {
                service,
                backend: backend.addr,
            };
            if crowded || new.vips.contains(&backend.addr.address) {
                self.early.push(gone);
            } else {
                self.remove.push(gone);
            }
        }
    }

    fn into_changes(self) -> Vec<Change> {
        [
            self.early,
            self.add,
            self.nodes,
            self.marks,
            self.remove,
            self.detach,
        ]
        .concat()
    }
}

/// The addresses that additions bring: no address may be a VIP and a node at once.
#[derive(Default)]
struct Addresses {
    services: usize,
    vips: HashSet<IpAddr>,
    nodes: HashSet<IpAddr>,
}

impl Addresses {
    fn new(have: &HashMap<ServiceKey, &Service>, desired: &[Service]) -> Self {
        let mut new = Self::default();
        for service in desired {
            let old = have.get(&service.key);
            if old.is_none() {
                new.services += 1;
                new.vips.insert(service.key.address);
            }
            let old: HashSet<NodeAddr> = old
                .map(|old| old.backends.as_slice())
                .unwrap_or_default()
                .iter()
                .map(|backend| backend.addr)
                .collect();
            let added = service.backends.iter().map(|backend| backend.addr);
            let added = added.filter(|addr| !old.contains(addr));
            new.nodes.extend(added.map(|addr| addr.address));
        }
        new
    }
}

fn exceeds(count: usize, most: u32) -> bool {
    u64::try_from(count).is_ok_and(|count| count > most.into())
}
