// SPDX-License-Identifier: GPL-2.0

//! One change of the configuration, as data: it becomes an operation or a line of text.

use std::fmt;

use fep_uapi::{Op, OpKind, Scheduler};

use crate::config::{Timeouts, Weight};
use crate::method::Method;
use crate::name::{DeviceName, NodeAddr, NodePattern, ServiceKey};

/// A change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Hooks a device.
    DeviceAttach(DeviceName),
    /// Unhooks a device.
    DeviceDetach(DeviceName),
    /// Adds a service.
    ServiceAdd {
        /// The service.
        service: ServiceKey,
        /// Its scheduler.
        scheduler: Scheduler,
        /// Its timeouts.
        timeouts: Timeouts,
    },
    /// Sets all that a service has but its nodes.
    ServiceSet {
        /// The service.
        service: ServiceKey,
        /// Its scheduler.
        scheduler: Scheduler,
        /// Its timeouts.
        timeouts: Timeouts,
    },
    /// Removes a service, its nodes and their routes.
    ServiceDel(ServiceKey),
    /// Adds a node to a service.
    BackendAdd {
        /// The service.
        service: ServiceKey,
        /// The node.
        backend: NodeAddr,
        /// Its weight.
        weight: Weight,
        /// How packets reach it.
        method: Method,
        /// How packets reached it until now, where it takes its own place. Only for people to read.
        was: Option<Method>,
    },
    /// Sets the weight of a node.
    BackendSet {
        /// The service.
        service: ServiceKey,
        /// The node.
        backend: NodeAddr,
        /// Its weight from now on.
        weight: Weight,
        /// Its weight until now, where known. Only for people to read.
        was: Option<Weight>,
    },
    /// Removes a node from a service, and its routes.
    BackendDel {
        /// The service.
        service: ServiceKey,
        /// The node.
        backend: NodeAddr,
    },
    /// Marks a node failed; its routes go.
    BackendFail {
        /// The service, `None` for every one.
        service: Option<ServiceKey>,
        /// The node.
        backend: NodePattern,
    },
    /// Takes the mark away.
    BackendRestore {
        /// The service, `None` for every one.
        service: Option<ServiceKey>,
        /// The node.
        backend: NodePattern,
    },
    /// Sets the priority of a node; the lower number comes first.
    BackendPriority {
        /// The service.
        service: ServiceKey,
        /// The node.
        backend: NodeAddr,
        /// Its priority from now on.
        priority: u32,
    },
    /// Reports the load of a node.
    BackendLoad {
        /// The service, `None` for every one.
        service: Option<ServiceKey>,
        /// The node.
        backend: NodePattern,
        /// Its load, in the unit of whoever reports.
        load: u32,
    },
    /// Sets the limit of the allocated-route table.
    LimitSet {
        /// The limit from now on, in routes.
        limit: u32,
        /// The limit until now, where known. Only for people to read.
        was: Option<u32>,
    },
}

impl Change {
    /// The kind of operation it becomes.
    pub const fn kind(&self) -> OpKind {
        match self {
            Self::DeviceAttach(_) => OpKind::DeviceAttach,
            Self::DeviceDetach(_) => OpKind::DeviceDetach,
            Self::ServiceAdd { .. } => OpKind::ServiceAdd,
            Self::ServiceSet { .. } => OpKind::ServiceSet,
            Self::ServiceDel(_) => OpKind::ServiceDel,
            Self::BackendAdd { .. } => OpKind::BackendAdd,
            Self::BackendSet { .. } => OpKind::BackendSet,
            Self::BackendDel { .. } => OpKind::BackendDel,
            Self::BackendFail { .. } => OpKind::BackendFail,
            Self::BackendRestore { .. } => OpKind::BackendRestore,
            Self::LimitSet { .. } => OpKind::LimitSet,
            Self::BackendPriority { .. } => OpKind::BackendPriority,
            Self::BackendLoad { .. } => OpKind::BackendLoad,
        }
    }

    /// The service it is about, where it is about one.
    pub const fn service(&self) -> Option<&ServiceKey> {
        match self {
            Self::ServiceAdd { service, .. }
            | Self::ServiceSet { service, .. }
            | Self::ServiceDel(service)
            | Self::BackendAdd { service, .. }
            | Self::BackendSet { service, .. }
            | Self::BackendDel { service, .. }
            | Self::BackendPriority { service, .. } => Some(service),
            Self::BackendFail { service, .. }
            | Self::BackendRestore { service, .. }
            | Self::BackendLoad { service, .. } => service.as_ref(),
            Self::DeviceAttach(_) | Self::DeviceDetach(_) | Self::LimitSet { .. } => None,
        }
    }

    /// The node it is about, where it is about one.
    pub fn backend(&self) -> Option<NodePattern> {
        match self {
            Self::BackendAdd { backend, .. }
            | Self::BackendSet { backend, .. }
            | Self::BackendDel { backend, .. }
            | Self::BackendPriority { backend, .. } => Some((*backend).into()),
            Self::BackendFail { backend, .. }
            | Self::BackendRestore { backend, .. }
            | Self::BackendLoad { backend, .. } => Some(*backend),
            _ => None,
        }
    }

