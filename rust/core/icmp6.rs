// SPDX-License-Identifier: GPL-2.0

//! ICMP errors of IPv6 (RFC 4443).

use core::net::Ipv6Addr;

use fep_uapi::Counter;

use crate::address::Address;
use crate::checksum::Delta;
use crate::icmp::{
    bytes, ErrorMessage, NotRead, Quote, Quoted, QuotedFields, ERROR_HEADERS_MAX, ICMP_HEADER,
};
use crate::ipv6::{address, walk_extensions, Walked, IP_HEADER, PROTOCOL_ICMPV6};
use crate::packet::Protocol;
use crate::rewrite::{Coverage, Side};

/// ICMPv6 type: destination unreachable.
const UNREACHABLE: u8 = 1;
/// ICMPv6 type: packet too big.
const TOO_BIG: u8 = 2;
/// ICMPv6 type: time exceeded.
const TIME_EXCEEDED: u8 = 3;
/// ICMPv6 type: parameter problem.
const PARAMETER_PROBLEM: u8 = 4;

const FOREIGN: NotRead = NotRead::Pass(Counter::PassForeign);
const MALFORMED: NotRead = NotRead::Pass(Counter::PassMalformed);

/// Reads an ICMPv6 error. `head` and `len` are those of [`parse`](Address::parse).
///
/// # Errors
///
/// What is no error about a TCP or UDP packet goes on untouched, above all what IPv6 itself lives
/// on: neighbour discovery, multicast listeners.
///
/// - `PassForeign`: other ICMPv6 messages, errors about other protocols, and addresses that are never
///   a host's.
/// - `PassFragment`: fragments, and errors about fragments.
/// - `PassSourceRoute`: where segments are left in a routing header.
/// - `PassMalformed`: errors that quote less than the ports and UDP's checksum, or that go to
///   somebody else than the quoted packet is from.
///
/// The quoted payload length is not looked at.
pub(crate) fn parse_error(head: &[u8], len: usize) -> Result<ErrorMessage<Ipv6Addr>, NotRead> {
    let Some(ip) = head.first_chunk::<IP_HEADER>() else {
        return Err(if len < IP_HEADER {
            MALFORMED
        } else {
            NotRead::Need(IP_HEADER)
        });
    };
    if ip[0] >> 4 != 6 {
        return Err(FOREIGN);
    }
    // OVERFLOW: 65535 + 40.
    let total_len = u32::from(u16::from_be_bytes([ip[4], ip[5]])).wrapping_add(IP_HEADER as u32);
    if total_len as usize > len {
        return Err(MALFORMED);
    }
    let destination = address(ip, 24);
    if !address(ip, 8).is_unicast_host() || destination.is_group() {
        return Err(FOREIGN);
    }
    // All that any error needs, at once: how much it is exactly is known only behind two headers.
    let wanted = (total_len as usize).min(ERROR_HEADERS_MAX);
    if head.len() < wanted {
        return Err(NotRead::Need(wanted));
    }
    // Link-layer padding is no part of the message.
    let head = head.get(..wanted).ok_or(MALFORMED)?;

    let (kind, header_len) = walked(head, ip[6], total_len)?;
    if kind != PROTOCOL_ICMPV6 {
        return Err(FOREIGN);
    }
    let icmp: &[u8; ICMP_HEADER as usize] = bytes(head, header_len)?;
    if !matches!(
        icmp[0],
        UNREACHABLE | TOO_BIG | TIME_EXCEEDED | PARAMETER_PROBLEM
    ) {
        return Err(FOREIGN);
    }

    // OVERFLOW: 296 + 8 + 296 at most, here and below.
    let quote_at = header_len.wrapping_add(ICMP_HEADER);
    let quote = head.get(usize::from(quote_at)..).ok_or(MALFORMED)?;
    let quoted: &[u8; IP_HEADER] = bytes(quote, 0)?;
    if quoted[0] >> 4 != 6 {
        return Err(MALFORMED);
    }
    // OVERFLOW: the ICMP header is there.
    let quote_len = total_len.wrapping_sub(u32::from(quote_at));
    let (kind, quoted_header_len) = walked(quote, quoted[6], quote_len)?;
    let protocol = Protocol::from_number(kind).ok_or(FOREIGN)?;
    let source = address(quoted, 8);
    if source != destination {
        return Err(MALFORMED);
    }
    let transport_at = quote_at.wrapping_add(quoted_header_len);
    let transport = Quoted::read(head, transport_at, protocol, total_len)?;
    Ok(ErrorMessage {
        quote: Quote {
            protocol,
            source,
            destination: address(quoted, 24),
            source_port: transport.source_port,
            destination_port: transport.destination_port,
        },
        header_len,
        total_len,
        ttl: ip[7],
        dont_fragment: true,
        quoted_header_len,
        summed: transport.summed,
        rewrite_len: transport.rewrite_len,
    })
}

