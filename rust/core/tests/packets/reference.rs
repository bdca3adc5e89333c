// SPDX-License-Identifier: GPL-2.0

//! Parsing: damaged packets and arbitrary bytes against a plain reference.

use fep_core::packet::{parse, Parsed};
use fep_uapi::Counter;
use proptest::prelude::*;

use crate::rules::verdict;
use crate::wire::{Sum, Wire};

/// The rules again, in the order of the documents' wording: (source, destination, ports, TCP flags,
/// header length) or the counter.
#[derive(Debug, PartialEq)]
struct Facts(u32, u32, u16, u16, u8, usize);

fn reference(bytes: &[u8]) -> Result<Facts, Counter> {
    let number = |at: usize, len: usize| {
        let value = bytes[at..at + len]
            .iter()
            .fold(0u64, |value, &byte| value * 256 + u64::from(byte));
        usize::try_from(value).unwrap()
    };
    let address = |at| u32::try_from(number(at, 4)).unwrap();
    let port = |at| u16::try_from(number(at, 2)).unwrap();
    if bytes.len() < 20 {
        return Err(Counter::PassMalformed);
    }
    let version = bytes[0] / 16;
    let header_len = usize::from(bytes[0] % 16) * 4;
    let total_len = number(2, 2);
    if version != 4 {
        return Err(Counter::PassForeign);
    }
    if header_len < 20 {
        return Err(Counter::PassMalformed);
    }
    let minimum = match bytes[9] {
        6 => 20,
        17 => 8,
        _ => return Err(Counter::PassForeign),
    };
    if total_len > bytes.len() || total_len < header_len {
        return Err(Counter::PassMalformed);
    }
    let more_fragments = bytes[6] & 0x20 == 0x20;
    let fragment_offset = number(6, 2) % 8192;
    if more_fragments || fragment_offset > 0 {
        return Err(Counter::PassFragment);
    }
    let broadcast = |at: usize| bytes[at..at + 4] == [255; 4];
    if matches!(bytes[12], 0 | 127 | 224..=239) || broadcast(12) {
        return Err(Counter::PassForeign);
    }
    if matches!(bytes[16], 224..=239) || broadcast(16) {
        return Err(Counter::PassForeign);
    }
    let payload_len = total_len - header_len;
    if payload_len < minimum {
        return Err(Counter::PassMalformed);
    }
    let mut at = 20;
    while at < header_len {
        match bytes[at] {
            0 => break,
            1 => at += 1,
            kind => {
                let len = if at + 1 < header_len {
                    usize::from(bytes[at + 1])
                } else {
                    0
                };
                if len < 2 || at + len > header_len {
                    return Err(Counter::PassMalformed);
                }
                if kind == 131 || kind == 137 {
                    return Err(Counter::PassSourceRoute);
                }
                at += len;
            }
        }
    }
    let transport_len = match bytes[9] {
        6 => usize::from(bytes[header_len + 12] / 16) * 4,
        _ => number(header_len + 4, 2),
    };
    if transport_len < minimum || transport_len > payload_len {
        return Err(Counter::PassMalformed);
    }
    let (source_port, destination_port) = (port(header_len), port(header_len + 2));
    if source_port == 0 || destination_port == 0 {
        return Err(Counter::PassMalformed);
    }
    let flags = if bytes[9] == 6 {
        bytes[header_len + 13]
    } else {
        0
    };
    Ok(Facts(
        address(12),
        address(16),
        source_port,
        destination_port,
        flags,
        header_len,
    ))
}

/// What is true of every packet, however much of it is linear.
fn check(bytes: &[u8]) {
    let found = verdict(bytes);
    let facts = found.map(|p| {
        let header_len = usize::from(p.header_len);
        assert_eq!(p.protocol.number(), bytes[9]);
        assert_eq!((p.ttl, p.dont_fragment), (bytes[8], bytes[6] & 0x40 != 0));
        assert_eq!(p.total_len.to_be_bytes(), bytes[2..4]);
        assert_eq!(
            usize::from(p.rewrite_len),
            header_len + if bytes[9] == 6 { 20 } else { 8 }
        );
        assert!(p.rewrite_len <= p.total_len);
        Facts(
            p.source,
            p.destination,
            p.source_port,
            p.destination_port,
            p.tcp_flags.0,
            header_len,
        )
    });
    assert_eq!(facts, reference(bytes));

    // Need is honest: from any number of linear bytes it leads to the same verdict, asking for
    // more than there is, for no more than there can be, and at most twice.
    for linear in 0..bytes.len().min(100) {
        let (mut linear, mut asked) = (linear, 0);
        let end = loop {
            match parse(&bytes[..linear], bytes.len()) {
                Parsed::Need(need) => {
                    // No more than is looked at, either: the fixed header, then up to the ports.
                    let rewrite_len = found.map_or(80, |packet| usize::from(packet.rewrite_len));
                    assert!(linear < need && need <= bytes.len() && asked < 2);
                    assert!(
                        need <= if asked == 0 && linear < 20 {
                            20
                        } else {
                            rewrite_len
                        }
                    );
                    (linear, asked) = (need, asked + 1);
                }
                Parsed::Packet(packet) => break Ok(packet),
                Parsed::Icmp => break Err(Counter::PassForeign),
                Parsed::Pass(counter) => break Err(counter),
            }
        };
        assert_eq!(end, found);
    }

    // Nothing behind `rewrite_len` matters.
    if let Ok(packet) = found {
        let mut other = bytes.to_vec();
        other[usize::from(packet.rewrite_len)..].fill(0xa5);
        assert_eq!(verdict(&other), found);
    }
}

prop_compose! {
    /// A good packet of any shape, then up to four bytes of its headers damaged.
    fn damaged()(
        tcp in any::<bool>(),
        ip_words in prop_oneof![4 => Just(0usize), 1 => 0..=10usize],
        ip_options in prop::collection::vec(prop_oneof![
            Just(0u8), Just(1), Just(2), Just(3), Just(4), Just(7), Just(131), Just(137), any::<u8>(),
        ], 40),
        tcp_words in 0..=10usize,
        payload in prop::collection::vec(any::<u8>(), 0..40),
        flags in any::<u8>(),
        sum in prop::sample::select(vec![Sum::Full, Sum::Absent, Sum::Partial]),
        cut in prop_oneof![3 => Just(0usize), 1 => 0..60usize],
        changes in prop::collection::vec((0..60usize, prop_oneof![any::<u8>(), 0..6u8]), 0..4),
    ) -> Vec<u8> {
        let wire = Wire {
            flags,
            ip_options: ip_options[..ip_words * 4].to_vec(),
            tcp_options: vec![1; if tcp { tcp_words * 4 } else { 0 }],
            payload,
            sum,
            ..Wire::new(if tcp { 6 } else { 17 })
        };
        let mut bytes = wire.bytes();
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packets(bytes in damaged()) {
        check(&bytes);
    }

    #[test]
    fn arbitrary_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..150), ipv4 in any::<bool>()) {
        if ipv4 && bytes.len() > 9 {
            bytes[0] = 0x40 | (bytes[0] % 16);
            bytes[9] = if bytes[9] % 2 == 0 { 6 } else { 17 };
        }
        check(&bytes);
    }

    #[test]
    fn lengths_that_do_not_fit_the_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100), len in any::<usize>()) {
        if let Parsed::Need(need) = parse(&bytes, len) {
            prop_assert!(bytes.len() < need && need <= len);
        }
    }
}
