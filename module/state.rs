// SPDX-License-Identifier: GPL-2.0

//! What the module keeps for each network namespace.
//!
//! Lock order: [`NetState::config`], then RTNL, then [`NetState::hooks`]; and below all of them a
//! bucket of the allocated-route table, then a service's scheduler. The packet path takes the last
//! two only.

use crate::{
    compat::parameter,
    events::Listeners,
    node::{AnyBackend, Backend},
    route::{Kind, Route, Seen, Tables},
    snapshot::Snapshot,
};
use core::net::{Ipv4Addr, Ipv6Addr};
use fep_core::{hash::HashKey, validate::Filter};
use fep_net::{
    foreign::ForeignHosts,
    netdev::{DeviceEvents, NetDevice},
    netns::{Net, Pernet, PernetId, PernetRegistration},
    nf::IngressHook,
    percpu::PerCpuCounters,
    random::random_u64,
    rcu::RcuArc,
    table::Table,
    time::{give_way, ticks, TICKS_PER_SECOND},
    word::{OwnLine, Word},
    work::{Periodic, PeriodicWork},
};
use fep_uapi::{COUNTERS, ROUTES_LIMIT_MAX, ROUTES_LIMIT_MIN};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{atomic::Relaxed, Arc, Mutex, SetOnce},
};

/// The sweep looks at the whole table in so many runs, one a second: in few when it is small, in more
/// when that would take its CPU from packets. A route that is over is nobody's all the while; only its
/// memory, and its place below the limit, wait.
const SWEEP_RUNS: core::ops::RangeInclusive<u32> = 4..=64;
/// As many buckets a run, then.
const SWEEP_BUCKETS: u32 = 1 << 16;

/// A walk over the table gives way every so many stretches.
const GIVE_WAY: u32 = 1024;

/// What is counted per CPU: for each device (its index modulo 64) whether the last packet of a route
/// was a reply, and then by [`fep_uapi::Counter`].
pub(crate) const LOCAL: usize = 1 + COUNTERS;

/// A namespace's part of the filter.
#[pin_data]
pub(crate) struct NetState {
    /// Clients choose their addresses and ports, so the hash has a secret key.
    pub(crate) hash_key: HashKey,
    /// The allocated-route table (F3).
    #[pin]
    pub(crate) routes: Tables,
    /// The most routes that it takes.
    pub(crate) limit: Word<u32>,
    /// Clients' addresses that were looked up. There once the table has buckets.
    pub(crate) foreign: SetOnce<ForeignHosts>,
    /// The transfer-control table (F2).
    pub(crate) snapshot: RcuArc<Snapshot>,
    /// See [`LOCAL`]; ended routes are counted below.
    pub(crate) counters: PerCpuCounters<LOCAL>,
    pub(crate) expired: OwnLine<Word<i64>>,
    pub(crate) deleted: OwnLine<Word<i64>>,
    /// Routes that were looked at to delete those of a node.
    pub(crate) visited: Word<i64>,
    /// Where, in the order of hashes, the sweep goes on in each family. Written by the sweep only.
    sweep_at: [Word<u32>; 2],
    #[pin]
    pub(crate) config: Mutex<Config>,
    /// Who is told of events. Behind a lock below [`NetState::config`].
    #[pin]
    pub(crate) listeners: Mutex<Listeners>,
    /// Attached devices, in the order of attachment. Behind a lock of its own, held briefly: the
    /// notifier takes it with RTNL held, and must never wait for a commit.
    #[pin]
    pub(crate) hooks: Mutex<KVec<Hook>>,
}

/// An attached device.
pub(crate) type Hook = Pin<KBox<IngressHook<NetState>>>;

/// What commits change, one at a time.
pub(crate) struct Config {
    /// The published configuration.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Serial of the next service.
    pub(crate) next_serial: u32,
    /// Deletes routes whose time is over. There once the table has buckets.
    pub(crate) sweeper: Option<Pin<KBox<PeriodicWork<NetState>>>>,
    /// The namespace is going away.
    pub(crate) closed: bool,
}

