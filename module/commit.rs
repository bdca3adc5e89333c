// SPDX-License-Identifier: GPL-2.0

//! Transactions: all operations of a commit or none.

use crate::{
    draft::{Draft, Plan, Refusal},
    state::{Config, NetState},
};
use fep_core::validate::{change, Change};
use fep_net::{
    netdev::{rtnl_lock, NetDevice, Rtnl},
    nf::IngressHook,
};
use fep_uapi::{Op, OpKind, Reason, DEVICES_MAX, DEVICE_NAME_LEN};
use kernel::{prelude::*, sync::Arc};

/// Ahead of other ingress hooks of the device, such as nftables' flowtables and filters (whose
/// priorities begin at -500).
const HOOK_PRIORITY: i32 = -1000;

type Hook = Pin<KBox<IngressHook<NetState>>>;

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
    /// The order matters: everything that can fail comes first. Then the new configuration is
    /// published and the last packet that saw the old one has gone; then nodes that failed lose
    /// their routes, so that no packet can make one behind the deletion's back (F6).
    pub(crate) fn commit(self: &Arc<Self>, ops: &[Op], dry_run: bool, expect: u64) -> Committed {
        let wants_devices = ops.iter().any(|op| {
            [OpKind::DeviceAttach, OpKind::DeviceDetach]
                .map(OpKind::code)
                .contains(&op.kind)
        });
        let rtnl = wants_devices.then(rtnl_lock);
        let mut config = self.config.lock();
        let generation = config.snapshot.generation;
        let refused = |at, reason| Committed {
            generation,
            routes_deleted: 0,
            refused: Some((at, reason)),
        };
        if expect != 0 && expect != generation {
            return refused(0, Reason::GenerationChanged);
        }
        if config.closed {
            return refused(0, Reason::NamespaceGone);
        }
        let mut transaction = match Transaction::new(&config, ops.len()) {
            Ok(transaction) => transaction,
            Err(Refusal(reason)) => return refused(0, reason),
        };
        for (at, op) in (0u32..).zip(ops) {
            let applied = change(op)
                .map_err(Refusal)
                .and_then(|change| transaction.apply(self, &config, rtnl.as_deref(), &change));
            if let Err(Refusal(reason)) = applied {
                return refused(at, reason);
            }
        }
        if dry_run {
            return Committed {
                generation,
                routes_deleted: 0,
                refused: None,
            };
        }
        // CAST: At most `OPS_MAX`.
        let last = (ops.len() as u32).saturating_sub(1);
        let next = generation.wrapping_add(1);
        match self.prepare(&mut config, &mut transaction, rtnl.as_deref(), next) {
            Ok((plan, hooks)) => Committed {
                generation: next,
                routes_deleted: self.publish(&mut config, transaction, plan, hooks),
                refused: None,
            },
            Err(Refusal(reason)) => refused(last, reason),
        }
    }

    /// Allocates and registers everything a transaction needs. What it leaves behind when it fails
    /// halfway is not visible: unused room in a list, buckets without routes.
    fn prepare(
        self: &Arc<Self>,
        config: &mut Config,
        transaction: &mut Transaction,
        rtnl: Option<&Rtnl>,
        generation: u64,
    ) -> Result<(Plan, KVec<Hook>), Refusal> {
        let plan = transaction.draft.plan(generation)?;
        if !plan.snapshot.services.is_empty() {
            self.start(config)?;
        }
        let mut hooks = KVec::new();
        if let Some(rtnl) = rtnl {
            let attach = transaction.devices.iter().filter(|device| device.attach);
            for device in attach {
                let dev = device.find(self, rtnl)?;
                let hook = IngressHook::register(&dev, self.clone(), HOOK_PRIORITY);
                hooks.push(KBox::pin_init(hook, GFP_KERNEL)?, GFP_KERNEL)?;
            }
        }
        config.hooks.reserve(hooks.len(), GFP_KERNEL)?;
        Ok((plan, hooks))
    }

    /// Makes a transaction real. Cannot fail. Returns how many routes were deleted.
    fn publish(
        &self,
        config: &mut Config,
        transaction: Transaction,
        plan: Plan,
        hooks: KVec<Hook>,
    ) -> u64 {
        let Transaction { draft, devices } = transaction;
        if let Some(limit) = draft.limit {
            self.routes.set_limit(limit);
        }
        config.next_serial = plan.next_serial;
        config.snapshot = plan.snapshot.clone();
        for service in plan.snapshot.services.iter() {
            for member in service.members.iter() {
                member.backend.draining.set(member.weight == 0);
            }
        }
        self.snapshot.replace(plan.snapshot);
        for (service, timeouts) in plan.timeouts {
            service.timeouts.replace(timeouts);
        }
        for hook in hooks {
            // There is room: it was reserved.
            let _ = config.hooks.push_within_capacity(hook);
        }
        config.hooks.retain(|hook| {
            !devices
                .iter()
                .any(|device| !device.attach && device.ifindex == hook.ifindex())
        });
        if draft.ended.is_empty() {
            return 0;
        }
        for backend in draft.ended.iter() {
            backend.end_routes();
        }
        let deleted = self.delete_routes(|route| !route.is_live());
        for backend in draft.retired.iter() {
            backend.service.retire(backend);
        }
        deleted
    }
}

