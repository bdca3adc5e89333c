// SPDX-License-Identifier: GPL-2.0

//! Network namespaces and what a module keeps for each of them.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use crate::{bindings, family::Family, word::Word};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::Deref,
    ptr::{null_mut, NonNull},
};
use kernel::{
    error::to_result,
    ffi::{c_int, c_uint, c_void},
    prelude::*,
    sync::Arc,
    types::Opaque,
};

/// A network namespace (`struct net`).
#[repr(transparent)]
pub struct Net(Opaque<bindings::net>);

// SAFETY: What `Net` offers may be called from any thread.
unsafe impl Sync for Net {}

impl Net {
    /// # Safety
    ///
    /// The namespace must be alive for `'a`.
    pub(crate) unsafe fn from_raw<'a>(net: *mut bindings::net) -> &'a Self {
        // SAFETY: By the safety requirement; the type is transparent over `struct net`.
        unsafe { &*net.cast::<Self>() }
    }

    /// The raw namespace, for this crate.
    pub(crate) fn as_ptr(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// Whether `address` is one of the namespace's own. Any context.
    pub fn has_address<A: Family>(&self, address: A) -> bool {
        address.is_local(self)
    }

    /// Whether `address`, a unicast one, can be another host's: neither one of the namespace's own nor
    /// a broadcast address here. The kernel takes packets from any other source for martians. Any
    /// context.
    pub fn is_foreign_host<A: Family>(&self, address: A) -> bool {
        address.is_foreign_host(self)
    }

    /// Whether the current task has `CAP_NET_ADMIN` in the user namespace that owns this one.
    /// Process context.
    pub fn current_is_admin(&self) -> bool {
        // SAFETY: `self` is a valid namespace, whose owner lives as long.
        let user_ns = unsafe { bindings::fep_helper_net_user_ns(self.as_ptr()) };
        // SAFETY: `user_ns` is valid, and the current task exists: process context.
        unsafe { bindings::ns_capable(user_ns, CAP_NET_ADMIN) }
    }
}

/// Whether the host does IPv6 at all. Without it (`ipv6.disable=1`) nothing may be routed or looked up
/// there.
pub fn has_ipv6() -> bool {
    // SAFETY: An FFI call with no requirements: it reads what was set at boot.
    unsafe { bindings::fep_helper_ipv6_enabled() }
}

/// Whether the current task has `CAP_NET_ADMIN` in the initial user namespace: the host's
/// administrator, not a container's. Process context.
pub fn current_is_host_admin() -> bool {
    // SAFETY: The current task exists: process context.
    unsafe { bindings::capable(CAP_NET_ADMIN) }
}

/// `include/uapi/linux/capability.h`.
const CAP_NET_ADMIN: c_int = 12;

/// A reference that keeps a namespace alive.
///
/// # Invariants
///
/// Owns one reference to the namespace.
pub struct NetRef(NonNull<bindings::net>);

// SAFETY: References to namespaces may be dropped on any thread.
unsafe impl Send for NetRef {}
// SAFETY: `Net` is `Sync`.
unsafe impl Sync for NetRef {}

impl NetRef {
    /// The namespace of the current task. Process context.
    pub fn current() -> Self {
        // SAFETY: The current task exists, and so does its namespace.
        let net = unsafe { bindings::fep_helper_current_net() };
        // SAFETY: The task keeps its namespace alive while we take a reference.
        unsafe { bindings::fep_helper_get_net(net) };
        // SAFETY: A task always has a network namespace.
        // INVARIANT: The reference was just taken.
        Self(unsafe { NonNull::new_unchecked(net) })
    }
}

impl Deref for NetRef {
    type Target = Net;

    fn deref(&self) -> &Net {
        // SAFETY: By the type invariant the namespace is alive while `self` is.
        unsafe { Net::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for NetRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::fep_helper_put_net(self.0.as_ptr()) };
    }
}

/// Where the kernel notes the number of a module's per-namespace data.
///
/// # Invariants
///
/// Is the number of registered data while `live` is true.
pub struct PernetId {
    id: UnsafeCell<c_uint>,
    live: Word<bool>,
}

// SAFETY: The number is written by `register_pernet_subsys()` only, before anybody reads it.
unsafe impl Sync for PernetId {}

impl PernetId {
    /// To be put into a `static`.
    pub const fn new() -> Self {
        Self {
            id: UnsafeCell::new(0),
            live: Word::new(false),
        }
    }
}

impl Default for PernetId {
    fn default() -> Self {
        Self::new()
    }
}

/// Data of a module for each network namespace.
pub trait Pernet: Send + Sync + 'static {
    /// The number of these data: one `static` for each implementation.
    fn id() -> &'static PernetId;

