// SPDX-License-Identifier: GPL-2.0

//! ICMP errors (RFC 792) about packets that the filter translated, as RFC 5508 asks of a NAT.
//!
//! An error quotes the packet that it is about, and goes to whoever that was from. So what has to
//! be translated is one end of the error and the opposite end of the quote, to the same address:
//!
//! | about | from | arrives for | becomes | quote arrives as | becomes |
//! |---|---|---|---|---|---|
//! | a reply | a router, the client | VIP | node | VIP → client | node → client |
//! | a request | a node, a router | client | VIP → client | client → node | client → VIP |
//!
//! Nothing here looks at what went wrong: the next-hop MTU (RFC 1191), say, holds on both sides,
//! because a translation changes no lengths.

use fep_uapi::Counter;

use crate::address::{is_group, is_unicast_host};
use crate::checksum::Delta;
use crate::packet::{check_options, Protocol, DONT_FRAGMENT, FRAGMENT, IP_HEADER, PROTOCOL_ICMP};
use crate::rewrite::{Coverage, Side};

/// Bytes of an ICMP header (RFC 792).
const ICMP_HEADER: u16 = 8;
/// Bytes of the transport header that every error quotes (RFC 792): the ports, and UDP's checksum.
const QUOTED: u16 = 8;
/// Bytes of a TCP header up to the end of its checksum (RFC 9293, 3.1).
const TCP_SUMMED: u16 = 18;
/// The fragment offset, in the flags and offset field (RFC 791, 3.1).
const OFFSET: u16 = 0x1fff;
/// Longest IPv4 header in bytes.
const IP_HEADER_MAX: usize = 60;

/// Most bytes that [`parse_error`] asks for.
pub const ERROR_HEADERS_MAX: usize = 2 * IP_HEADER_MAX + ICMP_HEADER as usize + TCP_SUMMED as usize;

/// ICMP type: destination unreachable, fragmentation needed included.
const UNREACHABLE: u8 = 3;
/// ICMP type: time exceeded.
const TIME_EXCEEDED: u8 = 11;
/// ICMP type: parameter problem.
const PARAMETER_PROBLEM: u8 = 12;

/// The packet that an error is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Source address, which is the error's destination.
    pub source: u32,
    /// Destination address.
    pub destination: u32,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// What the filter needs to know of an ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorMessage {
    /// What it is about.
    pub quote: Quote,
    /// Bytes of the IPv4 header with its options: where the ICMP header begins.
    pub header_len: u16,
    /// IPv4 total length in bytes.
    pub total_len: u16,
    /// Time to live.
    pub ttl: u8,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
    /// Bytes of the quoted IPv4 header with its options.
    pub quoted_header_len: u16,
    /// Whether the quote reaches past the transport checksum.
    pub summed: bool,
    /// Bytes from the IPv4 header on that must be linear and writable for [`translate_error`].
    pub rewrite_len: u16,
}

/// Why there is no [`ErrorMessage`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotRead {
    /// So many bytes from the IPv4 header on must be linear to decide. More than there were, and
    /// no more than the packet or [`ERROR_HEADERS_MAX`] has.
    Need(usize),
    /// Not for the filter: passed on untouched and counted.
    Pass(Counter),
}

