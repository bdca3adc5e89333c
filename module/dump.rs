// SPDX-License-Identifier: GPL-2.0

//! What administrators see: lists, page by page, and the state of the namespace.

use crate::{
    node::{Backend, ServiceShared},
    route::Route,
    snapshot::{Member, ServiceVersion},
    state::{NetState, GIVE_WAY},
};
use fep_core::{
    flow::sweep,
    timeout::idle,
    validate::{Filter, Node},
};
use fep_net::{
    netdev::rtnl_lock,
    time::{give_way, ticks, TICKS_PER_SECOND},
};
use fep_uapi::{
    BackendRecord, Counter, DeviceRecord, RouteRecord, ServiceId, ServiceRecord, Status, Traffic,
    ABI_MAJOR, ABI_MINOR, COUNTERS, STATE_FAILED,
};
use kernel::{prelude::*, sync::rcu};

/// A page: records, where to go on, and whether that is the end.
pub(crate) struct Page<T> {
    pub(crate) records: KVVec<T>,
    pub(crate) cursor: u64,
    pub(crate) end: bool,
    pub(crate) generation: u64,
}

impl<T> Page<T> {
    fn new(capacity: usize, cursor: u64, generation: u64) -> Result<Self> {
        Ok(Self {
            records: KVVec::with_capacity(capacity, GFP_KERNEL)?,
            cursor,
            end: true,
            generation,
        })
    }

    /// Adds a record, unless the page has `capacity` already: then it ends before it.
    fn push(&mut self, capacity: usize, record: T, next: u64) -> bool {
        if self.records.len() >= capacity || self.records.push_within_capacity(record).is_err() {
            self.end = false;
            return false;
        }
        self.cursor = next;
        true
    }
}

/// A cursor that points behind a service, or behind a node of a service.
fn cursor(service: u32, node: u32) -> u64 {
    u64::from(service) << 32 | u64::from(node)
}

impl NetState {
    /// Attached devices, by interface index: a device's place in the list changes when one before it
    /// goes, its index does not.
    pub(crate) fn dump_devices(&self, from: u64, capacity: usize) -> Result<Page<DeviceRecord>> {
        let generation = self.config.lock().snapshot.generation;
        let mut page = Page::new(capacity, from, generation)?;
        let rtnl = rtnl_lock();
        let hooks = self.hooks.lock();
        let mut last = from;
        loop {
            let next = hooks
                .iter()
                .filter(|hook| u64::from(hook.ifindex()) > last)
                .min_by_key(|hook| hook.ifindex());
            let Some(hook) = next else { break };
            let dev = hook.device(&rtnl);
            let mut record = DeviceRecord {
                ifindex: hook.ifindex(),
                ..Default::default()
            };
            for (to, from) in record.name.iter_mut().zip(dev.name().to_bytes()) {
                *to = *from;
            }
            last = u64::from(hook.ifindex());
            if !page.push(capacity, record, last) {
                break;
            }
        }
        Ok(page)
    }

    /// Services, in the order of their addition.
    pub(crate) fn dump_services(&self, from: u64, capacity: usize) -> Result<Page<ServiceRecord>> {
        let snapshot = self.config.lock().snapshot.clone();
        let mut page = Page::new(capacity, from, snapshot.generation)?;
        for service in snapshot.services.iter() {
            let at = u64::from(service.shared.serial).saturating_add(1);
            if at > from && !page.push(capacity, service_record(service), at) {
                break;
            }
        }
        Ok(page)
    }

    /// Back-end nodes, by service, both in the order of their addition.
    pub(crate) fn dump_backends(
        &self,
        from: u64,
        capacity: usize,
        filter: &Filter,
    ) -> Result<Page<BackendRecord>> {
        let snapshot = self.config.lock().snapshot.clone();
        let mut page = Page::new(capacity, from, snapshot.generation)?;
        let members = snapshot
            .services
            .iter()
            .flat_map(|service| service.members.iter().map(move |member| (service, member)));
        for (service, member) in members {
            let shared = &service.shared;
            let at = cursor(shared.serial, member.backend.serial).saturating_add(1);
            let wanted = at > from && filter.matches(&shared.id, &member.backend.node);
            if wanted && !page.push(capacity, backend_record(shared, member), at) {
                break;
            }
        }
        Ok(page)
    }

    /// Allocated routes that have not ended. A page ends between two buckets, so that what comes and
    /// goes elsewhere in the meantime neither hides nor repeats an entry.
    ///
    /// A bucket with more entries than a page goes on in the next: the cursor has how many entries at
    /// its end are still to come, since new ones are put in front. Nothing is missed; an entry may
    /// be repeated when others of that bucket end meanwhile.
    pub(crate) fn dump_routes(
        &self,
        from: u64,
        capacity: usize,
        filter: &Filter,
    ) -> Result<Page<RouteRecord>> {
        const LEFT_BITS: u32 = 24;
        let generation = self.config.lock().snapshot.generation;
        let mut page = Page::new(capacity, from, generation)?;
        let mut bucket = u32::try_from(from >> LEFT_BITS).map_err(|_| EINVAL)?;
        let mut left = from & ((1 << LEFT_BITS) - 1);
        while bucket < self.routes.bucket_count() {
            let start = u64::from(bucket) << LEFT_BITS;
            let before = page.records.len();
            let whole = left == 0;
            let guard = rcu::read_lock();
            let now = ticks();
            let mut length = 0u64;
            self.routes
                .for_each_in_bucket(bucket, &guard, |_| length = length.saturating_add(1));
            let skip = if whole {
                0
            } else {
                length.saturating_sub(left)
            };
            let mut seen = 0u64;
            let mut full = false;
            self.routes.for_each_in_bucket(bucket, &guard, |route| {
                seen = seen.saturating_add(1);
                if full || seen <= skip {
                    return;
                }
                let shown = filter.matches(&route.backend.service.id, &route.backend.node)
                    && !sweep(&route.view(), now, &route.backend.timeouts());
                if shown && !page.push(capacity, route_record(route, now), start) {
                    full = true;
                    left = length.saturating_sub(seen).saturating_add(1);
                }
            });
            drop(guard);
            if full {
                page.cursor = start;
                if before != 0 && whole {
                    page.records.truncate(before);
                } else {
                    page.cursor = start | left.min((1 << LEFT_BITS) - 1);
                }
                return Ok(page);
            }
            left = 0;
            bucket = bucket.wrapping_add(1);
            page.cursor = u64::from(bucket) << LEFT_BITS;
            if bucket % GIVE_WAY == 0 {
                give_way();
            }
        }
        Ok(page)
    }

