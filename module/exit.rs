// SPDX-License-Identifier: GPL-2.0

//! The way out for a packet of a route: as what it leaves, and how. Receive path.

use crate::{
    node::Way,
    route::{Kind, Route},
};
use fep_core::rewrite::{Coverage, Side};
use fep_net::{
    route::{self, Fit, SendError},
    rx::RxContext,
    skb::{Consumed, OwnedSkb, Prepared},
};
use fep_uapi::Counter;
use kernel::prelude::*;

/// What became of a packet, and the counter of a drop.
pub(crate) type Sent = Result<Consumed, (Consumed, Counter)>;

/// The way out.
pub(crate) struct Exit<'a, A> {
    destination: A,
    path: route::Route<'a, A>,
}

/// Which end of a packet is replaced on its way.
#[inline(always)]
pub(crate) const fn side(way: Way) -> Side {
    match way {
        Way::In => Side::Destination,
        Way::Out => Side::Source,
    }
}

impl<'a, A: Kind> Exit<'a, A> {
    /// To the route's node, or back to its client. `None` when there is no way.
    #[inline(always)]
    pub(crate) fn of(cx: &'a RxContext<'_>, route: &'a Route<A>, way: Way) -> Option<Self> {
        let translation = &route.backend.translation;
        let (cache, destination, source) = match way {
            Way::In => (&route.backend.way, translation.to_node.address, None),
            Way::Out => {
                let vip = translation.to_service.address;
                (&route.reply, route.client().0, Some(vip))
            }
        };
        Some(Self {
            destination,
            path: cache.get(cx, destination, source)?,
        })
    }

    /// The MTU of the way out, in bytes.
    #[inline(always)]
    pub(crate) fn mtu(&self) -> usize {
        self.path.mtu()
    }

    /// Whether the packet, which is prepared, fits.
    #[inline(always)]
    pub(crate) fn fit(&self, skb: &OwnedSkb<'_>, dont_fragment: bool) -> Fit {
        self.path.fit(skb, dont_fragment)
    }

    /// Whether who would get the packet has sent it.
    pub(crate) fn goes_back(&self, skb: &OwnedSkb<'_>) -> bool {
        self.path.is_from_there(skb, self.destination)
    }

    /// Sends the packet.
    #[inline(always)]
    pub(crate) fn send(self, cx: &RxContext<'_>, skb: OwnedSkb<'_>, fit: Fit) -> Sent {
        let sent = if fit == Fit::Fragment {
            self.path.send_fragmented(skb, cx, self.destination)
        } else {
            self.path.send(skb, self.destination)
        };
        sent.map_err(|(consumed, error)| match error {
            SendError::NoMemory => (consumed, Counter::DropNoMemory),
            SendError::Dropped => (consumed, Counter::DropNoOutput),
        })
    }
}

/// How much of the checksum of the transport header is there.
#[inline(always)]
pub(crate) fn covered(prepared: Prepared) -> Coverage {
    if prepared.checksum_is_partial() {
        Coverage::Partial
    } else {
        Coverage::Full
    }
}
