// SPDX-License-Identifier: GPL-2.0

//! Services and nodes as people type them: with a port that may be a name or left out.
//!
//! Parsing does no I/O. Whoever accepts names looks them up and calls
//! [`ServiceSpec::with_port`] or [`NodeSpec::with_port`].

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use fep_uapi::{PROTOCOL_TCP, PROTOCOL_UDP};

use crate::address::{check_plain, split};
use crate::name::{NodePattern, ServiceKey};
use crate::text::Printable;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP (RFC 9293).
    Tcp,
    /// UDP (RFC 768).
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => PROTOCOL_TCP,
            Self::Udp => PROTOCOL_UDP,
        }
    }

    /// The protocol of a number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            PROTOCOL_TCP => Some(Self::Tcp),
            PROTOCOL_UDP => Some(Self::Udp),
            _ => None,
        }
    }

    /// Its name, as in the services file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A port as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// A number from 1 on.
    Number(u16),
    /// A name that the services file explains.
    Name(String),
}

/// A service as typed: `PROTO/VIP:PORT`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// The protocol.
    pub protocol: Protocol,
    /// The virtual address.
    pub address: IpAddr,
    /// The port.
    pub port: Port,
}

/// A back-end node as typed: `ADDRESS` or `ADDRESS:PORT`, an IPv6 address with a port in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// The address.
    pub address: IpAddr,
    /// The port, where there is one.
    pub port: Option<Port>,
}

/// What is wrong with a service or node as typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// There is no slash.
    #[error("\"{}\" does not begin with tcp/ or udp/ (a service is PROTO/VIP:PORT, such as tcp/10.0.0.100:80 or tcp/[2001:db8::10]:80)", Printable(.0))]
    NoProtocol(String),
    /// Neither TCP nor UDP.
    #[error("unknown protocol \"{}\" (tcp and udp are known)", Printable(.0))]
    UnknownProtocol(String),
    /// Not an address in numbers.
    #[error("\"{}\" is not an IP address", Printable(.0))]
    NotAnAddress(String),
    /// An IPv6 address and a port without brackets.
    #[error("\"{}\": an IPv6 address with a port is written in brackets, such as [2001:db8::1]:80", Printable(.0))]
    NoBrackets(String),
    /// Brackets that do not match, or around or before something else.
    #[error("\"{}\": brackets enclose an IPv6 address, and nothing but :PORT follows, such as [2001:db8::1]:80", Printable(.0))]
    Brackets(String),
    /// An IPv6 address that may also be one with a port.
    #[error("\"{}\" may be one address, or an address and port {port}; write [{}] or [{address}]:{port}", Printable(.text), Printable(.text))]
    Ambiguous {
        /// What was typed.
        text: String,
        /// The address, if there is a port.
        address: Ipv6Addr,
        /// The port, if there is one.
        port: String,
    },
    /// An address that is valid on one link alone.
    #[error("\"{}\": an address with a zone (%) is valid on one link alone; services and backends have addresses that are forwarded", Printable(.0))]
    Zone(String),
    /// A port is needed.
    #[error("\"{}\" has no port (write ADDRESS:PORT)", Printable(.0))]
    NoPort(String),
    /// Port 0, or above 65535.
    #[error("\"{}\" is not a port (1 to 65535)", Printable(.0))]
    PortRange(String),
    /// Neither a number nor a name.
    #[error("\"{}\" is neither a port number nor a port name", Printable(.0))]
    BadPort(String),
    /// A name where only a number will do.
    #[error("\"{}\" is a port name; a number is needed here", Printable(.0))]
    PortName(String),
}

impl FromStr for Protocol {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            other => Err(ParseError::UnknownProtocol(other.to_owned())),
        }
    }
}

impl FromStr for Port {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(number) if number != 0 => Ok(Self::Number(number)),
                Ok(_) | Err(_) => Err(ParseError::PortRange(text.to_owned())),
            };
        }
        let named = text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.+/".contains(&byte));
        if named {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(ParseError::BadPort(text.to_owned()))
        }
    }
}

impl FromStr for NodeSpec {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (address, port) = split(text)?;
        let port = match port {
            Some("") => return Err(ParseError::NoPort(text.to_owned())),
            Some(port) => Some(port.parse()?),
            None => None,
        };
        Ok(Self { address, port })
    }
}

impl FromStr for ServiceSpec {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (protocol, rest) = text
            .split_once('/')
            .ok_or_else(|| ParseError::NoProtocol(text.to_owned()))?;
        let protocol = protocol.parse()?;
        let NodeSpec { address, port } = rest.parse()?;
        let port = port.ok_or_else(|| ParseError::no_port(text, rest))?;
        Ok(Self {
            protocol,
            address,
            port,
        })
    }
}

impl ParseError {
    /// Why an address, a part of the text, does without the port that it needs.
    pub(crate) fn no_port(text: &str, address: &str) -> Self {
        if address.parse::<Ipv6Addr>().is_ok() {
            Self::NoBrackets(text.to_owned())
        } else {
            Self::NoPort(text.to_owned())
        }
    }
}

impl Port {
    /// The number, where it is not a name.
    ///
    /// # Errors
    ///
    /// [`ParseError::PortName`].
    pub fn number(self) -> Result<u16, ParseError> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Name(name) => Err(ParseError::PortName(name)),
        }
    }
}

impl ServiceSpec {
    /// The service, with the number that its port stands for.
    pub fn with_port(&self, port: u16) -> ServiceKey {
        ServiceKey {
            protocol: self.protocol,
            address: self.address,
            port,
        }
    }
}

