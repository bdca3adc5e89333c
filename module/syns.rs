// SPDX-License-Identifier: GPL-2.0

//! What a node does not answer.

use fep_net::word::Word;

/// Connections that a node did not take, and signs of them.
pub(crate) struct Syns {
    /// Routes that ended without an answer to the client's SYN.
    pub(crate) unanswered: Word<i64>,
    /// SYNs that the node answered with a reset.
    pub(crate) reset: Word<i64>,
    /// SYNs that were repeated without an answer.
    pub(crate) repeated: Word<i64>,
}

impl Syns {
    /// None.
    pub(crate) const fn new() -> Self {
        Self {
            unanswered: Word::new(0),
            reset: Word::new(0),
            repeated: Word::new(0),
        }
    }

    /// All of them.
    pub(crate) fn sum(&self) -> i64 {
        let [a, b, c] = [&self.unanswered, &self.reset, &self.repeated].map(Word::get);
        a.wrapping_add(b).wrapping_add(c)
    }
}
