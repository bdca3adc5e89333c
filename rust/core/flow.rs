// SPDX-License-Identifier: GPL-2.0

//! The decision: what a packet does with the route of its client.
//!
//! | | request | reply |
//! |---|---|---|
//! | route, usable | [`on_request`]: use it | [`on_reply`]: use it |
//! | route, node gone or timeout over | [`on_request`]: replace it | [`on_reply`]: ignore it |
//! | no route | [`on_miss`]: schedule or pass on | pass on |

use fep_uapi::{Counter, RouteState};

use crate::packet::{Protocol, TcpFlags};
use crate::tcp::{Direction, Tracker};
use crate::timeout::idle;

/// A route as one packet sees it: a copy of what the table holds.
///
/// The functions below are given the timeout of a state, in ticks, by a function.
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
    fn is_over(&self, now: u32, timeout_of: impl FnOnce(RouteState) -> u32) -> bool {
        !self.live || idle(now, self.last_used) >= timeout_of(self.tracker.state())
    }
}

/// How long a route of a node may be idle, in ticks, and be used without a look at its state: shorter
/// than any timeout; not at all if the node drains.
#[inline]
pub fn patience(draining: bool, timeouts: &[u32]) -> u32 {
    if draining {
        0
    } else {
        timeouts.iter().copied().min().unwrap_or(0)
    }
}

