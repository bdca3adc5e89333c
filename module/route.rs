// SPDX-License-Identifier: GPL-2.0

//! An entry of the allocated-route table (F3).

use crate::node::Backend;
use fep_core::{
    flow::RouteView,
    icmp::Quote,
    packet::{Packet, Protocol},
    tcp::Tracker,
    timeout::stamp_due,
};
use fep_net::{
    route::RouteCache,
    table::Entry,
    time::TICKS_PER_SECOND,
    word::Word, //
};
use kernel::sync::Arc;

/// A client and its node.
///
/// Found in both directions by the hash of protocol, client address and client port. What identifies
/// it never changes; `tracker` and `last_used` are written by any CPU, without order.
pub(crate) struct Route {
    hash: u32,
    pub(crate) client: u32,
    pub(crate) vip: u32,
    node: u32,
    pub(crate) client_port: u16,
    pub(crate) vip_port: u16,
    node_port: u16,
    protocol: Protocol,
    generation: u32,
    tracker: Word<u32>,
    last_used: Word<u32>,
    pub(crate) backend: Arc<Backend>,
    /// The way to the client.
    pub(crate) reply: RouteCache,
}

impl Entry for Route {
    #[inline(always)]
    fn hash(&self) -> u32 {
        self.hash
    }
}

impl Route {
    /// The route of the client that sent `packet`, to a node as it was at `generation`.
    pub(crate) fn new(
        hash: u32,
        packet: &Packet,
        backend: Arc<Backend>,
        generation: u32,
        now: u32,
    ) -> Self {
        Self {
            hash,
            client: packet.source,
            vip: packet.destination,
            node: backend.node.address,
            client_port: packet.source_port,
            vip_port: packet.destination_port,
            node_port: backend.node.port,
            protocol: packet.protocol,
            generation,
            tracker: Word::new(Tracker::begin(packet.protocol, packet.tcp_flags).to_bits()),
            last_used: Word::new(now),
            backend,
            reply: RouteCache::new(),
        }
    }

    /// Whether `packet` is a request on this route.
    #[inline]
    pub(crate) fn is_request(&self, packet: &Packet) -> bool {
        self.client == packet.source
            && self.vip == packet.destination
            && self.client_port == packet.source_port
            && self.vip_port == packet.destination_port
            && self.protocol == packet.protocol
    }

    /// Whether `packet` is a reply on this route.
    #[inline]
    pub(crate) fn is_reply(&self, packet: &Packet) -> bool {
        self.node == packet.source
            && self.client == packet.destination
            && self.node_port == packet.source_port
            && self.client_port == packet.destination_port
            && self.protocol == packet.protocol
    }

    /// Whether an error quotes a request of this route, as the node got it.
    pub(crate) fn requested(&self, quote: &Quote) -> bool {
        self.client == quote.source
            && self.node == quote.destination
            && self.client_port == quote.source_port
            && self.node_port == quote.destination_port
            && self.protocol == quote.protocol
    }

    /// Whether an error quotes a reply of this route, as the client was to get it.
    pub(crate) fn replied(&self, quote: &Quote) -> bool {
        self.vip == quote.source
            && self.client == quote.destination
            && self.vip_port == quote.source_port
            && self.client_port == quote.destination_port
            && self.protocol == quote.protocol
    }

    /// Whether a reply of `backend` to the client that sent `packet` would be taken for one on this
    /// route.
    pub(crate) fn conflicts(&self, packet: &Packet, backend: &Backend) -> bool {
        self.client == packet.source
            && self.client_port == packet.source_port
            && self.protocol == packet.protocol
            && self.node == backend.node.address
            && self.node_port == backend.node.port
    }

    /// Whether the node has neither failed nor been removed since.
    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        self.generation == self.backend.generation.get()
    }

    /// The route as a packet sees it.
    #[inline]
    pub(crate) fn view(&self) -> RouteView {
        RouteView {
            tracker: Tracker::from_bits(self.tracker.get()),
            last_used: self.last_used.get(),
            live: self.is_live(),
            draining: self.backend.draining.get(),
        }
    }

    /// Notes that a packet used the route: nothing is written that does not change, and the time at
    /// most once a second, so that CPUs do not fight for the line.
    #[inline]
    pub(crate) fn used(&self, before: &RouteView, tracker: Tracker, now: u32) {
        if tracker != before.tracker {
            self.tracker.set(tracker.to_bits());
        }
        if stamp_due(now, before.last_used, TICKS_PER_SECOND) {
            self.last_used.set(now);
        }
    }
}
