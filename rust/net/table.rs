// SPDX-License-Identifier: GPL-2.0

//! A hash table whose readers take no lock, and which grows and shrinks under them.
//!
//! Readers follow chains under RCU. Writers hold the spinlock of their chain (several chains share
//! one). An entry that is taken out is freed a grace period later. Two writers that insert the same key
//! end with one entry: the second is given the first's.
//!
//! # Resizing
//!
//! New buckets are hung behind the old ones (`Buckets::next`). From then on new entries go into the new
//! ones, and a reader who has not found an entry in the old ones looks into the new. The chains are
//! moved one after the other, as `Buckets::move_chain()` says, then the new buckets become the table's
//! and the old ones are freed a grace period later. Buckets are chosen by the upper bits of a hash, so
//! that a position in the order of hashes means the same at every size: walks go by it.

use crate::{
    bindings,
    buckets::{Buckets, Locks, BUCKET_BITS_MAX, LOCK_BITS},
    group::Group,
    rx::RxContext,
    slab::SlabCache,
    word::{OwnLine, Word},
};
use core::ptr::{null_mut, NonNull};
use kernel::{
    prelude::*,
    sync::atomic::{Full, Relaxed, Release},
    types::Opaque,
};

pub use crate::buckets::Node;

/// What a table holds.
///
/// Entries are dropped in an RCU callback, that is in softirq: dropping must not sleep.
pub trait Entry: Send + Sync + Sized + 'static {
    /// The entry's hash, the same for its lifetime.
    fn hash(&self) -> u32;

    /// The entry's group, the same for its lifetime; the entry keeps it alive.
    fn group(&self) -> &Group<Self>;

    /// Where the memory for entries comes from. It must be there while a table has any.
    fn slab() -> &'static EntrySlab<Self>;
}

/// Where the memory for entries comes from.
pub type EntrySlab<E> = SlabCache<Node<E>>;

/// The table. It has no buckets, and holds nothing, until [`Table::allocate`].
///
/// # Invariants
///
/// - `buckets` and `locks` are null, or came from `KBox::into_raw()`; once set, `locks` stays until the
///   table is dropped, and the old `buckets` are freed a grace period after they were replaced.
/// - `buckets.next` is written by `allocate()`'s caller and the work only, of which there is one at a
///   time.
#[pin_data(PinnedDrop)]
pub struct Table<E: Entry> {
    buckets: Word<*mut Buckets<E>>,
    locks: Word<*mut Locks>,
    /// Entries.
    pub(crate) count: OwnLine<Word<i32>>,
    /// More entries than this, and the table has to grow.
    pub(crate) grow_at: Word<i32>,
    /// When a resize last failed, in ticks, or 0.
    pub(crate) failed: Word<u32>,
    #[pin]
    pub(crate) work: Opaque<bindings::work_struct>,
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
    /// There is no room.
    Full,
    /// No memory.
    NoMemory,
    /// Whoever was to make the entry would not.
    Refused(X),
}

/// The entries with one hash's chain, for whoever makes a new one.
pub struct Chain<'a, E: Entry>(&'a Buckets<E>, u32);

impl<E: Entry> Chain<'_, E> {
    /// Whether any entry with that hash satisfies `condition`, which is asked of others too.
    pub fn any(&self, mut condition: impl FnMut(&E) -> bool) -> bool {
        // SAFETY: The chain's lock is held: its nodes are valid.
        unsafe { find(self.0, self.1, |entry| condition(entry)) }.is_some()
    }
}

/// Finds an entry in the buckets, then in those that they are moved to. `same` is asked of entries with
/// other hashes too.
///
/// # Safety
///
/// The RCU read side is locked for `'a`, or the chain's lock is held for it.
#[inline(always)]
unsafe fn find<'a, E: Entry>(
    mut buckets: &'a Buckets<E>,
    hash: u32,
    mut same: impl FnMut(&E) -> bool,
) -> Option<&'a E> {
    loop {
        let mut link = buckets.head(hash)?.get();
        // SAFETY: Nodes are freed a grace period after they were taken out, with the lock held.
        while let Some(node) = unsafe { link.as_ref::<'a>() } {
            if same(&node.entry) {
                return Some(&node.entry);
            }
            link = node.next.get();
        }
        if buckets.next.get().is_null() {
            return None;
        }
        // An entry that was seen to be gone from here is seen to be there.
        // SAFETY: An FFI call with no requirements.
        unsafe { bindings::smp_rmb() };
        // SAFETY: By the invariant of `Buckets` they are valid while readers are on these.
        buckets = unsafe { buckets.next.get().as_ref() }?;
    }
}

