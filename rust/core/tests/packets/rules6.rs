// SPDX-License-Identifier: GPL-2.0

//! Parsing IPv6: every rule by an example.

use std::net::Ipv6Addr;

use fep_core::address::{check_ends, Address};
use fep_core::packet::{Packet, Parsed, Protocol, TcpFlags};
use fep_uapi::Counter;

use crate::any::of;
use crate::reference;
use crate::rules::with;
use crate::wire::{Extension, Wire};

fn verdict(bytes: &[u8]) -> Result<Packet<Ipv6Addr>, Counter> {
    reference::verdict(bytes)
}

fn tcp() -> Vec<u8> {
    Wire::new6(6).bytes()
}

fn udp() -> Vec<u8> {
    Wire::new6(17).bytes()
}

/// Options of nothing but padding (RFC 8200, 4.2), so many bytes over all.
fn options(kind: u8, len: u8) -> Extension {
    let mut body = vec![1, len - 4];
    body.resize(usize::from(len) - 2, 0);
    (kind, body)
}

/// A routing header of a type, with segments left.
fn routing(kind: u8, left: u8) -> Extension {
    (43, vec![kind, left, 0, 0, 0, 0])
}

/// A fragment header: no other fragments follow.
const ATOMIC: fn() -> Extension = || (44, vec![0, 0, 0, 0, 0, 1]);

fn behind(protocol: u8, extensions: &[Extension]) -> Vec<u8> {
    let extensions = extensions.to_vec();
    Wire {
        extensions,
        ..Wire::new6(protocol)
    }
    .bytes()
}

#[test]
fn fields_of_a_tcp_packet() {
    let wire = Wire {
        ttl: 63,
        flags: 0x18,
        extensions: vec![options(0, 8), options(60, 16), routing(4, 0)],
        tcp_options: vec![1; 12],
        payload: vec![0; 5],
        ..Wire::new6(6)
    };
    let expected = Packet {
        protocol: Protocol::Tcp,
        source: of(wire.source),
        destination: of(wire.destination),
        source_port: wire.source_port,
        destination_port: wire.destination_port,
        header_len: 40 + 32,
        total_len: 40 + 32 + 32 + 5,
        ttl: 63,
        dont_fragment: true,
        tcp_flags: TcpFlags::PSH.with(TcpFlags::ACK),
        rewrite_len: 40 + 32 + 20,
    };
    let bytes = wire.bytes();
    assert_eq!(verdict(&bytes), Ok(expected));
    // Padding of the link layer, and a tail that is not linear.
    let len = bytes.len();
    assert_eq!(Ipv6Addr::parse(&bytes, len + 9), Parsed::Packet(expected));
    assert_eq!(Ipv6Addr::parse(&bytes[..92], len), Parsed::Packet(expected));
    assert!(Ipv6Addr::header_is_intact(&bytes, &expected));
}

#[test]
fn fields_of_a_udp_packet() {
    let wire = Wire {
        payload: vec![7],
        ..Wire::new6(17)
    };
    let packet = verdict(&wire.bytes()).unwrap();
    assert_eq!(packet.protocol, Protocol::Udp);
    assert_eq!(packet.tcp_flags, TcpFlags(0));
    assert!(packet.dont_fragment);
    assert_eq!(
        (packet.header_len, packet.rewrite_len, packet.total_len),
        (40, 48, 49)
    );
}

