// SPDX-License-Identifier: GPL-2.0

//! A character device with ioctls.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)
//!
//! `kernel::miscdevice` neither sets the device's mode nor has a poll operation.

use crate::bindings;
use core::{marker::PhantomData, mem::MaybeUninit};
use kernel::{
    error::to_result,
    ffi::{c_int, c_long, c_uint, c_ulong},
    prelude::*,
    types::{ForeignOwnable, Opaque},
};

/// An open file of the device.
pub trait ControlFile: Send + Sync + Sized + 'static {
    /// Opens it, for the current task. Process context.
    fn open() -> Result<KBox<Self>>;

    /// An ioctl of the current task, on 64-bit and 32-bit callers alike. `argument` is as passed.
    /// Process context; several may run at once.
    fn ioctl(&self, command: u32, argument: usize) -> Result<isize>;
}

/// A registered device.
///
/// # Invariants
///
/// `misc` is registered, with `operations` as its file operations.
#[pin_data(PinnedDrop)]
pub struct ControlDevice<T: ControlFile> {
    #[pin]
    operations: Opaque<bindings::file_operations>,
    #[pin]
    misc: Opaque<bindings::miscdevice>,
    _file: PhantomData<T>,
}

// SAFETY: Registration is not tied to a thread.
unsafe impl<T: ControlFile> Send for ControlDevice<T> {}
// SAFETY: Shared references give access to nothing.
unsafe impl<T: ControlFile> Sync for ControlDevice<T> {}

impl<T: ControlFile> ControlDevice<T> {
    /// Registers `/dev/NAME` with the given mode. Open files keep `module` loaded. Sleeps.
    pub fn register(
        name: &'static CStr,
        mode: u16,
        module: &'static ThisModule,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(&this in Self {
            operations <- Opaque::ffi_init(|slot: *mut bindings::file_operations| {
                // SAFETY: The slot is valid for writes.
                unsafe {
                    slot.write(bindings::file_operations {
                        owner: module.as_ptr(),
                        open: Some(Self::open),
                        release: Some(Self::release),
                        unlocked_ioctl: Some(Self::ioctl),
                        compat_ioctl: bindings::compat_ptr_ioctl,
                        llseek: Some(bindings::noop_llseek),
                        ..MaybeUninit::zeroed().assume_init()
                    })
                };
            }),
            // INVARIANT: The device is registered when this succeeds.
            misc <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                // SAFETY: `this` points to the value under construction.
                let operations = unsafe { &raw const (*this.as_ptr()).operations };
                // SAFETY: The slot is valid for writes, and zero is a valid value of every field.
                unsafe {
                    slot.write(bindings::miscdevice {
                        // CAST: The constant is 255.
                        minor: bindings::MISC_DYNAMIC_MINOR as c_int,
                        name: name.as_char_ptr(),
                        fops: Opaque::cast_into(operations),
                        mode,
                        ..MaybeUninit::zeroed().assume_init()
                    })
                };
                // SAFETY: The device and its operations are pinned, and stay until `drop()` has
                // deregistered it.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
            _file: PhantomData,
        }? Error)
    }

    /// # Safety
    ///
    /// To be called by the VFS only, for a file of this device that is being opened.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        match T::open() {
            Ok(data) => {
                // SAFETY: The private data of a file are its driver's, from `open()` on.
                unsafe { (*file).private_data = data.into_foreign() };
                0
            }
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// To be called by the VFS only, once for each successful `open()`.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open()` put it there, and nobody uses the file any more.
        drop(unsafe { <KBox<T> as ForeignOwnable>::from_foreign((*file).private_data) });
        0
    }

    /// # Safety
    ///
    /// To be called by the VFS only, between `open()` and `release()`.
    unsafe extern "C" fn ioctl(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        // SAFETY: `open()` put it there, and `release()` is still to come.
        let data = unsafe { <KBox<T> as ForeignOwnable>::borrow((*file).private_data) };
        match T::ioctl(data, command, argument) {
            // CAST: Both have the width of a register.
            Ok(value) => value as c_long,
            // CAST: An errno, widened with its sign.
            Err(error) => error.to_errno() as c_long,
        }
    }
}

#[pinned_drop]
impl<T: ControlFile> PinnedDrop for ControlDevice<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the device is registered.
        unsafe { bindings::misc_deregister(self.misc.get()) };
    }
}