/// Decides the common case, for a packet of either direction: a route whose node is `live` and takes
/// clients, and which was not idle for too long: less than the node's [`patience`], or the timeout of
/// its state. Gives the route's new tracker; often the old one. `None`: ask [`on_request`] or
/// [`on_reply`].
#[inline(always)]
pub fn in_use(
    tracker: Tracker,
    live: bool,
    idle: u32,
    patience: u32,
    timeout_of: impl FnOnce(RouteState) -> u32,
    direction: Direction,
    flags: TcpFlags,
) -> Option<Tracker> {
    if live && (idle < patience || patience != 0 && idle < timeout_of(tracker.state())) {
        Some(tracker.step(direction, flags))
    } else {
        None
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
pub fn on_request(
    view: &RouteView,
    protocol: Protocol,
    flags: TcpFlags,
    now: u32,
    timeout_of: impl FnOnce(RouteState) -> u32,
) -> OnRequest {
    if view.is_over(now, timeout_of) {
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
pub fn on_reply(
    view: &RouteView,
    _protocol: Protocol,
    flags: TcpFlags,
    now: u32,
    timeout_of: impl FnOnce(RouteState) -> u32,
) -> OnReply {
    if view.is_over(now, timeout_of) {
        return OnReply::Ignore;
    }
    OnReply::Use {
        tracker: view.tracker.step(Direction::Reply, flags),
    }
}

/// Whether an ICMP error about a packet of a route is translated (RFC 5508, 4): while the route is
/// good for other packets. An error changes nothing of it, or forged ones could keep it.
#[inline]
pub fn takes_error(view: &RouteView, now: u32, timeout_of: impl FnOnce(RouteState) -> u32) -> bool {
    !view.is_over(now, timeout_of)
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
pub fn sweep(view: &RouteView, now: u32, timeout_of: impl FnOnce(RouteState) -> u32) -> bool {
    view.is_over(now, timeout_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeout::Timeouts;

    const SECONDS: Timeouts = Timeouts::from_seconds(&[30, 900, 120, 10, 300], 1);
    /// The timeout of a state.
    fn of(state: RouteState) -> u32 {
        SECONDS.of(state)
    }

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;
    const NONE: TcpFlags = TcpFlags(0);

    /// A TCP tracker after requests (`>`) and replies (`<`) with these flags.
    fn tcp(history: &str) -> Tracker {
        let mut tracker = Tracker::begin(Protocol::Tcp, false);
        for segment in history.split_whitespace() {
            let direction = match segment.as_bytes()[0] {
                b'>' => Direction::Request,
                _ => Direction::Reply,
            };
            let flags = segment[1..].chars().fold(NONE, |flags, flag| {
                flags.with(match flag {
                    'S' => SYN,
                    'A' => ACK,
                    'F' => TcpFlags::FIN,
                    _ => TcpFlags::RST,
                })
            });
            tracker = tracker.step(direction, flags);
        }
        tracker
    }

    fn view(tracker: Tracker) -> RouteView {
        RouteView {
            tracker,
            last_used: u32::MAX - 4,
            live: true,
            draining: false,
        }
    }

    /// So many seconds after `view` was last used, past the wrap of the clock.
    fn after(seconds: u32) -> u32 {
        (u32::MAX - 4).wrapping_add(seconds)
    }

    /// The same where only requests are seen.
    fn one_way(history: &str) -> Tracker {
        let mut tracker = Tracker::begin(Protocol::Tcp, true);
        for flags in history.split_whitespace() {
            let fin = if flags == ">FA" { TcpFlags::FIN } else { NONE };
            tracker = tracker.step(Direction::Request, ACK.with(fin));
        }
        tracker
    }

    /// A route in each state, with its protocol and timeout.
    fn every_state() -> [(Tracker, Protocol, u32); 11] {
        [
            (Tracker::UDP, Protocol::Udp, 300),
            (tcp(""), Protocol::Tcp, 30),
            (tcp("<SA"), Protocol::Tcp, 30),
            (tcp("<SA >A"), Protocol::Tcp, 900),
            (tcp("<SA >A >FA"), Protocol::Tcp, 120),
            (tcp("<SA >A <FA"), Protocol::Tcp, 120),
            (tcp("<SA >A <FA >FA"), Protocol::Tcp, 120),
            (tcp("<SA >A <R"), Protocol::Tcp, 10),
            (one_way(""), Protocol::Tcp, 30),
            (one_way(">A"), Protocol::Tcp, 900),
            (one_way(">A >FA"), Protocol::Tcp, 120),
        ]
    }

    #[test]
    fn route_lasts_until_its_timeout() {
        for (tracker, protocol, timeout) in every_state() {
            let view = view(tracker);
            for (seconds, over) in [(0, false), (timeout - 1, false), (timeout, true)] {
                let now = after(seconds);
                let request = on_request(&view, protocol, NONE, now, of);
                let reply = on_reply(&view, protocol, NONE, now, of);
                assert_eq!(request == OnRequest::Replace, over, "{tracker:?} {seconds}");
                assert_eq!(reply == OnReply::Ignore, over, "{tracker:?} {seconds}");
                assert_eq!(sweep(&view, now, of), over, "{tracker:?} {seconds}");
                assert_eq!(takes_error(&view, now, of), !over, "{tracker:?}");
            }
        }
    }

    #[test]
    fn route_to_a_failed_node_is_gone_at_once() {
        for (tracker, protocol, _) in every_state() {
            let view = RouteView {
                live: false,
                ..view(tracker)
            };
            for flags in [NONE, SYN, ACK] {
                let now = after(0);
                assert_eq!(
                    on_request(&view, protocol, flags, now, of),
                    OnRequest::Replace
                );
                assert_eq!(on_reply(&view, protocol, flags, now, of), OnReply::Ignore);
                assert!(sweep(&view, now, of));
                assert!(!takes_error(&view, now, of));
            }
        }
    }

    #[test]
    fn draining_node_loses_a_client_only_between_connections() {
        for (tracker, protocol, _) in every_state() {
            for draining in [false, true] {
                let view = RouteView {
                    draining,
                    ..view(tracker)
                };
                for flags in (0..=u8::MAX).map(TcpFlags) {
                    let moves = draining && flags.opens() && tracker.ended();
                    let tracker_after = if draining && flags.opens() {
                        tracker
                    } else {
                        tracker.step(Direction::Request, flags)
                    };
                    let expected = if moves {
                        OnRequest::Replace
                    } else {
                        OnRequest::Use {
                            tracker: tracker_after,
                        }
                    };
                    let decided = on_request(&view, protocol, flags, after(1), of);
                    assert_eq!(decided, expected, "{tracker:?} {flags:?}");
                    let tracker = tracker.step(Direction::Reply, flags);
                    let reply = on_reply(&view, protocol, flags, after(1), of);
                    assert_eq!(reply, OnReply::Use { tracker });
                }
                assert!(!sweep(&view, after(1), of));
            }
        }
        let ended: std::vec::Vec<bool> = every_state().map(|(tracker, ..)| tracker.ended()).into();
        assert_eq!(
            ended,
            [false, false, false, false, false, false, true, true, false, false, true]
        );
    }

    #[test]
    fn routes_in_use_are_decided_alike() {
        const HZ: u32 = 250;
        const TIMEOUTS: Timeouts = Timeouts::from_seconds(&[7, 9, 5, 3, 8], HZ);
        // The shortest.
        const PATIENCE: u32 = 3 * HZ;
        for (tracker, protocol, _) in every_state() {
            for (live, draining) in [(true, false), (true, true), (false, false), (false, true)] {
                let view = RouteView {
                    live,
                    draining,
                    ..view(tracker)
                };
                let patience = patience(draining, &TIMEOUTS.to_ticks());
                for ticks in [
                    0,
                    1,
                    PATIENCE - 1,
                    PATIENCE,
                    5 * HZ - 1,
                    5 * HZ,
                    9 * HZ - 1,
                    9 * HZ,
                ] {
                    let now = after(ticks);
                    for flags in (0..=u8::MAX).map(TcpFlags) {
                        let of = |state| TIMEOUTS.of(state);
                        let request = on_request(&view, protocol, flags, now, of);
                        let reply = on_reply(&view, protocol, flags, now, of);
                        let idle = idle(now, view.last_used);
                        let decide =
                            |direction| in_use(tracker, live, idle, patience, of, direction, flags);
                        let common = live && !draining && ticks < of(tracker.state());
                        if let Some(tracker) = decide(Direction::Request) {
                            assert_eq!(request, OnRequest::Use { tracker });
                        }
                        if let Some(tracker) = decide(Direction::Reply) {
                            assert_eq!(reply, OnReply::Use { tracker });
                        }
                        assert_eq!(decide(Direction::Request).is_some(), common);
                        assert_eq!(decide(Direction::Reply).is_some(), common);
                    }
                }
            }
        }
    }

    #[test]
    fn only_a_syn_allocates_for_tcp() {
        for flags in 0..=u8::MAX {
            let pure_syn = flags & 0b1_0111 == 0b0_0010;
            let expected = if pure_syn {
                OnMiss::Schedule
            } else {
                OnMiss::Pass(Counter::PassNoRoute)
            };
            assert_eq!(
                on_miss(Protocol::Tcp, TcpFlags(flags)),
                expected,
                "{flags:#x}"
            );
        }
        assert_eq!(on_miss(Protocol::Udp, NONE), OnMiss::Schedule);
    }
}