    /// The operation that does it.
    pub fn to_op(&self) -> Op {
        let mut op = Op {
            kind: self.kind().code(),
            ..Op::default()
        };
        if let Some(service) = self.service() {
            op.service = (*service).into();
        }
        if let Some(backend) = self.backend() {
            op.backend = backend.into();
        }
        match self {
            Self::DeviceAttach(name) | Self::DeviceDetach(name) => op.device = name.to_abi(),
            Self::ServiceAdd {
                scheduler,
                timeouts,
                ..
            }
            | Self::ServiceSet {
                scheduler,
                timeouts,
                ..
            } => {
                op.scheduler = scheduler.code();
                op.timeouts = timeouts.to_abi();
            }
            Self::BackendAdd { weight, method, .. } => {
                op.weight = weight.0;
                op.method = method.code();
            }
            Self::BackendSet { weight, .. } => op.weight = weight.0,
            Self::LimitSet { limit, .. } => op.limit = *limit,
            Self::BackendPriority { priority, .. } => op.priority = *priority,
            Self::BackendLoad { load, .. } => op.load = *load,
            Self::ServiceDel(_)
            | Self::BackendDel { .. }
            | Self::BackendFail { .. }
            | Self::BackendRestore { .. } => {}
        }
        op
    }
}

impl fmt::Display for Change {
    /// Writes the change as a line in the words of the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (object, verb) = self
            .kind()
            .name()
            .split_once('_')
            .unwrap_or((self.kind().name(), ""));
        write!(f, "{object} {verb}")?;
        match self {
            Self::DeviceAttach(name) | Self::DeviceDetach(name) => write!(f, " {name}"),
            Self::ServiceAdd {
                service,
                scheduler,
                timeouts,
            }
            | Self::ServiceSet {
                service,
                scheduler,
                timeouts,
            } => {
                write!(f, " {service} scheduler {}", scheduler.name())?;
                for (name, seconds) in timeouts.named() {
                    if seconds != 0 {
                        write!(f, " timeout-{name} {seconds}")?;
                    }
                }
                Ok(())
            }
            Self::ServiceDel(service) => write!(f, " {service}"),
            Self::BackendAdd {
                service,
                backend,
                weight,
                method,
                was,
            } => {
                write!(f, " {service} {backend} weight {weight}")?;
                if was.is_some() || !method.is_default() {
                    write!(f, " method {method}")?;
                }
                was.map_or(Ok(()), |was| write!(f, " (was {was}, its routes end)"))
            }
            Self::BackendSet {
                service,
                backend,
                weight,
                was,
            } => {
                write!(f, " {service} {backend} weight {weight}")?;
                was.map_or(Ok(()), |was| write!(f, " (was {was})"))
            }
            Self::BackendDel { service, backend } => write!(f, " {service} {backend}"),
            Self::BackendFail { service, backend } | Self::BackendRestore { service, backend } => {
                write!(f, " {backend}")?;
                service.map_or(Ok(()), |service| write!(f, " service {service}"))
            }
            Self::BackendPriority {
                service,
                backend,
                priority,
            } => write!(f, " {service} {backend} {priority}"),
            Self::BackendLoad {
                service,
                backend,
                load,
            } => {
                write!(f, " {backend} {load}")?;
                service.map_or(Ok(()), |service| write!(f, " service {service}"))
            }
            Self::LimitSet { limit, was } => {
                write!(f, " {limit}")?;
                was.map_or(Ok(()), |was| write!(f, " (was {was})"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let service: ServiceKey = "tcp/10.0.0.100:80".parse().unwrap();
        let backend: NodeAddr = "10.1.0.2:80".parse().unwrap();
        let add = Change::BackendAdd {
            service,
            backend,
            weight: Weight(2),
            method: Method::NAT,
            was: None,
        };
        assert_eq!(
            add.to_string(),
            "backend add tcp/10.0.0.100:80 10.1.0.2:80 weight 2"
        );
        assert_eq!(add.to_op().method, 0);
        let add = Change::BackendAdd {
            service: "tcp/[2001:db8::10]:80".parse().unwrap(),
            backend: "[2001:db8::2]:80".parse().unwrap(),
            weight: Weight(2),
            method: Method::DR,
            was: None,
        };
        assert_eq!(
            add.to_string(),
            "backend add tcp/[2001:db8::10]:80 [2001:db8::2]:80 weight 2 method dr"
        );
        assert_eq!(add.to_op().method, 1);
        let again = Change::BackendAdd {
            service,
            backend,
            weight: Weight(2),
            method: Method::NAT,
            was: Some(Method::DR),
        };
        assert_eq!(
            again.to_string(),
            "backend add tcp/10.0.0.100:80 10.1.0.2:80 weight 2 method nat (was dr, its routes end)"
        );
        let set = Change::BackendSet {
            service,
            backend,
            weight: Weight(0),
            was: Some(Weight(2)),
        };
        assert_eq!(
            set.to_string(),
            "backend set tcp/10.0.0.100:80 10.1.0.2:80 weight 0 (was 2)"
        );
        let fail = Change::BackendFail {
            service: None,
            backend: NodePattern {
                address: backend.address,
                port: None,
            },
        };
        assert_eq!(fail.to_string(), "backend fail 10.1.0.2");
        let timeouts = Timeouts {
            syn: 10,
            ..Timeouts::default()
        };
        let add = Change::ServiceAdd {
            service,
            scheduler: Scheduler::Wrr,
            timeouts,
        };
        assert_eq!(
            add.to_string(),
            "service add tcp/10.0.0.100:80 scheduler wrr timeout-syn 10"
        );
        let attach = Change::DeviceAttach("eth0".parse().unwrap());
        assert_eq!(attach.to_string(), "device attach eth0");
    }
}