/// A device that is attached or detached.
struct Device {
    attach: bool,
    name: [u8; DEVICE_NAME_LEN],
    ifindex: u32,
}

impl Device {
    fn find<'a>(&self, state: &NetState, rtnl: &'a Rtnl) -> Result<NetDevice<'a>, Refusal> {
        let name = CStr::from_bytes_until_nul(&self.name).map_err(|_| Reason::BadDeviceName)?;
        Ok(NetDevice::by_name(&state.net, name, rtnl).ok_or(Reason::NoSuchDevice)?)
    }
}

/// Operations that have been checked against the configuration.
struct Transaction {
    draft: Draft,
    /// At most one entry for each device: what the operations come to.
    devices: KVec<Device>,
}

impl Transaction {
    fn new(config: &Config, ops: usize) -> Result<Self, Refusal> {
        Ok(Self {
            draft: Draft::new(&config.snapshot, config.next_serial, ops)?,
            devices: KVec::new(),
        })
    }

    fn apply(
        &mut self,
        state: &NetState,
        config: &Config,
        rtnl: Option<&Rtnl>,
        change: &Change<'_>,
    ) -> Result<(), Refusal> {
        let (name, attach) = match *change {
            Change::DeviceAttach { name } => (name, true),
            Change::DeviceDetach { name } => (name, false),
            _ => return self.draft.apply(change),
        };
        // RTNL is held whenever an operation is about devices.
        let rtnl = rtnl.ok_or(Reason::UnknownOp)?;
        let mut device = Device {
            attach,
            name: [0; DEVICE_NAME_LEN],
            ifindex: 0,
        };
        for (to, from) in device.name.iter_mut().zip(name) {
            *to = *from;
        }
        let dev = device.find(state, rtnl)?;
        device.ifindex = dev.ifindex();
        let hooked = config.hooks.iter().any(|hook| hook.is_of(&dev));
        let earlier = self
            .devices
            .iter()
            .position(|other| other.ifindex == device.ifindex);
        let attached = earlier
            .and_then(|at| self.devices.get(at))
            .map_or(hooked, |earlier| earlier.attach);
        match (attach, attached) {
            (true, true) => return Err(Reason::DeviceAttached.into()),
            (false, false) => return Err(Reason::DeviceNotAttached.into()),
            _ => {}
        }
        if attach && dev.is_loopback() {
            return Err(Reason::DeviceUnsuitable.into());
        }
        if let Some(at) = earlier {
            // The two operations cancel each other.
            let _ = self.devices.remove(at);
            return Ok(());
        }
        let attaching = self.devices.iter().filter(|device| device.attach).count();
        if attach && config.hooks.len().saturating_add(attaching) >= DEVICES_MAX as usize {
            return Err(Reason::TooManyDevices.into());
        }
        self.devices.push(device, GFP_KERNEL)?;
        Ok(())
    }
}
