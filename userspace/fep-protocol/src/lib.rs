// SPDX-License-Identifier: GPL-2.0

//! What fepd and the agents of the nodes say to each other, and the link they say it over.
//!
//! fepd connects to the agent's port. Both ends show a certificate of one private authority over
//! TLS 1.3, and each accepts only the names it was configured with. Then [`ToAgent::Hello`] and
//! [`FromAgent::Welcome`] settle the version, and messages go both ways in [`frame`]s.

#![forbid(unsafe_code)]

mod client;
mod error;
pub mod frame;
mod identity;
mod message;
mod server;

pub use client::{AgentClient, AgentReader, AgentWriter};
pub use error::Error;
pub use identity::Identity;
pub use message::{
    common_version, Connection, FromAgent, ProcessReport, ProcessState, ProcessStatus, Report,
    ToAgent, Transport, FEATURE_CONNECTIONS, FEATURE_PROCESSES, VERSION_MAX, VERSION_MIN,
};
pub use server::{Limits, Peer, PeerReader, PeerWriter, Server};
