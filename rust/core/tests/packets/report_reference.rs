// SPDX-License-Identifier: GPL-2.0

//! A plain reference of what is read from ICMP errors.

use std::net::{Ipv4Addr, Ipv6Addr};

use fep_core::address::Address;
use fep_core::icmp::{ErrorMessage, NotRead, ERROR_HEADERS_MAX};
use fep_uapi::Counter;

/// What an error says, by index.
#[derive(Debug, PartialEq)]
pub(crate) struct Facts {
    protocol: u8,
    /// Of the quote, both.
    addresses: Vec<u8>,
    ports: [u8; 4],
    header_len: usize,
    total_len: usize,
    quoted_header_len: usize,
    /// Whether the checksum is quoted.
    summed: bool,
}

/// The rules again.
pub(crate) trait Reference: Address {
    /// Most bytes that are looked at.
    const MOST: usize;

    fn facts(bytes: &[u8]) -> Result<Facts, Counter>;

    /// (time to live, whether routers must not fragment).
    fn travel(bytes: &[u8]) -> (u8, bool);
}

const MALFORMED: Result<Facts, Counter> = Err(Counter::PassMalformed);

impl Reference for Ipv4Addr {
    const MOST: usize = 60 + 8 + 60 + 18;

    fn facts(bytes: &[u8]) -> Result<Facts, Counter> {
        if bytes.len() < 20 {
            return MALFORMED;
        }
        if bytes[0] / 16 != 4 || bytes[9] != 1 {
            return Err(Counter::PassForeign);
        }
        let header_len = usize::from(bytes[0] % 16) * 4;
        let total_len = usize::from(bytes[2]) * 256 + usize::from(bytes[3]);
        if header_len < 20 || total_len > bytes.len() {
            return MALFORMED;
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
            return MALFORMED;
        }
        let mut at = 20;
        while at < header_len && bytes[at] != 0 {
            if bytes[at] == 1 {
                at += 1;
                continue;
            }
            let end = at + 2 <= header_len && bytes[at + 1] >= 2;
            if !end || at + usize::from(bytes[at + 1]) > header_len {
                return MALFORMED;
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
            return MALFORMED;
        }
        if quote[9] != 6 && quote[9] != 17 {
            return Err(Counter::PassForeign);
        }
        if quote[6] % 32 != 0 || quote[7] != 0 {
            return Err(Counter::PassFragment);
        }
        let quoted_header_len = usize::from(quote[0] % 16) * 4;
        if quote[12..16] != bytes[16..20] || quote.len() < quoted_header_len + 8 {
            return MALFORMED;
        }
        Ok(Facts {
            protocol: quote[9],
            addresses: quote[12..20].to_vec(),
            ports: quote[quoted_header_len..quoted_header_len + 4]
                .try_into()
                .unwrap(),
            header_len,
            total_len,
            quoted_header_len,
            summed: quote[9] == 17 || quote.len() >= quoted_header_len + 18,
        })
    }

    fn travel(bytes: &[u8]) -> (u8, bool) {
        (bytes[8], bytes[6] == 64 || bytes[6] == 192)
    }
}

/// The kind and place of the header behind the extension headers of an IPv6 packet.
fn upper(packet: &[u8]) -> Result<(u8, usize), Counter> {
    let (mut kind, mut at) = (packet[6], 40);
    loop {
        match kind {
            44 => return Err(Counter::PassFragment),
            0 if at > 40 => return Err(Counter::PassMalformed),
            0 | 43 | 60 if packet.len() < at + 8 => return Err(Counter::PassMalformed),
            43 if packet[at + 3] > 0 => return Err(Counter::PassSourceRoute),
            0 | 43 | 60 => {
                let len = 8 + usize::from(packet[at + 1]) * 8;
                if packet.len() < at + len {
                    return Err(Counter::PassMalformed);
                }
                if at + len - 40 > 256 {
                    return Err(Counter::PassForeign);
                }
                kind = packet[at];
                at += len;
            }
            _ => return Ok((kind, at)),
        }
    }
}

impl Reference for Ipv6Addr {
    const MOST: usize = 40 + 256 + 8 + 40 + 256 + 18;

