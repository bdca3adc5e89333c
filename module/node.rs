// SPDX-License-Identifier: GPL-2.0

//! What is kept of services and back-end nodes from one configuration to the next.

use crate::{
    route::{Kind, Route},
    syns::Syns,
};
use core::net::{Ipv4Addr, Ipv6Addr};
use fep_core::{
    flow::patience,
    rewrite::Translation,
    timeout::{self, Timeouts},
    validate::{Node, Service},
    wrr,
};
use fep_net::{
    group::Group,
    lock::BhLock,
    percpu::PerCpuCounters,
    route::RouteCache,
    rx::RxContext,
    time::TICKS_PER_SECOND,
    word::{OwnLine, Word},
};
use fep_uapi::{Counter, Method, RouteState, Traffic, COUNTERS, TIMEOUTS};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{atomic::Relaxed, Arc},
};

/// Index of [`Traffic::connections`] and so on in a node's counters.
const CONNECTIONS: usize = 0;
const PACKETS: [usize; 2] = [1, 2];
const BYTES: [usize; 2] = [3, 4];

/// Which way a packet goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a client.
    In = 0,
    /// To a client.
    Out = 1,
}

/// A service, for as long as a configuration or a route refers to it.
#[pin_data]
pub(crate) struct ServiceShared {
    pub(crate) id: Service,
    /// Position in lists; grows with every service that is added.
    pub(crate) serial: u32,
    /// By [`Counter`]; forwarded packets and new routes are counted by node instead.
    pub(crate) counters: PerCpuCounters<COUNTERS>,
    /// Routes that ended by their timeout.
    pub(crate) expired: OwnLine<Word<i64>>,
    /// Routes that were deleted.
    pub(crate) deleted: OwnLine<Word<i64>>,
    /// Traffic of back-end nodes that were removed. Written with the configuration locked.
    retired: [Word<u64>; 5],
    /// The scheduler: nodes that take new clients, by serial. It goes on across configurations.
    #[pin]
    pub(crate) slots: BhLock<KVVec<wrr::Slot>>,
}

