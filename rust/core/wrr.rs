// SPDX-License-Identifier: GPL-2.0

//! Smooth weighted round robin: which back-end node a new client is given (F2).
//!
//! A cycle is as many picks as the sum of the weights. Pick number k (from 0) of a node with weight
//! w is due at (2k + 1) / 2w of the cycle, in the middle of the k-th of w equal parts; the earliest
//! due is picked next, of several the one with the smallest index. (Apportionment knows this rule
//! as Webster's or Sainte-Laguë's.) Hence:
//!
//! - A cycle gives each node exactly its weight, since w of its picks are due before the cycle's
//!   end. So does each part of it that is one g-th of a cycle, when g divides all weights.
//! - When the clock stands at x of a cycle, a node has had w * x picks, up to half a pick. Summed
//!   up over n nodes: after t picks a node with the share s = w / W has had t * s, up to
//!   (1 + (n - 2) * s) / 2.
//!
//! The slots are a binary heap in the caller's storage, so a pick costs O(log n).

/// A node that new clients may be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// The weight: picks in a cycle. A slot with weight 0 is never picked.
    pub weight: u32,
    /// Picks in this cycle so far: at most `weight`, unless other slots were passed over.
    pub done: u32,
    /// What [`next`] returns: which node this is. No two slots have the same.
    pub index: u32,
}

impl Slot {
    /// Whether the slot's next pick is due before that of `other`.
    ///
    /// Compares (2 * done + 1) / (2 * weight) exactly, by cross multiplication. OVERFLOW: with
    /// `done <= weight <= WEIGHT_MAX` the products have 33 bits; beyond 31 bits they saturate, which
    /// costs precision only. A weight of 0 is due at infinity.
    #[inline]
    fn due_before(&self, other: &Self) -> bool {
        let due = |slot: &Self, weight: u32| {
            u64::from(slot.done)
                .saturating_mul(2)
                .saturating_add(1)
                .saturating_mul(u64::from(weight))
        };
        let (mine, theirs) = (due(self, other.weight), due(other, self.weight));
        mine < theirs || (mine == theirs && self.index < other.index)
    }

    /// The order of a heap whose root has the largest index.
    #[inline]
    fn index_after(&self, other: &Self) -> bool {
        self.index > other.index
    }
}

/// Which of two slots is nearer the root of a heap.
type Order = fn(&Slot, &Slot) -> bool;

/// Lets the slot at `hole` sink to where the heap below it is in order.
#[inline]
fn sink(heap: &mut [Slot], mut hole: usize, order: Order) {
    let Some(&slot) = heap.get(hole) else {
        return;
    };
    // A slice of slots is at most isize::MAX bytes long, so nothing saturates.
    loop {
        let left = hole.saturating_mul(2).saturating_add(1);
        let right = left.saturating_add(1);
        let Some(&child) = heap.get(left) else {
            break;
        };
        let (child, next) = match heap.get(right) {
            Some(&other) if order(&other, &child) => (other, right),
            _ => (child, left),
        };
        if !order(&child, &slot) {
            break;
        }
        if let Some(place) = heap.get_mut(hole) {
            *place = child;
        }
        hole = next;
    }
    if let Some(place) = heap.get_mut(hole) {
        *place = slot;
    }
}

/// Makes a heap of slots in any order, in O(n).
fn heapify(slots: &mut [Slot], order: Order) {
    for parent in (0..slots.len() / 2).rev() {
        sink(slots, parent, order);
    }
}

/// Sorts by index (heap sort: neither allocation nor a panic path).
fn sort_by_index(slots: &mut [Slot]) {
    heapify(slots, Slot::index_after);
    let mut rest = slots;
    while let [first, .., last] = rest {
        // Then the largest index of `rest` is last, and the others are a heap but for its root.
        core::mem::swap(first, last);
        let Some((_, shorter)) = rest.split_last_mut() else {
            return;
        };
        sink(shorter, 0, Slot::index_after);
        rest = shorter;
    }
}

/// Puts the slots in the order that [`next`] expects, in O(n).
pub fn build(slots: &mut [Slot]) {
    heapify(slots, Slot::due_before);
}

