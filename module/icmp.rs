// SPDX-License-Identifier: GPL-2.0

//! The way of an ICMP error about a packet of a route (F5): translated like the packets themselves.
//!
//! Rare, so kept out of the code that every packet runs through. An error never makes, refreshes or
//! ends a route, and is never answered with another (RFC 1122, 3.2.2).

use crate::{
    exit::{covered, side, Exit, Sent},
    node::Way,
    route::{Kind, Route},
    state::NetState,
};
use fep_core::{
    flow::takes_error,
    icmp::{ErrorMessage, NotRead, Quote, ERROR_HEADERS_MAX},
};
use fep_net::{
    route::Fit,
    rx::RxContext,
    skb::{OwnedSkb, RxSkb, Verdict},
    time::ticks,
};
use fep_uapi::Counter;
use kernel::prelude::*;

/// Reads an error, wherever its bytes lie.
fn read<A: Kind>(skb: &RxSkb<'_>) -> Result<ErrorMessage<A>, Counter> {
    let mut bytes = match A::parse_error(skb.head(), skb.len()) {
        Ok(error) => return Ok(error),
        Err(NotRead::Pass(counter)) => return Err(counter),
        Err(NotRead::Need(bytes)) => bytes,
    };
    let mut buffer = [0u8; ERROR_HEADERS_MAX];
    loop {
        let head = buffer
            .get_mut(..bytes)
            .and_then(|buffer| skb.copy_head(buffer))
            .ok_or(Counter::PassMalformed)?;
        match A::parse_error(head, skb.len()) {
            Ok(error) => return Ok(error),
            Err(NotRead::Pass(counter)) => return Err(counter),
            // It only ever asks for more, and for no more than the buffer has.
            Err(NotRead::Need(more)) if more > bytes => bytes = more,
            Err(NotRead::Need(_)) => return Err(Counter::PassMalformed),
        }
    }
}

impl NetState {
    /// Translates an ICMP error about a packet of a route; everything else of ICMP goes on.
    #[cold]
    #[inline(never)]
    pub(crate) fn icmp<'a, A: Kind>(&self, cx: &'a RxContext<'_>, skb: RxSkb<'a>) -> Verdict<'a> {
        let error = match read::<A>(&skb) {
            Ok(error) => error,
            Err(counter) => return self.pass(cx, skb, counter),
        };
        // A node's error about no live route goes on too, unlike a late reply: what it quotes to the
        // client is no connection that the client knows of.
        let Some((route, way)) = self.route_of(cx, &error.quote) else {
            return self.pass(cx, skb, Counter::PassNoService);
        };
        let sent = match skb.into_owned() {
            Ok(skb) => self.translate_and_send_error(cx, skb, &error, route, way),
            Err(consumed) => Err((consumed, Counter::DropNoMemory)),
        };
        let (consumed, counter) = match sent {
            Ok(consumed) => (consumed, Counter::ForwardIcmp),
            Err(dropped) => dropped,
        };
        self.count(cx, counter, 1);
        route.backend.info.service.count(cx, counter);
        Verdict::Consumed(consumed)
    }

    /// The live route of a quoted packet, and which way an error about that goes.
    fn route_of<'a, A: Kind>(
        &'a self,
        cx: &'a RxContext<'_>,
        quote: &Quote<A>,
    ) -> Option<(&'a Route<A>, Way)> {
        let (key, table) = (&self.hash_key, A::table(&self.routes));
        let client = quote.destination;
        let client = client.client(quote.protocol, quote.destination_port);
        let reply = table.find(cx, A::hash_of(client, key), |route| {
            route.replied(client, quote)
        });
        let (route, way) = match reply {
            Some(route) => (route, Way::In),
            None => {
                let client = quote.source.client(quote.protocol, quote.source_port);
                let request = table.find(cx, A::hash_of(client, key), |route| {
                    route.requested(client, quote)
                });
                (request?, Way::Out)
            }
        };
        let timeout_of = |state| route.backend.state.timeout_of(state);
        takes_error(&route.view(), ticks(), timeout_of).then_some((route, way))
    }

    fn translate_and_send_error<'a, A: Kind>(
        &self,
        cx: &'a RxContext<'_>,
        mut skb: OwnedSkb<'a>,
        error: &ErrorMessage<A>,
        route: &Route<A>,
        way: Way,
    ) -> Sent {
        let direct = route.backend.is_direct();
        if error.ttl <= 1 && !direct {
            return Err((skb.drop_packet(), Counter::DropTtl));
        }
        // CAST: Widening on every machine that Linux runs on.
        if skb.trim(error.total_len as usize).is_err() {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        }
        let Some(exit) = Exit::of(cx, route, way) else {
            return Err((skb.drop_packet(), Counter::DropNoOutput));
        };
        if direct && exit.goes_back(&skb) {
            return Err((skb.drop_packet(), Counter::DropLoop));
        }
        let writable = if direct { 0 } else { error.rewrite_len };
        let Ok(prepared) = skb.prepare(writable, error.header_len) else {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        };
        let fit = exit.fit(&skb, error.dont_fragment);
        if let Fit::TooBig(_) = fit {
            return Err((skb.drop_packet(), Counter::DropTooBig));
        }
        if !direct {
            let change = route.backend.translation.change(side(way));
            let (address, port) = (change.address, change.port);
            let coverage = covered(prepared);
            if !A::translate_error(skb.head_mut(), error, side(way), address, port, coverage) {
                return Err((skb.drop_packet(), Counter::DropNoMemory));
            }
        }
        exit.send(cx, skb, fit)
    }
}
