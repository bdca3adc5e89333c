// SPDX-License-Identifier: GPL-2.0

//! A front-end node in memory: it stores what the kernel module stores and leaves every decision to
//! `fep_core`, as the kernel module does.

use std::collections::{BTreeMap, HashMap};

use fep_core::flow::{on_miss, on_reply, on_request, sweep, OnMiss, OnReply, OnRequest, RouteView};
use fep_core::hash::{client_hash, HashKey};
use fep_core::packet::{header_checksum_ok, parse, Packet, Parsed, Protocol};
use fep_core::rewrite::{translate, Coverage, Side};
use fep_core::tcp::Tracker;
use fep_core::timeout::{stamp_due, Timeouts};
use fep_core::validate::{change, Change, Node, NodePattern, Service};
use fep_core::wrr::{carry, next, Slot};
use fep_uapi::{Counter, Op, Reason};

/// Ticks per second.
pub(crate) const HZ: u32 = 250;

/// An address and a port.
pub(crate) type Client = (u32, u16);

/// What became of a packet.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Translated and sent.
    Sent(Vec<u8>),
    /// Passed on untouched, or dropped.
    Ended(Counter),
}

/// An allocated route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) service: Service,
    pub(crate) client: Client,
    pub(crate) node: Node,
    pub(crate) index: u32,
    tracker: u32,
    last_used: u32,
}

impl Route {
    pub(crate) fn tracker(&self) -> Tracker {
        Tracker::from_bits(self.tracker)
    }
}

/// A back-end node of a service.
pub(crate) struct Backend {
    node: Node,
    pub(crate) weight: u32,
    pub(crate) failed: bool,
    pub(crate) index: u32,
    pub(crate) routes: usize,
}

/// A service's part of the transfer-control table.
pub(crate) struct Table {
    timeouts: Timeouts,
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

    fn backend(&mut self, node: Node) -> Result<&mut Backend, Reason> {
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
            last_used: route.last_used,
            live: backend.is_some_and(|backend| !backend.failed),
            draining: backend.is_none_or(|backend| backend.weight == 0),
        }
    }
}

/// The front-end node.
pub(crate) struct FrontEnd {
    key: HashKey,
    limit: usize,
    pub(crate) tables: BTreeMap<Service, Table>,
    /// By the hash of the client.
    pub(crate) buckets: HashMap<u32, Vec<Route>>,
    pub(crate) count: usize,
}

impl FrontEnd {
    pub(crate) fn new(key: [u64; 2], limit: usize) -> Self {
        Self {
            key: HashKey(key),
            limit,
            tables: BTreeMap::new(),
            buckets: HashMap::new(),
            count: 0,
        }
    }

    pub(crate) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.buckets.values().flatten()
    }

    pub(crate) fn hash(&self, protocol: Protocol, client: Client) -> u32 {
        client_hash(&self.key, protocol, client.0, client.1)
    }

    /// A packet from an attached device, of which `linear` bytes are linear so far.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        mut linear: usize,
        coverage: Coverage,
        now: u32,
    ) -> Verdict {
        let packet = loop {
            match parse(&bytes[..linear], bytes.len()) {
                Parsed::Packet(packet) => break packet,
                Parsed::Need(need) => {
                    assert!(linear < need && need <= bytes.len());
                    linear = need;
                }
                Parsed::Icmp => return Verdict::Ended(Counter::PassForeign),
                Parsed::Pass(counter) => return Verdict::Ended(counter),
            }
        };
        let service = Service {
            protocol: packet.protocol,
            address: packet.destination,
            port: packet.destination_port,
        };
        let decided = if self.tables.contains_key(&service) {
            let head = &bytes[..usize::from(packet.header_len)];
            self.request(service, &packet, head, now)
                .map(|node| (Side::Destination, node.address, node.port))
        } else {
            self.reply(&packet, now)
                .map(|service| (Side::Source, service.address, service.port))
        };
        match decided {
            Err(counter) => Verdict::Ended(counter),
            Ok((side, address, port)) => {
                let mut bytes = bytes.to_vec();
                let head = &mut bytes[..usize::from(packet.rewrite_len)];
                assert!(translate(head, &packet, side, address, port, coverage));
                Verdict::Sent(bytes)
            }
        }
    }

    /// The node for a request.
    fn request(
        &mut self,
        service: Service,
        packet: &Packet,
        head: &[u8],
        now: u32,
    ) -> Result<Node, Counter> {
        let (protocol, flags) = (packet.protocol, packet.tcp_flags);
        let client = (packet.source, packet.source_port);
        let hash = self.hash(protocol, client);
        let bucket = self.buckets.entry(hash).or_default();
        let table = self.tables.get_mut(&service).unwrap();

        let at = bucket
            .iter()
            .position(|route| (route.service, route.client) == (service, client));
        if let Some(at) = at {
            let route = &mut bucket[at];
            match on_request(&table.view(route), protocol, flags, now, &table.timeouts) {
                OnRequest::Use { tracker } => {
                    route.used(tracker, now);
                    return Ok(route.node);
                }
                OnRequest::Replace => {
                    let route = bucket.swap_remove(at);
                    table.backend(route.node).unwrap().routes -= 1;
                    self.count -= 1;
                }
            }
        }

        match on_miss(protocol, flags) {
            OnMiss::Pass(counter) => return Err(counter),
            OnMiss::Schedule => {}
        }
        if !header_checksum_ok(head, packet) {
            return Err(Counter::PassMalformed);
        }
        if self.count >= self.limit {
            return Err(Counter::DropTableFull);
        }
        let index = next(&mut table.slots).ok_or(Counter::DropNoBackend)?;
        let mut backends = table.backends.iter_mut();
        let backend = backends.find(|backend| backend.index == index).unwrap();
        backend.routes += 1;
        self.count += 1;
        bucket.push(Route {
            service,
            client,
            node: backend.node,
            index,
            tracker: Tracker::begin(protocol, flags).to_bits(),
            last_used: now,
        });
        Ok(backend.node)
    }

    /// The service that a reply comes from, as far as its client can see.
    fn reply(&mut self, packet: &Packet, now: u32) -> Result<Service, Counter> {
        let client = (packet.destination, packet.destination_port);
        let node = Node {
            address: packet.source,
            port: packet.source_port,
        };
        let hash = self.hash(packet.protocol, client);
        let bucket = self.buckets.entry(hash).or_default();
        let route = bucket
            .iter_mut()
            .find(|route| (route.client, route.node) == (client, node))
            .ok_or(Counter::PassNoService)?;
        let table = &self.tables[&route.service];
        let view = table.view(route);
        match on_reply(
            &view,
            packet.protocol,
            packet.tcp_flags,
            now,
            &table.timeouts,
        ) {
            OnReply::Ignore => Err(Counter::PassNoService),
            OnReply::Use { tracker } => {
                route.used(tracker, now);
                Ok(route.service)
            }
        }
    }

    /// Deletes the routes that are over; returns how many.
    pub(crate) fn sweep(&mut self, now: u32) -> usize {
        self.delete_routes(|table, route| sweep(&table.view(route), now, &table.timeouts))
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
            } => {
                let table = self.table(service)?;
                if table.backend(backend).is_ok() {
                    return Err(Reason::BackendExists);
                }
                table.backends.push(Backend {
                    node: backend,
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

impl Route {
    fn used(&mut self, tracker: Tracker, now: u32) {
        if tracker.to_bits() != self.tracker || stamp_due(now, self.last_used, HZ) {
            self.tracker = tracker.to_bits();
            self.last_used = now;
        }
    }
}
