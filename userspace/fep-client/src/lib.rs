// SPDX-License-Identifier: GPL-2.0

//! The typed owner of `/dev/fep`.
//!
//! Programs that control fep use this crate and nothing below it. It says what there is in words
//! ([`ServiceKey`], [`NodeAddr`], [`Config`]), computes what has to change ([`diff`](diff::diff)),
//! lets the kernel do it in one step ([`Client::commit`]) and turns a refusal into a sentence that
//! names the thing and the rule ([`Refusal`]).
//!
//! The rules themselves are the kernel's alone: nothing here checks a weight or an address a second
//! time, so that the two cannot disagree.

#![forbid(unsafe_code)]

pub mod change;
pub mod client;
pub mod config;
pub mod counters;
pub mod device;
pub mod diff;
pub mod error;
pub mod events;
pub mod file;
pub mod kernel;
pub mod method;
pub mod name;
pub mod nodes;
pub mod routes;
pub mod snapshot;
pub mod spec;
pub mod text;

mod address;
mod refusal;

pub use change::Change;
pub use client::{Client, Outcome};
pub use config::{Backend, Config, Place, Priority, Service, Timeouts, Weight};
pub use device::Device;
pub use error::Error;
pub use events::Event;
pub use kernel::{Kernel, Page};
pub use method::Method;
pub use name::{DeviceName, NodeAddr, NodePattern, ServiceKey};
pub use nodes::NodeDetails;
pub use refusal::Refusal;
pub use routes::{Ended, Filter, ListedRoute, Route};
pub use snapshot::{BackendState, ServiceState, Snapshot, State};
pub use spec::{NodeSpec, Port, Protocol, ServiceSpec};
