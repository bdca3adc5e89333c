// SPDX-License-Identifier: GPL-2.0

//! What the self-test build has beyond the others: packets of any shape, the receive path by hand, and
//! deliberate faults.

use crate::{bindings, netns::Net, rx::RxContext, skb::RxSkb};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{ffi::c_int, prelude::*};

/// Runs `f` as in the receive path: bottom halves off, RCU read side locked. Process context.
pub fn receive<R>(net: &Net, f: impl FnOnce(&RxContext<'_>) -> R) -> R {
    // SAFETY: An FFI call with no requirements; it is undone below.
    let cpu_offset = unsafe { bindings::fep_helper_selftest_enter() };
    // CAST: An offset in memory.
    // SAFETY: Bottom halves are off and the RCU read side is locked until the call has returned.
    let result = f(&unsafe { RxContext::new(net, cpu_offset as usize) });
    // SAFETY: Entered above.
    unsafe { bindings::fep_helper_selftest_leave() };
    result
}

/// Tracked packets that nobody has freed yet. Any context.
pub fn packets_alive() -> i32 {
    // SAFETY: An FFI call with no requirements.
    unsafe { bindings::fep_helper_selftest_alive() }
}

/// How a packet lies in memory.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Bytes in the head; the others are in a page of their own.
    pub linear: usize,
    /// Bytes in front of it.
    pub headroom: u32,
    /// Whether [`packets_alive`] counts it.
    pub tracked: bool,
    /// Whether there is a clone, which shares the bytes.
    pub cloned: bool,
    /// Whether somebody else has the packet itself.
    pub shared: bool,
    /// Bytes of payload in each segment of a GSO packet of TCP and IPv4, or 0.
    pub gso: u32,
    /// Where the transport header begins whose checksum is to be completed, and where that is in it.
    pub partial: Option<(i32, i32)>,
}

/// Whoever else has a packet, or its bytes.
///
/// # Invariants
///
/// Owns a reference to a valid `sk_buff`.
pub struct Other<'a>(NonNull<bindings::sk_buff>, PhantomData<&'a ()>);

impl Other<'_> {
    /// Whether its bytes are these.
    pub fn has(&self, bytes: &[u8], buffer: &mut [u8]) -> bool {
        let Some(buffer) = buffer.get_mut(..bytes.len()) else {
            return false;
        };
        // CAST: A packet's length, which a 32-bit field has.
        // SAFETY: By the type invariant the packet is valid, and `buffer` has room for so many bytes.
        let ret = unsafe {
            let len = bytes.len() as c_int;
            bindings::skb_copy_bits(self.0.as_ptr(), 0, buffer.as_mut_ptr().cast(), len)
        };
        ret == 0 && buffer == bytes
    }
}

impl Drop for Other<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::fep_helper_kfree_skb_netfilter(self.0.as_ptr()) };
    }
}

/// A packet as it might arrive, and whoever else has it. `None` without memory, or where no more than a
/// page could hold what is not linear.
pub fn packet<'a>(
    cx: &'a RxContext<'_>,
    bytes: &[u8],
    shape: &Shape,
) -> Option<(RxSkb<'a>, Option<Other<'a>>)> {
    if bytes.is_empty() || bytes.len().checked_sub(shape.linear)? > 4096 {
        return None;
    }
    let len = u32::try_from(bytes.len()).ok()?;
    let linear = u32::try_from(shape.linear).ok()?;
    // SAFETY: The namespace is alive, and so many bytes are there.
    let raw = unsafe {
        bindings::fep_helper_selftest_skb(
            cx.net().as_ptr(),
            bytes.as_ptr(),
            len,
            linear,
            shape.headroom,
            shape.tracked,
        )
    };
    let skb = NonNull::new(raw)?;
    if shape.gso != 0 {
        // SAFETY: The packet was just made.
        unsafe { bindings::fep_helper_selftest_gso(raw, shape.gso) };
    }
    if let Some((start, offset)) = shape.partial {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_selftest_partial(raw, start, offset) };
    }
    let other = match (shape.cloned, shape.shared) {
        // SAFETY: As above; null is looked at below.
        (true, _) => unsafe { bindings::fep_helper_selftest_clone(raw) },
        // SAFETY: As above.
        (_, true) => unsafe { bindings::fep_helper_selftest_share(raw) },
        _ => core::ptr::null_mut(),
    };
    // INVARIANT: The reference was just taken.
    let other = NonNull::new(other).map(|other| Other(other, PhantomData));
    // SAFETY: The packet is valid.
    let arrival = unsafe { bindings::fep_helper_arrival(raw) };
    // CAST: The kind has 32 bits.
    // SAFETY: The packet is valid and its reference ours; `arrival` is what was said of it.
    let skb = unsafe { RxSkb::from_raw(skb, arrival.kind as u32, cx) };
    Some((skb, other))
}

/// A fault that is made on purpose, for a detector to be seen to work. The kernel is not to be relied on
/// afterwards.
pub type Fault = fn();

/// Faults of process context, by the name that the tests know them by.
pub const FAULTS: &[(&str, Fault)] = &[
    ("use_after_free", || {
        // SAFETY: None: that is its purpose. The same goes for all of these.
        unsafe { bindings::fep_helper_fault_use_after_free() }
    }),
    ("use_after_free_rust", use_after_free),
    ("out_of_bounds", || {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_fault_out_of_bounds() }
    }),
    ("leak", || {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_fault_leak() }
    }),
    ("shift", || {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_fault_shift(64) };
    }),
    ("reference", || {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_fault_reference() }
    }),
    ("list", || {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_fault_list() }
    }),
    ("object", || {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_fault_object() }
    }),
    ("cache", || {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_fault_cache() }
    }),
    ("lock_inversion", || {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_fault_lock_inversion() }
    }),
    ("suspicious_rcu", || {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_fault_rcu() };
    }),
    ("race", || {
        // SAFETY: As above.
        unsafe { bindings::fep_helper_fault_race() }
    }),
    ("softirq_lock", softirq_lock),
];

/// Takes a lock: a fault if it is done both in a softirq and with bottom halves on.
pub fn softirq_lock() {
    // SAFETY: None, as above.
    unsafe { bindings::fep_helper_fault_softirq_lock() }
}

/// What may sleep: a fault in the receive path.
pub fn sleep() {
    // SAFETY: None, as above.
    unsafe { bindings::fep_helper_fault_sleep() }
}

/// Shows that Rust, too, is under the eyes of KASAN.
fn use_after_free() {
    let Ok(memory) = KBox::new([0u8; 200], GFP_KERNEL) else {
        return;
    };
    let raw = KBox::into_raw(memory);
    // SAFETY: From `KBox::into_raw()`.
    drop(unsafe { KBox::from_raw(raw) });
    // SAFETY: None: that is its purpose.
    unsafe { raw.cast::<u8>().wrapping_add(100).write_volatile(1) };
}
