// SPDX-License-Identifier: GPL-2.0

//! Safe calls of fep's ioctls.
//!
//! The only userspace crate with `unsafe` code: it hands the kernel addresses, and the borrow
//! checker cannot see what the kernel does with them. Every function takes slices and structures
//! that it owns or borrows for the whole call, so its callers need no `unsafe` of their own.
//!
//! The descriptor is expected to be an open `/dev/fep`. Any other one answers `ENOTTY`: the request
//! numbers hold fep's magic and the size of the argument.

#![deny(missing_docs, unreachable_pub)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use fep_uapi::{
    BackendRecord, Commit, DeviceRecord, Dump, DumpObject, EndRoutes, Event, FlushRoutes,
    NodeRecord, Op, RouteRecord, ServiceRecord, Status, Subscribe, DUMP_TOKENS, IOC_COMMIT,
    IOC_DUMP, IOC_END_ROUTES, IOC_FLUSH_ROUTES, IOC_STATUS, IOC_SUBSCRIBE,
};

mod sealed {
    pub trait Sealed {}
}

/// A structure that [`dump`] can fill an array of.
///
/// Sealed: every implementation is a `repr(C)` structure of integers whose layout the kernel
/// shares, and its [`OBJECT`](Record::OBJECT) makes the kernel write that very structure.
pub trait Record: sealed::Sealed + Copy + Default {
    /// The list that consists of these.
    const OBJECT: DumpObject;
}

macro_rules! record {
    ($($record:ident => $object:ident,)*) => {
        $(
            impl sealed::Sealed for $record {}
            impl Record for $record {
                const OBJECT: DumpObject = DumpObject::$object;
            }
        )*
    };
}

record! {
    DeviceRecord => Devices,
    ServiceRecord => Services,
    BackendRecord => Backends,
    RouteRecord => Routes,
    NodeRecord => Nodes,
}

/// A commit that the kernel refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitError {
    /// The error number of the call.
    pub errno: i32,
    /// What the kernel wrote back: `failed`, `reason` and `generation`. Where the call failed
    /// before the kernel looked at it (`EPERM`, `ENOTTY`), `reason` is 0.
    pub commit: Commit,
}

/// Calls an ioctl, again when a signal interrupted it.
///
/// # Safety
///
/// - `request` is a number whose structure is `T`, so that the kernel reads and writes only within
///   `*argument`.
/// - Every address inside `*argument` is valid, until the call returns, for what the command does
///   there.
unsafe fn ioctl<T>(fd: BorrowedFd<'_>, request: u32, argument: &mut T) -> io::Result<()> {
    loop {
        // SAFETY:
        // - The descriptor is open: it is borrowed.
        // - `argument` is an exclusive reference, valid for reads and writes of `size_of::<T>()`
        //   bytes, and the caller vouches that the kernel stays within them and within the memory
        //   that the addresses in it name.
        let result = unsafe {
            libc::ioctl(
                fd.as_raw_fd(),
                libc::Ioctl::from(request),
                core::ptr::from_mut(argument),
            )
        };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Reads the state of the namespace in which the device was opened.
///
/// # Errors
///
/// `ENOTTY` when the module does not know the command in this layout.
pub fn status(fd: BorrowedFd<'_>) -> io::Result<Status> {
    let mut status = Status::default();
    // SAFETY:
    // - `IOC_STATUS` is the number of a `Status`, of which any content is valid.
    // - It holds no address.
    unsafe { ioctl(fd, IOC_STATUS, &mut status)? };
    Ok(status)
}

/// Applies operations: all of them or none.
///
/// `expect` is the generation that they were computed from, 0 for any.
///
/// # Errors
///
/// [`CommitError`] with the error number and what the kernel says is wrong with which operation.
pub fn commit(
    fd: BorrowedFd<'_>,
    ops: &[Op],
    flags: u32,
    expect: u64,
) -> Result<Commit, CommitError> {
    let mut commit = Commit {
        ops: ops.as_ptr().expose_provenance() as u64,
        // More than `u32::MAX` operations are refused as `u32::MAX` are.
        count: u32::try_from(ops.len()).unwrap_or(u32::MAX),
        flags,
        expect,
        ..Commit::default()
    };
    // SAFETY:
    // - `IOC_COMMIT` is the number of a `Commit`, of which any content is valid.
    // - The kernel only reads at `ops`, and refuses a `count` above `OPS_MAX` without reading;
    //   below that `count` is the length of the slice, which is borrowed until the end.
    let result = unsafe { ioctl(fd, IOC_COMMIT, &mut commit) };
    match result {
        Ok(()) => Ok(commit),
        Err(error) => Err(CommitError {
            errno: error.raw_os_error().unwrap_or(libc::EIO),
            commit,
        }),
    }
}

/// Reads one page of a list into `records`; returns how many were written.
///
/// The caller sets `page.cursor` and the filters, and `DUMP_TOKENS` in `page.flags` if it wants that;
/// this function sets `object`, `buffer` and `capacity`, and clears other flags. The kernel updates `cursor`, `flags`, `count` and `generation`.
///
/// # Errors
///
/// `EINVAL` for a filter or a cursor that is not valid or for fewer than 64 records,
/// `ENOTTY` when the module does not know the command in this layout, and
/// [`InvalidData`](io::ErrorKind::InvalidData) when it claims to have written more than there is
/// room for.
pub fn dump<T: Record>(
    fd: BorrowedFd<'_>,
    page: &mut Dump,
    records: &mut [T],
) -> io::Result<usize> {
    page.object = T::OBJECT.code();
    page.flags &= DUMP_TOKENS;
    page.buffer = records.as_mut_ptr().expose_provenance() as u64;
    page.capacity = u32::try_from(records.len()).unwrap_or(u32::MAX);
    page.count = 0;
    // SAFETY:
    // - `IOC_DUMP` is the number of a `Dump`, of which any content is valid.
    // - At `buffer` the kernel writes at most `capacity` structures of the list `object`. Those are
    //   `T`s (the trait is sealed), any content of them is valid, and the slice, which is
    //   exclusively borrowed until the end, holds at least `capacity` of them.
    unsafe { ioctl(fd, IOC_DUMP, page)? };
    // A `u32` always fits into the `usize` of the platforms Linux runs on.
    let count = page.count as usize;
    if count > records.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{count} records in a page of {}", records.len()),
        ));
    }
    Ok(count)
}

