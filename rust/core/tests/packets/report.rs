// SPDX-License-Identifier: GPL-2.0

//! ICMP errors built from scratch, and a plain reference of what is read from them.

use fep_core::icmp::{parse_error, ErrorMessage, NotRead, ERROR_HEADERS_MAX};
use fep_core::rewrite::Side;
use fep_uapi::Counter;

use crate::wire::{ones_sum, Wire};

/// An ICMP error to be: an IPv4 packet, the first bytes of its payload, and the quote.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) source: u32,
    pub(crate) destination: u32,
    pub(crate) ttl: u8,
    pub(crate) flags: u8,
    pub(crate) ip_options: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) rest: [u8; 4],
    pub(crate) quoted: Wire,
    /// Transport bytes that are quoted at most.
    pub(crate) quoted_len: usize,
    /// Link-layer padding.
    pub(crate) padding: usize,
}

impl Report {
    pub(crate) fn about(quoted: Wire) -> Self {
        Self {
            source: 0xc633_6401,
            destination: quoted.source,
            ttl: 61,
            flags: 0,
            ip_options: Vec::new(),
            kind: 3,
            code: 4,
            rest: [0, 0, 5, 0x14],
            quoted,
            quoted_len: usize::MAX,
            padding: 0,
        }
    }

    fn quote(&self) -> Vec<u8> {
        let mut bytes = self.quoted.bytes();
        let header_len = 20 + self.quoted.ip_options.len();
        bytes.truncate(header_len.saturating_add(self.quoted_len));
        bytes
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.with_quote(&self.quote())
    }

    fn with_quote(&self, quote: &[u8]) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0];
        message.extend(self.rest);
        message.extend(quote);
        let checksum = !ones_sum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());

        let header_len = 20 + self.ip_options.len();
        let total_len = u16::try_from(header_len + message.len()).unwrap();
        let mut bytes = vec![0x40 | u8::try_from(header_len / 4).unwrap(), 0xc0];
        bytes.extend(total_len.to_be_bytes());
        bytes.extend([0x12, 0x34, self.flags, 0, self.ttl, 1, 0, 0]);
        bytes.extend(self.source.to_be_bytes());
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend(&self.ip_options);
        let checksum = !ones_sum(&bytes);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(message);
        bytes.extend(vec![0xee; self.padding]);
        bytes
    }

    /// The error that the translation ought to give.
    pub(crate) fn translated(&self, side: Side, address: u32, port: u16) -> Vec<u8> {
        let mut report = self.clone();
        report.ttl -= 1;
        let quoted = &mut report.quoted;
        match side {
            Side::Source => {
                report.source = address;
                (quoted.destination, quoted.destination_port) = (address, port);
            }
            Side::Destination => {
                report.destination = address;
                (quoted.source, quoted.source_port) = (address, port);
            }
        }
        let mut quote = report.quote();
        if self.quoted.protocol == 6 && self.quoted_len == 17 {
            // Half a checksum stays as it is.
            *quote.last_mut().unwrap() = *self.quote().last().unwrap();
        }
        report.with_quote(&quote)
    }
}

pub(crate) fn verdict(bytes: &[u8]) -> Result<ErrorMessage, Counter> {
    match parse_error(bytes, bytes.len()) {
        Ok(error) => Ok(error),
        Err(NotRead::Pass(counter)) => Err(counter),
        Err(NotRead::Need(need)) => panic!("needs {need} of {}", bytes.len()),
    }
}

/// (protocol, addresses, ports, quoted header length, whether the checksum is quoted).
#[derive(Debug, PartialEq)]
struct Facts(u8, [u8; 8], [u8; 4], usize, bool);

