// SPDX-License-Identifier: GPL-2.0

//! The buckets of a hash table: chains of nodes that readers follow without a lock.

use crate::{
    bindings,
    group::Links,
    slab::SlabCache,
    table::Entry,
    time::give_way,
    word::Word, //
};
use core::{
    cell::UnsafeCell,
    mem::offset_of,
    ptr::{null_mut, NonNull},
};
use kernel::{
    alloc::flags::__GFP_ZERO,
    prelude::*,
    static_lock_class,
    sync::atomic::Release,
    types::Opaque, //
};

/// A node of a chain. Which other fields than `next` change is the entry's business.
pub struct Node<E> {
    /// Next node of the chain. Stays as it is when the node is taken out, for readers on it.
    pub(crate) next: Word<*mut Node<E>>,
    spare: UnsafeCell<Spare<E>>,
    pub(crate) entry: E,
}

/// What a node needs while it is in a chain, and what it needs afterwards.
union Spare<E> {
    /// Its neighbours in its group.
    links: Links<E>,
    /// RCU's, until it is freed.
    rcu: bindings::callback_head,
}

impl<E: Entry> Node<E> {
    pub(crate) fn new(next: *mut Node<E>, entry: E) -> Self {
        Self {
            next: Word::new(next),
            spare: UnsafeCell::new(Spare { links: Links::NONE }),
            entry,
        }
    }

    /// Its neighbours in its group.
    ///
    /// # Safety
    ///
    /// The node is in a chain, or has just left it, and its group is locked.
    pub(crate) unsafe fn links(&self) -> Links<E> {
        // SAFETY: By the safety requirement nobody writes it now. `free_later()` comes after that.
        unsafe { (*self.spare.get()).links }
    }

    /// Sets them.
    ///
    /// # Safety
    ///
    /// As for `links()`.
    pub(crate) unsafe fn set_links(&self, links: Links<E>) {
        // SAFETY: By the safety requirement nobody else uses it now.
        unsafe { *self.spare.get() = Spare { links } };
    }

    /// Frees a node when no reader is on it any more.
    ///
    /// # Safety
    ///
    /// The node came from the entries' slab cache, and the caller has just taken it out of its chain and
    /// its group, so that nobody else does this.
    pub(crate) unsafe fn free_later(node: &Self) {
        // SAFETY: The field is a part of the node; nobody uses the links any more.
        let head = unsafe { &raw mut (*node.spare.get()).rcu };
        // SAFETY: By the safety requirement this is the one time that its head is queued.
        unsafe { bindings::call_rcu(head, Some(free_node::<E>)) };
    }

    /// Frees a node.
    ///
    /// # Safety
    ///
    /// The node is valid, came from the entries' slab cache, and nobody refers to it.
    pub(crate) unsafe fn free(node: NonNull<Self>) {
        // SAFETY: By the safety requirement.
        unsafe { node.drop_in_place() };
        // SAFETY: By the safety requirement.
        unsafe { SlabCache::<Node<E>>::free(node.cast()) };
    }
}

/// # Safety
///
/// To be called by RCU only, with the `spare.rcu` field of a node that `free_later()` was called on.
unsafe extern "C" fn free_node<E: Entry>(head: *mut bindings::callback_head) {
    let node = head
        .wrapping_byte_sub(offset_of!(Node<E>, spare))
        .cast::<Node<E>>();
    if let Some(node) = NonNull::new(node) {
        // SAFETY: By the safety requirement; a grace period is over.
        unsafe { Node::free(node) };
    }
}

/// Bits of a hash that choose a lock: the upper ones. A page has room for so many locks, and CPUs
/// seldom meet.
pub(crate) const LOCK_BITS: u32 = 10;
/// Most bits of a hash that choose a bucket.
pub(crate) const BUCKET_BITS_MAX: u32 = 27;

/// The locks of the chains. A chain belongs to one of them, whatever the number of buckets.
///
/// # Invariants
///
/// `1 << LOCK_BITS` initialised spinlocks, which never move.
pub(crate) struct Locks(KVec<Opaque<bindings::spinlock_t>>);

