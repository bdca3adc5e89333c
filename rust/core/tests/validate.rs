// SPDX-License-Identifier: GPL-2.0

//! Operations on the configuration: what is accepted, and the reason of each refusal.

#[path = "validate/addresses.rs"]
mod addresses;
#[path = "validate/method.rs"]
mod method;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_core::packet::Protocol;
use fep_core::validate::{change, Change, Node, NodePattern, Service};
use fep_uapi::{Endpoint, Method, Op, OpKind, Reason, Scheduler, ServiceId};

const VIP: [u8; 4] = [192, 0, 2, 1];
const NODE: [u8; 4] = [10, 0, 0, 7];

const SERVICE: Service = Service {
    protocol: Protocol::Tcp,
    address: IpAddr::V4(Ipv4Addr::new(VIP[0], VIP[1], VIP[2], VIP[3])),
    port: 8080,
};
const BACKEND: Node = Node {
    address: IpAddr::V4(Ipv4Addr::new(NODE[0], NODE[1], NODE[2], NODE[3])),
    port: 80,
};
const ANY_PORT: NodePattern = NodePattern {
    address: BACKEND.address,
    port: None,
};

const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const NODE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 7);

const SERVICE6: Service = Service {
    address: IpAddr::V6(VIP6),
    ..SERVICE
};
const BACKEND6: Node = Node {
    address: IpAddr::V6(NODE6),
    ..BACKEND
};

fn bytes(address: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&address);
    bytes
}

fn device(name: &[u8]) -> [u8; 16] {
    let mut device = [0; 16];
    device[..name.len()].copy_from_slice(name);
    device
}

/// An acceptable operation of a kind, every field that the kind uses filled in.
fn op(kind: OpKind) -> Op {
    let mut op = Op {
        kind: kind.code(),
        ..Op::default()
    };
    let number = kind.code();
    if number <= 2 {
        op.device = device(b"eth0");
    }
    if (3..=10).contains(&number) || (12..=13).contains(&number) {
        op.service = ServiceId {
            family: 4,
            protocol: 6,
            port: 8080,
            reserved: 0,
            address: bytes(VIP),
        };
    }
    if (6..=10).contains(&number) || (12..=13).contains(&number) {
        op.backend = Endpoint {
            family: 4,
            port: 80,
            address: bytes(NODE),
            ..Endpoint::default()
        };
    }
    match kind {
        OpKind::ServiceAdd | OpKind::ServiceSet => op.timeouts = [1, 0, 3, 864_000, 5],
        OpKind::BackendAdd | OpKind::BackendSet => op.weight = 65_535,
        OpKind::LimitSet => op.limit = 1000,
        OpKind::BackendPriority => op.priority = 65_535,
        OpKind::BackendLoad => op.load = 1_000_000,
        _ => {}
    }
    op
}

type Make = fn(OpKind) -> Op;

/// The same with IPv6 addresses.
fn op6(kind: OpKind) -> Op {
    let mut op = op(kind);
    if op.service.family != 0 {
        (op.service.family, op.service.address) = (6, VIP6.octets());
    }
    if op.backend.family != 0 {
        (op.backend.family, op.backend.address) = (6, NODE6.octets());
    }
    op
}

fn reason(op: &Op) -> Reason {
    change(op).err().unwrap_or(Reason::None)
}

#[test]
fn each_kind_is_understood() {
    understood(op, SERVICE, BACKEND);
    understood(op6, SERVICE6, BACKEND6);
}

fn understood(op: Make, service: Service, backend: Node) {
    let timeouts = [1, 0, 3, 864_000, 5];
    let scheduler = Scheduler::Wrr;
    let weight = 65_535;
    let pattern = NodePattern {
        address: backend.address,
        port: Some(80),
    };
    for kind in OpKind::ALL {
        let expected = match kind {
            OpKind::DeviceAttach => Change::DeviceAttach { name: b"eth0" },
            OpKind::DeviceDetach => Change::DeviceDetach { name: b"eth0" },
            OpKind::ServiceAdd => Change::ServiceAdd {
                service,
                scheduler,
                timeouts,
            },
            OpKind::ServiceSet => Change::ServiceSet {
                service,
                scheduler,
                timeouts,
            },
            OpKind::ServiceDel => Change::ServiceDel { service },
            OpKind::BackendAdd => Change::BackendAdd {
                service,
                backend,
                weight,
                method: Method::Nat,
            },
            OpKind::BackendSet => Change::BackendSet {
                service,
                backend,
                weight,
            },
            OpKind::BackendDel => Change::BackendDel { service, backend },
            OpKind::BackendFail => Change::BackendFail {
                service: Some(service),
                backend: pattern,
            },
            OpKind::BackendRestore => Change::BackendRestore {
                service: Some(service),
                backend: pattern,
            },
            OpKind::LimitSet => Change::LimitSet { limit: 1000 },
            OpKind::BackendPriority => Change::BackendPriority {
                service,
                backend,
                priority: 65_535,
            },
            OpKind::BackendLoad => Change::BackendLoad {
                service: Some(service),
                backend: pattern,
                load: 1_000_000,
            },
        };
        assert_eq!(change(&op(*kind)), Ok(expected));
    }
}

#[test]
fn unknown_kinds_and_flags() {
    for kind in [0, 14, u32::MAX] {
        assert_eq!(
            reason(&Op {
                kind,
                ..Op::default()
            }),
            Reason::UnknownOp
        );
    }
    for kind in OpKind::ALL {
        let flags = 1;
        assert_eq!(reason(&Op { flags, ..op(*kind) }), Reason::UnknownFlag);
    }
}

