// SPDX-License-Identifier: GPL-2.0

//! Routes that were listed are handed back: those that were not used since are deleted (F7, F8).

use crate::{dump::token, route::Kind, state::NetState};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use fep_core::validate::{client, Node, Service};
use fep_uapi::{EndRoutes, RouteRecord};
use kernel::prelude::*;

/// What became of a route.
#[derive(Clone, Copy)]
enum Fate {
    Deleted,
    Used,
    Gone,
}

impl NetState {
    /// Deletes a route, unless it was used since it was listed, and counts what became of it. Without
    /// `delete`, only checks the record.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the record names no route.
    pub(crate) fn end_route(
        &self,
        record: &RouteRecord,
        delete: bool,
        out: &mut EndRoutes,
    ) -> Result {
        let service = Service::try_from(&record.service).map_err(|_| EINVAL)?;
        let node = Node::try_from(&record.backend).map_err(|_| EINVAL)?;
        let (address, port) = client(&record.client).map_err(|_| EINVAL)?;
        if !delete {
            let same = address.is_ipv4() == service.address.is_ipv4();
            let whole = record.reserved == 0;
            return if same && whole { Ok(()) } else { Err(EINVAL) };
        }
        let fate = match (address, service.address) {
            (IpAddr::V4(address), IpAddr::V4(_)) => {
                self.end::<Ipv4Addr>((address, port), &service, &node, record.token)
            }
            (IpAddr::V6(address), IpAddr::V6(_)) => {
                self.end::<Ipv6Addr>((address, port), &service, &node, record.token)
            }
            _ => return Err(EINVAL),
        };
        let counter = match fate {
            Fate::Deleted => &mut out.deleted,
            Fate::Used => &mut out.used,
            Fate::Gone => &mut out.gone,
        };
        *counter = counter.saturating_add(1);
        Ok(())
    }

    fn end<A: Kind>(
        &self,
        (address, port): (A, u16),
        service: &Service,
        node: &Node,
        listed: u64,
    ) -> Fate {
        let client = address.client(service.protocol, port);
        let hash = A::hash_of(client, &self.hash_key);
        let mut fate = Fate::Gone;
        A::table(&self.routes).retain(hash, hash, |route| {
            let seen = route.seen();
            let info = seen.info;
            let meant = route.is_of(client) && info.service.id == *service && info.node == *node;
            if !meant || !seen.live {
                return true;
            }
            if token(seen.view.last_used) != listed {
                fate = Fate::Used;
                return true;
            }
            self.route_deleted(&seen);
            fate = Fate::Deleted;
            false
        });
        fate
    }
}
