// SPDX-License-Identifier: GPL-2.0

//! A hash index over a list: from a key's hash to a position.

use kernel::{alloc::flags::GFP_KERNEL_ACCOUNT, prelude::*};

/// Open addressing with linear probing, half full at the most. Positions are stored plus one; zero
/// is a free slot.
pub(crate) struct Index {
    slots: KVVec<u32>,
    mask: u32,
}

impl Index {
    /// An index that will take `count` positions. Sleeps.
    pub(crate) fn with_capacity(count: usize) -> Result<Self> {
        let wanted = count.checked_mul(2).ok_or(ENOMEM)?.max(8);
        let size = u32::try_from(wanted)
            .ok()
            .and_then(u32::checked_next_power_of_two)
            .ok_or(ENOMEM)?;
        let mut slots = KVVec::new();
        slots.resize(size as usize, 0, GFP_KERNEL_ACCOUNT)?;
        Ok(Self {
            slots,
            mask: size.wrapping_sub(1),
        })
    }

    /// The position with that hash for which `same` holds. Any context.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut slot = hash & self.mask;
        loop {
            // PANIC: None: the mask keeps the slot inside, and half of the slots are free, so the
            // loop ends.
            let position = self.slots.get(slot as usize)?.checked_sub(1)?;
            if same(position) {
                return Some(position);
            }
            slot = slot.wrapping_add(1) & self.mask;
        }
    }

    /// Adds a position, in place of one for which `same` holds if there is one. The caller adds no
    /// more than it announced; beyond that the position is not added.
    pub(crate) fn insert(&mut self, hash: u32, position: u32, mut same: impl FnMut(u32) -> bool) {
        let mut slot = hash & self.mask;
        for _ in 0..self.slots.len() {
            let Some(place) = self.slots.get_mut(slot as usize) else {
                return;
            };
            match place.checked_sub(1) {
                Some(other) if !same(other) => slot = slot.wrapping_add(1) & self.mask,
                _ => {
                    *place = position.wrapping_add(1);
                    return;
                }
            }
        }
    }
}
