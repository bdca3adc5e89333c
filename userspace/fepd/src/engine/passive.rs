// SPDX-License-Identifier: GPL-2.0

//! Clients without an answer, by the filter's counters.

use fep_client::NodeDetails;

/// The counters of a node when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Counters {
    seen: Option<u64>,
}

impl Counters {
    /// How many clients got no answer since last time. The first look only remembers, and so does
    /// one at counters that were set back, as by a module that was loaded again.
    pub(super) fn more(&mut self, node: &NodeDetails) -> u32 {
        let now = node
            .syn_unanswered
            .saturating_add(node.syn_reset)
            .saturating_add(node.syn_repeated);
        let before = self.seen.replace(now).unwrap_or(now);
        u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX)
    }
}