#[test]
fn fields_that_a_kind_does_not_use_are_zero() {
    // Each writes one field; the kinds that use the field are listed with it.
    type Write = fn(&mut Op);
    let fields: [(Write, &[u32]); 11] = [
        (|op| op.device[0] = b'x', &[1, 2]),
        (
            |op| op.service.port ^= 1,
            &[3, 4, 5, 6, 7, 8, 9, 10, 12, 13],
        ),
        (|op| op.backend.port ^= 1, &[6, 7, 8, 9, 10, 12, 13]),
        (|op| op.weight ^= 1, &[6, 7]),
        (|op| op.scheduler ^= 1, &[3, 4]),
        (|op| op.timeouts[4] ^= 1, &[3, 4]),
        (|op| op.limit ^= 1, &[11]),
        (|op| op.method ^= 1, &[6]),
        (|op| op.priority ^= 1, &[12]),
        (|op| op.load ^= 1, &[13]),
        (|op| op.reserved[2] ^= 1, &[]),
    ];
    for kind in OpKind::ALL {
        for (number, (write, users)) in fields.iter().enumerate() {
            let mut op = op(*kind);
            write(&mut op);
            let refused = reason(&op) == Reason::ReservedNotZero;
            assert_eq!(
                refused,
                !users.contains(&kind.code()),
                "{kind:?}, field {number}"
            );
        }
    }
}

#[test]
fn a_node_on_every_port_of_every_service() {
    for kind in [
        OpKind::BackendFail,
        OpKind::BackendRestore,
        OpKind::BackendLoad,
    ] {
        let mut op = op(kind);
        op.service = ServiceId::default();
        op.backend.port = 0;
        let (service, backend) = (None, ANY_PORT);
        let expected = match kind {
            OpKind::BackendFail => Change::BackendFail { service, backend },
            OpKind::BackendLoad => Change::BackendLoad {
                service,
                backend,
                load: 1_000_000,
            },
            _ => Change::BackendRestore { service, backend },
        };
        assert_eq!(change(&op), Ok(expected));
    }
}

#[test]
fn a_vip_is_no_node_of_its_own_service() {
    for mut op in [op(OpKind::BackendAdd), op6(OpKind::BackendAdd)] {
        op.backend.address = op.service.address;
        assert_eq!(reason(&op), Reason::BackendIsVip);
        // Not by direct routing either, which its port would allow.
        (op.backend.port, op.method) = (op.service.port, 1);
        assert_eq!(reason(&op), Reason::BackendIsVip);
    }
}

#[test]
fn numbers_at_their_limits() {
    for kind in [OpKind::BackendAdd, OpKind::BackendSet] {
        for (weight, expected) in [
            (0, Reason::None),
            (65_535, Reason::None),
            (65_536, Reason::WeightTooLarge),
            (u32::MAX, Reason::WeightTooLarge),
        ] {
            assert_eq!(reason(&Op { weight, ..op(kind) }), expected);
        }
    }
    for (priority, expected) in [(65_535, Reason::None), (65_536, Reason::PriorityTooLarge)] {
        let op = Op {
            priority,
            ..op(OpKind::BackendPriority)
        };
        assert_eq!(reason(&op), expected);
    }
    for (load, expected) in [(1_000_000, Reason::None), (1_000_001, Reason::LoadTooLarge)] {
        let op = Op {
            load,
            ..op(OpKind::BackendLoad)
        };
        assert_eq!(reason(&op), expected);
    }
    for kind in [OpKind::ServiceAdd, OpKind::ServiceSet] {
        for (scheduler, expected) in [
            (2, Reason::None),
            (3, Reason::BadScheduler),
            (u32::MAX, Reason::BadScheduler),
        ] {
            let op = Op {
                scheduler,
                ..op(kind)
            };
            assert_eq!(reason(&op), expected);
        }
        for index in 0..5 {
            for (seconds, expected) in [
                (0, Reason::None),
                (864_000, Reason::None),
                (864_001, Reason::TimeoutTooLong),
                (u32::MAX, Reason::TimeoutTooLong),
            ] {
                let mut op = op(kind);
                op.timeouts[index] = seconds;
                assert_eq!(reason(&op), expected);
            }
        }
    }
    for (limit, expected) in [
        (0, Reason::BadLimit),
        (1, Reason::None),
        (1 << 27, Reason::None),
        ((1 << 27) + 1, Reason::BadLimit),
        (u32::MAX, Reason::BadLimit),
    ] {
        assert_eq!(
            reason(&Op {
                limit,
                ..op(OpKind::LimitSet)
            }),
            expected
        );
    }
}

#[test]
fn device_names() {
    let good: [&[u8]; 7] = [
        b"e",
        b"eth0",
        b"...",
        b"br-lan.10",
        b"fifteen_letters",
        b"\xc3\xa4",
        b".a",
    ];
    let bad: [&[u8]; 16] = [
        b"",
        b".",
        b"..",
        b"a/b",
        b"/",
        b"a b",
        b" ",
        b"a\tb",
        b"a\nb",
        b"a\x0bb",
        b"a\x0cb",
        b"a\rb",
        b"eth0:1",
        b"a\xa0b",
        b"sixteen_letters!",
        b"eth0\0x",
    ];
    for kind in [OpKind::DeviceAttach, OpKind::DeviceDetach] {
        for name in good {
            let op = Op {
                device: device(name),
                ..op(kind)
            };
            let expected = match kind {
                OpKind::DeviceAttach => Change::DeviceAttach { name },
                _ => Change::DeviceDetach { name },
            };
            assert_eq!(change(&op), Ok(expected));
        }
        for name in bad {
            let op = Op {
                device: device(name),
                ..op(kind)
            };
            assert_eq!(
                reason(&op),
                Reason::BadDeviceName,
                "{}",
                name.escape_ascii()
            );
        }
    }
}
