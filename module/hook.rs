// SPDX-License-Identifier: GPL-2.0

//! The packet filter (F4): what happens to a packet between driver and IP layer.
//!
//! Everything here runs in the receive path: bottom halves off, RCU read side locked, nothing
//! sleeps. A packet is parsed, finds its route, and leaves translated; or it goes on untouched.

use crate::{
    exit::{side, Exit},
    node::{add, Way},
    route::{Kind, Route, Use},
    state::NetState,
};
use core::net::{Ipv4Addr, Ipv6Addr};
use fep_core::{
    flow::{on_reply, on_request, OnReply, OnRequest},
    packet::{Packet, Parsed, Protocol, TcpFlags, HEADERS_MAX},
    rewrite::Coverage,
    tcp::Direction,
};
use fep_net::{
    nf::Ingress,
    route::Fit,
    rx::RxContext,
    skb::{RxSkb, Verdict},
    time::ticks,
};
use fep_uapi::Counter;
use kernel::prelude::*;

impl Ingress for NetState {
    #[inline(always)]
    fn receive<'a>(&self, cx: &'a RxContext<'_>, skb: RxSkb<'a>) -> Verdict<'a> {
        match skb.arrival().ip_version() {
            4 => self.receive_ip::<Ipv4Addr>(cx, skb),
            6 => self.receive_ip::<Ipv6Addr>(cx, skb),
            _ => self.pass(cx, skb, Counter::PassForeign),
        }
    }
}

/// Parses a packet whose headers are not in one piece. `None` for an ICMP message.
#[cold]
#[inline(never)]
fn parse_scattered<A: Kind>(
    skb: &RxSkb<'_>,
    mut bytes: usize,
) -> Result<Option<Packet<A>>, Counter> {
    let mut buffer = [0u8; HEADERS_MAX];
    loop {
        let head = buffer
            .get_mut(..bytes)
            .and_then(|buffer| skb.copy_head(buffer))
            .ok_or(Counter::PassMalformed)?;
        match A::parse(head, skb.len()) {
            Parsed::Packet(packet) => return Ok(Some(packet)),
            Parsed::Icmp => return Ok(None),
            Parsed::Pass(counter) => return Err(counter),
            // It only ever asks for more, and for no more than the buffer has.
            Parsed::Need(more) if more > bytes => bytes = more,
            Parsed::Need(_) => return Err(Counter::PassMalformed),
        }
    }
}

/// The two kinds of [`NetState::receive_way`].
const REQUESTS: bool = false;
const REPLIES: bool = true;

/// Whose packet this is, if it goes that way.
#[inline(always)]
pub(crate) fn client<A: Kind>(packet: &Packet<A>, way: Way) -> A::Client {
    match way {
        Way::In => packet.source.client(packet.protocol, packet.source_port),
        Way::Out => {
            let port = packet.destination_port;
            packet.destination.client(packet.protocol, port)
        }
    }
}

/// The direction of packets that go this way.
#[inline(always)]
const fn direction(way: Way) -> Direction {
    match way {
        Way::In => Direction::Request,
        Way::Out => Direction::Reply,
    }
}

