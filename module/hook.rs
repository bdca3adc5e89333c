// SPDX-License-Identifier: GPL-2.0

//! The packet filter (F4): what happens to a packet between driver and IP layer.
//!
//! Everything here runs in the receive path: bottom halves off, RCU read side locked, nothing
//! sleeps. A packet is parsed, finds its route, and leaves translated; or it goes on untouched.

use crate::{
    exit::{covered, Exit, Sent},
    node::{add, Way},
    route::Route,
    snapshot::{Choice, ServiceVersion},
    state::NetState,
};
use fep_core::{
    flow::{on_miss, on_reply, on_request, OnMiss, OnReply, OnRequest},
    hash::client_hash,
    packet::{header_checksum_ok, parse, Packet, Parsed},
    rewrite::translate,
};
use fep_net::{
    nf::Ingress,
    route::{reject, Fit, IcmpError},
    rx::RxContext,
    skb::{OwnedSkb, RxSkb, Verdict},
    table::{InsertError, Inserted},
    time::ticks,
};
use fep_uapi::Counter;
use kernel::prelude::*;

/// Longest IPv4 header (60) and TCP header without options (20), in bytes.
const HEADERS_MAX: usize = 80;

impl Ingress for NetState {
    #[inline]
    fn receive<'a>(&self, cx: &'a RxContext<'_>, skb: RxSkb<'a>) -> Verdict<'a> {
        if !skb.is_ipv4_for_host() {
            return self.pass(cx, skb, Counter::PassForeign);
        }
        let packet = match parse(skb.head(), skb.len()) {
            Parsed::Packet(packet) => packet,
            Parsed::Pass(counter) => return self.pass(cx, skb, counter),
            Parsed::Icmp => return self.icmp(cx, skb),
            Parsed::Need(bytes) => match parse_scattered(&skb, bytes) {
                Ok(Some(packet)) => packet,
                Ok(None) => return self.icmp(cx, skb),
                Err(counter) => return self.pass(cx, skb, counter),
            },
        };
        self.filter(cx, skb, &packet)
    }
}

/// Parses a packet whose headers are not in one piece. `None` for an ICMP message.
#[cold]
fn parse_scattered(skb: &RxSkb<'_>, mut bytes: usize) -> Result<Option<Packet>, Counter> {
    let mut buffer = [0u8; HEADERS_MAX];
    loop {
        let head = buffer
            .get_mut(..bytes)
            .and_then(|buffer| skb.copy_head(buffer))
            .ok_or(Counter::PassMalformed)?;
        match parse(head, skb.len()) {
            Parsed::Packet(packet) => return Ok(Some(packet)),
            Parsed::Icmp => return Ok(None),
            Parsed::Pass(counter) => return Err(counter),
            // It only ever asks for more, and for no more than the buffer has.
            Parsed::Need(more) if more > bytes => bytes = more,
            Parsed::Need(_) => return Err(Counter::PassMalformed),
        }
    }
}

/// Whether the IPv4 header's checksum is right: no route is made for a damaged packet.
fn header_is_intact(skb: &RxSkb<'_>, packet: &Packet) -> bool {
    let mut buffer = [0u8; HEADERS_MAX];
    let len = usize::from(packet.header_len);
    if skb.head().len() >= len {
        return header_checksum_ok(skb.head(), packet);
    }
    buffer
        .get_mut(..len)
        .and_then(|buffer| skb.copy_head(buffer))
        .is_some_and(|head| header_checksum_ok(head, packet))
}

impl NetState {
    /// Counts a packet.
    #[inline]
    pub(crate) fn count(&self, cx: &RxContext<'_>, counter: Counter, packets: u32) {
        add(
            self.counters.local(cx),
            counter as usize,
            u64::from(packets),
        );
    }

