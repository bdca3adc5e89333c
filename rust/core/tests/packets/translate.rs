// SPDX-License-Identifier: GPL-2.0

//! Translation against packets built from scratch, byte for byte.

use fep_core::packet::{parse, Packet, Parsed};
use fep_core::rewrite::{translate, Coverage, Side};
use proptest::prelude::*;

use crate::wire::{Sum, Wire};

fn packet(bytes: &[u8]) -> Packet {
    match parse(bytes, bytes.len()) {
        Parsed::Packet(packet) => packet,
        other => panic!("{other:?}"),
    }
}

fn coverage(sum: Sum) -> Coverage {
    match sum {
        Sum::Partial => Coverage::Partial,
        Sum::Full | Sum::Absent => Coverage::Full,
    }
}

/// The packet that the translation ought to give.
fn translated(wire: &Wire, side: Side, address: u32, port: u16) -> Wire {
    let mut wire = wire.clone();
    wire.ttl -= 1;
    match side {
        Side::Source => (wire.source, wire.source_port) = (address, port),
        Side::Destination => (wire.destination, wire.destination_port) = (address, port),
    }
    wire
}

/// Translates, compares with the packet built from scratch, and returns the transport checksum.
fn check(wire: &Wire, side: Side, address: u32, port: u16) -> u16 {
    let before = wire.bytes();
    let packet = packet(&before);
    let mut bytes = before.clone();
    let coverage = coverage(wire.sum);
    assert!(translate(
        &mut bytes, &packet, side, address, port, coverage
    ));
    assert_eq!(
        bytes,
        translated(wire, side, address, port).bytes(),
        "{wire:?}"
    );

    // The linear part alone gives the same.
    let mut head = before[..usize::from(packet.rewrite_len)].to_vec();
    assert!(translate(&mut head, &packet, side, address, port, coverage));
    assert_eq!(head, bytes[..head.len()]);

    let at = usize::from(packet.header_len) + if wire.protocol == 6 { 16 } else { 6 };
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

prop_compose! {
    fn any_wire()(
        tcp in any::<bool>(),
        source in 0x0100_0000u32..0x7f00_0000,
        destination in 0x0100_0000u32..0xe000_0000,
        ports in prop::array::uniform2(1u16..),
        ttl in 2u8..,
        id in any::<u16>(),
        (dont_fragment, flags) in any::<(bool, u8)>(),
        ip_words in 0..=10usize,
        tcp_options in (0..=10usize).prop_flat_map(|n| prop::collection::vec(any::<u8>(), n * 4)),
        payload in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(255)], 0..64),
        sum in prop_oneof![Just(Sum::Full), Just(Sum::Partial), Just(Sum::Absent)],
    ) -> Wire {
        Wire {
            protocol: if tcp { 6 } else { 17 },
            source,
            destination,
            source_port: ports[0],
            destination_port: ports[1],
            ttl,
            id,
            dont_fragment,
            flags,
            ip_options: vec![1; ip_words * 4],
            tcp_options: if tcp { tcp_options } else { Vec::new() },
            payload,
            sum: if tcp && sum == Sum::Absent { Sum::Full } else { sum },
        }
    }
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Source), Just(Side::Destination)]
}

