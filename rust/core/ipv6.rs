// SPDX-License-Identifier: GPL-2.0

//! IPv6 packets (RFC 8200), by the checks of Linux's `ip6_rcv_core()`.

use core::net::{IpAddr, Ipv6Addr};

use fep_uapi::Counter;

use crate::address::{is_group6, is_unicast_host6, Address};
use crate::checksum;
use crate::hash::{Client6, HashKey};
use crate::icmp::{ErrorMessage, NotRead};
use crate::icmp6;
use crate::packet::{read_transport, Packet, Parsed, Protocol};
use crate::rewrite::{translate_transport, Coverage, Side, Translation};

/// Bytes of an IPv6 header without extension headers (RFC 8200, 3).
pub(crate) const IP_HEADER: usize = 40;
/// Bytes of extension headers that the filter walks over; packets with more go on untouched.
const EXTENSIONS_MAX: usize = 256;
/// Most bytes from the IPv6 header to the transport header.
pub(crate) const IP_HEADERS_MAX: usize = IP_HEADER + EXTENSIONS_MAX;
/// The protocol number of ICMPv6 (RFC 4443).
pub(crate) const PROTOCOL_ICMPV6: u8 = 58;

/// Next header: hop-by-hop options (RFC 8200, 4.3).
const HOP_BY_HOP: u8 = 0;
/// Next header: routing (RFC 8200, 4.4).
const ROUTING: u8 = 43;
/// Next header: fragment (RFC 8200, 4.5).
const FRAGMENT: u8 = 44;
/// Next header: destination options (RFC 8200, 4.6).
const DESTINATION_OPTIONS: u8 = 60;

impl Address for Ipv6Addr {
    #[inline]
    fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        }
    }

    fn sum(self, inverted: bool) -> u16 {
        let [a, b, c, d, e, f, g, h] = self.segments();
        let words = [a, b, c, d, e, f, g, h].map(u16::to_be);
        checksum::sum_of(words, inverted)
    }

    #[inline]
    fn is_group(self) -> bool {
        is_group6(self)
    }

    #[inline]
    fn is_unicast_host(self) -> bool {
        is_unicast_host6(self)
    }

    type Client = Client6;

    #[inline(always)]
    fn client(self, protocol: Protocol, port: u16) -> Client6 {
        Client6::new(self, protocol, port)
    }

    #[inline(always)]
    fn of_client(client: Client6) -> (Self, u16) {
        client.end()
    }

    #[inline(always)]
    fn hash_of(client: Client6, key: &HashKey) -> u32 {
        client.hash(key)
    }

    fn parse(head: &[u8], len: usize) -> Parsed<Self> {
        parse(head, len)
    }

    #[inline(always)]
    fn parse_plain(head: &[u8], len: usize) -> Option<Packet<Self>> {
        parse_plain(head, len)
    }

    /// The header has no checksum of its own (RFC 8200, 8.1).
    fn header_is_intact(_head: &[u8], _packet: &Packet<Self>) -> bool {
        true
    }

    #[inline(always)]
    fn translate(
        head: &mut [u8],
        packet: &Packet<Self>,
        side: Side,
        translation: &Translation<Self>,
        coverage: Coverage,
    ) -> bool {
        translate(head, packet, side, translation, coverage)
    }

    fn parse_error(head: &[u8], len: usize) -> Result<ErrorMessage<Self>, NotRead> {
        icmp6::parse_error(head, len)
    }

    fn translate_error(
        head: &mut [u8],
        error: &ErrorMessage<Self>,
        side: Side,
        address: Self,
        port: u16,
        coverage: Coverage,
    ) -> bool {
        icmp6::translate_error(head, error, side, address, port, coverage)
    }
}

