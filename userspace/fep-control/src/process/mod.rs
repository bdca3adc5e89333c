// SPDX-License-Identifier: GPL-2.0

//! Server processes that come and go with the load (F10).
//!
//! Up: every serving node overloaded for a set time → the least loaded eligible node without the
//! process → started there → ready → into the table. Down: ratio 0 → dead routes ended → no routes →
//! out of the table → stopped. Each step has a time limit and ends with the next step or an alarm.
//!
//! What is saved is saved *before* what it asks for is done. So a start is known of before it is
//! ordered, and another life of the daemon orders the same one again, which does nothing where it was
//! obeyed already; it never chooses a second node while the first has not been taken back.

mod step;

use std::collections::{BTreeMap, BTreeSet};
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

/// The processes of one service that are not there by configuration.
#[derive(Clone, Debug)]
pub struct Processes {
    rules: Rules,
    state: State,
    /// Since when every serving node has been overloaded.
    overloaded: Option<Timer>,
    /// Since when every serving node has been idle.
    idle: Option<Timer>,
    /// Nodes that run a process nobody knows of.
    orphans: BTreeSet<NodeAddr>,
    told: Vec<Notice>,
    /// Whether it was said that there is no node left.
    nobody_left: bool,
}

impl Processes {
    /// No processes.
    pub fn new(rules: Rules) -> Self {
        Self::resume(rules, State::default())
    }

    /// Goes on with what another life of the daemon saved. Every order is given again at once, as it is
    /// not known which were.
    pub fn resume(rules: Rules, mut state: State) -> Self {
        for known in state.instances.values_mut() {
            if let Phase::Starting { again, .. }
            | Phase::Draining { again, .. }
            | Phase::Stopping { again, .. } = &mut known.phase
            {
                *again = Timer::new(Duration::ZERO, Duration::ZERO);
            }
        }
        Self {
            rules,
            state,
            overloaded: None,
            idle: None,
            orphans: BTreeSet::new(),
            told: Vec::new(),
            nobody_left: false,
        }
    }

    /// What is to be saved.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The filter's table has a node with a weight that is neither configured nor saved: it is taken
    /// over, so that a lost file of state breaks no connection.
    pub fn adopt(&mut self, node: NodeAddr, weight: u32, now: Duration) {
        if self.state.instances.contains_key(&node) {
            return;
        }
        let phase = if weight > 0 {
            self.serving(now)
        } else {
            self.draining(now)
        };
        let number = self.next_number();
        let instance = Instance {
            number,
            failures: 0,
            served: true,
            pinned: false,
            phase,
        };
        self.state.instances.insert(node, instance);
    }

    /// Goes on with what the machine before a change of rules had not saved.
    pub(crate) fn take_over(&mut self, old: Self) {
        if self.rules == old.rules {
            self.overloaded = old.overloaded;
            self.idle = old.idle;
        }
        self.orphans = old.orphans;
        self.told = old.told;
        self.nobody_left = old.nobody_left;
    }

    /// These nodes serve by configuration from now on: their processes are not this machine's.
    pub fn forget(&mut self, configured: &BTreeSet<NodeAddr>) {
        let keep = |node: &NodeAddr| !configured.contains(node);
        self.state.instances.retain(|node, _| keep(node));
    }

    /// Where a node stands in the table.
    pub fn place(&self, node: NodeAddr) -> Place {
        match self.state.instances.get(&node).map(|known| known.phase) {
            Some(Phase::Serving { .. }) => Place::Serving,
            Some(Phase::Draining { .. }) => Place::Drained,
            _ => Place::Out,
        }
    }

    /// The nodes that are in the table.
    pub fn placed(&self) -> impl Iterator<Item = NodeAddr> + '_ {
        self.listed_nodes()
            .filter(|&node| self.place(node) != Place::Out)
    }

    /// The nodes that are in the table, or whose leaving it has not been seen.
    pub fn listed_nodes(&self) -> impl Iterator<Item = NodeAddr> + '_ {
        let listed = |phase: &Phase| {
            matches!(
                phase,
                Phase::Serving { .. } | Phase::Draining { .. } | Phase::Leaving
            )
        };
        let instances = self.state.instances.iter();
        instances.filter_map(move |(&node, known)| listed(&known.phase).then_some(node))
    }

    /// The administrator wants the process on the node.
    ///
    /// # Errors
    ///
    /// [`Refused::Present`].
    pub fn start_on(&mut self, node: NodeAddr, now: Duration) -> Result<(), Refused> {
        if self.state.instances.contains_key(&node) {
            return Err(Refused::Present);
        }
        self.state.barred.remove(&node);
        self.start(node, true, now);
        Ok(())
    }

    /// The administrator does not want the process on the node any more.
    ///
    /// # Errors
    ///
    /// [`Refused::Absent`], also when it is going already.
    pub fn take_away(&mut self, node: NodeAddr, now: Duration) -> Result<(), Refused> {
        let phase = match self.state.instances.get(&node).map(|known| known.phase) {
            Some(Phase::Serving { .. }) => self.draining(now),
            Some(Phase::Starting { .. } | Phase::Waiting { .. }) => self.stopping(now),
            _ => return Err(Refused::Absent),
        };
        if let Some(known) = self.state.instances.get_mut(&node) {
            known.phase = phase;
        }
        Ok(())
    }

    fn next_number(&mut self) -> u64 {
        self.state.number += 1;
        self.state.number
    }

    fn start(&mut self, node: NodeAddr, pinned: bool, now: Duration) {
        let number = self.next_number();
        let instance = Instance {
            number,
            failures: 0,
            served: false,
            pinned,
            phase: self.starting(now),
        };
        self.state.instances.insert(node, instance);
        self.orphans.remove(&node);
    }

    fn starting(&self, now: Duration) -> Phase {
        Phase::Starting {
            limit: Timer::new(now, self.rules.ready_within),
            again: Timer::new(now, Duration::ZERO),
        }
    }

    fn serving(&self, now: Duration) -> Phase {
        Phase::Serving {
            calm: Timer::new(now, self.rules.retry_max),
        }
    }

    fn draining(&self, now: Duration) -> Phase {
        Phase::Draining {
            limit: Timer::new(now, self.rules.drain_within),
            again: Timer::new(now, Duration::ZERO),
        }
    }

    fn stopping(&self, now: Duration) -> Phase {
        Phase::Stopping {
            limit: Timer::new(now, self.rules.stop_within),
            again: Timer::new(now, Duration::ZERO),
            late: false,
        }
    }
}
