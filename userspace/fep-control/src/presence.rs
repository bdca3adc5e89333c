// SPDX-License-Identifier: GPL-2.0

//! What is the matter with a node: it is dead, or its agent is, or its service.

use std::time::Duration;

use serde::Serialize;

/// What is known of a node from its agent and its services together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its services answer, and so does its agent if it has one.
    Well,
    /// Its services answer, its agent does not: it keeps its clients, at its configured ratio.
    AgentDead,
    /// Its agent answers, some of its services do not.
    SomeServicesDead,
    /// Its agent answers, none of its services does.
    ServicesDead,
    /// Nothing on it answers.
    Dead,
    /// Some of its services do not answer, and it has no agent or that does not answer either.
    Doubtful,
}

/// What comes from the agent of a node, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    heard: Option<Duration>,
}

impl Heartbeat {
    /// Something came from the agent at `now`.
    pub fn heard(&mut self, now: Duration) {
        self.heard = Some(now);
    }

    /// The link to the agent has ended.
    pub fn lost(&mut self) {
        self.heard = None;
    }

    /// Whether something came within `limit` before `now`.
    pub fn is_alive(&self, limit: Duration, now: Duration) -> bool {
        self.heard
            .is_some_and(|heard| now.saturating_sub(heard) <= limit)
    }
}

/// The standing of a node, of whose services `up` answer and `down` do not. `agent` is whether its
/// agent answers; `None` when it has none.
///
/// Only what a service itself answers decides about its clients; this is what is shown.
pub fn standing(agent: Option<bool>, up: usize, down: usize) -> Standing {
    match (agent, up, down) {
        (Some(false), 0, _) => Standing::Dead,
        (Some(false), _, 0) => Standing::AgentDead,
        (Some(true), 0, 1..) => Standing::ServicesDead,
        (Some(true), _, 1..) => Standing::SomeServicesDead,
        (None, 0, 1..) => Standing::Dead,
        (None | Some(false), _, 1..) => Standing::Doubtful,
        (None | Some(true), _, 0) => Standing::Well,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_agent_is_told_from_a_dead_node() {
        for (agent, up, down, expected) in [
            (Some(true), 2, 0, Standing::Well),
            (Some(true), 0, 0, Standing::Well),
            (Some(false), 2, 0, Standing::AgentDead),
            (Some(false), 0, 2, Standing::Dead),
            (Some(false), 0, 0, Standing::Dead),
            (Some(false), 1, 1, Standing::Doubtful),
            (Some(true), 1, 1, Standing::SomeServicesDead),
            (Some(true), 0, 2, Standing::ServicesDead),
            (None, 1, 0, Standing::Well),
            (None, 1, 1, Standing::Doubtful),
            (None, 0, 1, Standing::Dead),
        ] {
            assert_eq!(standing(agent, up, down), expected, "{agent:?} {up} {down}");
        }
    }

    #[test]
    fn a_heartbeat_ages() {
        let at = Duration::from_secs;
        let mut heartbeat = Heartbeat::default();
        assert!(!heartbeat.is_alive(at(3), at(1)));
        heartbeat.heard(at(1));
        assert!(heartbeat.is_alive(at(3), at(4)) && !heartbeat.is_alive(at(3), at(5)));
        heartbeat.heard(at(5));
        heartbeat.lost();
        assert!(!heartbeat.is_alive(at(3), at(5)));
    }
}
