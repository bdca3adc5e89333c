// SPDX-License-Identifier: GPL-2.0

//! What things are called: services, back-end nodes, devices.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use fep_uapi::{Endpoint, ServiceId, DEVICE_NAME_LEN};

use crate::address::{check_plain, from_abi, to_abi};
use crate::error::Error;
use crate::spec::{NodeSpec, ParseError, Port, Protocol, ServiceSpec};
use crate::text::Printable;

/// Names a service: `tcp/10.0.0.100:80`, `tcp/[2001:db8::10]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The protocol.
    pub protocol: Protocol,
    /// The virtual address (VIP).
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// Names a back-end node within a service, or a client: `10.1.0.2:80`, `[2001:db8::2]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeAddr {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// A back-end node on one port, or on every port: `10.1.0.2`, `2001:db8::2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodePattern {
    /// The address.
    pub address: IpAddr,
    /// The port; `None` for every port.
    pub port: Option<u16>,
}

/// The name of a network device: `eth0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceName(String);

/// What is wrong with the name of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceNameError {
    /// It has no characters.
    #[error("the name of a device is not empty")]
    Empty,
    /// It does not fit.
    #[error("\"{}\" is longer than {} bytes, no device has such a name", Printable(.0), DEVICE_NAME_LEN - 1)]
    TooLong(String),
    /// It has a NUL character in it.
    #[error("\"{}\" holds a NUL character, no device has such a name", Printable(.0))]
    Nul(String),
}

impl From<ServiceKey> for ServiceId {
    fn from(key: ServiceKey) -> Self {
        let (family, address) = to_abi(key.address);
        Self {
            family,
            protocol: key.protocol.number(),
            port: key.port,
            reserved: 0,
            address,
        }
    }
}

impl TryFrom<&ServiceId> for ServiceKey {
    type Error = Error;

    fn try_from(id: &ServiceId) -> Result<Self, Error> {
        Ok(Self {
            protocol: Protocol::from_number(id.protocol)
                .ok_or_else(|| Error::garbled("protocol", id.protocol.into()))?,
            address: from_abi(id.family, id.address)?,
            port: id.port,
        })
    }
}

impl From<NodeAddr> for Endpoint {
    fn from(node: NodeAddr) -> Self {
        NodePattern::from(node).into()
    }
}

impl From<NodePattern> for Endpoint {
    fn from(node: NodePattern) -> Self {
        let (family, address) = to_abi(node.address);
        Self {
            family,
            reserved0: 0,
            port: node.port.unwrap_or(0),
            reserved1: 0,
            address,
        }
    }
}

impl TryFrom<&Endpoint> for NodeAddr {
    type Error = Error;

    fn try_from(endpoint: &Endpoint) -> Result<Self, Error> {
        Ok(Self {
            address: from_abi(endpoint.family, endpoint.address)?,
            port: endpoint.port,
        })
    }
}

impl From<NodeAddr> for NodePattern {
    fn from(node: NodeAddr) -> Self {
        Self {
            address: node.address,
            port: Some(node.port),
        }
    }
}

impl NodePattern {
    /// How the port would be written, for where this is nowhere to be found and may have been meant
    /// as an address and a port; else nothing.
    pub(crate) fn if_port(&self) -> String {
        match check_plain(&self.to_string()) {
            Err(ParseError::Ambiguous { address, port, .. }) => {
                format!(" (a port is written so: [{address}]:{port})")
            }
            _ => String::new(),
        }
    }

    /// Whether this means the node.
    pub fn matches(&self, node: &NodeAddr) -> bool {
        self.address == node.address && self.port.is_none_or(|port| port == node.port)
    }
}

impl DeviceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in the form that crosses the kernel boundary.
    pub fn to_abi(&self) -> [u8; DEVICE_NAME_LEN] {
        let mut field = [0; DEVICE_NAME_LEN];
        // By construction the name is shorter than the field.
        field[..self.0.len()].copy_from_slice(self.0.as_bytes());
        field
    }

    /// The name in a field of the kernel's.
    ///
    /// # Errors
    ///
    /// [`Error::Garbled`] where it is empty.
    pub fn from_abi(field: &[u8]) -> Result<Self, Error> {
        text_field(field)
            .parse()
            .map_err(|_| Error::garbled("length of a device name", 0))
    }
}

