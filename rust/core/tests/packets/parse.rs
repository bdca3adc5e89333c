// SPDX-License-Identifier: GPL-2.0

//! Parsing: damaged packets and arbitrary bytes against the reference.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_core::address::{check_ends, Address};
use fep_core::packet::{Parsed, HEADERS_MAX};
use fep_uapi::Counter;
use proptest::prelude::*;

use crate::any::any_extensions;
use crate::reference::{reference, reference_ends, verdict, Facts, Reference};
use crate::wire::{Sum, Wire};

/// What is true of every packet, however much of it is linear.
fn check<A: Reference>(bytes: &[u8]) {
    let found = verdict::<A>(bytes);
    let facts = found.map(|p| {
        let (header_len, total_len) = (usize::from(p.header_len), p.total_len as usize);
        let (protocol, ..) = A::headers(bytes).unwrap();
        assert_eq!(p.protocol.number(), protocol);
        assert_eq!((p.ttl, p.dont_fragment), A::travel(bytes));
        let transport = if protocol == 6 { 20 } else { 8 };
        assert_eq!(usize::from(p.rewrite_len), header_len + transport);
        assert!(usize::from(p.rewrite_len) <= total_len && total_len <= bytes.len());
        assert_eq!(check_ends(&p), reference_ends::<A>(bytes, header_len));
        Facts(
            p.source.into(),
            p.destination.into(),
            p.source_port,
            p.destination_port,
            p.tcp_flags.0,
            header_len,
            total_len,
        )
    });
    assert_eq!(facts, reference::<A>(bytes));

    // What is plain is read as such only when its headers are in one piece.
    if let Ok(packet) = found {
        let rewrite_len = usize::from(packet.rewrite_len);
        for linear in [0, A::FIXED, rewrite_len - 1] {
            assert_eq!(A::parse_plain(&bytes[..linear], bytes.len()), None);
        }
        let plain = A::parse_plain(&bytes[..rewrite_len], bytes.len());
        assert_eq!(plain, A::parse_plain(bytes, bytes.len()));
    }

    // Need is honest: from any number of linear bytes it leads to the same verdict, asking for
    // more than there is, for no more than there can be, and once for each header at most.
    for linear in 0..bytes.len().min(A::MOST + 20) {
        let (mut linear, mut asked) = (linear, 0);
        let end = loop {
            match A::parse(&bytes[..linear], bytes.len()) {
                Parsed::Need(need) => {
                    // No more than is looked at, either: the fixed header, then up to the ports.
                    let most = if linear < A::FIXED {
                        A::FIXED
                    } else {
                        found.map_or(A::MOST, |packet| usize::from(packet.rewrite_len))
                    };
                    assert!(linear < need && need <= bytes.len().min(most));
                    (linear, asked) = (need, asked + 1);
                }
                Parsed::Packet(packet) => break Ok(packet),
                Parsed::Icmp => break Err(Counter::PassForeign),
                Parsed::Pass(counter) => break Err(counter),
            }
        };
        assert_eq!(end, found);
        // An IPv6 extension header has eight bytes at least.
        let headers = (A::FIXED > 20).then(|| (linear - A::FIXED.min(linear)) / 8);
        assert!(asked <= 2 + headers.unwrap_or(0));
    }
    const { assert!(A::MOST <= HEADERS_MAX) };

    // Nothing behind `rewrite_len` matters.
    if let Ok(packet) = found {
        let mut other = bytes.to_vec();
        other[usize::from(packet.rewrite_len)..].fill(0xa5);
        assert_eq!(A::parse(&other, other.len()), Parsed::Packet(packet));
    }
}

/// Ordinary addresses and all that are not.
fn any_end(ipv6: bool) -> impl Strategy<Value = IpAddr> {
    let texts = if ipv6 {
        "2001:db8::1 :: ::1 ::2 ::0.1.0.0 ::ffff:10.0.0.1 ::fffe:10.0.0.1 fe7f:ffff::1 fe80::1 \
         febf::1 fec0::1 feff::1 ff02::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    } else {
        "10.0.0.1 0.0.0.0 0.255.0.1 1.0.0.0 126.0.0.1 127.0.0.1 128.0.0.1 223.0.0.1 224.0.0.1 \
         239.255.255.255 240.0.0.1 255.255.255.254 255.255.255.255"
    };
    let texts: Vec<&str> = texts.split_whitespace().collect();
    prop::sample::select(texts).prop_map(|text| text.parse().unwrap())
}

