// SPDX-License-Identifier: GPL-2.0

//! Coarse time, and giving it away.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use crate::bindings;

/// Ticks in a second.
pub const TICKS_PER_SECOND: u32 = bindings::TICKS_PER_SECOND;

/// The lower half of `jiffies`: coarse monotonic time that wraps. Any context.
#[inline(always)]
pub fn ticks() -> u32 {
    // SAFETY: `jiffies` is a static that the timer interrupt writes whole; C reads it through a
    // volatile access too.
    let now = unsafe { core::ptr::read_volatile(&raw const bindings::jiffies) };
    // CAST: The lower half is meant; users compare with wrapping arithmetic.
    now as u32
}

/// Whether the current task is being killed: long loops on its behalf end then. Process context.
pub fn killed() -> bool {
    // SAFETY: An FFI call with no requirements: the current task exists.
    unsafe { bindings::fep_helper_fatal_signal_pending() }
}

/// Lets others run, if they wait. Process context, with nothing locked: long loops call it.
pub fn give_way() {
    // SAFETY: An FFI call with no requirements but that sleeping is allowed.
    unsafe { bindings::fep_helper_cond_resched() };
}
