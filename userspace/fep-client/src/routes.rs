// SPDX-License-Identifier: GPL-2.0

//! Allocated routes. There may be a hundred million of them, so they come page by page.

use std::io;
use std::time::Duration;

use fep_uapi::{Dump, RouteRecord, RouteState, DUMP_TOKENS};
use nix::errno::Errno;

use crate::client::Client;
use crate::error::{errno, Error};
use crate::kernel::Listed;
use crate::name::{NodeAddr, NodePattern, ServiceKey};
use crate::snapshot::Snapshot;

/// Which routes are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this service.
    pub service: Option<ServiceKey>,
    /// Only those of this node.
    pub backend: Option<NodePattern>,
}

/// An allocated route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The service.
    pub service: ServiceKey,
    /// The client.
    pub client: NodeAddr,
    /// The node.
    pub backend: NodeAddr,
    /// The state of its connection.
    pub state: RouteState,
    /// How long no packet used it, to within a second.
    pub idle: Duration,
    /// When it ends if it stays idle.
    pub expires: Duration,
}

/// An allocated route as it was listed, to be handed back if its connection is dead
/// ([`Client::end_routes`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedRoute {
    /// The route.
    pub route: Route,
    pub(crate) record: RouteRecord,
}

/// What became of routes that were handed back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// They were deleted.
    pub deleted: u64,
    /// They were used since they were listed, or end within two seconds of their last use: they stay.
    pub used: u64,
    /// They had ended by themselves.
    pub gone: u64,
}

/// The allocated routes, page by page: memory for one page, whatever their number.
#[derive(Debug)]
pub struct RoutePages<'a> {
    client: &'a mut Client,
    filter: Filter,
    dump: Dump,
    records: Vec<RouteRecord>,
    end: bool,
}

impl Filter {
    /// Whether it lets everything through.
    pub const fn is_empty(&self) -> bool {
        self.service.is_none() && self.backend.is_none()
    }

    /// Makes sure that what it names is there.
    pub(crate) fn check(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let services = match &self.service {
            None => snapshot.services.as_slice(),
            Some(key) => snapshot
                .service(key)
                .map(std::slice::from_ref)
                .ok_or(Error::NoSuchService(*key))?,
        };
        let Some(backend) = self.backend else {
            return Ok(());
        };
        let mut nodes = services.iter().flat_map(|service| &service.backends);
        if nodes.any(|node| backend.matches(&node.addr)) {
            Ok(())
        } else {
            Err(Error::NoSuchBackend {
                backend,
                service: self.service,
            })
        }
    }

    /// The error of a command with this filter.
    pub(crate) fn error(&self, command: &'static str, source: io::Error) -> Error {
        match (errno(&source), self.backend, self.service) {
            (Errno::ENOENT, Some(backend), service) => Error::NoSuchBackend { backend, service },
            (Errno::ENOENT, None, Some(service)) => Error::NoSuchService(service),
            _ => Error::from_call(command, source),
        }
    }
}

impl<'a> RoutePages<'a> {
    pub(crate) fn new(client: &'a mut Client, filter: &Filter) -> Self {
        let dump = Dump {
            service: filter.service.map(Into::into).unwrap_or_default(),
            backend: filter.backend.map(Into::into).unwrap_or_default(),
            ..Dump::default()
        };
        Self {
            client,
            filter: *filter,
            dump,
            records: vec![RouteRecord::default(); RouteRecord::PAGE],
            end: false,
        }
    }

    pub(crate) fn with_tokens(client: &'a mut Client, filter: &Filter) -> Self {
        let mut pages = Self::new(client, filter);
        pages.dump.flags = DUMP_TOKENS;
        pages
    }

    /// The next page of routes that may be handed back, which may be empty; `None` after the last one.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] without `CAP_NET_ADMIN`.
    pub fn next_listed(&mut self) -> Result<Option<Vec<ListedRoute>>, Error> {
        let Some(count) = self.read_page()? else {
            return Ok(None);
        };
        let records = self.records[..count].iter();
        let listed = records.map(|record| {
            Ok(ListedRoute {
                route: Route::try_from(record)?,
                record: *record,
            })
        });
        listed.collect::<Result<_, Error>>().map(Some)
    }

    /// The next page, which may be empty; `None` after the last one.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] without `CAP_NET_ADMIN`.
    pub fn next_page(
        &mut self,
    ) -> Result<Option<impl Iterator<Item = Result<Route, Error>> + '_>, Error> {
        let count = self.read_page()?;
        Ok(count.map(|count| self.records[..count].iter().map(Route::try_from)))
    }

    /// Reads the next page; returns how many records it has.
    fn read_page(&mut self) -> Result<Option<usize>, Error> {
        if self.end {
            return Ok(None);
        }
        let (count, end) = self
            .client
            .page(&mut self.dump, &mut self.records)
            .map_err(|error| self.filter.error("route list", error))?;
        self.end = end;
        Ok(Some(count))
    }
}

impl TryFrom<&RouteRecord> for Route {
    type Error = Error;

    fn try_from(record: &RouteRecord) -> Result<Self, Error> {
        Ok(Self {
            service: ServiceKey::try_from(&record.service)?,
            client: NodeAddr::try_from(&record.client)?,
            backend: NodeAddr::try_from(&record.backend)?,
            state: RouteState::from_code(record.state)
                .ok_or_else(|| Error::garbled("state of a route", record.state.into()))?,
            idle: Duration::from_millis(record.idle_ms.into()),
            expires: Duration::from_millis(record.expires_ms.into()),
        })
    }
}