#[test]
fn what_is_not_for_the_filter() {
    use Counter::{PassForeign, PassFragment, PassMalformed, PassSourceRoute};
    let no_hop_by_hop = with(tcp(), &[(6, 0)]);
    let cases = [
        ("version 4", with(tcp(), &[(0, 0x4c)]), PassForeign),
        ("version 0", with(tcp(), &[(0, 0x0c)]), PassForeign),
        ("version 7", with(tcp(), &[(0, 0x7c)]), PassForeign),
        ("ICMPv6", with(tcp(), &[(6, 58)]), PassForeign),
        ("ICMP of IPv4", with(tcp(), &[(6, 1)]), PassForeign),
        ("no next header", with(tcp(), &[(6, 59)]), PassForeign),
        ("ESP", with(tcp(), &[(6, 50)]), PassForeign),
        ("AH", with(tcp(), &[(6, 51)]), PassForeign),
        ("mobility", with(tcp(), &[(6, 135)]), PassForeign),
        ("UDP-Lite", with(udp(), &[(6, 136)]), PassForeign),
        (
            "ESP behind options",
            with(behind(6, &[options(60, 8)]), &[(40, 50)]),
            PassForeign,
        ),
        ("payload length 0", with(tcp(), &[(5, 0)]), PassMalformed),
        (
            "payload length 0, UDP",
            with(udp(), &[(5, 0)]),
            PassMalformed,
        ),
        (
            "payload length 0, hop-by-hop options",
            with(no_hop_by_hop.clone(), &[(5, 0)]),
            PassMalformed,
        ),
        (
            "payload length above the packet",
            with(tcp(), &[(5, 21)]),
            PassMalformed,
        ),
        (
            "payload length above the packet, options",
            with(behind(6, &[options(60, 8)]), &[(5, 29)]),
            PassMalformed,
        ),
        (
            "payload length without TCP header",
            with(tcp(), &[(5, 19)]),
            PassMalformed,
        ),
        (
            "payload length without UDP header",
            with(udp(), &[(5, 7)]),
            PassMalformed,
        ),
        (
            "payload length without TCP header behind options",
            with(behind(6, &[options(60, 8)]), &[(5, 27)]),
            PassMalformed,
        ),
        (
            "payload length within options",
            with(behind(6, &[options(60, 8)]), &[(5, 7)]),
            PassMalformed,
        ),
        (
            "options longer than the packet",
            with(behind(17, &[options(60, 8)]), &[(41, 2)]),
            PassMalformed,
        ),
        (
            "only options",
            {
                let bytes = with(behind(17, &[options(60, 8)]), &[(5, 8)]);
                bytes[..48].to_vec()
            },
            PassMalformed,
        ),
        (
            "options and nothing behind them",
            {
                // The last header ends where the packet does, and is not malformed.
                let bytes = with(behind(17, &[options(60, 8)]), &[(5, 8), (40, 59)]);
                bytes[..48].to_vec()
            },
            PassForeign,
        ),
        (
            "a first fragment",
            behind(6, &[(44, vec![0, 1, 0, 0, 0, 1])]),
            PassFragment,
        ),
        (
            "a last fragment",
            behind(6, &[(44, vec![0, 8, 0, 0, 0, 1])]),
            PassFragment,
        ),
        ("an atomic fragment", behind(17, &[ATOMIC()]), PassFragment),
        (
            "a fragment behind options",
            behind(17, &[options(0, 8), options(60, 8), ATOMIC()]),
            PassFragment,
        ),
        (
            "an ICMPv6 fragment",
            with(behind(17, &[ATOMIC()]), &[(40, 58)]),
            PassFragment,
        ),
        (
            "a fragment above the packet",
            with(behind(17, &[ATOMIC()]), &[(5, 200)]),
            PassMalformed,
        ),
        (
            "hop-by-hop options second",
            behind(6, &[options(60, 8), options(0, 8)]),
            PassMalformed,
        ),
        (
            "hop-by-hop options twice",
            behind(6, &[options(0, 8), options(0, 8)]),
            PassMalformed,
        ),
        (
            "a segment left",
            behind(6, &[routing(0, 1)]),
            PassSourceRoute,
        ),
        (
            "255 segments left, behind options",
            behind(17, &[options(0, 8), routing(4, 255)]),
            PassSourceRoute,
        ),
        (
            "a segment left behind none",
            behind(17, &[routing(3, 0), routing(4, 1)]),
            PassSourceRoute,
        ),
        (
            "264 bytes of options",
            behind(6, &[options(60, 248), options(60, 16)]),
            PassForeign,
        ),
        (
            "TCP header of 16 bytes",
            with(tcp(), &[(52, 0x40)]),
            PassMalformed,
        ),
        (
            "TCP header above the packet",
            with(tcp(), &[(52, 0x60)]),
            PassMalformed,
        ),
        (
            "TCP header above the packet behind options",
            with(behind(6, &[options(60, 8)]), &[(60, 0x60)]),
            PassMalformed,
        ),
        ("UDP length 7", with(udp(), &[(45, 7)]), PassMalformed),
        ("UDP length 0", with(udp(), &[(45, 0)]), PassMalformed),
        (
            "UDP length above the packet",
            with(udp(), &[(45, 9)]),
            PassMalformed,
        ),
        (
            "UDP length above the packet behind options",
            with(behind(17, &[options(60, 8)]), &[(53, 9)]),
            PassMalformed,
        ),
        ("39 bytes", tcp()[..39].to_vec(), PassMalformed),
        ("nothing", Vec::new(), PassMalformed),
    ];
    for (name, bytes, counter) in cases {
        assert_eq!(verdict(&bytes), Err(counter), "{name}");
    }
}

