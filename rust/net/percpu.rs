// SPDX-License-Identifier: GPL-2.0

//! Counters with a copy for every CPU.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use crate::{bindings, rx::RxContext, word::Word};
use core::ptr::NonNull;
use kernel::{alloc::AllocError, ffi::c_void};

/// `N` counters for every possible CPU, so that no two CPUs write one cache line.
///
/// # Invariants
///
/// `area` is a per-CPU allocation of one `[Word<u64>; N]` for every possible CPU, initialised, and
/// owned by this value.
pub struct PerCpuCounters<const N: usize> {
    area: NonNull<c_void>,
}

// SAFETY: The allocation is not tied to the thread that made it.
unsafe impl<const N: usize> Send for PerCpuCounters<N> {}
// SAFETY: The counters are `Word`s, which may be accessed concurrently.
unsafe impl<const N: usize> Sync for PerCpuCounters<N> {}

impl<const N: usize> PerCpuCounters<N> {
    /// Allocates counters of value zero. May sleep.
    pub fn new() -> Result<Self, AllocError> {
        let size = core::mem::size_of::<[Word<u64>; N]>();
        // SAFETY: An FFI call with no requirements but a sane size and alignment; the result is
        // checked.
        let area = unsafe {
            bindings::fep_helper_alloc_percpu(size, core::mem::align_of::<[Word<u64>; N]>())
        };
        // INVARIANT: The allocation is per CPU, of the right size, and zeroed, which is a valid
        // value of the counters.
        Ok(Self {
            area: NonNull::new(area.cast()).ok_or(AllocError)?,
        })
    }

    /// This CPU's counters.
    #[inline(always)]
    pub fn local<'a>(&'a self, cx: &'a RxContext<'_>) -> &'a [Word<u64>; N] {
        let ptr = self.area.as_ptr().wrapping_byte_add(cx.cpu_offset());
        // SAFETY: By the type invariant `area` is a per-CPU allocation with initialised counters for
        // this CPU, which live as long as `self`; bottom halves are off, so the CPU does not change.
        unsafe { &*ptr.cast() }
    }

    /// The sum over all CPUs of counter `index`; zero if there is no such counter. Any context.
    pub fn sum(&self, index: usize) -> u64 {
        // SAFETY: `nr_cpu_ids` is written at boot only.
        let cpus = unsafe { bindings::nr_cpu_ids };
        let mut sum = 0u64;
        for cpu in 0..cpus {
            // SAFETY: An FFI call with no requirements but a CPU number below `nr_cpu_ids`.
            if !unsafe { bindings::fep_helper_cpu_possible(cpu) } {
                continue;
            }
            // SAFETY: By the type invariant `area` is a per-CPU allocation, and `cpu` is possible.
            let ptr = unsafe { bindings::fep_helper_per_cpu_ptr(self.area.as_ptr(), cpu) };
            // SAFETY: By the type invariant every possible CPU has initialised counters there.
            let counters: &[Word<u64>; N] = unsafe { &*ptr.cast() };
            sum = sum.wrapping_add(counters.get(index).map_or(0, Word::get));
        }
        sum
    }
}

impl<const N: usize> Drop for PerCpuCounters<N> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this value owns the allocation. `free_percpu()` may be
        // called in any context but NMI.
        unsafe { bindings::free_percpu(self.area.as_ptr()) };
    }
}
