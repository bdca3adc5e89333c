// SPDX-License-Identifier: GPL-2.0

//! Packets in the receive path.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)
//!
//! A hook is given an [`RxSkb`]. It may look at it and give it back ([`Verdict::Pass`]), or make it
//! its own ([`RxSkb::into_owned`]) and then change, send or drop it. Whatever it does, the packet
//! is accounted for: both types free the buffer when they are dropped.

use crate::{bindings, route::SendError, rx::RxContext};
use core::{marker::PhantomData, mem::ManuallyDrop, ptr::NonNull};
use kernel::{ffi::c_int, prelude::*};

/// Proof that the hook has disposed of its packet.
pub struct Consumed(());

/// What a hook says of its packet.
pub enum Verdict<'a> {
    /// It goes on, untouched.
    Pass(RxSkb<'a>),
    /// It went another way.
    Consumed(Consumed),
}

/// A packet as the hook was given it, not to be changed: others may share the buffer.
///
/// # Invariants
///
/// `skb` is a valid `sk_buff` whose data begins with the network header and of which this value
/// owns one reference.
pub struct RxSkb<'a> {
    skb: NonNull<bindings::sk_buff>,
    _cx: PhantomData<&'a ()>,
}

impl<'a> RxSkb<'a> {
    /// Takes over the packet of a hook.
    ///
    /// # Safety
    ///
    /// `skb` must be valid, and the caller must give its reference away.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(skb: NonNull<bindings::sk_buff>, _cx: &'a RxContext<'_>) -> Self {
        // INVARIANT: By the safety requirement, and netfilter's ingress hook runs after
        // `skb_reset_network_header()` with `data` at the network header.
        Self {
            skb,
            _cx: PhantomData,
        }
    }

    /// Gives the reference back to netfilter.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> NonNull<bindings::sk_buff> {
        ManuallyDrop::new(self).skb
    }

    /// Whether the packet is IPv4, addressed to this host's link layer, and of this device rather
    /// than of a VLAN on top of it.
    #[inline]
    pub fn is_ipv4_for_host(&self) -> bool {
        let skb = self.skb.as_ptr();
        // SAFETY: By the type invariant `skb` is valid, for this and the following calls.
        let ipv4 = unsafe { bindings::fep_helper_skb_is_ipv4(skb) };
        // SAFETY: As above.
        let host = unsafe { bindings::fep_helper_skb_is_host(skb) };
        // SAFETY: As above.
        let tagged = unsafe { bindings::fep_helper_skb_is_of_vlan(skb) };
        ipv4 && host && !tagged
    }

    /// Length of the packet in bytes, from the network header on.
    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: By the type invariant `skb` is valid; `len` does not change under a reader.
        unsafe { (*self.skb.as_ptr()).len as usize }
    }

    /// Whether the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that lie in one piece, from the network header on.
    #[inline]
    pub fn head(&self) -> &[u8] {
        head(self.skb)
    }

    /// Copies the first bytes of the packet, wherever they lie. `None` when there are fewer.
    pub fn copy_head<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        if buffer.len() > self.len() {
            return None;
        }
        let len = c_int::try_from(buffer.len()).ok()?;
        // SAFETY: By the type invariant `skb` is valid, and `buffer` has room for `len` bytes.
        let ret = unsafe {
            bindings::skb_copy_bits(self.skb.as_ptr(), 0, buffer.as_mut_ptr().cast(), len)
        };
        (ret == 0).then_some(buffer)
    }

    /// Makes the packet the hook's own to change: a shared buffer is cloned first. When there is no
    /// memory for that the packet is dropped.
    #[inline]
    pub fn into_owned(self) -> Result<OwnedSkb<'a>, Consumed> {
        let raw = self.into_raw();
        // SAFETY: `raw` is valid and its reference is ours to give; `skb_share_check()` consumes it
        // in every case and returns one of an unshared buffer, or null. No sleeping: it allocates
        // atomically.
        let skb = unsafe { bindings::fep_helper_skb_share_check(raw.as_ptr()) };
        // INVARIANT: The buffer is not shared and the reference is ours.
        NonNull::new(skb)
            .map(|skb| OwnedSkb {
                skb,
                _cx: PhantomData,
            })
            .ok_or(Consumed(()))
    }

    /// Drops the packet.
    pub fn drop_packet(self) -> Consumed {
        drop(self);
        Consumed(())
    }
}

impl Drop for RxSkb<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::fep_helper_kfree_skb_netfilter(self.skb.as_ptr()) };
    }
}