/// The `N` bytes of `head` from `at` on. They are there: a packet that lacks them is malformed.
fn bytes<const N: usize>(head: &[u8], at: u16) -> Result<&[u8; N], NotRead> {
    head.get(usize::from(at)..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(NotRead::Pass(Counter::PassMalformed))
}

/// Reads an ICMP error. `head` and `len` are those of [`parse`](crate::packet::parse).
///
/// # Errors
///
/// What is no error about a TCP or UDP packet goes on untouched:
///
/// - `PassForeign`: other ICMP messages, errors about other protocols, and addresses that are never
///   a host's.
/// - `PassFragment`: fragments, and errors about fragments without ports.
/// - `PassSourceRoute`: source-routed errors.
/// - `PassMalformed`: errors that quote less than RFC 792 demands, or that go to somebody else than
///   the quoted packet is from.
///
/// The quoted lengths are not looked at: some senders have them in the wrong byte order.
pub fn parse_error(head: &[u8], len: usize) -> Result<ErrorMessage, NotRead> {
    const FOREIGN: NotRead = NotRead::Pass(Counter::PassForeign);
    const MALFORMED: NotRead = NotRead::Pass(Counter::PassMalformed);
    const FRAGMENTED: NotRead = NotRead::Pass(Counter::PassFragment);

    let Some(ip) = head.first_chunk::<IP_HEADER>() else {
        return Err(if len < IP_HEADER {
            MALFORMED
        } else {
            NotRead::Need(IP_HEADER)
        });
    };
    if ip[0] >> 4 != 4 || ip[9] != PROTOCOL_ICMP {
        return Err(FOREIGN);
    }
    let header_len = u16::from(ip[0] & 0x0f) << 2;
    let total_len = u16::from_be_bytes([ip[2], ip[3]]);
    if usize::from(header_len) < IP_HEADER || usize::from(total_len) > len {
        return Err(MALFORMED);
    }
    let fragment = u16::from_be_bytes([ip[6], ip[7]]);
    if fragment & FRAGMENT != 0 {
        return Err(FRAGMENTED);
    }
    let destination = u32::from_be_bytes([ip[16], ip[17], ip[18], ip[19]]);
    if !is_unicast_host(u32::from_be_bytes([ip[12], ip[13], ip[14], ip[15]]))
        || is_group(destination)
    {
        return Err(FOREIGN);
    }
    // All that any error needs, at once: how much it is exactly is known only behind two headers.
    let wanted = usize::from(total_len).min(ERROR_HEADERS_MAX);
    if head.len() < wanted {
        return Err(NotRead::Need(wanted));
    }
    // Link-layer padding is no part of the message.
    let head = head.get(..wanted).ok_or(MALFORMED)?;

    let icmp: &[u8; ICMP_HEADER as usize] = bytes(head, header_len)?;
    let options = head.get(IP_HEADER..usize::from(header_len));
    check_options(options.unwrap_or_default()).map_err(NotRead::Pass)?;
    if !matches!(icmp[0], UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM) {
        return Err(FOREIGN);
    }

    // OVERFLOW: 60 + 8 + 60 + 18 at most, here and below.
    let quote_at = header_len.wrapping_add(ICMP_HEADER);
    let quoted: &[u8; IP_HEADER] = bytes(head, quote_at)?;
    let quoted_header_len = u16::from(quoted[0] & 0x0f) << 2;
    if quoted[0] >> 4 != 4 || usize::from(quoted_header_len) < IP_HEADER {
        return Err(MALFORMED);
    }
    let protocol = Protocol::from_number(quoted[9]).ok_or(FOREIGN)?;
    if u16::from_be_bytes([quoted[6], quoted[7]]) & OFFSET != 0 {
        return Err(FRAGMENTED);
    }
    let source = u32::from_be_bytes([quoted[12], quoted[13], quoted[14], quoted[15]]);
    if source != destination {
        return Err(MALFORMED);
    }
    let transport_at = quote_at.wrapping_add(quoted_header_len);
    let ports: &[u8; QUOTED as usize] = bytes(head, transport_at)?;
    let full = match protocol {
        Protocol::Tcp => transport_at.wrapping_add(TCP_SUMMED),
        Protocol::Udp => transport_at.wrapping_add(QUOTED),
    };
    let summed = full <= total_len;
    Ok(ErrorMessage {
        quote: Quote {
            protocol,
            source,
            destination: u32::from_be_bytes([quoted[16], quoted[17], quoted[18], quoted[19]]),
            source_port: u16::from_be_bytes([ports[0], ports[1]]),
            destination_port: u16::from_be_bytes([ports[2], ports[3]]),
        },
        header_len,
        total_len,
        ttl: ip[8],
        dont_fragment: fragment & DONT_FRAGMENT != 0,
        quoted_header_len,
        summed,
        rewrite_len: if summed {
            full
        } else {
            transport_at.wrapping_add(QUOTED)
        },
    })
}

/// The fields of an IPv4 header.
struct Header<'a> {
    ttl: &'a mut u8,
    protocol: u8,
    checksum: &'a mut [u8; 2],
    address: &'a mut [u8; 4],
}

impl<'a> Header<'a> {
    fn locate(ip: &'a mut [u8], side: Side) -> Option<Self> {
        let [_, _, _, _, _, _, _, _, ttl, protocol, rest @ ..] = ip else {
            return None;
        };
        let (checksum, rest) = rest.split_first_chunk_mut::<2>()?;
        let (source, rest) = rest.split_first_chunk_mut::<4>()?;
        let (destination, _) = rest.split_first_chunk_mut::<4>()?;
        Some(Self {
            ttl,
            protocol: *protocol,
            checksum,
            address: match side {
                Side::Source => source,
                Side::Destination => destination,
            },
        })
    }

    /// Puts an address in. The change to the addresses' sum.
    fn set_address(&mut self, address: u32) -> Delta {
        let old = u32::from_be_bytes(*self.address);
        *self.address = address.to_be_bytes();
        Delta::NONE.address(old, address)
    }
}

