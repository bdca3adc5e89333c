// SPDX-License-Identifier: GPL-2.0

//! A hash table whose readers take no lock.
//!
//! Readers follow chains under RCU. Writers hold the spinlock of their bucket (several buckets share
//! one). An entry that is taken out is freed a grace period later.
//!
//! Two writers that insert the same key end with one entry: the second is given the first's.

use crate::{
    bindings,
    rx::RxContext,
    word::{OwnLine, Word},
};
use core::{cell::UnsafeCell, mem::offset_of, ptr::null_mut};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{Full, Relaxed, Release},
        rcu,
    },
    types::Opaque,
};

/// What a table holds.
///
/// Entries are dropped in an RCU callback, that is in softirq: dropping must not sleep.
pub trait Entry: Send + Sync + Sized + 'static {
    /// The entry's hash, the same for its lifetime.
    fn hash(&self) -> u32;
}

struct Node<E> {
    /// Next node of the chain. Stays as it is when the node is taken out, for readers on it.
    next: Word<*mut Node<E>>,
    rcu: UnsafeCell<bindings::callback_head>,
    entry: E,
}

/// Number of locks: enough that CPUs seldom meet, few enough to fit a page.
const LOCKS: usize = 1024;

/// # Invariants
///
/// - `heads` has `mask + 1` elements, a power of two. Each is null or leads to a chain of nodes that
///   came from `KBox::into_raw()`, ended by null.
/// - `locks` has [`LOCKS`] initialised spinlocks, which never move. The chain of bucket `i` is
///   written with lock `i % LOCKS` held and bottom halves off.
struct Buckets<E> {
    heads: KVVec<Word<*mut Node<E>>>,
    locks: KVec<Opaque<bindings::spinlock_t>>,
    mask: u32,
}

/// The table. It has no buckets, and holds nothing, until [`Table::allocate`].
///
/// # Invariants
///
/// `buckets` is null, or came from `KBox::into_raw()`; once set it stays until the table is dropped.
pub struct Table<E: Entry> {
    buckets: Word<*mut Buckets<E>>,
    limit: Word<u32>,
    count: OwnLine<Word<i32>>,
}

// SAFETY: Entries are `Send` and `Sync`, and everything else is synchronised as described above.
unsafe impl<E: Entry> Send for Table<E> {}
// SAFETY: As above.
unsafe impl<E: Entry> Sync for Table<E> {}

/// What became of an insertion.
pub enum Inserted<'a, E> {
    /// The entry was made.
    New(&'a E),
    /// Somebody else had made it.
    Existing(&'a E),
}

/// Why there was no insertion.
pub enum InsertError<X> {
    /// The table is at its limit.
    Full,
    /// No memory.
    NoMemory,
    /// Whoever was to make the entry would not.
    Refused(X),
}

/// The entries of a bucket, for whoever makes a new one.
pub struct Chain<'a, E>(&'a Buckets<E>, u32);

impl<E: Entry> Chain<'_, E> {
    /// Whether any entry of the bucket satisfies `condition`.
    pub fn any(&self, mut condition: impl FnMut(&E) -> bool) -> bool {
        let mut ptr = self.0.head(self.1).map_or(null_mut(), Word::get);
        // SAFETY: The bucket's lock is held: its nodes are valid.
        while let Some(node) = unsafe { ptr.as_ref() } {
            if condition(&node.entry) {
                return true;
            }
            ptr = node.next.get();
        }
        false
    }
}

