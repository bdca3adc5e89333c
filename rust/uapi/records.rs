// SPDX-License-Identifier: GPL-2.0

//! Structures that cross the boundary.

use crate::{COUNTERS, DEVICE_NAME_LEN, TIMEOUTS};

/// Defines plain `repr(C)` structures: zeroable, comparable, and readable from and writable to user
/// memory in the kernel build, with their size pinned.
macro_rules! records {
    ($(
        $(#[$meta:meta])*
        $name:ident: $size:literal { $($(#[$fmeta:meta])* $field:ident: $ty:ty,)* }
    )*) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
            #[cfg_attr(
                kernel,
                derive(
                    zerocopy_derive::FromBytes,
                    zerocopy_derive::IntoBytes,
                    zerocopy_derive::Immutable,
                    zerocopy_derive::KnownLayout,
                )
            )]
            pub struct $name {
                $($(#[$fmeta])* pub $field: $ty,)*
            }

            const _: () = assert!(core::mem::size_of::<$name>() == $size);
            const _: () = assert!(core::mem::align_of::<$name>() <= 8);
        )*
    };
}

records! {
    /// Names a service: protocol, virtual address (VIP) and port.
    ///
    /// Where a service is optional, `family` 0 (and everything else zero) means "none".
    ServiceId: 24 {
        /// [`FAMILY_IPV4`](crate::FAMILY_IPV4), [`FAMILY_IPV6`](crate::FAMILY_IPV6), or 0.
        family: u8,
        /// [`PROTOCOL_TCP`](crate::PROTOCOL_TCP) or [`PROTOCOL_UDP`](crate::PROTOCOL_UDP).
        protocol: u8,
        /// Port, host byte order.
        port: u16,
        /// Zero.
        reserved: u32,
        /// Virtual address, network byte order.
        address: [u8; 16],
    }

    /// An address and a port: a back-end node, or a client.
    ///
    /// Where an endpoint is optional, `family` 0 (and everything else zero) means "none".
    Endpoint: 24 {
        /// [`FAMILY_IPV4`](crate::FAMILY_IPV4), [`FAMILY_IPV6`](crate::FAMILY_IPV6), or 0.
        family: u8,
        /// Zero.
        reserved0: u8,
        /// Port, host byte order.
        port: u16,
        /// Zero.
        reserved1: u32,
        /// Address, network byte order.
        address: [u8; 16],
    }

    /// One operation of a [`Commit`]. Fields that its kind does not use are zero.
    Op: 128 {
        /// An [`OpKind`](crate::OpKind) code.
        kind: u32,
        /// Zero.
        flags: u32,
        /// The service.
        service: ServiceId,
        /// The back-end node.
        backend: Endpoint,
        /// Weight, 0 to [`WEIGHT_MAX`](crate::WEIGHT_MAX).
        weight: u32,
        /// A [`Scheduler`](crate::Scheduler) code.
        scheduler: u32,
        /// Timeouts in seconds, 0 for the default; see [`TIMEOUT_DEFAULTS`](crate::TIMEOUT_DEFAULTS).
        timeouts: [u32; TIMEOUTS],
        /// Limit of the allocated-route table, in routes.
        limit: u32,
        /// Device name, NUL-terminated, zero after the NUL.
        device: [u8; DEVICE_NAME_LEN],
        /// A [`Method`](crate::Method) code.
        method: u32,
        /// Priority, 0 to [`PRIORITY_MAX`](crate::PRIORITY_MAX).
        priority: u32,
        /// Load, 0 to [`LOAD_MAX`](crate::LOAD_MAX).
        load: u32,
        /// Zero.
        reserved: [u32; 3],
    }

    /// A transaction: an array of [`Op`]s, applied in order, all or none.
    ///
    /// On failure `failed` and `reason` say which operation broke which rule, and nothing has
    /// changed. Packets in flight see either the old or the new configuration.
    Commit: 48 {
        /// User address of the array of [`Op`]s.
        ops: u64,
        /// Number of operations, 1 to [`OPS_MAX`](crate::OPS_MAX).
        count: u32,
        /// [`FLAG_DRY_RUN`](crate::FLAG_DRY_RUN) or 0.
        flags: u32,
        /// The generation the caller computed its operations from; 0 for any.
        expect: u64,
        /// Out: the generation after the commit (before it, on failure or dry run).
        generation: u64,
        /// Out: index of the operation that failed.
        failed: u32,
        /// Out: a [`Reason`](crate::Reason) code.
        reason: u32,
        /// Out: routes deleted by the commit.
        routes_deleted: u64,
    }

    /// One page of a list.
    Dump: 96 {
        /// In: a [`DumpObject`](crate::DumpObject) code.
        object: u32,
        /// In: [`DUMP_TOKENS`](crate::DUMP_TOKENS) or 0. Out: [`DUMP_END`](crate::DUMP_END) when
        /// nothing is left, or 0.
        flags: u32,
        /// In: 0 to begin, then what the last page returned. Out: where to go on.
        ///
        /// Opaque. It survives concurrent change: what was there from the first page to the last is
        /// listed exactly once.
        cursor: u64,
        /// User address of the array of records.
        buffer: u64,
        /// In: how many records fit. At least 64.
        capacity: u32,
        /// Out: how many records were written.
        count: u32,
        /// Out: the configuration's generation while this page was read.
        generation: u64,
        /// In, routes and back-end nodes: only those of this service (family 0: of any).
        service: ServiceId,
        /// In, routes and back-end nodes: only those of this node (family 0: of any;
        /// port 0: of any port).
        backend: Endpoint,
        /// Zero.
        reserved: u64,
    }

    /// Deletes allocated routes.
    FlushRoutes: 64 {
        /// Only those of this service (family 0: of any).
        service: ServiceId,
        /// Only those of this node (family 0: of any; port 0: of any port).
        backend: Endpoint,
        /// Zero.
        reserved: u64,
        /// Out: routes deleted.
        deleted: u64,
    }

    /// Deletes routes that were listed with [tokens](RouteRecord::token), those that were not used
    /// since.
    EndRoutes: 48 {
        /// User address of the array of [`RouteRecord`]s, as they were listed.
        routes: u64,
        /// Their number, 1 to [`END_ROUTES_MAX`](crate::END_ROUTES_MAX).
        count: u32,
        /// Zero.
        reserved0: u32,
        /// Out: routes that were deleted.
        deleted: u64,
        /// Out: routes that were used since, and so stay.
        used: u64,
        /// Out: routes that had ended by themselves.
        gone: u64,
        /// Zero.
        reserved: u64,
    }

    /// Has events told to the open file: [`Event`]s are read from it.
    Subscribe: 24 {
        /// How many events may wait to be read, 1 to [`EVENTS_MAX`](crate::EVENTS_MAX).
        capacity: u32,
        /// Zero.
        reserved: u32,
        /// Out: sequence number of the next event.
        next: u64,
        /// Zero.
        reserved1: u64,
    }

    /// What has happened, as it is read from the device.
    Event: 96 {
        /// Sequence number, one more for each event of the namespace.
        sequence: u64,
        /// An [`EventKind`](crate::EventKind) code.
        kind: u32,
        /// Events before this one that there was no room for.
        lost: u32,
        /// Generation of the configuration.
        generation: u64,
        /// The service, if it is about one.
        service: ServiceId,
        /// The node, if it is about one.
        backend: Endpoint,
        /// As in [`NodeRecord`].
        syn_unanswered: u64,
        /// As in [`NodeRecord`].
        syn_reset: u64,
        /// As in [`NodeRecord`].
        syn_repeated: u64,
    }

    /// The state of the namespace.
    Status: 320 {
        /// Out: [`ABI_MAJOR`](crate::ABI_MAJOR) of the module.
        abi_major: u32,
        /// Out: [`ABI_MINOR`](crate::ABI_MINOR) of the module.
        abi_minor: u32,
        /// Version of the module, NUL-padded.
        version: [u8; 32],
        /// Generation of the configuration: grows with every commit that changes it.
        generation: u64,
        /// Allocated routes now.
        routes: u64,
        /// Limit of the allocated-route table, in routes.
        routes_limit: u32,
        /// Hash buckets of the allocated-route table; 0 while it is not in use.
        buckets: u32,
        /// Services.
        services: u32,
        /// Back-end nodes, counted once for each service.
        backends: u32,
        /// Attached devices.
        devices: u32,
        /// Zero.
        reserved0: u32,
        /// Packets and routes by what happened to them, indexed by [`Counter`](crate::Counter),
        /// since the module saw the namespace.
        counters: [u64; COUNTERS],
        /// Routes that were looked at to delete those of a node or service, since the module saw the
        /// namespace.
        visited: u64,
        /// Zero.
        reserved: [u64; 5],
    }

    /// Traffic of a service or a back-end node. "In" is from the client, "out" to the client.
    Traffic: 40 {
        /// Clients assigned (routes allocated).
        connections: u64,
        /// Packets from clients. A GSO packet counts as its segments.
        packets_in: u64,
        /// Packets to clients. A GSO packet counts as its segments.
        packets_out: u64,
        /// Bytes from clients, from the IP header on.
        bytes_in: u64,
        /// Bytes to clients, from the IP header on.
        bytes_out: u64,
    }

    /// An attached device.
    DeviceRecord: 32 {
        /// Interface index.
        ifindex: u32,
        /// Zero.
        reserved: [u32; 3],
        /// Name, NUL-padded.
        name: [u8; DEVICE_NAME_LEN],
    }

    /// A service.
    ServiceRecord: 304 {
        /// The service.
        service: ServiceId,
        /// A [`Scheduler`](crate::Scheduler) code.
        scheduler: u32,
        /// Back-end nodes.
        backends: u32,
        /// Timeouts in seconds as set, 0 for the default.
        timeouts: [u32; TIMEOUTS],
        /// Zero.
        reserved: u32,
        /// Allocated routes now.
        routes: u64,
        /// Traffic of all its back-end nodes, removed ones included.
        traffic: Traffic,
        /// Packets and routes of this service, indexed by [`Counter`](crate::Counter).
        counters: [u64; COUNTERS],
        /// Zero.
        reserved1: u64,
    }

    /// A back-end node of a service.
    BackendRecord: 112 {
        /// The service.
        service: ServiceId,
        /// The node.
        backend: Endpoint,
        /// Weight; 0 drains.
        weight: u32,
        /// [`STATE_FAILED`](crate::STATE_FAILED) or 0.
        state: u32,
        /// Allocated routes now.
        routes: u64,
        /// Traffic.
        traffic: Traffic,
        /// A [`Method`](crate::Method) code.
        method: u32,
        /// Zero.
        reserved: u32,
    }

    /// An allocated route: a client and its node.
    RouteRecord: 96 {
        /// The service.
        service: ServiceId,
        /// The client.
        client: Endpoint,
        /// The node.
        backend: Endpoint,
        /// A [`RouteState`](crate::RouteState) code.
        state: u32,
        /// Milliseconds since a packet last used the route (to within a second).
        idle_ms: u32,
        /// Milliseconds until it ends if it stays idle.
        expires_ms: u32,
        /// Zero.
        reserved: u32,
        /// Stands for the last use of the route: different once it has been used since. Never 0 in a
        /// list with [`DUMP_TOKENS`](crate::DUMP_TOKENS), 0 in others.
        token: u64,
    }

    /// A back-end node of a service, and what was seen of it.
    NodeRecord: 128 {
        /// The service.
        service: ServiceId,
        /// The node.
        backend: Endpoint,
        /// Weight; 0 drains.
        weight: u32,
        /// [`STATE_FAILED`](crate::STATE_FAILED) or 0.
        state: u32,
        /// Priority; the lower number comes first.
        priority: u32,
        /// Load as last reported, 0 until then.
        load: u32,
        /// Allocated routes now.
        routes: u64,
        /// Clients assigned.
        connections: u64,
        /// Connections whose SYN the node did not answer: their routes ended by timeout.
        syn_unanswered: u64,
        /// Connections whose SYN the node answered with a reset.
        syn_reset: u64,
        /// SYNs that clients repeated because there was no answer for a second or longer.
        syn_repeated: u64,
        /// Zero.
        reserved: [u64; 3],
    }
}

impl ServiceId {
    /// Whether this stands for "no service".
    pub const fn is_none(&self) -> bool {
        self.family == 0
    }
}

impl Endpoint {
    /// Whether this stands for "no endpoint".
    pub const fn is_none(&self) -> bool {
        self.family == 0
    }
}
