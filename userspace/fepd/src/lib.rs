// SPDX-License-Identifier: GPL-2.0

//! `fepd`, the load-adjust daemon (requirements F6 to F11): checks the nodes, and keeps the filter's
//! transfer-control table as the configuration and what was seen say it should be.
//!
//! [`engine`] holds what is known and decided, without a clock or a socket; [`daemon`] is the loop
//! around it. The decisions themselves are `fep-control`'s.

#![forbid(unsafe_code)]

mod agents;
mod checks;
pub mod cli;
pub mod daemon;
pub mod engine;
mod logging;
mod state;
mod watch;