    fn facts(bytes: &[u8]) -> Result<Facts, Counter> {
        if bytes.len() < 40 {
            return MALFORMED;
        }
        if bytes[0] / 16 != 6 {
            return Err(Counter::PassForeign);
        }
        let total_len = 40 + usize::from(bytes[4]) * 256 + usize::from(bytes[5]);
        if total_len > bytes.len() {
            return MALFORMED;
        }
        let none_or_loopback = bytes[8..23] == [0; 15] && bytes[23] < 2;
        let mapped = bytes[8..20] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255];
        let link_local = bytes[8] == 0xfe && (0x80..0xc0).contains(&bytes[9]);
        if none_or_loopback || mapped || link_local || bytes[8] == 255 || bytes[24] == 255 {
            return Err(Counter::PassForeign);
        }
        let bytes = &bytes[..total_len];
        let (kind, header_len) = upper(bytes)?;
        if kind != 58 {
            return Err(Counter::PassForeign);
        }
        if total_len < header_len + 8 {
            return MALFORMED;
        }
        if ![1, 2, 3, 4].contains(&bytes[header_len]) {
            return Err(Counter::PassForeign);
        }
        let quote = &bytes[header_len + 8..];
        if quote.len() < 40 || quote[0] / 16 != 6 {
            return MALFORMED;
        }
        let (protocol, quoted_header_len) = upper(quote)?;
        if protocol != 6 && protocol != 17 {
            return Err(Counter::PassForeign);
        }
        if quote[8..24] != bytes[24..40] || quote.len() < quoted_header_len + 8 {
            return MALFORMED;
        }
        Ok(Facts {
            protocol,
            addresses: quote[8..40].to_vec(),
            ports: quote[quoted_header_len..quoted_header_len + 4]
                .try_into()
                .unwrap(),
            header_len,
            total_len,
            quoted_header_len,
            summed: protocol == 17 || quote.len() >= quoted_header_len + 18,
        })
    }

    fn travel(bytes: &[u8]) -> (u8, bool) {
        (bytes[7], true)
    }
}

pub(crate) fn verdict<A: Address>(bytes: &[u8]) -> Result<ErrorMessage<A>, Counter> {
    match A::parse_error(bytes, bytes.len()) {
        Ok(error) => Ok(error),
        Err(NotRead::Pass(counter)) => Err(counter),
        Err(NotRead::Need(need)) => panic!("needs {need} of {}", bytes.len()),
    }
}

/// What is true of every packet, however much of it is linear.
pub(crate) fn check_parse<A: Reference>(bytes: &[u8]) -> Result<ErrorMessage<A>, Counter> {
    let found = verdict::<A>(bytes);
    let facts = found.map(|error| {
        let quote = error.quote;
        assert_eq!((error.ttl, error.dont_fragment), A::travel(bytes));
        let (header_len, total_len) = (usize::from(error.header_len), error.total_len as usize);
        let quoted_header_len = usize::from(error.quoted_header_len);
        let transport = match (error.summed, quote.protocol.number()) {
            (true, 6) => 18,
            _ => 8,
        };
        let rewrite_len = header_len + 8 + quoted_header_len + transport;
        assert_eq!(usize::from(error.rewrite_len), rewrite_len);
        assert!(rewrite_len <= total_len && rewrite_len <= A::MOST);
        let mut addresses = crate::wire::octets(quote.source.into());
        addresses.extend(crate::wire::octets(quote.destination.into()));
        let ([a, b], [c, d]) = (
            quote.source_port.to_be_bytes(),
            quote.destination_port.to_be_bytes(),
        );
        Facts {
            protocol: quote.protocol.number(),
            addresses,
            ports: [a, b, c, d],
            header_len,
            total_len,
            quoted_header_len,
            summed: error.summed,
        }
    });
    assert_eq!(facts, A::facts(bytes));
    const { assert!(A::MOST <= ERROR_HEADERS_MAX) };

    // Need is honest: it asks for more than there is, for no more than there can be, at most twice.
    for linear in 0..bytes.len().min(A::MOST + 2) {
        let (mut linear, mut asked) = (linear, 0);
        let end = loop {
            match A::parse_error(&bytes[..linear], bytes.len()) {
                Err(NotRead::Need(need)) => {
                    assert!(linear < need && need <= bytes.len().min(A::MOST));
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
