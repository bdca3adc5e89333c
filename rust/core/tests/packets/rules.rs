// SPDX-License-Identifier: GPL-2.0

//! Parsing IPv4: every rule by an example.

use std::net::Ipv4Addr;

use fep_core::address::{check_ends, Address};
use fep_core::packet::{Packet, Parsed, Protocol, TcpFlags};
use fep_uapi::Counter;

use crate::any::of;
use crate::reference;
use crate::wire::Wire;

fn verdict(bytes: &[u8]) -> Result<Packet<Ipv4Addr>, Counter> {
    reference::verdict(bytes)
}

/// The bytes with some of them replaced.
pub(crate) fn with(mut bytes: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    for &(at, byte) in changes {
        bytes[at] = byte;
    }
    bytes
}

fn tcp() -> Vec<u8> {
    Wire::new(6).bytes()
}

fn udp() -> Vec<u8> {
    Wire::new(17).bytes()
}

fn with_ip_options(options: &[u8]) -> Vec<u8> {
    let ip_options = options.to_vec();
    Wire {
        ip_options,
        ..Wire::new(6)
    }
    .bytes()
}

#[test]
fn fields_of_a_tcp_packet() {
    let wire = Wire {
        ttl: 63,
        flags: 0x18,
        ip_options: vec![1; 8],
        tcp_options: vec![1; 12],
        payload: vec![0; 5],
        ..Wire::new(6)
    };
    let expected = Packet {
        protocol: Protocol::Tcp,
        source: of(wire.source),
        destination: of(wire.destination),
        source_port: wire.source_port,
        destination_port: wire.destination_port,
        header_len: 28,
        total_len: 28 + 32 + 5,
        ttl: 63,
        dont_fragment: true,
        tcp_flags: TcpFlags::PSH.with(TcpFlags::ACK),
        rewrite_len: 48,
    };
    let bytes = wire.bytes();
    assert_eq!(verdict(&bytes), Ok(expected));
    // Padding of the link layer, and a tail that is not linear.
    assert_eq!(
        Ipv4Addr::parse(&bytes, bytes.len() + 9),
        Parsed::Packet(expected)
    );
    assert_eq!(
        Ipv4Addr::parse(&bytes[..48], bytes.len()),
        Parsed::Packet(expected)
    );
}

#[test]
fn fields_of_a_udp_packet() {
    let wire = Wire {
        dont_fragment: false,
        payload: vec![7],
        ..Wire::new(17)
    };
    let packet = verdict(&wire.bytes()).unwrap();
    assert_eq!(packet.protocol, Protocol::Udp);
    assert_eq!(packet.tcp_flags, TcpFlags(0));
    assert!(!packet.dont_fragment);
    assert_eq!(
        (packet.header_len, packet.rewrite_len, packet.total_len),
        (20, 28, 29)
    );
}

