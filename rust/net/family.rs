// SPDX-License-Identifier: GPL-2.0

//! What IPv4 and IPv6 do differently, for the types that are generic over addresses.

use crate::{bindings, netns::Net, word::Word};
use calls::Calls;
use core::{
    net::{Ipv4Addr, Ipv6Addr},
    ptr::null_mut,
};
use kernel::{
    error::from_err_ptr,
    ffi::c_int,
    sync::atomic::{Acquire, Full, Relaxed, Release},
};

/// An address of a family that packets can be routed in.
pub trait Family: Calls {}

impl Family for Ipv4Addr {}
impl Family for Ipv6Addr {}

/// ICMP errors that a router sends (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// The time to live, or hop limit, ended in transit.
    TimeExceeded,
    /// The packet is too large for the way out and must not be fragmented, with the MTU in bytes
    /// (RFC 1191, RFC 8201).
    TooBig(u32),
}

/// A route that a lookup found, with a reference, and what tells later whether it is still valid.
pub struct Found {
    pub(crate) dst: *mut bindings::dst_entry,
    cookie: u32,
}

pub(crate) mod calls {
    use super::*;

    /// The calls themselves, for this crate.
    pub trait Calls: Copy + Send + Sync + 'static {
        /// What is kept beside a cached route.
        type Cookie: Send + Sync;
        /// That of no route.
        fn no_cookie() -> Self::Cookie;
        /// Bytes of an IP header without options or extension headers.
        const HEADER: usize;

        /// Looks up a unicast route for output. Does not sleep.
        fn look_up(net: &Net, destination: Self, source: Option<Self>) -> Option<Found>;

        /// Puts a route into a cache, together with its cookie. Returns the route, if any, whose
        /// reference is the caller's to release; the cache has none of it.
        fn store(
            cache: &Word<*mut bindings::dst_entry>,
            cookie: &Self::Cookie,
            new: Option<Found>,
        ) -> *mut bindings::dst_entry;

        /// The MTU of the cached route, 0 when there is none that is still valid.
        ///
        /// # Safety
        ///
        /// The route in the cache must not be freed meanwhile; `net` is the one that it was looked up
        /// in.
        unsafe fn mtu(
            net: &Net,
            cache: &Word<*mut bindings::dst_entry>,
            cookie: &Self::Cookie,
        ) -> (*mut bindings::dst_entry, u32);

        /// Sends a packet through the neighbour of the route's next hop.
        ///
        /// # Safety
        ///
        /// `skb` must be valid, not shared and the caller's to give away; the route valid. In the
        /// receive path only.
        unsafe fn forward(
            skb: *mut bindings::sk_buff,
            dst: *mut bindings::dst_entry,
            destination: Self,
        ) -> c_int;

        /// Sends a packet through the IP layer's output towards `destination`.
        ///
        /// # Safety
        ///
        /// As for `forward`.
        unsafe fn output(
            net: &Net,
            skb: *mut bindings::sk_buff,
            dst: *mut bindings::dst_entry,
            destination: Self,
        ) -> c_int;

        /// Whether the neighbour that the packet would be sent to has sent it, here.
        ///
        /// # Safety
        ///
        /// As for `forward`, but that the packet stays the caller's.
        unsafe fn is_from(
            skb: *const bindings::sk_buff,
            dst: *mut bindings::dst_entry,
            destination: Self,
        ) -> bool;

        /// Answers a packet with an ICMP error.
        ///
        /// # Safety
        ///
        /// `skb` must be valid and not shared, with its IP header linear and its device set. In the
        /// receive path only.
        unsafe fn icmp_send(skb: *mut bindings::sk_buff, error: IcmpError);

        /// Whether the address is one of the namespace's own. Any context.
        fn is_local(self, net: &Net) -> bool;

        /// Whether the address can be another host's. Any context.
        fn is_foreign_host(self, net: &Net) -> bool;

        /// The address, and below it the generation of the routing tables that say whose it is: another
        /// one after each change. `None` where a lookup costs no more than that. Any context.
        fn in_generation(self, net: &Net) -> Option<u64>;
    }
}

