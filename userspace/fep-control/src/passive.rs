// SPDX-License-Identifier: GPL-2.0

//! What clients have noticed of a node: the filter's counters of SYNs without an answer.

/// The filter's counters of one node of one service; they only grow while the node is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections whose SYN it did not answer: their routes ended by timeout.
    pub unanswered: u64,
    /// Connections whose SYN it answered with a reset.
    pub reset: u64,
    /// SYNs that clients repeated because there was no answer for a second or longer.
    pub repeated: u64,
}

/// What is new in the counters of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    last: Option<Counters>,
}

impl Evidence {
    /// The counters stand so; returns how many signs are new, for
    /// [`Health::missed`](crate::health::Health::missed).
    ///
    /// The first look says nothing, as it is not known when that was counted. Counters that went back
    /// are those of a node that was removed and added again, and are all new.
    pub fn counted(&mut self, counters: Counters) -> u32 {
        let Some(last) = self.last.replace(counters) else {
            return 0;
        };
        let new = |last: u64, now: u64| now.checked_sub(last).unwrap_or(now);
        let signs = new(last.unanswered, counters.unanswered)
            .saturating_add(new(last.reset, counters.reset))
            .saturating_add(new(last.repeated, counters.repeated));
        u32::try_from(signs).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_counts() {
        let at = |unanswered, reset, repeated| Counters {
            unanswered,
            reset,
            repeated,
        };
        let mut evidence = Evidence::default();
        assert_eq!(evidence.counted(at(5, 5, 5)), 0);
        assert_eq!(evidence.counted(at(5, 7, 6)), 3);
        assert_eq!(evidence.counted(at(5, 7, 6)), 0);
        assert_eq!(evidence.counted(at(0, 1, 0)), 1, "the node was added again");
    }
}
