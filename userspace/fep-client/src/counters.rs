// SPDX-License-Identifier: GPL-2.0

//! What the counters mean.

use fep_uapi::Counter;

/// What became of what a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Translated and sent on.
    Forwarded,
    /// Allocated routes that came and went.
    Routes,
    /// Went on untouched to the host's own stack.
    Passed,
    /// Ended here.
    Dropped,
}

impl Group {
    /// Every group, in the order to show them.
    pub const ALL: [Self; 4] = [Self::Forwarded, Self::Routes, Self::Passed, Self::Dropped];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Routes => "routes",
            Self::Passed => "passed",
            Self::Dropped => "dropped",
        }
    }
}

/// The group of a counter.
pub const fn group(counter: Counter) -> Group {
    match counter {
        Counter::ForwardRequest | Counter::ForwardReply | Counter::ForwardIcmp => Group::Forwarded,
        Counter::RouteAllocated | Counter::RouteExpired | Counter::RouteDeleted => Group::Routes,
        Counter::PassForeign
        | Counter::PassMalformed
        | Counter::PassFragment
        | Counter::PassNoService
        | Counter::PassNoRoute
        | Counter::PassSourceRoute => Group::Passed,
        Counter::DropNoBackend
        | Counter::DropTableFull
        | Counter::DropNoMemory
        | Counter::DropNoOutput
        | Counter::DropTtl
        | Counter::DropTooBig
        | Counter::DropReplyConflict
        | Counter::DropStaleReply
        | Counter::DropLoop
        | Counter::DropClientFull => Group::Dropped,
    }
}

/// What a counter counts, in one line.
pub const fn meaning(counter: Counter) -> &'static str {
    match counter {
        Counter::ForwardRequest => "requests sent to a backend",
        Counter::ForwardReply => "replies sent to a client",
        Counter::RouteAllocated => "new clients",
        Counter::RouteExpired => "routes that ended by their timeout",
        Counter::RouteDeleted => "routes of failed or removed backends, or flushed",
        Counter::PassForeign => {
            "not TCP or UDP over IP (or ICMP errors about them), or not for this host"
        }
        Counter::PassMalformed => "truncated, inconsistent or with a wrong checksum",
        Counter::PassFragment => "fragments",
        Counter::PassNoService => "to no service, or ICMP errors about no route",
        Counter::PassNoRoute => "TCP in the middle of a connection that has no route",
        Counter::PassSourceRoute => "source-routed",
        Counter::DropNoBackend => "the service has no backend that takes new clients",
        Counter::DropTableFull => "new client, the routes are at their limit",
        Counter::DropNoMemory => "the kernel is out of memory",
        Counter::DropNoOutput => "no way out to the backend or the client",
        Counter::DropTtl => "time to live ended here",
        Counter::DropTooBig => "larger than the way out allows",
        Counter::DropReplyConflict => {
            "client port in use through another service, replies would be ambiguous"
        }
        Counter::DropStaleReply => "replies of a backend whose route has ended",
        Counter::ForwardIcmp => "ICMP errors sent to a backend or a client",
        Counter::DropLoop => "sent back by a dr backend, which does not have the VIP",
        Counter::DropClientFull => "new route of a client port that has 64",
    }
}

/// The value of a counter in an array of them.
pub fn value(counters: &[u64], counter: Counter) -> u64 {
    // A `u32` always fits into the `usize` of the platforms Linux runs on.
    counters.get(counter.code() as usize).copied().unwrap_or(0)
}
