// SPDX-License-Identifier: GPL-2.0

//! Operations on the configuration: what is accepted, and the reason of each refusal.

use fep_core::packet::Protocol;
use fep_core::validate::{change, Change, Node, NodePattern, Service};
use fep_uapi::{Endpoint, Op, OpKind, Reason, Scheduler, ServiceId};

const VIP: [u8; 4] = [192, 0, 2, 1];
const NODE: [u8; 4] = [10, 0, 0, 7];

const SERVICE: Service = Service {
    protocol: Protocol::Tcp,
    address: u32::from_be_bytes(VIP),
    port: 8080,
};
const BACKEND: Node = Node {
    address: u32::from_be_bytes(NODE),
    port: 80,
};
const ANY_PORT: NodePattern = NodePattern {
    address: BACKEND.address,
    port: None,
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
    if (3..=10).contains(&number) {
        op.service = ServiceId {
            family: 4,
            protocol: 6,
            port: 8080,
            reserved: 0,
            address: bytes(VIP),
        };
    }
    if (6..=10).contains(&number) {
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
        _ => {}
    }
    op
}

fn reason(op: &Op) -> Reason {
    change(op).err().unwrap_or(Reason::None)
}

#[test]
fn each_kind_is_understood() {
    let timeouts = [1, 0, 3, 864_000, 5];
    let scheduler = Scheduler::Wrr;
    let (service, backend, weight) = (SERVICE, BACKEND, 65_535);
    let pattern = NodePattern {
        address: BACKEND.address,
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
        };
        assert_eq!(change(&op(*kind)), Ok(expected));
    }
}

#[test]
fn unknown_kinds_and_flags() {
    for kind in [0, 12, u32::MAX] {
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
    let fields: [(Write, &[u32]); 8] = [
        (|op| op.device[0] = b'x', &[1, 2]),
        (|op| op.service.port ^= 1, &[3, 4, 5, 6, 7, 8, 9, 10]),
        (|op| op.backend.port ^= 1, &[6, 7, 8, 9, 10]),
        (|op| op.weight ^= 1, &[6, 7]),
        (|op| op.scheduler ^= 1, &[3, 4]),
        (|op| op.timeouts[4] ^= 1, &[3, 4]),
        (|op| op.limit ^= 1, &[11]),
        (|op| op.reserved[5] ^= 1, &[]),
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
fn services() {
    type Write = fn(&mut ServiceId);
    let cases: [(Write, Reason); 15] = [
        (|id| id.protocol = 17, Reason::None),
        (|id| id.port = 65_535, Reason::None),
        (|id| id.family = 0, Reason::BadFamily),
        (|id| id.family = 2, Reason::BadFamily),
        (|id| id.family = 6, Reason::FamilyUnsupported),
        (
            |id| {
                *id = ServiceId {
                    family: 6,
                    address: [1; 16],
                    ..*id
                }
            },
            Reason::FamilyUnsupported,
        ),
        (|id| id.reserved = 1, Reason::ReservedNotZero),
        (|id| id.address[4] = 1, Reason::ReservedNotZero),
        (|id| id.address[15] = 1, Reason::ReservedNotZero),
        (|id| id.protocol = 1, Reason::BadProtocol),
        (|id| id.protocol = 0, Reason::BadProtocol),
        (|id| id.port = 0, Reason::PortZero),
        (|id| id.address[0] = 0, Reason::AddressNotUnicast),
        (|id| id.address[0] = 127, Reason::AddressNotUnicast),
        (
            |id| id.address = bytes([224, 0, 0, 1]),
            Reason::AddressNotUnicast,
        ),
    ];
    for kind in (3..=10).filter_map(OpKind::from_code) {
        let optional = matches!(kind, OpKind::BackendFail | OpKind::BackendRestore);
        for (number, (write, expected)) in cases.iter().enumerate() {
            let mut op = op(kind);
            write(&mut op.service);
            // Where the service is optional, family 0 means none, and the rest is zero then.
            let expected = match expected {
                Reason::BadFamily if optional && op.service.family == 0 => Reason::ReservedNotZero,
                other => *other,
            };
            assert_eq!(reason(&op), expected, "{kind:?}, case {number}");
        }
    }
}

#[test]
fn nodes() {
    type Write = fn(&mut Endpoint);
    let cases: [(Write, Reason); 12] = [
        (|end| end.port = 1, Reason::None),
        (|end| end.family = 0, Reason::BadFamily),
        (|end| *end = Endpoint::default(), Reason::BadFamily),
        (|end| end.family = 10, Reason::BadFamily),
        (|end| end.family = 6, Reason::FamilyUnsupported),
        (|end| end.reserved0 = 1, Reason::ReservedNotZero),
        (|end| end.reserved1 = 1, Reason::ReservedNotZero),
        (|end| end.address[7] = 1, Reason::ReservedNotZero),
        (|end| end.port = 0, Reason::PortZero),
        (|end| end.address[0] = 0, Reason::AddressNotUnicast),
        (
            |end| end.address = bytes([255; 4]),
            Reason::AddressNotUnicast,
        ),
        (
            |end| end.address = bytes([239, 1, 1, 1]),
            Reason::AddressNotUnicast,
        ),
    ];
    for kind in (6..=10).filter_map(OpKind::from_code) {
        let any_port = matches!(kind, OpKind::BackendFail | OpKind::BackendRestore);
        for (number, (write, expected)) in cases.iter().enumerate() {
            let mut op = op(kind);
            write(&mut op.backend);
            let expected = match expected {
                Reason::PortZero if any_port => Reason::None,
                other => *other,
            };
            assert_eq!(reason(&op), expected, "{kind:?}, case {number}");
        }
    }
}

#[test]
fn a_node_on_every_port_of_every_service() {
    for kind in [OpKind::BackendFail, OpKind::BackendRestore] {
        let mut op = op(kind);
        op.service = ServiceId::default();
        op.backend.port = 0;
        let (service, backend) = (None, ANY_PORT);
        let expected = match kind {
            OpKind::BackendFail => Change::BackendFail { service, backend },
            _ => Change::BackendRestore { service, backend },
        };
        assert_eq!(change(&op), Ok(expected));
    }
}

#[test]
fn a_vip_is_no_node_of_its_own_service() {
    let mut op = op(OpKind::BackendAdd);
    op.backend.address = op.service.address;
    assert_eq!(reason(&op), Reason::BackendIsVip);
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
    for kind in [OpKind::ServiceAdd, OpKind::ServiceSet] {
        let scheduler = 1;
        assert_eq!(
            reason(&Op {
                scheduler,
                ..op(kind)
            }),
            Reason::BadScheduler
        );
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
