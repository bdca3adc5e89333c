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
mod types;

use std::collections::BTreeSet;
use std::time::Duration;

use fep_client::NodeAddr;

use crate::timer::Timer;

pub use types::{Action, Candidate, Instance, Notice, Phase, Place, Refused, Report, Rules, State};

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
