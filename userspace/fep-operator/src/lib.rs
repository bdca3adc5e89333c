// SPDX-License-Identifier: GPL-2.0

//! What fepctl and fepd say to each other over a unix socket, and how fepd shows what it knows.
//!
//! Both ends write lines of JSON. The first line of each is its [`Hello`]; after that every
//! [`Request`] has one [`Answer`]. A [`Snapshot`] has all that fepd knows at a moment; [`metrics()`]
//! and [`status_page`] are other views of the same.

#![forbid(unsafe_code)]

mod client;
mod line;
mod message;
mod metrics;
mod page;
#[cfg(feature = "server")]
mod server;
mod snapshot;

pub use client::{Client, Error};
pub use message::{Answer, Hello, Reason, Request};
pub use metrics::metrics;
pub use page::status_page;
#[cfg(feature = "server")]
pub use server::{serve, Call, Listener};
pub use snapshot::{
    Agent, Check, Daemon, Group, GroupNode, Instance, Maintenance, MaintenanceState, Member,
    MemberState, Node, NodeState, Process, ProcessState, Reload, Service, Snapshot,
};

/// Where the socket is unless the configuration says otherwise.
pub const SOCKET: &str = "/run/fep/fepd.sock";

/// The version of the protocol that this crate speaks.
pub const VERSION: u32 = 1;

/// The oldest version that it understands.
pub const OLDEST: u32 = 1;

/// Longest line to fepd, in bytes with its end.
pub const REQUEST_MAX: usize = 64 << 10;

/// Longest line from fepd, in bytes with its end: a snapshot of 1,000 nodes with 100 services each.
pub const ANSWER_MAX: usize = 128 << 20;
