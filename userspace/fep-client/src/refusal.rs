// SPDX-License-Identifier: GPL-2.0

//! Why the kernel refused a commit, as a sentence that names the thing and the rule.

use std::fmt;

use fep_uapi::{
    Reason, ABI_MAJOR, ABI_MINOR, BACKENDS_MAX, DEVICES_MAX, LOAD_MAX, OPS_MAX, PRIORITY_MAX,
    ROUTES_LIMIT_MAX, ROUTES_LIMIT_MIN, SERVICES_MAX, TIMEOUT_MAX, WEIGHT_MAX,
};
use nix::errno::Errno;

use crate::address::{family_name, why_not_unicast};
use crate::change::Change;
use crate::method::Method;
use crate::name::NodePattern;

/// The first minor version of the ABI that has methods.
const METHODS_SINCE: u32 = 1;

/// A commit that broke a rule. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule; `None` where the module gave a code that this program does not know.
    pub reason: Option<Reason>,
    /// The module's code of the rule.
    pub code: u32,
    /// The error number of the call.
    pub errno: i32,
    /// The change that broke it, where it was one.
    pub change: Option<Change>,
    /// Version of the ABI that the module speaks.
    pub abi: (u32, u32),
}

impl Refusal {
    /// The reason's name for programs.
    pub fn reason_name(&self) -> &'static str {
        self.reason.map_or("unknown", Reason::name)
    }

    /// The keys that lead from the change's place in a configuration to the value that broke the
    /// rule; none where no single value did.
    pub fn keys(&self) -> Vec<&'static str> {
        let (Some(reason), Some(change)) = (self.reason, &self.change) else {
            return Vec::new();
        };
        match reason {
            Reason::TimeoutTooLong => {
                let name = self.long_timeout().map(|(name, _)| name);
                std::iter::once("timeouts").chain(name).collect()
            }
            Reason::BadScheduler => vec!["scheduler"],
            Reason::WeightTooLarge => vec!["weight"],
            Reason::BadMethod => vec!["method"],
            Reason::ReservedNotZero if self.method_is_too_new().is_some() => vec!["method"],
            Reason::BadFamily
            | Reason::FamilyUnsupported
            | Reason::BadProtocol
            | Reason::PortZero
            | Reason::AddressNotUnicast
            | Reason::PortNotService
            | Reason::FamilyMismatch
            | Reason::BackendIsVip => match change.backend() {
                Some(_) => vec!["addr"],
                None => vec!["key"],
            },
            _ => Vec::new(),
        }
    }

    /// What the sentence is about.
    fn subject(&self, reason: Reason) -> String {
        let Some(change) = &self.change else {
            return "the commit".to_owned();
        };
        match (change, reason) {
            (_, Reason::NoSuchService | Reason::ServiceExists | Reason::TooManyBackends) => {
                if let Some(service) = change.service() {
                    return format!("service {service}");
                }
            }
            (Change::ServiceAdd { service, .. }, Reason::BackendIsVip) => {
                return format!("service {service}");
            }
            _ => {}
        }
        match change {
            Change::DeviceAttach(name) | Change::DeviceDetach(name) => format!("device {name}"),
            Change::LimitSet { .. } => "limit".to_owned(),
            _ => match (change.backend(), change.service()) {
                (Some(backend), Some(service)) => format!("backend {backend} of {service}"),
                (Some(backend), None) => format!("backend {backend}"),
                (None, Some(service)) => format!("service {service}"),
                (None, None) => "the commit".to_owned(),
            },
        }
    }

    /// The rule, as the second half of a sentence.
    fn rule(&self, reason: Reason) -> String {
        match reason {
            Reason::None => format!("refused ({})", Errno::from_raw(self.errno).desc()),
            Reason::UnknownOp => {
                let kind = self
                    .change
                    .as_ref()
                    .map_or("this", |change| change.kind().name());
                format!("the module does not know the operation {kind}")
            }
            Reason::ReservedNotZero => match self.method_is_too_new() {
                Some(method) => self.unknown_method(method),
                None => "a field that must be zero is not".to_owned(),
            },
            Reason::UnknownFlag => "the module does not know a flag".to_owned(),
            Reason::BadFamily => "the address is neither IPv4 nor IPv6".to_owned(),
            Reason::FamilyUnsupported => {
                format!(
                    "the module does not do IPv6, or the host does not (ipv6.disable=1){}",
                    self.if_older()
                )
            }
            Reason::BadProtocol => "the protocol is neither tcp nor udp".to_owned(),
            Reason::PortZero => "0 is not a port (1 to 65535)".to_owned(),
            Reason::AddressNotUnicast => self.not_unicast(),
            Reason::WeightTooLarge => match &self.change {
                Some(Change::BackendAdd { weight, .. } | Change::BackendSet { weight, .. }) => {
                    format!("weight {weight} is above the limit {WEIGHT_MAX}")
                }
                _ => format!("the weight is above the limit {WEIGHT_MAX}"),
            },
            Reason::BadScheduler => "the module does not know the scheduler".to_owned(),
            Reason::TimeoutTooLong => match self.long_timeout() {
                Some((name, seconds)) => {
                    format!("timeout {name} of {seconds} s is above the limit {TIMEOUT_MAX} s")
                }
                None => format!("a timeout is above the limit {TIMEOUT_MAX} s"),
            },
            Reason::ServiceExists => "it is there already".to_owned(),
            Reason::NoSuchService => "there is no such service".to_owned(),
            Reason::BackendExists => "it is there already".to_owned(),
            Reason::NoSuchBackend => match &self.change {
                Some(change) if change.service().is_none() => {
                    let hint = change.backend().as_ref().map(NodePattern::if_port);
                    format!("no service has such a backend{}", hint.unwrap_or_default())
                }
                _ => "there is no such backend".to_owned(),
            },
            Reason::BadDeviceName => "no device can have such a name".to_owned(),
            Reason::NoSuchDevice => "there is no such device in this network namespace".to_owned(),
            Reason::DeviceAttached => "it is attached already".to_owned(),
            Reason::DeviceNotAttached => "it is not attached".to_owned(),
            Reason::TooManyServices => format!("there are {SERVICES_MAX} services, the most"),
            Reason::TooManyBackends => {
                format!("it has {BACKENDS_MAX} backends, the most of one service")
            }
            Reason::TooManyDevices => format!("{DEVICES_MAX} devices are attached, the most"),
            Reason::BadOpCount => format!("a commit has 1 to {OPS_MAX} changes"),
            Reason::BadLimit => match &self.change {
                Some(Change::LimitSet { limit, .. }) => {
                    format!("{limit} routes is not within {ROUTES_LIMIT_MIN} to {ROUTES_LIMIT_MAX}")
                }
                _ => format!("not within {ROUTES_LIMIT_MIN} to {ROUTES_LIMIT_MAX} routes"),
            },
            Reason::GenerationChanged => {
                "the configuration has changed since it was read".to_owned()
            }
            Reason::DeviceUnsuitable => {
                "it cannot be attached (loopback devices and ports of a VRF cannot)".to_owned()
            }
            Reason::LimitNotPermitted => {
                "not permitted; one above the module's routes_limit needs CAP_NET_ADMIN in the \
                 initial user namespace"
                    .to_owned()
            }
            Reason::Interrupted => "interrupted, nothing was done".to_owned(),
            Reason::BackendIsVip => match &self.change {
                Some(Change::ServiceAdd { .. }) => {
                    "its address is that of a backend, packets would go round in a loop".to_owned()
                }
                _ => "its address is the VIP of a service, packets would go round in a loop"
                    .to_owned(),
            },
            Reason::BadMethod => self.unknown_method(self.method().unwrap_or_default()),
            Reason::PortNotService => self.port_not_service(),
            Reason::FamilyMismatch => self.family_mismatch(),
            Reason::PriorityTooLarge => match &self.change {
                Some(Change::BackendPriority { priority, .. }) => {
                    format!("priority {priority} is above the limit {PRIORITY_MAX}")
                }
                _ => format!("the priority is above the limit {PRIORITY_MAX}"),
            },
            Reason::LoadTooLarge => match &self.change {
                Some(Change::BackendLoad { load, .. }) => {
                    format!("load {load} is above the limit {LOAD_MAX}")
                }
                _ => format!("the load is above the limit {LOAD_MAX}"),
            },
            Reason::NoMemory => "the kernel is out of memory".to_owned(),
            Reason::NamespaceGone => "the network namespace is being removed".to_owned(),
        }
    }

    /// The method of a node that was to be added.
    fn method(&self) -> Option<Method> {
        match &self.change {
            Some(Change::BackendAdd { method, .. }) => Some(*method),
            _ => None,
        }
    }

    /// The method that a module without methods took for a field that must be zero.
    fn method_is_too_new(&self) -> Option<Method> {
        let method = self.method().filter(|method| !method.is_default());
        method.filter(|_| self.abi.1 < METHODS_SINCE)
    }

    fn unknown_method(&self, method: Method) -> String {
        let older = self.if_older();
        format!("the module does not know the method {method}{older}")
    }

    /// What to do where the module is older than this program.
    fn if_older(&self) -> String {
        let (major, minor) = self.abi;
        if minor < ABI_MINOR {
            format!(
                "; it speaks ABI {major}.{minor}, this program speaks ABI {ABI_MAJOR}.{ABI_MINOR}: \
                 use the fepctl and the fep.ko of one release"
            )
        } else {
            String::new()
        }
    }

    fn not_unicast(&self) -> String {
        let change = self.change.as_ref();
        let service = change.and_then(Change::service).map(|key| key.address);
        let backend = change.and_then(Change::backend).map(|node| node.address);
        // In the order in which the kernel checks them.
        let addresses = [service, backend].into_iter().flatten();
        let mut explained =
            addresses.filter_map(|address| Some((address, why_not_unicast(address)?)));
        match explained.next() {
            Some((address, why)) => format!("{address} {why}"),
            None => "the address is not that of one host".to_owned(),
        }
    }

    fn family_mismatch(&self) -> String {
        let change = self.change.as_ref();
        let service = change.and_then(Change::service);
        match (change.and_then(Change::backend), service) {
            (Some(backend), Some(service)) => format!(
                "its address is {} and the service's {}, both have to be of one family",
                family_name(backend.address),
                family_name(service.address)
            ),
            _ => "the addresses are of different families".to_owned(),
        }
    }

    fn port_not_service(&self) -> String {
        let method = self.method().unwrap_or(Method::DR);
        let port = self.change.as_ref().and_then(Change::service);
        let port = port.map_or(String::new(), |service| format!(", {}", service.port));
        format!(
            "method {method} leaves ports as they are, so this one has to be the service's{port}; and \
             the backend has the VIP on a loopback or dummy device, without answering ARP or \
             neighbour discovery for it, and replies to clients directly"
        )
    }

    /// The first timeout that is above the limit.
    fn long_timeout(&self) -> Option<(&'static str, u32)> {
        let (Change::ServiceAdd { timeouts, .. } | Change::ServiceSet { timeouts, .. }) =
            self.change.as_ref()?
        else {
            return None;
        };
        let mut named = timeouts.named().into_iter();
        named.find(|(_, seconds)| *seconds > TIMEOUT_MAX)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Some(reason) => write!(f, "{}: {}", self.subject(reason), self.rule(reason)),
            None => {
                let subject = self.subject(Reason::None);
                let kind = self
                    .change
                    .as_ref()
                    .map_or("commit", |change| change.kind().name());
                write!(
                    f,
                    "{subject}: the module refused {kind} for a reason that is newer than this \
                     program (code {})",
                    self.code
                )
            }
        }
    }
}

impl std::error::Error for Refusal {}