/// The text of a NUL-padded field.
pub(crate) fn text_field(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0);
    let text = &field[..end.unwrap_or(field.len())];
    String::from_utf8_lossy(text).into_owned()
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!(
            "{}/{}",
            self.protocol,
            SocketAddr::new(self.address, self.port)
        );
        f.pad(&text)
    }
}

impl fmt::Display for NodeAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&SocketAddr::new(self.address, self.port).to_string())
    }
}

impl fmt::Display for NodePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.address) {
            (Some(port), address) => NodeAddr { address, port }.fmt(f),
            (None, address) => f.pad(&address.to_string()),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&Printable(&self.0).to_string())
    }
}

impl FromStr for ServiceKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let spec: ServiceSpec = text.parse()?;
        let port = spec.port.clone().number()?;
        Ok(spec.with_port(port))
    }
}

impl FromStr for NodeAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let NodeSpec { address, port } = text.parse()?;
        let port = port.ok_or_else(|| ParseError::no_port(text, text))?;
        Ok(Self {
            address,
            port: port.number()?,
        })
    }
}

impl FromStr for NodePattern {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let spec: NodeSpec = text.parse()?;
        let port = spec.port.clone().map(Port::number).transpose()?;
        Ok(spec.with_port(port))
    }
}

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(text: &str) -> Result<Self, DeviceNameError> {
        if text.is_empty() {
            Err(DeviceNameError::Empty)
        } else if text.len() >= DEVICE_NAME_LEN {
            Err(DeviceNameError::TooLong(text.to_owned()))
        } else if text.contains('\0') {
            Err(DeviceNameError::Nul(text.to_owned()))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl serde::Serialize for ServiceKey {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl serde::Serialize for NodeAddr {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl serde::Serialize for DeviceName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// Reads names from their text.
macro_rules! from_text {
    ($($name:ident: $expected:literal,)*) => {
        $(
            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                    struct Text;
                    impl serde::de::Visitor<'_> for Text {
                        type Value = $name;

                        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                            f.write_str($expected)
                        }

                        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                            text.parse().map_err(E::custom)
                        }
                    }
                    from.deserialize_str(Text)
                }
            }
        )*
    };
}

pub(crate) use from_text;

from_text! {
    ServiceKey: "a service such as \"tcp/10.0.0.100:80\"",
    NodeAddr: "an address and port such as \"10.1.0.2:80\"",
    DeviceName: "the name of a device such as \"eth0\"",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_boundary() {
        for text in ["tcp/10.0.0.100:80", "udp/[2001:db8::1]:53"] {
            let key: ServiceKey = text.parse().unwrap();
            assert_eq!(ServiceKey::try_from(&ServiceId::from(key)).unwrap(), key);
            assert_eq!(key.to_string(), text);
        }
        for text in ["10.1.0.2:80", "[2001:db8::2]:80", "[::ffff:10.1.0.2]:80"] {
            let node: NodeAddr = text.parse().unwrap();
            assert_eq!(NodeAddr::try_from(&Endpoint::from(node)).unwrap(), node);
            assert_eq!(node.to_string(), text);
        }
        let device: DeviceName = "abcdefghijklmno".parse().unwrap();
        assert_eq!(DeviceName::from_abi(&device.to_abi()).unwrap(), device);
    }

    #[test]
    fn device_names_fit_or_are_refused() {
        assert_eq!("".parse::<DeviceName>(), Err(DeviceNameError::Empty));
        let long = "abcdefghijklmnop";
        assert_eq!(
            long.parse::<DeviceName>().unwrap_err().to_string(),
            "\"abcdefghijklmnop\" is longer than 15 bytes, no device has such a name"
        );
        assert!("a\0b".parse::<DeviceName>().is_err());
    }

    #[test]
    fn a_pattern_without_port_means_every_port() {
        let node: NodeAddr = "10.1.0.2:80".parse().unwrap();
        let every = NodePattern {
            address: node.address,
            port: None,
        };
        assert!(every.matches(&node));
        assert_eq!(every.to_string(), "10.1.0.2");
        assert_eq!("10.1.0.2".parse(), Ok(every));
        let every: NodePattern = "[2001:db8::2]".parse().unwrap();
        assert_eq!(every.to_string(), "2001:db8::2");
        assert_eq!("2001:db8::2".parse(), Ok(every));
        assert!(every.matches(&"[2001:db8:0::2]:80".parse().unwrap()));
        assert!(!every.matches(&node));
        let every: NodePattern = "10.1.0.2".parse().unwrap();
        assert!(!NodePattern {
            port: Some(81),
            ..every
        }
        .matches(&node));
    }
}
