// SPDX-License-Identifier: GPL-2.0

//! The kernel behind `/dev/fep`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use fep_ioctl::CommitError;
use fep_uapi::{Commit, Dump, EndRoutes, Event, FlushRoutes, Op, RouteRecord, Status, DEVICE_PATH};

use crate::error::Error;
use crate::kernel::{Kernel, Page};

/// An open control device. It acts on the network namespace of whoever opened it.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    /// Opens `/dev/fep`.
    ///
    /// # Errors
    ///
    /// As [`Device::open_at`].
    pub fn open() -> Result<Self, Error> {
        Self::open_at(Path::new(DEVICE_PATH))
    }

    /// Opens the control device at another path.
    ///
    /// # Errors
    ///
    /// - [`Error::NotLoaded`] where there is no such file, or no module behind it.
    /// - [`Error::NotPermitted`] where the caller may not open it.
    /// - [`Error::NotADevice`] where it is something else than a character device.
    /// - [`Error::Open`] for the rest.
    pub fn open_at(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .open(path)
            .map_err(|error| Error::from_open(path, error))?;
        let metadata = file
            .metadata()
            .map_err(|error| Error::from_open(path, error))?;
        if metadata.file_type().is_char_device() {
            Ok(Self(file))
        } else {
            Err(Error::NotADevice {
                path: path.to_owned(),
            })
        }
    }
}

/// For whoever waits in an event loop until there are events to read.
impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The same.
impl AsRawFd for Device {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Kernel for Device {
    fn status(&mut self) -> io::Result<Status> {
        fep_ioctl::status(self.0.as_fd())
    }

    fn commit(&mut self, ops: &[Op], flags: u32, expect: u64) -> Result<Commit, CommitError> {
        fep_ioctl::commit(self.0.as_fd(), ops, flags, expect)
    }

    fn dump(&mut self, dump: &mut Dump, page: Page<'_>) -> io::Result<usize> {
        let fd = self.0.as_fd();
        match page {
            Page::Devices(records) => fep_ioctl::dump(fd, dump, records),
            Page::Services(records) => fep_ioctl::dump(fd, dump, records),
            Page::Backends(records) => fep_ioctl::dump(fd, dump, records),
            Page::Routes(records) => fep_ioctl::dump(fd, dump, records),
            Page::Nodes(records) => fep_ioctl::dump(fd, dump, records),
        }
    }

    fn flush_routes(&mut self, filter: &FlushRoutes) -> io::Result<u64> {
        fep_ioctl::flush_routes(self.0.as_fd(), filter)
    }

    fn end_routes(&mut self, routes: &[RouteRecord]) -> io::Result<EndRoutes> {
        fep_ioctl::end_routes(self.0.as_fd(), routes)
    }

    fn subscribe(&mut self, capacity: u32) -> io::Result<u64> {
        fep_ioctl::subscribe(self.0.as_fd(), capacity)
    }

    fn read_events(&mut self, events: &mut [Event]) -> io::Result<usize> {
        fep_ioctl::read_events(self.0.as_fd(), events)
    }
}