#[test]
fn what_is_not_for_the_filter() {
    use Counter::{PassForeign, PassFragment, PassMalformed, PassSourceRoute};
    let cases = [
        ("version 6", with(tcp(), &[(0, 0x65)]), PassForeign),
        ("version 0", with(tcp(), &[(0, 0x05)]), PassForeign),
        (
            "header of 16 bytes",
            with(tcp(), &[(0, 0x44)]),
            PassMalformed,
        ),
        ("ICMP", with(tcp(), &[(9, 1)]), PassForeign),
        (
            "an ICMP fragment",
            with(tcp(), &[(9, 1), (6, 0x20)]),
            PassForeign,
        ),
        ("UDP-Lite", with(udp(), &[(9, 136)]), PassForeign),
        (
            "total length 0",
            with(tcp(), &[(2, 0), (3, 0)]),
            PassMalformed,
        ),
        (
            "total length 19",
            with(tcp(), &[(2, 0), (3, 19)]),
            PassMalformed,
        ),
        (
            "total length above the packet",
            with(tcp(), &[(3, 41)]),
            PassMalformed,
        ),
        (
            "total length without TCP header",
            with(tcp(), &[(3, 39)]),
            PassMalformed,
        ),
        (
            "total length without UDP header",
            with(udp(), &[(3, 27)]),
            PassMalformed,
        ),
        (
            "header longer than the packet",
            with(udp(), &[(0, 0x4f)]),
            PassMalformed,
        ),
        ("first fragment", with(tcp(), &[(6, 0x20)]), PassFragment),
        (
            "last fragment",
            with(tcp(), &[(6, 0), (7, 1)]),
            PassFragment,
        ),
        (
            "far fragment",
            with(udp(), &[(6, 0x1f), (7, 0xff)]),
            PassFragment,
        ),
        (
            "TCP header of 16 bytes",
            with(tcp(), &[(32, 0x40)]),
            PassMalformed,
        ),
        (
            "TCP header above the packet",
            with(tcp(), &[(32, 0x60)]),
            PassMalformed,
        ),
        ("UDP length 7", with(udp(), &[(25, 7)]), PassMalformed),
        ("UDP length 0", with(udp(), &[(25, 0)]), PassMalformed),
        (
            "UDP length above the packet",
            with(udp(), &[(25, 9)]),
            PassMalformed,
        ),
        (
            "loose source route",
            with_ip_options(&[131, 7, 4, 1, 1, 1, 1, 0]),
            PassSourceRoute,
        ),
        (
            "strict source route",
            with_ip_options(&[1, 137, 7, 4, 1, 1, 1, 1]),
            PassSourceRoute,
        ),
        (
            "source route last",
            with_ip_options(&[7, 4, 4, 0, 1, 131, 2, 0]),
            PassSourceRoute,
        ),
        (
            "option of no length",
            with_ip_options(&[1, 1, 1, 7]),
            PassMalformed,
        ),
        (
            "option of length 0",
            with_ip_options(&[7, 0, 0, 0]),
            PassMalformed,
        ),
        (
            "option of length 1",
            with_ip_options(&[7, 1, 0, 0]),
            PassMalformed,
        ),
        (
            "option beyond the header",
            with_ip_options(&[1, 7, 4, 4]),
            PassMalformed,
        ),
        (
            "source route beyond the header",
            with_ip_options(&[131, 5, 4, 0]),
            PassMalformed,
        ),
        ("19 bytes", tcp()[..19].to_vec(), PassMalformed),
        ("nothing", Vec::new(), PassMalformed),
    ];
    for (name, bytes, counter) in cases {
        assert_eq!(verdict(&bytes), Err(counter), "{name}");
    }
}

#[test]
fn what_is_for_the_filter_after_all() {
    let cases = [
        ("every service type", with(tcp(), &[(1, 0xff)])),
        ("the reserved flag", with(tcp(), &[(6, 0x80)])),
        ("time to live 0", with(tcp(), &[(8, 0)])),
        ("a wrong checksum", with(tcp(), &[(10, 0xaa)])),
        ("a UDP length below the packet", {
            let payload = vec![0; 4];
            with(
                Wire {
                    payload,
                    ..Wire::new(17)
                }
                .bytes(),
                &[(25, 8)],
            )
        }),
        (
            "an end of options before rubbish",
            with_ip_options(&[1, 0, 7, 0]),
        ),
        ("record route", with_ip_options(&[7, 7, 4, 0, 0, 0, 0, 0])),
        ("an option to the last byte", with_ip_options(&[1, 7, 3, 4])),
        (
            "an unknown option of two bytes",
            with_ip_options(&[200, 2, 200, 2]),
        ),
    ];
    for (name, bytes) in cases {
        assert!(verdict(&bytes).is_ok(), "{name}");
    }
}

#[test]
fn protocols_are_told_apart_by_all_their_bits() {
    for number in 0..=u8::MAX {
        for (bytes, own) in [(tcp(), 6), (udp(), 17)] {
            let found = verdict(&with(bytes, &[(9, number)]));
            assert_eq!(found.is_ok(), number == own, "{number} for {own}");
        }
    }
}

