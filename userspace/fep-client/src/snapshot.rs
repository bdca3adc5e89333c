// SPDX-License-Identifier: GPL-2.0

//! Everything that the kernel holds but the routes, at one generation.

use std::collections::HashMap;
use std::fmt;

use fep_uapi::{
    BackendRecord, DeviceRecord, NodeRecord, Scheduler, ServiceId, ServiceRecord, Traffic,
    COUNTERS, STATE_FAILED,
};

use crate::client::Client;
use crate::config::{Backend, Config, Priority, Service, Timeouts, Weight};
use crate::error::Error;
use crate::method::Method;
use crate::name::{text_field, DeviceName, NodeAddr, ServiceKey};
use crate::nodes::{NodeDetails, NODES_SINCE};

/// The state of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Version of the module.
    pub version: String,
    /// Version of the ABI that it speaks.
    pub abi: (u32, u32),
    /// Generation of the configuration.
    pub generation: u64,
    /// Allocated routes.
    pub routes: u64,
    /// Their limit.
    pub routes_limit: u32,
    /// Hash buckets of the allocated-route table.
    pub buckets: u32,
    /// Counters of the namespace, indexed by [`Counter`](fep_uapi::Counter).
    pub counters: [u64; COUNTERS],
    /// Attached devices, in the order of attachment.
    pub devices: Vec<DeviceState>,
    /// Services, in the order of addition.
    pub services: Vec<ServiceState>,
}

/// An attached device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// Its name.
    pub name: DeviceName,
    /// Its interface index.
    pub ifindex: u32,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// Its name.
    pub key: ServiceKey,
    /// Its scheduler.
    pub scheduler: Scheduler,
    /// Its timeouts as set.
    pub timeouts: Timeouts,
    /// Its allocated routes.
    pub routes: u64,
    /// Its traffic, that of removed nodes included.
    pub traffic: Traffic,
    /// Its counters, indexed by [`Counter`](fep_uapi::Counter).
    pub counters: [u64; COUNTERS],
    /// Its nodes, in the order of addition.
    pub backends: Vec<BackendState>,
}

/// A back-end node of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendState {
    /// Its address.
    pub addr: NodeAddr,
    /// Its weight.
    pub weight: Weight,
    /// Which nodes come before it; 0 with a module that has no priorities.
    pub priority: Priority,
    /// How packets reach it.
    pub method: Method,
    /// Whether it is marked failed.
    pub failed: bool,
    /// Its allocated routes.
    pub routes: u64,
    /// Its traffic.
    pub traffic: Traffic,
}

/// Whether a node takes clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It takes new clients.
    Up,
    /// It keeps the clients it has and takes no new ones: its weight is 0.
    Draining,
    /// It has no clients and takes none: it is marked failed.
    Failed,
}

impl State {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl BackendState {
    /// Whether it takes clients.
    pub const fn state(&self) -> State {
        if self.failed {
            State::Failed
        } else if self.weight.0 == 0 {
            State::Draining
        } else {
            State::Up
        }
    }

    /// The weight that counts now: none while it is marked failed.
    pub const fn effective_weight(&self) -> u32 {
        if self.failed {
            0
        } else {
            self.weight.0
        }
    }
}

impl ServiceState {
    /// The share of new clients that each node is asked to take, in percent, in their order.
    pub fn shares_asked(&self) -> Vec<f64> {
        let weights: Vec<u64> = self
            .backends
            .iter()
            .map(|backend| backend.effective_weight().into())
            .collect();
        percent(&weights)
    }

    /// The share of the clients so far that each node was given, in percent, in their order.
    pub fn shares_achieved(&self) -> Vec<f64> {
        let connections: Vec<u64> = self
            .backends
            .iter()
            .map(|backend| backend.traffic.connections)
            .collect();
        percent(&connections)
    }
}

impl ServiceState {
    /// The share of the live routes that each node has, in percent, in their order.
    pub fn shares_live(&self) -> Vec<f64> {
        let routes: Vec<u64> = self.backends.iter().map(|backend| backend.routes).collect();
        percent(&routes)
    }
}

/// Each as percent of the sum; all 0 where there is none.
#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage needs no more than 53 bits"
)]
fn percent(parts: &[u64]) -> Vec<f64> {
    let sum: u128 = parts.iter().copied().map(u128::from).sum();
    let of = |part: u64| match sum {
        0 => 0.0,
        sum => part as f64 * 100.0 / sum as f64,
    };
    parts.iter().copied().map(of).collect()
}