/// An address as the kernel's IPv4 functions take it.
#[inline(always)]
fn be32(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

impl Calls for Ipv4Addr {
    /// An IPv4 route knows itself whether it is still valid.
    type Cookie = ();
    const HEADER: usize = 20;

    fn no_cookie() {}

    fn look_up(net: &Net, destination: Self, source: Option<Self>) -> Option<Found> {
        let source = source.map_or(0, be32);
        // SAFETY: The namespace is alive; the lookup does not sleep. The result is checked.
        let dst = from_err_ptr(unsafe {
            bindings::fep_helper_ipv4_route_output(net.as_ptr(), be32(destination), source)
        });
        let dst = dst.ok().filter(|dst| !dst.is_null())?;
        Some(Found { dst, cookie: 0 })
    }

    fn store(
        cache: &Word<*mut bindings::dst_entry>,
        _cookie: &(),
        new: Option<Found>,
    ) -> *mut bindings::dst_entry {
        let new = new.map_or(null_mut(), |found| found.dst);
        cache.atomic().xchg(new, Full)
    }

    #[inline(always)]
    unsafe fn mtu(
        net: &Net,
        cache: &Word<*mut bindings::dst_entry>,
        _cookie: &(),
    ) -> (*mut bindings::dst_entry, u32) {
        let dst = cache.get();
        if dst.is_null() {
            return (dst, 0);
        }
        // SAFETY: By the safety requirement; the route was looked up in this namespace.
        let mtu = unsafe { bindings::fep_helper_ipv4_route_mtu(net.as_ptr(), dst) };
        (dst, mtu)
    }

    #[inline(always)]
    unsafe fn forward(
        skb: *mut bindings::sk_buff,
        dst: *mut bindings::dst_entry,
        destination: Self,
    ) -> c_int {
        // SAFETY: By the safety requirement.
        unsafe { bindings::fep_helper_ipv4_forward(skb, dst, be32(destination)) }
    }

    unsafe fn output(
        net: &Net,
        skb: *mut bindings::sk_buff,
        dst: *mut bindings::dst_entry,
        destination: Self,
    ) -> c_int {
        // SAFETY: By the safety requirement; the namespace is alive.
        unsafe { bindings::fep_helper_ipv4_output(net.as_ptr(), skb, dst, be32(destination)) }
    }

    unsafe fn is_from(
        skb: *const bindings::sk_buff,
        dst: *mut bindings::dst_entry,
        destination: Self,
    ) -> bool {
        // SAFETY: By the safety requirement.
        unsafe { bindings::fep_helper_ipv4_is_from(skb, dst, be32(destination)) }
    }

    unsafe fn icmp_send(skb: *mut bindings::sk_buff, error: IcmpError) {
        // RFC 792; RFC 1191 for the MTU.
        let (kind, code, info) = match error {
            IcmpError::TimeExceeded => (11, 0, 0),
            IcmpError::TooBig(mtu) => (3, 4, mtu),
        };
        // SAFETY: By the safety requirement.
        unsafe { bindings::fep_helper_icmp_send(skb, kind, code, info) };
    }

    fn is_local(self, net: &Net) -> bool {
        address_type(net, self) == bindings::ADDRESS_LOCAL
    }

    fn is_foreign_host(self, net: &Net) -> bool {
        address_type(net, self) == bindings::ADDRESS_UNICAST
    }

    #[inline]
    fn in_generation(self, net: &Net) -> Option<u64> {
        // SAFETY: `net` is a valid namespace.
        let generation = unsafe { bindings::fep_helper_ipv4_generation(net.as_ptr()) };
        Some(u64::from(be32(self)) << 32 | u64::from(generation))
    }
}

fn address_type(net: &Net, address: Ipv4Addr) -> u32 {
    // SAFETY: `net` is a valid namespace; the lookup does not sleep.
    unsafe { bindings::fep_helper_ipv4_address_type(net.as_ptr(), be32(address)) }
}

/// An IPv6 route is valid while a number that its lookup gave is that of the routing table's node.
pub struct Cookie {
    value: Word<u32>,
    /// Not 0 while somebody writes route and cookie.
    claimed: Word<u32>,
}

/// An address as the kernel's IPv6 functions take it.
#[inline(always)]
fn in6_addr(address: &Ipv6Addr) -> *const bindings::in6_addr {
    core::ptr::from_ref(address).cast()
}

impl Calls for Ipv6Addr {
    type Cookie = Cookie;
    const HEADER: usize = 40;

    #[inline]
    fn no_cookie() -> Cookie {
        Cookie {
            value: Word::new(0),
            claimed: Word::new(0),
        }
    }

    fn look_up(net: &Net, destination: Self, source: Option<Self>) -> Option<Found> {
        let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
        let mut cookie = 0;
        // SAFETY: The namespace is alive, the addresses have the sixteen bytes of a `struct in6_addr`,
        // for which the C function has no alignment to ask: it copies them. The lookup does not sleep.
        let dst = unsafe {
            bindings::fep_helper_ipv6_route_output(
                net.as_ptr(),
                in6_addr(&destination),
                in6_addr(&source),
                &raw mut cookie,
            )
        };
        (!dst.is_null()).then_some(Found { dst, cookie })
    }

    /// Route and cookie must belong together, so one at a time writes them, and a reader that sees
    /// the route sees its cookie. A reader in between may try an old route with a new cookie, once.
    fn store(
        cache: &Word<*mut bindings::dst_entry>,
        cookie: &Cookie,
        new: Option<Found>,
    ) -> *mut bindings::dst_entry {
        let claimed = cookie.claimed.atomic();
        if claimed.cmpxchg(0, 1, Acquire).is_err() {
            return new.map_or(null_mut(), |found| found.dst);
        }
        let old = cache.atomic().xchg(null_mut(), Full);
        if let Some(found) = new {
            cookie.value.atomic().store(found.cookie, Relaxed);
            cache.atomic().store(found.dst, Release);
        }
        claimed.store(0, Release);
        old
    }

    #[inline(always)]
    unsafe fn mtu(
        _net: &Net,
        cache: &Word<*mut bindings::dst_entry>,
        cookie: &Cookie,
    ) -> (*mut bindings::dst_entry, u32) {
        let dst = cache.atomic().load(Acquire);
        if dst.is_null() {
            return (dst, 0);
        }
        // SAFETY: By the safety requirement.
        let mtu = unsafe { bindings::fep_helper_ipv6_route_mtu(dst, cookie.value.get()) };
        (dst, mtu)
    }

    #[inline(always)]
    unsafe fn forward(
        skb: *mut bindings::sk_buff,
        dst: *mut bindings::dst_entry,
        destination: Self,
    ) -> c_int {
        // SAFETY: By the safety requirement; the address is read, byte by byte or word by word as the
        // machine allows.
        unsafe { bindings::fep_helper_ipv6_forward(skb, dst, in6_addr(&destination)) }
    }

    /// IPv6 packets are not fragmented on their way (RFC 8200, 5).
    unsafe fn output(
        net: &Net,
        skb: *mut bindings::sk_buff,
        dst: *mut bindings::dst_entry,
        _destination: Self,
    ) -> c_int {
        // SAFETY: By the safety requirement; the namespace is alive.
        unsafe { bindings::fep_helper_ip_output(net.as_ptr(), skb, dst) }
    }

    unsafe fn is_from(
        skb: *const bindings::sk_buff,
        dst: *mut bindings::dst_entry,
        destination: Self,
    ) -> bool {
        // SAFETY: By the safety requirement.
        unsafe { bindings::fep_helper_ipv6_is_from(skb, dst, in6_addr(&destination)) }
    }

    unsafe fn icmp_send(skb: *mut bindings::sk_buff, error: IcmpError) {
        // RFC 4443, 3.3 and 3.2.
        let (kind, code, info) = match error {
            IcmpError::TimeExceeded => (3, 0, 0),
            IcmpError::TooBig(mtu) => (2, 0, mtu),
        };
        // SAFETY: By the safety requirement.
        unsafe { bindings::fep_helper_icmpv6_send(skb, kind, code, info) };
    }

    fn is_local(self, net: &Net) -> bool {
        // SAFETY: `net` is a valid namespace; the lookup does not sleep.
        unsafe { bindings::fep_helper_ipv6_address_is_local(net.as_ptr(), in6_addr(&self)) }
    }

    /// IPv6 has no broadcast; whether the address is unicast is plain to see.
    fn is_foreign_host(self, net: &Net) -> bool {
        !self.is_local(net)
    }

    #[inline]
    fn in_generation(self, _net: &Net) -> Option<u64> {
        None
    }
}
