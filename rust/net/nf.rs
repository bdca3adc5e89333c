// SPDX-License-Identifier: GPL-2.0

//! Netfilter's ingress hook of a device.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use crate::{
    bindings,
    netdev::{NetDevice, Rtnl},
    netns::Net,
    rx::RxContext,
    skb::{RxSkb, Verdict},
};
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    ffi::{c_uint, c_void},
    prelude::*,
    sync::Arc,
    types::Opaque,
};

/// Receives the packets of hooked devices.
pub trait Ingress: Send + Sync + 'static {
    /// Called for every packet between the driver and the protocols. Must not sleep.
    fn receive<'a>(&self, cx: &'a RxContext<'_>, skb: RxSkb<'a>) -> Verdict<'a>;
}

/// A registered ingress hook.
///
/// # Invariants
///
/// `ops` is registered in the namespace `net`, with `dev` as its device and `receiver` as its
/// private data. The hook owns a reference to `dev`.
#[pin_data(PinnedDrop)]
pub struct IngressHook<T: Ingress> {
    #[pin]
    ops: Opaque<bindings::nf_hook_ops>,
    net: NonNull<bindings::net>,
    dev: NonNull<bindings::net_device>,
    ifindex: u32,
    receiver: Arc<T>,
}

// SAFETY: Registration is not tied to a thread; the device is only touched with proof of RTNL.
unsafe impl<T: Ingress> Send for IngressHook<T> {}
// SAFETY: As above: shared references give access to nothing without RTNL.
unsafe impl<T: Ingress> Sync for IngressHook<T> {}

impl<T: Ingress> IngressHook<T> {
    /// Hooks `dev`: from now on `receiver` gets its packets. Sleeps.
    ///
    /// The hook holds a reference to the device, so the device cannot go before the hook. Whoever owns
    /// it drops it when [`DeviceEvents::unregistering`](crate::netdev::DeviceEvents::unregistering)
    /// names the device; taking `&NetDevice`, which needs RTNL, means that the event is still to come.
    /// Large receive offload is turned off: what it made could not be forwarded.
    pub fn register<'a>(
        dev: &'a NetDevice<'a>,
        receiver: Arc<T>,
        priority: i32,
    ) -> impl PinInit<Self, Error> + use<'a, T> {
        let net = dev.net_ptr();
        let ifindex = dev.ifindex();
        let dev = dev.as_nonnull();
        let private = Arc::as_ptr(&receiver).cast_mut().cast::<c_void>();
        try_pin_init!(Self {
            // INVARIANT: The hook is registered when this succeeds.
            ops <- Opaque::try_ffi_init(move |slot: *mut bindings::nf_hook_ops| {
                let ops = bindings::nf_hook_ops {
                    hook: Some(Self::hook),
                    dev: dev.as_ptr(),
                    priv_: private,
                    // CAST: The protocol family is 5.
                    pf: bindings::PF_NETDEV as u8,
                    hooknum: bindings::NETDEV_INGRESS,
                    priority,
                    ..Default::default()
                };
                // SAFETY: The slot is valid for writes.
                unsafe { slot.write(ops) };
                // SAFETY: The device is valid, and RTNL held: the caller's `NetDevice` lives.
                unsafe { bindings::dev_disable_lro(dev.as_ptr()) };
                // SAFETY: `net` and `dev` are valid, as above. `ops` is pinned and stays until
                // `drop()` has unregistered it, and `receiver` outlives that.
                to_result(unsafe { bindings::nf_register_net_hook(net.as_ptr(), slot) })?;
                // SAFETY: The device is valid, as above.
                unsafe { bindings::fep_helper_dev_hold(dev.as_ptr()) };
                Ok::<(), Error>(())
            }),
            net: net,
            dev: dev,
            ifindex: ifindex,
            receiver: receiver,
        }? Error)
    }

    /// The hooked device.
    pub fn device<'a>(&self, _rtnl: &'a Rtnl) -> NetDevice<'a> {
        // SAFETY: By the type invariant the device is not freed while the hook exists, and RTNL is
        // held for `'a`.
        unsafe { NetDevice::from_raw(self.dev) }
    }

    /// Interface index of the hooked device.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Whether this hooks `dev`.
    pub fn is_of(&self, dev: &NetDevice<'_>) -> bool {
        self.dev == dev.as_nonnull()
    }

    /// # Safety
    ///
    /// To be called by netfilter only, for a hook that `register()` made.
    unsafe extern "C" fn hook(
        private: *mut c_void,
        skb: *mut bindings::sk_buff,
        state: *const bindings::nf_hook_state,
    ) -> c_uint {
        // SAFETY: Netfilter passes a valid packet.
        let skb = unsafe { NonNull::new_unchecked(skb) };
        // SAFETY: `private` is the `receiver` of a registered hook; `drop()` waits for packets in
        // flight before it lets go of it.
        let receiver = unsafe { &*private.cast::<T>() };
        // SAFETY: Netfilter passes a valid state; the namespace of an arriving packet is alive.
        let net = unsafe { Net::from_raw((*state).net) };
        // SAFETY: Netfilter passes a valid packet. Bottom halves are off, so the CPU stays.
        let arrival = unsafe { bindings::fep_helper_arrival(skb.as_ptr()) };
        // SAFETY: The ingress hook runs in `__netif_receive_skb_core()`: bottom halves are off and
        // the RCU read side is locked until it returns.
        let cx = unsafe { RxContext::new(net, arrival.cpu_offset as usize) };
        // SAFETY: Netfilter gives the hook its packet; what is not given back by `ACCEPT` is stolen.
        let packet = unsafe { RxSkb::from_raw(skb, arrival.kind as u32, &cx) };
        let verdict = receiver.receive(&cx, packet);
        if let Verdict::Pass(skb) = verdict {
            let _ = skb.into_raw();
            bindings::ACCEPT
        } else {
            bindings::STOLEN
        }
    }
}

#[pinned_drop]
impl<T: Ingress> PinnedDrop for IngressHook<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the hook is registered in `net`, which is alive: a namespace
        // outlives its devices, and the device is referenced.
        unsafe { bindings::nf_unregister_net_hook(self.net.as_ptr(), self.ops.get()) };
        // Packets in flight may still be in the hook: `receiver` has to outlive them.
        // SAFETY: An FFI call with no requirements but that sleeping is allowed.
        unsafe { bindings::synchronize_net() };
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::fep_helper_dev_put(self.dev.as_ptr()) };
    }
}
