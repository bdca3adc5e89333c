// SPDX-License-Identifier: GPL-2.0

//! The lines of the protocol.
//!
//! Keys that an end does not know are left alone, and a request that fepd does not know is refused
//! with [`Reason::Unsupported`]: programs of different versions understand each other.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Snapshot, OLDEST, VERSION};

/// The first line of each end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol that it speaks.
    pub version: u32,
    /// The oldest that it understands.
    pub oldest: u32,
    /// Its name and version, to be shown.
    pub program: String,
}

impl Hello {
    /// The line of a program that speaks what this crate does.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            oldest: OLDEST,
            program: program.into(),
        }
    }

    /// Whether this crate and the other end understand each other: the lower of both versions is one
    /// that both know.
    pub fn understood(&self) -> bool {
        self.version.min(VERSION) >= self.oldest.max(OLDEST)
    }
}

/// What fepd is asked for. Services are as fepctl writes them, `tcp/10.0.0.100:80`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// All that it knows.
    Snapshot,
    /// To read its configuration again.
    Reload,
    /// To know another node.
    NodeAdd {
        /// Its name.
        node: String,
        /// Its address on the internal network.
        address: IpAddr,
        /// Whether it has an agent.
        #[serde(default)]
        agent: bool,
        /// The port of its agent, where it is not the one of all.
        #[serde(default)]
        agent_port: Option<u16>,
        /// Decides between nodes of equal load; the lower number comes first.
        #[serde(default)]
        priority: u32,
    },
    /// To forget a node, which is no service's any more.
    NodeDel {
        /// Its name.
        node: String,
    },
    /// To take a node out of service without ending a connection.
    MaintenanceOn {
        /// Its name.
        node: String,
        /// It ends after so many seconds, whatever routes are left; by the services' own limits
        /// where there is none.
        #[serde(default)]
        limit_seconds: Option<u64>,
    },
    /// To give it its clients back.
    MaintenanceOff {
        /// Its name.
        node: String,
    },
    /// To have a node serve a service.
    Assign {
        /// The service.
        service: String,
        /// The node's name.
        node: String,
        /// The port, where it is not the service's.
        #[serde(default)]
        port: Option<u16>,
        /// Its share of the new clients.
        weight: u32,
        /// Which nodes come before it; the node's own where there is none.
        #[serde(default)]
        priority: Option<u32>,
        /// How packets reach it: `nat` or `dr`.
        method: String,
    },
    /// To have a node serve a service no more.
    Unassign {
        /// The service.
        service: String,
        /// The node's name.
        node: String,
    },
    /// To set the share of a node; 0 drains it.
    Weight {
        /// The service.
        service: String,
        /// The node's name.
        node: String,
        /// Its share of the new clients.
        weight: u32,
    },
    /// To start a server process on one more node.
    ProcessStart {
        /// Its name.
        process: String,
        /// The node; the one with the least load that may have it where there is none.
        #[serde(default)]
        node: Option<String>,
    },
    /// To take it away from a node, once no client uses it there.
    ProcessStop {
        /// Its name.
        process: String,
        /// The node.
        node: String,
    },
}

/// What fepd answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// All that it knows.
    Snapshot(Box<Snapshot>),
    /// It is done, or under way: the snapshots show how far.
    Done {
        /// The node that it is about, where fepd chose it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
    },
    /// It is not, and nothing has changed.
    Refused {
        /// Why, for programs.
        reason: Reason,
        /// Why, in a sentence that names the thing and the rule.
        message: String,
    },
}

impl Answer {
    /// It is done.
    pub const DONE: Self = Self::Done { node: None };

    /// It is not.
    pub fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::Refused {
            reason,
            message: message.into(),
        }
    }
}

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The node, service, group or process is not there.
    NotThere,
    /// It is there already.
    AlreadyThere,
    /// The request or the configuration makes no sense.
    BadInput,
    /// It is against a rule of fepd.
    Rule,
    /// The filter refused it.
    Filter,
    /// Too much is asked at once.
    Busy,
    /// fepd does not know such a request, or its configuration has not what it takes.
    Unsupported,
    /// The two do not speak a version that both understand.
    Version,
    /// Something else; the message says what.
    #[serde(other)]
    Other,
}

impl Reason {
    /// Its name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotThere => "not_there",
            Self::AlreadyThere => "already_there",
            Self::BadInput => "bad_input",
            Self::Rule => "rule",
            Self::Filter => "filter",
            Self::Busy => "busy",
            Self::Unsupported => "unsupported",
            Self::Version => "version",
            Self::Other => "other",
        }
    }
}
