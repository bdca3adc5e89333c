// SPDX-License-Identifier: GPL-2.0

//! From bytes to a [`Packet`]: what the filter needs to know of a packet, read once.
//!
//! The checks are those of Linux's receivers, so that a packet the filter translates is one the host
//! itself would have accepted. Whatever is not a whole, well-formed TCP or UDP packet goes on
//! untouched (F4) and is counted by the reason. What only a packet without a route needs to be asked
//! is asked later: [`check_ends`](crate::address::check_ends) and
//! [`header_is_intact`](Address::header_is_intact).

use fep_uapi::{Counter, PROTOCOL_TCP, PROTOCOL_UDP};

use crate::address::Address;

/// Bytes of a TCP header without options (RFC 9293, 3.1).
pub(crate) const TCP_HEADER: u16 = 20;
/// Bytes of a UDP header (RFC 768).
pub(crate) const UDP_HEADER: u16 = 8;

/// Most bytes that [`parse`](Address::parse) asks for: an IPv6 header (IPv4's is shorter even with
/// options), extension headers and a TCP header without options.
pub const HEADERS_MAX: usize = crate::ipv6::IP_HEADERS_MAX + TCP_HEADER as usize;

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
    /// The protocol of a number in an IP header, or `None` when services cannot use it.
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
    pub(crate) const fn header_len(self) -> u16 {
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
pub struct Packet<A: Address> {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Bytes of the IP header with its options or extension headers: where the transport header
    /// begins.
    pub header_len: u16,
    /// Bytes of the packet from the IP header on, without link-layer padding.
    pub total_len: u32,
    /// Time to live; in IPv6, hop limit.
    pub ttl: u8,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
    /// The control bits; none for UDP.
    pub tcp_flags: TcpFlags,
    /// Bytes from the IP header on that must be linear and writable for
    /// [`translate`](Address::translate): both headers, without TCP options.
    pub rewrite_len: u16,
}

/// What [`parse`](Address::parse) found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed<A: Address> {
    /// A packet that the filter handles.
    Packet(Packet<A>),
    /// So many bytes from the IP header on must be linear to decide. More than there were, and
    /// no more than the packet has.
    Need(usize),
    /// An ICMP message: for [`parse_error`](Address::parse_error).
    Icmp,
    /// Not for the filter: passed on untouched and counted.
    Pass(Counter),
}

/// The ports and control bits of a transport header, or `None` when it is malformed.
///
/// The length in a UDP header may not exceed the packet. A UDP GSO packet has the length of the
/// whole aggregate there, which satisfies that.
#[inline(always)]
pub(crate) fn read_transport(
    protocol: Protocol,
    transport: &[u8],
    payload_len: u32,
) -> Option<(u16, u16, TcpFlags)> {
    let &[s0, s1, d0, d1, l0, l1, _, _] = transport.first_chunk::<8>()?;
    let tcp_flags = match protocol {
        Protocol::Tcp => {
            let &[.., offset, flags] = transport.first_chunk::<14>()?;
            let tcp_header_len = u16::from(offset >> 4) << 2;
            if tcp_header_len < TCP_HEADER || u32::from(tcp_header_len) > payload_len {
                return None;
            }
            TcpFlags(flags)
        }
        Protocol::Udp => {
            let udp_len = u32::from(u16::from_be_bytes([l0, l1]));
            if !(u32::from(UDP_HEADER)..=payload_len).contains(&udp_len) {
                return None;
            }
            TcpFlags(0)
        }
    };
    let source_port = u16::from_be_bytes([s0, s1]);
    let destination_port = u16::from_be_bytes([d0, d1]);
    Some((source_port, destination_port, tcp_flags))
}
