// SPDX-License-Identifier: GPL-2.0

//! ICMP errors: whatever the bytes, what is read from them is what the reference reads; and their
//! translation against errors built from scratch.

use fep_core::icmp::{parse_error, translate_error, ErrorMessage, NotRead, ERROR_HEADERS_MAX};
use fep_core::packet::{parse, Parsed};
use fep_core::rewrite::{Coverage, Side};
use fep_uapi::Counter;
use proptest::prelude::*;

use crate::report::{check_parse, verdict, Report};
use crate::wire::{ones_sum, Sum, Wire};

/// Translates, compares with the error built from scratch, both all of it and its linear part.
fn check(report: &Report, side: Side, address: u32, port: u16) {
    let before = report.bytes();
    let error = check_parse(&before).unwrap();
    let mut want = report.translated(side, address, port);
    for len in [before.len(), usize::from(error.rewrite_len)] {
        let mut bytes = before[..len].to_vec();
        assert!(translate_error(
            &mut bytes,
            &error,
            side,
            address,
            port,
            Coverage::Full
        ));
        assert_eq!(bytes, want[..len], "{report:?}");
    }
    // Of a message that the device is still to sum up, everything but the ICMP checksum.
    let mut bytes = before.clone();
    assert!(translate_error(
        &mut bytes,
        &error,
        side,
        address,
        port,
        Coverage::Partial
    ));
    let at = usize::from(error.header_len) + 2;
    want[at..at + 2].copy_from_slice(&before[at..at + 2]);
    assert_eq!(bytes, want);
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Source), Just(Side::Destination)]
}

fn any_address() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        prop::sample::select(vec![0, 1, 0xffff, 0x1_0000, 0xffff_0000, 0xffff_ffff])
    ]
}

prop_compose! {
    fn any_quoted()(
        tcp in any::<bool>(),
        source in 0x0100_0000u32..0x7f00_0000,
        destination in prop_oneof![any::<u32>(), 0x0a00_0000..0x0a00_0010u32],
        ports in any::<(u16, u16)>(),
        (ttl, id, dont_fragment) in any::<(u8, u16, bool)>(),
        ip_options in (0..=10usize).prop_flat_map(|n| prop::collection::vec(any::<u8>(), n * 4)),
        tcp_words in 0..=10usize,
        payload in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(255)], 0..64),
        absent in any::<bool>(),
    ) -> Wire {
        Wire {
            source,
            destination,
            source_port: ports.0,
            destination_port: ports.1,
            ttl,
            id,
            dont_fragment,
            ip_options,
            tcp_options: vec![1; if tcp { tcp_words * 4 } else { 0 }],
            payload,
            sum: if absent && !tcp { Sum::Absent } else { Sum::Full },
            ..Wire::new(if tcp { 6 } else { 17 })
        }
    }
}

prop_compose! {
    fn any_report()(
        quoted in any_quoted(),
        source in 0x0100_0000u32..0x7f00_0000,
        ttl in 1u8..,
        dont_fragment in any::<bool>(),
        ip_words in 0..=10usize,
        kind in prop::sample::select(vec![3u8, 11, 12]),
        (code, rest) in any::<(u8, [u8; 4])>(),
        quoted_len in prop_oneof![Just(8usize), 8..24usize, Just(usize::MAX)],
        padding in prop_oneof![Just(0usize), 0..20usize],
    ) -> Report {
        Report {
            source,
            ttl,
            flags: u8::from(dont_fragment) << 6,
            ip_options: vec![1; ip_words * 4],
            kind,
            code,
            rest,
            quoted_len,
            padding,
            ..Report::about(quoted)
        }
    }
}