impl<E: Entry> Buckets<E> {
    fn new(buckets: u32) -> Result<Self> {
        let count = buckets.checked_next_power_of_two().ok_or(EINVAL)?;
        let mut heads = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        for _ in 0..count {
            heads.push(Word::new(null_mut()), GFP_KERNEL)?;
        }
        let mut locks = KVec::with_capacity(LOCKS, GFP_KERNEL)?;
        for _ in 0..LOCKS {
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
        // INVARIANT: As just built; `count` is at least 1.
        Ok(Self {
            heads,
            locks,
            mask: count.saturating_sub(1),
        })
    }

    #[inline(always)]
    fn head(&self, hash: u32) -> Option<&Word<*mut Node<E>>> {
        self.heads.get((hash & self.mask) as usize)
    }

    /// Runs `f` with the bucket's lock held. Bottom halves must be off.
    fn with_lock<R>(&self, hash: u32, f: impl FnOnce() -> R) -> Option<R> {
        let lock = self.locks.get((hash & self.mask) as usize % LOCKS)?;
        // SAFETY: By the type invariant the lock is initialised; bottom halves are off.
        unsafe { bindings::spin_lock(lock.get()) };
        let result = f();
        // SAFETY: The lock was just taken.
        unsafe { bindings::spin_unlock(lock.get()) };
        Some(result)
    }

    /// The same in process context: turns bottom halves off.
    fn with_lock_bh<R>(&self, hash: u32, f: impl FnOnce() -> R) -> Option<R> {
        let lock = self.locks.get((hash & self.mask) as usize % LOCKS)?;
        // CAST: A `spinlock_t` begins with its `raw_spinlock_t`.
        // SAFETY: By the type invariant the lock is initialised.
        unsafe { bindings::_raw_spin_lock_bh(lock.get().cast()) };
        let result = f();
        // SAFETY: The lock was just taken.
        unsafe { bindings::_raw_spin_unlock_bh(lock.get().cast()) };
        Some(result)
    }

    /// Takes every doomed node out of a bucket; the bucket's lock is held. Returns how many.
    fn unlink(&self, hash: u32, mut doomed: impl FnMut(&E) -> bool) -> u32 {
        let Some(mut link) = self.head(hash) else {
            return 0;
        };
        let mut removed = 0u32;
        loop {
            let ptr = link.get();
            // SAFETY: The bucket's lock is held: its nodes are valid.
            let Some(node) = (unsafe { ptr.as_ref() }) else {
                return removed;
            };
            if doomed(&node.entry) {
                link.set(node.next.get());
                removed = removed.saturating_add(1);
                // SAFETY: The node is out of its chain, by us, so this is the one time that its
                // head is queued; it is freed when no reader is on it any more.
                unsafe { bindings::call_rcu(node.rcu.get(), Some(free_node::<E>)) };
            } else {
                link = &node.next;
            }
        }
    }
}

/// # Safety
///
/// To be called by RCU only, with the `rcu` field of a `Node<E>` from `KBox::into_raw()`.
unsafe extern "C" fn free_node<E>(head: *mut bindings::callback_head) {
    let node = head
        .wrapping_byte_sub(offset_of!(Node<E>, rcu))
        .cast::<Node<E>>();
    // SAFETY: By the safety requirement; nobody refers to the node any more.
    drop(unsafe { KBox::from_raw(node) });
}

impl<E: Entry> Table<E> {
    /// An empty table without buckets that will take `limit` entries.
    pub const fn new(limit: u32) -> Self {
        // INVARIANT: Null.
        Self {
            buckets: Word::new(null_mut()),
            limit: Word::new(limit),
            count: OwnLine(Word::new(0)),
        }
    }