impl<E: Entry> Table<E> {
    /// An empty table without buckets.
    pub fn new() -> impl PinInit<Self> {
        // INVARIANT: Null.
        pin_init!(Self {
            buckets: Word::new(null_mut()),
            locks: Word::new(null_mut()),
            count: OwnLine(Word::new(0)),
            grow_at: Word::new(i32::MAX),
            failed: Word::new(0),
            work <- Opaque::ffi_init(|slot| {
                // SAFETY: The slot is valid for writes, and pinned from now on.
                unsafe { bindings::fep_helper_init_work(slot, Some(Self::resize_work)) }
            }),
        })
    }

    /// Gives the table its first buckets, if it has none. One caller at a time; sleeps.
    pub fn allocate(&self) -> Result {
        if self.buckets.get().is_null() {
            let locks = KBox::new(Locks::new()?, GFP_KERNEL)?;
            let buckets = KBox::new(Buckets::new(LOCK_BITS)?, GFP_KERNEL)?;
            // INVARIANT: From `KBox::into_raw()`, set once. Who sees the buckets sees the locks.
            self.locks.set(KBox::into_raw(locks));
            self.publish(buckets);
        }
        Ok(())
    }

    /// Makes buckets the table's.
    pub(crate) fn publish(&self, buckets: KBox<Buckets<E>>) {
        // CAST: At most `1 << BUCKET_BITS_MAX`.
        let full = match buckets.shift > 32 - BUCKET_BITS_MAX {
            true => buckets.count() as i32,
            false => i32::MAX,
        };
        // INVARIANT: From `KBox::into_raw()`.
        let raw = KBox::into_raw(buckets);
        self.buckets.atomic().store(raw, Release);
        self.grow_at.set(full);
    }

    /// # Safety
    ///
    /// The RCU read side must be locked for `'a`, or bottom halves off, or the caller the one that may
    /// replace the buckets.
    #[inline(always)]
    pub(crate) unsafe fn buckets<'a>(&self) -> Option<&'a Buckets<E>> {
        // SAFETY: By the type invariant the pointer is null or valid for a grace period after it was
        // replaced, or as long as the caller does not replace it.
        unsafe { self.buckets.get().as_ref() }
    }

    pub(crate) fn locks(&self) -> Option<&Locks> {
        // SAFETY: By the type invariant the pointer is null or valid as long as the table.
        unsafe { self.locks.get().as_ref() }
    }

