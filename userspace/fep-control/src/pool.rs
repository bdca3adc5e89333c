// SPDX-License-Identifier: GPL-2.0

//! Which nodes of a service get clients: the bounded share that is taken out, and slow start.

use std::collections::BTreeMap;
use std::time::Duration;

use fep_client::NodeAddr;

use crate::health::{Health, State};

/// What happens when no node of a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllDown {
    /// The bound holds, and one node is kept at least: those that failed last are kept, with an alarm.
    Keep,
    /// Every node is taken out, so that new clients are refused or go to a sorry server.
    Refuse,
}

/// The rules of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The largest share of the nodes that is taken out, in percent; 100 at most.
    pub max_ejected_percent: u32,
    /// What happens when no node answers.
    pub all_down: AllDown,
    /// For how long a node that came back gets less than its weight; zero turns this off.
    pub slow_start: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            max_ejected_percent: 50,
            all_down: AllDown::Keep,
            slow_start: Duration::from_secs(10),
        }
    }
}

/// What is decided about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It serves, with so many percent of its weight; 10 to 100.
    Serve(u32),
    /// It does not answer, and is kept because too many would be out. This is an alarm.
    Kept,
    /// It is marked failed.
    Ejected,
}

/// The nodes of a service.
#[derive(Clone, Debug)]
pub struct Pool {
    rules: Rules,
    /// The health of each.
    pub nodes: BTreeMap<NodeAddr, Health>,
}

impl Pool {
    /// A service without nodes.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            nodes: BTreeMap::new(),
        }
    }

    /// How many nodes may be out at once.
    ///
    /// One may be when the share is not zero and there is another: the share of two or three nodes
    /// would otherwise round to none.
    pub fn most_ejected(&self) -> usize {
        self.most_ejected_of(self.nodes.len())
    }

    /// How many of so many nodes may be out at once.
    pub fn most_ejected_of(&self, nodes: usize) -> usize {
        let percent = self.rules.max_ejected_percent.min(100) as usize;
        let most = nodes * percent / 100;
        if percent > 0 && nodes > 1 {
            most.max(1)
        } else {
            most
        }
    }

    /// The verdict on each node at `now`.
    ///
    /// The nodes that failed first are out first, so that a later failure brings none back.
    pub fn verdicts(&self, now: Duration) -> BTreeMap<NodeAddr, Verdict> {
        self.verdicts_without(now, |_| false)
    }

    /// The same, where some nodes are `drained`: they get no clients, so the bound is of the others. A
    /// drained node that does not answer is out, whatever the bound is.
    pub fn verdicts_without(
        &self,
        now: Duration,
        drained: impl Fn(&NodeAddr) -> bool,
    ) -> BTreeMap<NodeAddr, Verdict> {
        let mut base = 0;
        let mut serving = 0;
        let mut down: Vec<(Duration, NodeAddr)> = Vec::new();
        let mut verdicts = BTreeMap::new();
        for (&node, health) in &self.nodes {
            let drained = drained(&node);
            base += usize::from(!drained);
            match health.state() {
                State::Up { since } => {
                    serving += usize::from(!drained);
                    verdicts.insert(node, Verdict::Serve(self.percent(health, since, now)));
                }
                State::Down { .. } if drained => {
                    verdicts.insert(node, Verdict::Ejected);
                }
                State::Down { since } => down.push((since, node)),
            }
        }
        down.sort_unstable();
        let refuse = serving == 0 && self.rules.all_down == AllDown::Refuse;
        let most = if refuse {
            down.len()
        } else {
            // Whatever the share is, one is kept.
            self.most_ejected_of(base).min(base.saturating_sub(1))
        };
        for (place, (_, node)) in down.into_iter().enumerate() {
            let verdict = if place < most {
                Verdict::Ejected
            } else {
                Verdict::Kept
            };
            verdicts.insert(node, verdict);
        }
        verdicts
    }

    /// The share of its weight a node gets that came up at `since`: in tenths, so that a slow start
    /// costs ten changes and no more.
    fn percent(&self, health: &Health, since: Duration, now: Duration) -> u32 {
        let whole = self.rules.slow_start.as_millis();
        let gone = now.saturating_sub(since).as_millis();
        if !health.has_returned() || gone >= whole {
            return 100;
        }
        let tenths = u32::try_from(gone * 10 / whole).unwrap_or(10);
        tenths.clamp(1, 10) * 10
    }

    /// Panics where a rule of the machine is broken at `now`.
    pub fn check_invariants(&self, now: Duration) {
        let verdicts = self.verdicts(now);
        assert_eq!(verdicts.len(), self.nodes.len(), "a node without a verdict");
        let ejected = verdicts
            .values()
            .filter(|&&v| v == Verdict::Ejected)
            .count();
        let refused = self.rules.all_down == AllDown::Refuse && ejected == verdicts.len();
        assert!(
            ejected <= self.most_ejected() || refused,
            "too many nodes are out"
        );
        for (node, health) in &self.nodes {
            health.check_invariants();
            match verdicts[node] {
                Verdict::Serve(percent) => {
                    assert!(health.is_up(), "a failed node serves");
                    assert!(
                        (10..=100).contains(&percent),
                        "a share of {percent} percent"
                    );
                }
                Verdict::Kept | Verdict::Ejected => assert!(!health.is_up(), "a good node is out"),
            }
        }
    }
}
