// SPDX-License-Identifier: GPL-2.0

//! A kernel in memory, for tests: it answers by the rules of `docs/abi.md`.
//!
//! The rules that a change can be checked by alone are the module's own code ([`fep_core`]); what
//! needs the configuration is in the module `state` here. No program depends on this crate.

#![forbid(unsafe_code)]

mod nodes;
mod state;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use fep_client::{Kernel, Page};
use fep_core::validate::{filter, Filter, Node, Service};
use fep_ioctl::CommitError;
use fep_uapi::{
    BackendRecord, Commit, Dump, EndRoutes, Endpoint, Event, FlushRoutes, NodeRecord, Op, Reason,
    RouteRecord, ServiceId, Status, DUMP_END, FLAG_DRY_RUN, OPS_MAX,
};

pub use state::{Backend, ServiceEntry, State};

/// Fewest records that a page has room for.
const CAPACITY_MIN: usize = 64;

/// A handle of the kernel; clones share it.
#[derive(Clone, Debug, Default)]
pub struct FakeKernel(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    state: State,
    no_privilege: bool,
    interfere: u32,
    commits: u32,
    page: usize,
    /// Events that have not been read, and the most that are returned at once.
    events: VecDeque<Event>,
    subscribed: bool,
}

impl FakeKernel {
    /// A kernel with these devices and nothing attached.
    pub fn new(devices: &[&str]) -> Self {
        let kernel = Self::default();
        kernel.with(|state| {
            state.present = devices.iter().map(|&name| name.to_owned()).collect();
        });
        kernel
    }

    /// Looks at the state or changes it behind the caller's back.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.borrow_mut().state)
    }

    /// Has something happen. Who reads all of it does not wait for more but is told of an error.
    pub fn happens(&self, event: Event) {
        self.0.borrow_mut().events.push_back(event);
    }

    /// Takes away `CAP_NET_ADMIN`.
    pub fn take_privilege(&self) {
        self.0.borrow_mut().no_privilege = true;
    }

    /// Lets something else change the configuration before each of the next commits.
    pub fn interfere(&self, commits: u32) {
        self.0.borrow_mut().interfere = commits;
    }

    /// Returns at most so many records with a page, 0 for as many as fit.
    pub fn limit_pages(&self, records: usize) {
        self.0.borrow_mut().page = records;
    }

    /// How many commits there were that changed something.
    pub fn commits(&self) -> u32 {
        self.0.borrow().commits
    }
}

/// The error number that goes with a reason.
fn errno(reason: Reason) -> i32 {
    match reason {
        Reason::ServiceExists | Reason::BackendExists | Reason::DeviceAttached => libc::EEXIST,
        Reason::NoSuchService | Reason::NoSuchBackend | Reason::DeviceNotAttached => libc::ENOENT,
        Reason::NoSuchDevice | Reason::NamespaceGone => libc::ENODEV,
        Reason::GenerationChanged => libc::EBUSY,
        Reason::TooManyServices | Reason::TooManyBackends | Reason::TooManyDevices => libc::ENOSPC,
        Reason::NoMemory => libc::ENOMEM,
        Reason::LimitNotPermitted => libc::EPERM,
        Reason::Interrupted => libc::EINTR,
        _ => libc::EINVAL,
    }
}

fn os_error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn means(filter: &Filter, service: &ServiceId, backend: &Endpoint) -> bool {
    match (Service::try_from(service), Node::try_from(backend)) {
        (Ok(service), Ok(node)) => filter.matches(&service, &node),
        _ => false,
    }
}

impl Kernel for FakeKernel {
    fn status(&mut self) -> io::Result<Status> {
        Ok(self.0.borrow().state.status())
    }

    fn commit(&mut self, ops: &[Op], flags: u32, expect: u64) -> Result<Commit, CommitError> {
        let mut inner = self.0.borrow_mut();
        if inner.interfere > 0 {
            inner.interfere -= 1;
            inner.state.generation += 1;
        }
        let generation = inner.state.generation;
        let refuse = |errno, failed, reason: Reason| {
            let commit = Commit {
                expect,
                generation,
                failed,
                reason: reason.code(),
                ..Commit::default()
            };
            Err(CommitError { errno, commit })
        };
        if inner.no_privilege {
            return refuse(libc::EPERM, 0, Reason::None);
        }
        if ops.is_empty() || u32::try_from(ops.len()).is_ok_and(|count| count > OPS_MAX) {
            return refuse(libc::EINVAL, 0, Reason::BadOpCount);
        }
        if flags & !FLAG_DRY_RUN != 0 {
            return refuse(libc::EINVAL, 0, Reason::UnknownFlag);
        }
        if expect != 0 && expect != generation {
            return refuse(libc::EBUSY, 0, Reason::GenerationChanged);
        }
        let mut next = inner.state.clone();
        let mut routes_deleted = 0;
        for (at, op) in (0u32..).zip(ops) {
            match next.apply(op) {
                Ok(deleted) => routes_deleted += deleted,
                Err(reason) => return refuse(errno(reason), at, reason),
            }
        }
        if flags & FLAG_DRY_RUN == 0 {
            next.generation += 1;
            inner.state = next;
            inner.commits += 1;
        }
        Ok(Commit {
            expect,
            generation: inner.state.generation,
            routes_deleted,
            ..Commit::default()
        })
    }

