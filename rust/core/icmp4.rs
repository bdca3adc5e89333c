// SPDX-License-Identifier: GPL-2.0

//! ICMP errors of IPv4 (RFC 792).

use core::net::Ipv4Addr;

use fep_uapi::Counter;

use crate::address::Address;
use crate::checksum::Delta;
use crate::icmp::{
    bytes, set, ErrorMessage, NotRead, Quote, Quoted, QuotedFields, ICMP_HEADER, TCP_SUMMED,
};
use crate::ipv4::{
    check_options, DONT_FRAGMENT, FRAGMENT, IP_HEADER, IP_HEADER_MAX, PROTOCOL_ICMP,
};
use crate::packet::Protocol;
use crate::rewrite::{Coverage, Side};

/// The fragment offset, in the flags and offset field (RFC 791, 3.1).
const OFFSET: u16 = 0x1fff;
/// Most bytes that a message's headers have.
const ERROR_HEADERS_MAX: usize = 2 * IP_HEADER_MAX + ICMP_HEADER as usize + TCP_SUMMED as usize;

/// ICMP type: destination unreachable, fragmentation needed included.
const UNREACHABLE: u8 = 3;
/// ICMP type: time exceeded.
const TIME_EXCEEDED: u8 = 11;
/// ICMP type: parameter problem.
const PARAMETER_PROBLEM: u8 = 12;

/// Reads an ICMP error. `head` and `len` are those of [`parse`](Address::parse).
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
pub(crate) fn parse_error(head: &[u8], len: usize) -> Result<ErrorMessage<Ipv4Addr>, NotRead> {
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
    let destination = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
    if !Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]).is_unicast_host() || destination.is_group() {
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
    let source = Ipv4Addr::new(quoted[12], quoted[13], quoted[14], quoted[15]);
    if source != destination {
        return Err(MALFORMED);
    }
    let transport_at = quote_at.wrapping_add(quoted_header_len);
    let transport = Quoted::read(head, transport_at, protocol, u32::from(total_len))?;
    Ok(ErrorMessage {
        quote: Quote {
            protocol,
            source,
            destination: Ipv4Addr::new(quoted[16], quoted[17], quoted[18], quoted[19]),
            source_port: transport.source_port,
            destination_port: transport.destination_port,
        },
        header_len,
        total_len: u32::from(total_len),
        ttl: ip[8],
        dont_fragment: fragment & DONT_FRAGMENT != 0,
        quoted_header_len,
        summed: transport.summed,
        rewrite_len: transport.rewrite_len,
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
    fn set_address(&mut self, address: Ipv4Addr) -> Delta {
        let old = Ipv4Addr::from(*self.address);
        *self.address = address.octets();
        Delta::NONE.address(old, address)
    }
}

/// The bytes that the translation of an error reads and writes.
struct Fields<'a> {
    outer: Header<'a>,
    checksum: &'a mut [u8; 2],
    quoted: Header<'a>,
    transport: QuotedFields<'a>,
}

impl<'a> Fields<'a> {
    /// Finds the fields, or `None` when they are not all there.
    fn locate(head: &'a mut [u8], error: &ErrorMessage<Ipv4Addr>, side: Side) -> Option<Self> {
        let (ip, message) = head.split_at_mut_checked(usize::from(error.header_len))?;
        let (icmp, quote) = message.split_at_mut_checked(usize::from(ICMP_HEADER))?;
        let (quoted, transport) =
            quote.split_at_mut_checked(usize::from(error.quoted_header_len))?;
        Some(Self {
            outer: Header::locate(ip, side)?,
            checksum: icmp.get_mut(2..)?.first_chunk_mut::<2>()?,
            quoted: Header::locate(quoted, side.opposite())?,
            transport: QuotedFields::locate(transport, error, side.opposite())?,
        })
    }
}

/// Translates one side of an error, and the opposite side of its quote, to `address` and `port`;
/// takes one off the time to live.
///
/// `head` begins with the IPv4 header that [`parse_error`] read `error` from.
///
/// All checksums are updated incrementally, as [`translate`](Address::translate) does: a
/// wrong one stays wrong, in the quote too, whose sender may have damaged it. `coverage` is that of
/// the ICMP checksum; there is no pseudo-header, so [`Coverage::Partial`] leaves nothing to update.
///
/// Returns `false` and changes nothing when `head` is shorter than `error.rewrite_len` or the time
/// to live is 0.
pub(crate) fn translate_error(
    head: &mut [u8],
    error: &ErrorMessage<Ipv4Addr>,
    side: Side,
    address: Ipv4Addr,
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
    let sum = addresses.update(u16::from_ne_bytes(*quoted.checksum));
    let covered =
        set(quoted.checksum, sum, addresses).and(fields.transport.translate(port, addresses));
    if coverage == Coverage::Full {
        let sum = covered.update(u16::from_ne_bytes(*fields.checksum));
        *fields.checksum = sum.to_ne_bytes();
    }

    // The time to live shares its word with the protocol.
    let lifetime = u16::from_ne_bytes([*outer.ttl, outer.protocol]);
    *outer.ttl = ttl;
    let sum = outer
        .set_address(address)
        .word(lifetime, u16::from_ne_bytes([ttl, outer.protocol]))
        .update(u16::from_ne_bytes(*outer.checksum));
    *outer.checksum = sum.to_ne_bytes();
    true
}