/// The rules again, by index.
fn reference(bytes: &[u8]) -> Result<Facts, Counter> {
    let malformed = Err(Counter::PassMalformed);
    if bytes.len() < 20 {
        return malformed;
    }
    if bytes[0] / 16 != 4 || bytes[9] != 1 {
        return Err(Counter::PassForeign);
    }
    let header_len = usize::from(bytes[0] % 16) * 4;
    let total_len = usize::from(bytes[2]) * 256 + usize::from(bytes[3]);
    if header_len < 20 || total_len > bytes.len() {
        return malformed;
    }
    if bytes[6] & 0x3f != 0 || bytes[7] != 0 {
        return Err(Counter::PassFragment);
    }
    if matches!(bytes[12], 0 | 127 | 224..=239) || bytes[12..16] == [255; 4] {
        return Err(Counter::PassForeign);
    }
    if matches!(bytes[16], 224..=239) || bytes[16..20] == [255; 4] {
        return Err(Counter::PassForeign);
    }
    if total_len < header_len + 8 {
        return malformed;
    }
    let mut at = 20;
    while at < header_len && bytes[at] != 0 {
        if bytes[at] == 1 {
            at += 1;
            continue;
        }
        let end = at + 2 <= header_len && bytes[at + 1] >= 2;
        if !end || at + usize::from(bytes[at + 1]) > header_len {
            return malformed;
        }
        if bytes[at] == 131 || bytes[at] == 137 {
            return Err(Counter::PassSourceRoute);
        }
        at += usize::from(bytes[at + 1]);
    }
    if ![3, 11, 12].contains(&bytes[header_len]) {
        return Err(Counter::PassForeign);
    }
    let quote = &bytes[header_len + 8..total_len];
    if quote.len() < 20 || !(0x45..=0x4f).contains(&quote[0]) {
        return malformed;
    }
    if quote[9] != 6 && quote[9] != 17 {
        return Err(Counter::PassForeign);
    }
    if quote[6] % 32 != 0 || quote[7] != 0 {
        return Err(Counter::PassFragment);
    }
    let quoted_header_len = usize::from(quote[0] % 16) * 4;
    if quote[12..16] != bytes[16..20] || quote.len() < quoted_header_len + 8 {
        return malformed;
    }
    Ok(Facts(
        quote[9],
        quote[12..20].try_into().unwrap(),
        quote[quoted_header_len..quoted_header_len + 4]
            .try_into()
            .unwrap(),
        quoted_header_len,
        quote[9] == 17 || quote.len() >= quoted_header_len + 18,
    ))
}

/// What is true of every packet, however much of it is linear.
pub(crate) fn check_parse(bytes: &[u8]) -> Result<ErrorMessage, Counter> {
    let found = verdict(bytes);
    let facts = found.map(|error| {
        let quote = error.quote;
        let header_len = usize::from(bytes[0] % 16) * 4;
        assert_eq!(usize::from(error.header_len), header_len);
        assert_eq!(
            (error.ttl, error.dont_fragment),
            (bytes[8], bytes[6] == 64 || bytes[6] == 192)
        );
        assert_eq!(error.total_len.to_be_bytes(), bytes[2..4]);
        let quoted_header_len = usize::from(error.quoted_header_len);
        let transport = match (error.summed, bytes[header_len + 17]) {
            (true, 6) => 18,
            _ => 8,
        };
        let rewrite_len = header_len + 8 + quoted_header_len + transport;
        assert_eq!(usize::from(error.rewrite_len), rewrite_len);
        assert!(error.rewrite_len <= error.total_len && rewrite_len <= ERROR_HEADERS_MAX);
        let mut addresses = [0; 8];
        addresses[..4].copy_from_slice(&quote.source.to_be_bytes());
        addresses[4..].copy_from_slice(&quote.destination.to_be_bytes());
        let ([a, b], [c, d]) = (
            quote.source_port.to_be_bytes(),
            quote.destination_port.to_be_bytes(),
        );
        let ports = [a, b, c, d];
        Facts(
            quote.protocol.number(),
            addresses,
            ports,
            quoted_header_len,
            error.summed,
        )
    });
    assert_eq!(facts, reference(bytes));

    // Need is honest: it asks for more than there is, for no more than there can be, at most twice.
    for linear in 0..bytes.len().min(ERROR_HEADERS_MAX + 2) {
        let (mut linear, mut asked) = (linear, 0);
        let end = loop {
            match parse_error(&bytes[..linear], bytes.len()) {
                Err(NotRead::Need(need)) => {
                    assert!(linear < need && need <= bytes.len().min(ERROR_HEADERS_MAX));
                    assert!(asked < 2);
                    (linear, asked) = (need, asked + 1);
                }
                Err(NotRead::Pass(counter)) => break Err(counter),
                Ok(error) => break Ok(error),
            }
        };
        assert_eq!(end, found);
    }
    found
}
