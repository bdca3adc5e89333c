// SPDX-License-Identifier: GPL-2.0

//! Ioctl numbers.
//!
//! Every command passes one structure both ways. The number holds the structure's size
//! (`include/uapi/asm-generic/ioctl.h`), so a caller compiled against another layout is answered
//! with `ENOTTY` instead of being misread.

use crate::records::{Commit, Dump, EndRoutes, FlushRoutes, Status, Subscribe};

/// The type byte of fep's ioctls.
pub const IOC_MAGIC: u8 = 0xF9;

/// `_IOWR(IOC_MAGIC, number, T)`.
pub const fn ioc_readwrite<T>(number: u8) -> u32 {
    const READ_WRITE: u32 = 3;
    let size = core::mem::size_of::<T>();
    assert!(
        size < (1 << 14),
        "an ioctl argument has at most 16383 bytes"
    );
    (READ_WRITE << 30) | ((size as u32) << 16) | ((IOC_MAGIC as u32) << 8) | number as u32
}

/// Reads [`Status`]. Needs no privilege beyond opening the device.
pub const IOC_STATUS: u32 = ioc_readwrite::<Status>(0);
/// Applies [`Commit`]: all of its operations or none.
pub const IOC_COMMIT: u32 = ioc_readwrite::<Commit>(1);
/// Reads one page of a list: [`Dump`].
pub const IOC_DUMP: u32 = ioc_readwrite::<Dump>(2);
/// Deletes allocated routes: [`FlushRoutes`].
pub const IOC_FLUSH_ROUTES: u32 = ioc_readwrite::<FlushRoutes>(3);
/// Deletes routes that were listed and not used since: [`EndRoutes`].
pub const IOC_END_ROUTES: u32 = ioc_readwrite::<EndRoutes>(4);
/// Makes the open file one that events are read from: [`Subscribe`].
pub const IOC_SUBSCRIBE: u32 = ioc_readwrite::<Subscribe>(5);
