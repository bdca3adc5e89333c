// SPDX-License-Identifier: GPL-2.0

//! The ratio of a node by its load: smoothed, in bounded steps, with hysteresis.

use std::time::Duration;

/// A load or a ratio, in thousandths: 1000 is a whole one.
pub type Permille = u32;

/// When the ratio of a node changes, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Below this load the ratio is restored.
    pub low: Permille,
    /// Above this load the ratio is lowered. Larger than `low`.
    pub high: Permille,
    /// The largest change of the ratio in one step; 1 at least.
    pub step: Permille,
    /// The ratio is never below this; from 1 to 1000.
    pub floor: Permille,
    /// So many reports are smoothed before each step, so that it answers to what the step before
    /// has done; 1 at least.
    pub settle: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            low: 600,
            high: 800,
            step: 200,
            floor: 50,
            settle: 5,
        }
    }
}

/// The load of one node, and the share of its weight that it gets for it.
#[derive(Clone, Debug)]
pub struct Load {
    rules: Rules,
    smoothed: Option<Permille>,
    reports: u32,
    ratio: Permille,
    last: Option<Permille>,
    /// When the last report came, or the last step without one was made.
    heard: Option<Duration>,
}

impl Load {
    /// A node without reports, which has its whole weight.
    pub fn new(rules: Rules) -> Self {
        Self::resume(rules, 1000)
    }

    /// A node without reports, which had the share `ratio` in another life of the daemon.
    pub fn resume(rules: Rules, ratio: Permille) -> Self {
        Self {
            rules,
            smoothed: None,
            reports: 0,
            ratio: ratio.clamp(rules.floor.clamp(1, 1000), 1000),
            last: None,
            heard: None,
        }
    }

    /// The last report that has not expired.
    pub fn last(&self) -> Option<Permille> {
        self.last
    }

    /// As [`reported`](Self::reported), at `now`.
    pub fn reported_at(&mut self, load: Permille, now: Duration) -> bool {
        self.heard = Some(now);
        self.reported(load)
    }

    /// Nothing may have been reported for `expiry` at `now`. What was reported is then forgotten, and
    /// the ratio goes back to the configured one by a step every `expiry`. Returns whether it changed.
    pub fn silent(&mut self, expiry: Duration, now: Duration) -> bool {
        let heard = *self.heard.get_or_insert(now);
        if now.saturating_sub(heard) <= expiry {
            return false;
        }
        self.heard = Some(now);
        self.last = None;
        self.smoothed = None;
        self.reports = 0;
        let ratio = self.ratio.saturating_add(self.rules.step).min(1000);
        std::mem::replace(&mut self.ratio, ratio) != ratio
    }

    /// The share of its weight that the node gets.
    pub fn ratio(&self) -> Permille {
        self.ratio
    }

    /// The smoothed load; `None` until the first report after a step.
    pub fn smoothed(&self) -> Option<Permille> {
        self.smoothed
    }

    /// The node reported its load. Returns whether the ratio changed.
    ///
    /// A step aims at the middle between the two thresholds. What was smoothed before it is
    /// forgotten with it.
    pub fn reported(&mut self, load: Permille) -> bool {
        let load = load.min(1_000_000);
        // An average with a quarter for the newest.
        let smoothed = self.smoothed.map_or(load, |old| (old * 3 + load) / 4);
        self.smoothed = Some(smoothed);
        self.last = Some(load);
        self.reports = self.reports.saturating_add(1);
        let Rules {
            low,
            high,
            step,
            floor,
            settle,
        } = self.rules;
        if self.reports < settle || (low..=high).contains(&smoothed) {
            return false;
        }
        let middle = u64::from(low) + u64::from(high.saturating_sub(low)) / 2;
        let aim = match u64::from(smoothed) {
            0 => 1000,
            smoothed => u64::from(self.ratio) * middle / smoothed,
        };
        let aim = u32::try_from(aim).unwrap_or(1000);
        let ratio = aim
            .clamp(self.ratio.saturating_sub(step), self.ratio + step)
            .clamp(floor, 1000);
        if ratio == self.ratio {
            return false;
        }
        self.ratio = ratio;
        self.smoothed = None;
        self.reports = 0;
        true
    }

    /// Panics where a rule of the machine is broken.
    pub fn check_invariants(&self) {
        assert!(
            self.ratio >= self.rules.floor.max(1),
            "a ratio of {}",
            self.ratio
        );
        assert!(self.ratio <= 1000, "a ratio of {}", self.ratio);
    }
}
