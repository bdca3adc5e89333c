// SPDX-License-Identifier: GPL-2.0

//! A span of time that can be saved and gone on with by another life of the daemon.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A span of time that began at a moment.
///
/// The clock goes on while the daemon is away, so a saved span does too. Where the clock has begun
/// again, because the machine was started again, the span begins again with it: what waits for its end
/// waits once more, but never for longer than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    begun: Duration,
    length: Duration,
}

impl Timer {
    /// A span of `length` that begins at `now`.
    pub fn new(now: Duration, length: Duration) -> Self {
        Self { begun: now, length }
    }

    /// Whether it is over at `now`.
    pub fn is_over(&mut self, now: Duration) -> bool {
        self.begun = self.begun.min(now);
        self.gone(now) >= self.length
    }

    /// How much of it is gone at `now`; it goes on after its end.
    pub fn gone(&self, now: Duration) -> Duration {
        now.saturating_sub(self.begun)
    }

    /// How much of it is left at `now`.
    pub fn left(&self, now: Duration) -> Duration {
        self.length.saturating_sub(self.gone(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_began_again_ends_the_span_once_more() {
        let at = Duration::from_secs;
        let mut timer = Timer::new(at(100), at(10));
        assert!(!timer.is_over(at(109)) && timer.is_over(at(110)));
        assert!(!timer.is_over(at(5)), "the machine was started again");
        assert_eq!(timer.left(at(6)), at(9));
        assert!(timer.is_over(at(15)));
    }
}