    /// Number of buckets; 0 before [`Table::allocate`]. Any context.
    pub fn bucket_count(&self) -> u32 {
        let guard = kernel::sync::rcu::read_lock();
        // SAFETY: The RCU read side is locked.
        let count = unsafe { self.buckets() }.map_or(0, Buckets::count);
        drop(guard);
        count
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

    /// Finds an entry. `same` is asked of entries with other hashes too, and of all with this one until
    /// it says so.
    #[inline(always)]
    pub fn find<'a>(
        &'a self,
        _cx: &'a RxContext<'_>,
        hash: u32,
        same: impl FnMut(&E) -> bool,
    ) -> Option<&'a E> {
        // SAFETY: The receive path is an RCU read-side critical section.
        let buckets = unsafe { self.buckets() }?;
        // SAFETY: As above.
        unsafe { find(buckets, hash, same) }
    }

    /// Finds an entry or, with its chain locked, has it made.
    ///
    /// `room` is asked whether the table may have so many entries. `make` runs once at the most, and
    /// only when no entry is the same; it must not use the table.
    pub fn find_or_insert<'a, X>(
        &'a self,
        cx: &'a RxContext<'_>,
        hash: u32,
        room: impl Fn(u32) -> bool,
        mut same: impl FnMut(&E) -> bool,
        make: impl FnOnce(Chain<'_, E>) -> Result<E, X>,
    ) -> Result<Inserted<'a, E>, InsertError<X>> {
        let Some(locks) = self.locks() else {
            return Err(InsertError::NoMemory);
        };
        // Looking first keeps a flood of new clients from writing the count for nothing.
        if !room(self.len().saturating_add(1)) {
            let found = self.find(cx, hash, same).map(Inserted::Existing);
            return found.ok_or(InsertError::Full);
        }
        // CAST: The count never falls below zero.
        let count = self.count.atomic().fetch_add(1, Full).saturating_add(1);
        if !room(count as u32) {
            self.count.atomic().add(-1, Relaxed);
            return Err(InsertError::Full);
        }
        let result = E::slab()
            .allocate()
            .ok_or(InsertError::NoMemory)
            .and_then(|memory| {
                let inserted = locks
                    .with(hash, || self.insert_locked(memory, hash, &mut same, make))
                    .unwrap_or(Err(InsertError::NoMemory));
                if !matches!(inserted, Ok(Inserted::New(_))) {
                    // SAFETY: It was just allocated, and not used.
                    unsafe { EntrySlab::<E>::free(memory) };
                }
                inserted
            });
        if !matches!(result, Ok(Inserted::New(_))) {
            self.count.atomic().add(-1, Relaxed);
        } else if count > self.grow_at.get() {
            self.want_resize();
        }
        result
    }

    fn insert_locked<'a, X>(
        &'a self,
        memory: NonNull<core::mem::MaybeUninit<Node<E>>>,
        hash: u32,
        mut same: impl FnMut(&E) -> bool,
        make: impl FnOnce(Chain<'_, E>) -> Result<E, X>,
    ) -> Result<Inserted<'a, E>, InsertError<X>> {
        // SAFETY: The receive path is an RCU read-side critical section, which lasts for `'a`.
        let buckets = unsafe { self.buckets() }.ok_or(InsertError::NoMemory)?;
        // SAFETY: The chain's lock is held, and as above.
        if let Some(entry) = unsafe { find(buckets, hash, &mut same) } {
            return Ok(Inserted::Existing(entry));
        }
        let entry = make(Chain(buckets, hash)).map_err(InsertError::Refused)?;
        // SAFETY: By the invariant of `Buckets` those that the nodes move to are valid.
        let newest = unsafe { buckets.next.get().as_ref() }.unwrap_or(buckets);
        let Some(head) = newest.head(hash) else {
            return Err(InsertError::NoMemory);
        };
        let node: NonNull<Node<E>> = memory.cast();
        // SAFETY: The memory is ours and has room for a node.
        unsafe { node.write(Node::new(head.get(), entry)) };
        // Readers see the node whole: the release pairs with their dependent loads.
        head.atomic().store(node.as_ptr(), Release);
        // SAFETY: The node was just put into its chain, whose lock is held; bottom halves are off.
        unsafe { node.as_ref().entry.group().link(node.as_ptr()) };
        // SAFETY: The node was just put into its chain, and cannot be freed before the read-side
        // critical section `'a` ends.
        Ok(Inserted::New(unsafe { &node.as_ref().entry }))
    }

    /// Takes one entry out, unless somebody else has. Says whether it was us.
    pub fn remove(&self, _cx: &RxContext<'_>, entry: &E) -> bool {
        let hash = entry.hash();
        let Some(locks) = self.locks() else {
            return false;
        };
        let removed = locks.with(hash, || {
            self.retain_locked(hash, hash, |other| !core::ptr::eq(other, entry))
        });
        self.forget(removed.unwrap_or(0)) != 0
    }

    /// [`Buckets::retain`] of both sets of buckets; the lock is held.
    pub(crate) fn retain_locked(
        &self,
        first: u32,
        last: u32,
        mut f: impl FnMut(&E) -> bool,
    ) -> u32 {
        // SAFETY: Bottom halves are off.
        let Some(buckets) = (unsafe { self.buckets() }) else {
            return 0;
        };
        let here = buckets.retain(first, last, &mut f);
        // SAFETY: By the invariant of `Buckets` those that the nodes move to are valid.
        let there = unsafe { buckets.next.get().as_ref() };
        here.saturating_add(there.map_or(0, |next| next.retain(first, last, &mut f)))
    }

    pub(crate) fn forget(&self, removed: u32) -> u32 {
        if removed != 0 {
            // CAST: No more entries than `i32::MAX`.
            let removed = (removed as i32).wrapping_neg();
            self.count.atomic().add(removed, Relaxed);
        }
        removed
    }
}

#[pinned_drop]
impl<E: Entry> PinnedDrop for Table<E> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The work is initialised. Sleeps until a run has ended, and keeps it from being
        // queued again.
        unsafe { bindings::disable_work_sync(self.work.get()) };
        let (buckets, locks) = (self.buckets.get(), self.locks.get());
        if !buckets.is_null() {
            // SAFETY: By the type invariant the pointer came from `KBox::into_raw()`. `&mut self`
            // means that there are no readers, and no resize is on.
            drop(unsafe { KBox::from_raw(buckets) });
        }
        if !locks.is_null() {
            // SAFETY: As above.
            drop(unsafe { KBox::from_raw(locks) });
        }
    }
}