/// A packet of the hook's own.
///
/// # Invariants
///
/// `skb` is a valid `sk_buff` that nobody shares, whose data begins with the network header. Its
/// data may still be shared with clones.
pub struct OwnedSkb<'a> {
    skb: NonNull<bindings::sk_buff>,
    _cx: PhantomData<&'a ()>,
}

impl OwnedSkb<'_> {
    /// Length of the packet in bytes, from the network header on.
    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: By the type invariant `skb` is valid and ours.
        unsafe { (*self.skb.as_ptr()).len as usize }
    }

    /// Whether the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of segments of a GSO packet; 0 for an ordinary one.
    #[inline]
    pub fn gso_segments(&self) -> u32 {
        // SAFETY: By the type invariant `skb` is valid.
        unsafe { bindings::fep_helper_skb_gso_segs(self.skb.as_ptr()) }
    }

    /// Whether the checksum of the transport header at `offset` is still to be completed
    /// (`CHECKSUM_PARTIAL`), so that its field holds the pseudo-header's sum. A packet that
    /// encapsulates may be incomplete further inside only.
    #[inline]
    pub fn checksum_is_partial(&self, offset: u16) -> bool {
        // SAFETY: By the type invariant `skb` is valid.
        unsafe { bindings::fep_helper_skb_csum_partial(self.skb.as_ptr(), c_int::from(offset)) }
    }

    /// Notes where the transport header is: `offset` bytes behind the network header.
    #[inline]
    pub fn set_transport_header(&mut self, offset: u16) {
        // SAFETY: By the type invariant `skb` is valid and ours.
        unsafe {
            bindings::fep_helper_skb_set_transport_header(self.skb.as_ptr(), c_int::from(offset))
        };
    }

    /// Cuts link-layer padding off: everything after `len` bytes.
    #[inline]
    pub fn trim(&mut self, len: usize) -> Result {
        if len >= self.len() {
            return Ok(());
        }
        // CAST: `len` is below the buffer's 32-bit length.
        // SAFETY: By the type invariant `skb` is valid and not shared.
        kernel::error::to_result(unsafe {
            bindings::fep_helper_pskb_trim_rcsum(self.skb.as_ptr(), len as u32)
        })
    }

    /// The first `len` bytes, in one piece and shared with nobody. Earlier slices are gone: the
    /// data may move.
    #[inline]
    pub fn writable(&mut self, len: usize) -> Option<&mut [u8]> {
        let want = u32::try_from(len).ok()?;
        // SAFETY: By the type invariant `skb` is valid and not shared. `skb_ensure_writable()`
        // checks `want` against the length itself.
        if unsafe { bindings::skb_ensure_writable(self.skb.as_ptr(), want) } != 0 {
            return None;
        }
        // SAFETY: `skb_ensure_writable()` succeeded: `len` bytes from `data` on are linear and no
        // clone shares them. `&mut self` keeps others off for the slice's lifetime.
        Some(unsafe { core::slice::from_raw_parts_mut((*self.skb.as_ptr()).data, len) })
    }

    /// Drops the packet.
    pub fn drop_packet(self) -> Consumed {
        drop(self);
        Consumed(())
    }

    /// The raw buffer, for this crate.
    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *mut bindings::sk_buff {
        self.skb.as_ptr()
    }

    /// Gives the buffer to a function of the kernel's that consumes it whatever happens.
    #[inline(always)]
    pub(crate) fn consume_with(
        self,
        consumer: impl FnOnce(*mut bindings::sk_buff) -> c_int,
    ) -> Result<Consumed, (Consumed, SendError)> {
        let ret = consumer(ManuallyDrop::new(self).skb.as_ptr());
        // As `net_xmit_eval()` has it: a congestion notice is no loss.
        if ret == 0 || ret == bindings::XMIT_CN {
            Ok(Consumed(()))
        } else {
            Err((Consumed(()), SendError::Dropped))
        }
    }
}

impl Drop for OwnedSkb<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::fep_helper_kfree_skb_netfilter(self.skb.as_ptr()) };
    }
}

/// The linear part of a buffer.
#[inline]
fn head<'b>(skb: NonNull<bindings::sk_buff>) -> &'b [u8] {
    // SAFETY: Callers hold a reference to a valid `sk_buff`.
    let raw = unsafe { skb.as_ref() };
    let len = raw.len.saturating_sub(raw.data_len) as usize;
    // SAFETY: `skb_headlen()` bytes from `data` on are linear; readers do not write them, and a
    // writer would need a buffer that nobody else shares.
    unsafe { core::slice::from_raw_parts(raw.data, len) }
}
