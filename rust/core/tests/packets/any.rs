// SPDX-License-Identifier: GPL-2.0

//! Any packets, of both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use fep_core::address::Address;
use fep_core::rewrite::Side;
use proptest::prelude::*;

use crate::wire::{Extension, Sum, Wire};

/// An address as one of the family that it has.
pub(crate) fn of<A: Address>(address: IpAddr) -> A {
    A::from_ip(address).unwrap()
}

pub(crate) fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Source), Just(Side::Destination)]
}

/// Anything, and the values at which words and sums change their nature.
fn any_ipv4() -> impl Strategy<Value = IpAddr> {
    let corners = vec![
        0,
        1,
        0xffff,
        0x1_0000,
        0xffff_0000,
        0xffff_ffff,
        0x0a00_0001,
    ];
    prop_oneof![any::<u32>(), prop::sample::select(corners)].prop_map(|a| Ipv4Addr::from(a).into())
}

fn any_ipv6() -> impl Strategy<Value = IpAddr> {
    let word = prop_oneof![4 => any::<u16>(), 1 => Just(0), 1 => Just(1), 1 => Just(0xffff)];
    let words = prop_oneof![
        8 => prop::array::uniform8(word),
        1 => Just([0; 8]),
        1 => Just([0xffff; 8]),
    ];
    words.prop_map(|words| Ipv6Addr::from(words).into())
}

pub(crate) fn any_address(ipv6: bool) -> BoxedStrategy<IpAddr> {
    if ipv6 {
        any_ipv6().boxed()
    } else {
        any_ipv4().boxed()
    }
}

/// How many words of options an IP header may have.
pub(crate) fn option_words(ipv6: bool) -> RangeInclusive<usize> {
    0..=if ipv6 { 0 } else { 10 }
}

/// Extension headers that are walked over: hop-by-hop options first, destination options, routing
/// headers without segments left. In IPv4, none.
pub(crate) fn any_extensions(ipv6: bool) -> BoxedStrategy<Vec<Extension>> {
    let body = |kind: u8| {
        (prop_oneof![3 => Just(0usize), 1 => 0..5usize])
            .prop_flat_map(|units| prop::collection::vec(any::<u8>(), 6 + units * 8))
            .prop_map(move |mut body| {
                if kind == 43 {
                    body[1] = 0;
                }
                (kind, body)
            })
    };
    if !ipv6 {
        return Just(Vec::new()).boxed();
    }
    let first = prop_oneof![2 => Just(None), 1 => body(0).prop_map(Some)];
    let rest = prop::collection::vec(prop_oneof![body(43), body(60)], 0..4);
    let rest = prop_oneof![Just(Vec::new()), rest];
    (first, rest)
        .prop_map(|(first, rest)| first.into_iter().chain(rest).collect())
        .boxed()
}

prop_compose! {
    pub(crate) fn any_wire(ipv6: bool)(
        tcp in any::<bool>(),
        source in any_address(ipv6),
        destination in any_address(ipv6),
        (source_port, destination_port) in any::<(u16, u16)>(),
        ttl in 2u8..,
        id in any::<u16>(),
        (dont_fragment, flags) in any::<(bool, u8)>(),
        ip_words in option_words(ipv6),
        extensions in any_extensions(ipv6),
        tcp_options in (0..=10usize).prop_flat_map(|n| prop::collection::vec(any::<u8>(), n * 4)),
        payload in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(255)], 0..64),
        sum in prop_oneof![Just(Sum::Full), Just(Sum::Partial), Just(Sum::Absent)],
    ) -> Wire {
        Wire {
            protocol: if tcp { 6 } else { 17 },
            source,
            destination,
            source_port,
            destination_port,
            ttl,
            id,
            dont_fragment,
            flags,
            ip_options: vec![1; ip_words * 4],
            extensions,
            tcp_options: if tcp { tcp_options } else { Vec::new() },
            payload,
            sum: if tcp && sum == Sum::Absent { Sum::Full } else { sum },
        }
    }
}

/// A packet, and what one end of it becomes.
pub(crate) fn any_case() -> impl Strategy<Value = (Wire, Side, IpAddr, u16)> {
    any::<bool>()
        .prop_flat_map(|ipv6| (any_wire(ipv6), any_side(), any_address(ipv6), any::<u16>()))
}