impl ServiceShared {
    /// Sleeps.
    pub(crate) fn new(id: Service, serial: u32) -> Result<Arc<Self>> {
        let counters = PerCpuCounters::new()?;
        Arc::pin_init(
            pin_init!(Self {
                id: id,
                serial: serial,
                counters: counters,
                expired: OwnLine(Word::new(0)),
                deleted: OwnLine(Word::new(0)),
                retired: [const { Word::new(0) }; 5],
                slots <- BhLock::new(KVVec::new(), c"fep_scheduler", static_lock_class!()),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Gives the scheduler new slots, which go on where the old ones stand. Process context; does not
    /// sleep. Returns the old ones, to be freed.
    pub(crate) fn reschedule(&self, mut new: KVVec<wrr::Slot>) -> KVVec<wrr::Slot> {
        let mut slots = self.slots.lock_bh();
        wrr::carry(&slots, &mut new);
        core::mem::replace(&mut *slots, new)
    }

    /// Counts one packet of the receive path.
    #[inline]
    pub(crate) fn count(&self, cx: &RxContext<'_>, counter: Counter) {
        add(self.counters.local(cx), counter as usize, 1);
    }

    /// Keeps the traffic of a node that is gone.
    pub(crate) fn retire(&self, backend: &AnyBackend) {
        for (index, kept) in self.retired.iter().enumerate() {
            kept.add_local(backend.counters().sum(index));
        }
    }

    /// Traffic of nodes that are gone.
    pub(crate) fn retired(&self) -> Traffic {
        let [connections, packets_in, packets_out, bytes_in, bytes_out] = &self.retired;
        Traffic {
            connections: connections.get(),
            packets_in: packets_in.get(),
            packets_out: packets_out.get(),
            bytes_in: bytes_in.get(),
            bytes_out: bytes_out.get(),
        }
    }
}

/// What commits change of a back-end node, and packets read.
#[repr(C)]
pub(crate) struct State {
    /// A route is live while it has the same generation: raising this one ends all routes at once
    /// (F6). Written with the configuration locked.
    pub(crate) generation: Word<u32>,
    /// How long a route may be idle and still be used on the fast path, in ticks.
    pub(crate) patience: Word<u32>,
    /// Weight 0: no new clients.
    pub(crate) draining: Word<bool>,
    /// Timeouts of its routes in ticks: those of its service. Written with the configuration locked.
    timeouts: [Word<u32>; TIMEOUTS],
}

/// What packets of a route do not need, but for new clients and commits.
pub(crate) struct Info {
    pub(crate) service: Arc<ServiceShared>,
    pub(crate) node: Node,
    pub(crate) method: Method,
    /// Position in lists; grows with every node that is added to the service.
    pub(crate) serial: u32,
    /// Routes that were taken out because the node had failed or was removed.
    pub(crate) dead: OwnLine<Word<i32>>,
    /// What its answers to SYNs were, or that there were none.
    pub(crate) syns: Syns,
    /// What was told last: that it has drained, and of how many such SYNs. Written by the sweep's work.
    pub(crate) told_drained: Word<bool>,
    pub(crate) told_syns: Word<i64>,
}

/// A back-end node of one service, for as long as a configuration or a route refers to it.
///
/// Every packet of an established connection reads it, so it shares no cache line with what every
/// new connection writes: its own count of references (by its alignment) and that of its routes. What
/// an IPv4 packet reads is the first line.
#[pin_data]
#[repr(C, align(64))]
pub(crate) struct Backend<A: Kind> {
    /// The way to the node.
    pub(crate) way: RouteCache<A>,
    traffic: PerCpuCounters<5>,
    pub(crate) translation: Translation<A>,
    direct: bool,
    pub(crate) state: State,
    pub(crate) info: Info,
    /// Allocated routes.
    #[pin]
    pub(crate) routes: Group<Route<A>>,
}

// The timeouts are for routes that were idle for a while.
const _: () = assert!(
    core::mem::offset_of!(Backend<Ipv4Addr>, state) + core::mem::offset_of!(State, timeouts) <= 64
);

/// A back-end node of whichever family.
#[derive(Clone)]
pub(crate) enum AnyBackend {
    V4(Arc<Backend<Ipv4Addr>>),
    V6(Arc<Backend<Ipv6Addr>>),
}

impl AnyBackend {
    /// Sleeps. The addresses are of one family.
    pub(crate) fn new(
        service: Arc<ServiceShared>,
        node: Node,
        method: Method,
        serial: u32,
        timeouts: &[u32; TIMEOUTS],
    ) -> Result<Self> {
        use core::net::IpAddr::{V4, V6};
        let (vip, vip_port) = (service.id.address, service.id.port);
        let info = Info {
            service,
            node,
            method,
            serial,
            dead: OwnLine(Word::new(0)),
            syns: Syns::new(),
            told_drained: Word::new(false),
            told_syns: Word::new(0),
        };
        match (vip, node.address) {
            (V4(vip), V4(address)) => {
                let translation = Translation::new((vip, vip_port), (address, node.port));
                Backend::new(info, translation, timeouts).map(Self::V4)
            }
            (V6(vip), V6(address)) => {
                let translation = Translation::new((vip, vip_port), (address, node.port));
                Backend::new(info, translation, timeouts).map(Self::V6)
            }
            _ => Err(EINVAL),
        }
    }

    /// What packets do not need.
    pub(crate) fn info(&self) -> &Info {
        match self {
            Self::V4(backend) => &backend.info,
            Self::V6(backend) => &backend.info,
        }
    }

    /// What commits change.
    pub(crate) fn state(&self) -> &State {
        match self {
            Self::V4(backend) => &backend.state,
            Self::V6(backend) => &backend.state,
        }
    }

    /// Allocated routes now.
    pub(crate) fn routes(&self) -> u32 {
        match self {
            Self::V4(backend) => backend.routes.len(),
            Self::V6(backend) => backend.routes.len(),
        }
    }

    fn counters(&self) -> &PerCpuCounters<5> {
        match self {
            Self::V4(backend) => &backend.traffic,
            Self::V6(backend) => &backend.traffic,
        }
    }

    /// Traffic since the node was added.
    pub(crate) fn traffic(&self) -> Traffic {
        let counters = self.counters();
        Traffic {
            connections: counters.sum(CONNECTIONS),
            packets_in: counters.sum(1),
            packets_out: counters.sum(2),
            bytes_in: counters.sum(3),
            bytes_out: counters.sum(4),
        }
    }
}

impl State {
    fn new(timeouts: &[u32; TIMEOUTS]) -> Self {
        let timeouts = ticks(timeouts);
        Self {
            generation: Word::new(0),
            patience: Word::new(patience(false, &timeouts)),
            timeouts: timeouts.map(Word::new),
            draining: Word::new(false),
        }
    }

    /// How long a route of the node may be idle in a state, in ticks.
    #[inline(always)]
    pub(crate) fn timeout_of(&self, state: RouteState) -> u32 {
        // PANIC: None: there is a timeout for every state.
        self.timeouts
            .get(timeout::index(state))
            .map_or(u32::MAX, Word::get)
    }

    /// Takes over what a new configuration says of the node. Writes only what changes: packets read
    /// this.
    pub(crate) fn configure(&self, weight: u32, timeouts: &[u32; TIMEOUTS]) {
        if self.draining.get() != (weight == 0) {
            self.draining.set(weight == 0);
        }
        let timeouts = ticks(timeouts);
        let patience = patience(weight == 0, &timeouts);
        if self.patience.get() != patience {
            self.patience.set(patience);
        }
        for (word, ticks) in self.timeouts.iter().zip(timeouts) {
            if word.get() != ticks {
                word.set(ticks);
            }
        }
    }

    /// Ends all routes to the node.
    pub(crate) fn end_routes(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
    }
}

/// Timeouts in ticks, of a service's in seconds.
fn ticks(timeouts: &[u32; TIMEOUTS]) -> [u32; TIMEOUTS] {
    Timeouts::from_seconds(timeouts, TICKS_PER_SECOND).to_ticks()
}

impl Info {
    /// Counts a route that was taken out of the table, a dead one or one whose time was over.
    pub(crate) fn route_removed(&self, live: bool) {
        if !live {
            self.dead.atomic().add(1, Relaxed);
        }
    }
}

impl<A: Kind> Backend<A> {
    /// Sleeps.
    fn new(
        info: Info,
        translation: Translation<A>,
        timeouts: &[u32; TIMEOUTS],
    ) -> Result<Arc<Self>> {
        let traffic = PerCpuCounters::new()?;
        Arc::pin_init(
            pin_init!(Self {
                way: RouteCache::new(),
                traffic: traffic,
                translation: translation,
                direct: info.method == Method::Dr,
                state: State::new(timeouts),
                info: info,
                routes <- Group::new(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Whether packets reach the node as they are (direct routing), and it answers clients itself.
    #[inline(always)]
    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    /// The service's address and port.
    #[inline(always)]
    pub(crate) fn service(&self) -> (A, u16) {
        let service = &self.translation.to_service;
        (service.address, service.port)
    }

    /// Where the node's replies are from, as they reach this host.
    #[inline(always)]
    pub(crate) fn replies_from(&self) -> (A, u16) {
        let from = if self.direct {
            &self.translation.to_service
        } else {
            &self.translation.to_node
        };
        (from.address, from.port)
    }

    /// Counts a new client.
    #[inline]
    pub(crate) fn count_connection(&self, cx: &RxContext<'_>) {
        add(self.traffic.local(cx), CONNECTIONS, 1);
    }

    /// Counts a packet of `packets` segments.
    #[inline(always)]
    pub(crate) fn count_packet(&self, cx: &RxContext<'_>, way: Way, packets: u32, bytes: usize) {
        let counters = self.traffic.local(cx);
        let [packets_in, packets_out] = PACKETS;
        let [bytes_in, bytes_out] = BYTES;
        let (packet_index, byte_index) = match way {
            Way::In => (packets_in, bytes_in),
            Way::Out => (packets_out, bytes_out),
        };
        add(counters, packet_index, u64::from(packets));
        add(counters, byte_index, bytes as u64);
    }
}

/// Adds to one of this CPU's counters.
#[inline(always)]
pub(crate) fn add<const N: usize>(counters: &[Word<u64>; N], index: usize, value: u64) {
    if let Some(counter) = counters.get(index) {
        counter.add_local(value);
    }
}