impl Locks {
    pub(crate) fn new() -> Result<Self> {
        let count = 1usize << LOCK_BITS;
        let mut locks = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            locks.push(Opaque::uninit(), GFP_KERNEL)?;
        }
        for lock in &locks {
            // SAFETY: The memory is ours, and the vector neither grows nor moves its elements from
            // now on.
            unsafe {
                bindings::__spin_lock_init(
                    lock.get(),
                    c"fep_bucket".as_char_ptr(),
                    static_lock_class!().as_ptr(),
                )
            };
        }
        // INVARIANT: As just initialised.
        Ok(Self(locks))
    }

    /// Runs `f` with the lock of a hash held. Bottom halves must be off.
    pub(crate) fn with<R>(&self, hash: u32, f: impl FnOnce() -> R) -> Option<R> {
        let lock = self.0.get(hash.wrapping_shr(32 - LOCK_BITS) as usize)?;
        // SAFETY: By the type invariant the lock is initialised; bottom halves are off.
        unsafe { bindings::spin_lock(lock.get()) };
        let result = f();
        // SAFETY: The lock was just taken.
        unsafe { bindings::spin_unlock(lock.get()) };
        Some(result)
    }

    /// The same in process context: turns bottom halves off.
    pub(crate) fn with_bh<R>(&self, hash: u32, f: impl FnOnce() -> R) -> Option<R> {
        let lock = self.0.get(hash.wrapping_shr(32 - LOCK_BITS) as usize)?;
        // CAST: A `spinlock_t` begins with its `raw_spinlock_t`.
        // SAFETY: By the type invariant the lock is initialised.
        unsafe { bindings::_raw_spin_lock_bh(lock.get().cast()) };
        let result = f();
        // SAFETY: The lock was just taken.
        unsafe { bindings::_raw_spin_unlock_bh(lock.get().cast()) };
        Some(result)
    }
}

/// A bucket for each value of a hash's upper bits, so that the buckets are in the order of hashes.
///
/// # Invariants
///
/// - `heads` has `1 << (32 - shift)` elements. Each is null or leads to a chain of nodes from the
///   entries' slab cache, ended by null. A chain is written with its lock held.
/// - `next` is null, or leads to the buckets that the nodes are being moved to. These stay valid for as
///   long as readers may be on `self`.
pub(crate) struct Buckets<E: Entry> {
    heads: KVVec<Word<*mut Node<E>>>,
    pub(crate) shift: u32,
    pub(crate) next: Word<*mut Buckets<E>>,
}

impl<E: Entry> Buckets<E> {
    /// `1 << bits` empty buckets. Sleeps.
    pub(crate) fn new(bits: u32) -> Result<Self> {
        let bits = bits.clamp(LOCK_BITS, BUCKET_BITS_MAX);
        let count = 1usize << bits;
        let mut heads = KVVec::with_capacity(count, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN)?;
        // SAFETY: There is room for `count` elements, and all bytes zero is a null pointer.
        unsafe { heads.inc_len(count) };
        // INVARIANT: `1 << bits` null pointers.
        Ok(Self {
            heads,
            shift: 32u32.saturating_sub(bits),
            next: Word::new(null_mut()),
        })
    }

    /// Number of buckets.
    pub(crate) fn count(&self) -> u32 {
        // CAST: At most `1 << BUCKET_BITS_MAX`.
        self.heads.len() as u32
    }

    /// The bucket of a hash. It is there: `None` never happens, and is no panic path either.
    #[inline(always)]
    pub(crate) fn head(&self, hash: u32) -> Option<&Word<*mut Node<E>>> {
        self.heads.get(hash.wrapping_shr(self.shift) as usize)
    }

    /// The last hash of the bucket of `hash`.
    pub(crate) fn last(&self, hash: u32) -> u32 {
        hash | 1u32.wrapping_shl(self.shift).wrapping_sub(1)
    }

    /// Whether `f` holds of any node of a bucket.
    ///
    /// # Safety
    ///
    /// The RCU read side is locked.
    pub(crate) unsafe fn any(&self, hash: u32, f: impl Fn(&E) -> bool) -> bool {
        let mut link = self.head(hash).map_or(null_mut(), Word::get);
        // SAFETY: Nodes are freed a grace period after they were taken out.
        while let Some(node) = unsafe { link.as_ref() } {
            if f(&node.entry) {
                return true;
            }
            link = node.next.get();
        }
        false
    }