    fn dump(&mut self, dump: &mut Dump, page: Page<'_>) -> io::Result<usize> {
        let inner = self.0.borrow();
        if inner.no_privilege {
            return Err(os_error(libc::EPERM));
        }
        let filter =
            filter(&dump.service, &dump.backend).map_err(|reason| os_error(errno(reason)))?;
        let unfiltered = dump.service.is_none() && dump.backend.is_none();
        if !unfiltered && matches!(page, Page::Devices(_) | Page::Services(_)) {
            return Err(os_error(libc::EINVAL));
        }
        let state = &inner.state;
        dump.generation = state.generation;
        let backend = |record: &BackendRecord| means(&filter, &record.service, &record.backend);
        let route = |record: &RouteRecord| means(&filter, &record.service, &record.backend);
        match page {
            Page::Devices(to) => fill(dump, inner.page, to, state.devices()),
            Page::Services(to) => fill(dump, inner.page, to, state.services()),
            Page::Backends(to) => fill(dump, inner.page, to, state.backends().filter(backend)),
            Page::Nodes(to) => {
                let nodes = state.nodes();
                let wanted = |record: &NodeRecord| means(&filter, &record.service, &record.backend);
                fill(dump, inner.page, to, nodes.filter(wanted))
            }
            Page::Routes(to) => {
                let routes = state.routes.iter().copied();
                fill(dump, inner.page, to, routes.filter(route))
            }
        }
    }

    fn flush_routes(&mut self, flush: &FlushRoutes) -> io::Result<u64> {
        let mut inner = self.0.borrow_mut();
        if inner.no_privilege {
            return Err(os_error(libc::EPERM));
        }
        let filter =
            filter(&flush.service, &flush.backend).map_err(|reason| os_error(errno(reason)))?;
        Ok(inner
            .state
            .delete_routes(|service, backend| means(&filter, service, backend)))
    }

    fn subscribe(&mut self, _capacity: u32) -> io::Result<u64> {
        let mut inner = self.0.borrow_mut();
        if inner.no_privilege {
            return Err(os_error(libc::EPERM));
        }
        inner.subscribed = true;
        Ok(1)
    }

    fn read_events(&mut self, events: &mut [Event]) -> io::Result<usize> {
        let mut inner = self.0.borrow_mut();
        if !inner.subscribed {
            return Err(os_error(libc::EINVAL));
        }
        let mut count = 0;
        for place in events {
            let Some(event) = inner.events.pop_front() else {
                break;
            };
            *place = event;
            count += 1;
        }
        if count == 0 {
            return Err(os_error(libc::EIO));
        }
        Ok(count)
    }

    fn end_routes(&mut self, routes: &[RouteRecord]) -> io::Result<EndRoutes> {
        let mut inner = self.0.borrow_mut();
        if inner.no_privilege {
            return Err(os_error(libc::EPERM));
        }
        Ok(inner.state.end_routes(routes))
    }
}

/// Writes a page of a list: the cursor is the number of records before it.
fn fill<T>(
    dump: &mut Dump,
    limit: usize,
    to: &mut [T],
    from: impl Iterator<Item = T>,
) -> io::Result<usize> {
    if to.len() < CAPACITY_MIN {
        return Err(os_error(libc::EINVAL));
    }
    let room = if limit == 0 {
        to.len()
    } else {
        limit.min(to.len())
    };
    let cursor = usize::try_from(dump.cursor).map_err(|_| os_error(libc::EINVAL))?;
    let mut rest = from.skip(cursor).peekable();
    let mut count = 0;
    for (slot, record) in to.iter_mut().take(room).zip(&mut rest) {
        *slot = record;
        count += 1;
    }
    dump.flags = if rest.peek().is_none() { DUMP_END } else { 0 };
    dump.cursor = u64::try_from(cursor + count).map_err(|_| os_error(libc::EINVAL))?;
    dump.count = u32::try_from(count).map_err(|_| os_error(libc::EINVAL))?;
    Ok(count)
}
