// SPDX-License-Identifier: GPL-2.0

//! Services and nodes as people type them: with a port that may be a name or left out.
//!
//! Parsing does no I/O. Whoever accepts names looks them up and calls
//! [`ServiceSpec::with_port`] or [`NodeSpec::with_port`].

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use fep_uapi::{PROTOCOL_TCP, PROTOCOL_UDP};

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

/// A service as typed: `PROTO/VIP:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// The protocol.
    pub protocol: Protocol,
    /// The virtual address.
    pub address: IpAddr,
    /// The port.
    pub port: Port,
}

/// A back-end node as typed: `ADDRESS` or `ADDRESS:PORT`.
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
    #[error("\"{}\" does not begin with tcp/ or udp/ (a service is PROTO/VIP:PORT, such as tcp/10.0.0.100:80)", Printable(.0))]
    NoProtocol(String),
    /// Neither TCP nor UDP.
    #[error("unknown protocol \"{}\" (tcp and udp are known)", Printable(.0))]
    UnknownProtocol(String),
    /// Not an address in numbers.
    #[error("\"{}\" is not an IP address", Printable(.0))]
    NotAnAddress(String),
    /// An IPv6 address without brackets.
    #[error("\"{}\": an IPv6 address is written in brackets, such as [2001:db8::1]:80", Printable(.0))]
    NoBrackets(String),
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
        let (address, port) = if let Some(rest) = text.strip_prefix('[') {
            let (inner, rest) = rest
                .split_once(']')
                .ok_or_else(|| ParseError::NotAnAddress(text.to_owned()))?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(ParseError::NotAnAddress(text.to_owned())),
            };
            let address = inner
                .parse()
                .map(IpAddr::V6)
                .map_err(|_| ParseError::NotAnAddress(inner.to_owned()))?;
            (address, port)
        } else {
            if text.matches(':').count() > 1 {
                return Err(ParseError::NoBrackets(text.to_owned()));
            }
            let (address, port) = match text.split_once(':') {
                Some((address, port)) => (address, Some(port)),
                None => (text, None),
            };
            let address = address
                .parse()
                .map(IpAddr::V4)
                .map_err(|_| ParseError::NotAnAddress(address.to_owned()))?;
            (address, port)
        };
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
        let port = port.ok_or_else(|| ParseError::NoPort(text.to_owned()))?;
        Ok(Self {
            protocol,
            address,
            port,
        })
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
        let spec: NodeSpec = "[2001:db8::1]".parse().unwrap();
        assert_eq!(spec.port, None);
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
            ("tcp/2001:db8::1", "in brackets"),
            ("tcp/[2001:db8::1", "is not an IP address"),
            ("tcp/[2001:db8::1]80", "is not an IP address"),
            ("tcp/[10.0.0.1]:80", "\"10.0.0.1\" is not an IP address"),
            ("tcp/\u{1b}[2J:80", "\\u{1b}[2J"),
        ] {
            let error = service_error(text);
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
