// SPDX-License-Identifier: GPL-2.0

//! Addresses of both families: as typed, as they cross the kernel boundary, and what is special
//! about some.
//!
//! They are shown as `core::net` does, which is the canonical form of RFC 5952.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_uapi::{FAMILY_IPV4, FAMILY_IPV6};

use crate::error::Error;
use crate::spec::ParseError;

/// An address as it crosses the kernel boundary: its family and its bytes.
pub(crate) fn to_abi(address: IpAddr) -> (u8, [u8; 16]) {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            (FAMILY_IPV4, bytes)
        }
        IpAddr::V6(v6) => (FAMILY_IPV6, v6.octets()),
    }
}

/// The same the other way round.
pub(crate) fn from_abi(family: u8, bytes: [u8; 16]) -> Result<IpAddr, Error> {
    let [a, b, c, d, ..] = bytes;
    match family {
        FAMILY_IPV4 => Ok(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
        FAMILY_IPV6 => Ok(IpAddr::V6(Ipv6Addr::from(bytes))),
        other => Err(Error::garbled("address family", other.into())),
    }
}

/// The name of an address's family.
pub(crate) const fn family_name(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

/// Takes an address and the text of its port apart: `10.1.0.2:80`, `10.1.0.2`, `[2001:db8::2]:80`,
/// `[2001:db8::2]`, `2001:db8::2`.
pub(crate) fn split(text: &str) -> Result<(IpAddr, Option<&str>), ParseError> {
    if text.contains('%') {
        return Err(ParseError::Zone(text.to_owned()));
    }
    let brackets = || ParseError::Brackets(text.to_owned());
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, rest) = rest.split_once(']').ok_or_else(brackets)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port),
            None if rest.is_empty() => None,
            None => return Err(brackets()),
        };
        let address = inner.parse().map_err(|_| {
            if inner.parse::<Ipv4Addr>().is_ok() {
                brackets()
            } else {
                not_an_address(inner)
            }
        })?;
        return Ok((IpAddr::V6(address), port));
    }
    if text.contains(['[', ']']) {
        return Err(brackets());
    }
    if text.matches(':').count() > 1 {
        return match text.parse() {
            Ok(address) => Ok((IpAddr::V6(address), None)),
            Err(_) if port_after_bare(text).is_some() => {
                Err(ParseError::NoBrackets(text.to_owned()))
            }
            Err(_) => Err(not_an_address(text)),
        };
    }
    let (address, port) = match text.split_once(':') {
        Some((address, port)) => (address, Some(port)),
        None => (text, None),
    };
    let address = address.parse().map_err(|_| not_an_address(address))?;
    Ok((IpAddr::V4(address), port))
}

fn not_an_address(text: &str) -> ParseError {
    ParseError::NotAnAddress(text.to_owned())
}

/// An IPv6 address without brackets and what follows its last colon, where what is before that is
/// an address as well: `2001:db8::2:80` may be meant as one address, or as an address and a port.
pub(crate) fn port_after_bare(text: &str) -> Option<(Ipv6Addr, &str)> {
    let (before, after) = text.rsplit_once(':')?;
    Some((before.parse().ok()?, after))
}

