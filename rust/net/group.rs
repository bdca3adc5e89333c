// SPDX-License-Identifier: GPL-2.0

//! Groups of a table's entries: from a group, all of its entries are found without a walk over the table.
//!
//! A group is a list, linked in both directions through its entries. The links take no memory: they lie
//! where RCU keeps its own when an entry has been taken out and waits to be freed. An entry is put into
//! its group and taken out of it with its chain locked, together with the chain.

use crate::{
    bindings,
    buckets::Node,
    table::Entry,
    word::Word, //
};
use core::{
    cell::UnsafeCell,
    ptr::{null_mut, NonNull},
};
use kernel::{prelude::*, static_lock_class, types::Opaque};

/// The entries of a table that belong together. On cache lines of its own: every new entry writes it.
///
/// # Invariants
///
/// `lock` is an initialised spinlock, held with bottom halves off by whoever uses `ends` or the links of
/// the group's nodes. From `ends` all of these are reached, which are in a chain of a table and say that
/// they are of this group; the lists end with null.
#[pin_data]
#[repr(align(64))]
pub struct Group<E> {
    #[pin]
    lock: Opaque<bindings::spinlock_t>,
    ends: UnsafeCell<Links<E>>,
    count: Word<u32>,
}

/// The neighbours of a node in its group; of a group, its first and last node.
pub(crate) struct Links<E> {
    pub(crate) next: *mut Node<E>,
    pub(crate) previous: *mut Node<E>,
}

impl<E> Clone for Links<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Links<E> {}

impl<E> Links<E> {
    pub(crate) const NONE: Self = Self {
        next: null_mut(),
        previous: null_mut(),
    };
}

// SAFETY: Entries are `Send` and `Sync`; what leads to them is behind the lock.
unsafe impl<E: Entry> Send for Group<E> {}
// SAFETY: As above.
unsafe impl<E: Entry> Sync for Group<E> {}

/// How many entries are taken from a group at once.
pub(crate) const BATCH: usize = 32;

impl<E: Entry> Group<E> {
    /// A group without entries.
    pub fn new() -> impl PinInit<Self> {
        // INVARIANT: Nothing is reached; the spinlock is initialised here.
        pin_init!(Self {
            lock <- Opaque::ffi_init(|slot| {
                // SAFETY: The slot is valid for writes, and pinned from now on.
                unsafe {
                    bindings::__spin_lock_init(
                        slot,
                        c"fep_group".as_char_ptr(),
                        static_lock_class!().as_ptr(),
                    )
                }
            }),
            ends: UnsafeCell::new(Links::NONE),
            count: Word::new(0),
        })
    }

    /// Number of entries. Any context.
    pub fn len(&self) -> u32 {
        self.count.get()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a node in front.
    ///
    /// # Safety
    ///
    /// Bottom halves are off. The node is of this group, in no group yet, and has just come into a chain
    /// whose lock is held.
    pub(crate) unsafe fn link(&self, node: *mut Node<E>) {
        // SAFETY: By the type invariant; bottom halves are off.
        unsafe { bindings::spin_lock(self.lock.get()) };
        // SAFETY: The lock is held; the node is in no group.
        unsafe { self.put_in_front(node) };
        self.count.set(self.count.get().wrapping_add(1));
        // SAFETY: The lock was taken above.
        unsafe { bindings::spin_unlock(self.lock.get()) };
    }

    /// Takes a node out.
    ///
    /// # Safety
    ///
    /// Bottom halves are off. The node is in this group, and has just been taken out of a chain whose
    /// lock is held.
    pub(crate) unsafe fn unlink(&self, node: *mut Node<E>) {
        // SAFETY: By the type invariant; bottom halves are off.
        unsafe { bindings::spin_lock(self.lock.get()) };
        // SAFETY: The lock is held; the node is in the group.
        unsafe { self.take_out(node) };
        self.count.set(self.count.get().wrapping_sub(1));
        // SAFETY: The lock was taken above.
        unsafe { bindings::spin_unlock(self.lock.get()) };
    }

    /// Takes out a node of a table that is being dropped. Process context.
    pub(crate) fn forget(&self, node: NonNull<Node<E>>) {
        // CAST: A `spinlock_t` begins with its `raw_spinlock_t`.
        // SAFETY: By the type invariant the lock is initialised.
        unsafe { bindings::_raw_spin_lock_bh(self.lock.get().cast()) };
        // SAFETY: The lock is held; a node that is in a chain is in its group.
        unsafe { self.take_out(node.as_ptr()) };
        self.count.set(self.count.get().wrapping_sub(1));
        // SAFETY: The lock was taken above.
        unsafe { bindings::_raw_spin_unlock_bh(self.lock.get().cast()) };
    }

    /// Notes the hashes of some of the entries, those that were put into the group, or noted, the
    /// longest ago; of no more than `most`. Process context. Returns how many.
    pub(crate) fn note(&self, hashes: &mut [u32; BATCH], most: u32) -> u32 {
        let mut noted = 0u32;
        // CAST: A `spinlock_t` begins with its `raw_spinlock_t`.
        // SAFETY: By the type invariant the lock is initialised.
        unsafe { bindings::_raw_spin_lock_bh(self.lock.get().cast()) };
        for hash in hashes {
            // SAFETY: The lock is held.
            let last = unsafe { (*self.ends.get()).previous };
            // SAFETY: By the type invariant the node is in a chain, so it is not freed.
            let Some(node) = (unsafe { last.as_ref() }).filter(|_| noted < most) else {
                break;
            };
            *hash = node.entry.hash();
            noted = noted.wrapping_add(1);
            // SAFETY: The lock is held; the node is in the group, and then in none.
            unsafe {
                self.take_out(last);
                self.put_in_front(last);
            }
        }
        // SAFETY: The lock was taken above.
        unsafe { bindings::_raw_spin_unlock_bh(self.lock.get().cast()) };
        noted
    }

    /// # Safety
    ///
    /// The lock is held. The node is of this group, and in none.
    unsafe fn put_in_front(&self, node: *mut Node<E>) {
        // SAFETY: The lock is held: nobody else uses the ends or any links, and all nodes are valid.
        unsafe {
            let ends = &mut *self.ends.get();
            (*node).set_links(Links {
                next: ends.next,
                previous: null_mut(),
            });
            match ends.next.as_ref() {
                Some(first) => first.set_links(Links {
                    previous: node,
                    ..first.links()
                }),
                None => ends.previous = node,
            }
            ends.next = node;
        }
    }

    /// # Safety
    ///
    /// The lock is held. The node is in this group.
    unsafe fn take_out(&self, node: *mut Node<E>) {
        // SAFETY: The lock is held: nobody else uses the ends or any links, and all nodes are valid.
        unsafe {
            let ends = &mut *self.ends.get();
            let Links { next, previous } = (*node).links();
            match previous.as_ref() {
                Some(previous) => previous.set_links(Links {
                    next,
                    ..previous.links()
                }),
                None => ends.next = next,
            }
            match next.as_ref() {
                Some(next) => next.set_links(Links {
                    previous,
                    ..next.links()
                }),
                None => ends.previous = previous,
            }
        }
    }
}
