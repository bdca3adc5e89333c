// SPDX-License-Identifier: GPL-2.0

//! Codes: kinds of operation, reasons of refusal, states and counters.

/// Defines an enum of `u32` codes with `from_code`, `code` and a machine-readable `name`.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal => $text:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $name {
            $($(#[$vmeta])* $variant = $value,)*
        }

        impl $name {
            /// Every code, in ascending order.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The number that crosses the boundary.
            pub const fn code(self) -> u32 {
                self as u32
            }

            /// The code of a number, or `None` for a number this version does not know.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// A stable machine-readable name, as it appears in JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

/// In [`Commit::flags`](crate::Commit::flags): check everything, change nothing.
pub const FLAG_DRY_RUN: u32 = 1;
/// Set by the kernel in [`Dump::flags`](crate::Dump::flags): nothing is left after this page.
pub const DUMP_END: u32 = 1;
/// In [`Dump::flags`](crate::Dump::flags), routes only: records carry a
/// [token](crate::RouteRecord::token).
pub const DUMP_TOKENS: u32 = 2;
/// In [`BackendRecord::state`](crate::BackendRecord::state): marked failed; no route leads there.
pub const STATE_FAILED: u32 = 1;

codes! {
    /// What an [`Op`](crate::Op) does.
    OpKind {
        /// Hooks a device. Uses `device`.
        DeviceAttach = 1 => "device_attach",
        /// Unhooks a device. Uses `device`.
        DeviceDetach = 2 => "device_detach",
        /// Adds a service. Uses `service`, `scheduler`, `timeouts`.
        ServiceAdd = 3 => "service_add",
        /// Sets a service's scheduler and timeouts. Uses the same fields.
        ServiceSet = 4 => "service_set",
        /// Removes a service, its back-end nodes and their routes. Uses `service`.
        ServiceDel = 5 => "service_del",
        /// Adds a back-end node to a service. Uses `service`, `backend`, `weight`, `method`.
        BackendAdd = 6 => "backend_add",
        /// Sets the weight of a back-end node. Uses `service`, `backend`, `weight`.
        BackendSet = 7 => "backend_set",
        /// Removes a back-end node from a service together with its routes.
        /// Uses `service`, `backend`.
        BackendDel = 8 => "backend_del",
        /// Marks a node failed: no new client, and all its routes are gone when the commit returns.
        /// Uses `backend` (port 0: every port) and `service` (family 0: every service).
        BackendFail = 9 => "backend_fail",
        /// Takes the mark away again. Uses the same fields.
        BackendRestore = 10 => "backend_restore",
        /// Sets the limit of the allocated-route table. Uses `limit`.
        LimitSet = 11 => "limit_set",
        /// Sets the priority of a back-end node; the lower number comes first. Uses `service`,
        /// `backend`, `priority`.
        BackendPriority = 12 => "backend_priority",
        /// Reports the load of a back-end node. Uses `backend` (port 0: every port), `service` (family
        /// 0: every service) and `load`.
        BackendLoad = 13 => "backend_load",
    }
}

codes! {
    /// The rule that an operation broke.
    Reason {
        /// Nothing was wrong.
        None = 0 => "none",
        /// Unknown operation kind.
        UnknownOp = 1 => "unknown_op",
        /// A reserved field, padding or an unused address byte is not zero.
        ReservedNotZero = 2 => "reserved_not_zero",
        /// Unknown flag.
        UnknownFlag = 3 => "unknown_flag",
        /// The address family is neither IPv4 nor IPv6.
        BadFamily = 4 => "bad_family",
        /// The address family is known but not supported: IPv6 on a host that was booted with
        /// `ipv6.disable=1`, or by a module of ABI 1.0.
        FamilyUnsupported = 5 => "family_unsupported",
        /// The protocol is neither TCP nor UDP.
        BadProtocol = 6 => "bad_protocol",
        /// Port 0.
        PortZero = 7 => "port_zero",
        /// The address is not a unicast host address (RFC 1122, 3.2.1.3), or of IPv6, is link-local or
        /// IPv4-mapped (RFC 4291).
        AddressNotUnicast = 8 => "address_not_unicast",
        /// Weight above [`WEIGHT_MAX`](crate::WEIGHT_MAX).
        WeightTooLarge = 9 => "weight_too_large",
        /// Unknown scheduler.
        BadScheduler = 10 => "bad_scheduler",
        /// Timeout above [`TIMEOUT_MAX`](crate::TIMEOUT_MAX).
        TimeoutTooLong = 11 => "timeout_too_long",
        /// The service is there already.
        ServiceExists = 12 => "service_exists",
        /// The service is not there.
        NoSuchService = 13 => "no_such_service",
        /// The back-end node is in the service already.
        BackendExists = 14 => "backend_exists",
        /// The back-end node is not in the service (or in none).
        NoSuchBackend = 15 => "no_such_backend",
        /// The device name is empty or not terminated.
        BadDeviceName = 16 => "bad_device_name",
        /// No device of that name in the namespace.
        NoSuchDevice = 17 => "no_such_device",
        /// The device is attached already.
        DeviceAttached = 18 => "device_attached",
        /// The device is not attached.
        DeviceNotAttached = 19 => "device_not_attached",
        /// More than [`SERVICES_MAX`](crate::SERVICES_MAX) services.
        TooManyServices = 20 => "too_many_services",
        /// More than [`BACKENDS_MAX`](crate::BACKENDS_MAX) back-end nodes in the service.
        TooManyBackends = 21 => "too_many_backends",
        /// More than [`DEVICES_MAX`](crate::DEVICES_MAX) devices.
        TooManyDevices = 22 => "too_many_devices",
        /// More than [`OPS_MAX`](crate::OPS_MAX) operations, or none.
        BadOpCount = 23 => "bad_op_count",
        /// The limit lies outside
        /// [`ROUTES_LIMIT_MIN`](crate::ROUTES_LIMIT_MIN)..=[`ROUTES_LIMIT_MAX`](crate::ROUTES_LIMIT_MAX).
        BadLimit = 24 => "bad_limit",
        /// The configuration changed since the caller read it (`expect` does not match).
        GenerationChanged = 25 => "generation_changed",
        /// The device cannot be hooked: a loopback device (local traffic is not balanced), or a port
        /// of a VRF.
        DeviceUnsuitable = 26 => "device_unsuitable",
        /// The back-end address is the VIP of a service, which would send packets round in a loop.
        BackendIsVip = 27 => "backend_is_vip",
        /// The kernel is out of memory.
        NoMemory = 28 => "no_memory",
        /// The namespace is being removed.
        NamespaceGone = 29 => "namespace_gone",
        /// A limit above the module's `routes_limit` needs `CAP_NET_ADMIN` in the initial user
        /// namespace.
        LimitNotPermitted = 30 => "limit_not_permitted",
        /// The caller was killed while the operations were being checked.
        Interrupted = 31 => "interrupted",
        /// Unknown method.
        BadMethod = 32 => "bad_method",
        /// The method leaves ports as they are, so the back-end node's must be the service's.
        PortNotService = 33 => "port_not_service",
        /// The back-end node's address is of another family than the service's.
        FamilyMismatch = 34 => "family_mismatch",
        /// Priority above [`PRIORITY_MAX`](crate::PRIORITY_MAX).
        PriorityTooLarge = 35 => "priority_too_large",
        /// Load above [`LOAD_MAX`](crate::LOAD_MAX).
        LoadTooLarge = 36 => "load_too_large",
    }
}

codes! {
    /// Lists that [`Dump`](crate::Dump) pages through.
    DumpObject {
        /// [`DeviceRecord`](crate::DeviceRecord)s, by interface index.
        Devices = 1 => "devices",
        /// [`ServiceRecord`](crate::ServiceRecord)s, in the order of addition.
        Services = 2 => "services",
        /// [`BackendRecord`](crate::BackendRecord)s, by service, both in the order of addition.
        Backends = 3 => "backends",
        /// [`RouteRecord`](crate::RouteRecord)s, in no order that means anything.
        Routes = 4 => "routes",
        /// [`NodeRecord`](crate::NodeRecord)s: more about each back-end node, as in `Backends`.
        Nodes = 5 => "nodes",
    }
}

codes! {
    /// How a service chooses a node for a new client.
    Scheduler {
        /// Smooth weighted round robin: the shares of new clients are exact.
        Wrr = 0 => "wrr",
        /// The least reported load; of equal loads the lower priority number (D3).
        Optimal = 1 => "optimal",
        /// Steering: new clients go where live routes are fewest for the weight, so that the live
        /// distribution converges on the weights (F7).
        Steer = 2 => "steer",
    }
}

codes! {
    /// What an [`Event`](crate::Event) tells.
    EventKind {
        /// The configuration is that of `generation`.
        ConfigChanged = 1 => "config_changed",
        /// A back-end node with weight 0 has no routes any more. Uses `service`, `backend`.
        BackendDrained = 2 => "backend_drained",
        /// Clients' SYNs were not answered by a node, or with a reset. Uses `service`, `backend` and the
        /// three counts, which are those since the node was added.
        SynFailures = 3 => "syn_failures",
        /// New clients are refused: the allocated-route table is at its limit.
        TableFull = 4 => "table_full",
        /// None has been refused for a second.
        TableRoom = 5 => "table_room",
    }
}

codes! {
    /// How a packet reaches a back-end node.
    Method {
        /// Translation: the node's address and port take the place of the service's, and in replies,
        /// which come back through the front-end node, the other way round.
        Nat = 0 => "nat",
        /// Direct routing: only the link-layer destination changes. The node has the VIP on a device
        /// that does not answer for it (loopback), and replies to the client directly.
        Dr = 1 => "dr",
    }
}

codes! {
    /// State of an allocated route.
    RouteState {
        /// UDP: there are no states.
        Udp = 0 => "udp",
        /// TCP: the client's SYN was seen.
        SynSent = 1 => "syn_sent",
        /// TCP: the node's SYN-ACK was seen.
        SynReceived = 2 => "syn_received",
        /// TCP: the connection is open.
        Established = 3 => "established",
        /// TCP: one side has closed.
        FinWait = 4 => "fin_wait",
        /// TCP: both sides have closed.
        TimeWait = 5 => "time_wait",
        /// TCP: the connection was reset.
        Closed = 6 => "closed",
    }
}

codes! {
    /// What happened to packets, as an index into the counter arrays.
    ///
    /// `Pass…` packets went on untouched to the host's own stack; `Drop…` packets ended here.
    /// The others are the good cases. Forwarded packets are counted by segments (GSO).
    Counter {
        /// Requests sent to a back-end node.
        ForwardRequest = 0 => "forward_request",
        /// Replies sent to a client.
        ForwardReply = 1 => "forward_reply",
        /// Routes allocated: new clients.
        RouteAllocated = 2 => "route_allocated",
        /// Routes that ended by their timeout.
        RouteExpired = 3 => "route_expired",
        /// Routes deleted because their node failed or was removed, or by a flush.
        RouteDeleted = 4 => "route_deleted",
        /// Neither IPv4 nor IPv6, not addressed to this host's link layer, or neither TCP nor UDP
        /// nor an ICMP error about them; or from an address of this host or a broadcast address
        /// (martian).
        PassForeign = 5 => "pass_foreign",
        /// IP header or transport header truncated, inconsistent or with a wrong checksum.
        PassMalformed = 6 => "pass_malformed",
        /// A fragment, or an ICMP error about one without ports.
        PassFragment = 7 => "pass_fragment",
        /// No service at that address and port, and no route that it answers; or an ICMP error
        /// about a packet of no route.
        PassNoService = 8 => "pass_no_service",
        /// TCP without SYN to a service, from a client without a route: the host's stack answers
        /// with a reset where the VIP is its own, so that the client retries at once.
        PassNoRoute = 9 => "pass_no_route",
        /// Source-routed packet (RFC 791, options 131 and 137; RFC 8200, a routing header with segments
        /// left).
        PassSourceRoute = 10 => "pass_source_route",
        /// The service has no node that takes new clients.
        DropNoBackend = 11 => "drop_no_backend",
        /// The allocated-route table is at its limit.
        DropTableFull = 12 => "drop_table_full",
        /// The kernel is out of memory.
        DropNoMemory = 13 => "drop_no_memory",
        /// There is no way out to the node or the client.
        DropNoOutput = 14 => "drop_no_output",
        /// The time to live (hop limit) ended here (ICMP time exceeded was sent, except for ICMP).
        DropTtl = 15 => "drop_ttl",
        /// Larger than the way out allows (ICMP fragmentation needed, or ICMPv6 packet too big, was
        /// sent, except for ICMP).
        DropTooBig = 16 => "drop_too_big",
        /// The same client port already has a route to that node and port through another
        /// service, and no other node is free: replies could not be told apart.
        DropReplyConflict = 17 => "drop_reply_conflict",
        /// A back-end node's reply whose route has ended: sent on untouched it would show the client
        /// the node's own address.
        DropStaleReply = 18 => "drop_stale_reply",
        /// ICMP errors translated and sent to a back-end node or a client.
        ForwardIcmp = 19 => "forward_icmp",
        /// A back-end node reached by direct routing sent a client's packet back: it does not have
        /// the VIP.
        DropLoop = 20 => "drop_loop",
        /// A new route for a client (address and port) that has
        /// [`CLIENT_ROUTES_MAX`](crate::CLIENT_ROUTES_MAX) already, each through another service.
        DropClientFull = 21 => "drop_client_full",
    }
}
