// SPDX-License-Identifier: GPL-2.0

//! What fepd knows at a moment.
//!
//! Times are relative to the moment (`…_ms`), so that no clock has to agree with another. A state
//! that is newer than the reader is `unknown` to it.

use serde::{Deserialize, Serialize};

/// Gives each state its name.
macro_rules! states {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $state:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$doc])* $state,)*
            /// One that this program does not know.
            #[default]
            #[serde(other)]
            Unknown,
        }

        impl $name {
            /// All that this program knows.
            pub const ALL: &'static [Self] = &[$(Self::$state),*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$state => $text,)*
                    Self::Unknown => "unknown",
                }
            }
        }
    };
}

/// What fepd knows at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// The daemon itself, and the filter.
    pub daemon: Daemon,
    /// The nodes, in the order of the configuration.
    pub nodes: Vec<Node>,
    /// The services, in the order of the configuration.
    pub services: Vec<Service>,
    /// The groups, in the order of the configuration.
    pub groups: Vec<Group>,
    /// The server processes, in the order of the configuration.
    pub processes: Vec<Process>,
}

impl Snapshot {
    /// The node of a name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Where a node serves: the services with its part in each.
    pub fn members_of<'a>(
        &'a self,
        node: &'a str,
    ) -> impl Iterator<Item = (&'a Service, &'a Member)> {
        self.services.iter().flat_map(move |service| {
            let members = service.members.iter();
            let own = members.filter(move |member| member.node == node);
            own.map(move |member| (service, member))
        })
    }

    /// A process of a name on a node.
    pub fn instance(&self, process: &str, node: &str) -> Option<&Instance> {
        let process = self.processes.iter().find(|other| other.name == process)?;
        process.instances.iter().find(|other| other.node == node)
    }
}

/// The daemon, and the filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Daemon {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// It runs for so long.
    pub uptime_ms: u64,
    /// Its configuration file.
    pub config: String,
    /// What came of the last time that it read the file again.
    pub reload: Option<Reload>,
    /// Why the filter is not as it should be; nothing where it is.
    pub trouble: Option<String>,
    /// Why the state file is not written; nothing where it is.
    pub state_trouble: Option<String>,
    /// The generation of the filter's configuration.
    pub generation: u64,
    /// Allocated routes, of all services.
    pub routes: u64,
    /// How many there may be.
    pub routes_limit: u64,
}

/// What came of reading the configuration again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reload {
    /// So long ago.
    pub age_ms: u64,
    /// What was wrong, a line for each mistake; nothing where it is in force.
    pub problem: Option<String>,
}

states! {
    /// How a node is.
    NodeState {
        /// It serves all of its services.
        Up = "up",
        /// It has failed in some of its services.
        Partly = "partly",
        /// It has failed in all of its services.
        Failed = "failed",
        /// It is in maintenance.
        Maintenance = "maintenance",
        /// It has no service.
        Idle = "idle",
    }
}

/// A back-end node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// How it is.
    pub state: NodeState,
    /// Why.
    pub why: String,
    /// Its agent.
    pub agent: Agent,
    /// Its load in thousandths of what it can do, smoothed; nothing where it is not known.
    pub load_permille: Option<u32>,
    /// Decides between nodes of equal load; the lower number comes first.
    pub priority: u32,
    /// Allocated routes to it, of all services.
    pub routes: u64,
    /// Its maintenance, if it is in one.
    pub maintenance: Option<Maintenance>,
    /// What fepd does next about it; nothing where it only watches.
    pub next: Option<String>,
}

states! {
    /// The agent of a node.
    Agent {
        /// It has none.
        None = "none",
        /// It answers.
        Alive = "alive",
        /// It does not answer.
        Silent = "silent",
    }
}

states! {
    /// How far a maintenance is.
    MaintenanceState {
        /// It has routes left.
        Draining = "draining",
        /// It has none.
        Done = "done",
        /// The limit is over, and it has routes left.
        Late = "late",
    }
}

/// A maintenance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Maintenance {
    /// How far it is.
    pub state: MaintenanceState,
    /// Routes that are left.
    pub routes: u64,
    /// Its limit is over in so long; 0 when it is.
    pub left_ms: u64,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// What clients connect to: `tcp/10.0.0.100:80`.
    pub service: String,
    /// How a node is chosen.
    pub scheduler: String,
    /// Its group, where its nodes are those of one.
    pub group: Option<String>,
    /// Who serves while no node does.
    pub sorry: Option<String>,
    /// What somebody should look at; nothing where all is well.
    pub alarm: Option<String>,
    /// Its allocated routes.
    pub routes: u64,
    /// Its nodes.
    pub members: Vec<Member>,
}

states! {
    /// How a node is for a service.
    MemberState {
        /// It gets its share.
        Up = "up",
        /// It came back a short time ago and gets a part of its share.
        Slow = "slow",
        /// It does not answer, but too many nodes would be out: it still gets clients.
        Kept = "kept",
        /// It does not answer, and gets no clients.
        Failed = "failed",
        /// It gets no new clients: it is in maintenance, or its weight is 0.
        Draining = "draining",
    }
}

/// A node of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// The node.
    pub node: String,
    /// Where it serves: `10.1.0.2:80`.
    pub address: String,
    /// How it is.
    pub state: MemberState,
    /// Why.
    pub why: String,
    /// Its weight in the configuration.
    pub weight: u32,
    /// The weight that the filter has.
    pub weight_now: u32,
    /// Its share by these weights, in thousandths.
    pub asked_permille: u32,
    /// Its share of the clients it was given, in thousandths; nothing where there were none.
    pub achieved_permille: Option<u32>,
    /// Its allocated routes.
    pub routes: u64,
    /// Its last check.
    pub check: Option<Check>,
    /// What fepd does next about it; nothing where it only watches.
    pub next: Option<String>,
}

/// What a check said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// So long ago.
    pub age_ms: u64,
    /// Why it is bad; nothing where it is good.
    pub problem: Option<String>,
}

/// Nodes that hold the same content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The node that the state table chooses; nothing where none runs.
    pub best: Option<String>,
    /// The state table (requirement D3).
    pub nodes: Vec<GroupNode>,
}

/// A line of the state table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupNode {
    /// The node.
    pub node: String,
    /// Whether it runs.
    pub running: bool,
    /// Its load in thousandths; nothing where it is not known.
    pub load_permille: Option<u32>,
    /// Decides between equal loads; the lower number comes first.
    pub priority: u32,
}

/// A server process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Where it is.
    pub instances: Vec<Instance>,
}

states! {
    /// How a server process is on a node.
    ProcessState {
        /// It does not run.
        Stopped = "stopped",
        /// It was started and is not ready.
        Starting = "starting",
        /// It serves.
        Ready = "ready",
        /// It gets no new clients, and is stopped when it has none left.
        Draining = "draining",
        /// It was told to end.
        Stopping = "stopping",
        /// It would not start, or ends again and again.
        Failed = "failed",
    }
}

/// A server process on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// The node.
    pub node: String,
    /// How it is.
    pub state: ProcessState,
    /// Why.
    pub why: String,
    /// So often it was started again after it ended by itself.
    pub restarts: u32,
    /// What fepd does next about it; nothing where it only watches.
    pub next: Option<String>,
}
