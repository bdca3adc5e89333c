// SPDX-License-Identifier: GPL-2.0

//! Services and back-end nodes, and how they cross the kernel boundary.

use fep_uapi::{Endpoint, Reason, ServiceId, FAMILY_IPV4, FAMILY_IPV6};

use crate::address::is_unicast_host;
use crate::packet::Protocol;

/// A service: what clients address (F1, F2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Service {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The virtual address (VIP): `u32::from_be_bytes` of its bytes.
    pub address: u32,
    /// The port.
    pub port: u16,
}

/// A back-end node of a service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Node {
    /// The address: `u32::from_be_bytes` of its bytes.
    pub address: u32,
    /// The port.
    pub port: u16,
}

/// A back-end node on one port or on all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodePattern {
    /// The address: `u32::from_be_bytes` of its bytes.
    pub address: u32,
    /// The port; `None` for every port.
    pub port: Option<u16>,
}

/// Which routes, or back-end nodes, a caller means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filter {
    /// Only those of this service; `None` for any.
    pub service: Option<Service>,
    /// Only those of this node; `None` for any.
    pub backend: Option<NodePattern>,
}

/// Checks the service and the node that a dump or a flush is about; family 0 means any.
///
/// # Errors
///
/// The rule that they break.
pub fn filter(service: &ServiceId, backend: &Endpoint) -> Result<Filter, Reason> {
    Ok(Filter {
        service: optional_service(service)?,
        backend: optional_pattern(backend)?,
    })
}

impl Filter {
    /// Whether a route, or back-end node, of this service and node is meant.
    #[inline]
    pub fn matches(&self, service: &Service, node: &Node) -> bool {
        self.service.is_none_or(|wanted| wanted == *service)
            && self.backend.is_none_or(|wanted| wanted.matches(node))
    }
}

impl NodePattern {
    /// Whether this means the node.
    #[inline]
    pub fn matches(&self, node: &Node) -> bool {
        self.address == node.address && self.port.is_none_or(|port| port == node.port)
    }
}

impl TryFrom<&ServiceId> for Service {
    type Error = Reason;

    fn try_from(id: &ServiceId) -> Result<Self, Reason> {
        let address = ipv4(id.family, &id.address)?;
        if id.reserved != 0 {
            return Err(Reason::ReservedNotZero);
        }
        let protocol = Protocol::from_number(id.protocol).ok_or(Reason::BadProtocol)?;
        if id.port == 0 {
            return Err(Reason::PortZero);
        }
        Ok(Self {
            protocol,
            address: unicast(address)?,
            port: id.port,
        })
    }
}

impl From<Service> for ServiceId {
    fn from(service: Service) -> Self {
        Self {
            family: FAMILY_IPV4,
            protocol: service.protocol.number(),
            port: service.port,
            reserved: 0,
            address: address_bytes(service.address),
        }
    }
}

impl TryFrom<&Endpoint> for NodePattern {
    type Error = Reason;

    fn try_from(endpoint: &Endpoint) -> Result<Self, Reason> {
        let address = ipv4(endpoint.family, &endpoint.address)?;
        if endpoint.reserved0 != 0 || endpoint.reserved1 != 0 {
            return Err(Reason::ReservedNotZero);
        }
        Ok(Self {
            address: unicast(address)?,
            port: (endpoint.port != 0).then_some(endpoint.port),
        })
    }
}

impl TryFrom<&Endpoint> for Node {
    type Error = Reason;

    fn try_from(endpoint: &Endpoint) -> Result<Self, Reason> {
        let NodePattern { address, port } = NodePattern::try_from(endpoint)?;
        let port = port.ok_or(Reason::PortZero)?;
        Ok(Self { address, port })
    }
}

impl From<Node> for Endpoint {
    fn from(node: Node) -> Self {
        Self {
            family: FAMILY_IPV4,
            reserved0: 0,
            port: node.port,
            reserved1: 0,
            address: address_bytes(node.address),
        }
    }
}

/// The service, or `None` for family 0, with which everything else is zero.
pub(crate) fn optional_service(id: &ServiceId) -> Result<Option<Service>, Reason> {
    if !id.is_none() {
        Service::try_from(id).map(Some)
    } else if *id == ServiceId::default() {
        Ok(None)
    } else {
        Err(Reason::ReservedNotZero)
    }
}

/// The node, or `None` for family 0, with which everything else is zero.
fn optional_pattern(endpoint: &Endpoint) -> Result<Option<NodePattern>, Reason> {
    if !endpoint.is_none() {
        NodePattern::try_from(endpoint).map(Some)
    } else if *endpoint == Endpoint::default() {
        Ok(None)
    } else {
        Err(Reason::ReservedNotZero)
    }
}

/// The address of an IPv4 endpoint.
fn ipv4(family: u8, address: &[u8; 16]) -> Result<u32, Reason> {
    match family {
        FAMILY_IPV4 => {}
        FAMILY_IPV6 => return Err(Reason::FamilyUnsupported),
        _ => return Err(Reason::BadFamily),
    }
    let &[a, b, c, d, ref unused @ ..] = address;
    if unused.iter().any(|&byte| byte != 0) {
        return Err(Reason::ReservedNotZero);
    }
    Ok(u32::from_be_bytes([a, b, c, d]))
}

/// The sixteen bytes of an IPv4 address.
fn address_bytes(address: u32) -> [u8; 16] {
    let [a, b, c, d] = address.to_be_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// The address, if it can be that of one host.
fn unicast(address: u32) -> Result<u32, Reason> {
    if is_unicast_host(address) {
        Ok(address)
    } else {
        Err(Reason::AddressNotUnicast)
    }
}
