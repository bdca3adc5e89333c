// SPDX-License-Identifier: GPL-2.0

//! The translation of a packet: one address, one port, the time to live, and the checksums.
//!
//! A request's destination becomes the back-end node, a reply's source becomes the service (F5).
//!
//! All packets of a service to one node are translated alike, so what the checksums change by is
//! known beforehand: a [`Translation`] holds it.
//!
//! Checksums are updated incrementally (RFC 1624, equation 3): a right one stays right and a wrong one
//! wrong. A UDP packet without a checksum (0) stays without; one whose checksum becomes 0 gets 0xffff
//! (RFC 768).
//!
//! [`translate`](Address::translate) returns `false` and changes nothing when `head` is shorter than
//! `packet.rewrite_len` or the time to live is 0. That a time to live of 1 must not be forwarded
//! (RFC 1812, 5.3.1; RFC 8200, 3) is for the caller to see: it answers with an ICMP error.

use crate::address::Address;
use crate::checksum::Delta;
use crate::packet::Protocol;

/// Which end of a packet is translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Source address and port: a reply.
    Source,
    /// Destination address and port: a request.
    Destination,
}

impl Side {
    /// The other end.
    pub(crate) const fn opposite(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
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

/// What one end of a packet becomes, and what the checksums change by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change<A> {
    /// The new address.
    pub address: A,
    /// The new port.
    pub port: u16,
    /// The addresses' part of a checksum: ~m + m' of RFC 1624, folded, in native byte order.
    pub(crate) addresses: u16,
    /// That and the ports' part.
    pub(crate) all: u16,
}

impl<A: Address> Change<A> {
    fn new(from: (A, u16), to: (A, u16)) -> Self {
        let addresses = Delta::folded(from.0.sum(true)).and(Delta::folded(to.0.sum(false)));
        let all = addresses.word(from.1.to_be(), to.1.to_be());
        Self {
            address: to.0,
            port: to.1,
            addresses: addresses.fold(),
            all: all.fold(),
        }
    }
}

/// How a service's packets are translated for one of its back-end nodes, and back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation<A> {
    /// Of a request's destination: the node.
    pub to_node: Change<A>,
    /// Of a reply's source: the service.
    pub to_service: Change<A>,
}

impl<A: Address> Translation<A> {
    /// The translation between a service's address and port and a node's.
    pub fn new(service: (A, u16), node: (A, u16)) -> Self {
        Self {
            to_node: Change::new(service, node),
            to_service: Change::new(node, service),
        }
    }

    /// The change of that side.
    #[inline(always)]
    pub const fn change(&self, side: Side) -> &Change<A> {
        match side {
            Side::Source => &self.to_service,
            Side::Destination => &self.to_node,
        }
    }
}

/// Translates a transport header: port and checksum. Returns `false` and changes nothing when not all
/// of it is there.
#[inline(always)]
pub(crate) fn translate_transport<A>(
    transport: &mut [u8],
    protocol: Protocol,
    side: Side,
    change: &Change<A>,
    coverage: Coverage,
) -> bool {
    // The checksum, behind the ports: RFC 9293, 3.1 (offset 16) and RFC 768 (offset 6).
    let behind = match protocol {
        Protocol::Tcp => 12,
        Protocol::Udp => 2,
    };
    let Some((ports, rest)) = transport.split_first_chunk_mut::<4>() else {
        return false;
    };
    let checksum = rest
        .get_mut(behind..)
        .and_then(<[u8]>::first_chunk_mut::<2>);
    let Some(checksum) = checksum else {
        return false;
    };
    let Some((source, destination)) = ports.split_first_chunk_mut::<2>() else {
        return false;
    };
    let Some(destination) = destination.first_chunk_mut::<2>() else {
        return false;
    };
    *match side {
        Side::Source => source,
        Side::Destination => destination,
    } = change.port.to_be_bytes();

    let old = u16::from_ne_bytes(*checksum);
    let new = match coverage {
        Coverage::Partial => Delta::folded(change.addresses).update_sum(old),
        Coverage::Full => {
            let updated = Delta::folded(change.all).update(old);
            match (protocol, old, updated) {
                (Protocol::Udp, 0, _) => 0,
                (Protocol::Udp, _, 0) => 0xffff,
                _ => updated,
            }
        }
    };
    *checksum = new.to_ne_bytes();
    true
}
