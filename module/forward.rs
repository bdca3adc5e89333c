// SPDX-License-Identifier: GPL-2.0

//! Sending any packet by its route, step by step. Receive path.

use crate::{
    exit::{covered, side, Exit, Sent},
    node::Way,
    route::{Kind, Route},
    state::NetState,
};
use fep_core::packet::Packet;
use fep_net::{
    route::{reject, Fit, IcmpError},
    rx::RxContext,
    skb::{Consumed, OwnedSkb, RxSkb, Verdict},
};
use fep_uapi::Counter;

impl NetState {
    /// Sends a packet by its route, translated where the node's method is that.
    pub(crate) fn forward<'a, A: Kind>(
        &self,
        cx: &'a RxContext<'_>,
        skb: RxSkb<'a>,
        packet: &Packet<A>,
        route: &Route<A>,
        way: Way,
    ) -> Verdict<'a> {
        let sent = match skb.into_owned() {
            Ok(skb) if route.backend.is_direct() => self.send_as_is(cx, skb, packet, route, way),
            Ok(skb) => self.translate_and_send(cx, skb, packet, route, way),
            Err(consumed) => Err((consumed, Counter::DropNoMemory)),
        };
        match sent {
            Ok(consumed) => Verdict::Consumed(consumed),
            Err((consumed, counter)) => self.count_drop(cx, consumed, counter, route),
        }
    }

    #[cold]
    pub(crate) fn count_drop<'a, A: Kind>(
        &self,
        cx: &RxContext<'_>,
        consumed: Consumed,
        counter: Counter,
        route: &Route<A>,
    ) -> Verdict<'a> {
        self.count(cx, counter, 1);
        route.backend.info.service.count(cx, counter);
        Verdict::Consumed(consumed)
    }

    fn translate_and_send<'a, A: Kind>(
        &self,
        cx: &'a RxContext<'_>,
        mut skb: OwnedSkb<'a>,
        packet: &Packet<A>,
        route: &Route<A>,
        way: Way,
    ) -> Sent {
        let header_len = usize::from(packet.header_len);
        if packet.ttl <= 1 {
            let consumed = reject::<A>(cx, skb, header_len, IcmpError::TimeExceeded);
            return Err((consumed, Counter::DropTtl));
        }
        // CAST: Widening on every machine that Linux runs on.
        if skb.trim(packet.total_len as usize).is_err() {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        }
        let Some(exit) = Exit::of(cx, route, way) else {
            return Err((skb.drop_packet(), Counter::DropNoOutput));
        };
        let Ok(prepared) = skb.prepare(packet.rewrite_len, packet.header_len) else {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        };
        let fit = exit.fit(&skb, packet.dont_fragment);
        if let Fit::TooBig(mtu) = fit {
            let consumed = reject::<A>(cx, skb, header_len, IcmpError::TooBig(mtu));
            return Err((consumed, Counter::DropTooBig));
        }
        let len = skb.len();
        let translation = &route.backend.translation;
        let head = skb.head_mut();
        if !A::translate(head, packet, side(way), translation, covered(prepared)) {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        }
        let consumed = exit.send(cx, skb, fit)?;
        self.count_sent(cx, route, way, prepared.gso_segments(), len);
        Ok(consumed)
    }

    /// Direct routing: nothing of the packet changes but its link-layer header.
    fn send_as_is<'a, A: Kind>(
        &self,
        cx: &'a RxContext<'_>,
        mut skb: OwnedSkb<'a>,
        packet: &Packet<A>,
        route: &Route<A>,
        way: Way,
    ) -> Sent {
        // CAST: Widening on every machine that Linux runs on.
        if skb.trim(packet.total_len as usize).is_err() {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        }
        let Some(exit) = Exit::of(cx, route, way) else {
            return Err((skb.drop_packet(), Counter::DropNoOutput));
        };
        // The time to live stays, so it cannot end this.
        if exit.goes_back(&skb) {
            return Err((skb.drop_packet(), Counter::DropLoop));
        }
        let Ok(prepared) = skb.prepare(0, packet.header_len) else {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        };
        let fit = exit.fit(&skb, packet.dont_fragment);
        if let Fit::TooBig(mtu) = fit {
            let header_len = usize::from(packet.header_len);
            let consumed = reject::<A>(cx, skb, header_len, IcmpError::TooBig(mtu));
            return Err((consumed, Counter::DropTooBig));
        }
        let len = skb.len();
        let consumed = exit.send(cx, skb, fit)?;
        self.count_sent(cx, route, way, prepared.gso_segments(), len);
        Ok(consumed)
    }

    /// Counts a packet that was sent.
    #[inline(always)]
    pub(crate) fn count_sent<A: Kind>(
        &self,
        cx: &RxContext<'_>,
        route: &Route<A>,
        way: Way,
        gso_segments: u32,
        len: usize,
    ) {
        let segments = gso_segments.max(1);
        let counter = match way {
            Way::In => Counter::ForwardRequest,
            Way::Out => Counter::ForwardReply,
        };
        self.count(cx, counter, segments);
        route.backend.count_packet(cx, way, segments, len);
    }
}
