// SPDX-License-Identifier: GPL-2.0

//! ICMP errors (RFC 792, RFC 4443) about packets that the filter translated, as RFC 5508 asks of a NAT.
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

use crate::address::Address;
use crate::checksum::Delta;
use crate::packet::Protocol;
use crate::rewrite::Side;

/// Most bytes that [`parse_error`](Address::parse_error) asks for: two IP headers, an ICMP header, and
/// TCP's up to the end of its checksum.
pub const ERROR_HEADERS_MAX: usize =
    2 * crate::ipv6::IP_HEADERS_MAX + ICMP_HEADER as usize + TCP_SUMMED as usize;

/// Bytes of an ICMP header (RFC 792, RFC 4443).
pub(crate) const ICMP_HEADER: u16 = 8;
/// Bytes of the transport header that every error quotes (RFC 792): the ports, and UDP's checksum.
pub(crate) const QUOTED: u16 = 8;
/// Bytes of a TCP header up to the end of its checksum (RFC 9293, 3.1).
pub(crate) const TCP_SUMMED: u16 = 18;

/// The packet that an error is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote<A: Address> {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Source address, which is the error's destination.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// What the filter needs to know of an ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorMessage<A: Address> {
    /// What it is about.
    pub quote: Quote<A>,
    /// Bytes of the IP header with its options or extension headers: where the ICMP header begins.
    pub header_len: u16,
    /// Bytes of the message from the IP header on, without link-layer padding.
    pub total_len: u32,
    /// Time to live.
    pub ttl: u8,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
    /// Bytes of the quoted IP header with its options or extension headers.
    pub quoted_header_len: u16,
    /// Whether the quote reaches past the transport checksum.
    pub summed: bool,
    /// Bytes from the IP header on that must be linear and writable for
    /// [`translate_error`](Address::translate_error).
    pub rewrite_len: u16,
}

/// Why there is no [`ErrorMessage`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotRead {
    /// So many bytes from the IP header on must be linear to decide. More than there were, and
    /// no more than the packet or [`ERROR_HEADERS_MAX`] has.
    Need(usize),
    /// Not for the filter: passed on untouched and counted.
    Pass(Counter),
}

/// The `N` bytes of `head` from `at` on. They are there: a packet that lacks them is malformed.
pub(crate) fn bytes<const N: usize>(head: &[u8], at: u16) -> Result<&[u8; N], NotRead> {
    head.get(usize::from(at)..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(NotRead::Pass(Counter::PassMalformed))
}

/// The beginning of a quoted transport header, which is the same in both families.
pub(crate) struct Quoted {
    /// Source port.
    pub(crate) source_port: u16,
    /// Destination port.
    pub(crate) destination_port: u16,
    /// Whether the message reaches past the checksum.
    pub(crate) summed: bool,
    /// Bytes of the message up to the end of what is translated.
    pub(crate) rewrite_len: u16,
}

impl Quoted {
    /// Reads the transport header at `at` in `head`, the first bytes of a message of `total_len`.
    pub(crate) fn read(
        head: &[u8],
        at: u16,
        protocol: Protocol,
        total_len: u32,
    ) -> Result<Self, NotRead> {
        let &[s0, s1, d0, d1, ..] = bytes::<{ QUOTED as usize }>(head, at)?;
        // OVERFLOW: two IP headers are 592 bytes at most.
        let ported = at.wrapping_add(QUOTED);
        let full = match protocol {
            Protocol::Tcp => at.wrapping_add(TCP_SUMMED),
            Protocol::Udp => ported,
        };
        let summed = u32::from(full) <= total_len;
        Ok(Self {
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            summed,
            rewrite_len: if summed { full } else { ported },
        })
    }
}

/// The fields of a quoted transport header that a translation changes.
pub(crate) struct QuotedFields<'a> {
    protocol: Protocol,
    port: &'a mut [u8; 2],
    checksum: Option<&'a mut [u8; 2]>,
}

impl<'a> QuotedFields<'a> {
    /// Finds the fields on one side of a quoted header, or `None` when they are not all there.
    pub(crate) fn locate<A: Address>(
        transport: &'a mut [u8],
        error: &ErrorMessage<A>,
        side: Side,
    ) -> Option<Self> {
        let protocol = error.quote.protocol;
        let (source, transport) = transport.split_first_chunk_mut::<2>()?;
        let (destination, transport) = transport.split_first_chunk_mut::<2>()?;
        // Behind the ports: RFC 9293, 3.1 (offset 16) and RFC 768 (offset 6).
        let behind = match protocol {
            Protocol::Tcp => 12,
            Protocol::Udp => 2,
        };
        let checksum = if error.summed {
            Some(transport.get_mut(behind..)?.first_chunk_mut::<2>()?)
        } else {
            None
        };
        Some(Self {
            protocol,
            port: match side {
                Side::Source => source,
                Side::Destination => destination,
            },
            checksum,
        })
    }

    /// Puts a port in, where the quoted addresses change by `addresses`. What that changes in the
    /// sum of these fields.
    pub(crate) fn translate(self, port: u16, addresses: Delta) -> Delta {
        let ports = set(self.port, port.to_be(), Delta::NONE);
        let Some(field) = self.checksum else {
            return ports;
        };
        let old = u16::from_ne_bytes(*field);
        let new = match (self.protocol, old, addresses.and(ports).update(old)) {
            (Protocol::Udp, 0, _) => 0,
            (Protocol::Udp, _, 0) => 0xffff,
            (_, _, updated) => updated,
        };
        set(field, new, ports)
    }
}

/// Puts a word, in native byte order, in that a checksum covers. The change to that checksum,
/// `before` included.
pub(crate) fn set(field: &mut [u8; 2], new: u16, before: Delta) -> Delta {
    let old = u16::from_ne_bytes(*field);
    *field = new.to_ne_bytes();
    before.word(old, new)
}