impl NetState {
    /// Counts a packet.
    #[inline(always)]
    pub(crate) fn count(&self, cx: &RxContext<'_>, counter: Counter, packets: u32) {
        // Behind the word for the devices.
        let index = (counter as usize).wrapping_add(1);
        add(self.counters.local(cx), index, u64::from(packets));
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

    pub(crate) fn drop_packet<'a>(
        &self,
        cx: &RxContext<'_>,
        skb: RxSkb<'a>,
        counter: Counter,
    ) -> Verdict<'a> {
        self.count(cx, counter, 1);
        Verdict::Consumed(skb.drop_packet())
    }

    /// The fast path: a plain packet of a route that is in use, which can be changed where it is. What is otherwise, anywhere
    /// before the first change, leaves it all to [`Self::receive_any`].
    #[inline(always)]
    fn receive_ip<'a, A: Kind>(&self, cx: &'a RxContext<'_>, skb: RxSkb<'a>) -> Verdict<'a> {
        let [replies, ..] = self.counters.local(cx);
        let requests = replies.get() & skb.arrival().device_bit() == 0;
        if !skb.arrival().is_ordinary() {
            self.receive_special::<A>(cx, skb, requests)
        } else if requests {
            self.receive_way::<A, REQUESTS, false>(cx, skb)
        } else {
            self.receive_way::<A, REPLIES, false>(cx, skb)
        }
    }

    /// The same for a packet that is not ordinary: GRO's, for one.
    #[inline(never)]
    fn receive_special<'a, A: Kind>(
        &self,
        cx: &'a RxContext<'_>,
        skb: RxSkb<'a>,
        requests: bool,
    ) -> Verdict<'a> {
        if !skb.arrival().is_special() {
            let way = if requests { Way::In } else { Way::Out };
            self.receive_any::<A>(cx, skb, way, None)
        } else if requests {
            self.receive_way::<A, REQUESTS, true>(cx, skb)
        } else {
            self.receive_way::<A, REPLIES, true>(cx, skb)
        }
    }

    /// `OUT` is what was right for the device's last packet; `SPECIAL` what the packet is.
    #[inline(always)]
    fn receive_way<'a, A: Kind, const OUT: bool, const SPECIAL: bool>(
        &self,
        cx: &'a RxContext<'_>,
        skb: RxSkb<'a>,
    ) -> Verdict<'a> {
        let way = if OUT { Way::Out } else { Way::In };
        let Some(packet) = A::parse_plain(skb.head(), skb.len()) else {
            return self.receive_any::<A>(cx, skb, way, None);
        };
        let client = client(&packet, way);
        let hash = A::hash_of(client, &self.hash_key);
        let Some(route) = self.find(cx, &packet, way, client, hash) else {
            return self.receive_any::<A>(cx, skb, way, Some(hash));
        };
        let now = ticks();
        let Some(used) = route.in_use(direction(way), packet.tcp_flags, now) else {
            return self.receive_any::<A>(cx, skb, way, None);
        };
        let direct = route.backend.is_direct();
        if !direct && packet.ttl <= 1 {
            return self.receive_any::<A>(cx, skb, way, None);
        }
        // CAST: Widening on every machine that Linux runs on.
        let len = packet.total_len as usize;
        let Some(exit) = Exit::of(cx, route, way) else {
            return self.receive_any::<A>(cx, skb, way, None);
        };
        let (mut segments, mut partial) = (0, false);
        if SPECIAL {
            let Some(found) = skb.special_segments(len, exit.mtu(), packet.header_len) else {
                return self.receive_any::<A>(cx, skb, way, None);
            };
            (segments, partial) = (found, skb.arrival().checksum_is_partial());
        } else if len > exit.mtu() {
            return self.receive_any::<A>(cx, skb, way, None);
        }
        let mut skb = match skb.into_writable::<SPECIAL>(packet.rewrite_len) {
            Ok(skb) => skb,
            Err(skb) => return self.receive_any::<A>(cx, skb, way, None),
        };
        route.used(&used, direction(way), now);
        let (translation, side) = (&route.backend.translation, side(way));
        let sent = if skb.trim(len).is_err() {
            Err((skb.drop_packet(), Counter::DropNoMemory))
        } else if direct && exit.goes_back(&skb) {
            Err((skb.drop_packet(), Counter::DropLoop))
        } else {
            // Each with a coverage that the compiler knows.
            let ready = if direct {
                true
            } else if SPECIAL && partial {
                A::translate(
                    skb.head_mut(),
                    &packet,
                    side,
                    translation,
                    Coverage::Partial,
                )
            } else {
                A::translate(skb.head_mut(), &packet, side, translation, Coverage::Full)
            };
            if ready {
                exit.send(cx, skb, Fit::Fits)
            } else {
                Err((skb.drop_packet(), Counter::DropNoMemory))
            }
        };
        match sent {
            Ok(consumed) => {
                self.count_sent(cx, route, way, segments, len);
                Verdict::Consumed(consumed)
            }
            Err((consumed, counter)) => self.count_drop(cx, consumed, counter, route),
        }
    }

    /// Any packet. `way` is what was right for the device's last packet; `tried` is the hash of the
    /// client if no route was found that way.
    #[inline(never)]
    fn receive_any<'a, A: Kind>(
        &self,
        cx: &'a RxContext<'_>,
        skb: RxSkb<'a>,
        way: Way,
        tried: Option<u32>,
    ) -> Verdict<'a> {
        let plain = A::parse_plain(skb.head(), skb.len());
        let parsed = plain.map_or_else(|| A::parse(skb.head(), skb.len()), Parsed::Packet);
        let packet = match parsed {
            Parsed::Packet(packet) => packet,
            Parsed::Pass(counter) => return self.pass(cx, skb, counter),
            Parsed::Icmp => return self.icmp::<A>(cx, skb),
            Parsed::Need(bytes) => match parse_scattered::<A>(&skb, bytes) {
                Ok(Some(packet)) => packet,
                Ok(None) => return self.icmp::<A>(cx, skb),
                Err(counter) => return self.pass(cx, skb, counter),
            },
        };
        self.filter(cx, skb, &packet, way, tried)
    }

    /// Finds the packet's route, if it goes that way and so is of `client`, whose hash is `hash`.
    #[inline(always)]
    fn find<'a, A: Kind>(
        &'a self,
        cx: &'a RxContext<'_>,
        packet: &Packet<A>,
        way: Way,
        client: A::Client,
        hash: u32,
    ) -> Option<&'a Route<A>> {
        A::table(&self.routes).find(cx, hash, |route| match way {
            Way::In => route.is_request(client, packet),
            Way::Out => route.is_reply(client, packet),
        })
    }

    /// Finds the packet's route in either direction, at first in that of `way`. No packet can go both
    /// ways: that would be one from a client with an address of this host.
    #[inline(always)]
    fn filter<'a, A: Kind>(
        &self,
        cx: &'a RxContext<'_>,
        skb: RxSkb<'a>,
        packet: &Packet<A>,
        way: Way,
        tried: Option<u32>,
    ) -> Verdict<'a> {
        let hash = match tried {
            Some(hash) => hash,
            None => {
                let client = client(packet, way);
                let hash = A::hash_of(client, &self.hash_key);
                if let Some(route) = self.find(cx, packet, way, client, hash) {
                    return self.use_route(cx, skb, packet, route, way);
                }
                hash
            }
        };
        let other = match way {
            Way::In => Way::Out,
            Way::Out => Way::In,
        };
        let client = client(packet, other);
        let other_hash = A::hash_of(client, &self.hash_key);
        let Some(route) = self.find(cx, packet, other, client, other_hash) else {
            let hash = match way {
                Way::In => hash,
                Way::Out => other_hash,
            };
            return self.miss(cx, skb, packet, hash, ticks());
        };
        let [replies, ..] = self.counters.local(cx);
        let device = skb.arrival().device_bit();
        match other {
            Way::In => replies.set(replies.get() & !device),
            Way::Out => replies.set(replies.get() | device),
        }
        self.use_route(cx, skb, packet, route, other)
    }

    /// A packet with a route, if that is still good.
    fn use_route<'a, A: Kind>(
        &self,
        cx: &'a RxContext<'_>,
        skb: RxSkb<'a>,
        packet: &Packet<A>,
        route: &Route<A>,
        way: Way,
    ) -> Verdict<'a> {
        let now = ticks();
        match route.in_use(direction(way), packet.tcp_flags, now) {
            Some(used) => route.used(&used, direction(way), now),
            None if self.revive(cx, packet.protocol, packet.tcp_flags, route, way, now) => {}
            None => {
                let hash = A::hash_of(client(packet, Way::In), &self.hash_key);
                return self.miss(cx, skb, packet, hash, now);
            }
        }
        self.forward(cx, skb, packet, route, way)
    }

    /// The same for a route that was idle for a while, or whose node drains or is gone. Says whether
    /// it is good; if not, it is not the packet's.
    #[cold]
    #[inline(never)]
    fn revive<A: Kind>(
        &self,
        cx: &RxContext<'_>,
        protocol: Protocol,
        flags: TcpFlags,
        route: &Route<A>,
        way: Way,
        now: u32,
    ) -> bool {
        let view = route.view();
        let timeout_of = |state| route.backend.state.timeout_of(state);
        let tracker = match way {
            Way::In => match on_request(&view, protocol, flags, now, timeout_of) {
                OnRequest::Use { tracker } => tracker,
                OnRequest::Replace => {
                    self.remove(cx, route);
                    return false;
                }
            },
            Way::Out => match on_reply(&view, protocol, flags, now, timeout_of) {
                OnReply::Use { tracker } => tracker,
                OnReply::Ignore => return false,
            },
        };
        route.used(&Use::new(&view, tracker, now), direction(way), now);
        true
    }

    /// Takes out a route that is over.
    #[cold]
    fn remove<A: Kind>(&self, cx: &RxContext<'_>, route: &Route<A>) {
        if A::table(&self.routes).remove(cx, route) {
            self.route_ended(&route.seen());
        }
    }
}