    /// Calls `f` with every node whose hash is among `first..=last`, a range of whole buckets or part
    /// of one; the lock is held. `f` says whether the node stays. What goes is freed later. Returns
    /// how many went.
    pub(crate) fn retain(&self, first: u32, last: u32, mut f: impl FnMut(&E) -> bool) -> u32 {
        let mut removed = 0u32;
        let mut at = first;
        while let Some(head) = self.head(at) {
            removed = removed.saturating_add(Self::retain_chain(head, |entry| {
                !(first..=last).contains(&entry.hash()) || f(entry)
            }));
            at = match self.last(at).checked_add(1) {
                Some(next) if next <= last => next,
                _ => break,
            };
        }
        removed
    }

    fn retain_chain(head: &Word<*mut Node<E>>, mut f: impl FnMut(&E) -> bool) -> u32 {
        let mut link = head;
        let mut removed = 0u32;
        loop {
            // SAFETY: The chain's lock is held: its nodes are valid.
            let Some(node) = (unsafe { link.get().as_ref() }) else {
                return removed;
            };
            if f(&node.entry) {
                link = &node.next;
            } else {
                link.set(node.next.get());
                removed = removed.saturating_add(1);
                let raw = core::ptr::from_ref(node).cast_mut();
                // SAFETY: The node is out of its chain, by us; the lock is held, with bottom halves off.
                unsafe { node.entry.group().unlink(raw) };
                // SAFETY: The node is out of its chain and its group, by us.
                unsafe { Node::free_later(node) };
            }
        }
    }

    /// Moves the end of the chain of `hash` to `next`, whose chains have the same lock; it is held.
    /// Says whether that was all of the chain.
    ///
    /// One node at a time, the last of the chain first: a reader who is on it is led on to the end of
    /// a chain of `next`, and has missed nothing of this one; a reader who comes too late for it finds
    /// it in `next`, where it has been before it left.
    pub(crate) fn move_chain(&self, hash: u32, next: &Self) -> bool {
        /// So many at once: the lock is not to be held for long.
        const AT_ONCE: usize = 32;
        let Some(head) = self.head(hash) else {
            return true;
        };
        // The links to the last nodes, as a ring.
        let mut links = [head; AT_ONCE];
        let mut count = 0usize;
        let mut link = head;
        // SAFETY: The lock is held: the nodes are valid.
        while let Some(node) = unsafe { link.get().as_ref() } {
            if let Some(place) = links.get_mut(count % AT_ONCE) {
                *place = link;
            }
            count = count.wrapping_add(1);
            link = &node.next;
        }
        for back in 1..=count.min(AT_ONCE) {
            let Some(link) = links.get(count.wrapping_sub(back) % AT_ONCE) else {
                return true;
            };
            let moved = link.get();
            // SAFETY: As above. It is the last of the chain: those behind it have been moved.
            let Some(node) = (unsafe { moved.as_ref() }) else {
                return true;
            };
            let Some(place) = next.head(node.entry.hash()) else {
                return true;
            };
            node.next.set(place.get());
            // Readers of `next` see the node with its new successor.
            place.atomic().store(moved, Release);
            // Readers of `self` who see that it is gone see that it is there.
            link.atomic().store(null_mut(), Release);
        }
        count <= AT_ONCE
    }
}

impl<E: Entry> Drop for Buckets<E> {
    fn drop(&mut self) {
        for (at, head) in self.heads.iter().enumerate() {
            // Tables are dropped in process context.
            if at % 1024 == 0 {
                give_way();
            }
            let mut link = head.get();
            while let Some(node) = NonNull::new(link) {
                // SAFETY: Nobody else has the buckets any more, so nobody refers to their nodes.
                let this = unsafe { node.as_ref() };
                link = this.next.get();
                this.entry.group().forget(node);
                // SAFETY: By the type invariant, and as above.
                unsafe { Node::free(node) };
            }
        }
    }
}