/// Limit of the allocated-route table of a new namespace, as the host's administrator chose it.
pub(crate) fn default_limit() -> u32 {
    asked_limit().clamp(ROUTES_LIMIT_MIN, ROUTES_LIMIT_MAX)
}

/// The same as it was written.
fn asked_limit() -> u32 {
    parameter(crate::module_parameters::routes_limit.value())
}

/// Says so where the parameter cannot be had.
pub(crate) fn check_parameters() {
    let (asked, limit) = (asked_limit(), default_limit());
    if asked != limit {
        pr_warn!(
            "routes_limit={asked} is outside {ROUTES_LIMIT_MIN} to {ROUTES_LIMIT_MAX}: {limit} is used\n"
        );
    }
}

static NET_ID: PernetId = PernetId::new();

impl Pernet for NetState {
    fn id() -> &'static PernetId {
        &NET_ID
    }

    fn init(_net: &Net) -> Result<Arc<Self>> {
        let hash_key = HashKey::new([(); 4].map(|()| random_u64()));
        let first = Snapshot::empty(hash_key)?;
        let counters = PerCpuCounters::new()?;
        Arc::pin_init(
            pin_init!(Self {
                hash_key: hash_key,
                routes <- Tables::new(),
                limit: Word::new(default_limit()),
                foreign: SetOnce::new(),
                snapshot: RcuArc::new(first.clone()),
                counters: counters,
                expired: OwnLine(Word::new(0)),
                deleted: OwnLine(Word::new(0)),
                visited: Word::new(0),
                sweep_at: [const { Word::new(0) }; 2],
                config <- new_mutex!(Config {
                    snapshot: first,
                    next_serial: 0,
                    sweeper: None,
                    closed: false,
                }),
                listeners <- new_mutex!(Listeners::new()),
                hooks <- new_mutex!(KVec::new()),
            }),
            GFP_KERNEL,
        )
    }

    fn exit(&self) {
        // Hooks and sweeper refer to `self`. They are dropped with nothing locked: that waits for
        // packets in flight and for a running sweep.
        let sweeper = {
            let mut config = self.config.lock();
            config.closed = true;
            config.sweeper.take()
        };
        let hooks = core::mem::replace(&mut *self.hooks.lock(), KVec::new());
        drop(hooks);
        drop(sweeper);
    }
}

impl NetState {
    /// Gives the allocated-route table its first buckets, and the sweep its work, if they are not
    /// there. Configuration locked; sleeps.
    pub(crate) fn start(self: &Arc<Self>, config: &mut Config) -> Result {
        self.routes.four.allocate()?;
        self.routes.six.allocate()?;
        if self.foreign.as_ref().is_none() {
            self.foreign.populate(ForeignHosts::new()?);
        }
        if config.sweeper.is_none() {
            config.sweeper = Some(PeriodicWork::start(self.clone(), TICKS_PER_SECOND)?);
        }
        Ok(())
    }

    /// Counts a route that was taken out of the table because its time was over or its node gone. Any
    /// context, once for each.
    pub(crate) fn route_ended(&self, route: &Seen<'_>) {
        let service = &route.info.service;
        let (total, of_service) = if route.live {
            (&self.expired, &service.expired)
        } else {
            (&self.deleted, &service.deleted)
        };
        if route.live && route.view.tracker.is_unanswered() {
            route.info.syns.unanswered.atomic().add(1, Relaxed);
        }
        total.atomic().add(1, Relaxed);
        of_service.atomic().add(1, Relaxed);
        route.info.route_removed(route.live);
    }

    /// Deletes all routes, and returns how many. Process context.
    pub(crate) fn delete_all(&self) -> u64 {
        fn of<A: Kind>(state: &NetState) -> u64 {
            let mut deleted = 0u64;
            walk(A::table(&state.routes), 0, u32::MAX, |route| {
                state.route_deleted(&route.seen());
                deleted = deleted.saturating_add(1);
                false
            });
            deleted
        }
        of::<Ipv4Addr>(self).saturating_add(of::<Ipv6Addr>(self))
    }

