// SPDX-License-Identifier: GPL-2.0

//! Work that is done again and again in process context.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)
//!
//! `kernel::workqueue` has delayed work, but no way to cancel it and wait.

use crate::bindings;
use kernel::{
    ffi::c_ulong,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// What is done periodically.
pub trait Periodic: Send + Sync + 'static {
    /// Does it once. Process context, may sleep. Returns after how many ticks to do it again.
    fn run(&self) -> u32;
}

/// Periodic work; stops, and waits for a run to end, when it is dropped.
///
/// # Invariants
///
/// `work` is initialised with `run()` and enabled, until it is dropped.
#[pin_data(PinnedDrop)]
pub struct PeriodicWork<T: Periodic> {
    #[pin]
    work: Opaque<bindings::delayed_work>,
    target: Arc<T>,
}

// SAFETY: Work may be queued and cancelled on any thread.
unsafe impl<T: Periodic> Send for PeriodicWork<T> {}
// SAFETY: As above.
unsafe impl<T: Periodic> Sync for PeriodicWork<T> {}

impl<T: Periodic> PeriodicWork<T> {
    /// Starts the work: the first run is after `delay` ticks.
    pub fn start(target: Arc<T>, delay: u32) -> Result<Pin<KBox<Self>>> {
        let this = KBox::try_pin_init(
            try_pin_init!(Self {
                // INVARIANT: The work is initialised here.
                work <- Opaque::ffi_init(|slot| {
                    // SAFETY: The slot is valid for writes, and pinned from now on.
                    unsafe { bindings::fep_helper_init_delayed_work(slot, Some(Self::run)) }
                }),
                target: target,
            }? Error),
            GFP_KERNEL,
        )?;
        // SAFETY: By the type invariant the work is initialised; it is pinned until `drop()` has
        // cancelled it.
        // CAST: Widening.
        unsafe { bindings::fep_helper_queue_delayed_work(this.work.get(), delay as c_ulong) };
        Ok(this)
    }

    /// # Safety
    ///
    /// To be called by the workqueue only, with the `work` of a `PeriodicWork<T>`.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        let this = work
            .wrapping_byte_sub(core::mem::offset_of!(bindings::delayed_work, work))
            .wrapping_byte_sub(core::mem::offset_of!(Self, work))
            .cast::<Self>();
        // SAFETY: By the safety requirement; `drop()` waits for this to return.
        let this = unsafe { &*this };
        let delay = this.target.run();
        // SAFETY: By the type invariant. Queueing does nothing once `drop()` has disabled the work.
        // CAST: Widening.
        unsafe { bindings::fep_helper_queue_delayed_work(this.work.get(), delay as c_ulong) };
    }
}

#[pinned_drop]
impl<T: Periodic> PinnedDrop for PeriodicWork<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the work is initialised. Sleeps until a run has ended, and
        // keeps it from being queued again.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }
}
