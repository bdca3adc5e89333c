// SPDX-License-Identifier: GPL-2.0

//! Words that several CPUs read and write whole.
//!
//! C header: [`include/asm-generic/rwonce.h`](srctree/include/asm-generic/rwonce.h)
//!
//! `kernel::sync::atomic` calls a C helper for every load and store. On the packet path a plain
//! `READ_ONCE()`/`WRITE_ONCE()` is wanted inline: that is a [`Word`]. Read-modify-write operations
//! go through [`Word::atomic`] and so keep the kernel's semantics.

use kernel::sync::atomic::{Atomic, AtomicType};

/// A word that may be read and written at the same time, without any order between words.
#[repr(transparent)]
pub struct Word<T: AtomicType>(Atomic<T>);

impl<T: AtomicType> Word<T> {
    /// Creates a word.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self(Atomic::new(value))
    }

    /// `READ_ONCE()`. Any context.
    #[inline(always)]
    pub fn get(&self) -> T {
        // SAFETY: `as_ptr()` is valid and aligned for as long as `self` is borrowed. Every access
        // to the word is a volatile access of its full size or an atomic operation, which do not
        // race by the kernel's memory model.
        unsafe { core::ptr::read_volatile(self.0.as_ptr()) }
    }

    /// `WRITE_ONCE()`. Any context.
    #[inline(always)]
    pub fn set(&self, value: T) {
        // SAFETY: As in `get()`; `Atomic` permits writing through a shared reference.
        unsafe { core::ptr::write_volatile(self.0.as_ptr(), value) }
    }

    /// The same word for read-modify-write and ordered operations.
    #[inline(always)]
    pub const fn atomic(&self) -> &Atomic<T> {
        &self.0
    }
}

impl Word<u64> {
    /// Adds without any protection against a concurrent writer: for words that one CPU at a time
    /// writes. Wraps round.
    #[inline(always)]
    pub fn add_local(&self, value: u64) {
        self.set(self.get().wrapping_add(value));
    }
}

/// A value on cache lines of its own: what is written often must not share a line with what every
/// packet reads.
#[repr(align(64))]
pub struct OwnLine<T>(pub T);

impl<T> core::ops::Deref for OwnLine<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}
