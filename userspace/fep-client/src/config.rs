// SPDX-License-Identifier: GPL-2.0

//! A configuration, as a file says it and as the kernel holds it.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use fep_uapi::{
    Scheduler, PRIORITY_MAX, TIMEOUTS, TIMEOUT_DEFAULTS, TIMEOUT_TCP_CLOSING,
    TIMEOUT_TCP_ESTABLISHED, TIMEOUT_TCP_RESET, TIMEOUT_TCP_SYN, TIMEOUT_UDP, WEIGHT_MAX,
};
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::change::Change;
use crate::method::Method;
use crate::name::{DeviceName, NodeAddr, ServiceKey};

/// A configuration.
///
/// As a wish, a part that is `None` is left as it is. What the kernel holds has every part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The attached devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<DeviceName>>,
    /// The limit of the allocated-route table, in routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<Service>>,
}

/// A service of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub key: ServiceKey,
    /// How it chooses a node for a new client.
    #[serde(with = "scheduler", default = "scheduler::default")]
    pub scheduler: Scheduler,
    /// When its routes end.
    #[serde(default, skip_serializing_if = "Timeouts::is_default")]
    pub timeouts: Timeouts,
    /// Its nodes.
    #[serde(default)]
    pub backends: Vec<Backend>,
}

/// A back-end node of a service of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Its address.
    pub addr: NodeAddr,
    /// Its share of the new clients.
    #[serde(default)]
    pub weight: Weight,
    /// Which nodes come before it.
    #[serde(default, skip_serializing_if = "Priority::is_default")]
    pub priority: Priority,
    /// How packets reach it.
    #[serde(default, skip_serializing_if = "Method::is_default")]
    pub method: Method,
    /// Whether it is marked failed. As a wish, `None` leaves the mark as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<bool>,
}

/// A node's share of the new clients, relative to the other weights of its service; 0 drains it.
///
/// The largest is [`WEIGHT_MAX`]; the kernel checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Weight(pub u32);

/// A node's place among the others of its service; the lower number comes first.
///
/// The largest is [`PRIORITY_MAX`]; the kernel checks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Priority(pub u32);

/// Timeouts of a service, in seconds; 0 stands for the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// A TCP connection that is being opened.
    #[serde(skip_serializing_if = "is_zero")]
    pub syn: u32,
    /// An established TCP connection.
    #[serde(skip_serializing_if = "is_zero")]
    pub established: u32,
    /// A TCP connection of which one or both sides have closed.
    #[serde(skip_serializing_if = "is_zero")]
    pub closing: u32,
    /// A TCP connection that was reset.
    #[serde(skip_serializing_if = "is_zero")]
    pub reset: u32,
    /// A UDP client.
    #[serde(skip_serializing_if = "is_zero")]
    pub udp: u32,
}

/// A place in a configuration, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A device.
    Device(usize),
    /// The limit.
    Limit,
    /// A service.
    Service(usize),
    /// A back-end node of a service.
    Backend(usize, usize),
}

/// Something is in a configuration twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Duplicate {
    /// The second one.
    pub place: Place,
    text: String,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_u32(Number("weight", WEIGHT_MAX)).map(Self)
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_u32(Number("priority", PRIORITY_MAX))
            .map(Self)
    }
}

/// A number that is called so, and the largest that the kernel takes.
struct Number(&'static str, u32);

impl Visitor<'_> for Number {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} from 0 to {}", self.0, self.1)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u32, E> {
        // One that is above the limit, but fits, is the kernel's to refuse.
        u32::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u32, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }
}

impl Priority {
    /// Whether it is the one that a node has until it is given another.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Weight {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Timeouts {
    /// Whether all have their default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// In the order of the ABI.
    pub fn to_abi(self) -> [u32; TIMEOUTS] {
        let mut all = [0; TIMEOUTS];
        all[TIMEOUT_TCP_SYN] = self.syn;
        all[TIMEOUT_TCP_ESTABLISHED] = self.established;
        all[TIMEOUT_TCP_CLOSING] = self.closing;
        all[TIMEOUT_TCP_RESET] = self.reset;
        all[TIMEOUT_UDP] = self.udp;
        all
    }

    /// From the order of the ABI.
    pub fn from_abi(all: [u32; TIMEOUTS]) -> Self {
        Self {
            syn: all[TIMEOUT_TCP_SYN],
            established: all[TIMEOUT_TCP_ESTABLISHED],
            closing: all[TIMEOUT_TCP_CLOSING],
            reset: all[TIMEOUT_TCP_RESET],
            udp: all[TIMEOUT_UDP],
        }
    }

