// SPDX-License-Identifier: GPL-2.0

//! Taking a node out of service without breaking a connection.

use std::time::Duration;

/// How far the maintenance of a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug)]
pub struct Maintenance {
    state: State,
    deadline: Duration,
    every: Duration,
    next: Duration,
}

impl Maintenance {
    /// Begins at `now` and ends at `deadline` at the latest; dead routes are ended `every` so often.
    pub fn new(now: Duration, deadline: Duration, every: Duration) -> Self {
        Self {
            state: State::Draining,
            deadline,
            every,
            next: now,
        }
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// The node had so many routes at `now`, counted after its weight of 0 was in force.
    pub fn routes(&mut self, routes: u64, now: Duration) -> Action {
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
