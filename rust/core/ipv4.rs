// SPDX-License-Identifier: GPL-2.0

//! IPv4 packets (RFC 791), by the checks of Linux's `ip_rcv()`.

use core::net::{IpAddr, Ipv4Addr};

use fep_uapi::Counter;

use crate::address::{is_group4, is_unicast_host4, Address};
use crate::checksum;
use crate::hash::{Client4, HashKey};
use crate::icmp::{ErrorMessage, NotRead};
use crate::icmp4;
use crate::packet::{read_transport, Packet, Parsed, Protocol};
use crate::rewrite::{Coverage, Side, Translation};
use crate::rewrite4;

/// Bytes of an IPv4 header without options (RFC 791, 3.1).
pub(crate) const IP_HEADER: usize = 20;
/// Bytes of the longest IPv4 header.
pub(crate) const IP_HEADER_MAX: usize = 60;
/// The protocol number of ICMP (RFC 792).
pub(crate) const PROTOCOL_ICMP: u8 = 1;

/// "Don't fragment", in the flags and offset field (RFC 791, 3.1).
pub(crate) const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" and the fragment offset: zero in a whole packet.
pub(crate) const FRAGMENT: u16 = 0x3fff;

/// IPv4 option: end of the list (RFC 791, 3.1).
const OPTION_END: u8 = 0;
/// IPv4 option: no operation.
const OPTION_NOP: u8 = 1;
/// IPv4 option: loose source and record route.
const OPTION_LSRR: u8 = 131;
/// IPv4 option: strict source and record route.
const OPTION_SSRR: u8 = 137;

impl Address for Ipv4Addr {
    #[inline]
    fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    #[inline]
    fn sum(self, inverted: bool) -> u16 {
        let [a, b, c, d] = self.octets();
        checksum::sum_of(
            [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])],
            inverted,
        )
    }

    #[inline]
    fn is_group(self) -> bool {
        is_group4(self)
    }

    #[inline]
    fn is_unicast_host(self) -> bool {
        is_unicast_host4(self)
    }

    type Client = Client4;

    #[inline(always)]
    fn client(self, protocol: Protocol, port: u16) -> Client4 {
        Client4::new(self, protocol, port)
    }

    #[inline(always)]
    fn of_client(client: Client4) -> (Self, u16) {
        client.end()
    }

    #[inline(always)]
    fn hash_of(client: Client4, key: &HashKey) -> u32 {
        client.hash(key)
    }

    fn parse(head: &[u8], len: usize) -> Parsed<Self> {
        parse(head, len)
    }

    #[inline(always)]
    fn parse_plain(head: &[u8], len: usize) -> Option<Packet<Self>> {
        parse_plain(head, len)
    }

    /// Only a packet that would allocate a route needs the check (RFC 791, 3.1; RFC 1071).
    /// Incremental updates keep a wrong checksum wrong, so the node refuses what a known client's
    /// damaged packet became.
    fn header_is_intact(head: &[u8], packet: &Packet<Self>) -> bool {
        let header_len = usize::from(packet.header_len);
        let sum = match head.first_chunk::<IP_HEADER>() {
            // A length that the compiler knows.
            Some(header) if header_len == IP_HEADER => checksum::sum_words(header),
            _ => head.get(..header_len).map_or(0, checksum::sum_words),
        };
        sum == 0xffff
    }

    #[inline(always)]
    fn translate(
        head: &mut [u8],
        packet: &Packet<Self>,
        side: Side,
        translation: &Translation<Self>,
        coverage: Coverage,
    ) -> bool {
        rewrite4::translate(head, packet, side, translation, coverage)
    }

    fn parse_error(head: &[u8], len: usize) -> Result<ErrorMessage<Self>, NotRead> {
        icmp4::parse_error(head, len)
    }

    fn translate_error(
        head: &mut [u8],
        error: &ErrorMessage<Self>,
        side: Side,
        address: Self,
        port: u16,
        coverage: Coverage,
    ) -> bool {
        icmp4::translate_error(head, error, side, address, port, coverage)
    }
}

