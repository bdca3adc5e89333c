// SPDX-License-Identifier: GPL-2.0

//! Walks over a [`Table`], or over one group of its entries, in process context.

use crate::{
    group::{Group, BATCH},
    table::{Entry, Table},
    time::give_way,
};

impl<E: Entry> Table<E> {
    /// The last hash of the stretch that is best walked over at once from `first` on. Process
    /// context.
    pub fn stretch(&self, first: u32) -> u32 {
        let guard = kernel::sync::rcu::read_lock();
        // SAFETY: The RCU read side is locked.
        let last = unsafe { self.buckets() }.map_or(u32::MAX, |buckets| buckets.last(first));
        drop(guard);
        last
    }

    /// Calls `f` with every entry whose hash is among `first..=last`, part of a
    /// [stretch](Self::stretch). `f` says whether the entry stays; it runs with the chain locked and
    /// bottom halves off. Returns how many entries went. Process context.
    pub fn retain(&self, first: u32, last: u32, f: impl FnMut(&E) -> bool) -> u32 {
        let Some(locks) = self.locks() else {
            return 0;
        };
        let guard = kernel::sync::rcu::read_lock();
        // SAFETY: The RCU read side is locked.
        let quiet = unsafe { self.buckets() }.is_none_or(|buckets| {
            buckets.next.get().is_null()
                && buckets.last(first) >= last
                && buckets.head(first).is_none_or(|head| head.get().is_null())
        });
        drop(guard);
        if quiet {
            return 0;
        }
        // One lock covers a bucket, of either set; a stretch may have become several.
        let removed = locks.with_bh(first, || self.retain_locked(first, last, f));
        self.forget(removed.unwrap_or(0))
    }

    /// Calls `f` with every entry of a group that is there from the beginning to the end; `f` says
    /// whether it stays. It may be called twice with one. It runs with the chain locked and bottom halves
    /// off. Returns how many entries of the group were looked up. Process context; gives way.
    pub fn retain_group(&self, group: &Group<E>, mut f: impl FnMut(&E) -> bool) -> u64 {
        let mut hashes = [0u32; BATCH];
        let mut left = group.len();
        let mut visited = 0u64;
        while left != 0 {
            let noted = group.note(&mut hashes, left);
            if noted == 0 {
                break;
            }
            left = left.saturating_sub(noted);
            visited = visited.saturating_add(u64::from(noted));
            for &hash in hashes.iter().take(noted as usize) {
                self.retain(hash, hash, |entry| {
                    !core::ptr::eq(entry.group(), group) || f(entry)
                });
            }
            give_way();
        }
        visited
    }

    /// Takes out every entry with a hash among `first..=last`, or behind that in the last stretch, that
    /// is `over`, and tells `removed` of it. Looks without a lock, and takes it only where something
    /// goes. Returns the last hash that was looked at. Process context; gives way.
    pub fn sweep(
        &self,
        first: u32,
        last: u32,
        over: impl Fn(&E) -> bool,
        mut removed: impl FnMut(&E),
    ) -> u32 {
        /// Buckets that are looked at before others may run.
        const AT_ONCE: u32 = 256;
        let mut at = first;
        loop {
            let guard = kernel::sync::rcu::read_lock();
            // SAFETY: The RCU read side is locked.
            let Some(buckets) = (unsafe { self.buckets() }) else {
                return u32::MAX;
            };
            let moving = !buckets.next.get().is_null();
            for _ in 0..AT_ONCE {
                let end = buckets.last(at);
                // SAFETY: As above.
                if moving || unsafe { buckets.any(at, &over) } {
                    self.retain(at, end, |entry| {
                        let goes = over(entry);
                        if goes {
                            removed(entry);
                        }
                        !goes
                    });
                }
                match end.checked_add(1) {
                    Some(next) if end < last => at = next,
                    _ => return end,
                }
            }
            drop(guard);
            give_way();
        }
    }
}
