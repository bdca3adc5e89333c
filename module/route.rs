// SPDX-License-Identifier: GPL-2.0

//! An entry of the allocated-route table (F3).

use crate::node::{AnyBackend, Backend, Info, State};
use core::net::{Ipv4Addr, Ipv6Addr};
use fep_core::{
    address::Address,
    flow::{in_use, sweep, RouteView},
    icmp::Quote,
    packet::{Packet, TcpFlags},
    tcp::{Direction, Tracker},
    timeout::{idle, stamp_due, watched},
    validate::Node,
};
use fep_net::{
    family::Family,
    group::Group,
    route::RouteCache,
    slab::SlabCacheGuard,
    table::{Entry, EntrySlab, Table},
    time::TICKS_PER_SECOND,
    word::Word, //
};
use kernel::{
    prelude::*,
    sync::{atomic::Relaxed, Arc},
};

/// A client and its node.
///
/// Found in both directions by the hash of protocol, client address and client port. What identifies
/// it never changes; `tracker` and `last_used` are written by any CPU, without order. Service and node
/// are the backend's, which every packet needs anyway: so that an IPv4 route, with what the table adds,
/// fills one cache line.
pub(crate) struct Route<A: Kind> {
    hash: u32,
    generation: u32,
    pub(crate) backend: Arc<Backend<A>>,
    /// The way to the client.
    pub(crate) reply: RouteCache<A>,
    tracker: Word<u32>,
    last_used: Word<u32>,
    client: A::Client,
}

/// An address family: what it has of its own in this module.
pub(crate) trait Kind: Address + Family {
    /// Where the memory for routes comes from.
    fn slab() -> &'static EntrySlab<Route<Self>>;

    /// The family's part of the allocated-route table.
    fn table(tables: &Tables) -> &Table<Route<Self>>;

    /// Routes of the other family.
    fn others(tables: &Tables) -> u32;

    /// The back-end node, if it is of this family.
    fn backend(backend: &AnyBackend) -> Option<&Arc<Backend<Self>>>;
}

static SLAB4: EntrySlab<Route<Ipv4Addr>> = EntrySlab::new();
static SLAB6: EntrySlab<Route<Ipv6Addr>> = EntrySlab::new();

/// The memory for routes, for as long as this exists.
pub(crate) struct Slabs {
    _four: SlabCacheGuard<fep_net::table::Node<Route<Ipv4Addr>>>,
    _six: SlabCacheGuard<fep_net::table::Node<Route<Ipv6Addr>>>,
}

impl Slabs {
    /// Sleeps.
    pub(crate) fn create() -> Result<Self> {
        Ok(Self {
            _four: SLAB4.create(c"fep_route4")?,
            _six: SLAB6.create(c"fep_route6")?,
        })
    }
}

/// The allocated-route table, a table for each family.
#[pin_data]
pub(crate) struct Tables {
    #[pin]
    pub(crate) four: Table<Route<Ipv4Addr>>,
    #[pin]
    pub(crate) six: Table<Route<Ipv6Addr>>,
}

impl Tables {
    /// Empty tables.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            four <- Table::new(),
            six <- Table::new(),
        })
    }

    /// Routes of both families.
    pub(crate) fn len(&self) -> u32 {
        self.four.len().saturating_add(self.six.len())
    }
}

impl Kind for Ipv4Addr {
    fn slab() -> &'static EntrySlab<Route<Self>> {
        &SLAB4
    }

    #[inline(always)]
    fn table(tables: &Tables) -> &Table<Route<Self>> {
        &tables.four
    }

    fn others(tables: &Tables) -> u32 {
        tables.six.len()
    }

    fn backend(backend: &AnyBackend) -> Option<&Arc<Backend<Self>>> {
        match backend {
            AnyBackend::V4(backend) => Some(backend),
            AnyBackend::V6(_) => None,
        }
    }
}

impl Kind for Ipv6Addr {
    fn slab() -> &'static EntrySlab<Route<Self>> {
        &SLAB6
    }

    #[inline(always)]
    fn table(tables: &Tables) -> &Table<Route<Self>> {
        &tables.six
    }

    fn others(tables: &Tables) -> u32 {
        tables.four.len()
    }

    fn backend(backend: &AnyBackend) -> Option<&Arc<Backend<Self>>> {
        match backend {
            AnyBackend::V4(_) => None,
            AnyBackend::V6(backend) => Some(backend),
        }
    }
}

impl<A: Kind> Entry for Route<A> {
    #[inline(always)]
    fn hash(&self) -> u32 {
        self.hash
    }

    #[inline(always)]
    fn group(&self) -> &Group<Self> {
        &self.backend.routes
    }

    #[inline(always)]
    fn slab() -> &'static EntrySlab<Self> {
        A::slab()
    }
}

impl<A: Kind> Route<A> {
    /// The route of the client that sent `packet`, to a node as it was at `generation`.
    pub(crate) fn new(
        hash: u32,
        packet: &Packet<A>,
        backend: Arc<Backend<A>>,
        generation: u32,
        now: u32,
    ) -> Self {
        let tracker = Tracker::begin(packet.protocol, backend.is_direct());
        Self {
            hash,
            generation,
            backend,
            reply: RouteCache::new(),
            tracker: Word::new(tracker.to_bits()),
            last_used: Word::new(now),
            client: packet.source.client(packet.protocol, packet.source_port),
        }
    }

    /// Where the client is.
    #[inline(always)]
    pub(crate) fn client(&self) -> (A, u16) {
        A::of_client(self.client)
    }