/// Deletes allocated routes; returns how many.
///
/// # Errors
///
/// `EINVAL` for a filter that is not valid, `EPERM` without `CAP_NET_ADMIN`.
pub fn flush_routes(fd: BorrowedFd<'_>, filter: &FlushRoutes) -> io::Result<u64> {
    let mut flush = *filter;
    // SAFETY:
    // - `IOC_FLUSH_ROUTES` is the number of a `FlushRoutes`, of which any content is valid.
    // - It holds no address.
    unsafe { ioctl(fd, IOC_FLUSH_ROUTES, &mut flush)? };
    Ok(flush.deleted)
}

/// Deletes routes that were listed with tokens, those that were not used since. What became of them is
/// in what it returns.
///
/// # Errors
///
/// `EINVAL` for none, or more than `END_ROUTES_MAX`, or what is no route, with nothing deleted; `EPERM`
/// without `CAP_NET_ADMIN`.
pub fn end_routes(fd: BorrowedFd<'_>, routes: &[RouteRecord]) -> io::Result<EndRoutes> {
    let mut end = EndRoutes {
        routes: routes.as_ptr().expose_provenance() as u64,
        // More than `u32::MAX` routes are refused as `u32::MAX` are.
        count: u32::try_from(routes.len()).unwrap_or(u32::MAX),
        ..EndRoutes::default()
    };
    // SAFETY:
    // - `IOC_END_ROUTES` is the number of an `EndRoutes`, of which any content is valid.
    // - The kernel only reads at `routes`, and refuses a `count` above `END_ROUTES_MAX` without
    //   reading; below that `count` is the length of the slice, which is borrowed until the end.
    unsafe { ioctl(fd, IOC_END_ROUTES, &mut end)? };
    Ok(end)
}

/// Has up to `capacity` events kept for [`read_events`]; returns the sequence number of the next.
///
/// # Errors
///
/// `EINVAL` for a capacity of 0 or above `EVENTS_MAX`, `EEXIST` where that has been done, `EPERM` without
/// `CAP_NET_ADMIN`.
pub fn subscribe(fd: BorrowedFd<'_>, capacity: u32) -> io::Result<u64> {
    let mut subscribe = Subscribe {
        capacity,
        ..Subscribe::default()
    };
    // SAFETY:
    // - `IOC_SUBSCRIBE` is the number of a `Subscribe`, of which any content is valid.
    // - It holds no address.
    unsafe { ioctl(fd, IOC_SUBSCRIBE, &mut subscribe)? };
    Ok(subscribe.next)
}

/// Reads events, waiting for the first unless the descriptor is non-blocking; returns how many.
///
/// # Errors
///
/// `EINVAL` without [`subscribe`], `EAGAIN` where it would have to wait, `EINTR` for a signal.
pub fn read_events(fd: BorrowedFd<'_>, events: &mut [Event]) -> io::Result<usize> {
    // SAFETY: The descriptor is open. The slice is exclusively borrowed and valid for writes of its size;
    // any bytes are a valid content of an `Event`.
    let read = unsafe {
        libc::read(
            fd.as_raw_fd(),
            events.as_mut_ptr().cast(),
            core::mem::size_of_val(events),
        )
    };
    match usize::try_from(read) {
        Ok(bytes) => Ok(bytes / core::mem::size_of::<Event>()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    fn not_fep() -> File {
        File::open("/dev/null").expect("/dev/null can be opened")
    }

    #[test]
    fn another_device_is_not_understood() {
        let file = not_fep();
        let enotty = Some(libc::ENOTTY);
        assert_eq!(status(file.as_fd()).unwrap_err().raw_os_error(), enotty);
        let error = commit(file.as_fd(), &[Op::default()], 0, 7).unwrap_err();
        assert_eq!(Some(error.errno), enotty);
        assert_eq!((error.commit.count, error.commit.expect), (1, 7));
        let mut records = [RouteRecord::default(); 64];
        let mut page = Dump::default();
        let error = dump(file.as_fd(), &mut page, &mut records).unwrap_err();
        assert_eq!(error.raw_os_error(), enotty);
        assert_eq!(page.object, DumpObject::Routes.code());
        assert_eq!(page.capacity, 64);
        let error = flush_routes(file.as_fd(), &FlushRoutes::default()).unwrap_err();
        assert_eq!(error.raw_os_error(), enotty);
        let error = end_routes(file.as_fd(), &records).unwrap_err();
        assert_eq!(error.raw_os_error(), enotty);
        let error = subscribe(file.as_fd(), 1).unwrap_err();
        assert_eq!(error.raw_os_error(), enotty);
        let mut events = [Event::default(); 2];
        assert_eq!(read_events(file.as_fd(), &mut events).unwrap(), 0);
    }
}
