// SPDX-License-Identifier: GPL-2.0

//! Whether a node answers for a service: rise and fall, jitter, passive evidence, damping.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a node counts as failed, and as returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// The time from one check to the next.
    pub interval: Duration,
    /// By how much of the interval a check may come early, in percent; 100 at most.
    pub jitter_percent: u32,
    /// So many good checks in a row bring a failed node back; 1 at least.
    pub rise: u32,
    /// So many bad checks in a row make a node failed; 1 at least.
    pub fall: u32,
    /// So many clients without an answer, with no good check between them, make a node failed;
    /// 0 turns this off.
    pub passive: u32,
    /// A failed node stays away for this long at least.
    pub hold: Duration,
    /// The hold doubles with each failure soon after a return, up to this.
    pub hold_max: Duration,
    /// A node that stayed up for this long starts again with the short hold.
    pub calm: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            jitter_percent: 10,
            rise: 2,
            fall: 3,
            passive: 3,
            hold: Duration::from_secs(1),
            hold_max: Duration::from_secs(60),
            calm: Duration::from_secs(60),
        }
    }
}

/// Whether a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It does, since then.
    Up {
        /// When it came up.
        since: Duration,
    },
    /// It does not, since then.
    Down {
        /// When it failed.
        since: Duration,
    },
}

/// What brought a node to the state it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It was so when the daemon started.
    Start,
    /// Checks.
    Checks,
    /// Clients that got no answer.
    Clients,
}

/// What another life of the daemon needs of a node's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    state: State,
    cause: Cause,
    hold: Duration,
    returned: bool,
}

/// The health of one node for one service.
#[derive(Clone, Debug)]
pub struct Health {
    thresholds: Thresholds,
    state: State,
    cause: Cause,
    /// Results in a row that speak against the state.
    streak: u32,
    /// Clients without an answer since the last good check.
    missed: u32,
    hold: Duration,
    /// Whether the node came back from a failure that was seen, so that another is a relapse.
    returned: bool,
    next_check: Duration,
}

impl Health {
    /// A node that was `up` or failed at `now`, when the daemon started or the node was added.
    ///
    /// Its first check is due within the interval, spread by `random`.
    pub fn new(thresholds: Thresholds, up: bool, now: Duration, random: u64) -> Self {
        let spread = u32::try_from(random % 1000).unwrap_or(0);
        Self {
            thresholds,
            state: if up {
                State::Up { since: now }
            } else {
                State::Down { since: now }
            },
            cause: Cause::Start,
            streak: 0,
            missed: 0,
            hold: thresholds.hold.min(thresholds.hold_max),
            returned: false,
            next_check: now + thresholds.interval * spread / 1000,
        }
    }

    /// What is to be saved; `None` when the filter's mark says all there is to say.
    pub fn saved(&self) -> Option<Saved> {
        let saved = Saved {
            state: self.state,
            cause: self.cause,
            hold: self.hold,
            returned: self.returned,
        };
        (self.returned || !self.is_up()).then_some(saved)
    }

    /// Goes on from `saved` at `now`, as [`new`](Self::new) does from the filter's mark.
    pub fn resume(thresholds: Thresholds, saved: Saved, now: Duration, random: u64) -> Self {
        let since = |since: Duration| since.min(now);
        Self {
            state: match saved.state {
                State::Up { since: then } => State::Up { since: since(then) },
                State::Down { since: then } => State::Down { since: since(then) },
            },
            cause: saved.cause,
            hold: saved.hold.min(thresholds.hold_max),
            returned: saved.returned,
            ..Self::new(thresholds, true, now, random)
        }
    }

    /// Whether it answers.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Why it is in this state.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// When it is to be checked next.
    pub fn next_check(&self) -> Duration {
        self.next_check
    }

    /// Whether it came back from a failure, so that it gets its clients slowly.
    pub fn has_returned(&self) -> bool {
        self.returned && self.is_up()
    }

    /// How long the failure that is, or the next one, keeps the node away at least.
    pub fn hold(&self) -> Duration {
        self.hold
    }

    /// Sets the time of the next check, when one begins at `now`.
    pub fn check_begins(&mut self, now: Duration, random: u64) {
        let percent = u64::from(self.thresholds.jitter_percent.min(100));
        let early = u32::try_from(random % (percent + 1)).unwrap_or(0);
        self.next_check = now + self.thresholds.interval * (100 - early) / 100;
    }

    /// A check ended at `now`. Returns whether the state changed.
    ///
    /// After a bad check of a node that is up the next one is due an eighth of the interval later. With
    /// a `fall` of 3, and checks that end within half an interval, a dead node has failed within three
    /// intervals.
    pub fn checked(&mut self, good: bool, now: Duration) -> bool {
        if good {
            self.missed = 0;
        }
        if good == self.is_up() {
            self.streak = 0;
            return false;
        }
        self.streak = self.streak.saturating_add(1);
        match self.state {
            State::Up { .. } if self.streak >= self.thresholds.fall => {
                self.fail(Cause::Checks, now)
            }
            State::Down { since }
                if self.streak >= self.thresholds.rise
                    && now.saturating_sub(since) >= self.hold =>
            {
                self.state = State::Up { since: now };
                self.cause = Cause::Checks;
                self.streak = 0;
                self.returned = true;
            }
            State::Up { .. } => {
                self.hasten(now + self.thresholds.interval / 8);
                return false;
            }
            State::Down { .. } => return false,
        }
        true
    }

    fn hasten(&mut self, check: Duration) {
        self.next_check = self.next_check.min(check);
    }

    /// The filter counted `clients` more that got no answer. Returns whether the state changed.
    ///
    /// A good check takes back what was counted before it: clients alone, whose addresses may be
    /// forged, do not fail a node that answers its checks in time.
    pub fn missed(&mut self, clients: u32, now: Duration) -> bool {
        let enough = self.thresholds.passive;
        if enough == 0 || !self.is_up() {
            return false;
        }
        self.missed = self.missed.saturating_add(clients);
        if self.missed < enough {
            if clients > 0 {
                // A check says which it is, and forged clients cost no more than four an interval.
                self.hasten(now + self.thresholds.interval / 4);
            }
            return false;
        }
        self.fail(Cause::Clients, now);
        true
    }

    fn fail(&mut self, cause: Cause, now: Duration) {
        if let State::Up { since } = self.state {
            let relapse = self.returned && now.saturating_sub(since) < self.thresholds.calm;
            self.hold = if relapse {
                self.hold * 2
            } else {
                self.thresholds.hold
            };
            self.hold = self.hold.min(self.thresholds.hold_max);
        }
        self.state = State::Down { since: now };
        self.cause = cause;
        self.streak = 0;
        self.missed = 0;
    }

    /// Panics where a rule of the machine is broken.
    pub fn check_invariants(&self) {
        assert!(
            self.hold <= self.thresholds.hold_max,
            "a hold over its limit"
        );
        match self.state {
            State::Up { .. } => {
                assert!(
                    self.streak < self.thresholds.fall.max(1),
                    "up after enough bad checks"
                );
                assert!(
                    self.thresholds.passive == 0 || self.missed < self.thresholds.passive,
                    "up after enough clients without an answer"
                );
            }
            State::Down { .. } => assert_eq!(self.missed, 0, "clients counted for a failed node"),
        }
    }
}
