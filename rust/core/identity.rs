// SPDX-License-Identifier: GPL-2.0

//! Services and back-end nodes, and how they cross the kernel boundary.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_uapi::{Endpoint, Reason, ServiceId, FAMILY_IPV4, FAMILY_IPV6};

use crate::address::Address;
use crate::packet::Protocol;

/// A service: what clients address (F1, F2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Service {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The virtual address (VIP).
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// A back-end node of a service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Node {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// A back-end node on one port or on all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodePattern {
    /// The address.
    pub address: IpAddr,
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

/// Checks the client of a route that was listed.
///
/// # Errors
///
/// The rule that it breaks. Clients have all kinds of addresses; those of no route are of no route.
pub fn client(endpoint: &Endpoint) -> Result<(IpAddr, u16), Reason> {
    let address = ip(endpoint.family, &endpoint.address)?;
    if endpoint.reserved0 != 0 || endpoint.reserved1 != 0 {
        return Err(Reason::ReservedNotZero);
    }
    Ok((address, endpoint.port))
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
        let address = ip(id.family, &id.address)?;
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
        let (family, address) = family_and_bytes(service.address);
        Self {
            family,
            protocol: service.protocol.number(),
            port: service.port,
            reserved: 0,
            address,
        }
    }
}

impl TryFrom<&Endpoint> for NodePattern {
    type Error = Reason;

    fn try_from(endpoint: &Endpoint) -> Result<Self, Reason> {
        let address = ip(endpoint.family, &endpoint.address)?;
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
        let (family, address) = family_and_bytes(node.address);
        Self {
            family,
            reserved0: 0,
            port: node.port,
            reserved1: 0,
            address,
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

/// An address as it crosses the boundary.
fn ip(family: u8, address: &[u8; 16]) -> Result<IpAddr, Reason> {
    match family {
        FAMILY_IPV4 => {
            let &[a, b, c, d, ref unused @ ..] = address;
            if unused.iter().any(|&byte| byte != 0) {
                return Err(Reason::ReservedNotZero);
            }
            Ok(Ipv4Addr::new(a, b, c, d).into())
        }
        FAMILY_IPV6 => Ok(Ipv6Addr::from(*address).into()),
        _ => Err(Reason::BadFamily),
    }
}

/// The same the other way round.
fn family_and_bytes(address: IpAddr) -> (u8, [u8; 16]) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            let bytes = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            (FAMILY_IPV4, bytes)
        }
        IpAddr::V6(address) => (FAMILY_IPV6, address.octets()),
    }
}

/// The address, if it can be that of one host.
fn unicast(address: IpAddr) -> Result<IpAddr, Reason> {
    let unicast = match address {
        IpAddr::V4(address) => address.is_unicast_host(),
        IpAddr::V6(address) => address.is_unicast_host(),
    };
    if unicast {
        Ok(address)
    } else {
        Err(Reason::AddressNotUnicast)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Service = Service {
        protocol: Protocol::Tcp,
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        port: 8080,
    };
    const NODE: Node = Node {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)),
        port: 80,
    };

    #[test]
    fn services_and_nodes_there_and_back() {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[192, 0, 2, 1]);
        let id = ServiceId {
            family: 4,
            protocol: 6,
            port: 8080,
            reserved: 0,
            address,
        };
        assert_eq!(ServiceId::from(SERVICE), id);
        assert_eq!(Service::try_from(&id), Ok(SERVICE));

        address[..4].copy_from_slice(&[10, 0, 0, 7]);
        let endpoint = Endpoint {
            family: 4,
            port: 80,
            address,
            ..Endpoint::default()
        };
        assert_eq!(Endpoint::from(NODE), endpoint);
        assert_eq!(Node::try_from(&endpoint), Ok(NODE));
    }

    #[test]
    fn ipv6_services_and_nodes_there_and_back() {
        let ip = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 0x678);
        let address = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 6, 0x78];
        let service = Service {
            address: ip.into(),
            ..SERVICE
        };
        let id = ServiceId {
            family: 6,
            protocol: 6,
            port: 8080,
            reserved: 0,
            address,
        };
        assert_eq!(ServiceId::from(service), id);
        assert_eq!(Service::try_from(&id), Ok(service));
        let node = Node {
            address: ip.into(),
            ..NODE
        };
        let endpoint = Endpoint {
            family: 6,
            port: 80,
            address,
            ..Endpoint::default()
        };
        assert_eq!(Endpoint::from(node), endpoint);
        assert_eq!(Node::try_from(&endpoint), Ok(node));
    }

    #[test]
    fn filters_match_what_they_name() {
        let (no_service, no_backend) = (ServiceId::default(), Endpoint::default());
        let (service, backend) = (ServiceId::from(SERVICE), Endpoint::from(NODE));
        let any_port = Endpoint { port: 0, ..backend };
        let other_service = Service {
            port: 8081,
            ..SERVICE
        };
        let other_port = Node { port: 81, ..NODE };
        let stranger = Node {
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 8)),
            ..NODE
        };
        for (service, backend, expected) in [
            (no_service, no_backend, [true, true, true, true]),
            (service, no_backend, [true, false, true, true]),
            (no_service, backend, [true, true, false, false]),
            (no_service, any_port, [true, true, true, false]),
            (service, backend, [true, false, false, false]),
            (service, any_port, [true, false, true, false]),
        ] {
            let filter = filter(&service, &backend).unwrap();
            let found = [
                (&SERVICE, &NODE),
                (&other_service, &NODE),
                (&SERVICE, &other_port),
                (&SERVICE, &stranger),
            ]
            .map(|(service, node)| filter.matches(service, node));
            assert_eq!(found, expected, "{filter:?}");
        }
    }

    #[test]
    fn filters_are_checked() {
        let (no_service, no_backend) = (ServiceId::default(), Endpoint::default());
        for (service, reason) in [
            (
                ServiceId {
                    port: 1,
                    ..no_service
                },
                Reason::ReservedNotZero,
            ),
            (
                ServiceId {
                    family: 6,
                    ..no_service
                },
                Reason::BadProtocol,
            ),
            (
                ServiceId {
                    port: 0,
                    ..ServiceId::from(SERVICE)
                },
                Reason::PortZero,
            ),
        ] {
            assert_eq!(filter(&service, &no_backend), Err(reason));
        }
        for (backend, reason) in [
            (
                Endpoint {
                    address: [1; 16],
                    ..no_backend
                },
                Reason::ReservedNotZero,
            ),
            (
                Endpoint {
                    family: 10,
                    ..no_backend
                },
                Reason::BadFamily,
            ),
        ] {
            assert_eq!(filter(&no_service, &backend), Err(reason));
        }
    }
}
