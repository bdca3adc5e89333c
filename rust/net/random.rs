// SPDX-License-Identifier: GPL-2.0

//! Random numbers.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

use crate::bindings;

/// A random number nobody outside the kernel can know. Any context.
pub fn random_u64() -> u64 {
    // SAFETY: An FFI call with no requirements.
    unsafe { bindings::get_random_u64() }
}
