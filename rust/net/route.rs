// SPDX-License-Identifier: GPL-2.0

//! Output routes and sending through the neighbour layer.
//!
//! C headers: [`include/net/dst.h`](srctree/include/net/dst.h),
//! [`include/net/route.h`](srctree/include/net/route.h)

use crate::{
    bindings,
    netns::Net,
    rx::RxContext,
    skb::{Consumed, OwnedSkb},
    word::Word,
};
use core::{
    marker::PhantomData,
    ptr::{null_mut, NonNull},
};
use kernel::{
    error::from_err_ptr,
    sync::atomic::Full, //
};

/// A route to one destination, looked up when first needed and again when it is no longer valid:
/// after any change of routes or addresses, or when its device went away.
///
/// # Invariants
///
/// `dst` is null or a route of which this value owns a reference. A route that is replaced is
/// released at once, but the kernel frees it only a grace period later.
pub struct RouteCache {
    dst: Word<*mut bindings::dst_entry>,
}

// SAFETY: Routes may be used and released in any context.
unsafe impl Send for RouteCache {}
// SAFETY: The pointer is exchanged atomically.
unsafe impl Sync for RouteCache {}

impl RouteCache {
    /// An empty cache.
    pub const fn new() -> Self {
        // INVARIANT: Null.
        Self {
            dst: Word::new(null_mut()),
        }
    }

    /// The route to `destination`, which must be the same at every call; addresses are
    /// `u32::from_be_bytes`. `source` chooses among source-dependent routes (0: none) and need not
    /// be an address of this host. `None` when there is no unicast route.
    #[inline]
    pub fn get<'a>(
        &'a self,
        cx: &'a RxContext<'_>,
        net: &Net,
        destination: u32,
        source: u32,
    ) -> Option<Route<'a>> {
        if let Some(dst) = NonNull::new(self.dst.get()) {
            // SAFETY: By the type invariant the route is not freed before the receive path's RCU
            // read-side critical section ends.
            let valid = unsafe { bindings::fep_helper_dst_check(dst.as_ptr()) };
            if valid == dst.as_ptr() {
                return Some(Route::new(dst, cx));
            }
        }
        self.look_up(cx, net, destination, source)
    }

    #[cold]
    fn look_up<'a>(
        &'a self,
        cx: &'a RxContext<'_>,
        net: &Net,
        destination: u32,
        source: u32,
    ) -> Option<Route<'a>> {
        // SAFETY: The namespace is alive; the lookup does not sleep. The result is checked.
        let dst = from_err_ptr(unsafe {
            bindings::fep_helper_route_output(net.as_ptr(), destination.to_be(), source.to_be())
        });
        let new = dst.ok().and_then(NonNull::new).filter(|dst| {
            // SAFETY: The lookup returned a valid route, and a reference to it.
            let unicast = unsafe { bindings::fep_helper_route_is_unicast(dst.as_ptr()) };
            if !unicast {
                // SAFETY: As above; the reference is ours.
                unsafe { bindings::dst_release(dst.as_ptr()) };
            }
            unicast
        });
        let raw = new.map_or(null_mut(), NonNull::as_ptr);
        // INVARIANT: The reference of `new` goes into the cache; the old one comes out.
        let old = self.dst.atomic().xchg(raw, Full);
        if !old.is_null() {
            // SAFETY: By the type invariant the reference was the cache's.
            unsafe { bindings::dst_release(old) };
        }
        new.map(|dst| Route::new(dst, cx))
    }
}

impl Default for RouteCache {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for RouteCache {
    fn drop(&mut self) {
        let dst = self.dst.get();
        if !dst.is_null() {
            // SAFETY: By the type invariant the reference is ours. May be called in softirq.
            unsafe { bindings::dst_release(dst) };
        }
    }
}

/// Whether a packet fits the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Fits,
    /// It has to be fragmented.
    Fragment,
    /// It is too large and must not be fragmented; the MTU in bytes.
    TooBig(u32),
}

/// A route that is valid in this receive path.
///
/// # Invariants
///
/// `dst` is an IPv4 route that is not freed before `'a` ends.
pub struct Route<'a> {
    dst: NonNull<bindings::dst_entry>,
    _cx: PhantomData<&'a ()>,
}

impl<'a> Route<'a> {
    #[inline(always)]
    fn new(dst: NonNull<bindings::dst_entry>, _cx: &'a RxContext<'_>) -> Self {
        // INVARIANT: Callers have it from a `RouteCache`, whose invariant says so.
        Self {
            dst,
            _cx: PhantomData,
        }
    }

