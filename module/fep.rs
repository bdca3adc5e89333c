// SPDX-License-Identifier: GPL-2.0

//! fep: a packet filter that makes a cluster of servers look like one server.
//!
//! This crate wires: `fep_core` decides, `fep_net` touches the kernel, `fep_uapi` is what crosses to
//! userspace. It has no `unsafe`. `docs/datapath.md` has contexts, lock order and lifetimes.

#![forbid(unsafe_code)]

mod allocate;
mod commit;
mod compat;
mod control;
mod draft;
mod draft_nodes;
mod dump;
mod end;
mod events;
mod exit;
mod forward;
mod hook;
mod icmp;
mod index;
mod node;
mod plan;
mod route;
#[cfg(fep_selftest)]
mod selftest;
mod snapshot;
mod state;
mod syns;

use fep_net::{chardev::ControlDevice, netdev::DeviceNotifier, netns::PernetRegistration};
use kernel::prelude::*;

module! {
    type: Fep,
    name: "fep",
    authors: ["The fep developers"],
    description: "Front-end packet filter: makes a cluster of servers look like one server",
    license: "GPL v2",
    params: {
        routes_limit: u32 {
            default: 1_048_576,
            description: "Limit of allocated routes of a new network namespace, 1 to 134217728",
        },
    },
}

/// Mode of `/dev/fep`: every command checks its caller's capability itself.
const DEVICE_MODE: u16 = 0o666;

/// The loaded module.
///
/// Fields are dropped in this order: no more callers, no more events, no more namespaces; then
/// [`Barrier`] waits for the callbacks that freed routes left behind, and their memory goes last.
#[pin_data]
struct Fep {
    #[pin]
    device: ControlDevice<control::Control>,
    #[pin]
    events: DeviceNotifier<state::Events>,
    #[pin]
    namespaces: PernetRegistration<state::NetState>,
    barrier: Barrier,
    slabs: route::Slabs,
}

/// Waits for RCU callbacks when it is dropped: their code is this module's.
struct Barrier {
    /// What the self-test build adds. Goes after the callbacks, and before the module's code.
    #[cfg(fep_selftest)]
    _selftest: selftest::Registered,
}

impl Barrier {
    #[cfg(not(fep_selftest))]
    fn create(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self {})
    }

    #[cfg(fep_selftest)]
    fn create(module: &'static ThisModule) -> Result<Self> {
        let _selftest = selftest::Registered::create(module)?;
        Ok(Self { _selftest })
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        fep_net::rcu::barrier();
    }
}

impl kernel::InPlaceModule for Fep {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        state::check_parameters();
        try_pin_init!(Self {
            // A namespace's data must be there before anybody asks for them, so the order of
            // initialisation is the reverse of that of dropping.
            slabs: route::Slabs::create()?,
            barrier: Barrier::create(module)?,
            namespaces <- PernetRegistration::register(),
            events <- DeviceNotifier::register(),
            device <- ControlDevice::register(c"fep", DEVICE_MODE, module),
        }? Error)
    }
}