/// Picks a slot and returns its `index` (F2), or `None` when no slot has a weight.
///
/// `slots` are as [`build`], [`carry`], `next` or [`next_where`] left them.
#[inline]
pub fn next(slots: &mut [Slot]) -> Option<u32> {
    next_where(slots, |_| true)
}

/// Picks the earliest due of the slots whose `index` is acceptable, or returns `None` and picks
/// nothing when there is none with a weight.
///
/// Costs as much as [`next`] when that slot is the earliest due of all, else O(n). The slots that
/// were passed over stay due, so they are picked the sooner afterwards.
#[inline]
pub fn next_where(slots: &mut [Slot], mut acceptable: impl FnMut(u32) -> bool) -> Option<u32> {
    let &first = slots.first()?;
    if first.weight == 0 {
        return None;
    }
    if first.done >= first.weight {
        // Due after the cycle's end, and the others after it: all have had their picks. Taking one
        // cycle off every slot changes no order.
        for slot in slots.iter_mut() {
            slot.done = slot.done.saturating_sub(slot.weight);
        }
    }
    let at = if acceptable(first.index) {
        0
    } else {
        earliest_behind_first(slots, acceptable)?
    };
    let slot = slots.get_mut(at)?;
    slot.done = slot.done.saturating_add(1);
    let index = slot.index;
    sink(slots, at, Slot::due_before);
    Some(index)
}

/// Where the earliest due acceptable slot is, the first one aside.
#[cold]
fn earliest_behind_first(slots: &[Slot], mut acceptable: impl FnMut(u32) -> bool) -> Option<usize> {
    let mut best: Option<(usize, &Slot)> = None;
    // Not `enumerate()`: its counter is checked for overflow, which is a panic path.
    for at in 1..slots.len() {
        let Some(slot) = slots.get(at).filter(|slot| slot.weight > 0) else {
            continue;
        };
        let earlier = best.is_none_or(|(_, best)| slot.due_before(best));
        if earlier && acceptable(slot.index) {
            best = Some((at, slot));
        }
    }
    best.map(|(at, _)| at)
}

/// Starts a new set of slots where an old one stands, on a change of the configuration (F2, F7).
///
/// `old` are slots in use; in `slots` each has its new weight and its index, and whatever `done`.
/// Slots with the same index are the same node.
///
/// The clock goes on: with x of the old cycle over, a node that would have had w * x picks by its
/// old weight ought to have had w' * x by its new one. What it is ahead or behind, less than a few
/// picks, it stays; a newcomer is neither. So no node catches up in a burst, and nodes whose weight
/// did not change go on as if nothing had happened.
pub fn carry(old: &[Slot], slots: &mut [Slot]) {
    // OVERFLOW: 4096 slots of 32 bits are 44 bits; times twice a weight of 16 bits, 61.
    let sum = |of: fn(&Slot) -> u32| {
        old.iter()
            .fold(0u64, |sum, slot| sum.saturating_add(u64::from(of(slot))))
    };
    let picks = sum(|slot| slot.done);
    let weights = sum(|slot| slot.weight);
    // `weight` times x, rounded to the nearest; `None` when there was no cycle.
    let share = |weight: u32| {
        u64::from(weight)
            .saturating_mul(2)
            .saturating_mul(picks)
            .saturating_add(weights)
            .checked_div(weights.saturating_mul(2))
    };

    for slot in slots.iter_mut() {
        slot.done = clamp(share(slot.weight), slot.weight);
    }
    sort_by_index(slots);
    for before in old {
        let Ok(at) = slots.binary_search_by_key(&before.index, |slot| slot.index) else {
            continue;
        };
        let Some(slot) = slots.get_mut(at) else {
            continue;
        };
        let grown = slot.weight.saturating_sub(before.weight);
        let shrunk = before.weight.saturating_sub(slot.weight);
        let done = u64::from(before.done)
            .saturating_add(share(grown).unwrap_or(0))
            .saturating_sub(share(shrunk).unwrap_or(0));
        slot.done = clamp(Some(done), slot.weight);
    }
    build(slots);
}

/// A number of picks, as far as the weight allows it.
fn clamp(done: Option<u64>, weight: u32) -> u32 {
    u32::try_from(done.unwrap_or(0)).map_or(weight, |done| done.min(weight))
}
