// SPDX-License-Identifier: GPL-2.0

//! How a [`Table`] grows and shrinks: see there.

use crate::{
    bindings,
    buckets::{Buckets, BUCKET_BITS_MAX, LOCK_BITS},
    table::{Entry, Table},
    time::{give_way, ticks, TICKS_PER_SECOND},
};
use core::mem::offset_of;
use kernel::{prelude::*, sync::atomic::Release};

impl<E: Entry> Table<E> {
    /// Gives buckets back when the table has become much too large. Process context.
    pub fn tidy(&self) {
        let count = self.bucket_count();
        if count > 1 << LOCK_BITS && self.len() < count / 16 {
            self.want_resize();
        }
    }

    #[cold]
    pub(crate) fn want_resize(&self) {
        let failed = self.failed.get();
        if failed != 0 && ticks().wrapping_sub(failed) < TICKS_PER_SECOND {
            return;
        }
        // SAFETY: The work is initialised and pinned; the drop waits for it. Queued work is not queued
        // again.
        unsafe { bindings::fep_helper_queue_work(self.work.get()) };
    }

    /// # Safety
    ///
    /// To be called by the workqueue only, with the `work` of a `Table<E>`.
    pub(crate) unsafe extern "C" fn resize_work(work: *mut bindings::work_struct) {
        let this = work
            .wrapping_byte_sub(offset_of!(Self, work))
            .cast::<Self>();
        // SAFETY: By the safety requirement; the drop waits for this to return.
        unsafe { &*this }.resize();
    }

    /// Resizes the table to its entries. Process context, by the work alone; sleeps.
    fn resize(&self) {
        // SAFETY: Nobody but this replaces the buckets once they are there.
        let Some(old) = (unsafe { self.buckets() }) else {
            return;
        };
        let wanted = self.len().max(1).checked_next_power_of_two();
        // Room to grow: two to four buckets for an entry. It grows again when there is but one.
        let bits = wanted.map_or(BUCKET_BITS_MAX, |wanted| wanted.ilog2().saturating_add(1));
        let bits = bits.clamp(LOCK_BITS, BUCKET_BITS_MAX);
        if 32u32.saturating_sub(bits) == old.shift {
            return;
        }
        let new = Buckets::new(bits).and_then(|new| Ok(KBox::new(new, GFP_KERNEL)?));
        let Ok(new) = new else {
            self.failed.set(ticks().max(1));
            return;
        };
        self.failed.set(0);
        let raw = KBox::into_raw(new);
        old.next.atomic().store(raw, Release);
        // From here on nobody looks into, or inserts into, the old buckets alone.
        // SAFETY: An FFI call with no requirements but that sleeping is allowed.
        unsafe { bindings::synchronize_rcu() };
        // SAFETY: The pointer came from `KBox::into_raw()` and stays valid until it becomes the table's.
        let new = unsafe { &*raw };
        self.move_all(old, new);
        // SAFETY: The pointer came from `KBox::into_raw()`.
        self.publish(unsafe { KBox::from_raw(raw) });
        // SAFETY: As above.
        unsafe { bindings::synchronize_rcu() };
        // SAFETY: The pointer came from `KBox::into_raw()`, and a grace period after it was replaced
        // no reader has it. Its chains are empty.
        drop(unsafe { KBox::from_raw(core::ptr::from_ref(old).cast_mut()) });
        // CAST: The count never falls below zero.
        if self.count.get() > self.grow_at.get() {
            self.want_resize();
        }
    }

    fn move_all(&self, old: &Buckets<E>, new: &Buckets<E>) {
        let Some(locks) = self.locks() else {
            return;
        };
        /// Chains that are moved with the lock held: few, so that packets do not wait for long.
        const AT_ONCE: u32 = 16;
        let mut hash = 0u32;
        loop {
            // As many as have one lock, at the most.
            let chains = old.count().wrapping_shr(LOCK_BITS).clamp(1, AT_ONCE);
            let last = locks.with_bh(hash, || {
                let mut last = hash;
                for _ in 0..chains {
                    if !old.move_chain(last, new) {
                        // Once more, when others have had the lock.
                        return (last, false);
                    }
                    last = old.last(last).wrapping_add(1);
                }
                (last, last == 0)
            });
            match last {
                Some((next, false)) => hash = next,
                _ => return,
            }
            give_way();
        }
    }
}