/// Makes sure that an IPv6 address without brackets cannot be meant as an address and a port.
///
/// # Errors
///
/// [`ParseError::Ambiguous`].
pub(crate) fn check_plain(text: &str) -> Result<(), ParseError> {
    let is_port = |after: &str| {
        let digits = after.bytes().all(|byte| byte.is_ascii_digit());
        digits && after.parse::<u16>().is_ok_and(|port| port != 0)
    };
    match port_after_bare(text) {
        Some((address, port)) if is_port(port) => Err(ParseError::Ambiguous {
            text: text.to_owned(),
            address,
            port: port.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What makes an address one that cannot be a service's or a node's, as the end of a sentence that
/// begins with the address; `None` where nothing is known to.
///
/// The rule is the kernel's; this only says which one it was.
pub(crate) fn why_not_unicast(address: IpAddr) -> Option<String> {
    const NO_HOST: &str = "which no host has";
    const NOT_SENT: &str = "which no packet on a network has";
    const NOT_ONE: &str = "not that of one host";
    let (kind, rule) = match address {
        IpAddr::V4(v4) if v4.is_broadcast() => ("the broadcast address", NOT_ONE),
        IpAddr::V4(v4) if v4.is_multicast() => ("a multicast address (224.0.0.0/4)", NOT_ONE),
        IpAddr::V4(v4) if v4.is_loopback() => ("a loopback address (127.0.0.0/8)", NOT_SENT),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => ("within 0.0.0.0/8", NO_HOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => ("the unspecified address", NO_HOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => ("the loopback address", NOT_SENT),
        IpAddr::V6(v6) if v6.is_multicast() => ("a multicast address (ff00::/8)", NOT_ONE),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => (
            "a link-local address (fe80::/10)",
            "which is valid on one link alone and not forwarded",
        ),
        IpAddr::V6(v6) => {
            let v4 = v6.to_ipv4_mapped()?;
            return Some(format!(
                "is an IPv4 address mapped into IPv6 (::ffff:0:0/96), {NOT_SENT}; write {v4}"
            ));
        }
        IpAddr::V4(_) => return None,
    };
    Some(format!("is {kind}, {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_from_their_ports() {
        for (text, address, port) in [
            ("10.1.0.2", "10.1.0.2", None),
            ("10.1.0.2:80", "10.1.0.2", Some("80")),
            ("2001:db8::2", "2001:db8::2", None),
            ("2001:db8::2:80", "2001:db8::2:80", None),
            ("2001:DB8:0:0:0:0:0:2", "2001:db8::2", None),
            ("2001:db8::10.1.0.2", "2001:db8::a01:2", None),
            ("::", "::", None),
            ("[2001:db8::2]", "2001:db8::2", None),
            ("[2001:db8::2]:80", "2001:db8::2", Some("80")),
            ("[2001:db8::2]:", "2001:db8::2", Some("")),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(split(text), Ok((address, port)), "{text}");
        }
    }

    #[test]
    fn the_canonical_form_is_that_of_rfc_5952() {
        for (typed, shown) in [
            // 4.1 leading zeros; 4.2.1 as short as possible; 4.3 lower case.
            ("2001:0db8:0000:0000:0000:0000:0002:0001", "2001:db8::2:1"),
            ("2001:DB8::ABCD", "2001:db8::abcd"),
            // 4.2.2 not for one 16-bit field.
            ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            // 4.2.3 the longest run, the first of equal ones.
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            // 5 mapped addresses.
            ("::ffff:c000:201", "::ffff:192.0.2.1"),
        ] {
            let (address, _) = split(typed).unwrap();
            assert_eq!(address.to_string(), shown);
        }
    }

    #[test]
    fn every_address_that_the_kernel_refuses_is_explained() {
        use fep_uapi::Endpoint;
        for (text, explained) in [
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("127.255.0.1", true),
            ("224.0.0.1", true),
            ("239.255.255.255", true),
            ("240.0.0.1", false),
            ("255.255.255.255", true),
            ("10.0.0.1", false),
            ("::", true),
            ("::1", true),
            ("::2", false),
            ("::ffff:10.0.0.1", true),
            ("::fffe:10.0.0.1", false),
            ("fe7f::1", false),
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", false),
            ("fd00::1", false),
            ("2001:db8::1", false),
            ("ff02::1", true),
            ("ff::1", false),
        ] {
            let address: IpAddr = text.parse().unwrap();
            let (family, bytes) = to_abi(address);
            assert_eq!(why_not_unicast(address).is_some(), explained, "{text}");
            let endpoint = Endpoint {
                family,
                port: 80,
                address: bytes,
                ..Endpoint::default()
            };
            let refused = fep_core::validate::Node::try_from(&endpoint).is_err();
            assert_eq!(refused, explained, "{text}: the kernel's own rule");
            assert_eq!(from_abi(family, bytes).unwrap(), address);
        }
    }

    #[test]
    fn what_may_be_an_address_and_a_port_is_told_apart() {
        for text in ["2001:db8::2:80", "::1:1", "2001:db8::1:65535"] {
            assert!(check_plain(text).is_err(), "{text}");
        }
        for text in [
            "2001:db8::2",
            "2001:db8::2:8a",
            "2001:db8::2:0",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::8",
            "2001:db8::1:65536",
            "[2001:db8::2:80]",
            "[2001:db8::2]:80",
            "10.1.0.2:80",
            "10.1.0.2",
        ] {
            assert_eq!(check_plain(text), Ok(()), "{text}");
        }
    }
}