    /// Makes the data of a new namespace. Process context, may sleep.
    fn init(net: &Net) -> Result<Arc<Self>>;

    /// The namespace or the module goes away: let go of everything that refers to it. Process
    /// context, may sleep.
    fn exit(&self);
}

/// A registration of [`Pernet`] data: while it exists, every namespace has them.
///
/// # Invariants
///
/// `ops` is registered with `register_pernet_subsys()`.
#[pin_data(PinnedDrop)]
pub struct PernetRegistration<T: Pernet> {
    #[pin]
    ops: Opaque<bindings::pernet_operations>,
    _data: PhantomData<T>,
}

// SAFETY: Registration is not tied to a thread.
unsafe impl<T: Pernet> Send for PernetRegistration<T> {}
// SAFETY: Shared references give access to nothing.
unsafe impl<T: Pernet> Sync for PernetRegistration<T> {}

impl<T: Pernet> PernetRegistration<T> {
    /// Registers; makes the data of every namespace there is. Sleeps.
    pub fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: The operations are registered when this succeeds.
            ops <- Opaque::try_ffi_init(|slot: *mut bindings::pernet_operations| {
                let ops = bindings::pernet_operations {
                    init: Some(Self::init),
                    exit: Some(Self::exit),
                    id: T::id().id.get(),
                    size: core::mem::size_of::<*mut c_void>(),
                    ..Default::default()
                };
                // SAFETY: The slot is valid for writes.
                unsafe { slot.write(ops) };
                // SAFETY: `ops` is pinned and stays until `drop()` has unregistered it.
                to_result(unsafe { bindings::register_pernet_subsys(slot) })?;
                // INVARIANT: Just registered.
                T::id().live.set(true);
                Ok::<(), Error>(())
            }),
            _data: PhantomData,
        }? Error)
    }

    /// The data of a namespace; `None` outside of the time between `init` and `exit`.
    ///
    /// Whoever can call this while the registration is dropped must be registered after it and
    /// deregistered before it, as an open file or a notifier is.
    pub fn get(net: &Net) -> Option<Arc<T>> {
        if !T::id().live.get() {
            return None;
        }
        let data = Self::slot(net.as_ptr())?;
        // SAFETY: The slot is valid while the namespace is alive.
        let ptr = unsafe { core::ptr::read_volatile(data) }.cast::<T>();
        if ptr.is_null() {
            return None;
        }
        // SAFETY: The pointer came from `Arc::into_raw()` in `init()`; its reference is dropped in
        // `exit()` only, which is not running: the namespace is alive.
        let data = core::mem::ManuallyDrop::new(unsafe { Arc::from_raw(ptr) });
        Some(Arc::clone(&data))
    }

    fn slot(net: *mut bindings::net) -> Option<*mut *mut c_void> {
        // SAFETY: The id was written by `register_pernet_subsys()` before any caller runs.
        let id = unsafe { *T::id().id.get() };
        // SAFETY: `net` is alive, and `id` is the number of data with `size` bytes.
        let slot = unsafe { bindings::fep_helper_net_slot(net, id) };
        (!slot.is_null()).then_some(slot)
    }

    /// # Safety
    ///
    /// To be called by the namespace code only.
    unsafe extern "C" fn init(net: *mut bindings::net) -> c_int {
        let Some(slot) = Self::slot(net) else {
            return EINVAL.to_errno();
        };
        // SAFETY: The namespace is alive until `exit()` has returned.
        match T::init(unsafe { Net::from_raw(net) }) {
            Ok(data) => {
                // SAFETY: The slot is ours and valid while the namespace is alive.
                unsafe { core::ptr::write_volatile(slot, data.into_raw().cast_mut().cast()) };
                0
            }
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// To be called by the namespace code only, once for each `init()` that succeeded.
    unsafe extern "C" fn exit(net: *mut bindings::net) {
        let Some(slot) = Self::slot(net) else { return };
        // SAFETY: The slot is ours and valid while the namespace is alive.
        let ptr = unsafe { core::ptr::read_volatile(slot) }.cast::<T>();
        if ptr.is_null() {
            return;
        }
        // SAFETY: As above.
        unsafe { core::ptr::write_volatile(slot, null_mut()) };
        // SAFETY: The pointer came from `Arc::into_raw()` in `init()`, and the slot no longer has
        // it.
        let data = unsafe { Arc::from_raw(ptr) };
        data.exit();
    }
}

#[pinned_drop]
impl<T: Pernet> PinnedDrop for PernetRegistration<T> {
    fn drop(self: Pin<&mut Self>) {
        T::id().live.set(false);
        // SAFETY: By the type invariant the operations are registered.
        unsafe { bindings::unregister_pernet_subsys(self.ops.get()) };
    }
}
