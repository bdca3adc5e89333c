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
use crate::checksum::{add, Delta};
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
    /// The addresses' part and that of the time to live: an IPv4 header's.
    pub(crate) header: u16,
}

/// What an IPv4 header's sum changes by when one is taken off the time to live, the first byte of its
/// word: ~m + m' of RFC 1624 with m' = m - 0x100.
const ONE_HOP: u16 = u16::from_ne_bytes([0xfe, 0xff]);

impl<A: Address> Change<A> {
    fn new(from: (A, u16), to: (A, u16)) -> Self {
        let addresses = Delta::folded(from.0.sum(true)).and(Delta::folded(to.0.sum(false)));
        let all = addresses.word(from.1.to_be(), to.1.to_be());
        Self {
            address: to.0,
            port: to.1,
            addresses: addresses.fold(),
            all: all.fold(),
            header: add(addresses.fold(), ONE_HOP),
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
        Coverage::Partial => add(old, change.addresses),
        Coverage::Full => {
            let updated = !add(!old, change.all);
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

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::vec::Vec;

    /// Random words, among which the two zeros of one's complement are frequent.
    struct Noise(u64);

    impl Noise {
        fn word(&mut self) -> u16 {
            self.0 = self
                .0
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            let bits = (self.0 >> 33) as u32;
            match bits % 8 {
                0 => 0,
                1 => 0xffff,
                _ => (bits >> 8) as u16,
            }
        }

        fn v4(&mut self) -> Ipv4Addr {
            let [a, b] = self.word().to_be_bytes();
            let [c, d] = self.word().to_be_bytes();
            Ipv4Addr::new(a, b, c, d)
        }

        fn v6(&mut self) -> Ipv6Addr {
            Ipv6Addr::from([0; 8].map(|_| self.word()))
        }
    }

    /// The words of a pseudo-header's end, in network byte order, and its port.
    fn words(bytes: &[u8], port: u16) -> Vec<u16> {
        let words = bytes
            .chunks(2)
            .map(|word| u16::from_be_bytes([word[0], word[1]]));
        words.chain([port]).collect()
    }

    /// A checksum over words, computed from scratch by division.
    fn checksum(words: impl Iterator<Item = u16>) -> u16 {
        let sum: u64 = words.map(u64::from).sum();
        !match sum % 0xffff {
            0 if sum > 0 => 0xffff,
            rest => u16::try_from(rest).unwrap(),
        }
    }

    /// All parts of a change against checksums over both ends, next to anything else.
    fn check<A: Address>(change: &Change<A>, from: &[u16], to: &[u16], rest: u16) {
        // In native byte order and back.
        let update = |delta: u16, old: u16| u16::from_be(Delta::folded(delta).update(old.to_be()));
        let with = |words: &[u16]| checksum(words.iter().copied().chain([rest]));
        assert_eq!(
            update(change.all, with(from)),
            with(to),
            "{from:x?} to {to:x?}"
        );
        let (from, to) = (&from[..from.len() - 1], &to[..to.len() - 1]);
        assert_eq!(
            update(change.addresses, with(from)),
            with(to),
            "{from:x?} to {to:x?}"
        );
        // In a header whose time to live was 1 and becomes 0, as the first byte of its word.
        let aged = |words: &[u16], lifetime| {
            let fields = [rest, lifetime];
            checksum(words.iter().copied().chain(fields))
        };
        let (old, new) = (aged(from, 0x0111), aged(to, 0x0011));
        assert_eq!(update(change.header, old), new, "{from:x?} to {to:x?}");
    }

    /// The ends of a translation against the same computed from scratch.
    fn check_ends<A: Address>(service: (A, u16), node: (A, u16), ends: [&[u16]; 2], rest: u16) {
        let translation = Translation::new(service, node);
        let (to_node, to_service) = (&translation.to_node, &translation.to_service);
        assert_eq!((to_node.address, to_node.port), node);
        assert_eq!((to_service.address, to_service.port), service);
        assert_eq!(translation.change(Side::Destination), to_node);
        assert_eq!(translation.change(Side::Source), to_service);
        check(to_node, ends[0], ends[1], rest);
        check(to_service, ends[1], ends[0], rest);
    }

    #[test]
    fn changes_equal_computation_from_scratch() {
        let mut noise = Noise(1);
        for round in 0..20_000 {
            let (service, port) = (noise.v4(), noise.word());
            let (mut node, mut node_port) = (noise.v4(), noise.word());
            // Equal addresses, equal ports, and both.
            if round % 16 < 2 {
                node = service;
            }
            if round % 16 % 2 == 0 {
                node_port = port;
            }
            // A pseudo-header is never all zeros: it has a protocol.
            let rest = noise.word().max(1);
            let ends = (
                words(&service.octets(), port),
                words(&node.octets(), node_port),
            );
            check_ends((service, port), (node, node_port), [&ends.0, &ends.1], rest);

            let (service, mut node) = (noise.v6(), noise.v6());
            if round % 16 < 2 {
                node = service;
            }
            let ends = (
                words(&service.octets(), port),
                words(&node.octets(), node_port),
            );
            check_ends((service, port), (node, node_port), [&ends.0, &ends.1], rest);
        }
    }

    #[test]
    fn changes_at_the_zeros() {
        let (zero, ones) = (Ipv6Addr::UNSPECIFIED, Ipv6Addr::from([0xffff; 8]));
        for service in [zero, ones] {
            for node in [zero, ones] {
                for (port, node_port) in [(0, 0), (0, 0xffff), (0xffff, 0), (0xffff, 0xffff)] {
                    for rest in [1, 0x8000, 0xfffe, 0xffff] {
                        let ends = (
                            words(&service.octets(), port),
                            words(&node.octets(), node_port),
                        );
                        let (service, node) = ((service, port), (node, node_port));
                        check_ends(service, node, [&ends.0, &ends.1], rest);
                    }
                }
            }
        }
    }
}
