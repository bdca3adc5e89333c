// SPDX-License-Identifier: GPL-2.0

//! The way of an ICMP error about a packet of a route (F5): translated like the packets themselves.
//!
//! Rare, so kept out of the code that every packet runs through. An error never makes, refreshes or
//! ends a route, and is never answered with another (RFC 1122, 3.2.2).

use crate::{
    exit::{covered, Exit, Sent},
    node::Way,
    route::Route,
    state::NetState,
};
use fep_core::{
    flow::takes_error,
    hash::client_hash,
    icmp::{parse_error, translate_error, ErrorMessage, NotRead, Quote, ERROR_HEADERS_MAX},
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
fn read(skb: &RxSkb<'_>) -> Result<ErrorMessage, Counter> {
    let mut bytes = match parse_error(skb.head(), skb.len()) {
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
        match parse_error(head, skb.len()) {
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
    pub(crate) fn icmp<'a>(&self, cx: &'a RxContext<'_>, skb: RxSkb<'a>) -> Verdict<'a> {
        let error = match read(&skb) {
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
        route.backend.service.count(cx, counter);
        Verdict::Consumed(consumed)
    }

    /// The live route of a quoted packet, and which way an error about that goes.
    fn route_of<'a>(&'a self, cx: &'a RxContext<'_>, quote: &Quote) -> Option<(&'a Route, Way)> {
        let key = &self.hash_key;
        let client = (quote.destination, quote.destination_port);
        let hash = client_hash(key, quote.protocol, client.0, client.1);
        let reply = self.routes.find(cx, hash, |route| route.replied(quote));
        let (route, way) = match reply {
            Some(route) => (route, Way::In),
            None => {
                let hash = client_hash(key, quote.protocol, quote.source, quote.source_port);
                let request = self.routes.find(cx, hash, |route| route.requested(quote));
                (request?, Way::Out)
            }
        };
        takes_error(&route.view(), ticks(), &route.backend.timeouts()).then_some((route, way))
    }

    fn translate_and_send_error<'a>(
        &self,
        cx: &'a RxContext<'_>,
        mut skb: OwnedSkb<'a>,
        error: &ErrorMessage,
        route: &Route,
        way: Way,
    ) -> Sent {
        if error.ttl <= 1 {
            return Err((skb.drop_packet(), Counter::DropTtl));
        }
        if skb.trim(usize::from(error.total_len)).is_err() {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        }
        let Some(exit) = Exit::of(cx, route, way) else {
            return Err((skb.drop_packet(), Counter::DropNoOutput));
        };
        let fit = exit.fit(&mut skb, error.header_len, error.dont_fragment);
        if let Fit::TooBig(_) = fit {
            return Err((skb.drop_packet(), Counter::DropTooBig));
        }
        let coverage = covered(&skb, error.header_len);
        let (side, address, port) = (exit.side, exit.address, exit.port);
        let translated = skb
            .writable(usize::from(error.rewrite_len))
            .is_some_and(|head| translate_error(head, error, side, address, port, coverage));
        if !translated {
            return Err((skb.drop_packet(), Counter::DropNoMemory));
        }
        exit.send(cx, skb, fit)
    }
}