/// Which checksums are right: outer header, ICMP, quoted header, quoted transport. Where the quote
/// is cut the last means nothing; it is compared before and after all the same, as the change of
/// what is there has to cancel out.
fn right(bytes: &[u8], error: &ErrorMessage) -> [bool; 4] {
    let (ip, rest) = bytes.split_at(usize::from(error.header_len));
    let message = &rest[..usize::from(error.total_len) - ip.len()];
    let (quoted, transport) = message[8..].split_at(usize::from(error.quoted_header_len));
    let mut covered = quoted[12..20].to_vec();
    covered.extend([0, quoted[9], 0, 0]);
    covered[10..12].copy_from_slice(&u16::try_from(transport.len()).unwrap().to_be_bytes());
    covered.extend(transport);
    [ip, message, quoted, &covered].map(|covered| ones_sum(covered) == 0xffff)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_an_error_built_from_scratch(
        report in any_report(), side in any_side(), address in any_address(), port in any::<u16>(),
    ) {
        check(&report, side, address, port);
    }

    #[test]
    fn damage_is_neither_hidden_nor_made(
        report in any_report(), side in any_side(), address in any_address(), port in any::<u16>(),
        changes in prop::collection::vec((0..180usize, any::<u8>()), 0..4),
    ) {
        let mut bytes = report.bytes();
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        let Ok(error) = check_parse(&bytes) else { return Ok(()) };
        let before = bytes.clone();
        if !translate_error(&mut bytes, &error, side, address, port, Coverage::Full) {
            prop_assert_eq!(&bytes, &before);
            prop_assert_eq!(error.ttl, 0);
            return Ok(());
        }
        let (was, is) = (right(&before, &error), right(&bytes, &error));
        prop_assert_eq!(&was[..3], &is[..3]);
        let transport_at = usize::from(error.header_len + 8 + error.quoted_header_len);
        let sum_at = transport_at + if error.quote.protocol.number() == 6 { 16 } else { 6 };
        if error.summed && (sum_at == transport_at + 16 || before[sum_at..sum_at + 2] != [0, 0]) {
            prop_assert_eq!(was[3], is[3]);
        }

        // Nothing but the fields that a translation is about changes.
        let (outer, quoted) = match side {
            Side::Source => (12, 16),
            Side::Destination => (16, 12),
        };
        let (header, quote) = (usize::from(error.header_len), usize::from(error.header_len) + 8);
        let port_at = transport_at + if quoted == 12 { 0 } else { 2 };
        for at in 0..bytes.len() {
            let expected = at == 8
                || (10..12).contains(&at)
                || (outer..outer + 4).contains(&at)
                || (header + 2..header + 4).contains(&at)
                || (quote + 10..quote + 12).contains(&at)
                || (quote + quoted..quote + quoted + 4).contains(&at)
                || (port_at..port_at + 2).contains(&at)
                || (error.summed && (sum_at..sum_at + 2).contains(&at));
            prop_assert!(expected || bytes[at] == before[at], "byte {}", at);
        }
    }

    #[test]
    fn damaged_and_cut_errors(
        report in any_report(), cut in prop_oneof![Just(0usize), 0..120usize], shorten in any::<bool>(),
        options in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 4, 7, 131, 137]), 40),
        changes in prop::collection::vec((0..120usize, prop_oneof![any::<u8>(), 0..6u8]), 0..4),
    ) {
        let ip_options = options[..report.ip_options.len()].to_vec();
        let mut bytes = Report { ip_options, ..report }.bytes();
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        if shorten && bytes.len() > 4 {
            // Otherwise only the total length would be found wrong.
            let len = u16::try_from(bytes.len()).unwrap();
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
        }
        let _ = check_parse(&bytes);
    }

    #[test]
    fn arbitrary_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..200), icmp in any::<bool>()) {
        if icmp && bytes.len() > 20 {
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&[0, 21]);
            (bytes[6], bytes[7], bytes[9]) = (0, 0, 1);
        }
        let _ = check_parse(&bytes);
    }

    #[test]
    fn lengths_that_do_not_fit_the_bytes(bytes in prop::collection::vec(any::<u8>(), 0..160), len in any::<usize>()) {
        if let Err(NotRead::Need(need)) = parse_error(&bytes, len) {
            prop_assert!(bytes.len() < need && need <= len.min(ERROR_HEADERS_MAX));
        }
    }

    /// Whatever the fields of `ErrorMessage` say, a translation does not panic, and one that is
    /// refused changes nothing.
    #[test]
    fn fields_that_do_not_fit(
        mut bytes in prop::collection::vec(any::<u8>(), 0..160), report in any_report(), side in any_side(),
        lens in any::<(u16, u16)>(), rewrite_len in 0..160u16, summed in any::<bool>(),
    ) {
        let honest = verdict(&report.bytes()).unwrap();
        let (header_len, quoted_header_len) = (lens.0 % 90, lens.1 % 90);
        let error = ErrorMessage { header_len, quoted_header_len, rewrite_len, summed, ..honest };
        let before = bytes.clone();
        if !translate_error(&mut bytes, &error, side, 1, 2, Coverage::Full) {
            prop_assert_eq!(bytes, before);
        }
    }
}

