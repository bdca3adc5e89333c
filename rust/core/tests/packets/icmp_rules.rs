// SPDX-License-Identifier: GPL-2.0

//! ICMP errors: every rule by an example.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_core::address::Address;
use fep_core::packet::Parsed;
use fep_core::rewrite::{Coverage, Side};
use fep_uapi::Counter;

use crate::any::of;
use crate::icmp::check;
use crate::report::Report;
use crate::report_reference::{check_parse, verdict, Reference};
use crate::rules::with;
use crate::wire::{Extension, Sum, Wire};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An error about a packet of that family, with an address to translate to.
fn example(ipv6: bool, protocol: u8) -> (Wire, IpAddr) {
    if ipv6 {
        (Wire::new6(protocol), ip("fd00::9"))
    } else {
        (Wire::new(protocol), ip("10.0.0.9"))
    }
}

/// The reasons why an error of either family is not read, or whether its checksum is quoted.
fn read(report: &Report) -> Result<bool, Counter> {
    let bytes = report.bytes();
    match report.source {
        IpAddr::V4(_) => check_parse::<Ipv4Addr>(&bytes).map(|error| error.summed),
        IpAddr::V6(_) => check_parse::<Ipv6Addr>(&bytes).map(|error| error.summed),
    }
}

#[test]
fn tcp_and_udp_by_every_quoted_length() {
    for (protocol, payload) in [(6, 30), (17, 0), (17, 1), (17, 30)] {
        for quoted_len in 0..50 {
            for ipv6 in [false, true] {
                let (wire, address) = example(ipv6, protocol);
                let quoted = Wire {
                    payload: vec![0xa5; payload],
                    ..wire
                };
                let report = Report {
                    quoted_len,
                    ..Report::about(quoted)
                };
                if quoted_len < 8 {
                    assert_eq!(read(&report), Err(Counter::PassMalformed));
                    continue;
                }
                let summed = protocol == 17 || quoted_len >= 18;
                assert_eq!(read(&report), Ok(summed));
                check(&report, Side::Destination, address, 8080);
                check(&report, Side::Source, address, 80);
            }
        }
    }
}

#[test]
fn a_quoted_udp_checksum_is_never_made_absent() {
    for port in 0..=u16::MAX {
        for ipv6 in [false, true] {
            for sum in [Sum::Full, Sum::Absent] {
                let (wire, address) = example(ipv6, 17);
                let report = Report::about(Wire { sum, ..wire });
                let found = match address {
                    IpAddr::V4(to) => quoted_checksum(&report, to, port),
                    IpAddr::V6(to) => quoted_checksum(&report, to, port),
                };
                assert_eq!(found == [0, 0], sum == Sum::Absent);
            }
        }
    }
}

/// The quoted UDP checksum after a translation.
fn quoted_checksum<A: Address>(report: &Report, address: A, port: u16) -> [u8; 2] {
    let mut bytes = report.bytes();
    let error = verdict::<A>(&bytes).unwrap();
    let side = Side::Destination;
    let done = A::translate_error(&mut bytes, &error, side, address, port, Coverage::Full);
    assert!(done);
    assert_eq!(bytes, report.translated(side, address.into(), port));
    let at = bytes.len() - 2;
    [bytes[at], bytes[at + 1]]
}

#[test]
fn only_errors_are_read() {
    for kind in 0..=u8::MAX {
        for (wire, kinds) in [
            (Wire::new(6), &[3, 11, 12][..]),
            (Wire::new6(6), &[1, 2, 3, 4]),
        ] {
            let report = Report {
                kind,
                ..Report::about(wire)
            };
            let expected = if kinds.contains(&kind) {
                Ok(true)
            } else {
                Err(Counter::PassForeign)
            };
            assert_eq!(read(&report), expected, "{kind}");
        }
    }
}

#[test]
fn icmp_is_told_apart_by_its_number_alone() {
    let mut bytes = Report::about(Wire::new(6)).bytes();
    for protocol in (0..=u8::MAX).filter(|number| ![6, 17].contains(number)) {
        bytes[9] = protocol;
        let expected = match protocol {
            1 => Parsed::Icmp,
            _ => Parsed::Pass(Counter::PassForeign),
        };
        assert_eq!(Ipv4Addr::parse(&bytes, bytes.len()), expected);
        assert_eq!(Ipv4Addr::parse(&bytes[..20], bytes.len()), expected);
        assert_eq!(verdict::<Ipv4Addr>(&bytes).is_ok(), protocol == 1);
    }
}

/// An extension header of options, eight bytes.
fn options() -> Extension {
    (60, vec![1, 4, 0, 0, 0, 0])
}

