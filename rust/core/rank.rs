// SPDX-License-Identifier: GPL-2.0

//! Which nodes come first for new clients: by reported load (D3), or by tiers of priority.

/// A node that may be given new clients, as it ranks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rank {
    /// The load as last reported; only compared.
    pub load: u32,
    /// The priority: the lower number comes first.
    pub priority: u32,
    /// Which node this is. No two have the same.
    pub index: u32,
}

impl Rank {
    /// Whether a new client is given this node before `other`: for the lower load, of equal loads for
    /// the better priority (D3), and then for the smaller index.
    #[inline]
    fn before(&self, other: &Self) -> bool {
        let key = |rank: &Self| (rank.load, rank.priority, rank.index);
        key(self) < key(other)
    }
}

/// Puts the best node in front, where [`best`] looks first.
pub fn lead(ranks: &mut [Rank]) {
    if let Some((first, others)) = ranks.split_first_mut() {
        for other in others {
            if other.before(first) {
                core::mem::swap(first, other);
            }
        }
    }
}

/// The best node that is acceptable (D3), of ranks as [`lead`] left them. Looks at one if that is, else
/// at each once.
#[inline]
pub fn best(ranks: &[Rank], mut acceptable: impl FnMut(u32) -> bool) -> Option<u32> {
    let (first, others) = ranks.split_first()?;
    if acceptable(first.index) {
        return Some(first.index);
    }
    let mut best: Option<&Rank> = None;
    for rank in others {
        if best.is_none_or(|best| rank.before(best)) && acceptable(rank.index) {
            best = Some(rank);
        }
    }
    best.map(|rank| rank.index)
}

/// The best priority there is: nodes with any other number get no new clients from a scheduler that
/// works with tiers. `None` when there is no node.
pub fn tier(priorities: impl IntoIterator<Item = u32>) -> Option<u32> {
    priorities.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: u32 = 0;
    const A: u32 = 1;
    const B: u32 = 2;
    const C: u32 = 3;

    fn of(loads: &[(u32, u32, u32)]) -> Option<u32> {
        let mut ranks: std::vec::Vec<_> = loads
            .iter()
            .map(|&(index, load, priority)| Rank {
                load,
                priority,
                index,
            })
            .collect();
        lead(&mut ranks);
        best(&ranks, |_| true)
    }

    #[test]
    fn worked_examples_of_d3() {
        // Loads {master 60, A 20, B 50, C 70}, priorities 1 to 4.
        let table = [(MASTER, 60, 1), (A, 20, 2), (B, 50, 3), (C, 70, 4)];
        assert_eq!(of(&table), Some(A));
        // A and B both 20.
        assert_eq!(
            of(&[(MASTER, 60, 1), (B, 20, 3), (A, 20, 2), (C, 70, 4)]),
            Some(A)
        );
        // The group {B 50, C 70}.
        assert_eq!(of(&[(B, 50, 3), (C, 70, 4)]), Some(B));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn unacceptable_nodes_are_passed_over_in_order() {
        let mut ranks =
            [(C, 70, 1), (A, 20, 2), (B, 20, 1), (MASTER, 60, 0)].map(|(index, load, priority)| {
                Rank {
                    load,
                    priority,
                    index,
                }
            });
        lead(&mut ranks);
        let mut refused = std::vec::Vec::new();
        for expected in [B, A, MASTER, C] {
            let chosen = best(&ranks, |index| !refused.contains(&index));
            assert_eq!(chosen, Some(expected));
            refused.push(expected);
        }
        assert_eq!(best(&ranks, |index| !refused.contains(&index)), None);
    }

    #[test]
    fn best_tier_is_the_lowest_number() {
        assert_eq!(tier([3, 1, 2, 1]), Some(1));
        assert_eq!(tier([]), None);
    }
}
