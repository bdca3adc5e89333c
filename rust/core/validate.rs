// SPDX-License-Identifier: GPL-2.0

//! Whether an operation on the configuration is acceptable, looked at by itself.
//!
//! Every field is checked before anything changes. What needs the configuration, such as whether a
//! service is there, is left to the caller.

use fep_uapi::{
    Method, Op, OpKind, Reason, Scheduler, DEVICE_NAME_LEN, LOAD_MAX, PRIORITY_MAX,
    ROUTES_LIMIT_MAX, ROUTES_LIMIT_MIN, TIMEOUTS, TIMEOUT_MAX, WEIGHT_MAX,
};

use crate::identity::optional_service;
pub use crate::identity::{client, filter, Filter, Node, NodePattern, Service};

/// A change of the configuration whose fields are acceptable; see [`OpKind`] for what each does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// [`OpKind::DeviceAttach`].
    DeviceAttach {
        /// The device's name, without NUL.
        name: &'a [u8],
    },
    /// [`OpKind::DeviceDetach`].
    DeviceDetach {
        /// The device's name, without NUL.
        name: &'a [u8],
    },
    /// [`OpKind::ServiceAdd`].
    ServiceAdd {
        /// The service.
        service: Service,
        /// Its scheduler.
        scheduler: Scheduler,
        /// Its timeouts in seconds, 0 for the default.
        timeouts: [u32; TIMEOUTS],
    },
    /// [`OpKind::ServiceSet`].
    ServiceSet {
        /// The service.
        service: Service,
        /// Its scheduler.
        scheduler: Scheduler,
        /// Its timeouts in seconds, 0 for the default.
        timeouts: [u32; TIMEOUTS],
    },
    /// [`OpKind::ServiceDel`].
    ServiceDel {
        /// The service.
        service: Service,
    },
    /// [`OpKind::BackendAdd`].
    BackendAdd {
        /// The service.
        service: Service,
        /// The node.
        backend: Node,
        /// Its weight.
        weight: u32,
        /// How it is reached.
        method: Method,
    },
    /// [`OpKind::BackendSet`].
    BackendSet {
        /// The service.
        service: Service,
        /// The node.
        backend: Node,
        /// Its weight.
        weight: u32,
    },
    /// [`OpKind::BackendDel`].
    BackendDel {
        /// The service.
        service: Service,
        /// The node.
        backend: Node,
    },
    /// [`OpKind::BackendFail`].
    BackendFail {
        /// The service; `None` for every service.
        service: Option<Service>,
        /// The node.
        backend: NodePattern,
    },
    /// [`OpKind::BackendRestore`].
    BackendRestore {
        /// The service; `None` for every service.
        service: Option<Service>,
        /// The node.
        backend: NodePattern,
    },
    /// [`OpKind::LimitSet`].
    LimitSet {
        /// The limit, in routes.
        limit: u32,
    },
    /// [`OpKind::BackendPriority`].
    BackendPriority {
        /// The service.
        service: Service,
        /// The node.
        backend: Node,
        /// Its priority.
        priority: u32,
    },
    /// [`OpKind::BackendLoad`].
    BackendLoad {
        /// The service; `None` for every service.
        service: Option<Service>,
        /// The node.
        backend: NodePattern,
        /// Its load.
        load: u32,
    },
}

/// Checks an operation, every field of it (F4, F11).
///
/// # Errors
///
/// The rule that it breaks: first an unknown kind or flag, then a field that its kind does not use
/// and that is not zero ([`Reason::ReservedNotZero`]), then the fields that it uses, in their order.
pub fn change(op: &Op) -> Result<Change<'_>, Reason> {
    let kind = OpKind::from_code(op.kind).ok_or(Reason::UnknownOp)?;
    if op.flags != 0 {
        return Err(Reason::UnknownFlag);
    }
    unused_fields_are_zero(kind, op)?;
    Ok(match kind {
        OpKind::DeviceAttach => Change::DeviceAttach {
            name: device_name(&op.device)?,
        },
        OpKind::DeviceDetach => Change::DeviceDetach {
            name: device_name(&op.device)?,
        },
        OpKind::ServiceAdd => Change::ServiceAdd {
            service: Service::try_from(&op.service)?,
            scheduler: scheduler(op.scheduler)?,
            timeouts: timeouts(op.timeouts)?,
        },
        OpKind::ServiceSet => Change::ServiceSet {
            service: Service::try_from(&op.service)?,
            scheduler: scheduler(op.scheduler)?,
            timeouts: timeouts(op.timeouts)?,
        },
        OpKind::ServiceDel => Change::ServiceDel {
            service: Service::try_from(&op.service)?,
        },
        OpKind::BackendAdd => {
            let service = Service::try_from(&op.service)?;
            let backend = Node::try_from(&op.backend)?;
            if backend.address == service.address {
                return Err(Reason::BackendIsVip);
            }
            if backend.address.is_ipv4() != service.address.is_ipv4() {
                return Err(Reason::FamilyMismatch);
            }
            let weight = at_most(op.weight, WEIGHT_MAX, Reason::WeightTooLarge)?;
            let method = Method::from_code(op.method).ok_or(Reason::BadMethod)?;
            if method == Method::Dr && backend.port != service.port {
                return Err(Reason::PortNotService);
            }
            Change::BackendAdd {
                service,
                backend,
                weight,
                method,
            }
        }
        OpKind::BackendSet => Change::BackendSet {
            service: Service::try_from(&op.service)?,
            backend: Node::try_from(&op.backend)?,
            weight: at_most(op.weight, WEIGHT_MAX, Reason::WeightTooLarge)?,
        },
        OpKind::BackendDel => Change::BackendDel {
            service: Service::try_from(&op.service)?,
            backend: Node::try_from(&op.backend)?,
        },
        OpKind::BackendFail => Change::BackendFail {
            service: optional_service(&op.service)?,
            backend: NodePattern::try_from(&op.backend)?,
        },
        OpKind::BackendRestore => Change::BackendRestore {
            service: optional_service(&op.service)?,
            backend: NodePattern::try_from(&op.backend)?,
        },
        OpKind::LimitSet => {
            if !(ROUTES_LIMIT_MIN..=ROUTES_LIMIT_MAX).contains(&op.limit) {
                return Err(Reason::BadLimit);
            }
            Change::LimitSet { limit: op.limit }
        }
        OpKind::BackendPriority => Change::BackendPriority {
            service: Service::try_from(&op.service)?,
            backend: Node::try_from(&op.backend)?,
            priority: at_most(op.priority, PRIORITY_MAX, Reason::PriorityTooLarge)?,
        },
        OpKind::BackendLoad => Change::BackendLoad {
            service: optional_service(&op.service)?,
            backend: NodePattern::try_from(&op.backend)?,
            load: at_most(op.load, LOAD_MAX, Reason::LoadTooLarge)?,
        },
    })
}

