// SPDX-License-Identifier: GPL-2.0

//! A plain reference of what is read from packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_core::address::Address;
use fep_core::packet::{Packet, Parsed};
use fep_uapi::Counter;

/// The rules again, in the order of the documents' wording: source, destination, ports, TCP flags,
/// header length, total length.
#[derive(Debug, PartialEq)]
pub(crate) struct Facts(
    pub(crate) IpAddr,
    pub(crate) IpAddr,
    pub(crate) u16,
    pub(crate) u16,
    pub(crate) u8,
    pub(crate) usize,
    pub(crate) usize,
);

/// What the families differ in, by index.
pub(crate) trait Reference: Address {
    /// Bytes of the fixed header.
    const FIXED: usize;
    /// Most bytes of both headers.
    const MOST: usize;

    /// The counter, or the protocol, header length and total length.
    fn headers(bytes: &[u8]) -> Result<(u8, usize, usize), Counter>;

    /// (where the source address is, where the destination address is, bytes of one).
    fn addresses() -> (usize, usize, usize);

    /// Whether no client has such an address; whether nobody is reached at such an address.
    fn odd(address: &[u8]) -> (bool, bool);

    /// (time to live, whether routers must not fragment).
    fn travel(bytes: &[u8]) -> (u8, bool);
}

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    let value = bytes[at..at + len]
        .iter()
        .fold(0u64, |value, &byte| value * 256 + u64::from(byte));
    usize::try_from(value).unwrap()
}

impl Reference for Ipv4Addr {
    const FIXED: usize = 20;
    const MOST: usize = 80;

    fn headers(bytes: &[u8]) -> Result<(u8, usize, usize), Counter> {
        if bytes.len() < 20 {
            return Err(Counter::PassMalformed);
        }
        let header_len = usize::from(bytes[0] % 16) * 4;
        let total_len = number(bytes, 2, 2);
        if bytes[0] / 16 != 4 {
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
        let fragment_offset = number(bytes, 6, 2) % 8192;
        if more_fragments || fragment_offset > 0 {
            return Err(Counter::PassFragment);
        }
        if total_len < header_len + minimum {
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
        Ok((bytes[9], header_len, total_len))
    }

    fn addresses() -> (usize, usize, usize) {
        (12, 16, 4)
    }

    fn odd(address: &[u8]) -> (bool, bool) {
        let group = matches!(address[0], 224..=239) || address == [255; 4];
        (group || matches!(address[0], 0 | 127), group)
    }

    fn travel(bytes: &[u8]) -> (u8, bool) {
        (bytes[8], bytes[6] & 0x40 != 0)
    }
}

impl Reference for Ipv6Addr {
    const FIXED: usize = 40;
    const MOST: usize = 40 + 256 + 20;

    fn headers(bytes: &[u8]) -> Result<(u8, usize, usize), Counter> {
        const EXTENSIONS: [u8; 4] = [0, 43, 44, 60];
        if bytes.len() < 40 {
            return Err(Counter::PassMalformed);
        }
        if bytes[0] / 16 != 6 {
            return Err(Counter::PassForeign);
        }
        let mut kind = bytes[6];
        if ![6, 17].contains(&kind) && !EXTENSIONS.contains(&kind) {
            return Err(Counter::PassForeign);
        }
        let payload_len = number(bytes, 4, 2);
        let total_len = 40 + payload_len;
        if payload_len == 0 && bytes.len() > 65535 {
            return Err(Counter::PassForeign);
        }
        if total_len > bytes.len() || payload_len == 0 {
            return Err(Counter::PassMalformed);
        }
        let mut at = 40;
        while EXTENSIONS.contains(&kind) {
            if kind == 44 {
                return Err(Counter::PassFragment);
            }
            if kind == 0 && at > 40 || at + 8 > total_len {
                return Err(Counter::PassMalformed);
            }
            if kind == 43 && bytes[at + 3] > 0 {
                return Err(Counter::PassSourceRoute);
            }
            kind = bytes[at];
            at += 8 * (1 + usize::from(bytes[at + 1]));
            if at > total_len {
                return Err(Counter::PassMalformed);
            }
            if at > 40 + 256 {
                return Err(Counter::PassForeign);
            }
        }
        let minimum = match kind {
            6 => 20,
            17 => 8,
            _ => return Err(Counter::PassForeign),
        };
        if total_len < at + minimum {
            return Err(Counter::PassMalformed);
        }
        Ok((kind, at, total_len))
    }

    fn addresses() -> (usize, usize, usize) {
        (8, 24, 16)
    }

    fn odd(address: &[u8]) -> (bool, bool) {
        let group = address[0] == 255;
        let link_local = address[0] == 0xfe && (0x80..0xc0).contains(&address[1]);
        let none_or_loopback = address[..15] == [0; 15] && address[15] < 2;
        let mapped = address[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255];
        (group || link_local || none_or_loopback || mapped, group)
    }

    fn travel(bytes: &[u8]) -> (u8, bool) {
        (bytes[7], true)
    }
}

pub(crate) fn reference<A: Reference>(bytes: &[u8]) -> Result<Facts, Counter> {
    let (protocol, header_len, total_len) = A::headers(bytes)?;
    let minimum = if protocol == 6 { 20 } else { 8 };
    let transport_len = match protocol {
        6 => usize::from(bytes[header_len + 12] / 16) * 4,
        _ => number(bytes, header_len + 4, 2),
    };
    if transport_len < minimum || transport_len > total_len - header_len {
        return Err(Counter::PassMalformed);
    }
    let (source, destination, len) = A::addresses();
    let address = |at: usize| {
        let bytes = &bytes[at..at + len];
        match <[u8; 4]>::try_from(bytes) {
            Ok(bytes) => IpAddr::from(bytes),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()),
        }
    };
    let port = |at| u16::try_from(number(bytes, at, 2)).unwrap();
    Ok(Facts(
        address(source),
        address(destination),
        port(header_len),
        port(header_len + 2),
        if protocol == 6 {
            bytes[header_len + 13]
        } else {
            0
        },
        header_len,
        total_len,
    ))
}

/// Whether a client may have sent a packet that was parsed.
pub(crate) fn reference_ends<A: Reference>(bytes: &[u8], header_len: usize) -> Result<(), Counter> {
    let (source, destination, len) = A::addresses();
    if A::odd(&bytes[source..source + len]).0 || A::odd(&bytes[destination..destination + len]).1 {
        return Err(Counter::PassForeign);
    }
    let zero = |at: usize| bytes[at] == 0 && bytes[at + 1] == 0;
    if zero(header_len) || zero(header_len + 2) {
        return Err(Counter::PassMalformed);
    }
    Ok(())
}

/// Parses a packet whose every byte is linear. What is plain is read as such, and the same.
pub(crate) fn verdict<A: Reference>(bytes: &[u8]) -> Result<Packet<A>, Counter> {
    let found = match A::parse(bytes, bytes.len()) {
        Parsed::Packet(packet) => Ok(packet),
        // The filter reads on; see icmp.rs.
        Parsed::Icmp => Err(Counter::PassForeign),
        Parsed::Pass(counter) => Err(counter),
        Parsed::Need(need) => panic!("needs {need} of {}", bytes.len()),
    };
    let is_plain = |packet: &Packet<A>| usize::from(packet.header_len) == A::FIXED;
    let plain = found.ok().filter(is_plain);
    assert_eq!(A::parse_plain(bytes, bytes.len()), plain);
    found
}
