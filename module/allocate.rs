// SPDX-License-Identifier: GPL-2.0

//! A packet without a route: of a new client, of nobody, or too late. Receive path.

use crate::{
    hook::client,
    node::Way,
    route::{Kind, Route},
    snapshot::{Choice, ServiceVersion},
    state::NetState,
};
use fep_core::{
    address::check_ends,
    flow::{on_miss, OnMiss},
    packet::{Packet, HEADERS_MAX},
    validate::Service,
};
use fep_net::{
    route::{reject, IcmpError},
    rx::RxContext,
    skb::{RxSkb, Verdict},
    table::{InsertError, Inserted},
};
use fep_uapi::{Counter, CLIENT_ROUTES_MAX};
use kernel::prelude::*;

/// Whether the IP header's checksum is right: no route is made for a damaged packet.
fn header_is_intact<A: Kind>(skb: &RxSkb<'_>, packet: &Packet<A>) -> bool {
    let mut buffer = [0u8; HEADERS_MAX];
    let len = usize::from(packet.header_len);
    if skb.head().len() >= len {
        return A::header_is_intact(skb.head(), packet);
    }
    buffer
        .get_mut(..len)
        .and_then(|buffer| skb.copy_head(buffer))
        .is_some_and(|head| A::header_is_intact(head, packet))
}

impl NetState {
    /// A packet without a route: of a new client, of nobody, or too late. `hash` is that of its sender.
    #[inline(never)]
    pub(crate) fn miss<'a, A: Kind>(
        &self,
        cx: &'a RxContext<'_>,
        skb: RxSkb<'a>,
        packet: &Packet<A>,
        hash: u32,
        now: u32,
    ) -> Verdict<'a> {
        if let Err(counter) = check_ends(packet) {
            return self.pass(cx, skb, counter);
        }
        let snapshot = self.snapshot.read(cx);
        let protocol = packet.protocol;
        let to = Service {
            protocol,
            address: packet.destination.into(),
            port: packet.destination_port,
        };
        let Some(service) = snapshot.service(&to) else {
            let from = Service {
                protocol,
                address: packet.source.into(),
                port: packet.source_port,
            };
            // A node's reply whose route has ended must not reach the client with the node's own
            // address (F5). What a node answers to this host itself is none of that.
            if snapshot.answers_from(&from) && !cx.net().has_address(packet.destination) {
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
        let foreign = match self.foreign.as_ref() {
            Some(known) => known.contains(cx, packet.source),
            None => cx.net().is_foreign_host(packet.source),
        };
        if !foreign {
            return self.pass(cx, skb, Counter::PassForeign);
        }
        let allocated = if packet.ttl <= 1 && !service.any_direct {
            // What goes no further makes no route.
            Err(Counter::DropTtl)
        } else {
            self.allocate(cx, packet, service, hash, now)
        };
        match allocated {
            Ok(route) => self.forward(cx, skb, packet, route, Way::In),
            Err(counter) => {
                service.shared.count(cx, counter);
                if counter == Counter::DropTtl {
                    self.count(cx, counter, 1);
                    let header_len = usize::from(packet.header_len);
                    return Verdict::Consumed(skb.into_owned().map_or_else(
                        |consumed| consumed,
                        |skb| reject::<A>(cx, skb, header_len, IcmpError::TimeExceeded),
                    ));
                }
                self.drop_packet(cx, skb, counter)
            }
        }
    }

    /// Allocates a route for a new client (F3). Of two CPUs that try at once, one makes it and the
    /// other uses it.
    fn allocate<'a, A: Kind>(
        &'a self,
        cx: &'a RxContext<'_>,
        packet: &Packet<A>,
        service: &ServiceVersion,
        hash: u32,
        now: u32,
    ) -> Result<&'a Route<A>, Counter> {
        let client = client(packet, Way::In);
        let table = A::table(&self.routes);
        // Of both families together. Both count themselves before they ask for the others, so two CPUs
        // cannot both overlook the other's last one.
        let others = || A::others(&self.routes);
        let inserted = table.find_or_insert(
            cx,
            hash,
            |count| count.saturating_add(others()) <= self.limit.get(),
            |route| route.is_request(client, packet) && route.is_live(),
            |chain| {
                let mut routes = 0u32;
                let full = chain.any(|route| {
                    routes = routes.wrapping_add(u32::from(route.is_of(client)));
                    routes >= CLIENT_ROUTES_MAX
                });
                if full {
                    return Err(Counter::DropClientFull);
                }
                let choice = service.schedule(cx, |member| {
                    let backend = A::backend(&member.backend);
                    backend.is_some_and(|backend| {
                        // What goes no further makes no route; direct routing is no hop.
                        (packet.ttl > 1 || backend.is_direct())
                            && !chain
                                .any(|route| route.conflicts(client, backend) && route.is_live())
                    })
                });
                match choice {
                    Choice::Node(member) => {
                        let backend = A::backend(&member.backend).ok_or(Counter::DropNoBackend)?;
                        let generation = member.generation;
                        Ok(Route::new(hash, packet, backend.clone(), generation, now))
                    }
                    Choice::None => Err(Counter::DropNoBackend),
                    Choice::Refused if packet.ttl <= 1 => Err(Counter::DropTtl),
                    Choice::Refused => Err(Counter::DropReplyConflict),
                }
            },
        );
        match inserted {
            Ok(Inserted::New(route)) => {
                self.count(cx, Counter::RouteAllocated, 1);
                route.backend.count_connection(cx);
                Ok(route)
            }
            Ok(Inserted::Existing(route)) => Ok(route),
            Err(InsertError::Full) => Err(Counter::DropTableFull),
            Err(InsertError::NoMemory) => Err(Counter::DropNoMemory),
            Err(InsertError::Refused(counter)) => Err(counter),
        }
    }
}
