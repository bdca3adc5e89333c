// SPDX-License-Identifier: GPL-2.0

//! ICMP errors: whatever the bytes, what is read from them is what the reference reads; and their
//! translation against errors built from scratch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_core::address::Address;
use fep_core::icmp::{ErrorMessage, NotRead, ERROR_HEADERS_MAX};
use fep_core::rewrite::{Coverage, Side};
use proptest::prelude::*;

use crate::any::{any_address, any_extensions, any_side, any_wire, of, option_words};
use crate::report::Report;
use crate::report_reference::{check_parse, verdict, Reference};
use crate::wire::{ones_sum, pseudo_header, Sum, Wire};

/// Translates an error about a packet of this family.
fn translate<A: Address>(
    bytes: &mut [u8],
    error: &ErrorMessage<A>,
    (side, address, port): (Side, IpAddr, u16),
    coverage: Coverage,
) -> bool {
    A::translate_error(bytes, error, side, of(address), port, coverage)
}

/// Translates, compares with the error built from scratch, both all of it and its linear part.
pub(crate) fn check(report: &Report, side: Side, address: IpAddr, port: u16) {
    match report.source {
        IpAddr::V4(_) => check_of::<Ipv4Addr>(report, (side, address, port)),
        IpAddr::V6(_) => check_of::<Ipv6Addr>(report, (side, address, port)),
    }
}

fn check_of<A: Reference>(report: &Report, to: (Side, IpAddr, u16)) {
    let before = report.bytes();
    let error = check_parse::<A>(&before).unwrap();
    let want = report.translated(to.0, to.1, to.2);
    for len in [before.len(), usize::from(error.rewrite_len)] {
        let mut bytes = before[..len].to_vec();
        assert!(translate(&mut bytes, &error, to, Coverage::Full));
        assert_eq!(bytes, want[..len], "{report:?}");
    }
    // Of a message that the device is still to sum up, everything but the ICMP checksum, which holds
    // the pseudo-header's sum where there is one.
    let partial = Report {
        sum: Sum::Partial,
        ..report.clone()
    };
    let mut bytes = partial.bytes();
    assert!(translate(&mut bytes, &error, to, Coverage::Partial));
    assert_eq!(bytes, partial.translated(to.0, to.1, to.2), "{partial:?}");
}

/// A host's address, which an error may be from.
fn any_host(ipv6: bool) -> BoxedStrategy<IpAddr> {
    if ipv6 {
        prop::array::uniform7(any::<u16>())
            .prop_map(|[b, c, d, e, f, g, h]| Ipv6Addr::new(0x2001, b, c, d, e, f, g, h).into())
            .boxed()
    } else {
        (0x0100_0000u32..0x7f00_0000)
            .prop_map(|bits| Ipv4Addr::from(bits).into())
            .boxed()
    }
}

prop_compose! {
    fn any_quoted(ipv6: bool)(
        wire in any_wire(ipv6),
        source in any_host(ipv6),
        ttl in any::<u8>(),
        ip_options in option_words(ipv6).prop_flat_map(|n| prop::collection::vec(any::<u8>(), n * 4)),
    ) -> Wire {
        let sum = match wire.sum {
            Sum::Partial => Sum::Full,
            sum => sum,
        };
        Wire { source, ttl, ip_options, sum, ..wire }
    }
}

prop_compose! {
    fn any_report(ipv6: bool)(
        quoted in any_quoted(ipv6),
        source in any_host(ipv6),
        ttl in 1u8..,
        dont_fragment in any::<bool>(),
        ip_words in option_words(ipv6),
        extensions in any_extensions(ipv6),
        kind in prop::sample::select(if ipv6 { vec![1u8, 2, 3, 4] } else { vec![3, 11, 12] }),
        (code, rest) in any::<(u8, [u8; 4])>(),
        quoted_len in prop_oneof![Just(8usize), 8..24usize, Just(usize::MAX)],
        padding in prop_oneof![Just(0usize), 0..20usize],
    ) -> Report {
        Report {
            source,
            ttl,
            flags: u8::from(dont_fragment) << 6,
            ip_options: vec![1; ip_words * 4],
            extensions,
            kind,
            code,
            rest,
            quoted_len,
            padding,
            ..Report::about(quoted)
        }
    }
}