#[test]
fn tcp_and_udp_by_every_quoted_length() {
    for (protocol, payload) in [(6, 30), (17, 0), (17, 1), (17, 30)] {
        for quoted_len in 0..50 {
            let quoted = Wire {
                payload: vec![0xa5; payload],
                ..Wire::new(protocol)
            };
            let report = Report {
                quoted_len,
                ..Report::about(quoted)
            };
            if quoted_len < 8 {
                assert_eq!(check_parse(&report.bytes()), Err(Counter::PassMalformed));
                continue;
            }
            let error = verdict(&report.bytes()).unwrap();
            assert_eq!(error.summed, protocol == 17 || quoted_len >= 18);
            check(&report, Side::Destination, 0x0a00_0009, 8080);
            check(&report, Side::Source, 0xc000_0201, 80);
        }
    }
}

#[test]
fn a_quoted_udp_checksum_is_never_made_absent() {
    for port in 0..=u16::MAX {
        let mut quoted = Wire::new(17);
        check_sum(&Report::about(quoted.clone()), port, false);
        quoted.sum = Sum::Absent;
        check_sum(&Report::about(quoted), port, true);
    }
}

fn check_sum(report: &Report, port: u16, absent: bool) {
    let mut bytes = report.bytes();
    let error = verdict(&bytes).unwrap();
    let side = Side::Destination;
    assert!(translate_error(
        &mut bytes,
        &error,
        side,
        0x0a00_0007,
        port,
        Coverage::Full
    ));
    assert_eq!(bytes, report.translated(side, 0x0a00_0007, port));
    assert_eq!(bytes[54..56] == [0, 0], absent);
}

#[test]
fn only_errors_are_read() {
    for kind in 0..=u8::MAX {
        let report = Report {
            kind,
            ..Report::about(Wire::new(6))
        };
        let wanted = matches!(kind, 3 | 11 | 12);
        let found = check_parse(&report.bytes());
        assert_eq!(found.is_ok(), wanted);
        assert!(wanted || found == Err(Counter::PassForeign));
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
        assert_eq!(parse(&bytes, bytes.len()), expected);
        assert_eq!(parse(&bytes[..20], bytes.len()), expected);
        assert_eq!(verdict(&bytes).is_ok(), protocol == 1);
    }
}

#[test]
fn refused_translations_change_nothing() {
    let report = Report::about(Wire::new(6));
    let bytes = report.bytes();
    let error = verdict(&bytes).unwrap();
    for linear in 0..usize::from(error.rewrite_len) {
        let mut head = bytes[..linear].to_vec();
        let done = translate_error(&mut head, &error, Side::Source, 1, 2, Coverage::Full);
        assert!(!done && head == bytes[..linear]);
    }
    let dead = Report { ttl: 0, ..report }.bytes();
    let mut head = dead.clone();
    let done = translate_error(&mut head, &error, Side::Source, 1, 2, Coverage::Full);
    assert!(!done && head == dead);
}
