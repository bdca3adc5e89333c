// SPDX-License-Identifier: GPL-2.0

//! What administrators see: lists, page by page, and the state of the namespace.

use crate::{
    node::ServiceShared,
    route::{Kind, Route, Seen},
    snapshot::{Member, ServiceVersion},
    state::NetState,
};
use core::net::{Ipv4Addr, Ipv6Addr};
use fep_core::{
    timeout::idle,
    validate::Filter, //
};
use fep_net::{
    netdev::rtnl_lock,
    table::Table,
    time::{give_way, ticks, TICKS_PER_SECOND},
    word::Word,
};
use fep_uapi::{
    BackendRecord, Counter, DeviceRecord, NodeRecord, RouteRecord, ServiceId, ServiceRecord,
    Status, Traffic, ABI_MAJOR, ABI_MINOR, COUNTERS, STATE_FAILED,
};
use kernel::prelude::*;

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
        self.dump_members(from, capacity, filter, backend_record)
    }

    fn dump_members<T>(
        &self,
        from: u64,
        capacity: usize,
        filter: &Filter,
        record: impl Fn(&ServiceShared, &Member) -> T,
    ) -> Result<Page<T>> {
        let snapshot = self.config.lock().snapshot.clone();
        let mut page = Page::new(capacity, from, snapshot.generation)?;
        let members = snapshot
            .services
            .iter()
            .flat_map(|service| service.members.iter().map(move |member| (service, member)));
        for (service, member) in members {
            let shared = &service.shared;
            let at = cursor(shared.serial, member.backend.info().serial).saturating_add(1);
            let wanted = at > from && filter.matches(&shared.id, &member.backend.info().node);
            if wanted && !page.push(capacity, record(shared, member), at) {
                break;
            }
        }
        Ok(page)
    }

    /// More about each back-end node, as in [`Self::dump_backends`].
    pub(crate) fn dump_nodes(
        &self,
        from: u64,
        capacity: usize,
        filter: &Filter,
    ) -> Result<Page<NodeRecord>> {
        self.dump_members(from, capacity, filter, node_record)
    }

    /// Allocated routes that have not ended, IPv4 first, in the order of their hashes: that is the
    /// same whatever comes and goes and however the table is resized meanwhile.
    pub(crate) fn dump_routes(
        &self,
        from: u64,
        capacity: usize,
        filter: &Filter,
        tokens: bool,
    ) -> Result<Page<RouteRecord>> {
        let generation = self.config.lock().snapshot.generation;
        let mut page = Page::new(capacity, from, generation)?;
        let ask = Ask {
            capacity,
            filter,
            tokens,
        };
        // CAST: The lower half is the hash.
        let at = from as u32;
        match from >> 32 {
            0 => {
                if dump_table::<Ipv4Addr>(&self.routes.four, at, &ask, &mut page) {
                    page.cursor = 1 << 32;
                    dump_table::<Ipv6Addr>(&self.routes.six, 0, &ask, &mut page);
                }
            }
            1 => {
                dump_table::<Ipv6Addr>(&self.routes.six, at, &ask, &mut page);
            }
            2 => {}
            _ => return Err(EINVAL),
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
        let (four, six) = (&self.routes.four, &self.routes.six);
        let (four, six) = (four.bucket_count(), six.bucket_count());
        let mut status = Status {
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            generation: snapshot.generation,
            routes: u64::from(self.routes.len()),
            routes_limit: self.limit.get(),
            buckets: four.saturating_add(six),
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
            // Behind the word for the devices.
            *counter = self.counters.sum(index.saturating_add(1));
        }
        status.visited = self.visited.get().unsigned_abs();
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
        routes = routes.saturating_add(u64::from(member.backend.routes()));
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
    let info = member.backend.info();
    BackendRecord {
        service: ServiceId::from(shared.id),
        backend: info.node.into(),
        weight: member.weight,
        state: if member.failed { STATE_FAILED } else { 0 },
        routes: u64::from(member.backend.routes()),
        traffic: member.backend.traffic(),
        method: info.method.code(),
        ..Default::default()
    }
}

fn node_record(shared: &ServiceShared, member: &Member) -> NodeRecord {
    let info = member.backend.info();
    let count = |counter: &Word<i64>| counter.get().unsigned_abs();
    NodeRecord {
        service: ServiceId::from(shared.id),
        backend: info.node.into(),
        weight: member.weight,
        state: if member.failed { STATE_FAILED } else { 0 },
        priority: member.priority,
        load: member.load,
        routes: u64::from(member.backend.routes()),
        connections: member.backend.traffic().connections,
        syn_unanswered: count(&info.syns.unanswered),
        syn_reset: count(&info.syns.reset),
        syn_repeated: count(&info.syns.repeated),
        ..Default::default()
    }
}

/// What a caller wants to know of routes.
struct Ask<'a> {
    capacity: usize,
    filter: &'a Filter,
    tokens: bool,
}

