// SPDX-License-Identifier: GPL-2.0

//! What is said of processes: rules, states, actions.

use std::collections::BTreeMap;
use std::time::Duration;

use fep_client::NodeAddr;
use serde::{Deserialize, Serialize};

use crate::load::Permille;
use crate::timer::Timer;

/// When processes of a service come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Above this load a node is overloaded.
    pub high: Permille,
    /// Below this load a node is idle. Smaller than `high`.
    pub low: Permille,
    /// All serving nodes are overloaded for so long before a process is added.
    pub overloaded_for: Duration,
    /// All serving nodes are idle for so long before a process is taken away.
    pub idle_for: Duration,
    /// So many processes are added at most.
    pub most: usize,
    /// A process that is not ready after this did not start.
    pub ready_within: Duration,
    /// After this, routes that are left on a node that is taken away are ended.
    pub drain_within: Duration,
    /// A process that is not stopped after this is an alarm; the order is repeated.
    pub stop_within: Duration,
    /// An order is repeated, and dead routes are ended, so often.
    pub again: Duration,
    /// A process that died or did not start is started again after this, doubled each time.
    pub retry: Duration,
    /// The longest time between two starts.
    pub retry_max: Duration,
    /// After so many starts that failed another node is tried; 1 at least.
    pub tries: u32,
    /// A node on which the process did not start is not chosen again for so long.
    pub barred_for: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            high: 800,
            low: 300,
            overloaded_for: seconds(10),
            idle_for: seconds(60),
            most: usize::MAX,
            ready_within: seconds(30),
            drain_within: seconds(300),
            stop_within: seconds(30),
            again: seconds(2),
            retry: seconds(1),
            retry_max: seconds(60),
            tries: 3,
            barred_for: seconds(300),
        }
    }
}

/// What the agent of a node says of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It does not run.
    Stopped,
    /// It was started and is not ready.
    Starting,
    /// It runs and is ready.
    Ready,
    /// It could not be started, or ended by itself and is not started again by the agent.
    Failed,
}

/// How far the process of a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// It is to be started, and is not in the table.
    Starting {
        /// The time until it must be ready.
        limit: Timer,
        /// When the order is given again.
        again: Timer,
    },
    /// It died or did not start, and is not in the table.
    Waiting {
        /// The time until it is started again.
        retry: Timer,
    },
    /// It is ready, and in the table.
    Serving {
        /// How long it has been; over when it has been calm for as long as a back-off can be.
        calm: Timer,
    },
    /// It is in the table with weight 0.
    Draining {
        /// The time until routes that are left are ended.
        limit: Timer,
        /// When dead routes are ended again.
        again: Timer,
    },
    /// It is not in the table, which the filter has not said yet.
    Leaving,
    /// It is to be stopped, and is not in the table.
    Stopping {
        /// The time until it must have stopped.
        limit: Timer,
        /// When the order is given again.
        again: Timer,
        /// Whether it is late, which was said.
        late: bool,
    },
}

/// The process of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Which start this is, of all starts of the service: an agent that has obeyed this number before
    /// does not start the process again.
    pub number: u64,
    /// Starts in a row that failed.
    pub failures: u32,
    /// Whether it was in the table, so that starting it again is no answer to a new need.
    pub served: bool,
    /// Whether the administrator ordered it, so that it is not taken away for being idle.
    pub pinned: bool,
    /// How far it is.
    #[serde(flatten)]
    pub phase: Phase,
}

/// What is saved of the processes of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The number of the last start.
    pub number: u64,
    /// The processes.
    pub instances: BTreeMap<NodeAddr, Instance>,
    /// Nodes that are not to be chosen, and how long.
    pub barred: BTreeMap<NodeAddr, Timer>,
    /// Whether there is need of another one, for which a start failed.
    pub seeking: bool,
}

/// A node that may be given a process: its agent answers, it is not in maintenance, and it does not
/// serve the service by configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeAddr,
    /// Its load.
    pub load: Permille,
    /// Its priority; the lower number comes first.
    pub priority: u32,
}

/// What is to be done, after the state was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Order the agent of the node to start the process. It may have been ordered before.
    Start {
        /// The node.
        node: NodeAddr,
        /// Which start this is.
        number: u64,
    },
    /// Order the agent of the node to stop the process. It may have been ordered before.
    Stop {
        /// The node.
        node: NodeAddr,
    },
    /// Ask which routes of the node are dead, and end those.
    EndDead {
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
    /// The process of the node is ready and in the table.
    Added(NodeAddr),
    /// The process of the node died.
    Died(NodeAddr),
    /// The process did not start on the node, which is not tried again soon.
    NotStarted(NodeAddr),
    /// Every serving node is overloaded, and there is no other one.
    NobodyLeft,
    /// The node had so many routes left when its time was over; they were ended.
    DrainLate(NodeAddr, u64),
    /// The process of the node has not stopped in time.
    StopLate(NodeAddr),
    /// The process of the node has stopped.
    Removed(NodeAddr),
}

/// Where a node with a process stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not in it.
    Out,
    /// In it, and gets clients.
    Serving,
    /// In it with weight 0.
    Drained,
}

/// Why an order of the administrator is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The node has a process of the service, or one that is coming or going.
    Present,
    /// The node has none that could be taken away.
    Absent,
}
