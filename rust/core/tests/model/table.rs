// SPDX-License-Identifier: GPL-2.0

//! The transfer-control table of the front-end node in memory, and its changes.

use fep_core::flow::{sweep, RouteView};
use fep_core::timeout::Timeouts;
use fep_core::validate::{change, Change, Node, NodePattern, Service};
use fep_core::wrr::{carry, Slot};
use fep_uapi::{Method, Op, Reason};

use crate::front_end::{FrontEnd, Route, HZ};

/// A back-end node of a service.
pub(crate) struct Backend {
    pub(crate) node: Node,
    pub(crate) method: Method,
    pub(crate) weight: u32,
    pub(crate) failed: bool,
    pub(crate) index: u32,
    pub(crate) routes: usize,
}

/// A service's part of the transfer-control table.
pub(crate) struct Table {
    pub(crate) timeouts: Timeouts,
    pub(crate) backends: Vec<Backend>,
    pub(crate) slots: Vec<Slot>,
    next_index: u32,
}

impl Table {
    /// Starts the scheduler on the nodes as they are now.
    fn reschedule(&mut self) {
        let eligible = |backend: &&Backend| backend.weight > 0 && !backend.failed;
        let slot = |backend: &Backend| Slot {
            weight: backend.weight,
            done: 0,
            index: backend.index,
        };
        let mut slots: Vec<Slot> = self.backends.iter().filter(eligible).map(slot).collect();
        carry(&self.slots, &mut slots);
        self.slots = slots;
    }

    pub(crate) fn backend(&mut self, node: Node) -> Result<&mut Backend, Reason> {
        let mut backends = self.backends.iter_mut();
        backends
            .find(|backend| backend.node == node)
            .ok_or(Reason::NoSuchBackend)
    }

    pub(crate) fn view(&self, route: &Route) -> RouteView {
        let backend = self
            .backends
            .iter()
            .find(|backend| backend.index == route.index);
        RouteView {
            tracker: route.tracker(),
            last_used: route.last_used(),
            live: backend.is_some_and(|backend| !backend.failed),
            draining: backend.is_none_or(|backend| backend.weight == 0),
        }
    }
}

impl FrontEnd {
    /// Deletes the routes that are over; returns how many.
    pub(crate) fn sweep(&mut self, now: u32) -> usize {
        self.delete_routes(|table, route| {
            let timeout_of = |state| table.timeouts.of(state);
            sweep(&table.view(route), now, timeout_of)
        })
    }

    fn delete_routes(&mut self, over: impl Fn(&Table, &Route) -> bool) -> usize {
        let before = self.count;
        for bucket in self.buckets.values_mut() {
            bucket.retain(|route| {
                let table = self.tables.get_mut(&route.service).unwrap();
                let over = over(table, route);
                if over {
                    table.backend(route.node).unwrap().routes -= 1;
                    self.count -= 1;
                }
                !over
            });
        }
        before - self.count
    }

    /// Applies one operation; returns how many routes that deleted.
    pub(crate) fn commit(&mut self, op: &Op) -> Result<usize, Reason> {
        match change(op)? {
            Change::ServiceAdd {
                service, timeouts, ..
            } => {
                if self.tables.contains_key(&service) {
                    return Err(Reason::ServiceExists);
                }
                let table = Table {
                    timeouts: Timeouts::from_seconds(&timeouts, HZ),
                    backends: Vec::new(),
                    slots: Vec::new(),
                    next_index: 0,
                };
                self.tables.insert(service, table);
            }
            Change::ServiceSet {
                service, timeouts, ..
            } => {
                self.table(service)?.timeouts = Timeouts::from_seconds(&timeouts, HZ);
            }
            Change::ServiceDel { service } => {
                self.table(service)?;
                let deleted = self.delete_routes(|_, route| route.service == service);
                self.tables.remove(&service);
                return Ok(deleted);
            }
            Change::BackendAdd {
                service,
                backend,
                weight,
                method,
            } => {
                let table = self.table(service)?;
                if table.backend(backend).is_ok() {
                    return Err(Reason::BackendExists);
                }
                table.backends.push(Backend {
                    node: backend,
                    method,
                    weight,
                    failed: false,
                    index: table.next_index,
                    routes: 0,
                });
                table.next_index += 1;
                table.reschedule();
            }
            Change::BackendSet {
                service,
                backend,
                weight,
            } => {
                let table = self.table(service)?;
                table.backend(backend)?.weight = weight;
                table.reschedule();
            }
            Change::BackendDel { service, backend } => {
                self.table(service)?.backend(backend)?;
                let deleted = self
                    .delete_routes(|_, route| (route.service, route.node) == (service, backend));
                let table = self.table(service)?;
                table.backends.retain(|other| other.node != backend);
                table.reschedule();
                return Ok(deleted);
            }
            Change::BackendFail { service, backend } => {
                self.mark(service, backend, true)?;
                return Ok(self.delete_routes(|table, route| !table.view(route).live));
            }
            Change::BackendRestore { service, backend } => self.mark(service, backend, false)?,
            Change::LimitSet { limit } => self.limit = limit.try_into().unwrap(),
            // The model schedules by weights alone.
            Change::BackendPriority { .. } | Change::BackendLoad { .. } => {}
            Change::DeviceAttach { .. } | Change::DeviceDetach { .. } => {}
        }
        Ok(0)
    }

    fn table(&mut self, service: Service) -> Result<&mut Table, Reason> {
        self.tables.get_mut(&service).ok_or(Reason::NoSuchService)
    }

    fn mark(
        &mut self,
        service: Option<Service>,
        pattern: NodePattern,
        failed: bool,
    ) -> Result<(), Reason> {
        let mut found = false;
        for (name, table) in &mut self.tables {
            if service.is_some_and(|service| service != *name) {
                continue;
            }
            for backend in &mut table.backends {
                if pattern.matches(&backend.node) {
                    backend.failed = failed;
                    found = true;
                }
            }
            table.reschedule();
        }
        found.then_some(()).ok_or(Reason::NoSuchBackend)
    }
}
