// SPDX-License-Identifier: GPL-2.0

//! What happens to the processes, and what follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use fep_client::NodeAddr;

use super::{Action, Candidate, Instance, Notice, Phase, Processes, Report};
use crate::group::{optimal, Row};
use crate::load::Permille;
use crate::timer::Timer;

impl Processes {
    /// The agent of the node said this of its process at `now`.
    pub fn reported(&mut self, node: NodeAddr, report: Report, now: Duration) {
        let Some(mut known) = self.state.instances.get(&node).copied() else {
            let runs = matches!(report, Report::Starting | Report::Ready);
            if runs {
                self.orphans.insert(node);
            } else {
                self.orphans.remove(&node);
            }
            return;
        };
        let ended = matches!(report, Report::Stopped | Report::Failed);
        match (&mut known.phase, report) {
            (Phase::Starting { .. } | Phase::Waiting { .. }, Report::Ready) => {
                known.phase = self.serving(now);
                known.served = true;
                self.state.seeking = false;
                self.overloaded = None;
                self.idle = None;
                self.told.push(Notice::Added(node));
            }
            // One that is stopped has not had the order yet, and gets it again.
            (Phase::Starting { .. }, Report::Failed) => self.failed(node, &mut known, now),
            (Phase::Serving { calm }, _) if ended => {
                if calm.is_over(now) {
                    known.failures = 0;
                }
                self.told.push(Notice::Died(node));
                self.failed(node, &mut known, now);
            }
            // The agent starts it again by itself.
            (Phase::Serving { .. }, Report::Starting) => {
                self.told.push(Notice::Died(node));
                known.phase = self.starting(now);
            }
            (Phase::Draining { .. }, _) if ended => known.phase = Phase::Leaving,
            (Phase::Stopping { .. }, _) if ended => {
                self.state.instances.remove(&node);
                self.told.push(Notice::Removed(node));
                return;
            }
            _ => {}
        }
        self.state.instances.insert(node, known);
    }

    /// A start failed, or what had been started died.
    fn failed(&mut self, node: NodeAddr, known: &mut Instance, now: Duration) {
        known.failures += 1;
        if known.failures >= self.rules.tries.max(1) {
            self.give_up(node, known, now);
            return;
        }
        let doubled = 1 << (known.failures - 1).min(16);
        let wait = self.rules.retry.saturating_mul(doubled);
        known.phase = Phase::Waiting {
            retry: Timer::new(now, wait.min(self.rules.retry_max)),
        };
    }

    /// The node is not tried again soon, and what may run there is stopped.
    fn give_up(&mut self, node: NodeAddr, known: &mut Instance, now: Duration) {
        known.phase = self.stopping(now);
        known.pinned = false;
        let barred = Timer::new(now, self.rules.barred_for);
        self.state.barred.insert(node, barred);
        self.state.seeking = true;
        self.told.push(Notice::NotStarted(node));
    }

    /// The filter's table was read at `now`, after the last commit: the node is in it with so much
    /// weight and so many routes, or is not in it.
    pub fn listed(&mut self, node: NodeAddr, found: Option<(u32, u64)>, now: Duration) {
        let Some(mut known) = self.state.instances.get(&node).copied() else {
            return;
        };
        let late = match &mut known.phase {
            Phase::Draining { limit, .. } => limit.is_over(now),
            _ => false,
        };
        match (known.phase, found) {
            (Phase::Draining { .. }, Some((0, 0)) | None) => known.phase = Phase::Leaving,
            (Phase::Draining { .. }, Some((0, routes))) if late => {
                self.told.push(Notice::DrainLate(node, routes));
                known.phase = Phase::Leaving;
            }
            (Phase::Leaving, None) => known.phase = self.stopping(now),
            _ => {}
        }
        self.state.instances.insert(node, known);
    }

    /// What follows at `now`. `serving` are the nodes that get clients of the service, those of
    /// processes too, with their loads where known; `candidates` are those that may be given a process.
    ///
    /// The [`state`](Self::state) is saved before the actions are done.
    pub fn step(
        &mut self,
        serving: &[(NodeAddr, Option<Permille>)],
        candidates: &[Candidate],
        now: Duration,
    ) -> Vec<Action> {
        self.state.barred.retain(|_, timer| !timer.is_over(now));
        self.need(serving, candidates, now);
        self.surplus(serving, now);
        let mut actions = Vec::new();
        let nodes: Vec<NodeAddr> = self.state.instances.keys().copied().collect();
        for node in nodes {
            self.advance(node, now, &mut actions);
        }
        // Nothing is started elsewhere before it was taken back here.
        actions.sort_by_key(|action| !matches!(action, Action::Stop { .. }));
        let orphans = std::mem::take(&mut self.orphans).into_iter();
        actions.extend(orphans.map(|node| Action::Stop { node }));
        actions.extend(self.told.drain(..).map(Action::Tell));
        actions
    }

