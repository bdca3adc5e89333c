// SPDX-License-Identifier: GPL-2.0

//! From what was typed to what it means: names of ports, and ports left out.

use fep_client::{Filter, NodeAddr, NodePattern, NodeSpec, Protocol, ServiceKey, ServiceSpec};

use crate::failure::Failure;
use crate::services_file::PortNames;

/// The service that was typed.
pub(super) fn service(ports: PortNames<'_>, spec: &ServiceSpec) -> Result<ServiceKey, Failure> {
    Ok(spec.with_port(ports.number(&spec.port, spec.protocol)?))
}

/// The node of a service: on the service's port unless it has its own.
pub(super) fn node(
    ports: PortNames<'_>,
    spec: &NodeSpec,
    service: &ServiceKey,
) -> Result<NodeAddr, Failure> {
    let port = match &spec.port {
        Some(port) => ports.number(port, service.protocol)?,
        None => service.port,
    };
    Ok(NodeAddr {
        address: spec.address,
        port,
    })
}

/// The node on the port that was typed, on every port if there was none.
pub(super) fn pattern(
    ports: PortNames<'_>,
    spec: &NodeSpec,
    protocol: Option<Protocol>,
) -> Result<NodePattern, Failure> {
    let port = match (&spec.port, protocol) {
        (None, _) => None,
        (Some(port), Some(protocol)) => Some(ports.number(port, protocol)?),
        (Some(port), None) => Some(ports.number_of_any(port)?),
    };
    Ok(spec.with_port(port))
}

/// Which routes were meant.
pub(super) fn filter(ports: PortNames<'_>, typed: &crate::cli::Filter) -> Result<Filter, Failure> {
    let service_spec = typed.service.as_ref();
    let protocol = service_spec.map(|spec| spec.protocol);
    Ok(Filter {
        service: service_spec.map(|spec| service(ports, spec)).transpose()?,
        backend: typed
            .backend
            .as_ref()
            .map(|spec| pattern(ports, spec, protocol))
            .transpose()?,
    })
}