    /// The state of the namespace.
    pub(crate) fn status(&self) -> Status {
        let snapshot = self.config.lock().snapshot.clone();
        let devices = self.hooks.lock().len();
        let backends = snapshot
            .services
            .iter()
            .map(|service| service.members.len())
            .fold(0usize, usize::saturating_add);
        let mut status = Status {
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            generation: snapshot.generation,
            routes: u64::from(self.routes.len()),
            routes_limit: self.routes.limit(),
            buckets: self.routes.bucket_count(),
            // CAST: All three have limits far below 2^32.
            services: snapshot.services.len() as u32,
            backends: backends as u32,
            devices: devices as u32,
            ..Default::default()
        };
        for (to, from) in status.version.iter_mut().zip(fep_uapi::VERSION.as_bytes()) {
            *to = *from;
        }
        for (index, counter) in status.counters.iter_mut().enumerate() {
            *counter = self.counters.sum(index);
        }
        ended(&mut status.counters, self.expired.get(), self.deleted.get());
        status
    }
}

/// Fills in what is not counted per CPU.
fn ended(counters: &mut [u64; COUNTERS], expired: i64, deleted: i64) {
    set(counters, Counter::RouteExpired, expired.unsigned_abs());
    set(counters, Counter::RouteDeleted, deleted.unsigned_abs());
}

fn set(counters: &mut [u64; COUNTERS], counter: Counter, value: u64) {
    if let Some(place) = counters.get_mut(counter as usize) {
        *place = value;
    }
}

fn service_record(service: &ServiceVersion) -> ServiceRecord {
    let shared = &service.shared;
    let mut traffic = shared.retired();
    let mut routes = 0u64;
    for member in service.members.iter() {
        traffic = sum(&traffic, &member.backend.traffic());
        routes = routes.saturating_add(NetState::routes_of(&member.backend));
    }
    let mut counters = [0u64; COUNTERS];
    for (index, counter) in counters.iter_mut().enumerate() {
        *counter = shared.counters.sum(index);
    }
    ended(&mut counters, shared.expired.get(), shared.deleted.get());
    set(&mut counters, Counter::ForwardRequest, traffic.packets_in);
    set(&mut counters, Counter::ForwardReply, traffic.packets_out);
    set(&mut counters, Counter::RouteAllocated, traffic.connections);
    ServiceRecord {
        service: ServiceId::from(shared.id),
        scheduler: service.scheduler.code(),
        // CAST: At most `BACKENDS_MAX`.
        backends: service.members.len() as u32,
        timeouts: service.timeouts,
        routes,
        traffic,
        counters,
        ..Default::default()
    }
}

fn sum(a: &Traffic, b: &Traffic) -> Traffic {
    Traffic {
        connections: a.connections.wrapping_add(b.connections),
        packets_in: a.packets_in.wrapping_add(b.packets_in),
        packets_out: a.packets_out.wrapping_add(b.packets_out),
        bytes_in: a.bytes_in.wrapping_add(b.bytes_in),
        bytes_out: a.bytes_out.wrapping_add(b.bytes_out),
    }
}

fn backend_record(shared: &ServiceShared, member: &Member) -> BackendRecord {
    let backend: &Backend = &member.backend;
    BackendRecord {
        service: ServiceId::from(shared.id),
        backend: backend.node.into(),
        weight: member.weight,
        state: if member.failed { STATE_FAILED } else { 0 },
        routes: NetState::routes_of(backend),
        traffic: backend.traffic(),
        ..Default::default()
    }
}

fn route_record(route: &Route, now: u32) -> RouteRecord {
    let view = route.view();
    let state = view.tracker.state();
    let service = &route.backend.service;
    let idle = idle(now, view.last_used);
    let timeout = route.backend.timeouts().of(state);
    let client = Node {
        address: route.client,
        port: route.client_port,
    };
    RouteRecord {
        service: ServiceId::from(service.id),
        client: client.into(),
        backend: route.backend.node.into(),
        state: state.code(),
        idle_ms: milliseconds(idle),
        expires_ms: milliseconds(timeout.saturating_sub(idle)),
        ..Default::default()
    }
}

/// Ticks in milliseconds, up to the largest number.
fn milliseconds(ticks: u32) -> u32 {
    let milliseconds = u64::from(ticks) * 1000 / u64::from(TICKS_PER_SECOND);
    u32::try_from(milliseconds).unwrap_or(u32::MAX)
}