/// Reads a packet (F1, F3, F4).
///
/// `head` are the linear bytes from the IPv6 header on; `len` is the length of the whole packet
/// from there on, fragments of the socket buffer and padding of the link layer included.
///
/// - Hop-by-hop and destination options and a routing header that has done its work are walked over
///   and travel as they are.
/// - Jumbograms (RFC 2675) and GSO packets of more than 65535 bytes ("BIG TCP") have payload length 0
///   and are passed on.
/// - With segments left in a routing header the destination is that of the next hop (RFC 8200, 4.4),
///   not that of a service.
///
/// The checksum is not looked at.
fn parse(head: &[u8], len: usize) -> Parsed<Ipv6Addr> {
    let Some(ip) = head.first_chunk::<IP_HEADER>() else {
        return short(len);
    };
    if ip[0] >> 4 != 6 {
        return Parsed::Pass(Counter::PassForeign);
    }
    // OVERFLOW: 65535 + 40.
    let total_len = u32::from(u16::from_be_bytes([ip[4], ip[5]])).wrapping_add(IP_HEADER as u32);
    let (protocol, header_len) = match Protocol::from_number(ip[6]) {
        Some(protocol) => (protocol, IP_HEADER as u16),
        None => match walk(head, ip[6], total_len, len) {
            Ok(found) => found,
            Err(otherwise) => return otherwise,
        },
    };
    // OVERFLOW: 296 + 20 at most.
    let rewrite_len = header_len.wrapping_add(protocol.header_len());
    // CAST: widening on every machine that Linux runs on.
    if total_len as usize > len || total_len < u32::from(rewrite_len) {
        return unusable(total_len, len);
    }
    let transport_bytes = usize::from(header_len)..usize::from(rewrite_len);
    let Some(transport) = head.get(transport_bytes) else {
        return Parsed::Need(usize::from(rewrite_len));
    };
    // OVERFLOW: `rewrite_len <= total_len` was checked.
    let payload_len = total_len.wrapping_sub(u32::from(header_len));
    let Some((source_port, destination_port, tcp_flags)) =
        read_transport(protocol, transport, payload_len)
    else {
        return Parsed::Pass(Counter::PassMalformed);
    };
    Parsed::Packet(Packet {
        protocol,
        source: address(ip, 8),
        destination: address(ip, 24),
        source_port,
        destination_port,
        header_len,
        total_len,
        ttl: ip[7],
        dont_fragment: true,
        tcp_flags,
        rewrite_len,
    })
}

/// [`parse`] of a packet without extension headers whose headers are in one piece.
#[inline(always)]
fn parse_plain(head: &[u8], len: usize) -> Option<Packet<Ipv6Addr>> {
    const HEADER_LEN: u16 = IP_HEADER as u16;
    let ip = head.first_chunk::<IP_HEADER>()?;
    let protocol = Protocol::from_number(ip[6])?;
    let rewrite_len = HEADER_LEN.wrapping_add(protocol.header_len());
    let payload_len = u32::from(u16::from_be_bytes([ip[4], ip[5]]));
    // OVERFLOW: 65535 + 40.
    let total_len = payload_len.wrapping_add(u32::from(HEADER_LEN));
    // CAST: widening on every machine that Linux runs on.
    if ip[0] >> 4 != 6 || total_len as usize > len || total_len < u32::from(rewrite_len) {
        return None;
    }
    let transport = head.get(IP_HEADER..usize::from(rewrite_len))?;
    let (source_port, destination_port, tcp_flags) =
        read_transport(protocol, transport, payload_len)?;
    Some(Packet {
        protocol,
        source: address(ip, 8),
        destination: address(ip, 24),
        source_port,
        destination_port,
        header_len: HEADER_LEN,
        total_len,
        ttl: ip[7],
        dont_fragment: true,
        tcp_flags,
        rewrite_len,
    })
}

/// The address at an offset of the header, which has it.
#[inline(always)]
pub(crate) fn address(ip: &[u8; IP_HEADER], at: usize) -> Ipv6Addr {
    let bytes = ip.get(at..).and_then(<[u8]>::first_chunk::<16>);
    bytes.map_or(Ipv6Addr::UNSPECIFIED, |bytes| Ipv6Addr::from(*bytes))
}

#[cold]
fn short(len: usize) -> Parsed<Ipv6Addr> {
    if len < IP_HEADER {
        Parsed::Pass(Counter::PassMalformed)
    } else {
        Parsed::Need(IP_HEADER)
    }
}

/// A packet with an unusable length.
#[cold]
fn unusable(total_len: u32, len: usize) -> Parsed<Ipv6Addr> {
    let jumbo = total_len as usize == IP_HEADER && len > usize::from(u16::MAX);
    Parsed::Pass(if jumbo {
        Counter::PassForeign
    } else {
        Counter::PassMalformed
    })
}

