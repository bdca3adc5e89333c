// SPDX-License-Identifier: GPL-2.0

//! A route of the reference and how far its connection has come; and whose packets make none.

use std::net::IpAddr;

use crate::reference::{Endpoint, Seen, Target};

/// How far a TCP connection has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    Opening,
    Answered,
    Open,
    /// The node has closed. It may do so before the client's acknowledgement, which opens.
    NodeClosed {
        opened: bool,
    },
    ClientClosed,
    BothClosed,
}

/// A client's route.
#[derive(Clone, Debug)]
pub(crate) struct RefRoute {
    pub(crate) node: Endpoint,
    /// Whether the node answers the client without us.
    pub(crate) direct: bool,
    /// `None` for UDP.
    pub(crate) phase: Option<Phase>,
    pub(crate) reset: bool,
    pub(crate) last_used: u64,
}

impl RefRoute {
    /// The route of a new client.
    pub(crate) fn new(node: Endpoint, direct: bool, tcp: bool, now: u64) -> Self {
        let mut route = Self {
            node,
            direct,
            phase: None,
            reset: false,
            last_used: now,
        };
        if tcp {
            route.begin();
        }
        route
    }

    /// The client's SYN. What is not seen is taken for granted: that the node answers.
    fn begin(&mut self) {
        self.reset = false;
        self.phase = Some(if self.direct {
            Phase::Answered
        } else {
            Phase::Opening
        });
    }

    /// Where it leads.
    pub(crate) fn target(&self) -> Target {
        Target {
            node: self.node,
            direct: self.direct,
        }
    }

    /// The name of its state.
    pub(crate) fn state(&self) -> &'static str {
        match self.phase {
            None => "udp",
            Some(_) if self.reset => "closed",
            Some(Phase::Opening) => "syn_sent",
            Some(Phase::Answered) => "syn_received",
            Some(Phase::Open) => "established",
            Some(Phase::NodeClosed { .. } | Phase::ClientClosed) => "fin_wait",
            Some(Phase::BothClosed) => "time_wait",
        }
    }

    /// F8: whether there is no connection in service.
    pub(crate) fn ended(&self) -> bool {
        self.reset || self.phase == Some(Phase::BothClosed)
    }

    fn segment(&mut self, is_request: bool, flags: u8) {
        let Some(phase) = self.phase else { return };
        let [fin, syn, rst, ack] = [1, 2, 4, 16].map(|bit| flags & bit > 0);
        let opened = match phase {
            Phase::Opening | Phase::Answered => false,
            Phase::NodeClosed { opened } => opened,
            Phase::Open | Phase::ClientClosed | Phase::BothClosed => true,
        };
        if rst {
            self.reset = true;
        } else if syn && is_request {
            let in_use = matches!(phase, Phase::Opening | Phase::Answered | Phase::Open);
            if !ack && !fin && (self.reset || !in_use) {
                self.begin();
            }
        } else if syn {
            if ack && phase == Phase::Opening && !self.reset {
                self.phase = Some(Phase::Answered);
            }
        } else if ack && is_request {
            if self.reset && !opened {
                return;
            }
            self.reset = false;
            if self.direct && fin {
                // What the node does then is not seen.
                self.phase = Some(Phase::BothClosed);
                return;
            }
            self.phase = Some(match (phase, fin) {
                (Phase::Opening, _) => Phase::Opening,
                (Phase::Answered | Phase::Open, false) => Phase::Open,
                (Phase::Answered | Phase::Open | Phase::ClientClosed, _) => Phase::ClientClosed,
                (Phase::NodeClosed { .. }, false) => Phase::NodeClosed { opened: true },
                (Phase::NodeClosed { .. } | Phase::BothClosed, _) => Phase::BothClosed,
            });
        } else if ack && fin {
            self.phase = Some(match phase {
                Phase::Opening => Phase::Opening,
                Phase::Answered => Phase::NodeClosed { opened: false },
                Phase::Open => Phase::NodeClosed { opened: true },
                Phase::NodeClosed { opened } => Phase::NodeClosed { opened },
                Phase::ClientClosed | Phase::BothClosed => Phase::BothClosed,
            });
        }
    }

    /// A packet used the route. Times are kept to the second.
    pub(crate) fn used(&mut self, is_request: bool, flags: u8, now: u64, second: u64) {
        self.segment(is_request, flags);
        if now - self.last_used >= second {
            self.last_used = now;
        }
    }
}

/// Why nobody is reached or nobody answers there (RFC 1122, 3.2.1.3; RFC 4291, 2.5 and 2.7).
pub(crate) fn odd(seen: Seen) -> Option<&'static str> {
    let no_host = match seen.from.0 {
        IpAddr::V4(ip) => {
            let this_network = ip.octets()[0] == 0;
            this_network || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast()
        }
        IpAddr::V6(ip) => {
            let link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
            let mapped = ip.to_ipv4_mapped().is_some();
            ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local || mapped
        }
    };
    let group = match seen.to.0 {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    };
    if no_host || group {
        Some("pass_foreign")
    } else {
        (seen.from.1 == 0 || seen.to.1 == 0).then_some("pass_malformed")
    }
}
