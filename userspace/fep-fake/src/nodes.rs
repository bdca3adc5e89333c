// SPDX-License-Identifier: GPL-2.0

//! What the control plane asks beyond lists of the configuration.

use fep_core::validate::{NodePattern, Service};
use fep_uapi::{EndRoutes, NodeRecord, Reason, RouteRecord};

use crate::state::{ServiceEntry, State};

impl State {
    /// Takes down the load of every node that matches.
    pub(crate) fn report_load(
        &mut self,
        service: Option<Service>,
        pattern: NodePattern,
        load: u32,
    ) -> Result<(), Reason> {
        let meant = |entry: &ServiceEntry| service.is_none_or(|service| service == entry.service);
        if !self.entries.iter().any(meant) && service.is_some() {
            return Err(Reason::NoSuchService);
        }
        let entries = self.entries.iter_mut().filter(|entry| meant(entry));
        let nodes = entries.flat_map(|entry| &mut entry.backends);
        let mut found = false;
        for node in nodes.filter(|node| pattern.matches(&node.node)) {
            node.load = load;
            found = true;
        }
        found.then_some(()).ok_or(Reason::NoSuchBackend)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeRecord> + '_ {
        let details = self.entries.iter().flat_map(|entry| &entry.backends);
        self.backends()
            .zip(details)
            .map(|(record, node)| NodeRecord {
                service: record.service,
                backend: record.backend,
                weight: record.weight,
                state: record.state,
                priority: node.priority,
                load: node.load,
                routes: record.routes,
                connections: record.traffic.connections,
                ..NodeRecord::default()
            })
    }

    /// Deletes routes that have the token they were listed with.
    pub(crate) fn end_routes(&mut self, listed: &[RouteRecord]) -> EndRoutes {
        let mut out = EndRoutes::default();
        for ended in listed {
            let same = |route: &RouteRecord| {
                (route.service, route.client, route.backend)
                    == (ended.service, ended.client, ended.backend)
            };
            match self.routes.iter().position(same) {
                None => out.gone += 1,
                Some(at) if self.routes[at].token == ended.token => {
                    self.routes.remove(at);
                    out.deleted += 1;
                }
                Some(_) => out.used += 1,
            }
        }
        out
    }
}