/// The bytes that the translation of an error reads and writes.
struct Fields<'a> {
    outer: Header<'a>,
    checksum: &'a mut [u8; 2],
    quoted: Header<'a>,
    port: &'a mut [u8; 2],
    /// The quoted transport checksum.
    transport: Option<&'a mut [u8; 2]>,
}

impl<'a> Fields<'a> {
    /// Finds the fields, or `None` when they are not all there.
    fn locate(head: &'a mut [u8], error: &ErrorMessage, side: Side) -> Option<Self> {
        let (ip, message) = head.split_at_mut_checked(usize::from(error.header_len))?;
        let (icmp, quote) = message.split_at_mut_checked(usize::from(ICMP_HEADER))?;
        let (checksum, _) = icmp.get_mut(2..)?.split_first_chunk_mut::<2>()?;
        let quoted_header_len = usize::from(error.quoted_header_len);
        let (quoted, transport) = quote.split_at_mut_checked(quoted_header_len)?;
        let (source_port, transport) = transport.split_first_chunk_mut::<2>()?;
        let (destination_port, transport) = transport.split_first_chunk_mut::<2>()?;
        // Behind the ports: RFC 9293, 3.1 (offset 16) and RFC 768 (offset 6).
        let behind = match error.quote.protocol {
            Protocol::Tcp => 12,
            Protocol::Udp => 2,
        };
        let transport = if error.summed {
            Some(transport.get_mut(behind..)?.split_first_chunk_mut::<2>()?.0)
        } else {
            None
        };
        let (opposite, port) = match side {
            Side::Source => (Side::Destination, destination_port),
            Side::Destination => (Side::Source, source_port),
        };
        Some(Self {
            outer: Header::locate(ip, side)?,
            checksum,
            quoted: Header::locate(quoted, opposite)?,
            port,
            transport,
        })
    }
}

/// Puts a word in that a checksum covers. The change to that checksum, `before` included.
fn set(field: &mut [u8; 2], new: u16, before: Delta) -> Delta {
    let old = u16::from_be_bytes(*field);
    *field = new.to_be_bytes();
    before.word(old, new)
}

/// Translates one side of an error, and the opposite side of its quote, to `address` and `port`;
/// takes one off the time to live.
///
/// `head` begins with the IPv4 header that [`parse_error`] read `error` from.
///
/// All checksums are updated incrementally, as [`translate`](crate::rewrite::translate) does: a
/// wrong one stays wrong, in the quote too, whose sender may have damaged it. `coverage` is that of
/// the ICMP checksum; there is no pseudo-header, so [`Coverage::Partial`] leaves nothing to update.
///
/// Returns `false` and changes nothing when `head` is shorter than `error.rewrite_len` or the time
/// to live is 0.
pub fn translate_error(
    head: &mut [u8],
    error: &ErrorMessage,
    side: Side,
    address: u32,
    port: u16,
    coverage: Coverage,
) -> bool {
    if head.len() < usize::from(error.rewrite_len) {
        return false;
    }
    let Some(fields) = Fields::locate(head, error, side) else {
        return false;
    };
    let (mut outer, mut quoted) = (fields.outer, fields.quoted);
    let Some(ttl) = outer.ttl.checked_sub(1) else {
        return false;
    };

    // What the ICMP checksum covers: everything in the quote that changes.
    let addresses = quoted.set_address(address);
    let sum = addresses.update(u16::from_be_bytes(*quoted.checksum));
    let covered = set(quoted.checksum, sum, addresses);
    let ports = set(fields.port, port, Delta::NONE);
    let mut covered = covered.and(ports);
    if let Some(field) = fields.transport {
        let old = u16::from_be_bytes(*field);
        let new = match (error.quote.protocol, old, addresses.and(ports).update(old)) {
            (Protocol::Udp, 0, _) => 0,
            (Protocol::Udp, _, 0) => 0xffff,
            (_, _, updated) => updated,
        };
        covered = set(field, new, covered);
    }
    if coverage == Coverage::Full {
        let sum = covered.update(u16::from_be_bytes(*fields.checksum));
        *fields.checksum = sum.to_be_bytes();
    }

    // The time to live shares its word with the protocol.
    let lifetime = u16::from_be_bytes([*outer.ttl, outer.protocol]);
    *outer.ttl = ttl;
    let sum = outer
        .set_address(address)
        .word(lifetime, u16::from_be_bytes([ttl, outer.protocol]))
        .update(u16::from_be_bytes(*outer.checksum));
    *outer.checksum = sum.to_be_bytes();
    true
}