    /// Deletes a node's routes, the dead ones or all of them, and returns how many: in time proportional
    /// to their number (F6). Process context.
    pub(crate) fn delete_routes_of(&self, backend: &AnyBackend, dead_only: bool) -> u64 {
        match backend {
            AnyBackend::V4(backend) => self.delete_group(backend, dead_only),
            AnyBackend::V6(backend) => self.delete_group(backend, dead_only),
        }
    }

    fn delete_group<A: Kind>(&self, backend: &Backend<A>, dead_only: bool) -> u64 {
        let mut deleted = 0u64;
        let table = A::table(&self.routes);
        let visited = table.retain_group(&backend.routes, |route| {
            let stays = dead_only && route.is_live();
            if !stays {
                self.route_deleted(&route.seen());
                deleted = deleted.saturating_add(1);
            }
            stays
        });
        self.visited
            .atomic()
            .add(i64::try_from(visited).unwrap_or(i64::MAX), Relaxed);
        deleted
    }

    /// Deletes the routes that a filter names, and returns how many. Process context.
    pub(crate) fn flush(&self, filter: &Filter) -> u64 {
        if filter.service.is_none() && filter.backend.is_none() {
            return self.delete_all();
        }
        let snapshot = self.config.lock().snapshot.clone();
        let services = snapshot.services.iter();
        let members = services.flat_map(|service| service.members.iter());
        members
            .filter(|member| {
                let info = member.backend.info();
                filter.matches(&info.service.id, &info.node)
            })
            .map(|member| self.delete_routes_of(&member.backend, false))
            .fold(0u64, u64::saturating_add)
    }

    /// Counts a route that was deleted.
    pub(crate) fn route_deleted(&self, route: &Seen<'_>) {
        self.deleted.atomic().add(1, Relaxed);
        route.info.service.deleted.atomic().add(1, Relaxed);
        route.info.route_removed(route.live);
    }

    /// Sweeps a part of one family's table, or all of it when there is little room left.
    fn sweep<A: Kind>(&self, at: &Word<u32>, crowded: bool) {
        let table = A::table(&self.routes);
        if table.is_empty() {
            table.tidy();
            return;
        }
        let (first, last) = if crowded {
            (0, u32::MAX)
        } else {
            let first = at.get();
            let runs = table.bucket_count() / SWEEP_BUCKETS;
            let part = u32::MAX / runs.clamp(*SWEEP_RUNS.start(), *SWEEP_RUNS.end());
            (first, first.checked_add(part).unwrap_or(u32::MAX))
        };
        let end = table.sweep(
            first,
            last,
            |route| route.seen().is_over(ticks()),
            |route| self.route_ended(&route.seen()),
        );
        at.set(end.wrapping_add(1));
        table.tidy();
    }
}

/// Asks `keep` of every route whose hash is among `first..=last`, and of those of the last stretch that
/// lie behind; those that it will not have are taken out. Returns the last hash that was looked at.
/// Process context.
fn walk<A: Kind>(
    table: &Table<Route<A>>,
    first: u32,
    last: u32,
    mut keep: impl FnMut(&Route<A>) -> bool,
) -> u32 {
    let mut at = first;
    let mut stretches = 0u32;
    loop {
        let end = table.stretch(at);
        table.retain(at, end, &mut keep);
        stretches = stretches.wrapping_add(1);
        if stretches % GIVE_WAY == 0 {
            give_way();
        }
        match end.checked_add(1) {
            Some(next) if end < last => at = next,
            _ => return end,
        }
    }
}

impl Periodic for NetState {
    fn run(&self) -> u32 {
        let crowded = self.routes.len() >= self.limit.get() / 4 * 3;
        let [four, six] = &self.sweep_at;
        self.sweep::<Ipv4Addr>(four, crowded);
        self.sweep::<Ipv6Addr>(six, crowded);
        self.look_round();
        TICKS_PER_SECOND
    }
}

/// Hears of devices that go away.
pub(crate) struct Events;

impl DeviceEvents for Events {
    fn unregistering(dev: &NetDevice<'_>) {
        let Some(state) = PernetRegistration::<NetState>::get(dev.net()) else {
            return;
        };
        state.hooks.lock().retain(|hook| !hook.is_of(dev));
    }
}
