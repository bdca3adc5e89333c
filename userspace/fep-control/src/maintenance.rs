// SPDX-License-Identifier: GPL-2.0

//! Taking a node out of service without breaking a connection.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How far the maintenance of a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its weight is 0 and its clients leave.
    Draining,
    /// It has no routes.
    Done,
    /// It had so many routes left when the time was over. Its weight stays 0.
    Late(u64),
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Wait,
    /// Ask which routes of the node are dead, and end those.
    EndDead,
}

/// The maintenance of one node.
///
/// While it lasts, and until it is dropped, the weight of the node is 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    state: State,
    begun: Duration,
    deadline: Duration,
    every: Duration,
    next: Duration,
    /// The most routes that were counted, and the last count.
    most: u64,
    left: u64,
}

/// How far a maintenance is, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Routes that are left.
    pub left: u64,
    /// The most routes that were counted.
    pub most: u64,
    /// For how long it has gone on.
    pub gone: Duration,
    /// How long it may still go on; zero when it is over.
    pub remaining: Duration,
}

impl Maintenance {
    /// Begins at `now` and ends at `deadline` at the latest; dead routes are ended `every` so often.
    pub fn new(now: Duration, deadline: Duration, every: Duration) -> Self {
        Self {
            state: State::Draining,
            begun: now,
            deadline,
            every,
            next: now,
            most: 0,
            left: 0,
        }
    }

    /// Goes on at `now` with what another life of the daemon saved. Where the clock has begun again
    /// since, so does the time to the deadline.
    pub fn resume(self, now: Duration) -> Self {
        let back = self.begun.saturating_sub(now);
        Self {
            begun: self.begun - back,
            deadline: self.deadline.saturating_sub(back),
            next: now,
            ..self
        }
    }

    /// How far it is at `now`, in numbers.
    pub fn progress(&self, now: Duration) -> Progress {
        let over = self.state != State::Draining;
        Progress {
            left: self.left,
            most: self.most,
            gone: now.saturating_sub(self.begun),
            remaining: if over {
                Duration::ZERO
            } else {
                self.deadline.saturating_sub(now)
            },
        }
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// The node had so many routes at `now`, counted after its weight of 0 was in force.
    pub fn routes(&mut self, routes: u64, now: Duration) -> Action {
        self.left = routes;
        self.most = self.most.max(routes);
        match self.state {
            State::Done => return Action::Wait,
            // Those that were left may go later.
            State::Late(_) if routes > 0 => self.state = State::Late(routes),
            State::Draining if routes > 0 && now >= self.deadline => {
                self.state = State::Late(routes)
            }
            State::Draining if routes > 0 => {}
            State::Draining | State::Late(_) => self.state = State::Done,
        }
        if self.state == State::Draining && now >= self.next {
            self.next = now + self.every;
            return Action::EndDead;
        }
        Action::Wait
    }

    /// Panics where a rule of the machine is broken after `routes` were reported at `now`.
    pub fn check_invariants(&self, routes: u64, now: Duration) {
        match self.state {
            State::Draining => {
                assert!(now < self.deadline, "draining after the deadline");
                assert!(routes > 0, "draining without routes");
            }
            State::Late(left) => assert!(left > 0, "late without routes"),
            State::Done => {}
        }
    }
}