impl Snapshot {
    /// Reads it, or nothing where the configuration changed meanwhile.
    pub(crate) fn read(client: &mut Client) -> Result<Option<Self>, Error> {
        let status = client.status()?;
        let generation = status.generation;
        let Some(devices) = client.list::<DeviceRecord>("dump of the devices", generation)? else {
            return Ok(None);
        };
        let Some(services) = client.list::<ServiceRecord>("dump of the services", generation)?
        else {
            return Ok(None);
        };
        let Some(backends) = client.list::<BackendRecord>("dump of the backends", generation)?
        else {
            return Ok(None);
        };
        let mut priorities = HashMap::new();
        if status.abi_minor >= NODES_SINCE {
            let Some(records) = client.list::<NodeRecord>("dump of the nodes", generation)? else {
                return Ok(None);
            };
            for record in &records {
                let node = NodeDetails::try_from(record)?;
                priorities.insert((node.service, node.backend), Priority(node.priority));
            }
        }
        let mut nodes: HashMap<ServiceKey, Vec<BackendState>> = HashMap::new();
        for record in &backends {
            let service = key(&record.service)?;
            let mut node = backend(record)?;
            if let Some(priority) = priorities.get(&(service, node.addr)) {
                node.priority = *priority;
            }
            nodes.entry(service).or_default().push(node);
        }
        let services = services.iter().map(|record| service(record, &mut nodes));
        Ok(Some(Self {
            version: text_field(&status.version),
            abi: (status.abi_major, status.abi_minor),
            generation,
            routes: status.routes,
            routes_limit: status.routes_limit,
            buckets: status.buckets,
            counters: status.counters,
            devices: devices.iter().map(device).collect::<Result<_, _>>()?,
            services: services.collect::<Result<_, _>>()?,
        }))
    }

    /// The configuration in it.
    pub fn config(&self) -> Config {
        let backend = |backend: &BackendState| Backend {
            addr: backend.addr,
            weight: backend.weight,
            priority: backend.priority,
            method: backend.method,
            failed: Some(backend.failed),
        };
        let service = |service: &ServiceState| Service {
            key: service.key,
            scheduler: service.scheduler,
            timeouts: service.timeouts,
            backends: service.backends.iter().map(backend).collect(),
        };
        let devices = self.devices.iter().map(|device| device.name.clone());
        Config {
            devices: Some(devices.collect()),
            limit: Some(self.routes_limit),
            services: Some(self.services.iter().map(service).collect()),
        }
    }

    /// A service of it.
    pub fn service(&self, key: &ServiceKey) -> Option<&ServiceState> {
        self.services.iter().find(|service| service.key == *key)
    }
}

fn key(id: &ServiceId) -> Result<ServiceKey, Error> {
    ServiceKey::try_from(id)
}

fn device(record: &DeviceRecord) -> Result<DeviceState, Error> {
    Ok(DeviceState {
        name: DeviceName::from_abi(&record.name)?,
        ifindex: record.ifindex,
    })
}

fn service(
    record: &ServiceRecord,
    nodes: &mut HashMap<ServiceKey, Vec<BackendState>>,
) -> Result<ServiceState, Error> {
    let key = key(&record.service)?;
    Ok(ServiceState {
        key,
        scheduler: Scheduler::from_code(record.scheduler)
            .ok_or_else(|| Error::garbled("scheduler", record.scheduler.into()))?,
        timeouts: Timeouts::from_abi(record.timeouts),
        routes: record.routes,
        traffic: record.traffic,
        counters: record.counters,
        backends: nodes.remove(&key).unwrap_or_default(),
    })
}

fn backend(record: &BackendRecord) -> Result<BackendState, Error> {
    Ok(BackendState {
        addr: NodeAddr::try_from(&record.backend)?,
        weight: Weight(record.weight),
        priority: Priority::default(),
        method: Method::from_code(record.method),
        failed: record.state & STATE_FAILED != 0,
        routes: record.routes,
        traffic: record.traffic,
    })
}