/// An error, and what its ends become.
fn any_case() -> impl Strategy<Value = (Report, (Side, IpAddr, u16))> {
    any::<bool>().prop_flat_map(|ipv6| {
        let to = (any_side(), any_address(ipv6), any::<u16>());
        (any_report(ipv6), to)
    })
}

/// Which checksums are right: outer header (where it has one), ICMP, quoted header (the same), quoted
/// transport. Where the quote is cut the last means nothing; it is compared before and after all the
/// same, as the change of what is there has to cancel out.
fn right<A: Address>(bytes: &[u8], error: &ErrorMessage<A>) -> [bool; 4] {
    let (ip, rest) = bytes.split_at(usize::from(error.header_len));
    let message = &rest[..error.total_len as usize - ip.len()];
    let (quoted, transport) = message[8..].split_at(usize::from(error.quoted_header_len));
    let ends = |header: &[u8]| -> (IpAddr, IpAddr) {
        if bytes[0] >> 4 == 4 {
            let address = |at| IpAddr::from(<[u8; 4]>::try_from(&header[at..at + 4]).unwrap());
            (address(12), address(16))
        } else {
            let address = |at| IpAddr::from(<[u8; 16]>::try_from(&header[at..at + 16]).unwrap());
            (address(8), address(24))
        }
    };
    let protocol = error.quote.protocol.number();
    let mut covered = pseudo_header(ends(quoted), protocol, transport.len());
    covered.extend(transport);
    if bytes[0] >> 4 == 4 {
        [ip, message, quoted, &covered].map(|covered| ones_sum(covered) == 0xffff)
    } else {
        let mut pseudo = pseudo_header(ends(ip), 58, message.len());
        pseudo.extend(message);
        [
            true,
            ones_sum(&pseudo) == 0xffff,
            true,
            ones_sum(&covered) == 0xffff,
        ]
    }
}

/// Translates an error of damaged bytes: what was wrong stays wrong, what was right stays right, and
/// nothing changes but the fields that a translation is about.
fn check_damaged<A: Reference>(before: &[u8], to: (Side, IpAddr, u16)) {
    let Ok(error) = check_parse::<A>(before) else {
        return;
    };
    let mut bytes = before.to_vec();
    if !translate(&mut bytes, &error, to, Coverage::Full) {
        assert_eq!(bytes, before);
        assert_eq!(error.ttl, 0);
        return;
    }
    let (was, is) = (right(before, &error), right(&bytes, &error));
    assert_eq!(was[..3], is[..3]);
    let transport_at = usize::from(error.header_len + 8 + error.quoted_header_len);
    let tcp = error.quote.protocol.number() == 6;
    let sum_at = transport_at + if tcp { 16 } else { 6 };
    if error.summed && (tcp || before[sum_at..sum_at + 2] != [0, 0]) {
        assert_eq!(was[3], is[3]);
    }

    let ipv4 = before[0] >> 4 == 4;
    let (ttl, checksum, len) = if ipv4 { (8, 10..12, 4) } else { (7, 0..0, 16) };
    let source = if ipv4 { 12 } else { 8 };
    let (outer, quoted, port_at) = match to.0 {
        Side::Source => (source, source + len, transport_at + 2),
        Side::Destination => (source + len, source, transport_at),
    };
    let header = usize::from(error.header_len);
    let quote = header + 8;
    for at in 0..bytes.len() {
        let expected = at == ttl
            || checksum.contains(&at)
            || (outer..outer + len).contains(&at)
            || (header + 2..header + 4).contains(&at)
            || (at >= quote && checksum.contains(&(at - quote)))
            || (quote + quoted..quote + quoted + len).contains(&at)
            || (port_at..port_at + 2).contains(&at)
            || (error.summed && (sum_at..sum_at + 2).contains(&at));
        assert!(expected || bytes[at] == before[at], "byte {at}");
    }
}

