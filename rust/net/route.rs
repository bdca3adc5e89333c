// SPDX-License-Identifier: GPL-2.0

//! Output routes and sending through the neighbour layer.
//!
//! C headers: [`include/net/dst.h`](srctree/include/net/dst.h),
//! [`include/net/route.h`](srctree/include/net/route.h),
//! [`include/net/ip6_route.h`](srctree/include/net/ip6_route.h)

use crate::{
    bindings,
    family::Family,
    rx::RxContext,
    skb::{Consumed, OwnedSkb},
    word::Word,
};
use core::{
    marker::PhantomData,
    ptr::{null_mut, NonNull},
};

pub use crate::family::IcmpError;

/// A route to one destination, looked up when first needed and again when it is no longer valid:
/// after any change of routes or addresses, or when its device went away.
///
/// # Invariants
///
/// `dst` is null or a route of which this value owns a reference. A route that is replaced is
/// released at once, but the kernel frees it only a grace period later.
pub struct RouteCache<A: Family> {
    dst: Word<*mut bindings::dst_entry>,
    cookie: A::Cookie,
}

// SAFETY: Routes may be used and released in any context.
unsafe impl<A: Family> Send for RouteCache<A> {}
// SAFETY: The pointer is exchanged atomically.
unsafe impl<A: Family> Sync for RouteCache<A> {}

impl<A: Family> RouteCache<A> {
    /// An empty cache.
    #[inline]
    pub fn new() -> Self {
        // INVARIANT: Null.
        Self {
            dst: Word::new(null_mut()),
            cookie: A::no_cookie(),
        }
    }

    /// The route to `destination`, which must be the same at every call. `source` chooses among
    /// source-dependent routes and need not be an address of this host. `None` when there is no unicast
    /// route.
    #[inline(always)]
    pub fn get<'a>(
        &'a self,
        cx: &'a RxContext<'_>,
        destination: A,
        source: Option<A>,
    ) -> Option<Route<'a, A>> {
        // SAFETY: By the type invariant the route is not freed before the receive path's RCU
        // read-side critical section ends. A packet of another namespace never gets here: a cache
        // belongs to a namespace's table.
        let (dst, mtu) = unsafe { A::mtu(cx.net(), &self.dst, &self.cookie) };
        if mtu == 0 {
            return self.look_up(cx, destination, source);
        }
        let dst = NonNull::new(dst)?;
        // INVARIANT: As above.
        Some(Route {
            dst,
            mtu,
            _cx: PhantomData,
        })
    }

    #[cold]
    #[inline(never)]
    fn look_up<'a>(
        &'a self,
        cx: &'a RxContext<'_>,
        destination: A,
        source: Option<A>,
    ) -> Option<Route<'a, A>> {
        let found = A::look_up(cx.net(), destination, source);
        let new = found.as_ref().and_then(|found| NonNull::new(found.dst));
        let mtu = new.map_or(0, |dst| {
            // SAFETY: The lookup returned a valid route.
            unsafe { bindings::fep_helper_dst_mtu(dst.as_ptr()) }
        });
        // INVARIANT: The reference of `new` goes into the cache, or is what comes out again.
        let old = A::store(&self.dst, &self.cookie, found);
        if !old.is_null() {
            // SAFETY: The reference is ours. The route, even if it is `new`, outlives the RCU
            // read-side critical section of the receive path.
            unsafe { bindings::dst_release(old) };
        }
        // INVARIANT: As just said, or the cache has a reference.
        new.map(|dst| Route {
            dst,
            mtu,
            _cx: PhantomData,
        })
    }
}

impl<A: Family> Default for RouteCache<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Family> Drop for RouteCache<A> {
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
/// `dst` is a route of the family `A` that is not freed before `'a` ends.
pub struct Route<'a, A> {
    dst: NonNull<bindings::dst_entry>,
    mtu: u32,
    _cx: PhantomData<(&'a (), A)>,
}

impl<A: Family> Route<'_, A> {
    /// The MTU, a learned path MTU included, in bytes.
    #[inline(always)]
    pub fn mtu(&self) -> usize {
        self.mtu as usize
    }

    /// Whether `skb` fits this route's MTU, a learned path MTU included.
    #[inline(always)]
    pub fn fit(&self, skb: &OwnedSkb<'_>, dont_fragment: bool) -> Fit {
        if skb.len() <= self.mtu as usize {
            return Fit::Fits;
        }
        self.fit_large(skb, dont_fragment)
    }

    fn fit_large(&self, skb: &OwnedSkb<'_>, dont_fragment: bool) -> Fit {
        // SAFETY: The buffer is valid and ours.
        let fits = unsafe { bindings::fep_helper_skb_gso_fits(skb.as_ptr(), self.mtu) };
        if fits {
            Fit::Fits
        } else if dont_fragment {
            Fit::TooBig(self.mtu)
        } else {
            Fit::Fragment
        }
    }

    /// Whether the neighbour that the packet would be sent to, towards `destination` (the one the
    /// route was looked up for), has sent it, on the same device: it would go round.
    #[inline]
    pub fn is_from_there(&self, skb: &OwnedSkb<'_>, destination: A) -> bool {
        // SAFETY: By the type invariant the route is valid, and so is the buffer.
        unsafe { A::is_from(skb.as_ptr(), self.dst.as_ptr(), destination) }
    }

    /// Sends a packet to `destination` (the one the route was looked up for) through the neighbour
    /// of the next hop.
    ///
    /// # Errors
    ///
    /// The packet was dropped, by us or by whoever was to send it.
    #[inline(always)]
    pub fn send(
        self,
        skb: OwnedSkb<'_>,
        destination: A,
    ) -> Result<Consumed, (Consumed, SendError)> {
        let dst = self.dst.as_ptr();
        // SAFETY: By the type invariant the route is valid; the buffer is ours and not shared. It is
        // consumed in every case. A route is used in the receive path only.
        skb.consume_with(|skb| unsafe { A::forward(skb, dst, destination) })
    }

    /// Sends a packet to `destination` (the one the route was looked up for) through the IP layer's
    /// output, which fragments it.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn send_fragmented(
        self,
        skb: OwnedSkb<'_>,
        cx: &RxContext<'_>,
        destination: A,
    ) -> Result<Consumed, (Consumed, SendError)> {
        let dst = self.dst.as_ptr();
        // SAFETY: The buffer is ours and not shared, the route valid; the buffer is consumed in every
        // case. A route is used in the receive path only.
        skb.consume_with(|skb| unsafe { A::output(cx.net(), skb, dst, destination) })
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

/// Answers a packet, not yet changed, with an ICMP error to its sender, and drops it.
///
/// The kernel's rate limits apply. Nothing is sent where the kernel itself would send nothing: a
/// source address that is not to be answered, or no way back.
#[cold]
pub fn reject<A: Family>(
    _cx: &RxContext<'_>,
    mut skb: OwnedSkb<'_>,
    header_len: usize,
    error: IcmpError,
) -> Consumed {
    // The IP header must lie in one piece.
    if skb.writable(header_len.max(A::HEADER)).is_some() {
        // SAFETY: The buffer is ours, with its IP header linear and its device set; this is the
        // receive path.
        unsafe { A::icmp_send(skb.as_ptr(), error) };
    }
    skb.drop_packet()
}
