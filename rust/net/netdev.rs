// SPDX-License-Identifier: GPL-2.0

//! Network devices, RTNL, and the event of a device going away.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use crate::{bindings, netns::Net};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::{c_int, c_ulong, c_void},
    prelude::*,
    types::{NotThreadSafe, Opaque},
};

/// Evidence that RTNL, the lock of network configuration, is held.
pub struct Rtnl(NotThreadSafe);

/// Holds RTNL.
pub struct RtnlGuard(Rtnl);

/// Takes RTNL. Sleeps.
pub fn rtnl_lock() -> RtnlGuard {
    // SAFETY: An FFI call with no requirements but that sleeping is allowed.
    unsafe { bindings::rtnl_lock() };
    RtnlGuard(Rtnl(NotThreadSafe))
}

impl Deref for RtnlGuard {
    type Target = Rtnl;

    fn deref(&self) -> &Rtnl {
        &self.0
    }
}

impl Drop for RtnlGuard {
    fn drop(&mut self) {
        // SAFETY: The guard's existence means that RTNL is held.
        unsafe { bindings::rtnl_unlock() };
    }
}

/// A network device, for as long as RTNL keeps it from going away.
///
/// # Invariants
///
/// `dev` is a valid, registered device, and RTNL is held for `'a`.
pub struct NetDevice<'a> {
    dev: NonNull<bindings::net_device>,
    _rtnl: PhantomData<&'a Rtnl>,
}

impl<'a> NetDevice<'a> {
    /// # Safety
    ///
    /// `dev` must be valid while RTNL is held, which must be so for `'a`.
    pub(crate) unsafe fn from_raw(dev: NonNull<bindings::net_device>) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            dev,
            _rtnl: PhantomData,
        }
    }

    /// The device of that name in the namespace.
    pub fn by_name(net: &Net, name: &CStr, _rtnl: &'a Rtnl) -> Option<Self> {
        // SAFETY: The namespace is valid, the name NUL-terminated, and RTNL held.
        let dev = unsafe { bindings::__dev_get_by_name(net.as_ptr(), name.as_char_ptr()) };
        // INVARIANT: The device stays registered while RTNL is held.
        NonNull::new(dev).map(|dev| Self {
            dev,
            _rtnl: PhantomData,
        })
    }

    /// Interface index.
    pub fn ifindex(&self) -> u32 {
        // SAFETY: By the type invariant the device is valid.
        let ifindex = unsafe { bindings::fep_helper_netdev_ifindex(self.dev.as_ptr()) };
        // CAST: Interface indices are positive.
        ifindex as u32
    }

    /// Name. RTNL keeps it from changing.
    pub fn name(&self) -> &CStr {
        // SAFETY: By the type invariant the device is valid; its name is a NUL-terminated string
        // inside of it, and does not change while RTNL is held.
        unsafe { CStr::from_char_ptr(bindings::fep_helper_netdev_name(self.dev.as_ptr())) }
    }

    /// Whether this is a loopback device.
    pub fn is_loopback(&self) -> bool {
        // SAFETY: By the type invariant the device is valid.
        unsafe { bindings::fep_helper_netif_is_loopback(self.dev.as_ptr()) }
    }

    /// Whether this is a port of a VRF, whose packets are routed by the VRF's table.
    pub fn is_vrf_port(&self) -> bool {
        // SAFETY: By the type invariant the device is valid.
        unsafe { bindings::fep_helper_netif_is_l3_slave(self.dev.as_ptr()) }
    }

    /// The device's namespace.
    pub fn net(&self) -> &Net {
        // SAFETY: A registered device's namespace is alive.
        unsafe { Net::from_raw(self.net_ptr().as_ptr()) }
    }

    pub(crate) fn net_ptr(&self) -> NonNull<bindings::net> {
        // SAFETY: By the type invariant the device is valid.
        let net = unsafe { bindings::fep_helper_dev_net(self.dev.as_ptr()) };
        // SAFETY: A device always has a namespace.
        unsafe { NonNull::new_unchecked(net) }
    }

    pub(crate) fn as_nonnull(&self) -> NonNull<bindings::net_device> {
        self.dev
    }
}

/// Hears of devices.
pub trait DeviceEvents: 'static {
    /// `dev` is being unregistered, or leaves its namespace: let go of it. Process context, RTNL
    /// held; may sleep.
    fn unregistering(dev: &NetDevice<'_>);
}

/// A registered listener to device events of all namespaces.
///
/// # Invariants
///
/// `block` is registered with `register_netdevice_notifier()`.
#[pin_data(PinnedDrop)]
pub struct DeviceNotifier<T: DeviceEvents> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    _events: PhantomData<T>,
}

// SAFETY: Registration is not tied to a thread.
unsafe impl<T: DeviceEvents> Send for DeviceNotifier<T> {}
// SAFETY: Shared references give access to nothing.
unsafe impl<T: DeviceEvents> Sync for DeviceNotifier<T> {}

impl<T: DeviceEvents> DeviceNotifier<T> {
    /// Registers the listener. Sleeps.
    pub fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: The block is registered when this succeeds.
            block <- Opaque::try_ffi_init(|slot: *mut bindings::notifier_block| {
                let block = bindings::notifier_block {
                    notifier_call: Some(Self::notify),
                    ..Default::default()
                };
                // SAFETY: The slot is valid for writes.
                unsafe { slot.write(block) };
                // SAFETY: The block is pinned and stays until `drop()` has unregistered it.
                to_result(unsafe { bindings::register_netdevice_notifier(slot) })
            }),
            _events: PhantomData,
        }? Error)
    }

    /// # Safety
    ///
    /// To be called by the netdevice notifier chain only.
    unsafe extern "C" fn notify(
        _block: *mut bindings::notifier_block,
        event: c_ulong,
        info: *mut c_void,
    ) -> c_int {
        if event == bindings::EVENT_UNREGISTER {
            // SAFETY: `info` is what the chain passes: a `struct netdev_notifier_info`.
            let dev = unsafe { bindings::fep_helper_notifier_info_dev(info) };
            if let Some(dev) = NonNull::new(dev) {
                // SAFETY: The chain is called with RTNL held and a valid device.
                T::unregistering(&unsafe { NetDevice::from_raw(dev) });
            }
        }
        // `NOTIFY_DONE`
        0
    }
}

#[pinned_drop]
impl<T: DeviceEvents> PinnedDrop for DeviceNotifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the block is registered. This also replays the
        // unregistering of every device to it.
        unsafe { bindings::unregister_netdevice_notifier(self.block.get()) };
    }
}