/// Walks over the extension headers of a packet, of which `head` has as much as that takes.
fn walked(head: &[u8], next: u8, len: u32) -> Result<(u8, u16), NotRead> {
    match walk_extensions(head, next, len) {
        Walked::At(kind, at) => Ok((kind, at)),
        Walked::Pass(counter) => Err(NotRead::Pass(counter)),
        Walked::Need(_) => Err(MALFORMED),
    }
}

/// The fields of an IPv6 header.
struct Header<'a> {
    hop_limit: &'a mut u8,
    address: &'a mut [u8; 16],
}

impl<'a> Header<'a> {
    fn locate(ip: &'a mut [u8], side: Side) -> Option<Self> {
        let [_, _, _, _, _, _, _, hop_limit, addresses @ ..] = ip else {
            return None;
        };
        let (source, rest) = addresses.split_first_chunk_mut::<16>()?;
        let (destination, _) = rest.split_first_chunk_mut::<16>()?;
        Some(Self {
            hop_limit,
            address: match side {
                Side::Source => source,
                Side::Destination => destination,
            },
        })
    }

    /// Puts an address in. The change to the addresses' sum.
    fn set_address(&mut self, address: Ipv6Addr) -> Delta {
        let old = Ipv6Addr::from(*self.address);
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
    fn locate(head: &'a mut [u8], error: &ErrorMessage<Ipv6Addr>, side: Side) -> Option<Self> {
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
/// takes one off the hop limit.
///
/// `head` begins with the IPv6 header that [`parse_error`] read `error` from.
///
/// The checksums are updated incrementally, as [`translate`](Address::translate) does: a wrong one
/// stays wrong, in the quote too, whose sender may have damaged it. `coverage` is that of the ICMPv6
/// checksum. Unlike ICMP's it covers a pseudo-header (RFC 4443, 2.3), which is all that
/// [`Coverage::Partial`] leaves to update.
///
/// Returns `false` and changes nothing when `head` is shorter than `error.rewrite_len` or the hop
/// limit is 0.
pub(crate) fn translate_error(
    head: &mut [u8],
    error: &ErrorMessage<Ipv6Addr>,
    side: Side,
    address: Ipv6Addr,
    port: u16,
    coverage: Coverage,
) -> bool {
    if head.len() < usize::from(error.rewrite_len) {
        return false;
    }
    let Some(mut fields) = Fields::locate(head, error, side) else {
        return false;
    };
    let Some(hop_limit) = fields.outer.hop_limit.checked_sub(1) else {
        return false;
    };
    *fields.outer.hop_limit = hop_limit;

    let pseudo_header = fields.outer.set_address(address);
    let quoted = fields.quoted.set_address(address);
    let transport = fields.transport.translate(port, quoted);
    let old = u16::from_ne_bytes(*fields.checksum);
    let new = match coverage {
        Coverage::Full => pseudo_header.and(quoted).and(transport).update(old),
        Coverage::Partial => pseudo_header.update_sum(old),
    };
    *fields.checksum = new.to_ne_bytes();
    true
}
