// SPDX-License-Identifier: GPL-2.0

//! The way out for a packet of a route: as what it leaves, and how. Receive path.

use crate::{node::Way, route::Route};
use fep_core::rewrite::{Coverage, Side};
use fep_net::{
    route::{self, Fit, SendError},
    rx::RxContext,
    skb::{Consumed, OwnedSkb},
};
use fep_uapi::Counter;
use kernel::prelude::*;

/// What became of a packet, and the counter of a drop.
pub(crate) type Sent = Result<Consumed, (Consumed, Counter)>;

/// The way out.
pub(crate) struct Exit<'a> {
    /// Which address and port are replaced.
    pub(crate) side: Side,
    pub(crate) address: u32,
    pub(crate) port: u16,
    destination: u32,
    path: route::Route<'a>,
}

impl<'a> Exit<'a> {
    /// To the route's node, or back to its client. `None` when there is no way.
    #[inline]
    pub(crate) fn of(cx: &'a RxContext<'_>, route: &'a Route, way: Way) -> Option<Self> {
        match way {
            Way::In => {
                let node = &route.backend.node;
                Some(Self {
                    side: Side::Destination,
                    address: node.address,
                    port: node.port,
                    destination: node.address,
                    path: route.backend.route.get(cx, cx.net(), node.address, 0)?,
                })
            }
            Way::Out => Some(Self {
                side: Side::Source,
                address: route.vip,
                port: route.vip_port,
                destination: route.client,
                path: route.reply.get(cx, cx.net(), route.client, route.vip)?,
            }),
        }
    }

    /// Whether the packet, whose transport header is at `offset`, fits.
    #[inline]
    pub(crate) fn fit(&self, skb: &mut OwnedSkb<'_>, offset: u16, dont_fragment: bool) -> Fit {
        skb.set_transport_header(offset);
        self.path.fit(skb, dont_fragment)
    }

    /// Sends the translated packet.
    #[inline]
    pub(crate) fn send(self, cx: &RxContext<'_>, skb: OwnedSkb<'_>, fit: Fit) -> Sent {
        let sent = if fit == Fit::Fragment {
            self.path.send_fragmented(skb, cx.net())
        } else {
            self.path.send(skb, self.destination)
        };
        sent.map_err(|(consumed, error)| match error {
            SendError::NoMemory => (consumed, Counter::DropNoMemory),
            SendError::Dropped => (consumed, Counter::DropNoOutput),
        })
    }
}

/// How much of the checksum of the transport header at `offset` is there.
#[inline]
pub(crate) fn covered(skb: &OwnedSkb<'_>, offset: u16) -> Coverage {
    if skb.checksum_is_partial(offset) {
        Coverage::Partial
    } else {
        Coverage::Full
    }
}