#[test]
fn what_is_for_the_filter_after_all() {
    let cases = [
        ("every traffic class and flow", {
            with(tcp(), &[(0, 0x6f), (1, 0xff), (2, 0xff), (3, 0xff)])
        }),
        ("hop limit 0", with(tcp(), &[(7, 0)])),
        ("a UDP length below the packet", {
            let payload = vec![0; 4];
            let wire = Wire {
                payload,
                ..Wire::new6(17)
            };
            with(wire.bytes(), &[(45, 8)])
        }),
        ("no UDP checksum", with(udp(), &[(46, 0), (47, 0)])),
        ("hop-by-hop options", behind(6, &[options(0, 8)])),
        (
            "options twice",
            behind(17, &[options(60, 8), options(60, 24)]),
        ),
        (
            "unknown options",
            behind(6, &[(60, vec![0xfe, 0xff, 0, 0, 0, 0])]),
        ),
        (
            "256 bytes of options",
            behind(6, &[options(60, 248), options(60, 8)]),
        ),
        ("a routing header done", behind(17, &[routing(0, 0)])),
        ("source-route done, then options", {
            behind(
                6,
                &[options(0, 8), options(60, 8), routing(2, 0), options(60, 8)],
            )
        }),
    ];
    for (name, bytes) in cases {
        assert!(verdict(&bytes).is_ok(), "{name}");
    }
}

#[test]
fn protocols_are_told_apart_by_all_their_bits() {
    // Behind these numbers the transport header would be an extension header.
    for number in (0..=u8::MAX).filter(|number| ![0, 43, 60].contains(number)) {
        for (bytes, own) in [(tcp(), 6), (udp(), 17)] {
            let found = verdict(&with(bytes, &[(6, number)]));
            assert_eq!(found.is_ok(), number == own, "{number} for {own}");
        }
    }
}

#[test]
fn who_is_no_client() {
    let ends = |source: &str, destination: &str| Wire {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        ..Wire::new6(17)
    };
    let good = "2001:db8::1";
    for (source, destination, client) in [
        (good, good, true),
        ("::2", "::1", true),
        ("fc00::1", "fe80::1", true),
        ("fe7f::1", "::ffff:1.2.3.4", true),
        ("fec0::1", "::", true),
        ("::fffe:102:304", good, true),
        ("::1:0:102:304", good, true),
        ("::", good, false),
        ("::1", good, false),
        ("fe80::1", good, false),
        ("febf:ffff::1", good, false),
        ("::ffff:1.2.3.4", good, false),
        ("ff02::1", good, false),
        ("ffff::1", good, false),
        (good, "ff02::1", false),
        (good, "ff0e::1", false),
    ] {
        let packet = verdict(&ends(source, destination).bytes()).unwrap();
        let expected = if client {
            Ok(())
        } else {
            Err(Counter::PassForeign)
        };
        assert_eq!(check_ends(&packet), expected, "{source} to {destination}");
    }
    for (source_port, destination_port) in [(0, 80), (80, 0), (0, 0)] {
        let wire = Wire {
            source_port,
            destination_port,
            ..Wire::new6(6)
        };
        let packet = verdict(&wire.bytes()).unwrap();
        assert_eq!(check_ends(&packet), Err(Counter::PassMalformed));
    }
}

#[test]
fn packets_beyond_64_kib() {
    // BIG TCP: payload length 0. So has a jumbogram, whose length is in a hop-by-hop option.
    for bytes in [
        with(tcp(), &[(5, 0)]),
        with(udp(), &[(5, 0)]),
        with(behind(6, &[(0, vec![0xc2, 4, 0, 1, 0, 0])]), &[(5, 0)]),
        with(behind(6, &[options(60, 8)]), &[(5, 0)]),
        with(behind(17, &[ATOMIC()]), &[(5, 0)]),
    ] {
        let parse = |len| Ipv6Addr::parse(&bytes, len);
        assert_eq!(parse(65_536), Parsed::Pass(Counter::PassForeign));
        assert_eq!(parse(65_535), Parsed::Pass(Counter::PassMalformed));
    }
    // The longest packet there is.
    let bytes = with(tcp(), &[(4, 255), (5, 255)]);
    assert!(matches!(
        Ipv6Addr::parse(&bytes, 65_575),
        Parsed::Packet(Packet {
            total_len: 65_575,
            ..
        })
    ));
    let parsed = Ipv6Addr::parse(&bytes, 65_574);
    assert_eq!(parsed, Parsed::Pass(Counter::PassMalformed));
}
