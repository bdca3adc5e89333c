// SPDX-License-Identifier: GPL-2.0

//! `fepctl backend`.

use fep_client::{Change, NodeAddr, NodePattern, NodeSpec, ServiceKey, ServiceSpec};

use super::{outcome, resolve};
use crate::cli::{Backend, Marked};
use crate::failure::Failure;
use crate::services_file::PortNames;
use crate::Context;

pub(super) fn run(command: &Backend, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let ports = context.ports();
    let change = match command {
        Backend::Add(typed) => {
            let (service, backend) = resolved(ports, &typed.service, &typed.backend)?;
            Change::BackendAdd {
                service,
                backend,
                weight: typed.weight,
                method: typed.method,
                was: None,
            }
        }
        Backend::Set { member, weight } => {
            let (service, backend) = resolved(ports, &member.service, &member.backend)?;
            Change::BackendSet {
                service,
                backend,
                weight: *weight,
                was: None,
            }
        }
        Backend::Del(member) => {
            let (service, backend) = resolved(ports, &member.service, &member.backend)?;
            Change::BackendDel { service, backend }
        }
        Backend::Fail(typed) => {
            let (service, backend) = marked(ports, typed)?;
            Change::BackendFail { service, backend }
        }
        Backend::Restore(typed) => {
            let (service, backend) = marked(ports, typed)?;
            Change::BackendRestore { service, backend }
        }
        Backend::Priority { member, priority } => {
            let (service, backend) = resolved(ports, &member.service, &member.backend)?;
            Change::BackendPriority {
                service,
                backend,
                priority: *priority,
            }
        }
        Backend::Load {
            marked: typed,
            load,
        } => {
            let (service, backend) = marked(ports, typed)?;
            Change::BackendLoad {
                service,
                backend,
                load: *load,
            }
        }
    };
    let done = context.client()?.commit(vec![change], false, 0)?;
    outcome::print(&done, context)
}

fn resolved(
    ports: PortNames<'_>,
    service: &ServiceSpec,
    backend: &NodeSpec,
) -> Result<(ServiceKey, NodeAddr), Failure> {
    let service = resolve::service(ports, service)?;
    let backend = resolve::node(ports, backend, &service)?;
    Ok((service, backend))
}

fn marked(
    ports: PortNames<'_>,
    typed: &Marked,
) -> Result<(Option<ServiceKey>, NodePattern), Failure> {
    let service = typed.service.as_ref();
    let protocol = service.map(|spec| spec.protocol);
    let service = service
        .map(|spec| resolve::service(ports, spec))
        .transpose()?;
    let backend = resolve::pattern(ports, &typed.backend, protocol)?;
    Ok((service, backend))
}