#[test]
fn icmpv6_is_told_apart_by_its_number_alone() {
    for extensions in [vec![], vec![options()], vec![(0, vec![0; 6]), options()]] {
        let report = Report {
            extensions,
            ..Report::about(Wire::new6(6))
        };
        let at = report.header_len();
        let number_at = if at == 40 { 6 } else { at - 8 };
        let mut bytes = report.bytes();
        for protocol in 0..=u8::MAX {
            if [0, 6, 17, 43, 44, 60].contains(&protocol) {
                continue;
            }
            bytes[number_at] = protocol;
            let expected = match protocol {
                58 => Parsed::Icmp,
                _ => Parsed::Pass(Counter::PassForeign),
            };
            assert_eq!(Ipv6Addr::parse(&bytes, bytes.len()), expected);
            assert_eq!(Ipv6Addr::parse(&bytes[..at], bytes.len()), expected);
            assert_eq!(verdict::<Ipv6Addr>(&bytes).is_ok(), protocol == 58);
        }
    }
}

/// What IPv6 itself lives on goes on, whatever of it is linear.
#[test]
fn neighbour_discovery_is_left_alone() {
    let about = |kind: u8, source: &str, destination: &str, body: &[u8]| {
        let mut bytes = vec![
            0x60,
            0,
            0,
            0,
            0,
            4 + u8::try_from(body.len()).unwrap(),
            58,
            255,
        ];
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        bytes.extend(address(source));
        bytes.extend(address(destination));
        bytes.extend([kind, 0, 0, 0]);
        bytes.extend(body);
        bytes
    };
    let target = [
        &[0; 4][..],
        &Ipv6Addr::LOCALHOST.octets(),
        &[1, 1, 2, 3, 4, 5, 6, 7],
    ]
    .concat();
    for (kind, source, destination, body) in [
        // Router and neighbour solicitations and advertisements, redirects; duplicate detection.
        (133, "fe80::1", "ff02::2", &[0; 4][..]),
        (133, "::", "ff02::2", &[0; 4]),
        (134, "fe80::1", "ff02::1", &[0; 12]),
        (134, "fe80::1", "fe80::2", &[0; 12]),
        (135, "::", "ff02::1:ff00:1", &target),
        (135, "2001:db8::1", "ff02::1:ff00:1", &target),
        (135, "2001:db8::1", "2001:db8::2", &target),
        (136, "2001:db8::1", "2001:db8::2", &target),
        (136, "fe80::1", "ff02::1", &target),
        (137, "fe80::1", "2001:db8::2", &target),
        // Multicast listeners, echo, and the error that is reserved.
        (130, "fe80::1", "ff02::1", &target),
        (131, "fe80::1", "ff02::16", &target),
        (143, "fe80::1", "ff02::16", &target),
        (128, "2001:db8::1", "2001:db8::2", &target),
        (129, "2001:db8::1", "2001:db8::2", &target),
        (0, "2001:db8::1", "2001:db8::2", &target),
        (127, "2001:db8::1", "2001:db8::2", &target),
        // Errors of the link, and to a group (a too big packet may be).
        (1, "fe80::1", "2001:db8::2", &target),
        (2, "2001:db8::1", "ff0e::1", &target),
    ] {
        let bytes = about(kind, source, destination, body);
        assert_eq!(Ipv6Addr::parse(&bytes, bytes.len()), Parsed::Icmp);
        let found = check_parse::<Ipv6Addr>(&bytes);
        assert_eq!(found, Err(Counter::PassForeign), "{kind} from {source}");
    }
}

