// SPDX-License-Identifier: GPL-2.0

//! What is said: by fepd to an agent, and by an agent to fepd.
//!
//! A field or message that the other end does not know is skipped, so each end may be the older one.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Lowest version of the protocol that this crate speaks.
pub const VERSION_MIN: u32 = 1;
/// Highest version of the protocol that this crate speaks.
pub const VERSION_MAX: u32 = 1;

/// The highest version that both ends speak, given the lowest and highest of the other one.
pub fn common_version(min: u32, max: u32) -> Option<u32> {
    let version = max.min(VERSION_MAX);
    (version >= min.max(VERSION_MIN)).then_some(version)
}

/// A message of fepd to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToAgent {
    /// The first message.
    Hello {
        /// Lowest version spoken.
        protocol_min: u32,
        /// Highest version spoken.
        protocol_max: u32,
        /// The name of the node that fepd means to talk to.
        node: String,
        /// Version of the program that speaks.
        program_version: String,
    },
    /// Asks for one report (D2).
    AskReport {
        /// Comes back in the report.
        id: u64,
        /// How long fepd waits for it, in milliseconds.
        time_limit_ms: u32,
    },
    /// Asks for reports at an interval (F7).
    ReportEvery {
        /// The interval in milliseconds; 0 ends them.
        ms: u32,
    },
    /// Asks which connections are live (F9).
    Connections {
        /// Comes back in the answer.
        id: u64,
        /// The connections, as the node sees them.
        list: Vec<Connection>,
    },
    /// A message of a later version.
    #[serde(other)]
    Unknown,
}

/// A message of an agent to fepd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FromAgent {
    /// The answer to [`ToAgent::Hello`].
    Welcome {
        /// The version that is spoken from here on.
        protocol: u32,
        /// The agent's node.
        node: String,
        /// Version of the agent.
        agent_version: String,
        /// What the agent can do; other requests get [`FromAgent::Failed`].
        #[serde(default)]
        features: Vec<String>,
    },
    /// The link ends, before or instead of [`FromAgent::Welcome`].
    Refused {
        /// Why.
        why: String,
    },
    /// The state of the node.
    Report {
        /// Of the request; none when it was sent by interval.
        #[serde(default)]
        id: Option<u64>,
        /// The state.
        report: Report,
    },
    /// Which connections are live, in the order of the request.
    Live {
        /// Of the request.
        id: u64,
        /// For each connection whether it is live.
        live: Vec<bool>,
    },
    /// A request could not be fulfilled.
    Failed {
        /// Of the request.
        id: u64,
        /// Why.
        why: String,
    },
    /// A message of a later version.
    #[serde(other)]
    Unknown,
}

/// Transport protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A connection, as the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Connection {
    /// Its protocol.
    pub transport: Transport,
    /// The node's end.
    pub local: SocketAddr,
    /// The client's end.
    pub peer: SocketAddr,
}

/// The state of a node. Memory is in bytes; what the agent cannot tell is 0 or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Busy share of all processors since the report before, 0 to 100.
    pub cpu_percent: f64,
    /// All memory, in bytes.
    pub memory_total: u64,
    /// Memory that is there for programs, in bytes.
    pub memory_available: u64,
    /// Buffers of block devices, in bytes.
    pub buffers: u64,
    /// Page cache, in bytes.
    pub cached: u64,
    /// Tasks that run or want to.
    pub run_queue: u32,
    /// Load average of one minute.
    pub load1: f64,
    /// Time since the node started, in seconds.
    pub uptime: f64,
    /// Sockets in use.
    pub sockets: u64,
    /// Processes that the agent watches.
    pub processes: Vec<ProcessReport>,
}

/// The state of one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessReport {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Processor time since the report before, as a share of one processor in percent.
    pub cpu_percent: f64,
    /// Resident memory, in bytes.
    pub memory: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_meet_at_the_highest_common_one() {
        assert_eq!(common_version(1, 1), Some(1));
        assert_eq!(common_version(0, 9), Some(1));
        assert_eq!(common_version(2, 9), None);
        assert_eq!(common_version(0, 0), None);
        assert_eq!(common_version(9, 1), None);
    }

    #[test]
    fn unknown_messages_and_fields_are_skipped() {
        let text = r#"{"type":"dance","how":["fast"]}"#;
        assert_eq!(
            serde_json::from_str::<ToAgent>(text).unwrap(),
            ToAgent::Unknown
        );
        let text = r#"{"type":"report_every","ms":5,"colour":"red"}"#;
        let message: ToAgent = serde_json::from_str(text).unwrap();
        assert_eq!(message, ToAgent::ReportEvery { ms: 5 });
        let text = r#"{"type":"report","report":{"cpu_percent":12.5,"gpu":1}}"#;
        let FromAgent::Report { id: None, report } = serde_json::from_str(text).unwrap() else {
            panic!("not a report");
        };
        assert!((report.cpu_percent - 12.5).abs() < f64::EPSILON);
        assert_eq!(report.memory_total, 0);
    }
}