/// Refuses an operation with anything in a field that its kind does not use.
fn unused_fields_are_zero(kind: OpKind, op: &Op) -> Result<(), Reason> {
    let zero = Op::default();
    let mut rest = *op;
    rest.kind = zero.kind;
    match kind {
        OpKind::DeviceAttach | OpKind::DeviceDetach => rest.device = zero.device,
        OpKind::ServiceAdd | OpKind::ServiceSet => {
            rest.service = zero.service;
            rest.scheduler = zero.scheduler;
            rest.timeouts = zero.timeouts;
        }
        OpKind::ServiceDel => rest.service = zero.service,
        OpKind::BackendAdd => {
            rest.service = zero.service;
            rest.backend = zero.backend;
            rest.weight = zero.weight;
            rest.method = zero.method;
        }
        OpKind::BackendSet => {
            rest.service = zero.service;
            rest.backend = zero.backend;
            rest.weight = zero.weight;
        }
        OpKind::BackendDel | OpKind::BackendFail | OpKind::BackendRestore => {
            rest.service = zero.service;
            rest.backend = zero.backend;
        }
        OpKind::LimitSet => rest.limit = zero.limit,
        OpKind::BackendPriority => {
            rest.service = zero.service;
            rest.backend = zero.backend;
            rest.priority = zero.priority;
        }
        OpKind::BackendLoad => {
            rest.service = zero.service;
            rest.backend = zero.backend;
            rest.load = zero.load;
        }
    }
    if rest == zero {
        Ok(())
    } else {
        Err(Reason::ReservedNotZero)
    }
}

/// The name in a NUL-terminated field, by the rules of the kernel's `dev_valid_name()`.
fn device_name(field: &[u8; DEVICE_NAME_LEN]) -> Result<&[u8], Reason> {
    /// Whether `dev_valid_name()` refuses the byte: a slash, a colon, or white space, among which
    /// the kernel's `isspace()` counts 0xa0.
    const fn is_bad(byte: u8) -> bool {
        matches!(byte, b'/' | b':' | b'\t'..=b'\r' | b' ' | 0xa0)
    }
    let terminator = field.iter().position(|&byte| byte == 0);
    let (name, rest) = terminator
        .and_then(|at| field.split_at_checked(at))
        .ok_or(Reason::BadDeviceName)?;
    let bad = matches!(name, b"" | b"." | b"..")
        || name.iter().any(|&byte| is_bad(byte))
        || rest.iter().any(|&byte| byte != 0);
    if bad {
        Err(Reason::BadDeviceName)
    } else {
        Ok(name)
    }
}

/// The scheduler of a code.
fn scheduler(code: u32) -> Result<Scheduler, Reason> {
    Scheduler::from_code(code).ok_or(Reason::BadScheduler)
}

/// The timeouts, if none is too long.
fn timeouts(seconds: [u32; TIMEOUTS]) -> Result<[u32; TIMEOUTS], Reason> {
    if seconds.iter().any(|&timeout| timeout > TIMEOUT_MAX) {
        Err(Reason::TimeoutTooLong)
    } else {
        Ok(seconds)
    }
}

/// A number, if it is not too large.
fn at_most(number: u32, most: u32, reason: Reason) -> Result<u32, Reason> {
    if number > most {
        Err(reason)
    } else {
        Ok(number)
    }
}