/// Damages some bytes of the headers.
fn damage(bytes: &mut [u8], changes: &[(usize, u8)]) {
    for &(at, byte) in changes {
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_an_error_built_from_scratch((report, (side, address, port)) in any_case()) {
        check(&report, side, address, port);
    }

    #[test]
    fn damage_is_neither_hidden_nor_made(
        (report, to) in any_case(), changes in prop::collection::vec((0..240usize, any::<u8>()), 0..4),
    ) {
        let mut bytes = report.bytes();
        damage(&mut bytes, &changes);
        match report.source {
            IpAddr::V4(_) => check_damaged::<Ipv4Addr>(&bytes, to),
            IpAddr::V6(_) => check_damaged::<Ipv6Addr>(&bytes, to),
        }
    }

    #[test]
    fn damaged_and_cut_errors(
        (report, _) in any_case(), cut in prop_oneof![Just(0usize), 0..160usize], shorten in any::<bool>(),
        options in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 4, 7, 131, 137]), 40),
        changes in prop::collection::vec((0..200usize, prop_oneof![
            any::<u8>(), 0..6u8, prop::sample::select(vec![0, 43, 44, 60, 17, 58, 59]),
        ]), 0..4),
    ) {
        let ip_options = options[..report.ip_options.len()].to_vec();
        let ipv4 = report.source.is_ipv4();
        let mut bytes = Report { ip_options, ..report }.bytes();
        damage(&mut bytes, &changes);
        bytes.truncate(bytes.len().saturating_sub(cut));
        if shorten && bytes.len() > 40 {
            // Otherwise only the total length would be found wrong.
            let (at, len) = if ipv4 { (2, bytes.len()) } else { (4, bytes.len() - 40) };
            bytes[at..at + 2].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        let _ = check_parse::<Ipv4Addr>(&bytes);
        let _ = check_parse::<Ipv6Addr>(&bytes);
    }

    #[test]
    fn arbitrary_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..200), icmp in any::<bool>()) {
        if icmp && bytes.len() > 20 {
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&[0, 21]);
            (bytes[6], bytes[7], bytes[9]) = (0, 0, 1);
        }
        let _ = check_parse::<Ipv4Addr>(&bytes);
        if icmp && bytes.len() > 40 {
            let len = u8::try_from(bytes.len() - 40).unwrap();
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&[0, len]);
            bytes[6] = [0, 43, 44, 58, 60][usize::from(bytes[6]) % 5];
        }
        let _ = check_parse::<Ipv6Addr>(&bytes);
    }

    #[test]
    fn lengths_that_do_not_fit_the_bytes(bytes in prop::collection::vec(any::<u8>(), 0..160), len in any::<usize>()) {
        if let Err(NotRead::Need(need)) = Ipv4Addr::parse_error(&bytes, len) {
            prop_assert!(bytes.len() < need && need <= len.min(ERROR_HEADERS_MAX));
        }
        if let Err(NotRead::Need(need)) = Ipv6Addr::parse_error(&bytes, len) {
            prop_assert!(bytes.len() < need && need <= len.min(ERROR_HEADERS_MAX));
        }
    }

    /// Whatever the fields of `ErrorMessage` say, a translation does not panic, and one that is
    /// refused changes nothing.
    #[test]
    fn fields_that_do_not_fit(
        mut bytes in prop::collection::vec(any::<u8>(), 0..240), (report, to) in any_case(),
        lens in any::<(u16, u16)>(), rewrite_len in 0..160u16, summed in any::<bool>(),
    ) {
        fn check<A: Address>(
            bytes: &mut [u8], report: &Report, lens: (u16, u16, u16), summed: bool, to: (Side, IpAddr, u16),
        ) -> bool {
            let honest = verdict::<A>(&report.bytes()).unwrap();
            let (header_len, quoted_header_len, rewrite_len) = lens;
            let error = ErrorMessage { header_len, quoted_header_len, rewrite_len, summed, ..honest };
            translate(bytes, &error, to, Coverage::Full)
        }
        let before = bytes.clone();
        let lens = (lens.0 % 90, lens.1 % 90, rewrite_len);
        let done = match report.source {
            IpAddr::V4(_) => check::<Ipv4Addr>(&mut bytes, &report, lens, summed, to),
            IpAddr::V6(_) => check::<Ipv6Addr>(&mut bytes, &report, lens, summed, to),
        };
        if !done {
            prop_assert_eq!(bytes, before);
        }
    }
}
