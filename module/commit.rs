// SPDX-License-Identifier: GPL-2.0

//! Transactions: all operations of a commit or none.

use crate::{
    draft::{Draft, Refusal},
    plan::Plan,
    state::{default_limit, Config, Hook, NetState},
};
use fep_core::validate::{change, Change};
use fep_net::{
    netdev::{rtnl_lock, NetDevice, Rtnl},
    netns::{current_is_host_admin, Net},
    nf::IngressHook,
    time::{give_way, killed},
};
use fep_uapi::{Op, Reason, DEVICES_MAX, DEVICE_NAME_LEN};
use kernel::{prelude::*, sync::Arc};

/// Ahead of other ingress hooks of the device, such as nftables' flowtables and filters (whose
/// priorities begin at -500).
const HOOK_PRIORITY: i32 = -1000;

/// What became of a commit.
pub(crate) struct Committed {
    pub(crate) generation: u64,
    pub(crate) routes_deleted: u64,
    /// The operation that failed, and why.
    pub(crate) refused: Option<(u32, Reason)>,
}

impl NetState {
    /// Applies operations (F4, F11). Process context, sleeps.
    ///
    /// The order matters: everything that can fail comes first. Then nodes that failed end their
    /// routes, the new configuration is published, and the last packet that saw the old one has gone;
    /// then the dead routes are taken out, so that none can appear behind the deletion's back (F6).
    pub(crate) fn commit(
        self: &Arc<Self>,
        net: &Net,
        ops: &[Op],
        dry_run: bool,
        expect: u64,
    ) -> Committed {
        let mut config = self.config.lock();
        let result = self.commit_locked(net, &mut config, ops, dry_run, expect);
        if result.is_ok() && !dry_run {
            self.tell_changed(config.snapshot.generation);
        }
        Committed {
            generation: config.snapshot.generation,
            routes_deleted: result.as_ref().map_or(0, |deleted| *deleted),
            refused: result.err().map(|(at, Refusal(reason))| (at, reason)),
        }
    }

    fn commit_locked(
        self: &Arc<Self>,
        net: &Net,
        config: &mut Config,
        ops: &[Op],
        dry_run: bool,
        expect: u64,
    ) -> Result<u64, (u32, Refusal)> {
        let generation = config.snapshot.generation;
        let whole = |refusal| (0, refusal);
        if expect != 0 && expect != generation {
            return Err(whole(Reason::GenerationChanged.into()));
        }
        if config.closed {
            return Err(whole(Reason::NamespaceGone.into()));
        }
        let mut draft =
            Draft::new(&config.snapshot, config.next_serial, ops.len()).map_err(whole)?;
        let mut devices = Devices::new();
        for (at, op) in (0u32..).zip(ops) {
            if killed() {
                return Err((at, Reason::Interrupted.into()));
            }
            give_way();
            let of_op = |refusal| (at, refusal);
            let change = change(op).map_err(|reason| of_op(reason.into()))?;
            check_limit(&change).map_err(of_op)?;
            draft.apply(&change).map_err(of_op)?;
            devices.add(at, &change).map_err(of_op)?;
        }
        if dry_run {
            let rtnl = rtnl_lock();
            return devices.resolve(net, &self.hooks.lock(), &rtnl).map(|_| 0);
        }
        let plan = draft.plan(generation.wrapping_add(1)).map_err(whole)?;
        if !plan.snapshot.services.is_empty() {
            let started = self.start(config);
            started.map_err(|error| whole(error.into()))?;
        }
        self.change_devices(net, devices)?;
        Ok(self.publish(config, draft, plan))
    }

    /// Attaches and detaches devices: all or none. RTNL keeps them in place meanwhile.
    fn change_devices(self: &Arc<Self>, net: &Net, devices: Devices) -> Result<(), (u32, Refusal)> {
        if devices.is_empty() {
            return Ok(());
        }
        let rtnl = rtnl_lock();
        let mut hooks = self.hooks.lock();
        let (attach, detach) = devices.resolve(net, &hooks, &rtnl)?;
        let mut new = KVec::new();
        for (at, dev) in attach.iter() {
            let mut register = || -> Result<(), Refusal> {
                hooks.reserve(attach.len(), GFP_KERNEL)?;
                new.reserve(1, GFP_KERNEL)?;
                let hook = IngressHook::register(dev, self.clone(), HOOK_PRIORITY);
                new.push(KBox::pin_init(hook, GFP_KERNEL)?, GFP_KERNEL)?;
                Ok(())
            };
            register().map_err(|refusal| (*at, refusal))?;
        }
        for hook in new {
            // There is room: it was reserved.
            let _ = hooks.push_within_capacity(hook);
        }
        hooks.retain(|hook| !detach.contains(&hook.ifindex()));
        Ok(())
    }

