// SPDX-License-Identifier: GPL-2.0

//! Checks of nodes, as they are done.

mod command;
mod http;
mod icmp;
mod tcp;
mod tls;
mod udp;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use fep_client::ServiceKey;
use fep_config::{Check, Kind};
use tokio::time::timeout;

use crate::agents::Alive;
use crate::engine::{CheckResult, Order};

pub(crate) use tls::Tls;

/// What checks need beside the network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Means {
    /// TLS of HTTPS.
    pub(crate) tls: Arc<Tls>,
    /// Who has a link.
    pub(crate) agents: Alive,
}

/// Does all checks of an order, one after the other, until one is bad.
pub(crate) async fn run(means: &Means, order: &Order) -> CheckResult {
    let (service, node) = order.place;
    for check in order.checks.iter() {
        let at = SocketAddr::new(node.address, check.port.unwrap_or(node.port));
        let done = match timeout(check.timeout, one(means, check, service, at)).await {
            Ok(done) => done,
            Err(_) => Err(format!("no answer in {}", fep_config::shown(check.timeout))),
        };
        done.map_err(|why| format!("{}: {why}", check.kind.name()))?;
    }
    Ok(())
}

async fn one(means: &Means, check: &Check, service: ServiceKey, at: SocketAddr) -> CheckResult {
    match &check.kind {
        Kind::Tcp => tcp::run(at).await,
        Kind::Http(http) => http::run(&means.tls, http, at).await,
        Kind::Icmp => icmp::run(at.ip()).await,
        Kind::Udp { send, expect } => udp::run(send, expect.as_ref(), at).await,
        Kind::Command(argv) => command::run(argv, service, at).await,
        // The link says so by itself.
        Kind::Agent if means.agents.has(at.ip()) => Ok(()),
        Kind::Agent => Err("there is no link to it".to_owned()),
    }
}
