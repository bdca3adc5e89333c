// SPDX-License-Identifier: GPL-2.0

//! What the module keeps for each network namespace.
//!
//! Lock order: [`NetState::config`], then RTNL, then [`NetState::hooks`]; and below all of them a
//! bucket of the allocated-route table, then a service's scheduler. The packet path takes the last
//! two only.

use crate::{compat::parameter, node::Backend, route::Route, snapshot::Snapshot};
use fep_core::{flow::sweep, hash::HashKey};
use fep_net::{
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
    sync::{atomic::Relaxed, Arc, Mutex},
};

/// Hash buckets: at least and at most. There are as many as the limit is when the first service is
/// added; a limit that is raised later makes chains longer, never wrong.
const BUCKETS_MIN: u32 = 1 << 10;
const BUCKETS_MAX: u32 = 1 << 22;

/// The sweep looks at the whole table in so many runs, one a second.
const SWEEP_RUNS: u32 = 4;

/// A walk over the table gives way every so many buckets.
pub(crate) const GIVE_WAY: u32 = 1024;

/// A namespace's part of the filter.
#[pin_data]
pub(crate) struct NetState {
    /// Clients choose their addresses and ports, so the hash has a secret key.
    pub(crate) hash_key: HashKey,
    /// The allocated-route table (F3).
    pub(crate) routes: Table<Route>,
    /// The transfer-control table (F2).
    pub(crate) snapshot: RcuArc<Snapshot>,
    /// By [`fep_uapi::Counter`]; ended routes are counted below.
    pub(crate) counters: PerCpuCounters<COUNTERS>,
    pub(crate) expired: OwnLine<Word<i64>>,
    pub(crate) deleted: OwnLine<Word<i64>>,
    /// Bucket where the sweep goes on. Written by the sweep only.
    sweep_at: OwnLine<Word<u32>>,
    #[pin]
    pub(crate) config: Mutex<Config>,
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
        let hash_key = HashKey([random_u64(), random_u64()]);
        let first = Snapshot::empty(hash_key)?;
        let counters = PerCpuCounters::new()?;
        Arc::pin_init(
            pin_init!(Self {
                hash_key: hash_key,
                routes: Table::new(default_limit()),
                snapshot: RcuArc::new(first.clone()),
                counters: counters,
                expired: OwnLine(Word::new(0)),
                deleted: OwnLine(Word::new(0)),
                sweep_at: OwnLine(Word::new(0)),
                config <- new_mutex!(Config {
                    snapshot: first,
                    next_serial: 0,
                    sweeper: None,
                    closed: false,
                }),
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
    /// Gives the allocated-route table, which is to take `limit` routes, its buckets, and the sweep its work, if they are not there.
    /// Configuration locked; sleeps.
    pub(crate) fn start(self: &Arc<Self>, config: &mut Config, limit: u32) -> Result {
        let buckets = limit.clamp(BUCKETS_MIN, BUCKETS_MAX);
        self.routes.allocate(buckets)?;
        if config.sweeper.is_none() {
            config.sweeper = Some(PeriodicWork::start(self.clone(), TICKS_PER_SECOND)?);
        }
        Ok(())
    }

    /// Counts a route that was taken out of the table. Any context, once for each.
    pub(crate) fn route_ended(&self, route: &Route) {
        let service = &route.backend.service;
        let live = route.is_live();
        let (total, of_service) = if live {
            (&self.expired, &service.expired)
        } else {
            (&self.deleted, &service.deleted)
        };
        total.atomic().add(1, Relaxed);
        of_service.atomic().add(1, Relaxed);
        route.backend.route_removed(live);
    }

    /// Deletes every route that `doomed` names, and returns how many. Process context.
    pub(crate) fn delete_routes(&self, mut doomed: impl FnMut(&Route) -> bool) -> u64 {
        let mut deleted = 0u64;
        for bucket in 0..self.routes.bucket_count() {
            let removed = self.routes.remove_in_bucket(bucket, |route| {
                let doomed = doomed(route);
                if doomed {
                    let service = &route.backend.service;
                    self.deleted.atomic().add(1, Relaxed);
                    service.deleted.atomic().add(1, Relaxed);
                    route.backend.route_removed(route.is_live());
                }
                doomed
            });
            deleted = deleted.saturating_add(u64::from(removed));
            if bucket % GIVE_WAY == 0 {
                give_way();
            }
        }
        deleted
    }

    /// Routes of a node, as an administrator wants to see them.
    pub(crate) fn routes_of(backend: &Backend) -> u64 {
        // A route is counted just after it is in the table, so for an instant there may be fewer.
        u64::try_from(backend.routes.get()).unwrap_or(0)
    }
}

impl Periodic for NetState {
    /// Sweeps a part of the table, or all of it when it is three quarters full.
    fn run(&self) -> u32 {
        if self.routes.is_empty() {
            return TICKS_PER_SECOND;
        }
        let buckets = self.routes.bucket_count();
        let crowded = self.routes.len() >= self.routes.limit() / 4 * 3;
        let share = if crowded {
            buckets
        } else {
            buckets.div_ceil(SWEEP_RUNS)
        };
        let mut bucket = self.sweep_at.get();
        for _ in 0..share {
            if bucket >= buckets {
                bucket = 0;
            }
            let now = ticks();
            self.routes.remove_in_bucket(bucket, |route| {
                let over = sweep(&route.view(), now, &route.backend.timeouts());
                if over {
                    self.route_ended(route);
                }
                over
            });
            bucket = bucket.wrapping_add(1);
            if bucket % GIVE_WAY == 0 {
                give_way();
            }
        }
        self.sweep_at.set(bucket);
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