    /// Gives the table `buckets` buckets, rounded up to a power of two, if it has none. Sleeps.
    pub fn allocate(&self, buckets: u32) -> Result {
        if self.buckets.get().is_null() {
            let new = KBox::new(Buckets::new(buckets)?, GFP_KERNEL)?;
            let new = KBox::into_raw(new);
            // INVARIANT: From `KBox::into_raw()`, set once.
            if self
                .buckets
                .atomic()
                .cmpxchg(null_mut(), new, Full)
                .is_err()
            {
                // SAFETY: The pointer came from `KBox::into_raw()`, and nobody else has it.
                drop(unsafe { KBox::from_raw(new) });
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn buckets(&self) -> Option<&Buckets<E>> {
        // SAFETY: By the type invariant the pointer is null or valid as long as the table.
        unsafe { self.buckets.get().as_ref() }
    }

    /// Number of buckets; 0 before [`Table::allocate`].
    pub fn bucket_count(&self) -> u32 {
        self.buckets().map_or(0, |b| b.mask.saturating_add(1))
    }

    /// Number of entries.
    pub fn len(&self) -> u32 {
        // CAST: The count never falls below zero.
        self.count.get() as u32
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most entries the table takes.
    pub fn limit(&self) -> u32 {
        self.limit.get()
    }

    /// Sets the limit. Entries beyond a lower one stay.
    pub fn set_limit(&self, limit: u32) {
        self.limit.set(limit);
    }

    /// Finds an entry.
    #[inline]
    pub fn find<'a>(
        &'a self,
        _cx: &'a RxContext<'_>,
        hash: u32,
        mut same: impl FnMut(&E) -> bool,
    ) -> Option<&'a E> {
        let mut ptr = self.buckets()?.head(hash)?.get();
        // SAFETY: Nodes are freed a grace period after they were taken out, and the receive path is
        // an RCU read-side critical section.
        while let Some(node) = unsafe { ptr.as_ref() } {
            if node.entry.hash() == hash && same(&node.entry) {
                return Some(&node.entry);
            }
            ptr = node.next.get();
        }
        None
    }

    /// Finds an entry or, with its bucket locked, has it made.
    ///
    /// `make` runs once at the most, and only when no entry is the same; it must not use the table.
    pub fn find_or_insert<'a, X>(
        &'a self,
        cx: &'a RxContext<'_>,
        hash: u32,
        mut same: impl FnMut(&E) -> bool,
        make: impl FnOnce(Chain<'_, E>) -> Result<E, X>,
    ) -> Result<Inserted<'a, E>, InsertError<X>> {
        let Some(buckets) = self.buckets() else {
            return Err(InsertError::NoMemory);
        };
        let Some(head) = buckets.head(hash) else {
            return Err(InsertError::NoMemory);
        };
        // CAST: The limit is far below `i32::MAX`. Looking first keeps a flood of new clients from
        // writing the count for nothing.
        let limit = self.limit.get() as i32;
        if self.count.get() >= limit {
            let found = self.find(cx, hash, same).map(Inserted::Existing);
            return found.ok_or(InsertError::Full);
        }
        if self.count.atomic().fetch_add(1, Full) >= limit {
            self.count.atomic().add(-1, Relaxed);
            return Err(InsertError::Full);
        }
        let result = KBox::<Node<E>>::new_uninit(GFP_ATOMIC | __GFP_NOWARN)
            .map_err(|_| InsertError::NoMemory)
            .and_then(|node| {
                buckets
                    .with_lock(hash, || {
                        let mut ptr = head.get();
                        // SAFETY: The bucket's lock is held: its nodes are valid, and they stay so
                        // for `'a`, an RCU read-side critical section.
                        while let Some(node) = unsafe { ptr.as_ref::<'a>() } {
                            if node.entry.hash() == hash && same(&node.entry) {
                                return Ok(Inserted::Existing(&node.entry));
                            }
                            ptr = node.next.get();
                        }
                        let entry = make(Chain(buckets, hash)).map_err(InsertError::Refused)?;
                        let node = KBox::write(
                            node,
                            Node {
                                next: Word::new(head.get()),
                                rcu: UnsafeCell::new(bindings::callback_head::default()),
                                entry,
                            },
                        );
                        let raw = KBox::into_raw(node);
                        // Readers see the node whole: the release pairs with their dependent loads.
                        head.atomic().store(raw, Release);
                        // SAFETY: The node was just put into its chain, and cannot be freed before
                        // the read-side critical section `'a` ends.
                        Ok(Inserted::New(unsafe { &(*raw).entry }))
                    })
                    .unwrap_or(Err(InsertError::NoMemory))
            });
        if !matches!(result, Ok(Inserted::New(_))) {
            self.count.atomic().add(-1, Relaxed);
        }
        result
    }

    /// Takes one entry out, unless somebody else has. Says whether it was us.
    pub fn remove(&self, _cx: &RxContext<'_>, entry: &E) -> bool {
        let Some(buckets) = self.buckets() else {
            return false;
        };
        let hash = entry.hash();
        let removed = buckets.with_lock(hash, || {
            buckets.unlink(hash, |other| core::ptr::eq(other, entry))
        });
        self.forget(removed.unwrap_or(0)) != 0
    }

    /// Takes every doomed entry out of one bucket and returns how many. Process context. `doomed`
    /// runs with the bucket locked and bottom halves off.
    pub fn remove_in_bucket(&self, bucket: u32, doomed: impl FnMut(&E) -> bool) -> u32 {
        let Some(buckets) = self.buckets() else {
            return 0;
        };
        if buckets.head(bucket).is_none_or(|head| head.get().is_null()) {
            return 0;
        }
        let removed = buckets.with_lock_bh(bucket, || buckets.unlink(bucket, doomed));
        self.forget(removed.unwrap_or(0))
    }

    /// Shows every entry of one bucket. Any context.
    pub fn for_each_in_bucket(&self, bucket: u32, _guard: &rcu::Guard, mut f: impl FnMut(&E)) {
        let Some(head) = self.buckets().and_then(|b| b.head(bucket)) else {
            return;
        };
        let mut ptr = head.get();
        // SAFETY: Nodes are freed a grace period after they were taken out, and the RCU read side is
        // locked.
        while let Some(node) = unsafe { ptr.as_ref() } {
            f(&node.entry);
            ptr = node.next.get();
        }
    }

    fn forget(&self, removed: u32) -> u32 {
        if removed != 0 {
            // CAST: No more entries than the limit, which is far below `i32::MAX`.
            self.count
                .0
                .atomic()
                .add((removed as i32).wrapping_neg(), Relaxed);
        }
        removed
    }
}

impl<E: Entry> Drop for Table<E> {
    fn drop(&mut self) {
        let raw = self.buckets.get();
        if raw.is_null() {
            return;
        }
        // SAFETY: By the type invariant the pointer came from `KBox::into_raw()`. `&mut self` means
        // that there are no readers.
        let buckets = unsafe { KBox::from_raw(raw) };
        for head in &buckets.heads {
            let mut ptr = head.get();
            while !ptr.is_null() {
                // SAFETY: By the type invariant of `Buckets` nodes in a chain came from
                // `KBox::into_raw()`, and nobody else refers to them.
                let node = unsafe { KBox::from_raw(ptr) };
                ptr = node.next.get();
            }
        }
    }
}
