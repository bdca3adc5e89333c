// SPDX-License-Identifier: GPL-2.0

//! The commands of the kernel's side, as a trait.
//!
//! [`Device`](crate::Device) is the real one. Tests use a kernel in memory, which is another crate
//! and in no program that is shipped.

use std::io;

use fep_ioctl::CommitError;
use fep_uapi::{
    BackendRecord, Commit, DeviceRecord, Dump, EndRoutes, Event, FlushRoutes, NodeRecord, Op,
    RouteRecord, ServiceRecord, Status,
};

/// Room for one page of a list; which list is told by the type of its records.
#[derive(Debug)]
pub enum Page<'a> {
    /// Attached devices.
    Devices(&'a mut [DeviceRecord]),
    /// Services.
    Services(&'a mut [ServiceRecord]),
    /// Back-end nodes.
    Backends(&'a mut [BackendRecord]),
    /// Allocated routes.
    Routes(&'a mut [RouteRecord]),
    /// More about back-end nodes.
    Nodes(&'a mut [NodeRecord]),
}

/// What answers the commands of `docs/abi.md`.
pub trait Kernel {
    /// Reads the state of the namespace.
    ///
    /// # Errors
    ///
    /// The error number of the call.
    fn status(&mut self) -> io::Result<Status>;

    /// Applies operations, all or none. `expect` is a generation, 0 for any.
    ///
    /// # Errors
    ///
    /// The error number and what the kernel wrote back.
    fn commit(&mut self, ops: &[Op], flags: u32, expect: u64) -> Result<Commit, CommitError>;

    /// Reads a page of a list; returns how many records it wrote.
    ///
    /// # Errors
    ///
    /// The error number of the call.
    fn dump(&mut self, dump: &mut Dump, page: Page<'_>) -> io::Result<usize>;

    /// Deletes allocated routes; returns how many.
    ///
    /// # Errors
    ///
    /// The error number of the call.
    fn flush_routes(&mut self, filter: &FlushRoutes) -> io::Result<u64>;

    /// Deletes routes that were listed with tokens, those that were not used since.
    ///
    /// # Errors
    ///
    /// The error number of the call.
    fn end_routes(&mut self, routes: &[RouteRecord]) -> io::Result<EndRoutes>;

    /// Has up to `capacity` events kept until they are read; returns the number of the next.
    ///
    /// # Errors
    ///
    /// The error number of the call.
    fn subscribe(&mut self, capacity: u32) -> io::Result<u64>;

    /// Reads events, waiting for the first; returns how many.
    ///
    /// # Errors
    ///
    /// The error number of the call.
    fn read_events(&mut self, events: &mut [Event]) -> io::Result<usize>;
}

/// A record of a list.
pub(crate) trait Listed: Copy + Default {
    /// How many to ask for at once.
    const PAGE: usize;

    /// Room for a page of these.
    fn page(records: &mut [Self]) -> Page<'_>;
}

macro_rules! listed {
    ($($record:ident => $list:ident, $page:literal;)*) => {
        $(
            impl Listed for $record {
                const PAGE: usize = $page;

                fn page(records: &mut [Self]) -> Page<'_> {
                    Page::$list(records)
                }
            }
        )*
    };
}

listed! {
    DeviceRecord => Devices, 256;
    ServiceRecord => Services, 1024;
    BackendRecord => Backends, 2048;
    RouteRecord => Routes, 4096;
    NodeRecord => Nodes, 2048;
}
