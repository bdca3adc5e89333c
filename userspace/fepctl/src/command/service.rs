// SPDX-License-Identifier: GPL-2.0

//! `fepctl service`. The verbs that are for fepd are in `assignment` as far as they show something.

use fep_client::{Change, Error, Outcome, ServiceKey, Snapshot};
use fep_operator::Request;

use super::{assignment, fepd, outcome, resolve};
use crate::cli::{Service, Settings};
use crate::failure::Failure;
use crate::Context;

pub(super) fn run(command: &Service, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let done = match command {
        Service::Add { service, settings } => {
            let service = resolve::service(context.ports(), service)?;
            let (scheduler, timeouts) = settings.or_default();
            let change = Change::ServiceAdd {
                service,
                scheduler,
                timeouts,
            };
            context.client()?.commit(vec![change], false, 0)?
        }
        Service::Set { service, settings } => {
            let service = resolve::service(context.ports(), service)?;
            if settings.is_empty() {
                return Err(Failure::bad_input(
                    "service set: nothing to set; give --scheduler or a --timeout-...",
                ));
            }
            set(service, settings, context)?
        }
        Service::Del { service } => {
            let service = resolve::service(context.ports(), service)?;
            context
                .client()?
                .commit(vec![Change::ServiceDel(service)], false, 0)?
        }
        Service::List { service } => return assignment::list(service.as_ref(), context),
        Service::Assign {
            service,
            node,
            port,
            weight,
            priority,
            method,
        } => {
            let service = resolve::service(context.ports(), service)?;
            let request = Request::Assign {
                service: service.to_string(),
                node: node.clone(),
                port: *port,
                weight: *weight,
                priority: *priority,
                method: method.to_string(),
            };
            return fepd::simply(&request, context);
        }
        Service::Unassign { service, node } => {
            let service = resolve::service(context.ports(), service)?;
            let request = Request::Unassign {
                service: service.to_string(),
                node: node.clone(),
            };
            return fepd::simply(&request, context);
        }
        Service::Weight {
            service,
            node,
            weight,
        } => {
            let service = resolve::service(context.ports(), service)?;
            let request = Request::Weight {
                service: service.to_string(),
                node: node.clone(),
                weight: *weight,
            };
            return fepd::simply(&request, context);
        }
    };
    outcome::print(&done, context)
}

/// Sets what is given and leaves the rest: the kernel sets all at once.
fn set(
    service: ServiceKey,
    settings: &Settings,
    context: &Context<'_, '_>,
) -> Result<Outcome, Failure> {
    let change = |snapshot: &Snapshot| {
        let state = snapshot
            .service(&service)
            .ok_or(Error::NoSuchService(service))?;
        let before = (state.scheduler, state.timeouts);
        let (scheduler, timeouts) = settings.over(before.0, before.1);
        if (scheduler, timeouts) == before {
            return Ok(Vec::new());
        }
        Ok(vec![Change::ServiceSet {
            service,
            scheduler,
            timeouts,
        }])
    };
    Ok(context.client()?.update::<Error>(false, change)?)
}
