// SPDX-License-Identifier: GPL-2.0

//! What a draft becomes: everything that is to be published, allocated.

use crate::{
    draft::{Contents, Draft, Outcome},
    node::{AnyBackend, ServiceShared},
    snapshot::{ranks, Member, ServiceVersion, Snapshot},
};
use fep_core::wrr::Slot;
use fep_uapi::{Method, Reason};
use kernel::{alloc::flags::GFP_KERNEL_ACCOUNT, prelude::*, sync::Arc};

/// A configuration that only needs to be published.
pub(crate) struct Plan {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) next_serial: u32,
    /// Services that are new or change, with their schedulers' slots.
    pub(crate) edited: KVVec<(Arc<ServiceVersion>, KVVec<Slot>)>,
}

impl Draft {
    /// Builds everything that is to be published. Sleeps.
    pub(crate) fn plan(&mut self, generation: u64) -> Outcome<Plan> {
        let mut services = KVVec::with_capacity(self.live as usize, GFP_KERNEL_ACCOUNT)?;
        let mut edited = KVVec::new();
        let mut next_serial = self.next_serial;
        for draft in self.services.iter_mut().filter(|draft| !draft.removed) {
            let Some(contents) = draft.contents.take() else {
                if let Some(base) = &draft.base {
                    services.push(base.clone(), GFP_KERNEL_ACCOUNT)?;
                }
                continue;
            };
            let shared = match &draft.base {
                Some(base) => base.shared.clone(),
                None => {
                    let serial = next_serial;
                    next_serial = serial.checked_add(1).ok_or(Reason::TooManyServices)?;
                    ServiceShared::new(draft.id, serial)?
                }
            };
            for backend in contents.members.iter().filter(|member| member.ended) {
                if let Some(backend) = &backend.backend {
                    self.ended.push(backend.clone(), GFP_KERNEL_ACCOUNT)?;
                }
            }
            let version = version(shared, contents)?;
            let slots = version.slots()?;
            edited.push((version.clone(), slots), GFP_KERNEL_ACCOUNT)?;
            services.push(version, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(Plan {
            snapshot: Snapshot::new(generation, self.key, services)?,
            next_serial,
            edited,
        })
    }
}

/// Makes the new version of a service.
fn version(shared: Arc<ServiceShared>, contents: Contents) -> Outcome<Arc<ServiceVersion>> {
    let mut members = KVVec::with_capacity(contents.members.len(), GFP_KERNEL_ACCOUNT)?;
    for draft in contents.members.iter() {
        let backend = match &draft.backend {
            Some(backend) => backend.clone(),
            None => AnyBackend::new(
                shared.clone(),
                draft.node,
                draft.method,
                draft.serial,
                &contents.timeouts,
            )?,
        };
        // Publishing raises the generation of a node whose routes have to go.
        let now = backend.state().generation.get();
        let generation = now.wrapping_add(u32::from(draft.ended));
        let member = Member {
            backend,
            serial: draft.serial,
            weight: draft.weight,
            priority: draft.priority,
            load: draft.load,
            failed: draft.failed,
            generation,
        };
        members.push(member, GFP_KERNEL_ACCOUNT)?;
    }
    let (ranks, tier) = ranks(&members)?;
    let version = ServiceVersion {
        any_direct: contents.members.iter().any(|m| m.method == Method::Dr),
        shared,
        scheduler: contents.scheduler,
        timeouts: contents.timeouts,
        members,
        ranks,
        tier,
        next_serial: contents.next_serial,
    };
    Ok(Arc::new(version, GFP_KERNEL_ACCOUNT)?)
}
