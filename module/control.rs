// SPDX-License-Identifier: GPL-2.0

//! `/dev/fep`: ioctls (F4). `docs/abi.md` describes them.
//!
//! An open file acts on the network namespace of whoever opened it, and keeps that alive. Everything
//! but reading the status needs `CAP_NET_ADMIN` there.

use crate::{dump::Page, events::Queue, state::NetState};
use fep_core::validate::filter;
use fep_net::{
    chardev::{ControlFile, Waiting},
    netns::{NetRef, PernetRegistration},
    time::give_way,
};
use fep_uapi::{
    Commit, Dump, DumpObject, EndRoutes, FlushRoutes, Op, Reason, RouteRecord, Status, Subscribe,
    DUMP_END, DUMP_TOKENS, END_ROUTES_MAX, EVENTS_MAX, FLAG_DRY_RUN, IOC_COMMIT, IOC_DUMP,
    IOC_END_ROUTES, IOC_FLUSH_ROUTES, IOC_STATUS, IOC_SUBSCRIBE, OPS_MAX,
};
use kernel::{
    prelude::*,
    sync::{Arc, SetOnce},
    uaccess::{UserPtr, UserSlice, UserSliceWriter},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Fewest and most records of a page.
const PAGE_MIN: u32 = 64;
const PAGE_MAX: u32 = 4096;

/// Elements of an array copied from user space at once.
const CHUNK: usize = 32;

/// An open file.
pub(crate) struct Control {
    state: Arc<NetState>,
    /// There once it has subscribed.
    events: SetOnce<Arc<Queue>>,
    /// Keeps the namespace, and so what `state` refers to, alive. Dropped after `state`.
    net: NetRef,
}

impl ControlFile for Control {
    fn open() -> Result<KBox<Self>> {
        let net = NetRef::current();
        let state = PernetRegistration::<NetState>::get(&net).ok_or(ENODEV)?;
        let events = SetOnce::new();
        Ok(KBox::new(Self { state, events, net }, GFP_KERNEL)?)
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<isize> {
        match command {
            IOC_STATUS => {
                // Everything is output.
                let mut status: Status = read(argument)?;
                if status != Status::default() {
                    return Err(EINVAL);
                }
                status = self.state.status();
                write(argument, &status)
            }
            IOC_COMMIT => self.commit(argument),
            IOC_DUMP => self.dump(argument),
            IOC_FLUSH_ROUTES => self.flush_routes(argument),
            IOC_END_ROUTES => self.end_routes(argument),
            IOC_SUBSCRIBE => self.subscribe(argument),
            _ => Err(ENOTTY),
        }
    }

    fn read(&self, to: &mut UserSliceWriter, may_wait: bool) -> Result<usize> {
        let queue = self.events.as_ref().ok_or(EINVAL)?;
        queue.read(to, may_wait)
    }

    fn poll(&self, waiting: &Waiting<'_>) -> bool {
        let queue = self.events.as_ref();
        queue.is_some_and(|queue| queue.poll(waiting))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(queue) = self.events.as_ref() {
            self.state.unsubscribe(queue);
        }
    }
}

impl Control {
    fn check_admin(&self) -> Result {
        if self.net.current_is_admin() {
            Ok(())
        } else {
            Err(EPERM)
        }
    }

    fn commit(&self, argument: usize) -> Result<isize> {
        self.check_admin()?;
        let mut commit: Commit = read(argument)?;
        let refused = if commit.flags & !FLAG_DRY_RUN != 0 {
            Some((0, Reason::UnknownFlag))
        } else if commit.count == 0 || commit.count > OPS_MAX {
            Some((0, Reason::BadOpCount))
        } else {
            let ops = read_array::<Op>(commit.ops, commit.count as usize)?;
            // A caller who cannot be told the outcome must hear of that before anything changes.
            write(argument, &commit)?;
            let dry_run = commit.flags & FLAG_DRY_RUN != 0;
            let committed = self.state.commit(&self.net, &ops, dry_run, commit.expect);
            commit.generation = committed.generation;
            commit.routes_deleted = committed.routes_deleted;
            committed.refused
        };
        let (failed, reason) = refused.unwrap_or((0, Reason::None));
        commit.failed = failed;
        commit.reason = reason.code();
        write(argument, &commit)?;
        match error(reason) {
            None => Ok(0),
            Some(error) => Err(error),
        }
    }

    fn dump(&self, argument: usize) -> Result<isize> {
        self.check_admin()?;
        let mut dump: Dump = read(argument)?;
        if dump.flags & !DUMP_TOKENS != 0 || dump.reserved != 0 || dump.capacity < PAGE_MIN {
            return Err(EINVAL);
        }
        let object = DumpObject::from_code(dump.object).ok_or(EINVAL)?;
        let filter = filter(&dump.service, &dump.backend).map_err(|_| EINVAL)?;
        let unfiltered = dump.service.is_none() && dump.backend.is_none();
        if !unfiltered && matches!(object, DumpObject::Devices | DumpObject::Services) {
            return Err(EINVAL);
        }
        let tokens = dump.flags & DUMP_TOKENS != 0;
        if tokens && object != DumpObject::Routes {
            return Err(EINVAL);
        }
        // CAST: A few thousand.
        let capacity = dump.capacity.min(PAGE_MAX) as usize;
        let state = &self.state;
        match object {
            DumpObject::Devices => {
                let page = state.dump_devices(dump.cursor, capacity)?;
                finish(&mut dump, &page)?;
            }
            DumpObject::Services => {
                let page = state.dump_services(dump.cursor, capacity)?;
                finish(&mut dump, &page)?;
            }
            DumpObject::Backends => {
                let page = state.dump_backends(dump.cursor, capacity, &filter)?;
                finish(&mut dump, &page)?;
            }
            DumpObject::Routes => {
                let page = state.dump_routes(dump.cursor, capacity, &filter, tokens)?;
                finish(&mut dump, &page)?;
            }
            DumpObject::Nodes => {
                let page = state.dump_nodes(dump.cursor, capacity, &filter)?;
                finish(&mut dump, &page)?;
            }
        }
        write(argument, &dump)
    }

    fn flush_routes(&self, argument: usize) -> Result<isize> {
        self.check_admin()?;
        let mut flush: FlushRoutes = read(argument)?;
        if flush.reserved != 0 {
            return Err(EINVAL);
        }
        let filter = filter(&flush.service, &flush.backend).map_err(|_| EINVAL)?;
        flush.deleted = self.state.flush(&filter);
        write(argument, &flush)
    }

    fn subscribe(&self, argument: usize) -> Result<isize> {
        self.check_admin()?;
        let mut subscribe: Subscribe = read(argument)?;
        let wanted = Subscribe {
            capacity: subscribe.capacity,
            ..Subscribe::default()
        };
        if subscribe != wanted || !(1..=EVENTS_MAX).contains(&subscribe.capacity) {
            return Err(EINVAL);
        }
        // A caller who cannot be told must not have subscribed.
        write(argument, &subscribe)?;
        let queue = Queue::new(subscribe.capacity)?;
        if !self.events.populate(queue.clone()) {
            return Err(EEXIST);
        }
        subscribe.next = self.state.subscribe(queue)?;
        write(argument, &subscribe)
    }

    fn end_routes(&self, argument: usize) -> Result<isize> {
        self.check_admin()?;
        let mut end: EndRoutes = read(argument)?;
        let wanted = EndRoutes {
            routes: end.routes,
            count: end.count,
            ..EndRoutes::default()
        };
        if end != wanted || end.count == 0 || end.count > END_ROUTES_MAX {
            return Err(EINVAL);
        }
        let records: KVVec<RouteRecord> = read_array(end.routes, end.count as usize)?;
        // All are looked at before one is deleted.
        for delete in [false, true] {
            for record in records.iter() {
                self.state.end_route(record, delete, &mut end)?;
            }
            give_way();
        }
        write(argument, &end)
    }
}

/// Copies a page's records to the caller's buffer and describes them.
fn finish<T: IntoBytes + Immutable>(dump: &mut Dump, page: &Page<T>) -> Result {
    let bytes = page.records[..].as_bytes();
    let buffer = usize::try_from(dump.buffer).map_err(|_| EFAULT)?;
    UserSlice::new(UserPtr::from_addr(buffer), bytes.len())
        .writer()
        .write_slice(bytes)?;
    dump.cursor = page.cursor;
    // CAST: No more than the capacity.
    dump.count = page.records.len() as u32;
    dump.flags = if page.end { DUMP_END } else { 0 };
    dump.generation = page.generation;
    Ok(())
}

/// Reads a structure, once.
fn read<T: FromBytes + IntoBytes>(argument: usize) -> Result<T> {
    let mut value = T::new_zeroed();
    UserSlice::new(UserPtr::from_addr(argument), core::mem::size_of::<T>())
        .reader()
        .read_slice(value.as_mut_bytes())?;
    Ok(value)
}

/// Writes a structure back.
fn write<T: IntoBytes + Immutable>(argument: usize, value: &T) -> Result<isize> {
    UserSlice::new(UserPtr::from_addr(argument), core::mem::size_of::<T>())
        .writer()
        .write_slice(value.as_bytes())?;
    Ok(0)
}

/// Reads an array, once: a commit's operations, or routes.
fn read_array<T: FromBytes + IntoBytes + Clone>(address: u64, count: usize) -> Result<KVVec<T>> {
    let address = usize::try_from(address).map_err(|_| EFAULT)?;
    let bytes = count.checked_mul(core::mem::size_of::<T>()).ok_or(EINVAL)?;
    let mut reader = UserSlice::new(UserPtr::from_addr(address), bytes).reader();
    let mut all: KVVec<T> = KVVec::with_capacity(count, GFP_KERNEL)?;
    let mut chunk: KVec<T> = KVec::new();
    chunk.resize(CHUNK.min(count), T::new_zeroed(), GFP_KERNEL)?;
    while all.len() < count {
        let rest = count.saturating_sub(all.len()).min(chunk.len());
        let part = chunk.get_mut(..rest).ok_or(EINVAL)?;
        reader.read_slice(part.as_mut_bytes())?;
        all.extend_from_slice(part, GFP_KERNEL)?;
    }
    Ok(all)
}

/// The errno of a reason.
fn error(reason: Reason) -> Option<Error> {
    Some(match reason {
        Reason::None => return None,
        Reason::NoSuchService | Reason::NoSuchBackend | Reason::DeviceNotAttached => ENOENT,
        Reason::ServiceExists | Reason::BackendExists | Reason::DeviceAttached => EEXIST,
        Reason::NoSuchDevice | Reason::NamespaceGone => ENODEV,
        Reason::TooManyServices | Reason::TooManyBackends | Reason::TooManyDevices => ENOSPC,
        Reason::GenerationChanged => EBUSY,
        Reason::LimitNotPermitted => EPERM,
        Reason::Interrupted => EINTR,
        Reason::NoMemory => ENOMEM,
        _ => EINVAL,
    })
}
