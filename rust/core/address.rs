// SPDX-License-Identifier: GPL-2.0

//! Addresses, and what differs between their families.

use core::fmt::Debug;
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_uapi::Counter;

use crate::hash::HashKey;
use crate::icmp::{ErrorMessage, NotRead};
use crate::packet::{Packet, Parsed, Protocol};
use crate::rewrite::{Coverage, Side, Translation};

/// An address of one family. What packets do is generic over it, so that each family's code is its
/// own, and neither pays for the other.
pub trait Address:
    Copy + Eq + Ord + Hash + Debug + Send + Sync + Into<IpAddr> + Sized + 'static
{
    /// The address, if it is of this family.
    fn from_ip(address: IpAddr) -> Option<Self>;

    /// The folded sum of its 16-bit words in native byte order, each inverted if `inverted`.
    fn sum(self, inverted: bool) -> u16;

    /// Whether the address can be that of more than one host.
    fn is_group(self) -> bool;

    /// Whether it names one host and may appear on a link.
    fn is_unicast_host(self) -> bool;

    /// A client: address, port and protocol in the form that is compared and hashed fastest.
    type Client: Copy + Eq + Debug + Send + Sync;

    /// The client at this address and port.
    fn client(self, protocol: Protocol, port: u16) -> Self::Client;

    /// Address and port of a client.
    fn of_client(client: Self::Client) -> (Self, u16);

    /// The hash of a client: see [`crate::hash`].
    fn hash_of(client: Self::Client, key: &HashKey) -> u32;

    /// The hash of who is at this address and port: a client, a service, or a node.
    fn client_hash(self, key: &HashKey, protocol: Protocol, port: u16) -> u32 {
        Self::hash_of(self.client(protocol, port), key)
    }

    /// Reads a packet: see [`crate::packet`].
    fn parse(head: &[u8], len: usize) -> Parsed<Self>;

    /// Reads a packet of the plainest kind, as nearly all are: without options or extension headers,
    /// its headers in one piece. For others, `None`: ask [`parse`](Self::parse).
    fn parse_plain(head: &[u8], len: usize) -> Option<Packet<Self>>;

    /// Whether the IP header's checksum is right, where there is one.
    fn header_is_intact(head: &[u8], packet: &Packet<Self>) -> bool;

    /// Translates a packet: see [`crate::rewrite`].
    fn translate(
        head: &mut [u8],
        packet: &Packet<Self>,
        side: Side,
        translation: &Translation<Self>,
        coverage: Coverage,
    ) -> bool;

    /// Reads an ICMP error: see [`crate::icmp`].
    ///
    /// # Errors
    ///
    /// What else it is.
    fn parse_error(head: &[u8], len: usize) -> Result<ErrorMessage<Self>, NotRead>;

    /// Translates an ICMP error: see [`crate::icmp`].
    fn translate_error(
        head: &mut [u8],
        error: &ErrorMessage<Self>,
        side: Side,
        address: Self,
        port: u16,
        coverage: Coverage,
    ) -> bool;
}

/// Whether a packet may be a client's at all (RFC 1122, 3.2.1.3; RFC 4291, 2.5 and 2.7): no route is
/// made for others, so only a packet without one is asked.
///
/// - A source that is no host's address, or a destination that is a group, is never a client's.
/// - Port 0 is reserved (RFC 6335, 6): nobody can answer it.
///
/// # Errors
///
/// The packet is passed on untouched and counted.
#[inline]
pub fn check_ends<A: Address>(packet: &Packet<A>) -> Result<(), Counter> {
    if !packet.source.is_unicast_host() || packet.destination.is_group() {
        return Err(Counter::PassForeign);
    }
    if packet.source_port == 0 || packet.destination_port == 0 {
        return Err(Counter::PassMalformed);
    }
    Ok(())
}

/// Whether an IPv4 address can be that of more than one host: multicast (RFC 5771, 224.0.0.0/4) or
/// the limited broadcast (RFC 919, 255.255.255.255).
///
/// The rest of 240.0.0.0/4 is unicast here, as it is for Linux.
#[inline]
pub(crate) const fn is_group4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first >> 4 == 0xe || u32::from_be_bytes(address.octets()) == u32::MAX
}

/// Whether an IPv4 address names one host and may appear on a link (RFC 1122, 3.2.1.3): neither a
/// group, nor "this network" (0.0.0.0/8), nor loopback (127.0.0.0/8).
#[inline]
pub(crate) const fn is_unicast_host4(address: Ipv4Addr) -> bool {
    let [network, ..] = address.octets();
    !is_group4(address) && network != 0 && network != 127
}

/// Whether an IPv6 address can be that of more than one host: multicast (RFC 4291, 2.7, ff00::/8).
#[inline]
pub(crate) const fn is_group6(address: Ipv6Addr) -> bool {
    let [first, ..] = address.octets();
    first == 0xff
}

/// Whether an IPv6 address names one host and may appear on a link beyond which fep forwards:
/// neither a group, nor unspecified or loopback (RFC 4291, 2.5.2 and 2.5.3), nor link-local
/// (2.5.6: routers do not forward it), nor IPv4-mapped (RFC 4291, 2.5.5.2: no packet carries it).
#[inline]
pub(crate) const fn is_unicast_host6(address: Ipv6Addr) -> bool {
    const MAPPED: u128 = 0xffff;
    let bits = u128::from_be_bytes(address.octets());
    let link_local = bits >> 118 == 0x3fa;
    !is_group6(address) && bits > 1 && !link_local && bits >> 32 != MAPPED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_ipv4_address() {
        for (bytes, group, unicast) in [
            ([0, 0, 0, 0], false, false),
            ([0, 255, 255, 255], false, false),
            ([1, 0, 0, 0], false, true),
            ([10, 0, 0, 1], false, true),
            ([126, 255, 255, 255], false, true),
            ([127, 0, 0, 0], false, false),
            ([127, 255, 255, 255], false, false),
            ([128, 0, 0, 0], false, true),
            ([223, 255, 255, 255], false, true),
            ([224, 0, 0, 0], true, false),
            ([239, 255, 255, 255], true, false),
            ([240, 0, 0, 0], false, true),
            ([255, 255, 255, 254], false, true),
            ([255, 255, 255, 255], true, false),
        ] {
            assert_eq!(is_group4(bytes.into()), group, "{bytes:?}");
            assert_eq!(is_unicast_host4(bytes.into()), unicast, "{bytes:?}");
        }
    }

    #[test]
    fn kinds_of_ipv6_address() {
        for (text, group, unicast) in [
            ("::", false, false),
            ("::1", false, false),
            ("::2", false, true),
            ("::ffff:192.0.2.1", false, false),
            ("2001:db8::1", false, true),
            ("fc00::1", false, true),
            ("fe7f:ffff::1", false, true),
            ("fe80::1", false, false),
            ("febf:ffff::1", false, false),
            ("fec0::1", false, true),
            ("ff02::1", true, false),
            ("ffff::", true, false),
        ] {
            let address: Ipv6Addr = text.parse().unwrap();
            assert_eq!(is_group6(address), group, "{text}");
            assert_eq!(is_unicast_host6(address), unicast, "{text}");
        }
    }
}
