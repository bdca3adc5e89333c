// SPDX-License-Identifier: GPL-2.0

//! What the filter remembers of a TCP connection: enough for timeouts, the reuse of client ports
//! and the ends of connections, and no sequence numbers.
//!
//! Sequence numbers are left to the two ends, which check them anyway. So a segment that the node
//! will refuse can move the state here. What it can do is bounded: a state only chooses a timeout,
//! and (while the node drains, see [`flow`](crate::flow)) whether a SYN may go to another node. In
//! particular a reset shortens the timeout and nothing else; the client's next segment of an
//! established connection takes that back. A client behind a forged reset loses its route only when
//! it is silent for [`TIMEOUT_TCP_RESET`](fep_uapi::TIMEOUT_TCP_RESET).

use fep_uapi::RouteState;

use crate::packet::{Protocol, TcpFlags};

/// The way of a packet through the filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client to the back-end node.
    Request,
    /// From the back-end node to the client.
    Reply,
}

/// What was seen of a route's connection. Of a UDP route, nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tracker(u32);

/// The connection's protocol is TCP: the client's SYN was seen.
const SYN: u32 = 1 << 0;
/// The node's SYN-ACK was seen.
const SYN_ACK: u32 = 1 << 1;
/// The client acknowledged the SYN-ACK.
const ESTABLISHED: u32 = 1 << 2;
/// The client's FIN was seen.
const CLIENT_FIN: u32 = 1 << 3;
/// The node's FIN was seen.
const NODE_FIN: u32 = 1 << 4;
/// The last thing that mattered was a reset.
const RESET: u32 = 1 << 5;
/// Only the client's packets are seen: the node answers directly.
const ONE_WAY: u32 = 1 << 6;
/// Both FINs.
const BOTH_FINS: u32 = CLIENT_FIN | NODE_FIN;
/// Every bit that has a meaning.
const ALL: u32 = SYN | SYN_ACK | ESTABLISHED | BOTH_FINS | RESET | ONE_WAY;

impl Tracker {
    /// The tracker of a UDP route: there is nothing to track.
    pub const UDP: Self = Self(0);

    /// The tracker that [`to_bits`](Self::to_bits) was called on. Bits without meaning are dropped.
    #[inline]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & ALL)
    }

    /// The tracker as a number, to be kept in an atomic.
    #[inline]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The tracker of a new route, whose first packet was scheduled (so, for TCP, was a SYN; see
    /// [`on_miss`](crate::flow::on_miss)). `one_way`: the node's packets will not be seen.
    #[inline]
    pub const fn begin(protocol: Protocol, one_way: bool) -> Self {
        match (protocol, one_way) {
            (Protocol::Tcp, false) => Self(SYN),
            (Protocol::Tcp, true) => Self(ONE_WAY).begin_again(),
            (Protocol::Udp, _) => Self::UDP,
        }
    }

    /// The tracker of the next connection. Where only one way is seen, the node is taken to answer.
    #[inline]
    const fn begin_again(self) -> Self {
        if self.0 & ONE_WAY != 0 {
            Self(SYN | SYN_ACK | ONE_WAY)
        } else {
            Self(SYN)
        }
    }

    /// The tracker after a packet with these flags.
    ///
    /// - RST, from either end: reset.
    /// - SYN of the client: repeated while the connection is being opened, and answered with a
    ///   challenge ACK by the node while it is established (RFC 5961, 4), so it changes nothing;
    ///   once one side has closed or reset, the client uses its port again, and it begins anew.
    /// - SYN-ACK of the node: received. ACK of the client thereafter: established.
    /// - FIN with ACK, in a connection whose SYN-ACK was seen: that side has closed.
    /// - Where only the client's packets are seen, its FIN stands for both: with the same port it opens
    ///   no other connection until the node has closed too.
    /// - A segment of the client with ACK after a reset of an established connection: the reset is
    ///   taken back, since a client that has been reset does not go on. When it was genuine after
    ///   all, the node answers this segment with another reset.
    #[inline(always)]
    pub const fn step(self, direction: Direction, flags: TcpFlags) -> Self {
        let bits = self.0;
        if bits & SYN == 0 {
            return self;
        }
        if flags.contains(TcpFlags::RST) {
            return Self(bits | RESET);
        }
        if flags.contains(TcpFlags::SYN) {
            return self.step_syn(direction, flags);
        }
        // RFC 9293, 3.10.7.4: without ACK there is nothing to process.
        if !flags.contains(TcpFlags::ACK) || bits & SYN_ACK == 0 {
            return self;
        }
        let fin = flags.contains(TcpFlags::FIN);
        match direction {
            Direction::Request => {
                let bits = match bits & (ESTABLISHED | RESET) {
                    RESET => return self,
                    _ => (bits & !RESET) | ESTABLISHED,
                };
                Self(match (fin, bits & ONE_WAY) {
                    (false, _) => bits,
                    (true, 0) => bits | CLIENT_FIN,
                    (true, _) => bits | BOTH_FINS,
                })
            }
            Direction::Reply => Self(if fin { bits | NODE_FIN } else { bits }),
        }
    }

    /// [`step`](Self::step) for a segment with SYN and without RST.
    #[inline]
    const fn step_syn(self, direction: Direction, flags: TcpFlags) -> Self {
        match direction {
            Direction::Request if flags.opens() && self.0 & (BOTH_FINS | RESET) != 0 => {
                self.begin_again()
            }
            Direction::Reply
                if flags.contains(TcpFlags::ACK) && self.0 & (BOTH_FINS | RESET) == 0 =>
            {
                Self(self.0 | SYN_ACK)
            }
            _ => self,
        }
    }

    /// Whether the step to `after`, by a packet of this direction, is the node's refusal of a connection:
    /// a reset in answer to a SYN.
    #[inline(always)]
    pub const fn is_refused(self, after: Self, direction: Direction) -> bool {
        matches!(direction, Direction::Reply) && self.0 == SYN && after.0 == SYN | RESET
    }

    /// Whether the node has not answered the client's SYN yet.
    #[inline(always)]
    pub const fn is_unanswered(self) -> bool {
        self.0 == SYN
    }

    /// The state that these observations amount to.
    #[inline]
    pub const fn state(self) -> RouteState {
        let bits = self.0;
        if bits & SYN == 0 {
            RouteState::Udp
        } else if bits & RESET != 0 {
            RouteState::Closed
        } else if bits & BOTH_FINS == BOTH_FINS {
            RouteState::TimeWait
        } else if bits & BOTH_FINS != 0 {
            RouteState::FinWait
        } else if bits & ESTABLISHED != 0 {
            RouteState::Established
        } else if bits & SYN_ACK != 0 {
            RouteState::SynReceived
        } else {
            RouteState::SynSent
        }
    }

    /// Whether the connection is over, so that a route may change without moving it (F8): both
    /// sides have closed, or it was reset.
    #[inline]
    pub const fn ended(self) -> bool {
        matches!(self.state(), RouteState::TimeWait | RouteState::Closed)
    }
}
