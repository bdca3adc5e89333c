// SPDX-License-Identifier: GPL-2.0

//! A reference-counted value that readers see through RCU.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use crate::{bindings, rx::RxContext};
use kernel::sync::{
    atomic::{Atomic, Full, Relaxed},
    Arc,
};

/// Publishes an [`Arc`]: readers follow it without taking a reference, a writer replaces it whole.
///
/// # Invariants
///
/// `current` came from `Arc::into_raw()` and owns that reference. A reference that was replaced is
/// dropped only after a grace period.
pub struct RcuArc<T> {
    current: Atomic<*mut T>,
    _owns: core::marker::PhantomData<Arc<T>>,
}

// SAFETY: `RcuArc` hands out `&T` to any context and drops `T` on any thread, like `Arc`.
unsafe impl<T: Send + Sync> Send for RcuArc<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for RcuArc<T> {}

impl<T> RcuArc<T> {
    /// Publishes a first value.
    pub fn new(value: Arc<T>) -> Self {
        // INVARIANT: The pointer comes from `Arc::into_raw()`.
        Self {
            current: Atomic::new(value.into_raw().cast_mut()),
            _owns: core::marker::PhantomData,
        }
    }

    /// The current value, for as long as the receive path lasts.
    #[inline(always)]
    pub fn read<'a>(&'a self, _cx: &'a RxContext<'_>) -> &'a T {
        // `rcu_dereference()`: a volatile load; the address dependency orders what follows.
        // SAFETY: The atomic is valid and aligned while `self` is borrowed.
        let ptr = unsafe { core::ptr::read_volatile(self.current.as_ptr()) };
        // SAFETY: By the type invariant the pointer's reference is dropped only a grace period
        // after it was replaced, and the receive path is an RCU read-side critical section.
        unsafe { &*ptr }
    }

    /// Publishes `value`, waits until no reader sees the old one, and drops that. Sleeps for a
    /// grace period; what else was unpublished before it is out of readers' sight too.
    pub fn replace(&self, value: Arc<T>) {
        let old = self.current.xchg(value.into_raw().cast_mut(), Full);
        // SAFETY: An FFI call with no requirements but that sleeping is allowed.
        unsafe { bindings::synchronize_rcu() };
        // SAFETY: By the type invariant `old` came from `Arc::into_raw()`, and the exchange took
        // its reference out of `self`. The grace period is over.
        drop(unsafe { Arc::from_raw(old) });
    }
}

impl<T> Drop for RcuArc<T> {
    fn drop(&mut self) {
        let ptr = self.current.load(Relaxed);
        // SAFETY: By the type invariant the pointer came from `Arc::into_raw()` and its reference
        // is ours. `&mut self` means that no reader borrows it.
        drop(unsafe { Arc::from_raw(ptr) });
    }
}

/// Waits until all callbacks queued by this crate's types have run. Sleeps. To be called before
/// the module's code goes away.
pub fn barrier() {
    // SAFETY: An FFI call with no requirements but that sleeping is allowed.
    unsafe { bindings::rcu_barrier() };
}