    #[inline]
    pub(crate) fn pass<'a>(
        &self,
        cx: &RxContext<'_>,
        skb: RxSkb<'a>,
        counter: Counter,
    ) -> Verdict<'a> {
        self.count(cx, counter, 1);
        Verdict::Pass(skb)
    }

    fn drop_packet<'a>(&self, cx: &RxContext<'_>, skb: RxSkb<'a>, counter: Counter) -> Verdict<'a> {
        self.count(cx, counter, 1);
        Verdict::Consumed(skb.drop_packet())
    }

    /// Finds the packet's route in either direction.
    #[inline]
    fn filter<'a>(&self, cx: &'a RxContext<'_>, skb: RxSkb<'a>, packet: &Packet) -> Verdict<'a> {
        let now = ticks();
        let key = &self.hash_key;
        let hash = client_hash(key, packet.protocol, packet.source, packet.source_port);
        if let Some(route) = self.routes.find(cx, hash, |route| route.is_request(packet)) {
            let view = route.view();
            let timeouts = route.backend.timeouts();
            match on_request(&view, packet.protocol, packet.tcp_flags, now, &timeouts) {
                OnRequest::Use { tracker } => {
                    let verdict = self.forward(cx, skb, packet, route, Way::In);
                    route.used(&view, tracker, now);
                    return verdict;
                }
                OnRequest::Replace => self.remove(cx, route),
            }
        } else {
            let client = (packet.destination, packet.destination_port);
            let back = client_hash(key, packet.protocol, client.0, client.1);
            let found = self.routes.find(cx, back, |route| route.is_reply(packet));
            if let Some(route) = found {
                let view = route.view();
                let timeouts = route.backend.timeouts();
                match on_reply(&view, packet.protocol, packet.tcp_flags, now, &timeouts) {
                    OnReply::Use { tracker } => {
                        let verdict = self.forward(cx, skb, packet, route, Way::Out);
                        route.used(&view, tracker, now);
                        return verdict;
                    }
                    OnReply::Ignore => {}
                }
            }
        }
        self.miss(cx, skb, packet, hash, now)
    }

    /// A packet without a route: of a new client, of nobody, or too late.
    fn miss<'a>(
        &self,
        cx: &'a RxContext<'_>,
        skb: RxSkb<'a>,
        packet: &Packet,
        hash: u32,
        now: u32,
    ) -> Verdict<'a> {
        let snapshot = self.snapshot.read(cx);
        let (protocol, port) = (packet.protocol, packet.destination_port);
        let Some(service) = snapshot.service(protocol, packet.destination, port) else {
            // A node's reply whose route has ended must not reach the client with the node's own
            // address (F5). What a node answers to this host itself is none of that.
            if snapshot.is_node(protocol, packet.source, packet.source_port)
                && !cx.net().has_address(packet.destination)
            {
                return self.drop_packet(cx, skb, Counter::DropStaleReply);
            }
            return self.pass(cx, skb, Counter::PassNoService);
        };
        if let OnMiss::Pass(counter) = on_miss(protocol, packet.tcp_flags) {
            service.shared.count(cx, counter);
            return self.pass(cx, skb, counter);
        }
        if !header_is_intact(&skb, packet) {
            return self.pass(cx, skb, Counter::PassMalformed);
        }
        // A client that claims to be this host would capture the replies to the host's own
        // connections with nodes. The host's stack drops such martians.
        if !cx.net().is_foreign_host(packet.source) {
            return self.pass(cx, skb, Counter::PassForeign);
        }
        if packet.ttl <= 1 {
            // Nothing that goes no further makes a route.
            service.shared.count(cx, Counter::DropTtl);
            self.count(cx, Counter::DropTtl, 1);
            let header_len = usize::from(packet.header_len);
            return Verdict::Consumed(skb.into_owned().map_or_else(
                |consumed| consumed,
                |skb| reject(cx, skb, header_len, IcmpError::TimeExceeded),
            ));
        }
        match self.allocate(cx, packet, service, hash, now) {
            Ok(route) => self.forward(cx, skb, packet, route, Way::In),
            Err(counter) => {
                service.shared.count(cx, counter);
                self.drop_packet(cx, skb, counter)
            }
        }
    }

    /// Allocates a route for a new client (F3). Of two CPUs that try at once, one makes it and the
    /// other uses it.
    fn allocate<'a>(
        &'a self,
        cx: &'a RxContext<'_>,
        packet: &Packet,
        service: &ServiceVersion,
        hash: u32,
        now: u32,
    ) -> Result<&'a Route, Counter> {
        let inserted = self.routes.find_or_insert(
            cx,
            hash,
            |route| route.is_request(packet) && route.is_live(),
            |chain| {
                let choice = service.schedule(cx, |member| {
                    !chain.any(|route| route.conflicts(packet, &member.backend) && route.is_live())
                });
                match choice {
                    Choice::Node(member) => Ok(Route::new(
                        hash,
                        packet,
                        member.backend.clone(),
                        member.generation,
                        now,
                    )),
                    Choice::None => Err(Counter::DropNoBackend),
                    Choice::Refused => Err(Counter::DropReplyConflict),
                }
            },
        );
        match inserted {
            Ok(Inserted::New(route)) => {
                self.count(cx, Counter::RouteAllocated, 1);
                route.backend.count_connection(cx);
                route.backend.route_added();
                Ok(route)
            }
            Ok(Inserted::Existing(route)) => Ok(route),
            Err(InsertError::Full) => Err(Counter::DropTableFull),
            Err(InsertError::NoMemory) => Err(Counter::DropNoMemory),
            Err(InsertError::Refused(counter)) => Err(counter),
        }
    }

    /// Takes out a route that is over.
    #[cold]
    fn remove(&self, cx: &RxContext<'_>, route: &Route) {
        if self.routes.remove(cx, route) {
            self.route_ended(route);
        }
    }

    /// Translates a packet and sends it by its route.
    #[inline]
    fn forward<'a>(
        &self,
        cx: &'a RxContext<'_>,
        skb: RxSkb<'a>,
        packet: &Packet,
        route: &Route,
        way: Way,
    ) -> Verdict<'a> {
        let sent = match skb.into_owned() {
            Ok(skb) => self.translate_and_send(cx, skb, packet, route, way),
            Err(consumed) => Err((consumed, Counter::DropNoMemory)),
        };
        match sent {
            Ok(consumed) => Verdict::Consumed(consumed),
            Err((consumed, counter)) => {
                self.count(cx, counter, 1);
                route.backend.service.count(cx, counter);
                Verdict::Consumed(consumed)
            }
        }
    }

    #[inline]
    fn translate_and_send<'a>(
        &self,
        cx: &'a RxContext<'_>,
        mut skb: OwnedSkb<'a>,
        packet: &Packet,
        route: &Route,
        way: Way,
    ) -> Sent {
        let header_len = usize::from(packet.header_len);
        if packet.ttl <= 1 {
            let consumed = reject(cx, skb, header_len, IcmpError::TimeExceeded);
            return Err((consumed, Counter::DropTtl));
        }
        if skb.trim(usize::from(packet.total_len)).is_err() {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        }
        let Some(exit) = Exit::of(cx, route, way) else {
            return Err((skb.drop_packet(), Counter::DropNoOutput));
        };
        let fit = exit.fit(&mut skb, packet.header_len, packet.dont_fragment);
        if let Fit::TooBig(mtu) = fit {
            let consumed = reject(cx, skb, header_len, IcmpError::FragmentationNeeded(mtu));
            return Err((consumed, Counter::DropTooBig));
        }
        let coverage = covered(&skb, packet.header_len);
        let (side, address, port) = (exit.side, exit.address, exit.port);
        let segments = skb.gso_segments().max(1);
        let len = skb.len();
        let translated = skb
            .writable(usize::from(packet.rewrite_len))
            .is_some_and(|head| translate(head, packet, side, address, port, coverage));
        if !translated {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        }
        let consumed = exit.send(cx, skb, fit)?;
        let counter = match way {
            Way::In => Counter::ForwardRequest,
            Way::Out => Counter::ForwardReply,
        };
        self.count(cx, counter, segments);
        route.backend.count_packet(cx, way, segments, len);
        Ok(consumed)
    }
}