impl NodeSpec {
    /// Reads a node that is not there yet: what can be read in two ways is refused, since nothing
    /// later would notice that the other one was meant.
    ///
    /// # Errors
    ///
    /// As from text, and [`ParseError::Ambiguous`].
    pub fn new_node(text: &str) -> Result<Self, ParseError> {
        let spec = text.parse()?;
        check_plain(text)?;
        Ok(spec)
    }

    /// The node, with the number that its port stands for; `None` for every port.
    pub fn with_port(&self, port: Option<u16>) -> NodePattern {
        NodePattern {
            address: self.address,
            port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service_error(text: &str) -> String {
        text.parse::<ServiceSpec>().unwrap_err().to_string()
    }

    #[test]
    fn services_parse() {
        let spec: ServiceSpec = "tcp/10.0.0.100:80".parse().unwrap();
        assert_eq!(spec.with_port(80).to_string(), "tcp/10.0.0.100:80");
        assert_eq!(spec.port, Port::Number(80));
        let spec: ServiceSpec = "udp/10.0.0.100:domain".parse().unwrap();
        assert_eq!(spec.port, Port::Name("domain".to_owned()));
        let spec: ServiceSpec = "tcp/[2001:db8::1]:80".parse().unwrap();
        assert_eq!(spec.with_port(80).to_string(), "tcp/[2001:db8::1]:80");
    }

    #[test]
    fn nodes_parse() {
        let spec: NodeSpec = "10.1.0.2".parse().unwrap();
        assert_eq!(spec.port, None);
        let spec: NodeSpec = "10.1.0.2:http-alt".parse().unwrap();
        assert_eq!(spec.port, Some(Port::Name("http-alt".to_owned())));
        for text in ["[2001:db8::1]", "2001:db8::1", "2001:db8::1:80"] {
            let spec: NodeSpec = text.parse().unwrap();
            assert_eq!(spec.port, None, "{text}");
        }
        let spec: NodeSpec = "[2001:db8::1]:http".parse().unwrap();
        assert_eq!(spec.port, Some(Port::Name("http".to_owned())));
        assert_eq!(
            NodeSpec::new_node("2001:db8::1:80")
                .unwrap_err()
                .to_string(),
            "\"2001:db8::1:80\" may be one address, or an address and port 80; write \
             [2001:db8::1:80] or [2001:db8::1]:80"
        );
        assert!(NodeSpec::new_node("[2001:db8::1:80]").is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            (
                "10.0.0.1:80",
                "\"10.0.0.1:80\" does not begin with tcp/ or udp/",
            ),
            ("sctp/10.0.0.1:80", "unknown protocol \"sctp\""),
            ("tcp/10.0.0.256:80", "\"10.0.0.256\" is not an IP address"),
            ("tcp/10.0.0.01:80", "\"10.0.0.01\" is not an IP address"),
            ("tcp/web:80", "\"web\" is not an IP address"),
            ("tcp/10.0.0.1", "has no port"),
            ("tcp/10.0.0.1:", "has no port"),
            ("tcp/10.0.0.1:0", "\"0\" is not a port (1 to 65535)"),
            ("tcp/10.0.0.1:65536", "\"65536\" is not a port"),
            ("tcp/10.0.0.1:8 0", "neither a port number nor a port name"),
            ("tcp/10.0.0.1:-1", "neither a port number nor a port name"),
            ("tcp/:80", "\"\" is not an IP address"),
            (
                "tcp/2001:db8::1",
                "\"tcp/2001:db8::1\": an IPv6 address with a port is written in brackets",
            ),
            ("tcp/2001:db8::1:80", "is written in brackets, such as"),
            ("tcp/2001:db8::1:http", "is written in brackets, such as"),
            ("tcp/1:2:3:4:5:6:7:8:80", "is written in brackets, such as"),
            ("tcp/2001:db8::1:", "is written in brackets, such as"),
            ("tcp/2001:db8::x", "\"2001:db8::x\" is not an IP address"),
            ("tcp/1::2::3", "\"1::2::3\" is not an IP address"),
            (
                "tcp/[2001:db8::1",
                "\"[2001:db8::1\": brackets enclose an IPv6 address",
            ),
            ("tcp/2001:db8::1]:80", "brackets enclose an IPv6 address"),
            ("tcp/[2001:db8::1]80", "and nothing but :PORT follows"),
            ("tcp/[2001:db8::1]]:80", "and nothing but :PORT follows"),
            ("tcp/[[2001:db8::1]]:80", "brackets enclose an IPv6 address"),
            ("tcp/[2001:db8:::80", "brackets enclose an IPv6 address"),
            ("tcp/2001:db8:::80", "is written in brackets, such as"),
            ("tcp/[10.0.0.1]:80", "brackets enclose an IPv6 address"),
            ("tcp/[]:80", "\"\" is not an IP address"),
            ("tcp/[2001:db8::1/64]:80", "\"2001:db8::1/64\" is not an IP"),
            ("tcp/[2001:db8::12345]:80", "is not an IP address"),
            ("tcp/[2001:db8::1]", "\"tcp/[2001:db8::1]\" has no port"),
            ("tcp/[2001:db8::1]:", "has no port"),
            ("tcp/[2001:db8::1]:0", "\"0\" is not a port (1 to 65535)"),
            ("tcp/[2001:db8::1]:65536", "\"65536\" is not a port"),
            (
                "tcp/[fe80::1%eth0]:80",
                "\"[fe80::1%eth0]:80\": an address with a zone (%) is valid on one link alone",
            ),
            ("tcp/fe80::1%1", "an address with a zone (%)"),
            ("tcp/\u{1b}[2J:80", "\\u{1b}[2J"),
        ] {
            let error = service_error(text);
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