#[test]
fn what_is_not_read_of_icmpv6() {
    use Counter::{PassForeign, PassFragment, PassMalformed, PassSourceRoute};
    let report = Report::about(Wire::new6(6));
    let outer = |extension: Extension| {
        let report = Report {
            extensions: vec![extension],
            ..report.clone()
        };
        report.bytes()
    };
    let quoting = |protocol: u8, extensions: &[Extension]| {
        let extensions = extensions.to_vec();
        Report::about(Wire {
            extensions,
            ..Wire::new6(protocol)
        })
    };
    let good = report.bytes();
    let long = |units: usize| (60, vec![0; 6 + 8 * units]);
    let cases = [
        ("IPv4", with(good.clone(), &[(0, 0x45)]), PassForeign),
        ("39 bytes", good[..39].to_vec(), PassMalformed),
        (
            "a byte less",
            good[..good.len() - 1].to_vec(),
            PassMalformed,
        ),
        ("TCP", with(good.clone(), &[(6, 6)]), PassForeign),
        ("ICMP of IPv4", with(good.clone(), &[(6, 1)]), PassForeign),
        (
            "half an ICMPv6 header",
            with(good.clone(), &[(5, 4)]),
            PassMalformed,
        ),
        (
            "no ICMPv6 header",
            with(good.clone(), &[(5, 0)]),
            PassMalformed,
        ),
        (
            "half a quoted header",
            with(good.clone(), &[(5, 47)]),
            PassMalformed,
        ),
        (
            "no quoted ports",
            with(good.clone(), &[(5, 48)]),
            PassMalformed,
        ),
        (
            "quoting IPv4",
            with(good.clone(), &[(48, 0x45)]),
            PassMalformed,
        ),
        (
            "about another's packet",
            with(good.clone(), &[(48 + 23, 9)]),
            PassMalformed,
        ),
        (
            "about ICMPv6",
            with(good.clone(), &[(48 + 6, 58)]),
            PassForeign,
        ),
        ("about ESP", quoting(50, &[options()]).bytes(), PassForeign),
        (
            "a fragment",
            outer((44, vec![0, 8, 0, 0, 0, 1])),
            PassFragment,
        ),
        ("an atomic fragment", outer((44, vec![0; 6])), PassFragment),
        (
            "source-routed",
            outer((43, vec![0, 1, 0, 0, 0, 0])),
            PassSourceRoute,
        ),
        ("with 264 bytes of options", outer(long(32)), PassForeign),
        (
            "about a later fragment",
            quoting(6, &[(44, vec![0, 8, 0, 0, 0, 1])]).bytes(),
            PassFragment,
        ),
        (
            "about a first fragment",
            quoting(17, &[options(), (44, vec![0, 1, 0, 0, 0, 1])]).bytes(),
            PassFragment,
        ),
        (
            "about a source-routed packet",
            quoting(6, &[(43, vec![4, 1, 0, 0, 0, 0])]).bytes(),
            PassSourceRoute,
        ),
        (
            "about a packet with 264 bytes of options",
            quoting(6, &[long(32)]).bytes(),
            PassForeign,
        ),
        (
            "about hop-by-hop options second",
            quoting(6, &[options(), (0, vec![0; 6])]).bytes(),
            PassMalformed,
        ),
        (
            "cut in quoted options",
            {
                let report = quoting(6, &[long(3)]);
                let bytes = report.bytes();
                with(bytes, &[(5, 48 + 24)])
            },
            PassMalformed,
        ),
        (
            // Not foreign: what is behind is not the quote's.
            "cut in quoted options before ESP",
            with(quoting(50, &[long(3)]).bytes(), &[(5, 48 + 24)]),
            PassMalformed,
        ),
        (
            "cut behind quoted options",
            {
                let report = quoting(17, &[long(3)]);
                let bytes = report.bytes();
                with(bytes, &[(5, 48 + 32 + 7)])
            },
            PassMalformed,
        ),
    ];
    for (name, bytes, counter) in cases {
        assert_eq!(check_parse::<Ipv6Addr>(&bytes), Err(counter), "{name}");
    }
    // Both chains of options at their longest.
    let both = Report {
        extensions: vec![long(31)],
        ..quoting(6, &[long(31)])
    };
    let error = check_parse::<Ipv6Addr>(&both.bytes()).unwrap();
    assert_eq!(error.rewrite_len, 296 + 8 + 296 + 18);
    check(&both, Side::Source, ip("2001:db8::80"), 80);
    check(&both, Side::Destination, ip("2001:db8::80"), 80);
}

#[test]
fn refused_translations_change_nothing() {
    for ipv6 in [false, true] {
        // With the checksum quoted, and without.
        for (protocol, quoted_len) in [(6, 20), (6, 17), (6, 8), (17, 8)] {
            let (wire, address) = example(ipv6, protocol);
            let report = Report {
                quoted_len,
                ..Report::about(wire)
            };
            match address {
                IpAddr::V4(_) => refused::<Ipv4Addr>(&report, address),
                IpAddr::V6(_) => refused::<Ipv6Addr>(&report, address),
            }
        }
    }
}

fn refused<A: Reference>(report: &Report, address: IpAddr) {
    let bytes = report.bytes();
    let error = verdict::<A>(&bytes).unwrap();
    let refused = |head: &mut [u8]| {
        !A::translate_error(head, &error, Side::Source, of(address), 2, Coverage::Full)
    };
    for linear in 0..usize::from(error.rewrite_len) {
        let mut head = bytes[..linear].to_vec();
        assert!(refused(&mut head) && head == bytes[..linear]);
    }
    let dead = Report {
        ttl: 0,
        ..report.clone()
    };
    let mut head = dead.bytes();
    assert!(refused(&mut head) && head == dead.bytes());
}