/// Reads a packet (F1, F3, F4).
///
/// `head` are the linear bytes from the IPv4 header on; `len` is the length of the whole packet
/// from there on, fragments of the socket buffer and padding of the link layer included.
///
/// - Protocols other than TCP and UDP are told apart first: they are decided by the fixed part of
///   the header alone.
/// - A GSO packet of more than 65535 bytes has total length 0 ("BIG TCP") and is passed on.
/// - Source-routed packets are passed on: their destination address is that of the next hop
///   (RFC 791, 3.1), not that of a service. Other options travel as they are.
///
/// The checksums are not looked at.
fn parse(head: &[u8], len: usize) -> Parsed<Ipv4Addr> {
    let Some(ip) = head.first_chunk::<IP_HEADER>() else {
        return short(len, IP_HEADER);
    };
    let header_len = u16::from(ip[0] & 0x0f) << 2;
    if ip[0] != 0x45 {
        // Another version, options, or nonsense.
        if let Err(otherwise) = check_header(ip, head, len) {
            return otherwise;
        }
    }
    let Some(protocol) = Protocol::from_number(ip[9]) else {
        return other_protocol(ip[9]);
    };
    // OVERFLOW: 60 + 20 at most.
    let rewrite_len = header_len.wrapping_add(protocol.header_len());
    let total_len = u16::from_be_bytes([ip[2], ip[3]]);
    let fragment = u16::from_be_bytes([ip[6], ip[7]]);
    if usize::from(total_len) > len || total_len < rewrite_len || fragment & FRAGMENT != 0 {
        return unusable(total_len, header_len, len, fragment);
    }
    let transport_bytes = usize::from(header_len)..usize::from(rewrite_len);
    let Some(transport) = head.get(transport_bytes) else {
        return Parsed::Need(usize::from(rewrite_len));
    };
    // OVERFLOW: `rewrite_len <= total_len` was checked.
    let payload_len = total_len.wrapping_sub(header_len);
    let Some((source_port, destination_port, tcp_flags)) =
        read_transport(protocol, transport, u32::from(payload_len))
    else {
        return Parsed::Pass(Counter::PassMalformed);
    };
    Parsed::Packet(Packet {
        protocol,
        source: Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]),
        destination: Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]),
        source_port,
        destination_port,
        header_len,
        total_len: u32::from(total_len),
        ttl: ip[8],
        dont_fragment: fragment & DONT_FRAGMENT != 0,
        tcp_flags,
        rewrite_len,
    })
}

/// [`parse`] of a packet without options whose headers are in one piece.
#[inline(always)]
fn parse_plain(head: &[u8], len: usize) -> Option<Packet<Ipv4Addr>> {
    const HEADER_LEN: u16 = IP_HEADER as u16;
    let ip = head.first_chunk::<IP_HEADER>()?;
    let protocol = Protocol::from_number(ip[9])?;
    let rewrite_len = HEADER_LEN.wrapping_add(protocol.header_len());
    let total_len = u16::from_be_bytes([ip[2], ip[3]]);
    // Version, header length, and no fragment, all at once in the byte order of the packet.
    const MASK: u64 = u64::from_ne_bytes([0xff, 0, 0, 0, 0, 0, 0x3f, 0xff]);
    const PLAIN: u64 = u64::from_ne_bytes([0x45, 0, 0, 0, 0, 0, 0, 0]);
    let first = u64::from_ne_bytes(*ip.first_chunk::<8>()?);
    if first & MASK != PLAIN || usize::from(total_len) > len || total_len < rewrite_len {
        return None;
    }
    let transport = head.get(IP_HEADER..usize::from(rewrite_len))?;
    // OVERFLOW: `rewrite_len <= total_len` was checked.
    let payload_len = u32::from(total_len.wrapping_sub(HEADER_LEN));
    let (source_port, destination_port, tcp_flags) =
        read_transport(protocol, transport, payload_len)?;
    Some(Packet {
        protocol,
        source: Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]),
        destination: Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]),
        source_port,
        destination_port,
        header_len: HEADER_LEN,
        total_len: u32::from(total_len),
        ttl: ip[8],
        dont_fragment: ip[6] & DONT_FRAGMENT.to_be_bytes()[0] != 0,
        tcp_flags,
        rewrite_len,
    })
}

