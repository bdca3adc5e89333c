// SPDX-License-Identifier: GPL-2.0

//! A route of the reference and how far its connection has come.

use crate::reference::Endpoint;

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
    /// `None` for UDP.
    pub(crate) phase: Option<Phase>,
    pub(crate) reset: bool,
    pub(crate) last_used: u64,
}

impl RefRoute {
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
                self.phase = Some(Phase::Opening);
                self.reset = false;
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
        let before = (self.phase, self.reset);
        self.segment(is_request, flags);
        if before != (self.phase, self.reset) || now - self.last_used >= second {
            self.last_used = now;
        }
    }
}