    /// Whether `skb` fits this route's MTU, a learned path MTU included.
    #[inline]
    pub fn fit(&self, skb: &OwnedSkb<'_>, dont_fragment: bool) -> Fit {
        // SAFETY: By the type invariant the route is valid.
        let mtu = unsafe { bindings::fep_helper_dst_mtu(self.dst.as_ptr()) };
        if skb.len() <= mtu as usize {
            return Fit::Fits;
        }
        if skb.gso_segments() != 0 {
            // SAFETY: The buffer is valid and a GSO packet.
            if unsafe { bindings::fep_helper_skb_gso_fits(skb.as_ptr(), mtu) } {
                return Fit::Fits;
            }
        }
        if dont_fragment {
            Fit::TooBig(mtu)
        } else {
            Fit::Fragment
        }
    }

    /// Sends a packet to `destination` (the one the route was looked up for) through the neighbour
    /// of the next hop.
    ///
    /// # Errors
    ///
    /// The packet was dropped, by us or by whoever was to send it.
    #[inline]
    pub fn send(
        self,
        skb: OwnedSkb<'_>,
        destination: u32,
    ) -> Result<Consumed, (Consumed, SendError)> {
        let dst = self.dst.as_ptr();
        let skb = self.prepare(skb)?;
        skb.consume_with(|skb| {
            // SAFETY: The route is valid, the buffer ours with room for the link-layer header; it
            // is consumed in every case. The receive path has bottom halves off.
            unsafe { bindings::fep_helper_route_xmit(dst, skb, destination.to_be()) }
        })
    }

    /// Sends a packet through the IP layer's output, which fragments it.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn send_fragmented(
        self,
        skb: OwnedSkb<'_>,
        net: &Net,
    ) -> Result<Consumed, (Consumed, SendError)> {
        let skb = self.prepare(skb)?;
        skb.consume_with(|skb| {
            // SAFETY: The buffer is ours and has this route; it is consumed in every case.
            unsafe { bindings::fep_helper_dst_output(net.as_ptr(), skb) }
        })
    }

    /// Makes the buffer one that leaves by this route.
    #[inline]
    fn prepare<'s>(&self, skb: OwnedSkb<'s>) -> Result<OwnedSkb<'s>, (Consumed, SendError)> {
        let dst = self.dst.as_ptr();
        // SAFETY: By the type invariant the route is valid, and a route has a device.
        let dev = unsafe { bindings::fep_helper_route_dev(dst) };
        // SAFETY: The device is valid as long as the route is.
        let room = unsafe { bindings::fep_helper_ll_reserved_space(dev) };
        // SAFETY: The buffer is ours, and not shared.
        if unsafe { bindings::fep_helper_skb_cow_head(skb.as_ptr(), room) } != 0 {
            return Err((skb.drop_packet(), SendError::NoMemory));
        }
        // SAFETY: The buffer is ours.
        unsafe { bindings::fep_helper_skb_forward_reset(skb.as_ptr()) };
        // SAFETY: The buffer has no route any more; the RCU read side is locked, and whoever
        // queues the buffer takes a reference.
        unsafe { bindings::fep_helper_skb_dst_set_noref(skb.as_ptr(), dst) };
        // SAFETY: The buffer is ours, the device valid.
        unsafe { bindings::fep_helper_skb_set_dev(skb.as_ptr(), dev) };
        Ok(skb)
    }
}

/// Why a packet was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// No memory for the link-layer header.
    NoMemory,
    /// The neighbour, the queue or the device dropped it.
    Dropped,
}

/// ICMP errors that a router sends (RFC 792).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// The time to live ended (type 11, code 0).
    TimeExceeded,
    /// Fragmentation is needed but forbidden (type 3, code 4), with the MTU in bytes (RFC 1191).
    FragmentationNeeded(u32),
}

/// Bytes of an IPv4 header without options.
const IP_HEADER: usize = 20;

/// Answers a packet, not yet changed, with an ICMP error to its sender, and drops it.
///
/// The kernel's rate limits apply. Nothing is sent where the kernel itself would send nothing: a
/// source address that is not to be answered, or no way back.
#[cold]
pub fn reject(
    _cx: &RxContext<'_>,
    mut skb: OwnedSkb<'_>,
    header_len: usize,
    error: IcmpError,
) -> Consumed {
    // The IP header must lie in one piece.
    if skb.writable(header_len.max(IP_HEADER)).is_none() {
        return skb.drop_packet();
    }
    let (kind, code, info) = match error {
        IcmpError::TimeExceeded => (11, 0, 0),
        IcmpError::FragmentationNeeded(mtu) => (3, 4, mtu),
    };
    // SAFETY: The buffer is ours, with its IP header linear and its device set; RCU is locked.
    if unsafe { bindings::fep_helper_route_input(skb.as_ptr()) } == 0 {
        // SAFETY: The buffer is ours and has a route, which ICMP asks for.
        unsafe { bindings::fep_helper_icmp_send(skb.as_ptr(), kind, code, info.to_be()) };
    }
    skb.drop_packet()
}
