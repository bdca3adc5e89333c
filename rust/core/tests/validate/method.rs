// SPDX-License-Identifier: GPL-2.0

//! How a node is reached, and the order in which mistakes are told.

use fep_core::validate::{change, Change};
use fep_uapi::{Endpoint, Method, Op, OpKind, Reason};

use crate::{op, op6, reason, Make, SERVICE, SERVICE6};

#[test]
fn methods() {
    for (ipv6, op) in [(false, op as Make), (true, op6)] {
        for (method, port, expected) in [
            (0, 80, Ok(Method::Nat)),
            (0, 8080, Ok(Method::Nat)),
            (1, 8080, Ok(Method::Dr)),
            (1, 80, Err(Reason::PortNotService)),
            (1, 8081, Err(Reason::PortNotService)),
            (2, 8080, Err(Reason::BadMethod)),
            (2, 80, Err(Reason::BadMethod)),
            (u32::MAX, 8080, Err(Reason::BadMethod)),
        ] {
            let mut op = op(OpKind::BackendAdd);
            (op.method, op.backend.port) = (method, port);
            let found = change(&op).map(|change| match change {
                Change::BackendAdd {
                    service,
                    backend,
                    weight: 65_535,
                    method,
                } => {
                    assert_eq!(service, if ipv6 { SERVICE6 } else { SERVICE });
                    assert_eq!(backend.port, port);
                    method
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(found, expected, "{method} at port {port}");
        }
    }
}

/// Of several mistakes the first field's is told.
#[test]
fn mistakes_in_the_order_of_the_fields() {
    let mut op = op6(OpKind::BackendAdd);
    op.method = 1;
    let mut expect = |write: fn(&mut Op), expected| {
        assert_eq!(reason(&op), expected);
        write(&mut op);
    };
    expect(|op| op.method = 2, Reason::PortNotService);
    expect(|op| op.weight = 65_536, Reason::BadMethod);
    expect(|op| op.backend = ipv4_node(), Reason::WeightTooLarge);
    expect(|op| op.backend.port = 0, Reason::FamilyMismatch);
    expect(|op| op.service.port = 0, Reason::PortZero);
    expect(|op| op.limit = 1, Reason::PortZero);
    expect(|op| op.flags = 1, Reason::ReservedNotZero);
    expect(|op| op.kind = 0, Reason::UnknownFlag);
    expect(|_| {}, Reason::UnknownOp);
}

fn ipv4_node() -> Endpoint {
    op(OpKind::BackendAdd).backend
}