#[test]
fn who_is_no_client() {
    use Counter::{PassForeign, PassMalformed};
    let cases = [
        ("from 0.0.0.0", with(udp(), &[(12, 0)]), PassForeign),
        ("from 127.0.0.1", with(tcp(), &[(12, 127)]), PassForeign),
        ("from 224.0.0.1", with(tcp(), &[(12, 224)]), PassForeign),
        (
            "from the broadcast",
            with(udp(), &[12, 13, 14, 15].map(|at| (at, 255))),
            PassForeign,
        ),
        ("to 239.0.2.1", with(udp(), &[(16, 239)]), PassForeign),
        (
            "to the broadcast",
            with(udp(), &[16, 17, 18, 19].map(|at| (at, 255))),
            PassForeign,
        ),
        (
            "from port 0",
            with(tcp(), &[(20, 0), (21, 0)]),
            PassMalformed,
        ),
        ("to port 0", with(udp(), &[(22, 0), (23, 0)]), PassMalformed),
    ];
    for (name, bytes, counter) in cases {
        // With a route it is translated all the same.
        let packet = verdict(&bytes).unwrap();
        assert_eq!(check_ends(&packet), Err(counter), "{name}");
    }
    let cases = [
        ("from 10.0.0.1", tcp()),
        ("from 240.0.0.1", with(tcp(), &[(12, 240)])),
        ("to 127.0.0.1", with(tcp(), &[(16, 127)])),
        ("from 126.0.0.1", with(tcp(), &[(12, 126)])),
        ("from 223.0.0.1", with(tcp(), &[(12, 223)])),
        ("from port 256", with(tcp(), &[(20, 1), (21, 0)])),
        ("to port 1", with(udp(), &[(22, 0), (23, 1)])),
    ];
    for (name, bytes) in cases {
        let packet = verdict(&bytes).unwrap();
        assert_eq!(check_ends(&packet), Ok(()), "{name}");
    }
}

#[test]
fn packets_beyond_64_kib() {
    // BIG TCP: total length 0.
    let bytes = with(tcp(), &[(2, 0), (3, 0)]);
    assert_eq!(
        Ipv4Addr::parse(&bytes, 65_536),
        Parsed::Pass(Counter::PassForeign)
    );
    assert_eq!(
        Ipv4Addr::parse(&bytes, 65_535),
        Parsed::Pass(Counter::PassMalformed)
    );
    // The longest packet there is.
    let bytes = with(tcp(), &[(2, 255), (3, 255)]);
    assert!(matches!(
        Ipv4Addr::parse(&bytes, 65_535),
        Parsed::Packet(Packet {
            total_len: 65_535,
            ..
        })
    ));
    assert_eq!(
        Ipv4Addr::parse(&bytes, 65_534),
        Parsed::Pass(Counter::PassMalformed)
    );
}

#[test]
fn header_checksum() {
    for ip_options in [vec![], vec![1; 4], vec![1; 40]] {
        let bytes = Wire {
            ip_options,
            ..Wire::new(17)
        }
        .bytes();
        let packet = verdict(&bytes).unwrap();
        let header_len = usize::from(packet.header_len);
        assert!(Ipv4Addr::header_is_intact(&bytes, &packet));
        assert!(Ipv4Addr::header_is_intact(&bytes[..header_len], &packet));
        assert!(!Ipv4Addr::header_is_intact(
            &bytes[..header_len - 1],
            &packet
        ));
        for bit in 0..header_len * 8 {
            let changed = with(
                bytes.clone(),
                &[(bit / 8, bytes[bit / 8] ^ (1 << (bit % 8)))],
            );
            assert!(!Ipv4Addr::header_is_intact(&changed, &packet), "bit {bit}");
        }
        assert!(Ipv4Addr::header_is_intact(
            &with(bytes.clone(), &[(header_len, 0xee)]),
            &packet
        ));
    }
    let packet = verdict(&tcp()).unwrap();
    assert!(!Ipv4Addr::header_is_intact(
        &[],
        &Packet {
            header_len: 0,
            ..packet
        }
    ));
}
