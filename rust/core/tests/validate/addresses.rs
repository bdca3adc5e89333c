// SPDX-License-Identifier: GPL-2.0

//! Services and nodes of both families.

use std::net::Ipv6Addr;

use fep_core::validate::{filter, Filter, NodePattern};
use fep_uapi::{Endpoint, Op, OpKind, Reason, ServiceId};

use crate::{bytes, op, op6, reason, Make, BACKEND, BACKEND6, NODE6, SERVICE, SERVICE6, VIP6};

#[test]
fn services() {
    type Write = fn(&mut ServiceId);
    let cases: [(Write, Reason); 13] = [
        (|id| id.protocol = 17, Reason::None),
        (|id| id.port = 65_535, Reason::None),
        (|id| id.family = 0, Reason::BadFamily),
        (|id| id.family = 2, Reason::BadFamily),
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
    let cases: [(Write, Reason); 11] = [
        (|end| end.port = 1, Reason::None),
        (|end| end.family = 0, Reason::BadFamily),
        (|end| *end = Endpoint::default(), Reason::BadFamily),
        (|end| end.family = 10, Reason::BadFamily),
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

/// IPv6 addresses that are one host's or no host's.
const ADDRESSES6: [(&str, Reason); 20] = [
    ("2001:db8::2", Reason::None),
    ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Reason::None),
    ("fc00::1", Reason::None),
    ("fdff::1", Reason::None),
    ("64:ff9b::192.0.2.1", Reason::None),
    ("::2", Reason::None),
    ("::fffe:192.0.2.1", Reason::None),
    ("::1:ffff:192.0.2.1", Reason::None),
    ("fe7f::1", Reason::None),
    ("fec0::1", Reason::None),
    ("::", Reason::AddressNotUnicast),
    ("::1", Reason::AddressNotUnicast),
    ("::ffff:192.0.2.1", Reason::AddressNotUnicast),
    ("::ffff:0.0.0.0", Reason::AddressNotUnicast),
    ("fe80::1", Reason::AddressNotUnicast),
    ("febf:ffff::1", Reason::AddressNotUnicast),
    ("ff00::", Reason::AddressNotUnicast),
    ("ff02::1", Reason::AddressNotUnicast),
    ("ff0e::1", Reason::AddressNotUnicast),
    (
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Reason::AddressNotUnicast,
    ),
];

#[test]
fn ipv6_addresses() {
    for (text, expected) in ADDRESSES6 {
        let address = text.parse::<Ipv6Addr>().unwrap().octets();
        for kind in (3..=10).filter_map(OpKind::from_code) {
            let mut op = op6(kind);
            op.service.address = address;
            assert_eq!(reason(&op), expected, "{kind:?}, service {text}");
            if op.backend.family == 0 {
                continue;
            }
            let mut op = op6(kind);
            op.backend.address = address;
            assert_eq!(reason(&op), expected, "{kind:?}, node {text}");
        }
    }
}

/// Each rule of one family's fields in the other: only the family says which it is.
#[test]
fn a_family_for_each_address() {
    for kind in (3..=10).filter_map(OpKind::from_code) {
        // An IPv4 address in an IPv6 field is an IPv6 address, and the other way round it is not.
        let mut op = op6(kind);
        op.service.family = 4;
        assert_eq!(reason(&op), Reason::ReservedNotZero, "{kind:?}");
        let mut op = op6(kind);
        op.service.protocol = 41;
        assert_eq!(reason(&op), Reason::BadProtocol, "{kind:?}");
        let mut op = op6(kind);
        op.service.port = 0;
        assert_eq!(reason(&op), Reason::PortZero, "{kind:?}");
        let mut op = op6(kind);
        op.service.reserved = 1;
        assert_eq!(reason(&op), Reason::ReservedNotZero, "{kind:?}");
    }
    for kind in (6..=10).filter_map(OpKind::from_code) {
        let mut op = op6(kind);
        op.backend.family = 4;
        assert_eq!(reason(&op), Reason::ReservedNotZero, "{kind:?}");
        let mut op = op6(kind);
        op.backend.reserved0 = 1;
        assert_eq!(reason(&op), Reason::ReservedNotZero, "{kind:?}");
        let mut op = op6(kind);
        op.backend.reserved1 = 1;
        assert_eq!(reason(&op), Reason::ReservedNotZero, "{kind:?}");
    }
}

#[test]
fn a_node_of_its_services_family() {
    let pairs: [(Make, Make); 2] = [(op6, op), (op, op6)];
    for (service, backend) in pairs {
        let op = Op {
            backend: backend(OpKind::BackendAdd).backend,
            ..service(OpKind::BackendAdd)
        };
        assert_eq!(reason(&op), Reason::FamilyMismatch);
        // Where a node is only named, it is not found.
        for kind in (7..=10).filter_map(OpKind::from_code) {
            let op = Op {
                backend: backend(kind).backend,
                ..service(kind)
            };
            assert_eq!(reason(&op), Reason::None);
        }
    }
}

#[test]
fn filters_of_either_family() {
    let id = ServiceId::from(SERVICE6);
    let endpoint = Endpoint::from(BACKEND6);
    assert_eq!((id.family, id.address), (6, VIP6.octets()));
    assert_eq!((endpoint.family, endpoint.address), (6, NODE6.octets()));
    let any_port = Endpoint {
        port: 0,
        ..endpoint
    };
    let found = filter(&id, &any_port).unwrap();
    let expected = Filter {
        service: Some(SERVICE6),
        backend: Some(NodePattern {
            address: BACKEND6.address,
            port: None,
        }),
    };
    assert_eq!(found, expected);
    assert!(found.matches(&SERVICE6, &BACKEND6));
    assert!(!found.matches(&SERVICE, &BACKEND6));
    assert!(!found.matches(&SERVICE6, &BACKEND));
    let loopback = Ipv6Addr::LOCALHOST.octets();
    let id = ServiceId {
        address: loopback,
        ..id
    };
    let none = (ServiceId::default(), Endpoint::default());
    assert_eq!(filter(&id, &none.1), Err(Reason::AddressNotUnicast));
    let endpoint = Endpoint {
        address: loopback,
        ..endpoint
    };
    assert_eq!(filter(&none.0, &endpoint), Err(Reason::AddressNotUnicast));
}
