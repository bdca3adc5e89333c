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
/// owns one reference. `arrival` is what it was when it came.
pub struct RxSkb<'a> {
    skb: NonNull<bindings::sk_buff>,
    arrival: Arrival,
    _cx: PhantomData<&'a ()>,
}

impl<'a> RxSkb<'a> {
    /// Takes over the packet of a hook.
    ///
    /// # Safety
    ///
    /// `skb` must be valid, and the caller must give its reference away. `arrival` is what `fep_helper_arrival()` says of it.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(
        skb: NonNull<bindings::sk_buff>,
        arrival: u32,
        _cx: &'a RxContext<'_>,
    ) -> Self {
        // INVARIANT: By the safety requirement, and netfilter's ingress hook runs after
        // `skb_reset_network_header()` with `data` at the network header.
        Self {
            skb,
            arrival: Arrival(arrival),
            _cx: PhantomData,
        }
    }

    /// Gives the reference back to netfilter.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> NonNull<bindings::sk_buff> {
        ManuallyDrop::new(self).skb
    }

    /// What kind of packet arrived, and where.
    #[inline(always)]
    pub fn arrival(&self) -> Arrival {
        self.arrival
    }

    /// Length of the packet in bytes, from the network header on.
    #[inline(always)]
    pub fn len(&self) -> usize {
        // SAFETY: By the type invariant `skb` is valid.
        unsafe { self.skb.as_ref() }.len as usize
    }

    /// Whether the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that lie in one piece, from the network header on.
    #[inline(always)]
    pub fn head(&self) -> &[u8] {
        // SAFETY: By the type invariant `skb` is valid.
        let raw = unsafe { self.skb.as_ref() };
        // SAFETY: So many bytes from `data` on are linear; readers do not write them, and a writer would
        // need a buffer that nobody else shares.
        unsafe {
            core::slice::from_raw_parts(raw.data, raw.len.wrapping_sub(raw.data_len) as usize)
        }
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

    /// The GSO segments of a [special](Arrival::is_special) packet that has `len` bytes and no more, with
    /// its transport header `transport` bytes behind the network header, and fits the MTU; 0 for one
    /// that is not GSO's. `None` where any of that is otherwise.
    #[cold]
    #[inline(never)]
    pub fn special_segments(&self, len: usize, mtu: usize, transport: u16) -> Option<u32> {
        if self.len() != len {
            return None;
        }
        let mtu = u32::try_from(mtu).ok()?;
        // SAFETY: By the type invariant `skb` is valid. A special packet is the hook's alone, and where
        // its transport header is, is asked of nobody before that is noted again.
        let segments = unsafe {
            bindings::fep_helper_skb_special_fits(self.skb.as_ptr(), mtu, c_int::from(transport))
        };
        u32::try_from(segments).ok()
    }

    /// Makes a packet that is [ordinary](Arrival::is_ordinary), or [special](Arrival::is_special) and
    /// has neither options nor extension headers, the hook's own, with so many bytes writable: its
    /// headers, at most. Others, and those with fewer linear bytes, come back.
    #[inline(always)]
    pub fn into_writable<const SPECIAL: bool>(self, writable: u16) -> Result<OwnedSkb<'a>, Self> {
        let ordinary = !SPECIAL;
        let is_such = if SPECIAL {
            self.arrival.is_special()
        } else {
            self.arrival.is_ordinary()
        };
        if !is_such || self.head().len() < usize::from(writable) {
            return Err(self);
        }
        // INVARIANT: The buffer was not shared when it arrived, and nobody takes a reference to one of
        // which we have the only one. The same goes for its data, or, of a special packet, for its
        // headers.
        Ok(OwnedSkb {
            skb: self.into_raw(),
            ordinary,
            writable,
            _cx: PhantomData,
        })
    }

    /// Makes the packet the hook's own to change: a shared buffer is cloned first. When there is no
    /// memory for that the packet is dropped.
    #[inline(always)]
    pub fn into_owned(self) -> Result<OwnedSkb<'a>, Consumed> {
        let ordinary = self.arrival.is_ordinary();
        let raw = self.into_raw();
        if ordinary {
            // INVARIANT: The buffer was not shared when it arrived, and nobody takes a reference to one
            // of which we have the only one. The same goes for its data.
            return Ok(OwnedSkb {
                skb: raw,
                ordinary,
                writable: 0,
                _cx: PhantomData,
            });
        }
        Self::clone_shared(raw)
    }

    #[cold]
    #[inline(never)]
    fn clone_shared(raw: NonNull<bindings::sk_buff>) -> Result<OwnedSkb<'a>, Consumed> {
        // SAFETY: `raw` is valid and its reference is ours to give; `skb_share_check()` consumes it
        // in every case and returns one of an unshared buffer, or null. No sleeping: it allocates
        // atomically.
        let skb = unsafe { bindings::fep_helper_skb_share_check(raw.as_ptr()) };
        // INVARIANT: The buffer is not shared and the reference is ours.
        NonNull::new(skb)
            .map(|skb| OwnedSkb {
                skb,
                ordinary: false,
                writable: 0,
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

/// What [`RxSkb::arrival`] found.
#[derive(Clone, Copy)]
pub struct Arrival(u32);

impl Arrival {
    /// 4 or 6: the version of an IP packet that is addressed to this host's link layer, and of its
    /// device rather than of a VLAN on top of it; else 0.
    #[inline(always)]
    pub fn ip_version(self) -> u32 {
        self.0 & 7
    }

    /// Whether the packet is an ordinary one: nobody else has it or its data, it is no GSO packet, and
    /// its checksum is complete.
    #[inline(always)]
    pub fn is_ordinary(self) -> bool {
        self.0 & 8 != 0
    }

    /// Whether its headers can be changed where they are though it is not ordinary: it is of GSO, its
    /// checksum is to be completed, or others have its data, but nobody the packet or these headers. That
    /// is so if it has neither options nor extension headers.
    #[inline(always)]
    pub fn is_special(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// Whether the checksum of a [special](Self::is_special) packet's transport header is to be
    /// completed.
    #[inline(always)]
    pub fn checksum_is_partial(self) -> bool {
        self.0 & 0x20 != 0
    }

    /// A bit for the device, by the lower bits of its index.
    #[inline(always)]
    pub fn device_bit(self) -> u64 {
        1u64.wrapping_shl(self.0 >> 8)
    }
}

/// What [`OwnedSkb::prepare`] found.
#[derive(Clone, Copy)]
pub struct Prepared(u32);

impl Prepared {
    /// Number of segments of a GSO packet; 0 for an ordinary one.
    #[inline(always)]
    pub fn gso_segments(self) -> u32 {
        self.0 & 0xffff
    }

    /// Whether the checksum of the transport header is still to be completed (`CHECKSUM_PARTIAL`), so
    /// that its field holds the pseudo-header's sum. A packet that encapsulates may be incomplete
    /// further inside only.
    #[inline(always)]
    pub fn checksum_is_partial(self) -> bool {
        self.0 & 1 << 16 != 0
    }
}

/// A packet of the hook's own.
///
/// # Invariants
///
/// `skb` is a valid `sk_buff` that nobody shares, whose data begins with the network header. Its
/// data may still be shared with clones, but for the first `writable` bytes, which are linear too, and
/// not if it is `ordinary`: as [`Arrival::is_ordinary`] has it.
pub struct OwnedSkb<'a> {
    skb: NonNull<bindings::sk_buff>,
    ordinary: bool,
    writable: u16,
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

    /// Notes that the transport header is `transport` bytes behind the network header, and makes the
    /// first `writable` bytes linear and shared with nobody: see [`head_mut`](Self::head_mut).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline(always)]
    pub fn prepare(&mut self, writable: u16, transport: u16) -> Result<Prepared> {
        // SAFETY: By the type invariant `skb` is valid and ours.
        let raw = unsafe { self.skb.as_ref() };
        if self.ordinary && u32::from(writable) <= raw.len.wrapping_sub(raw.data_len) {
            // Who sends an ordinary packet does not ask where its transport header is.
            // INVARIANT: So much is linear, and an ordinary packet's data is not shared.
            self.writable = writable;
            return Ok(Prepared(0));
        }
        // SAFETY: By the type invariant `skb` is valid and not shared. `skb_ensure_writable()` checks
        // the length itself.
        let prepared = unsafe {
            bindings::fep_helper_skb_prepare(
                self.skb.as_ptr(),
                u32::from(writable),
                c_int::from(transport),
            )
        };
        // CAST: Negative is an error, everything else a set of bits.
        if prepared < 0 {
            return Err(ENOMEM);
        }
        // INVARIANT: The helper has just seen to it.
        self.writable = writable;
        Ok(Prepared(prepared as u32))
    }

    /// The bytes that [`prepare`](Self::prepare) made writable.
    #[inline(always)]
    pub fn head_mut(&mut self) -> &mut [u8] {
        // SAFETY: By the type invariant so many bytes from `data` on are linear and no clone shares
        // them. `&mut self` keeps others off for the slice's lifetime.
        unsafe {
            core::slice::from_raw_parts_mut((*self.skb.as_ptr()).data, usize::from(self.writable))
        }
    }

    /// Cuts link-layer padding off: everything after `len` bytes.
    #[inline(always)]
    pub fn trim(&mut self, len: usize) -> Result {
        if len >= self.len() {
            return Ok(());
        }
        // INVARIANT: What was writable may move, or go. An ordinary packet's head stays where it is.
        self.writable = match self.ordinary {
            // CAST: Not above `writable`.
            true => len.min(usize::from(self.writable)) as u16,
            false => 0,
        };
        // CAST: `len` is below the buffer's 32-bit length.
        // SAFETY: By the type invariant `skb` is valid and not shared.
        kernel::error::to_result(unsafe {
            bindings::fep_helper_pskb_trim_rcsum(self.skb.as_ptr(), len as u32)
        })
    }

    /// The first `len` bytes, in one piece and shared with nobody. Earlier slices are gone: the
    /// data may move.
    pub fn writable(&mut self, len: usize) -> Option<&mut [u8]> {
        let want = u32::try_from(len).ok()?;
        // INVARIANT: What was writable may move.
        self.writable = 0;
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
        if ret == 0 {
            Ok(Consumed(()))
        } else {
            Self::consumed_with(ret)
        }
    }

    #[cold]
    fn consumed_with(ret: c_int) -> Result<Consumed, (Consumed, SendError)> {
        if ret == bindings::XMIT_CN {
            Ok(Consumed(()))
        } else if ret == ENOMEM.to_errno() {
            Err((Consumed(()), SendError::NoMemory))
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