    /// Whether every serving node is overloaded, and what is done about it.
    fn need(
        &mut self,
        serving: &[(NodeAddr, Option<Permille>)],
        candidates: &[Candidate],
        now: Duration,
    ) {
        let over = |load: &Option<Permille>| load.is_some_and(|load| load > self.rules.high);
        if serving.is_empty() || !serving.iter().all(|(_, load)| over(load)) {
            self.overloaded = None;
            self.state.seeking = false;
            self.nobody_left = false;
            return;
        }
        let whole = Timer::new(now, self.rules.overloaded_for);
        let long_enough = self.overloaded.get_or_insert(whole).is_over(now);
        if !(long_enough || self.state.seeking) || self.is_coming() {
            return;
        }
        // One that is on its way out is the quickest to have.
        let serves = self.serving(now);
        let mut known = self.state.instances.values_mut();
        if let Some(back) = known.find(|known| matches!(known.phase, Phase::Draining { .. })) {
            back.phase = serves;
            self.overloaded = None;
            return;
        }
        match self.choose(candidates) {
            Some(node) => {
                self.start(node, false, now);
                self.nobody_left = false;
            }
            None if !self.nobody_left => {
                self.nobody_left = true;
                self.told.push(Notice::NobodyLeft);
            }
            None => {}
        }
    }

    /// Whether a process is being started already.
    fn is_coming(&self) -> bool {
        let coming = |known: &Instance| {
            matches!(known.phase, Phase::Starting { .. } | Phase::Waiting { .. })
        };
        self.state.instances.values().any(coming)
    }

    fn choose(&self, candidates: &[Candidate]) -> Option<NodeAddr> {
        let serving = |known: &&Instance| matches!(known.phase, Phase::Serving { .. });
        if self.state.instances.values().filter(serving).count() >= self.rules.most {
            return None;
        }
        let free = |node: &NodeAddr| {
            !self.state.instances.contains_key(node) && !self.state.barred.contains_key(node)
        };
        let table: BTreeMap<NodeAddr, Row> = candidates
            .iter()
            .filter(|candidate| free(&candidate.node) && candidate.load <= self.rules.high)
            .map(|candidate| {
                let row = Row {
                    running: true,
                    load: candidate.load,
                    priority: candidate.priority,
                };
                (candidate.node, row)
            })
            .collect();
        optimal(&table)
    }

    /// Whether every serving node is idle, and what is done about it: the last one that came goes, if
    /// the others would not be overloaded without it.
    fn surplus(&mut self, serving: &[(NodeAddr, Option<Permille>)], now: Duration) {
        let idle = |load: &Option<Permille>| load.is_some_and(|load| load < self.rules.low);
        if serving.len() < 2 || !serving.iter().all(|(_, load)| idle(load)) {
            self.idle = None;
            return;
        }
        let whole = Timer::new(now, self.rules.idle_for);
        let long_enough = self.idle.get_or_insert(whole).is_over(now);
        let moving = |known: &Instance| {
            !matches!(
                known.phase,
                Phase::Serving { .. } | Phase::Stopping { late: true, .. }
            )
        };
        if !long_enough || self.state.instances.values().any(moving) {
            return;
        }
        let all: u64 = serving
            .iter()
            .filter_map(|(_, load)| load.map(u64::from))
            .sum();
        let others = u64::try_from(serving.len()).unwrap_or(u64::MAX) - 1;
        if all / others >= u64::from(self.rules.high) {
            return;
        }
        let draining = self.draining(now);
        let last = self
            .state
            .instances
            .values_mut()
            .filter(|known| matches!(known.phase, Phase::Serving { .. }) && !known.pinned)
            .max_by_key(|known| known.number);
        if let Some(last) = last {
            last.phase = draining;
            self.idle = None;
        }
    }

    /// Gives orders that are due, and ends what took too long.
    fn advance(&mut self, node: NodeAddr, now: Duration, actions: &mut Vec<Action>) {
        let Some(mut known) = self.state.instances.get(&node).copied() else {
            return;
        };
        if let Phase::Waiting { retry } = &mut known.phase {
            if retry.is_over(now) {
                known.number = self.next_number();
                known.phase = self.starting(now);
            }
        }
        if let Phase::Starting { limit, .. } = &mut known.phase {
            if limit.is_over(now) {
                self.give_up(node, &mut known, now);
            }
        }
        let number = known.number;
        let order = match &mut known.phase {
            Phase::Starting { again, .. } => Some((again, Action::Start { node, number })),
            Phase::Draining { again, .. } => Some((again, Action::EndDead { node })),
            Phase::Stopping { limit, again, late } => {
                if !*late && limit.is_over(now) {
                    *late = true;
                    self.told.push(Notice::StopLate(node));
                }
                Some((again, Action::Stop { node }))
            }
            _ => None,
        };
        if let Some((again, action)) = order {
            if again.is_over(now) {
                *again = Timer::new(now, self.rules.again);
                actions.push(action);
            }
        }
        self.state.instances.insert(node, known);
    }

    /// Panics where a rule of the machine is broken.
    pub fn check_invariants(&self) {
        let mut numbers: Vec<u64> = Vec::new();
        let mut coming = 0;
        for known in self.state.instances.values() {
            numbers.push(known.number);
            let starts = matches!(known.phase, Phase::Starting { .. } | Phase::Waiting { .. });
            coming += usize::from(starts && !known.pinned && !known.served);
            assert!(
                !starts || known.failures < self.rules.tries.max(1),
                "started too often"
            );
            assert!(known.number <= self.state.number, "a start not counted");
        }
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all, "two starts with one number");
        assert!(coming <= 1, "{coming} starts for one need");
    }
}
