// SPDX-License-Identifier: GPL-2.0

//! From bytes to a [`Packet`]: what the filter needs to know of an IPv4 packet, read once.
//!
//! The checks are those of Linux's `ip_rcv()` and of the TCP and UDP receivers, so that a packet
//! the filter translates is one the host itself would have accepted. Whatever is not a whole,
//! well-formed, unicast TCP or UDP packet goes on untouched (F4) and is counted by the reason.

use fep_uapi::{Counter, PROTOCOL_TCP, PROTOCOL_UDP};

use crate::address::{is_group, is_unicast_host};
use crate::checksum;

/// Bytes of an IPv4 header without options (RFC 791, 3.1).
pub(crate) const IP_HEADER: usize = 20;
/// The protocol number of ICMP (RFC 792).
pub(crate) const PROTOCOL_ICMP: u8 = 1;
/// Bytes of a TCP header without options (RFC 9293, 3.1).
const TCP_HEADER: u16 = 20;
/// Bytes of a UDP header (RFC 768).
const UDP_HEADER: u16 = 8;

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

/// A transport protocol that services use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// TCP (RFC 9293).
    Tcp = PROTOCOL_TCP,
    /// UDP (RFC 768).
    Udp = PROTOCOL_UDP,
}

impl Protocol {
    /// The protocol of a number in the IPv4 header, or `None` when services cannot use it.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            PROTOCOL_TCP => Some(Self::Tcp),
            PROTOCOL_UDP => Some(Self::Udp),
            _ => None,
        }
    }

    /// The protocol's number.
    #[inline]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Bytes of the protocol's header without options.
    #[inline]
    const fn header_len(self) -> u16 {
        match self {
            Self::Tcp => TCP_HEADER,
            Self::Udp => UDP_HEADER,
        }
    }
}

/// The control bits of a TCP segment (RFC 9293, 3.1); of a UDP packet, none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// The sender has no more data.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers: a connection begins.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement field is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Both sets of flags together.
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every flag of `other` is set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any flag of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a client opens a connection with this segment: SYN, and none of ACK, RST and FIN.
    #[inline]
    pub const fn opens(self) -> bool {
        const DECISIVE: u8 = TcpFlags::SYN.0 | TcpFlags::ACK.0 | TcpFlags::RST.0 | TcpFlags::FIN.0;
        self.0 & DECISIVE == Self::SYN.0
    }
}

/// What the filter needs to know of a packet that it handles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Source address: `u32::from_be_bytes` of its bytes.
    pub source: u32,
    /// Destination address: `u32::from_be_bytes` of its bytes.
    pub destination: u32,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Bytes of the IPv4 header with its options: where the transport header begins.
    pub header_len: u16,
    /// IPv4 total length in bytes.
    pub total_len: u16,
    /// Time to live.
    pub ttl: u8,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
    /// The control bits; none for UDP.
    pub tcp_flags: TcpFlags,
    /// Bytes from the IPv4 header on that must be linear and writable for
    /// [`translate`](crate::rewrite::translate): both headers, without TCP options.
    pub rewrite_len: u16,
}

/// What [`parse`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A packet that the filter handles.
    Packet(Packet),
    /// So many bytes from the IPv4 header on must be linear to decide. More than there were, and
    /// no more than the packet has.
    Need(usize),
    /// An ICMP message: for [`parse_error`](crate::icmp::parse_error).
    Icmp,
    /// Not for the filter: passed on untouched and counted.
    Pass(Counter),
}

