// SPDX-License-Identifier: GPL-2.0

//! A model of the daemon around the control plane, which can be killed between any two of its steps.

use std::time::Duration;

use fep_client::change::Change;
use fep_client::diff::diff;
use fep_client::Config;
use fep_control::plane::{Action, Plane, Rules, Saved};

use crate::filter::Filter;
use crate::random::Random;
use crate::TICK;

/// After which of its steps the daemon is killed in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// It decided.
    Decided,
    /// It saved its state.
    Saved,
    /// It changed the filter.
    Committed,
    /// It did the first half of the actions.
    Half,
}

impl Kill {
    pub(crate) const ALL: [Self; 4] = [Self::Decided, Self::Saved, Self::Committed, Self::Half];
}

pub(crate) struct Daemon {
    pub(crate) rules: Rules,
    pub(crate) desired: Config,
    /// The state machine, while it lives.
    pub(crate) plane: Option<Plane>,
    /// The file, as text.
    pub(crate) file: String,
    last: Option<Saved>,
    /// Its clock.
    pub(crate) now: Duration,
}

/// What came of an interval.
pub(crate) struct Done {
    /// What was committed, if nobody came between.
    pub(crate) committed: Option<Vec<Change>>,
    pub(crate) actions: Vec<Action>,
}

impl Daemon {
    pub(crate) fn new(rules: Rules, desired: Config) -> Self {
        Self {
            rules,
            desired,
            plane: None,
            file: "{}".to_owned(),
            last: None,
            now: TICK,
        }
    }

    pub(crate) fn start(&mut self, filter: &Filter, random: &mut Random) {
        let saved: Saved = serde_json::from_str(&self.file).expect("what was saved");
        self.last = Some(saved.clone());
        let plane = Plane::new(
            self.rules.clone(),
            self.desired.clone(),
            &filter.config,
            saved,
            self.now,
            || random.next(),
        );
        self.plane = Some(plane);
    }

    /// One interval; the filter is `busy` when another changes it at the same time.
    pub(crate) fn interval(&mut self, filter: &mut Filter, busy: bool, kill: Option<Kill>) -> Done {
        let mut done = Done {
            committed: None,
            actions: Vec::new(),
        };
        let plane = self.plane.as_mut().expect("it lives");
        let mut actions = plane.step(self.now);
        plane.check_invariants(self.now);
        let (saved, wanted) = (plane.saved(), plane.wanted(self.now));
        if kill.is_some() {
            self.plane = None;
        }
        if kill == Some(Kill::Decided) {
            return done;
        }
        if self.last.as_ref() != Some(&saved) {
            self.file = serde_json::to_string(&saved).expect("it can be written");
            self.last = Some(saved);
        }
        if kill == Some(Kill::Saved) {
            return done;
        }
        if !busy {
            let changes = diff(&filter.config, &wanted);
            filter.commit(&changes, wanted);
            done.committed = Some(changes);
        }
        if kill == Some(Kill::Committed) {
            return done;
        }
        if kill == Some(Kill::Half) {
            actions.truncate(actions.len() / 2);
        }
        done.actions = actions;
        done
    }
}
