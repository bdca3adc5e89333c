// SPDX-License-Identifier: GPL-2.0

//! Routes whose connections have ended on their node (requirements F7 to F9): the node's connection
//! monitor is asked, and those that it does not know are handed back to the filter, which deletes them
//! unless they were used meanwhile.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use fep_client::{
    Client, Ended, Error, Filter, ListedRoute, Method, NodeAddr, Protocol, ServiceKey,
};
use fep_protocol::{Connection, ToAgent, Transport};

/// So many connections are asked about in one message, which is then a tenth of the longest.
const ASKED_MAX: usize = 1000;
/// So many routes are asked about at once; those behind them the next time.
const ROUTES_MAX: usize = 50_000;

/// What agents were asked and have not answered.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    next: u64,
    open: BTreeMap<(IpAddr, u64), Vec<ListedRoute>>,
}

impl Questions {
    /// The questions about all routes of a node for a service. While an answer is waited for there are
    /// none.
    pub(crate) fn about(
        &mut self,
        client: &mut Client,
        service: ServiceKey,
        node: NodeAddr,
        method: Method,
    ) -> Result<Vec<ToAgent>, Error> {
        let waits = |routes: &Vec<ListedRoute>| {
            let mut routes = routes.iter();
            routes.any(|listed| listed.route.service == service && listed.route.backend == node)
        };
        if self.open.values().any(waits) {
            return Ok(Vec::new());
        }
        let filter = Filter {
            service: Some(service),
            backend: Some(node.into()),
        };
        let mut routes = Vec::new();
        let mut pages = client.listed_routes(&filter);
        while let Some(page) = pages.next_listed()? {
            routes.extend(page);
            if routes.len() >= ROUTES_MAX {
                break;
            }
        }
        let mut messages = Vec::new();
        for part in routes.chunks(ASKED_MAX) {
            self.next += 1;
            let list = part.iter().map(|listed| connection(listed, method));
            messages.push(ToAgent::Connections {
                id: self.next,
                list: list.collect(),
            });
            self.open.insert((node.address, self.next), part.to_vec());
        }
        Ok(messages)
    }

    /// The agent of a node answered. Ends the routes of which it said that they are dead.
    pub(crate) fn answered(
        &mut self,
        client: &mut Client,
        node: IpAddr,
        id: u64,
        live: &[bool],
    ) -> Result<Ended, Error> {
        let Some(routes) = self.open.remove(&(node, id)) else {
            return Ok(Ended::default());
        };
        if routes.len() != live.len() {
            return Ok(Ended::default());
        }
        let dead: Vec<ListedRoute> = routes
            .into_iter()
            .zip(live)
            .filter(|(_, live)| !**live)
            .map(|(route, _)| route)
            .collect();
        client.end_routes(&dead)
    }

    /// The agent of a node could not answer a question.
    pub(crate) fn failed(&mut self, node: IpAddr, id: u64) {
        self.open.remove(&(node, id));
    }

    /// The link to the agent of a node ended: it answers nothing of what it was asked.
    pub(crate) fn lost(&mut self, node: IpAddr) {
        self.open.retain(|(asked, _), _| *asked != node);
    }
}

/// The connection of a route, as the node sees it.
fn connection(listed: &ListedRoute, method: Method) -> Connection {
    let route = &listed.route;
    let local = if method == Method::DR {
        SocketAddr::new(route.service.address, route.service.port)
    } else {
        SocketAddr::new(route.backend.address, route.backend.port)
    };
    Connection {
        transport: match route.service.protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
        },
        local,
        peer: SocketAddr::new(route.client.address, route.client.port),
    }
}