/// Where walking over extension headers ends.
pub(crate) enum Walked {
    /// At a header of this kind, so many bytes behind the beginning of the IPv6 header.
    At(u8, u16),
    /// So many bytes are needed to go on.
    Need(usize),
    /// At something the filter leaves alone.
    Pass(Counter),
}

/// Walks over extension headers from the one of kind `next`, which is at `IP_HEADER`, in a packet of
/// `total_len` bytes of which `head` are there.
pub(crate) fn walk_extensions(head: &[u8], mut next: u8, total_len: u32) -> Walked {
    let mut at = IP_HEADER;
    let mut first = true;
    loop {
        match next {
            // Only the first may be one (RFC 8200, 4.1).
            HOP_BY_HOP if first => {}
            HOP_BY_HOP => return Walked::Pass(Counter::PassMalformed),
            ROUTING | DESTINATION_OPTIONS => {}
            FRAGMENT => return Walked::Pass(Counter::PassFragment),
            // CAST: 296 at most.
            other => return Walked::At(other, at as u16),
        }
        first = false;
        // The kind of the next header, the length in units of eight bytes behind the first eight, and
        // of a routing header its type and how many segments are left.
        let end = at.saturating_add(8);
        if end > total_len as usize {
            return Walked::Pass(Counter::PassMalformed);
        }
        let Some(&[following, units, _, segments_left, ..]) =
            head.get(at..end).and_then(<[u8]>::first_chunk::<8>)
        else {
            return Walked::Need(end);
        };
        if next == ROUTING && segments_left != 0 {
            return Walked::Pass(Counter::PassSourceRoute);
        }
        at = end.saturating_add(usize::from(units) << 3);
        if at > total_len as usize {
            return Walked::Pass(Counter::PassMalformed);
        }
        if at > IP_HEADERS_MAX {
            return Walked::Pass(Counter::PassForeign);
        }
        next = following;
    }
}

/// The transport protocol behind extension headers, and where its header begins.
#[cold]
fn walk(
    head: &[u8],
    next: u8,
    total_len: u32,
    len: usize,
) -> Result<(Protocol, u16), Parsed<Ipv6Addr>> {
    // Without a payload there are no extension headers; a jumbogram has its length in one of them.
    if total_len as usize > len || total_len as usize == IP_HEADER {
        return Err(match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT => unusable(total_len, len),
            other => other_protocol(other),
        });
    }
    match walk_extensions(head, next, total_len) {
        Walked::At(kind, at) => match Protocol::from_number(kind) {
            Some(protocol) => Ok((protocol, at)),
            None => Err(other_protocol(kind)),
        },
        Walked::Need(bytes) => Err(Parsed::Need(bytes)),
        Walked::Pass(counter) => Err(Parsed::Pass(counter)),
    }
}

/// Neither TCP nor UDP.
#[cold]
fn other_protocol(kind: u8) -> Parsed<Ipv6Addr> {
    if kind == PROTOCOL_ICMPV6 {
        Parsed::Icmp
    } else {
        Parsed::Pass(Counter::PassForeign)
    }
}

/// See [`crate::rewrite`].
#[inline(always)]
fn translate(
    head: &mut [u8],
    packet: &Packet<Ipv6Addr>,
    side: Side,
    translation: &Translation<Ipv6Addr>,
    coverage: Coverage,
) -> bool {
    if head.len() < usize::from(packet.rewrite_len) {
        return false;
    }
    let Some((ip, transport)) = head.split_at_mut_checked(usize::from(packet.header_len)) else {
        return false;
    };
    let Some([_, _, _, _, _, _, _, hop_limit, addresses @ ..]) = ip.first_chunk_mut::<IP_HEADER>()
    else {
        return false;
    };
    let Some((source, destination)) = addresses.split_first_chunk_mut::<16>() else {
        return false;
    };
    let Some(destination) = destination.first_chunk_mut::<16>() else {
        return false;
    };
    let Some(lower) = hop_limit.checked_sub(1) else {
        return false;
    };
    let change = translation.change(side);
    if !translate_transport(transport, packet.protocol, side, change, coverage) {
        return false;
    }
    *hop_limit = lower;
    *match side {
        Side::Source => source,
        Side::Destination => destination,
    } = change.address.octets();
    true
}