    /// Makes a configuration real. Cannot fail. Returns how many routes were deleted.
    fn publish(&self, config: &mut Config, draft: Draft, plan: Plan) -> u64 {
        if let Some(limit) = draft.limit {
            self.limit.set(limit);
        }
        config.next_serial = plan.next_serial;
        config.snapshot = plan.snapshot.clone();
        for (service, slots) in plan.edited {
            drop(service.shared.reschedule(slots));
            for member in service.members.iter() {
                member
                    .backend
                    .state()
                    .configure(member.weight, &service.timeouts);
                if member.weight != 0 {
                    // Should it drain again before anybody looks, that is another time.
                    member.backend.info().told_drained.set(false);
                }
            }
        }
        // The new snapshot has the raised generations: a route that a packet still makes from the old
        // one is dead at birth.
        // From then on a packet or the sweep may take a dead route out as well as we: count them all.
        let dead = || {
            let counts = draft.ended.iter().map(|backend| backend.info().dead.get());
            counts.fold(0i32, i32::wrapping_add)
        };
        let before = dead();
        for backend in draft.ended.iter() {
            backend.state().end_routes();
        }
        self.snapshot.replace(plan.snapshot);
        if draft.ended.is_empty() {
            return 0;
        }
        for backend in draft.ended.iter() {
            self.delete_routes_of(backend, true);
        }
        let deleted = u64::from(dead().wrapping_sub(before).unsigned_abs());
        for backend in draft.retired.iter() {
            backend.info().service.retire(backend);
        }
        deleted
    }
}

/// A limit above what the host's administrator chose for the module is for them to set.
fn check_limit(change: &Change<'_>) -> Result<(), Refusal> {
    match *change {
        Change::LimitSet { limit } if limit > default_limit() && !current_is_host_admin() => {
            Err(Reason::LimitNotPermitted.into())
        }
        _ => Ok(()),
    }
}

/// A device as an operation names it.
struct NamedDevice {
    /// The operation.
    at: u32,
    attach: bool,
    name: [u8; DEVICE_NAME_LEN],
}

/// The operations of a transaction that are about devices.
struct Devices(KVec<NamedDevice>);

/// Devices to attach, with the operations that say so, and interface indices of those to detach.
type Resolved<'a> = (KVec<(u32, NetDevice<'a>)>, KVec<u32>);

impl Devices {
    fn new() -> Self {
        Self(KVec::new())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, at: u32, change: &Change<'_>) -> Result<(), Refusal> {
        let (from, attach) = match *change {
            Change::DeviceAttach { name } => (name, true),
            Change::DeviceDetach { name } => (name, false),
            _ => return Ok(()),
        };
        let mut name = [0; DEVICE_NAME_LEN];
        for (to, from) in name.iter_mut().zip(from) {
            *to = *from;
        }
        Ok(self.0.push(NamedDevice { at, attach, name }, GFP_KERNEL)?)
    }

    /// Finds the devices and checks the operations, in their order, against `hooks`.
    fn resolve<'a>(
        &self,
        net: &Net,
        hooks: &[Hook],
        rtnl: &'a Rtnl,
    ) -> Result<Resolved<'a>, (u32, Refusal)> {
        let mut attach: KVec<(u32, NetDevice<'a>)> = KVec::new();
        let mut detach: KVec<u32> = KVec::new();
        for named in self.0.iter() {
            let mut resolve = || -> Result<(), Refusal> {
                let name =
                    CStr::from_bytes_until_nul(&named.name).map_err(|_| Reason::BadDeviceName)?;
                let dev = NetDevice::by_name(net, name, rtnl).ok_or(Reason::NoSuchDevice)?;
                let ifindex = dev.ifindex();
                let hooked = hooks.iter().any(|hook| hook.is_of(&dev));
                let added = attach
                    .iter()
                    .position(|(_, other)| other.ifindex() == ifindex);
                let removed = detach.iter().position(|other| *other == ifindex);
                let attached = added.is_some() || (hooked && removed.is_none());
                match (named.attach, attached) {
                    (true, true) => return Err(Reason::DeviceAttached.into()),
                    (false, false) => return Err(Reason::DeviceNotAttached.into()),
                    _ => {}
                }
                // An operation that undoes an earlier one cancels it.
                match (named.attach, added, removed) {
                    (true, _, Some(at)) => drop(detach.remove(at)),
                    (false, Some(at), _) => drop(attach.remove(at)),
                    (false, None, _) => detach.push(ifindex, GFP_KERNEL)?,
                    (true, _, None) => {
                        if dev.is_loopback() || dev.is_vrf_port() {
                            return Err(Reason::DeviceUnsuitable.into());
                        }
                        let count = hooks.len().saturating_add(attach.len());
                        if count >= DEVICES_MAX as usize {
                            return Err(Reason::TooManyDevices.into());
                        }
                        attach.push((named.at, dev), GFP_KERNEL)?;
                    }
                }
                Ok(())
            };
            resolve().map_err(|refusal| (named.at, refusal))?;
        }
        Ok((attach, detach))
    }
}
