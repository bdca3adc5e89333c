// SPDX-License-Identifier: GPL-2.0

//! The rules of the whole control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use fep_client::{Backend, Method, NodeAddr, Priority, ServiceKey, Weight};

use crate::health::Thresholds;
use crate::{load, pool, process};

/// The rules of the whole.
#[derive(Clone, Debug)]
pub struct Rules {
    /// When the ratio of a node changes.
    pub load: load::Rules,
    /// A report of load is good for so long.
    pub expiry: Duration,
    /// An agent from which nothing came for so long is dead.
    pub heartbeat: Duration,
    /// Dead routes of a node in maintenance are ended so often.
    pub end_dead_every: Duration,
    /// The nodes that have an agent.
    pub agents: BTreeSet<IpAddr>,
    /// The rules of each service; those that are not here have the defaults.
    pub services: BTreeMap<ServiceKey, ServiceRules>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            load: load::Rules::default(),
            expiry: Duration::from_secs(10),
            heartbeat: Duration::from_secs(3),
            end_dead_every: Duration::from_secs(2),
            agents: BTreeSet::new(),
            services: BTreeMap::new(),
        }
    }
}

/// The rules of a service.
#[derive(Clone, Debug, Default)]
pub struct ServiceRules {
    /// When a node fails and returns.
    pub thresholds: Thresholds,
    /// How many may be out, and what happens when all are down.
    pub pool: pool::Rules,
    /// A node that gets the new clients while no other one does. Its weight is what it gets then.
    pub sorry: Option<Backend>,
    /// The processes that come and go with the load.
    pub processes: Option<ProcessRules>,
}

/// The processes of a service.
#[derive(Clone, Debug)]
pub struct ProcessRules {
    /// When they come and go.
    pub rules: process::Rules,
    /// The nodes that may be given one, with their priorities; the lower number comes first.
    pub candidates: BTreeMap<NodeAddr, u32>,
    /// The weight that such a node gets.
    pub weight: Weight,
    /// Which nodes come before it.
    pub priority: Priority,
    /// How packets reach it.
    pub method: Method,
}
