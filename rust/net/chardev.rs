// SPDX-License-Identifier: GPL-2.0

//! A character device with ioctls that may be read and polled.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)
//!
//! `kernel::miscdevice` neither sets the device's mode nor has a poll operation.

use crate::bindings;
use core::{marker::PhantomData, mem::MaybeUninit};
use kernel::{
    error::to_result,
    ffi::{c_char, c_int, c_long, c_uint, c_ulong},
    fs::{
        file::flags::O_NONBLOCK,
        File, //
    },
    prelude::*,
    sync::poll::{PollCondVar, PollTable},
    types::{ForeignOwnable, Opaque},
    uaccess::{UserPtr, UserSlice, UserSliceWriter},
};

/// An open file of the device.
pub trait ControlFile: Send + Sync + Sized + 'static {
    /// Opens it, for the current task. Process context.
    fn open() -> Result<KBox<Self>>;

    /// An ioctl of the current task, on 64-bit and 32-bit callers alike. `argument` is as passed.
    /// Process context; several may run at once.
    fn ioctl(&self, command: u32, argument: usize) -> Result<isize>;

    /// A read of the current task; says how many bytes were written. Process context; sleeps only if it
    /// `may_wait`.
    fn read(&self, to: &mut UserSliceWriter, may_wait: bool) -> Result<usize>;

    /// Whether a read would not wait. Says first with [`Waiting::on`] what announces that it will not any
    /// more. Process context.
    fn poll(&self, waiting: &Waiting<'_>) -> bool;
}

/// Who waits for a file to become readable.
pub struct Waiting<'a> {
    table: PollTable<'a>,
    file: &'a File,
}

impl Waiting<'_> {
    /// Has it woken when `arrived` is notified.
    pub fn on(&self, arrived: &PollCondVar) {
        self.table.register_wait(self.file, arrived);
    }
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
                        read: Some(Self::read),
                        poll: Some(Self::poll),
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

impl<T: ControlFile> ControlDevice<T> {
    /// # Safety
    ///
    /// To be called by the VFS only, between `open()` and `release()`, with a buffer in user memory.
    unsafe extern "C" fn read(
        file: *mut bindings::file,
        buffer: *mut c_char,
        len: usize,
        _position: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: `open()` put it there, and `release()` is still to come.
        let data = unsafe { <KBox<T> as ForeignOwnable>::borrow((*file).private_data) };
        // SAFETY: The file is open; nobody in this call has it with `fdget_pos()`.
        let flags = unsafe { File::from_raw_file(file) }.flags();
        let address = UserPtr::from_addr(buffer.addr());
        let mut to = UserSlice::new(address, len).writer();
        match T::read(data, &mut to, flags & O_NONBLOCK == 0) {
            // CAST: No more than `len`, which the VFS keeps below `isize::MAX`.
            Ok(written) => written as isize,
            // CAST: An errno, widened with its sign.
            Err(error) => error.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// To be called by the VFS only, between `open()` and `release()`, with null or a valid table.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: `open()` put it there, and `release()` is still to come.
        let data = unsafe { <KBox<T> as ForeignOwnable>::borrow((*file).private_data) };
        let waiting = Waiting {
            // SAFETY: By the safety requirement.
            table: unsafe { PollTable::from_raw(table) },
            // SAFETY: The file is open; nobody in this call has it with `fdget_pos()`.
            file: unsafe { File::from_raw_file(file) },
        };
        match T::poll(data, &waiting) {
            true => bindings::POLLIN | bindings::POLLRDNORM,
            false => 0,
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