    /// Whether this is a route of `client`.
    pub(crate) fn is_of(&self, client: A::Client) -> bool {
        self.client == client
    }

    /// Whether `packet`, which `client` has sent, is a request on this route.
    #[inline(always)]
    pub(crate) fn is_request(&self, client: A::Client, packet: &Packet<A>) -> bool {
        self.client == client
            && self.backend.service() == (packet.destination, packet.destination_port)
    }

    /// Whether `packet`, which is to `client`, is a reply on this route.
    #[inline(always)]
    pub(crate) fn is_reply(&self, client: A::Client, packet: &Packet<A>) -> bool {
        self.client == client && self.backend.replies_from() == (packet.source, packet.source_port)
    }

    /// Whether an error quotes a request of this route, of `client`, as the node got it.
    pub(crate) fn requested(&self, client: A::Client, quote: &Quote<A>) -> bool {
        self.client == client
            && self.backend.replies_from() == (quote.destination, quote.destination_port)
    }

    /// Whether an error quotes a reply of this route, to `client`, as that was to get it.
    pub(crate) fn replied(&self, client: A::Client, quote: &Quote<A>) -> bool {
        self.client == client && self.backend.service() == (quote.source, quote.source_port)
    }

    /// Whether a reply of `backend` to `client` would be taken for one on this route.
    pub(crate) fn conflicts(&self, client: A::Client, backend: &Backend<A>) -> bool {
        self.client == client && self.backend.replies_from() == backend.replies_from()
    }

    /// Whether the node has neither failed nor been removed since.
    #[inline(always)]
    pub(crate) fn is_live(&self) -> bool {
        self.generation == self.backend.state.generation.get()
    }

    /// The route as a packet sees it.
    #[inline(always)]
    pub(crate) fn view(&self) -> RouteView {
        RouteView {
            tracker: Tracker::from_bits(self.tracker.get()),
            last_used: self.last_used.get(),
            live: self.is_live(),
            draining: self.backend.state.draining.get(),
        }
    }

    /// What a packet does to the route, if that can be told without a look at its state.
    #[inline(always)]
    pub(crate) fn in_use(&self, direction: Direction, flags: TcpFlags, now: u32) -> Option<Use> {
        let state = &self.backend.state;
        let before = Tracker::from_bits(self.tracker.get());
        let last_used = self.last_used.get();
        let idle = idle(now, last_used);
        let after = in_use(
            before,
            self.is_live(),
            idle,
            state.patience.get(),
            |of| state.timeout_of(of),
            direction,
            flags,
        )?;
        Some(Use {
            before,
            after,
            stamp: idle >= TICKS_PER_SECOND,
        })
    }

    /// Notes that a packet used the route: nothing is written that does not change, and the time at
    /// most once a second, so that CPUs do not fight for the line.
    #[inline(always)]
    pub(crate) fn used(&self, by: &Use, direction: Direction, now: u32) {
        if by.after != by.before {
            self.tracker.set(by.after.to_bits());
            if by.before.is_refused(by.after, direction) {
                count_syn(&self.backend.info.syns.reset);
            }
        }
        if by.stamp {
            self.last_used.set(now);
            if by.before.is_unanswered() && by.after == by.before && direction == Direction::Request
            {
                count_syn(&self.backend.info.syns.repeated);
            }
        }
    }

    /// What stands for the last use of the route, and shows the next one: it makes the route look a
    /// second older where it was used within that. Nothing for a route that ends so soon that this
    /// would matter.
    pub(crate) fn watch(&self, now: u32) -> Option<u32> {
        let seen = self.last_used.get();
        let state = Tracker::from_bits(self.tracker.get()).state();
        let timeout = self.backend.state.timeout_of(state);
        let stamp = watched(now, seen, timeout, TICKS_PER_SECOND)?;
        if stamp == seen {
            return Some(seen);
        }
        // A packet that writes it at the same time has used it.
        let swapped = self.last_used.atomic().cmpxchg(seen, stamp, Relaxed);
        swapped.ok().map(|_| stamp)
    }
}

#[cold]
#[inline(never)]
fn count_syn(counter: &Word<i64>) {
    counter.atomic().add(1, Relaxed);
}

/// What a packet does to its route.
pub(crate) struct Use {
    before: Tracker,
    after: Tracker,
    /// The route was last used a second ago, or longer.
    stamp: bool,
}

impl Use {
    /// By a packet that was decided on by the route as a whole.
    pub(crate) fn new(before: &RouteView, after: Tracker, now: u32) -> Self {
        Self {
            before: before.tracker,
            after,
            stamp: stamp_due(now, before.last_used, TICKS_PER_SECOND),
        }
    }
}

/// A route of whichever family, for those who look at all of them.
pub(crate) struct Seen<'a> {
    pub(crate) info: &'a Info,
    pub(crate) state: &'a State,
    pub(crate) view: RouteView,
    pub(crate) client: Node,
    pub(crate) live: bool,
}

impl<A: Kind> Route<A> {
    /// The route for those who look at all of them.
    pub(crate) fn seen(&self) -> Seen<'_> {
        let view = self.view();
        let (address, port) = self.client();
        Seen {
            info: &self.backend.info,
            state: &self.backend.state,
            view,
            client: Node {
                address: address.into(),
                port,
            },
            live: view.live,
        }
    }
}

impl Seen<'_> {
    /// Whether its time is over, or its node gone.
    pub(crate) fn is_over(&self, now: u32) -> bool {
        sweep(&self.view, now, |state| self.state.timeout_of(state))
    }
}