    /// With the defaults in the place of 0.
    pub fn effective(self) -> Self {
        let mut all = self.to_abi();
        for (value, default) in all.iter_mut().zip(TIMEOUT_DEFAULTS) {
            if *value == 0 {
                *value = default;
            }
        }
        Self::from_abi(all)
    }

    /// Each with its name, in the order of the ABI.
    pub fn named(self) -> [(&'static str, u32); TIMEOUTS] {
        [
            ("syn", self.syn),
            ("established", self.established),
            ("closing", self.closing),
            ("reset", self.reset),
            ("udp", self.udp),
        ]
    }
}

/// The scheduler of a name.
pub fn scheduler_named(name: &str) -> Option<Scheduler> {
    Scheduler::ALL
        .iter()
        .copied()
        .find(|scheduler| scheduler.name() == name)
}

mod scheduler {
    use super::*;
    use serde::de::Error;
    use serde::Serializer;

    pub(super) fn default() -> Scheduler {
        Scheduler::Wrr
    }

    pub(super) fn serialize<S: Serializer>(value: &Scheduler, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Scheduler, D::Error> {
        let name = String::deserialize(from)?;
        scheduler_named(&name).ok_or_else(|| {
            let known = "a scheduler: \"wrr\", \"optimal\" or \"steer\"";
            D::Error::invalid_value(Unexpected::Str(&name), &known)
        })
    }
}

impl Config {
    /// Checks that nothing is there twice.
    ///
    /// # Errors
    ///
    /// The first thing that is.
    pub fn check_unique(&self) -> Result<(), Duplicate> {
        let duplicate = |place, text| Err(Duplicate { place, text });
        let mut seen = HashSet::new();
        for (at, device) in self.devices.iter().flatten().enumerate() {
            if !seen.insert(device) {
                return duplicate(
                    Place::Device(at),
                    format!("device {device} is listed twice"),
                );
            }
        }
        let mut seen = HashSet::new();
        for (at, service) in self.services.iter().flatten().enumerate() {
            let key = service.key;
            if !seen.insert(key) {
                return duplicate(Place::Service(at), format!("service {key} is listed twice"));
            }
            let mut seen = HashSet::new();
            for (node, backend) in service.backends.iter().enumerate() {
                let addr = backend.addr;
                if !seen.insert(addr) {
                    return duplicate(
                        Place::Backend(at, node),
                        format!("backend {addr} of {key} is listed twice"),
                    );
                }
            }
        }
        Ok(())
    }

    /// Where in this configuration a change comes from, if it comes from something that is in it.
    pub fn place_of(&self, change: &Change) -> Option<Place> {
        let device = |name: &DeviceName| {
            let mut devices = self.devices.iter().flatten();
            devices.position(|device| device == name).map(Place::Device)
        };
        let service = |key: &ServiceKey| {
            let mut services = self.services.iter().flatten();
            services.position(|service| service.key == *key)
        };
        let backend = |key: &ServiceKey, addr: &NodeAddr| {
            let at = service(key)?;
            let nodes = &self.services.as_ref()?.get(at)?.backends;
            let node = nodes.iter().position(|backend| backend.addr == *addr)?;
            Some(Place::Backend(at, node))
        };
        match change {
            Change::DeviceAttach(name) | Change::DeviceDetach(name) => device(name),
            Change::ServiceAdd { service: key, .. }
            | Change::ServiceSet { service: key, .. }
            | Change::ServiceDel(key) => service(key).map(Place::Service),
            Change::BackendAdd {
                service,
                backend: addr,
                ..
            }
            | Change::BackendSet {
                service,
                backend: addr,
                ..
            }
            | Change::BackendDel {
                service,
                backend: addr,
            }
            | Change::BackendPriority {
                service,
                backend: addr,
                ..
            } => backend(service, addr),
            Change::BackendFail {
                service,
                backend: node,
            }
            | Change::BackendRestore {
                service,
                backend: node,
            }
            | Change::BackendLoad {
                service,
                backend: node,
                ..
            } => {
                let addr = NodeAddr {
                    address: node.address,
                    port: node.port?,
                };
                backend(service.as_ref()?, &addr)
            }
            Change::LimitSet { .. } => self.limit.map(|_| Place::Limit),
        }
    }
}
