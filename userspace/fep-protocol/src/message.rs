// SPDX-License-Identifier: GPL-2.0

//! What is said: by fepd to an agent, and by an agent to fepd.
//!
//! A field or message that the other end does not know is skipped, so each end may be the older one.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Lowest version of the protocol that this crate speaks.
pub const VERSION_MIN: u32 = 1;
/// The feature of an agent that answers [`ToAgent::Connections`].
pub const FEATURE_CONNECTIONS: &str = "connections";
/// The feature of an agent that controls processes: [`ToAgent::DefineProcesses`] and what follows it.
pub const FEATURE_PROCESSES: &str = "processes";
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
    /// Says which processes fepd means to ask for, all of them (F10). What runs as such is configured
    /// at the node: the agent answers with their states, or names one that it does not know.
    DefineProcesses {
        /// Comes back in the answer.
        id: u64,
        /// The keys of the processes.
        keys: Vec<String>,
    },
    /// Starts a process; nothing happens when it runs. What becomes of it is told by
    /// [`FromAgent::ProcessChanged`].
    ProcessStart {
        /// Comes back in the answer.
        id: u64,
        /// The key of the process.
        key: String,
    },
    /// Stops a process; nothing happens when it does not run.
    ProcessStop {
        /// Comes back in the answer.
        id: u64,
        /// The key of the process.
        key: String,
    },
    /// Asks for the states of all processes.
    ProcessList {
        /// Comes back in the answer.
        id: u64,
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
    /// The states of the processes that a request is about.
    Processes {
        /// Of the request.
        id: u64,
        /// The states.
        list: Vec<ProcessStatus>,
    },
    /// The state of a process has changed.
    ProcessChanged {
        /// Its new state.
        #[serde(flatten)]
        process: ProcessStatus,
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

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProcessState {
    /// It does not run, and shall not.
    Stopped,
    /// It runs and is not ready yet.
    Starting,
    /// It runs and is ready.
    Ready,
    /// It has been told to stop.
    Stopping,
    /// It would not start, or has died and is not started again.
    Failed,
    /// A state of a later version.
    #[default]
    #[serde(other)]
    Unknown,
}

/// The state of a process that the agent controls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessStatus {
    /// Its key.
    pub key: String,
    /// Its state.
    pub state: ProcessState,
    /// Its number; none when it does not run.
    pub pid: Option<u32>,
    /// Why it is in this state; empty when there is nothing to say.
    pub why: String,
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

    #[test]
    fn a_changed_process_says_what_it_is() {
        let text = r#"{"type":"process_changed","key":"web","state":"ready","pid":7,"why":""}"#;
        let message: FromAgent = serde_json::from_str(text).unwrap();
        let process = ProcessStatus {
            key: "web".to_owned(),
            state: ProcessState::Ready,
            pid: Some(7),
            why: String::new(),
        };
        assert_eq!(message, FromAgent::ProcessChanged { process });
        assert_eq!(serde_json::to_string(&message).unwrap(), text);
        let text = r#"{"type":"process_changed","key":"web","state":"asleep","mood":1}"#;
        let FromAgent::ProcessChanged { process } = serde_json::from_str(text).unwrap() else {
            panic!("not a change");
        };
        assert_eq!((process.state, process.pid), (ProcessState::Unknown, None));
    }
}
