// SPDX-License-Identifier: GPL-2.0

//! Spinlocks shared between process context and bottom halves.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)
//!
//! `kernel::sync::SpinLock` does not turn bottom halves off, so a softirq on the same CPU could
//! spin for ever on a lock its own CPU holds.

use crate::{bindings, rx::RxContext};
use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
};
use kernel::{
    prelude::*,
    sync::LockClassKey,
    types::{NotThreadSafe, Opaque},
};

/// A value behind a spinlock that is taken with bottom halves off.
///
/// # Invariants
///
/// `raw` is an initialised spinlock. `value` is accessed by its holder only, and every holder has
/// bottom halves off.
#[pin_data]
pub struct BhLock<T> {
    #[pin]
    raw: Opaque<bindings::spinlock_t>,
    value: UnsafeCell<T>,
}

// SAFETY: The lock moves between threads what it protects, and nothing else.
unsafe impl<T: Send> Send for BhLock<T> {}
// SAFETY: Holders exclude each other.
unsafe impl<T: Send> Sync for BhLock<T> {}

impl<T> BhLock<T> {
    /// Creates a lock; `key` names its class to lockdep.
    pub fn new(
        value: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: The spinlock is initialised here.
            raw <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes, and pinned from now on.
                unsafe { bindings::__spin_lock_init(slot, name.as_char_ptr(), key.as_ptr()) }
            }),
            value: UnsafeCell::new(value),
        })
    }

    /// Takes the lock in the receive path.
    #[inline]
    pub fn lock_rx<'a>(&'a self, _cx: &'a RxContext<'_>) -> RxGuard<'a, T> {
        // SAFETY: By the type invariant the lock is initialised. Bottom halves are off already.
        unsafe { bindings::spin_lock(self.raw.get()) };
        RxGuard(self, NotThreadSafe)
    }

    /// Takes the lock in process context, with bottom halves off.
    pub fn lock_bh(&self) -> BhGuard<'_, T> {
        // CAST: Without lockdep or with it, a `spinlock_t` begins with its `raw_spinlock_t`.
        // SAFETY: By the type invariant the lock is initialised.
        unsafe { bindings::_raw_spin_lock_bh(self.raw.get().cast()) };
        BhGuard(self, NotThreadSafe)
    }
}

/// Holds a [`BhLock`] in the receive path.
pub struct RxGuard<'a, T>(&'a BhLock<T>, NotThreadSafe);

impl<T> Deref for RxGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The guard is the lock's only holder.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for RxGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The guard is the lock's only holder.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for RxGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The guard's existence means that the lock is held, taken with `spin_lock()`.
        unsafe { bindings::spin_unlock(self.0.raw.get()) };
    }
}

/// Holds a [`BhLock`] in process context.
pub struct BhGuard<'a, T>(&'a BhLock<T>, NotThreadSafe);

impl<T> Deref for BhGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The guard is the lock's only holder.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for BhGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The guard is the lock's only holder.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for BhGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The guard's existence means that the lock is held, taken with
        // `_raw_spin_lock_bh()`.
        unsafe { bindings::_raw_spin_unlock_bh(self.0.raw.get().cast()) };
    }
}