/// Anything, and the values at which words and sums change their nature.
fn any_address() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        prop::sample::select(vec![
            0,
            1,
            0xffff,
            0x1_0000,
            0xffff_0000,
            0xffff_ffff,
            0x0a00_0001
        ])
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_packet_built_from_scratch(
        wire in any_wire(), side in any_side(), address in any_address(), port in any::<u16>(),
    ) {
        check(&wire, side, address, port);
    }

    #[test]
    fn there_and_back(
        wire in any_wire(), side in any_side(), address in any_address(), port in any::<u16>(),
    ) {
        let before = wire.bytes();
        let packet = packet(&before);
        let (old_address, old_port) = match side {
            Side::Source => (packet.source, packet.source_port),
            Side::Destination => (packet.destination, packet.destination_port),
        };
        let mut bytes = before;
        prop_assert!(translate(&mut bytes, &packet, side, address, port, coverage(wire.sum)));
        prop_assert!(translate(&mut bytes, &packet, side, old_address, old_port, coverage(wire.sum)));
        let aged = Wire { ttl: wire.ttl - 2, ..wire };
        prop_assert_eq!(bytes, aged.bytes());
    }

    #[test]
    fn a_wrong_checksum_stays_wrong(
        wire in any_wire(), side in any_side(), address in any_address(), port in any::<u16>(),
        error in 1..0xffffu16,
    ) {
        let right = translated(&wire, side, address, port).bytes();
        let mut bytes = wire.bytes();
        let packet = packet(&bytes);
        let damage = |bytes: &mut [u8]| {
            let header = u16::from_be_bytes([bytes[10], bytes[11]]);
            // Not a multiple of 0xffff away in either direction.
            bytes[10..12].copy_from_slice(&(header ^ error).to_be_bytes());
        };
        damage(&mut bytes);
        prop_assert!(translate(&mut bytes, &packet, side, address, port, coverage(wire.sum)));
        // 0 and 0xffff are both zero in one's complement.
        let header = u16::from_be_bytes([bytes[10], bytes[11]]) % 0xffff;
        let good = u16::from_be_bytes([right[10], right[11]]) % 0xffff;
        let before = wire.bytes();
        let old = u16::from_be_bytes([before[10], before[11]]);
        prop_assert_eq!(header == good, (old ^ error) % 0xffff == old % 0xffff);
    }

    /// Whatever the fields of `Packet` say, a translation does not panic, and one that is refused
    /// changes nothing.
    #[test]
    fn fields_that_do_not_fit(
        mut bytes in prop::collection::vec(any::<u8>(), 0..100),
        wire in any_wire(), side in any_side(), header_len in any::<u16>(), rewrite_len in 0..120u16,
    ) {
        let honest = packet(&wire.bytes());
        let header_len = header_len % 90;
        let packet = Packet { header_len, rewrite_len, ..honest };
        let before = bytes.clone();
        if !translate(&mut bytes, &packet, side, 1, 2, Coverage::Full) {
            prop_assert_eq!(bytes, before);
        }
    }
}

#[test]
fn refused_translations_change_nothing() {
    for protocol in [6, 17] {
        let wire = Wire {
            payload: vec![1, 2, 3],
            ip_options: vec![1; 4],
            ..Wire::new(protocol)
        };
        let bytes = wire.bytes();
        let packet = packet(&bytes);
        for linear in 0..usize::from(packet.rewrite_len) {
            let mut head = bytes[..linear].to_vec();
            assert!(!translate(
                &mut head,
                &packet,
                Side::Source,
                1,
                2,
                Coverage::Full
            ));
            assert_eq!(head, bytes[..linear]);
        }
        let dead = Wire {
            ttl: 0,
            ..wire.clone()
        }
        .bytes();
        let mut head = dead.clone();
        assert!(!translate(
            &mut head,
            &packet,
            Side::Source,
            1,
            2,
            Coverage::Full
        ));
        assert_eq!(head, dead);
        check(&Wire { ttl: 1, ..wire }, Side::Destination, 3, 4);
    }
}

#[test]
fn every_checksum_occurs() {
    // Over all ports the checksum takes every value but one: 0xffff for TCP and 0 for UDP are
    // never computed.
    for (protocol, never) in [(6, 0xffff), (17, 0)] {
        let wire = Wire {
            payload: vec![0xab],
            ..Wire::new(protocol)
        };
        let mut seen = vec![false; 0x1_0000];
        for port in 0..=u16::MAX {
            seen[usize::from(check(&wire, Side::Destination, 0x0a01_0203, port))] = true;
        }
        let missing: Vec<usize> = (0..0x1_0000).filter(|&value| !seen[value]).collect();
        assert_eq!(missing, [never]);
    }
}

#[test]
fn every_header_checksum_occurs() {
    // 0xffff is never computed: a header's sum is not 0.
    let mut seen = vec![false; 0x1_0000];
    for id in 0..=u16::MAX {
        let wire = Wire {
            id,
            ..Wire::new(17)
        };
        let mut bytes = wire.bytes();
        let packet = packet(&bytes);
        assert!(translate(
            &mut bytes,
            &packet,
            Side::Source,
            0x0b0c_0d0e,
            9,
            Coverage::Full
        ));
        assert_eq!(
            bytes,
            translated(&wire, Side::Source, 0x0b0c_0d0e, 9).bytes()
        );
        seen[usize::from(u16::from_be_bytes([bytes[10], bytes[11]]))] = true;
    }
    let missing: Vec<usize> = (0..0x1_0000).filter(|&value| !seen[value]).collect();
    assert_eq!(missing, [0xffff]);
}

#[test]
fn a_partial_sum_of_zero_is_no_absent_checksum() {
    // The field holds no checksum yet, so 0 is a value like any other.
    let mut bytes = Wire::new(17).bytes();
    bytes[26..28].fill(0);
    let packet = packet(&bytes);
    let same = packet.destination;
    assert!(translate(
        &mut bytes,
        &packet,
        Side::Destination,
        same + 1,
        80,
        Coverage::Partial
    ));
    assert_eq!(bytes[26..28], [0, 1]);
}
