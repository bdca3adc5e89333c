// SPDX-License-Identifier: GPL-2.0

//! The decision: what a packet does with the route of its client.
//!
//! | | request | reply |
//! |---|---|---|
//! | route, usable | [`on_request`]: use it | [`on_reply`]: use it |
//! | route, node gone or timeout over | [`on_request`]: replace it | [`on_reply`]: ignore it |
//! | no route | [`on_miss`]: schedule or pass on | pass on |

use fep_uapi::Counter;

use crate::packet::{Protocol, TcpFlags};
use crate::tcp::{Direction, Tracker};
use crate::timeout::{idle, Timeouts};

/// A route as one packet sees it: a copy of what the table holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteView {
    /// What was seen of the connection.
    pub tracker: Tracker,
    /// When a packet last used the route, in ticks.
    pub last_used: u32,
    /// Whether the node is neither failed nor removed (F6).
    pub live: bool,
    /// Whether the node takes no new clients: its weight is 0 (F11) or the service is gone.
    pub draining: bool,
}

impl RouteView {
    /// Whether the route is as good as deleted: its node is gone (F6) or its timeout over.
    #[inline]
    const fn is_over(&self, now: u32, timeouts: &Timeouts) -> bool {
        !self.live || idle(now, self.last_used) >= timeouts.of(self.tracker.state())
    }
}

/// What a request does with the route of its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnRequest {
    /// Send it to the route's node.
    Use {
        /// The route's new tracker; often the old one.
        tracker: Tracker,
    },
    /// Delete the route, then treat the packet as one without ([`on_miss`]).
    Replace,
}

/// Decides on a request whose client has a route (F3, F6, F8).
///
/// A client keeps its node while the route lasts, also for the next connection from the same port.
/// The exception is a node that drains: when the old connection has [ended](Tracker::ended), the
/// next one goes elsewhere. A half-closed connection has not ended (F8): there, a SYN changes
/// nothing until the node's answer to it has made the client reset. UDP has no connections to end,
/// so a UDP client keeps a draining node until it pauses.
#[inline]
pub const fn on_request(
    view: &RouteView,
    protocol: Protocol,
    flags: TcpFlags,
    now: u32,
    timeouts: &Timeouts,
) -> OnRequest {
    if view.is_over(now, timeouts) {
        return OnRequest::Replace;
    }
    if view.draining && matches!(protocol, Protocol::Tcp) && flags.opens() {
        return if view.tracker.ended() {
            OnRequest::Replace
        } else {
            OnRequest::Use {
                tracker: view.tracker,
            }
        };
    }
    OnRequest::Use {
        tracker: view.tracker.step(Direction::Request, flags),
    }
}

/// What a reply does with the route of its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnReply {
    /// Send it to the client.
    Use {
        /// The route's new tracker; often the old one.
        tracker: Tracker,
    },
    /// Pass it on as if there were no route.
    Ignore,
}

/// Decides on a reply whose client has a route (F5, F6).
#[inline]
pub const fn on_reply(
    view: &RouteView,
    _protocol: Protocol,
    flags: TcpFlags,
    now: u32,
    timeouts: &Timeouts,
) -> OnReply {
    if view.is_over(now, timeouts) {
        return OnReply::Ignore;
    }
    OnReply::Use {
        tracker: view.tracker.step(Direction::Reply, flags),
    }
}

/// What a request for a service does when its client has no route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnMiss {
    /// Choose a node by the transfer-control table and allocate a route.
    Schedule,
    /// Pass it on untouched and count it.
    Pass(Counter),
}

/// Decides on a request for a service whose client has no route (F3, F6).
///
/// Only a SYN allocates a route for TCP. The middle of a connection that the filter does not know
/// belongs to a node that failed or to a route that ended; no other node could continue it. Passed
/// on to the host's own stack it is answered with a reset, so that the client tries again at once.
#[inline]
pub const fn on_miss(protocol: Protocol, flags: TcpFlags) -> OnMiss {
    match protocol {
        Protocol::Tcp if !flags.opens() => OnMiss::Pass(Counter::PassNoRoute),
        Protocol::Tcp | Protocol::Udp => OnMiss::Schedule,
    }
}

/// Whether the sweep deletes a route: its node is gone (F6) or its timeout over.
#[inline]
pub const fn sweep(view: &RouteView, now: u32, timeouts: &Timeouts) -> bool {
    view.is_over(now, timeouts)
}
