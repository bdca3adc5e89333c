// SPDX-License-Identifier: GPL-2.0

//! The only definition of what crosses fep's kernel boundary.
//!
//! Everything here is data: structures of fixed size and layout, ioctl numbers, limits and codes.
//! The kernel module and userspace compile the same file, so the two cannot disagree. `docs/abi.md`
//! says what each command does.
//!
//! # Conventions
//!
//! - Integers are in host byte order, ports included. Addresses are bytes in network order.
//! - Padding is explicit. A caller sets it to zero; the kernel refuses anything else with
//!   [`Reason::ReservedNotZero`], so that a later version can give it a meaning.
//! - Structures only grow at their end and only together with [`ABI_MINOR`].
//! - An IPv4 address occupies the first four of the sixteen address bytes; the rest is zero.

#![cfg_attr(not(kernel), no_std)]
#![forbid(unsafe_code)]

mod codes;
mod ioctl;
mod records;

pub use codes::{
    Counter, DumpObject, EventKind, Method, OpKind, Reason, RouteState, Scheduler, DUMP_END,
    DUMP_TOKENS, FLAG_DRY_RUN, STATE_FAILED,
};
pub use ioctl::{
    ioc_readwrite, IOC_COMMIT, IOC_DUMP, IOC_END_ROUTES, IOC_FLUSH_ROUTES, IOC_MAGIC, IOC_STATUS,
    IOC_SUBSCRIBE,
};
pub use records::{
    BackendRecord, Commit, DeviceRecord, Dump, EndRoutes, Endpoint, Event, FlushRoutes, NodeRecord,
    Op, RouteRecord, ServiceId, ServiceRecord, Status, Subscribe, Traffic,
};

/// Major version of the ABI: a different number means structures or meanings that do not mix.
pub const ABI_MAJOR: u32 = 1;
/// Minor version of the ABI: a higher number adds commands or codes and keeps the old ones.
pub const ABI_MINOR: u32 = 2;

/// Version of this fep, module and userspace together.
pub const VERSION: &str = "0.1.0";

/// Path of the control device.
pub const DEVICE_PATH: &str = "/dev/fep";

/// Largest weight of a back-end node; 0 drains it.
pub const WEIGHT_MAX: u32 = 65_535;
/// Largest priority number of a back-end node; 0 comes first.
pub const PRIORITY_MAX: u32 = 65_535;
/// Largest load that may be reported of a back-end node, in whatever unit.
pub const LOAD_MAX: u32 = 1_000_000;
/// Most routes that are handed back at once ([`EndRoutes`]).
pub const END_ROUTES_MAX: u32 = 4_096;
/// Most events that wait to be read from an open file.
pub const EVENTS_MAX: u32 = 4_096;
/// Most operations one commit may carry.
pub const OPS_MAX: u32 = 65_536;
/// Most services in one network namespace.
pub const SERVICES_MAX: u32 = 65_536;
/// Most back-end nodes of one service.
pub const BACKENDS_MAX: u32 = 4_096;
/// Most attached devices in one network namespace.
pub const DEVICES_MAX: u32 = 1_024;
/// Smallest limit of the allocated-route table, in routes.
pub const ROUTES_LIMIT_MIN: u32 = 1;
/// Largest limit of the allocated-route table, in routes.
pub const ROUTES_LIMIT_MAX: u32 = 1 << 27;
/// Most routes of one client (protocol, address and port), each through another service. They share a
/// place in the table, so without a limit one client could make it slow for others.
pub const CLIENT_ROUTES_MAX: u32 = 64;
/// Longest timeout, in seconds (ten days). 0 stands for the default.
pub const TIMEOUT_MAX: u32 = 864_000;
/// Length of a device name, its terminating NUL included (`IFNAMSIZ`).
pub const DEVICE_NAME_LEN: usize = 16;
/// Number of counters in [`Status::counters`] and [`ServiceRecord::counters`].
pub const COUNTERS: usize = 24;

/// Address family code for IPv4, in [`ServiceId::family`] and [`Endpoint::family`].
pub const FAMILY_IPV4: u8 = 4;
/// Address family code for IPv6, in [`ServiceId::family`] and [`Endpoint::family`].
pub const FAMILY_IPV6: u8 = 6;

/// Protocol number of TCP (RFC 9293), in [`ServiceId::protocol`].
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of UDP (RFC 768), in [`ServiceId::protocol`].
pub const PROTOCOL_UDP: u8 = 17;

/// Default timeouts in seconds, in the order of [`ServiceRecord::timeouts`].
pub const TIMEOUT_DEFAULTS: [u32; TIMEOUTS] = [30, 900, 120, 10, 300];
/// Number of timeouts of a service.
pub const TIMEOUTS: usize = 5;
/// Index of the timeout of a TCP connection that is being opened.
pub const TIMEOUT_TCP_SYN: usize = 0;
/// Index of the timeout of an established TCP connection.
pub const TIMEOUT_TCP_ESTABLISHED: usize = 1;
/// Index of the timeout of a TCP connection of which one or both sides have closed.
pub const TIMEOUT_TCP_CLOSING: usize = 2;
/// Index of the timeout of a TCP connection that was reset.
pub const TIMEOUT_TCP_RESET: usize = 3;
/// Index of the timeout of a UDP client.
pub const TIMEOUT_UDP: usize = 4;
