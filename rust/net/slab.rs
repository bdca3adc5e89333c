// SPDX-License-Identifier: GPL-2.0

//! A cache of objects of one type, with the kernel's accounting under a name of its own.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use crate::{bindings, rcu, word::Word};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{null_mut, NonNull},
};
use kernel::prelude::*;

/// Where memory for values of type `T` comes from. A static: it is empty until [`SlabCache::create`].
///
/// # Invariants
///
/// `raw` is null or a cache of objects that have room for a `T` and its alignment. Objects may be given
/// back with `kfree()`.
pub struct SlabCache<T> {
    raw: Word<*mut bindings::kmem_cache>,
    _objects: PhantomData<fn() -> T>,
}

impl<T> SlabCache<T> {
    /// A cache that has no memory yet.
    pub const fn new() -> Self {
        // INVARIANT: Null.
        Self {
            raw: Word::new(null_mut()),
            _objects: PhantomData,
        }
    }

    /// Gives the cache its memory, for as long as what is returned exists. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EEXIST` when it has been done.
    pub fn create(&'static self, name: &'static CStr) -> Result<SlabCacheGuard<T>> {
        const {
            // The slab allocator aligns objects to a word, and those of one cache line to that.
            assert!(align_of::<T>() <= 8 || align_of::<T>() == size_of::<T>());
        }
        if !self.raw.get().is_null() {
            return Err(EEXIST);
        }
        let size = u32::try_from(size_of::<T>())?;
        // SAFETY: An FFI call with no requirements but a name that stays.
        let raw = unsafe { bindings::fep_helper_kmem_cache_create(name.as_char_ptr(), size) };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // INVARIANT: Of the right size, and aligned as was asserted.
        self.raw.set(raw.as_ptr());
        Ok(SlabCacheGuard(self))
    }

    /// Memory for one value. Does not sleep.
    #[inline]
    pub(crate) fn allocate(&self) -> Option<NonNull<MaybeUninit<T>>> {
        let raw = NonNull::new(self.raw.get())?;
        // SAFETY: By the type invariant the cache is valid.
        let object = unsafe { bindings::fep_helper_kmem_cache_alloc(raw.as_ptr()) };
        NonNull::new(object.cast())
    }

    /// Gives memory back. Any context.
    ///
    /// # Safety
    ///
    /// It came from `allocate()` of a cache of this type, and nobody uses it any more.
    #[inline]
    pub(crate) unsafe fn free(object: NonNull<MaybeUninit<T>>) {
        // SAFETY: By the safety requirement.
        unsafe { bindings::kfree(object.as_ptr().cast()) };
    }
}

impl<T> Default for SlabCache<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps a [`SlabCache`]'s memory. To be dropped when nothing is allocated any more, but for what RCU
/// callbacks still have to free: it waits for them.
pub struct SlabCacheGuard<T: 'static>(&'static SlabCache<T>);

impl<T> Drop for SlabCacheGuard<T> {
    fn drop(&mut self) {
        rcu::barrier();
        let raw = self.0.raw.get();
        // INVARIANT: Null.
        self.0.raw.set(null_mut());
        // SAFETY: By the invariant of `SlabCache` the cache is valid; it was ours to destroy. The
        // kernel keeps, and reports, a cache that still has objects.
        unsafe { bindings::kmem_cache_destroy(raw) };
    }
}
