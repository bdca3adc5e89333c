// SPDX-License-Identifier: GPL-2.0

//! The translation of a packet: one address, one port, the time to live, and both checksums.
//!
//! A request's destination becomes the back-end node, a reply's source becomes the service (F5).

use crate::checksum::Delta;
use crate::packet::{Packet, Protocol};

/// Offset of the time to live in the IPv4 header (RFC 791, 3.1).
const TTL: usize = 8;
/// Bytes of the IPv4 header before the addresses.
const FIXED: usize = 12;

/// Which end of a packet is translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Source address and port: a reply.
    Source,
    /// Destination address and port: a request.
    Destination,
}

/// What the transport checksum field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coverage {
    /// The checksum as it appears on the wire.
    Full,
    /// Linux's `CHECKSUM_PARTIAL`: the folded sum of the pseudo-header, not inverted. The device
    /// adds the segment; so the ports do not matter, the addresses do.
    Partial,
}

/// The bytes that a translation reads and writes.
struct Fields<'a> {
    /// The IPv4 header up to the addresses.
    fixed: &'a mut [u8; FIXED],
    /// The address.
    address: &'a mut [u8; 4],
    /// The port.
    port: &'a mut [u8; 2],
    /// The transport checksum.
    checksum: &'a mut [u8; 2],
}

impl<'a> Fields<'a> {
    /// Finds the fields, or `None` when they are not all there.
    #[inline]
    fn locate(head: &'a mut [u8], packet: &Packet, side: Side) -> Option<Self> {
        let header_len = usize::from(packet.header_len);
        let (ip, transport) = head.split_at_mut_checked(header_len)?;
        let (fixed, addresses) = ip.split_first_chunk_mut::<FIXED>()?;
        let (source, addresses) = addresses.split_first_chunk_mut::<4>()?;
        let (destination, _) = addresses.split_first_chunk_mut::<4>()?;
        let (source_port, transport) = transport.split_first_chunk_mut::<2>()?;
        let (destination_port, transport) = transport.split_first_chunk_mut::<2>()?;
        // Behind the ports: RFC 9293, 3.1 (offset 16) and RFC 768 (offset 6).
        let behind = match packet.protocol {
            Protocol::Tcp => 12,
            Protocol::Udp => 2,
        };
        let (checksum, _) = transport.get_mut(behind..)?.split_first_chunk_mut::<2>()?;
        let (address, port) = match side {
            Side::Source => (source, source_port),
            Side::Destination => (destination, destination_port),
        };
        Some(Self {
            fixed,
            address,
            port,
            checksum,
        })
    }
}

/// Translates one side of a packet to `address` and `port` and takes one off the time to live (F5).
///
/// `head` begins with the IPv4 header that [`parse`](crate::packet::parse) read `packet` from.
///
/// Both checksums are updated incrementally (RFC 1624, equation 3): a right one stays right and a
/// wrong one wrong. A UDP packet without a checksum (0) stays without; one whose checksum becomes 0
/// gets 0xffff (RFC 768).
///
/// Returns `false` and changes nothing when `head` is shorter than `packet.rewrite_len` or the time
/// to live is 0. That a time to live of 1 must not be forwarded (RFC 1812, 5.3.1) is for the caller
/// to see: it answers with an ICMP error.
#[inline]
pub fn translate(
    head: &mut [u8],
    packet: &Packet,
    side: Side,
    address: u32,
    port: u16,
    coverage: Coverage,
) -> bool {
    if head.len() < usize::from(packet.rewrite_len) {
        return false;
    }
    let Some(fields) = Fields::locate(head, packet, side) else {
        return false;
    };
    let fixed = fields.fixed;
    let Some(ttl) = fixed[TTL].checked_sub(1) else {
        return false;
    };

    let addresses = Delta::NONE.address(u32::from_be_bytes(*fields.address), address);
    let old_port = u16::from_be_bytes(*fields.port);
    *fields.address = address.to_be_bytes();
    *fields.port = port.to_be_bytes();

    // The time to live shares its word with the protocol.
    let lifetime = u16::from_be_bytes([fixed[TTL], fixed[9]]);
    fixed[TTL] = ttl;
    let header = addresses
        .word(lifetime, u16::from_be_bytes([ttl, fixed[9]]))
        .update(u16::from_be_bytes([fixed[10], fixed[11]]));
    [fixed[10], fixed[11]] = header.to_be_bytes();

    let old = u16::from_be_bytes(*fields.checksum);
    let new = match coverage {
        Coverage::Partial => addresses.update_sum(old),
        Coverage::Full => {
            let updated = addresses.word(old_port, port).update(old);
            match (packet.protocol, old, updated) {
                (Protocol::Udp, 0, _) => 0,
                (Protocol::Udp, _, 0) => 0xffff,
                _ => updated,
            }
        }
    };
    *fields.checksum = new.to_be_bytes();
    true
}
