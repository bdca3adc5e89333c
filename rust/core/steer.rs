// SPDX-License-Identifier: GPL-2.0

//! Steering: new clients are given so that the live distribution converges on the weights (F7).
//!
//! Shares of new clients say nothing of what is in service: connections last for different times, nodes
//! come and go. Here a new client is given the node with the fewest live routes for its weight, which is
//! the one whose next route is due first when the routes there are count as its picks so far: the rule
//! of [`wrr`](crate::wrr), with live routes in the place of past picks. Hence, when enough clients have
//! come to fill up those that are behind, the live distribution is what [`wrr`](crate::wrr) would have
//! made of it, and a node with the share s of n has its part of R routes, up to (1 + (n - 2) * s) / 2.
//!
//! Up to [`ALL`] nodes are all compared. Of more, only the [`WINDOW`] that [`wrr`](crate::wrr) would pick
//! next are, and all of these count as picked there, so that every node is looked at in proportion to its
//! weight.

/// As many nodes are all compared for each new client.
pub const ALL: usize = 64;

/// So many are compared for each new client when there are more.
pub const WINDOW: usize = 16;

/// What a node has, and what it ought to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Live {
    /// Its weight.
    pub weight: u32,
    /// Its live routes.
    pub routes: u32,
}

impl Live {
    /// Whether a new client is due here before `other`: (2 * routes + 1) / (2 * weight), compared
    /// exactly. OVERFLOW: with `weight <= WEIGHT_MAX` the products have 49 bits.
    #[inline]
    fn due_before(&self, other: &Self) -> bool {
        let due = |live: &Self, weight: u32| {
            u64::from(live.routes)
                .saturating_mul(2)
                .saturating_add(1)
                .saturating_mul(u64::from(weight))
        };
        due(self, other.weight) < due(other, self.weight)
    }
}

/// The candidate that a new client is given: of several that are due at once the first. Never one with
/// weight 0, or one that is not acceptable. Looks at each once.
#[inline]
pub fn choose<T>(
    candidates: impl IntoIterator<Item = (T, Live)>,
    mut acceptable: impl FnMut(&T) -> bool,
) -> Option<T> {
    let mut best: Option<(T, Live)> = None;
    for (candidate, live) in candidates {
        let better = best.as_ref().is_none_or(|(_, best)| live.due_before(best));
        if live.weight != 0 && better && acceptable(&candidate) {
            best = Some((candidate, live));
        }
    }
    best.map(|(candidate, _)| candidate)
}
