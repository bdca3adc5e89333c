// SPDX-License-Identifier: GPL-2.0

//! The translation of an IPv4 packet: see [`crate::rewrite`].

use core::net::Ipv4Addr;

use crate::checksum::add;
use crate::ipv4::IP_HEADER;
use crate::packet::{Packet, Protocol, TCP_HEADER, UDP_HEADER};
use crate::rewrite::{translate_transport, Change, Coverage, Side, Translation};

/// The fixed part of an IPv4 header that a translation reads and writes.
struct Header<'a> {
    ttl: &'a mut u8,
    checksum: &'a mut [u8; 2],
    address: &'a mut [u8; 4],
}

impl<'a> Header<'a> {
    #[inline(always)]
    fn locate(ip: &'a mut [u8], side: Side) -> Option<Self> {
        let [_, _, _, _, _, _, _, _, ttl, _, rest @ ..] = ip.first_chunk_mut::<IP_HEADER>()?;
        let (checksum, rest) = rest.split_first_chunk_mut::<2>()?;
        let (source, rest) = rest.split_first_chunk_mut::<4>()?;
        let (destination, _) = rest.split_first_chunk_mut::<4>()?;
        Some(Self {
            ttl,
            checksum,
            address: match side {
                Side::Source => source,
                Side::Destination => destination,
            },
        })
    }
}

/// See [`crate::rewrite`].
#[inline(always)]
pub(crate) fn translate(
    head: &mut [u8],
    packet: &Packet<Ipv4Addr>,
    side: Side,
    translation: &Translation<Ipv4Addr>,
    coverage: Coverage,
) -> bool {
    let change = translation.change(side);
    if usize::from(packet.header_len) != IP_HEADER {
        return translate_with_options(head, packet, side, change, coverage);
    }
    // Lengths that the compiler knows need no further checks.
    match packet.protocol {
        Protocol::Tcp => match head.first_chunk_mut::<{ IP_HEADER + TCP_HEADER as usize }>() {
            Some(head) => {
                let (ip, transport) = head.split_at_mut(IP_HEADER);
                translate_parts(ip, transport, Protocol::Tcp, side, change, coverage)
            }
            None => false,
        },
        Protocol::Udp => match head.first_chunk_mut::<{ IP_HEADER + UDP_HEADER as usize }>() {
            Some(head) => {
                let (ip, transport) = head.split_at_mut(IP_HEADER);
                translate_parts(ip, transport, Protocol::Udp, side, change, coverage)
            }
            None => false,
        },
    }
}

#[cold]
#[inline(never)]
fn translate_with_options(
    head: &mut [u8],
    packet: &Packet<Ipv4Addr>,
    side: Side,
    change: &Change<Ipv4Addr>,
    coverage: Coverage,
) -> bool {
    if head.len() < usize::from(packet.rewrite_len) {
        return false;
    }
    match head.split_at_mut_checked(usize::from(packet.header_len)) {
        Some((ip, transport)) => {
            translate_parts(ip, transport, packet.protocol, side, change, coverage)
        }
        None => false,
    }
}

#[inline(always)]
fn translate_parts(
    ip: &mut [u8],
    transport: &mut [u8],
    protocol: Protocol,
    side: Side,
    change: &Change<Ipv4Addr>,
    coverage: Coverage,
) -> bool {
    let Some(header) = Header::locate(ip, side) else {
        return false;
    };
    let Some(ttl) = header.ttl.checked_sub(1) else {
        return false;
    };
    if !translate_transport(transport, protocol, side, change, coverage) {
        return false;
    }
    *header.ttl = ttl;
    *header.address = change.address.octets();
    let old = u16::from_ne_bytes(*header.checksum);
    *header.checksum = (!add(!old, change.header)).to_ne_bytes();
    true
}