/// Adds the routes of one family from a hash on. Says whether these are all.
///
/// Page by page, whole stretches of hashes: one that does not fit any more is the next page's. One that
/// fits no page is taken in parts.
fn dump_table<A: Kind>(
    table: &Table<Route<A>>,
    mut at: u32,
    ask: &Ask<'_>,
    page: &mut Page<RouteRecord>,
) -> bool {
    let family = page.cursor >> 32 << 32;
    let mut stretches = 0u32;
    loop {
        let mut end = table.stretch(at);
        loop {
            let before = page.records.len();
            let now = ticks();
            let mut full = false;
            table.retain(at, end, |route| {
                let seen = route.seen();
                let shown = ask.filter.matches(&seen.info.service.id, &seen.info.node);
                if shown && !full && !seen.is_over(now) {
                    let mut record = route_record(&seen, now);
                    if let Some(stamp) = ask.tokens.then(|| route.watch(now)).flatten() {
                        record.token = token(stamp);
                    }
                    full = !page.push(ask.capacity, record, family);
                }
                true
            });
            if !full {
                break;
            }
            if before == 0 && at == end {
                // More routes of one hash than fit a page: clients whose hashes collide, as a client
                // has no more than `CLIENT_ROUTES_MAX`. The rest stays out: a page must get on.
                break;
            }
            page.records.truncate(before);
            if before != 0 {
                page.cursor = family | u64::from(at);
                page.end = false;
                return false;
            }
            end = at.saturating_add(end.saturating_sub(at) / 2);
        }
        let Some(next) = end.checked_add(1) else {
            page.cursor = family.saturating_add(1 << 32);
            return true;
        };
        at = next;
        page.cursor = family | u64::from(at);
        stretches = stretches.wrapping_add(1);
        if stretches % 1024 == 0 {
            give_way();
        }
    }
}

fn route_record(route: &Seen<'_>, now: u32) -> RouteRecord {
    let state = route.view.tracker.state();
    let idle = idle(now, route.view.last_used);
    let timeout = route.state.timeout_of(state);
    RouteRecord {
        service: ServiceId::from(route.info.service.id),
        client: route.client.into(),
        backend: route.info.node.into(),
        state: state.code(),
        idle_ms: milliseconds(idle),
        expires_ms: milliseconds(timeout.saturating_sub(idle)),
        ..Default::default()
    }
}

/// How a route's time stamp crosses the boundary: as another number than 0.
pub(crate) fn token(stamp: u32) -> u64 {
    1 << 32 | u64::from(stamp)
}

/// Ticks in milliseconds, up to the largest number.
fn milliseconds(ticks: u32) -> u32 {
    let milliseconds = u64::from(ticks) * 1000 / u64::from(TICKS_PER_SECOND);
    u32::try_from(milliseconds).unwrap_or(u32::MAX)
}