/// A packet of which fewer than the `wanted` bytes are in one piece.
#[cold]
fn short(len: usize, wanted: usize) -> Parsed<Ipv4Addr> {
    if len < wanted {
        Parsed::Pass(Counter::PassMalformed)
    } else {
        Parsed::Need(wanted)
    }
}

/// Neither TCP nor UDP.
#[cold]
fn other_protocol(number: u8) -> Parsed<Ipv4Addr> {
    if number == PROTOCOL_ICMP {
        Parsed::Icmp
    } else {
        Parsed::Pass(Counter::PassForeign)
    }
}

/// A TCP or UDP packet with an unusable length, or a fragment.
#[cold]
fn unusable(total_len: u16, header_len: u16, len: usize, fragment: u16) -> Parsed<Ipv4Addr> {
    let counter = if total_len == 0 && len > usize::from(u16::MAX) {
        Counter::PassForeign
    } else if usize::from(total_len) > len || total_len < header_len {
        Counter::PassMalformed
    } else if fragment & FRAGMENT != 0 {
        Counter::PassFragment
    } else {
        Counter::PassMalformed
    };
    Parsed::Pass(counter)
}

/// Checks version, header length and options.
#[cold]
fn check_header(ip: &[u8; IP_HEADER], head: &[u8], len: usize) -> Result<(), Parsed<Ipv4Addr>> {
    let header_len = usize::from(ip[0] & 0x0f) << 2;
    if ip[0] >> 4 != 4 {
        return Err(Parsed::Pass(Counter::PassForeign));
    }
    if header_len < IP_HEADER {
        return Err(Parsed::Pass(Counter::PassMalformed));
    }
    // Other protocols, fragments and bad lengths go on by the reasons of their own.
    let total_len = u16::from_be_bytes([ip[2], ip[3]]);
    let fragment = u16::from_be_bytes([ip[6], ip[7]]);
    let Some(protocol) = Protocol::from_number(ip[9]) else {
        return Err(other_protocol(ip[9]));
    };
    let wanted = header_len.saturating_add(usize::from(protocol.header_len()));
    if usize::from(total_len) > len || usize::from(total_len) < wanted || fragment & FRAGMENT != 0 {
        // CAST: 60 at most.
        return Err(unusable(total_len, header_len as u16, len, fragment));
    }
    if head.len() < wanted {
        return Err(Parsed::Need(wanted));
    }
    let options = head.get(IP_HEADER..header_len).unwrap_or_default();
    check_options(options).map_err(Parsed::Pass)
}

/// Walks the options of an IPv4 header (RFC 791, 3.1).
pub(crate) fn check_options(mut options: &[u8]) -> Result<(), Counter> {
    while let Some((&kind, rest)) = options.split_first() {
        options = match kind {
            OPTION_END => return Ok(()),
            OPTION_NOP => rest,
            _ => {
                let Some(&option_len) = rest.first() else {
                    return Err(Counter::PassMalformed);
                };
                // The length counts the kind and itself.
                if option_len < 2 {
                    return Err(Counter::PassMalformed);
                }
                let Some(next) = options.get(usize::from(option_len)..) else {
                    return Err(Counter::PassMalformed);
                };
                if matches!(kind, OPTION_LSRR | OPTION_SSRR) {
                    return Err(Counter::PassSourceRoute);
                }
                next
            }
        };
    }
    Ok(())
}
