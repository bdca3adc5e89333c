// SPDX-License-Identifier: GPL-2.0

//! The commands, typed: what goes to the kernel and what comes back.

use std::fmt;

use fep_ioctl::CommitError;
use fep_uapi::{
    Dump, FlushRoutes, NodeRecord, Op, Reason, RouteRecord, Status, ABI_MAJOR, ABI_MINOR, DUMP_END,
    DUMP_TOKENS, END_ROUTES_MAX, EVENTS_MAX, FLAG_DRY_RUN,
};
use nix::errno::Errno;

use crate::change::Change;
use crate::config::Config;
use crate::diff::diff;
use crate::error::{errno, Error};
use crate::events::Event;
use crate::kernel::{Kernel, Listed};
use crate::nodes::{NodeDetails, NODES_SINCE};
use crate::refusal::Refusal;
use crate::routes::{Ended, Filter, ListedRoute, RoutePages};
use crate::snapshot::Snapshot;

/// How often something is tried again when the configuration changed meanwhile.
const TRIES: u32 = 4;

/// A connection to fep's kernel side.
pub struct Client {
    kernel: Box<dyn Kernel>,
    /// Version of the ABI that the module speaks.
    abi: (u32, u32),
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The changes, in their order.
    pub changes: Vec<Change>,
    /// The configuration's generation afterwards.
    pub generation: u64,
    /// Routes that it deleted.
    pub routes_deleted: u64,
    /// Whether it was only checked.
    pub dry_run: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Connects, and makes sure that both sides speak the same ABI.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCommand`] or [`Error::AbiVersion`] where they do not.
    pub fn connect(kernel: Box<dyn Kernel>) -> Result<Self, Error> {
        let mut client = Self {
            kernel,
            abi: (ABI_MAJOR, ABI_MINOR),
        };
        client.status()?;
        Ok(client)
    }

    /// The state of the namespace.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub fn status(&mut self) -> Result<Status, Error> {
        let status = self
            .kernel
            .status()
            .map_err(|error| Error::from_call("status", error))?;
        self.abi = (status.abi_major, status.abi_minor);
        if status.abi_major == ABI_MAJOR {
            Ok(status)
        } else {
            Err(Error::AbiVersion {
                major: status.abi_major,
                minor: status.abi_minor,
            })
        }
    }

    /// Everything but the routes, all of one generation.
    ///
    /// # Errors
    ///
    /// [`Error::KeepsChanging`] where that cannot be had.
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        for _ in 0..TRIES {
            if let Some(snapshot) = Snapshot::read(self)? {
                return Ok(snapshot);
            }
        }
        Err(Error::KeepsChanging { tries: TRIES })
    }

    /// Applies changes in one step, all or none.
    ///
    /// `expect` is the generation that they were computed from, 0 for any.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the change and the rule it broke.
    pub fn commit(
        &mut self,
        changes: Vec<Change>,
        dry_run: bool,
        expect: u64,
    ) -> Result<Outcome, Error> {
        let ops: Vec<Op> = changes.iter().map(Change::to_op).collect();
        let flags = if dry_run { FLAG_DRY_RUN } else { 0 };
        match self.kernel.commit(&ops, flags, expect) {
            Ok(commit) => Ok(Outcome {
                changes,
                generation: commit.generation,
                routes_deleted: commit.routes_deleted,
                dry_run,
            }),
            Err(error) => Err(refused(error, &changes, self.abi)),
        }
    }

    /// Applies what `changes` computes from the configuration in force, in one step.
    ///
    /// Should the configuration change between reading and applying, it is computed anew.
    ///
    /// # Errors
    ///
    /// The error of `changes`, and [`Error::KeepsChanging`] after a few tries.
    pub fn update<E: From<Error>>(
        &mut self,
        dry_run: bool,
        mut changes: impl FnMut(&Snapshot) -> Result<Vec<Change>, E>,
    ) -> Result<Outcome, E> {
        for _ in 0..TRIES {
            let snapshot = self.snapshot()?;
            let changes = changes(&snapshot)?;
            let expect = snapshot.generation;
            if changes.is_empty() {
                return Ok(Outcome {
                    generation: expect,
                    dry_run,
                    ..Outcome::default()
                });
            }
            match self.commit(changes, dry_run, expect) {
                Err(Error::Refused(refusal))
                    if refusal.reason == Some(Reason::GenerationChanged) => {}
                result => return result.map_err(E::from),
            }
        }
        Err(Error::KeepsChanging { tries: TRIES }.into())
    }

    /// Makes the kernel's configuration the desired one, in one step.
    ///
    /// # Errors
    ///
    /// As [`Client::update`].
    pub fn apply(&mut self, desired: &Config, dry_run: bool) -> Result<Outcome, Error> {
        self.update(dry_run, |snapshot| Ok(diff(&snapshot.config(), desired)))
    }

    /// The allocated routes, page by page.
    pub fn routes(&mut self, filter: &Filter) -> RoutePages<'_> {
        RoutePages::new(self, filter)
    }

    /// The allocated routes, page by page, as they may be handed back: see [`Client::end_routes`].
    pub fn listed_routes(&mut self, filter: &Filter) -> RoutePages<'_> {
        RoutePages::with_tokens(self, filter)
    }

    /// Deletes routes that [`Client::listed_routes`] has listed, each only if no packet has used it since
    /// (F7, F8). So whoever has found out that a connection is dead may hand its route back: a
    /// client that has used its port again meanwhile keeps it.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] without `CAP_NET_ADMIN`. Some routes may be gone by then.
    pub fn end_routes(&mut self, routes: &[ListedRoute]) -> Result<Ended, Error> {
        let mut ended = Ended::default();
        let most = usize::try_from(END_ROUTES_MAX).unwrap_or(usize::MAX);
        for part in routes.chunks(most) {
            let records: Vec<RouteRecord> = part.iter().map(|route| route.record).collect();
            let out = self.kernel.end_routes(&records);
            let out = out.map_err(|error| Error::from_call("end of routes", error))?;
            ended.deleted += out.deleted;
            ended.used += out.used;
            ended.gone += out.gone;
        }
        Ok(ended)
    }

    /// Has events kept from now on, for [`Client::wait_for_events`]; returns the number of the next.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] without `CAP_NET_ADMIN`, [`Error::UnknownCommand`] from a module of ABI
    /// 1.1 or older.
    pub fn subscribe(&mut self) -> Result<u64, Error> {
        let next = self.kernel.subscribe(EVENTS_MAX);
        next.map_err(|error| Error::from_call("events", error))
    }

    /// Waits for events, and returns those that there are.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn wait_for_events(&mut self) -> Result<Vec<Event>, Error> {
        let mut events = [fep_uapi::Event::default(); 64];
        let read = loop {
            match self.kernel.read_events(&mut events) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| Error::from_call("events", error))?,
            }
        };
        events.iter().take(read).map(Event::try_from).collect()
    }

    /// More about every back-end node, by service. Nothing from a module of ABI 1.1 or older.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] without `CAP_NET_ADMIN`, [`Error::KeepsChanging`] after a few tries.
    pub fn nodes(&mut self) -> Result<Vec<NodeDetails>, Error> {
        if self.abi.1 < NODES_SINCE {
            return Ok(Vec::new());
        }
        for _ in 0..TRIES {
            let generation = self.status()?.generation;
            if let Some(records) = self.list::<NodeRecord>("dump of the nodes", generation)? {
                return records.iter().map(NodeDetails::try_from).collect();
            }
        }
        Err(Error::KeepsChanging { tries: TRIES })
    }

    /// Deletes allocated routes; returns how many.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] without `CAP_NET_ADMIN`.
    pub fn flush_routes(&mut self, filter: &Filter) -> Result<u64, Error> {
        let flush = FlushRoutes {
            service: filter.service.map(Into::into).unwrap_or_default(),
            backend: filter.backend.map(Into::into).unwrap_or_default(),
            ..FlushRoutes::default()
        };
        self.kernel
            .flush_routes(&flush)
            .map_err(|error| filter.error("route flush", error))
    }

    /// Makes sure that what a filter names is there.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchService`] or [`Error::NoSuchBackend`].
    pub fn check_filter(&mut self, filter: &Filter) -> Result<(), Error> {
        if filter.is_empty() {
            return Ok(());
        }
        filter.check(&self.snapshot()?)
    }

    /// Reads one page of a list. Returns how many records it holds and whether it is the last one.
    pub(crate) fn page<T: Listed>(
        &mut self,
        dump: &mut Dump,
        records: &mut [T],
    ) -> std::io::Result<(usize, bool)> {
        let before = dump.cursor;
        let asked = dump.flags & DUMP_TOKENS;
        let count = self.kernel.dump(dump, T::page(records))?;
        let end = dump.flags & DUMP_END != 0;
        dump.flags = asked;
        // A page that neither holds anything nor moves on would be asked for again for ever.
        if count == 0 && !end && dump.cursor == before {
            return Err(std::io::Error::other("the list does not move on"));
        }
        Ok((count, end))
    }

    /// Reads a whole list, or nothing where the configuration is no longer of that generation.
    pub(crate) fn list<T: Listed>(
        &mut self,
        command: &'static str,
        generation: u64,
    ) -> Result<Option<Vec<T>>, Error> {
        let mut dump = Dump::default();
        let mut list = Vec::new();
        let mut records = vec![T::default(); T::PAGE];
        loop {
            let (count, end) = self
                .page(&mut dump, &mut records)
                .map_err(|error| Error::from_call(command, error))?;
            if dump.generation != generation {
                return Ok(None);
            }
            list.extend_from_slice(&records[..count]);
            if end {
                return Ok(Some(list));
            }
        }
    }
}

/// The error of a commit that was refused.
fn refused(error: CommitError, changes: &[Change], abi: (u32, u32)) -> Error {
    let CommitError {
        errno: number,
        commit,
    } = error;
    let reason = Reason::from_code(commit.reason);
    if reason == Some(Reason::None) {
        let source = std::io::Error::from_raw_os_error(number);
        // Only these are not about the changes.
        if !matches!(
            errno(&source),
            Errno::EINVAL | Errno::EEXIST | Errno::ENOENT
        ) {
            return Error::from_call("commit", source);
        }
    }
    let about_one = !matches!(
        reason,
        Some(Reason::BadOpCount | Reason::GenerationChanged | Reason::NamespaceGone)
    );
    let change = usize::try_from(commit.failed)
        .ok()
        .and_then(|failed| changes.get(failed))
        .filter(|_| about_one)
        .cloned();
    Error::Refused(Box::new(Refusal {
        reason,
        code: commit.reason,
        errno: number,
        change,
        abi,
    }))
}
