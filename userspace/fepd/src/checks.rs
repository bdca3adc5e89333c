// SPDX-License-Identifier: GPL-2.0

//! Checks of nodes, as they are done.

mod http;
mod tcp;

use std::net::SocketAddr;

use fep_config::{Check, Kind};
use tokio::time::timeout;

use crate::engine::{CheckResult, Order};

/// Does all checks of an order, one after the other, until one is bad.
pub(crate) async fn run(order: &Order) -> CheckResult {
    let (_, node) = order.place;
    for check in order.checks.iter() {
        let at = SocketAddr::new(node.address, check.port.unwrap_or(node.port));
        let done = match timeout(check.timeout, one(check, at)).await {
            Ok(done) => done,
            Err(_) => Err(format!("no answer in {}", fep_config::shown(check.timeout))),
        };
        done.map_err(|why| format!("{}: {why}", check.kind.name()))?;
    }
    Ok(())
}

async fn one(check: &Check, at: SocketAddr) -> CheckResult {
    match &check.kind {
        Kind::Tcp => tcp::run(at).await,
        Kind::Http(http) if !http.tls => http::run(http, at).await,
        other => Err(format!("fepd has no check of type {}", other.name())),
    }
}