/// Reads a packet (F1, F3, F4).
///
/// `head` are the linear bytes from the IPv4 header on; `len` is the length of the whole packet
/// from there on, fragments of the socket buffer and padding of the link layer included.
///
/// - Protocols other than TCP and UDP are told apart first: they are decided by the fixed part of
///   the header alone.
/// - A GSO packet of more than 65535 bytes has total length 0 ("BIG TCP") and is passed on.
/// - The length in a UDP header may not exceed the packet. A UDP GSO packet has the length of the
///   whole aggregate there, which satisfies that.
/// - Source-routed packets are passed on: their destination address is that of the next hop
///   (RFC 791, 3.1), not that of a service. Other options travel as they are.
/// - A source that is no host's address, or a destination that is a group, is never a client's
///   (RFC 1122, 3.2.1.3).
/// - Port 0 is reserved (RFC 6335, 6): nobody can answer it.
///
/// The checksums are not looked at; see [`header_checksum_ok`].
#[inline]
pub fn parse(head: &[u8], len: usize) -> Parsed {
    let Some(ip) = head.first_chunk::<IP_HEADER>() else {
        return if len < IP_HEADER {
            Parsed::Pass(Counter::PassMalformed)
        } else {
            Parsed::Need(IP_HEADER)
        };
    };
    if ip[0] >> 4 != 4 {
        return Parsed::Pass(Counter::PassForeign);
    }
    let header_len = u16::from(ip[0] & 0x0f) << 2;
    if usize::from(header_len) < IP_HEADER {
        return Parsed::Pass(Counter::PassMalformed);
    }
    let Some(protocol) = Protocol::from_number(ip[9]) else {
        return if ip[9] == PROTOCOL_ICMP {
            Parsed::Icmp
        } else {
            Parsed::Pass(Counter::PassForeign)
        };
    };

    let total_len = u16::from_be_bytes([ip[2], ip[3]]);
    if total_len == 0 && len > usize::from(u16::MAX) {
        return Parsed::Pass(Counter::PassForeign);
    }
    if usize::from(total_len) > len || total_len < header_len {
        return Parsed::Pass(Counter::PassMalformed);
    }
    let fragment = u16::from_be_bytes([ip[6], ip[7]]);
    if fragment & FRAGMENT != 0 {
        return Parsed::Pass(Counter::PassFragment);
    }
    let source = u32::from_be_bytes([ip[12], ip[13], ip[14], ip[15]]);
    let destination = u32::from_be_bytes([ip[16], ip[17], ip[18], ip[19]]);
    if !is_unicast_host(source) || is_group(destination) {
        return Parsed::Pass(Counter::PassForeign);
    }

    // OVERFLOW: 60 + 20 at most.
    let rewrite_len = header_len.wrapping_add(protocol.header_len());
    if total_len < rewrite_len {
        return Parsed::Pass(Counter::PassMalformed);
    }
    let transport_bytes = usize::from(header_len)..usize::from(rewrite_len);
    let Some(transport) = head.get(transport_bytes) else {
        return Parsed::Need(usize::from(rewrite_len));
    };
    // `transport` lies behind the options, so they are there.
    if let Some(options) = head.get(IP_HEADER..usize::from(header_len)) {
        if let Err(counter) = check_options(options) {
            return Parsed::Pass(counter);
        }
    }

    // OVERFLOW: `header_len <= total_len` was checked.
    let payload_len = total_len.wrapping_sub(header_len);
    let Some((source_port, destination_port, tcp_flags)) =
        read_transport(protocol, transport, payload_len)
    else {
        return Parsed::Pass(Counter::PassMalformed);
    };
    Parsed::Packet(Packet {
        protocol,
        source,
        destination,
        source_port,
        destination_port,
        header_len,
        total_len,
        ttl: ip[8],
        dont_fragment: fragment & DONT_FRAGMENT != 0,
        tcp_flags,
        rewrite_len,
    })
}

/// Walks the options of an IPv4 header (RFC 791, 3.1).
#[inline]
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

/// The ports and control bits of a transport header, or `None` when it is malformed.
#[inline]
fn read_transport(
    protocol: Protocol,
    transport: &[u8],
    payload_len: u16,
) -> Option<(u16, u16, TcpFlags)> {
    let &[s0, s1, d0, d1, l0, l1, _, _] = transport.first_chunk::<8>()?;
    let tcp_flags = match protocol {
        Protocol::Tcp => {
            let &[offset, flags] = transport.get(12..)?.first_chunk::<2>()?;
            let tcp_header_len = u16::from(offset >> 4) << 2;
            if tcp_header_len < TCP_HEADER || tcp_header_len > payload_len {
                return None;
            }
            TcpFlags(flags)
        }
        Protocol::Udp => {
            let udp_len = u16::from_be_bytes([l0, l1]);
            if udp_len < UDP_HEADER || udp_len > payload_len {
                return None;
            }
            TcpFlags(0)
        }
    };
    let source_port = u16::from_be_bytes([s0, s1]);
    let destination_port = u16::from_be_bytes([d0, d1]);
    (source_port != 0 && destination_port != 0).then_some((
        source_port,
        destination_port,
        tcp_flags,
    ))
}

/// Whether the IPv4 header's checksum is right (RFC 791, 3.1; RFC 1071).
///
/// Only a packet that would allocate a route needs the check. Incremental updates keep a wrong
/// checksum wrong, so the node refuses what a known client's damaged packet became.
#[inline]
pub fn header_checksum_ok(head: &[u8], packet: &Packet) -> bool {
    head.get(..usize::from(packet.header_len))
        .is_some_and(|header| !header.is_empty() && checksum::sum(header) == 0xffff)
}
