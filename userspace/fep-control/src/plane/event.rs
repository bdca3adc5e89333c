// SPDX-License-Identifier: GPL-2.0

//! What goes into the control plane, and what comes out.

use std::net::IpAddr;

use fep_client::{NodeAddr, ServiceKey};
use serde::Serialize;

use crate::health::Cause;
use crate::load::Permille;
use crate::passive::Counters;
use crate::process::{self, Report};

/// Something that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A check of a node for a service ended.
    Checked {
        /// The service.
        service: ServiceKey,
        /// The node.
        node: NodeAddr,
        /// Whether it was good.
        good: bool,
    },
    /// The filter's counters of a node stand so.
    Counted {
        /// The service.
        service: ServiceKey,
        /// The node.
        node: NodeAddr,
        /// The counters.
        counters: Counters,
    },
    /// The agent of a node said something.
    Heard(IpAddr),
    /// The link to the agent of a node ended.
    Lost(IpAddr),
    /// The agent of a node reported its load.
    Load(IpAddr, Permille),
    /// The agent of a node said how the process of a service is.
    Process {
        /// The service.
        service: ServiceKey,
        /// The node.
        node: NodeAddr,
        /// What it said.
        report: Report,
    },
    /// The filter was read after the last commit.
    Listed {
        /// The service.
        service: ServiceKey,
        /// The node.
        node: NodeAddr,
        /// Its weight and its routes; `None` when it is not there.
        found: Option<(u32, u64)>,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the agent which routes of the node are dead, and end those.
    EndDead {
        /// The service.
        service: ServiceKey,
        /// The node.
        node: NodeAddr,
    },
    /// Order the agent to start the process of the service; it may have been ordered before.
    Start {
        /// The service.
        service: ServiceKey,
        /// The node.
        node: NodeAddr,
        /// Which start of the service this is.
        number: u64,
    },
    /// Order the agent to stop the process of the service; it may have been ordered before.
    Stop {
        /// The service.
        service: ServiceKey,
        /// The node.
        node: NodeAddr,
    },
    /// Tell the administrator.
    Tell(Notice),
}

/// What the administrator is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The node does not answer for the service.
    Failed(ServiceKey, NodeAddr, Cause),
    /// The node answers for the service again.
    Returned(ServiceKey, NodeAddr),
    /// The node gets so much of its weight, by its load.
    Ratio(IpAddr, Permille),
    /// Of a process of the service.
    Process(ServiceKey, process::Notice),
}
