// SPDX-License-Identifier: GPL-2.0

//! `fepctl service`.

use fep_client::{Change, Error, Outcome, ServiceKey, Snapshot};

use super::{outcome, resolve};
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
