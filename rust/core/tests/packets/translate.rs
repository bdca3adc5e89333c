// SPDX-License-Identifier: GPL-2.0

//! Translation against packets built from scratch, byte for byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_core::address::Address;
use fep_core::packet::{Packet, Parsed};
use fep_core::rewrite::{Coverage, Side, Translation};
use proptest::prelude::*;

use crate::any::{any_case, of};
use crate::wire::{Sum, Wire};

fn packet<A: Address>(bytes: &[u8]) -> Packet<A> {
    match A::parse(bytes, bytes.len()) {
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

/// The translation of that end of the packet.
fn translation<A: Address>(wire: &Wire, side: Side, address: IpAddr, port: u16) -> Translation<A> {
    let to = (of(address), port);
    match side {
        Side::Source => Translation::new(to, (of(wire.source), wire.source_port)),
        Side::Destination => Translation::new((of(wire.destination), wire.destination_port), to),
    }
}

/// The packet that the translation ought to give.
fn translated(wire: &Wire, side: Side, address: IpAddr, port: u16) -> Wire {
    let mut wire = wire.clone();
    wire.ttl -= 1;
    match side {
        Side::Source => (wire.source, wire.source_port) = (address, port),
        Side::Destination => (wire.destination, wire.destination_port) = (address, port),
    }
    wire
}

/// Translates the bytes of that packet, or what was made of them.
fn translate(
    bytes: &mut [u8],
    wire: &Wire,
    (side, address, port): (Side, IpAddr, u16),
    coverage: Coverage,
) -> bool {
    fn of_family<A: Address>(
        bytes: &mut [u8],
        wire: &Wire,
        (side, address, port): (Side, IpAddr, u16),
        coverage: Coverage,
    ) -> bool {
        let packet: Packet<A> = packet(&wire.bytes());
        let translation = translation(wire, side, address, port);
        A::translate(bytes, &packet, side, &translation, coverage)
    }
    match wire.source {
        IpAddr::V4(_) => of_family::<Ipv4Addr>(bytes, wire, (side, address, port), coverage),
        IpAddr::V6(_) => of_family::<Ipv6Addr>(bytes, wire, (side, address, port), coverage),
    }
}

/// Where the transport checksum is.
fn checksum_at(wire: &Wire) -> usize {
    wire.header_len() + if wire.protocol == 6 { 16 } else { 6 }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Translates, compares with the packet built from scratch, and returns the transport checksum.
fn check(wire: &Wire, side: Side, address: IpAddr, port: u16) -> u16 {
    let before = wire.bytes();
    let mut bytes = before.clone();
    let to = (side, address, port);
    assert!(translate(&mut bytes, wire, to, coverage(wire.sum)));
    let expected = translated(wire, side, address, port).bytes();
    assert_eq!(bytes, expected, "{wire:?}");

    // The linear part alone gives the same.
    let transport = if wire.protocol == 6 { 20 } else { 8 };
    let mut head = before[..wire.header_len() + transport].to_vec();
    assert!(translate(&mut head, wire, to, coverage(wire.sum)));
    assert_eq!(head, bytes[..head.len()]);

    word(&bytes, checksum_at(wire))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_packet_built_from_scratch((wire, side, address, port) in any_case()) {
        check(&wire, side, address, port);
    }

    #[test]
    fn there_and_back((wire, side, address, port) in any_case()) {
        let (old_address, old_port) = match side {
            Side::Source => (wire.source, wire.source_port),
            Side::Destination => (wire.destination, wire.destination_port),
        };
        let there = translated(&wire, side, address, port);
        let mut bytes = wire.bytes();
        let coverage = coverage(wire.sum);
        prop_assert!(translate(&mut bytes, &wire, (side, address, port), coverage));
        prop_assert!(translate(&mut bytes, &there, (side, old_address, old_port), coverage));
        let aged = Wire { ttl: wire.ttl - 2, ..wire };
        prop_assert_eq!(bytes, aged.bytes());
    }

    /// The header's checksum, where there is one, and the transport's.
    #[test]
    fn a_wrong_checksum_stays_wrong(
        (wire, side, address, port) in any_case(), error in 1..0xffffu16, header in any::<bool>(),
    ) {
        let right = translated(&wire, side, address, port).bytes();
        let before = wire.bytes();
        let at = if header && wire.source.is_ipv4() { 10 } else { checksum_at(&wire) };
        // Not a multiple of 0xffff away in either direction.
        let damaged = word(&before, at) ^ error;
        if at > 10 && (wire.sum == Sum::Absent || damaged == 0) {
            return Ok(());
        }
        let mut bytes = before.clone();
        bytes[at..at + 2].copy_from_slice(&damaged.to_be_bytes());
        prop_assert!(translate(&mut bytes, &wire, (side, address, port), coverage(wire.sum)));
        // 0 and 0xffff are both zero in one's complement.
        let good = word(&right, at) % 0xffff == word(&bytes, at) % 0xffff;
        prop_assert_eq!(good, damaged % 0xffff == word(&before, at) % 0xffff);
    }

    /// Whatever the fields of `Packet` say, a translation does not panic, and one that is refused
    /// changes nothing.
    #[test]
    fn fields_that_do_not_fit(
        mut bytes in prop::collection::vec(any::<u8>(), 0..100),
        (wire, side, address, port) in any_case(), header_len in any::<u16>(), rewrite_len in 0..120u16,
    ) {
        fn check<A: Address>(
            bytes: &mut [u8], wire: &Wire, lens: (u16, u16), (side, address, port): (Side, IpAddr, u16),
        ) -> bool {
            let (header_len, rewrite_len) = lens;
            let packet: Packet<A> = Packet { header_len, rewrite_len, ..packet(&wire.bytes()) };
            let translation = translation(wire, side, address, port);
            A::translate(bytes, &packet, side, &translation, Coverage::Full)
        }
        let before = bytes.clone();
        let lens = (header_len % 90, rewrite_len);
        let to = (side, address, port);
        let done = match wire.source {
            IpAddr::V4(_) => check::<Ipv4Addr>(&mut bytes, &wire, lens, to),
            IpAddr::V6(_) => check::<Ipv6Addr>(&mut bytes, &wire, lens, to),
        };
        if !done {
            prop_assert_eq!(bytes, before);
        }
    }
}

/// A packet of each family and protocol, with an address to translate to.
fn examples() -> [(Wire, IpAddr); 4] {
    let (v4, v6) = ("10.1.2.3".parse().unwrap(), "fd00::1:2:3".parse().unwrap());
    [
        (Wire::new(6), v4),
        (Wire::new(17), v4),
        (Wire::new6(6), v6),
        (Wire::new6(17), v6),
    ]
}

#[test]
fn refused_translations_change_nothing() {
    for (wire, address) in examples() {
        let wire = Wire {
            payload: vec![1, 2, 3],
            ip_options: vec![1; 4],
            extensions: vec![(60, vec![1, 4, 0, 0, 0, 0])],
            ..wire
        };
        let bytes = wire.bytes();
        let to = (Side::Source, address, 2);
        let transport = if wire.protocol == 6 { 20 } else { 8 };
        for linear in 0..wire.header_len() + transport {
            let mut head = bytes[..linear].to_vec();
            assert!(!translate(&mut head, &wire, to, Coverage::Full));
            assert_eq!(head, bytes[..linear]);
        }
        let dead = Wire {
            ttl: 0,
            ..wire.clone()
        };
        let mut head = dead.bytes();
        assert!(!translate(&mut head, &wire, to, Coverage::Full));
        assert_eq!(head, dead.bytes());
        check(&Wire { ttl: 1, ..wire }, Side::Destination, address, 4);
    }
}

#[test]
fn every_checksum_occurs() {
    // Over all ports the checksum takes every value but one: 0xffff for TCP and 0 for UDP are
    // never computed.
    for (wire, address) in examples() {
        let never = if wire.protocol == 6 { 0xffff } else { 0 };
        let wire = Wire {
            payload: vec![0xab],
            ..wire
        };
        let mut seen = vec![false; 0x1_0000];
        for port in 0..=u16::MAX {
            seen[usize::from(check(&wire, Side::Destination, address, port))] = true;
        }
        let missing: Vec<usize> = (0..0x1_0000).filter(|&value| !seen[value]).collect();
        assert_eq!(missing, [never]);
    }
}

#[test]
fn every_header_checksum_occurs() {
    // 0xffff is never computed: a header's sum is not 0.
    let address = "11.12.13.14".parse().unwrap();
    let mut seen = vec![false; 0x1_0000];
    for id in 0..=u16::MAX {
        let wire = Wire {
            id,
            ..Wire::new(17)
        };
        let mut bytes = wire.bytes();
        let to = (Side::Source, address, 9);
        assert!(translate(&mut bytes, &wire, to, Coverage::Full));
        let expected = translated(&wire, Side::Source, address, 9).bytes();
        assert_eq!(bytes, expected);
        seen[usize::from(word(&bytes, 10))] = true;
    }
    let missing: Vec<usize> = (0..0x1_0000).filter(|&value| !seen[value]).collect();
    assert_eq!(missing, [0xffff]);
}

#[test]
fn a_partial_sum_of_zero_is_no_absent_checksum() {
    // The field holds no checksum yet, so 0 is a value like any other.
    for (wire, one_more) in [
        (Wire::new(17), "192.0.2.2"),
        (Wire::new6(17), "2001:db8::202"),
    ] {
        let mut bytes = wire.bytes();
        let at = checksum_at(&wire);
        bytes[at..at + 2].fill(0);
        let to = (Side::Destination, one_more.parse().unwrap(), 80);
        assert!(translate(&mut bytes, &wire, to, Coverage::Partial));
        assert_eq!(bytes[at..at + 2], [0, 1]);
    }
}

#[test]
fn an_absent_checksum_stays_absent() {
    for (wire, address) in examples() {
        if wire.protocol == 17 {
            for port in 0..=u16::MAX {
                let wire = Wire {
                    sum: Sum::Absent,
                    ..wire.clone()
                };
                assert_eq!(check(&wire, Side::Source, address, port), 0);
            }
        }
    }
}