prop_compose! {
    /// A good packet of any shape, then up to four bytes of its headers damaged.
    fn damaged(ipv6: bool)(
        tcp in any::<bool>(),
        (source, destination) in (any_end(ipv6), any_end(ipv6)),
        ports in prop::array::uniform2(prop_oneof![Just(0u16), any::<u16>()]),
        ip_words in prop_oneof![4 => Just(0usize), 1 => 0..=10usize],
        ip_options in prop::collection::vec(prop_oneof![
            Just(0u8), Just(1), Just(2), Just(3), Just(4), Just(7), Just(131), Just(137), any::<u8>(),
        ], 40),
        extensions in any_extensions(ipv6),
        tcp_words in 0..=10usize,
        payload in prop::collection::vec(any::<u8>(), 0..40),
        flags in any::<u8>(),
        sum in prop::sample::select(vec![Sum::Full, Sum::Absent, Sum::Partial]),
        cut in prop_oneof![3 => Just(0usize), 1 => 0..60usize],
        shorten in any::<bool>(),
        changes in prop::collection::vec((0..110usize, prop_oneof![
            any::<u8>(), 0..6u8, prop::sample::select(vec![0, 43, 44, 60, 17, 58, 59]),
        ]), 0..4),
    ) -> Vec<u8> {
        let wire = Wire {
            source,
            destination,
            source_port: ports[0],
            destination_port: ports[1],
            flags,
            ip_options: ip_options[..ip_words * 4].to_vec(),
            extensions,
            tcp_options: vec![1; if tcp { tcp_words * 4 } else { 0 }],
            payload,
            sum,
            ..Wire::new(if tcp { 6 } else { 17 })
        };
        let mut bytes = wire.bytes();
        for (at, byte) in changes {
            // IPv4 headers are shorter, so that the same places hit more often.
            let at = if ipv6 { at } else { at % 60 };
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        if ipv6 && shorten && bytes.len() > 40 {
            // Otherwise only the payload length would be found wrong.
            let len = u16::try_from(bytes.len() - 40).unwrap();
            bytes[4..6].copy_from_slice(&len.to_be_bytes());
        }
        bytes
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packets(bytes in damaged(false)) {
        check::<Ipv4Addr>(&bytes);
    }

    #[test]
    fn damaged_packets6(bytes in damaged(true)) {
        check::<Ipv6Addr>(&bytes);
    }

    #[test]
    fn arbitrary_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..150), ipv4 in any::<bool>()) {
        if ipv4 && bytes.len() > 9 {
            bytes[0] = 0x40 | (bytes[0] % 16);
            bytes[9] = if bytes[9] % 2 == 0 { 6 } else { 17 };
        }
        check::<Ipv4Addr>(&bytes);
    }

    #[test]
    fn lengths_that_do_not_fit_the_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100), len in any::<usize>()) {
        if let Parsed::Need(need) = Ipv4Addr::parse(&bytes, len) {
            prop_assert!(bytes.len() < need && need <= len);
        }
        if let Parsed::Need(need) = Ipv6Addr::parse(&bytes, len) {
            prop_assert!(bytes.len() < need && need <= len);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes6(
        mut bytes in prop::collection::vec(any::<u8>(), 0..400), ipv6 in any::<bool>(), len in any::<bool>(),
    ) {
        // Short extension headers, of kinds that are walked over.
        for word in bytes.chunks_exact_mut(8).filter(|word| word[2] % 4 > 0) {
            word[0] = [6, 17, 43, 44, 58, 60, 60, 60][usize::from(word[0]) % 8];
            word[1] %= 2 + word[2] / 32;
            word[3] /= 255 - word[2] / 4;
        }
        if ipv6 && bytes.len() > 40 {
            bytes[0] = 0x60 | (bytes[0] % 16);
            bytes[6] = [0, 6, 17, 43, 60][usize::from(bytes[6]) % 5];
            if len {
                let len = u16::try_from(bytes.len() - 40).unwrap();
                bytes[4..6].copy_from_slice(&len.to_be_bytes());
            }
        }
        check::<Ipv6Addr>(&bytes);
    }
}

/// Short and long extension headers, so that the limit is met from both sides.
#[test]
fn many_extension_headers() {
    for units in [0, 1, 3, 30, 31, 32, 255] {
        for count in 0..=(35 / (units + 1) + 1) {
            let body = vec![7; 6 + units * 8];
            let extensions = vec![(60, body); count];
            let wire = Wire {
                extensions,
                ..Wire::new6(17)
            };
            let too_long = wire.header_len() > 40 + 256;
            let bytes = wire.bytes();
            check::<Ipv6Addr>(&bytes);
            let parsed = Ipv6Addr::parse(&bytes, bytes.len());
            assert_eq!(matches!(parsed, Parsed::Packet(_)), !too_long);
        }
    }
}
