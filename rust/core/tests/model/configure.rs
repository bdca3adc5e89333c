// SPDX-License-Identifier: GPL-2.0

//! Random changes of the configuration, told to both models.

use fep_core::packet::Protocol;
use fep_core::validate::{Node, Service};
use fep_uapi::{Endpoint, Method, Op, OpKind, ServiceId};

use crate::{node, World, NODES, SERVICES};

impl World {
    /// Changes something, or tries what must be refused.
    pub(crate) fn configure(&mut self) {
        // Nodes with routes are the interesting ones.
        let (name, node) = match (self.dice.below(2), self.some_route()) {
            (0, Some((service, _, node))) => (service, node),
            _ => {
                let name = self.dice.one_of(&SERVICES);
                (name, node(name, self.dice.below(NODES)))
            }
        };
        // Of the other family, now and then.
        let other = self.dice.one_of(&SERVICES);
        let node = match self.dice.below(16) {
            0 if other.1.is_ipv4() != name.1.is_ipv4() => (other.1, node.1),
            _ => node,
        };
        let direct = node.1 == name.2 && self.dice.below(2) == 0 || self.dice.below(32) == 0;
        let weight = self.dice.one_of(&[0, 0, 0, 1, 1, 2, 3, 5, 8]);
        let timeouts = [0; 5].map(|_| self.dice.one_of(&[0, 0, 0, 2, 20]));
        let kind = self.dice.one_of(&[
            3, 3, 3, 4, 5, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 8, 9, 10, 10, 11,
        ]);
        let kind = OpKind::from_code(kind).unwrap();
        let marks = matches!(kind, OpKind::BackendFail | OpKind::BackendRestore);
        let every_port = marks && self.dice.below(2) == 0;
        let every_service = marks && self.dice.below(2) == 0;

        let number = kind.code();
        let mut op = Op {
            kind: number,
            ..Op::default()
        };
        if (3..=10).contains(&number) && !every_service {
            op.service = ServiceId::from(Service {
                protocol: Protocol::from_number(name.0).unwrap(),
                address: name.1,
                port: name.2,
            });
        }
        if (6..=10).contains(&number) {
            let (address, port) = node;
            op.backend = Endpoint::from(Node { address, port });
            op.backend.port = if every_port { 0 } else { port };
        }
        let service = (!every_service).then_some(name);
        let pattern = (node.0, (!every_port).then_some(node.1));

        let reference = &mut self.reference;
        let done = |done: bool| done.then_some(0);
        let expected = match kind {
            OpKind::ServiceAdd => {
                op.timeouts = timeouts;
                done(reference.add_service(name, timeouts))
            }
            OpKind::ServiceSet => {
                op.timeouts = timeouts;
                done(reference.set_service(name, timeouts))
            }
            OpKind::ServiceDel => reference.remove_service(name),
            OpKind::BackendAdd => {
                op.weight = weight;
                let method = if direct { Method::Dr } else { Method::Nat };
                op.method = method.code();
                done(reference.add_node(name, node, weight, direct))
            }
            OpKind::BackendSet => {
                op.weight = weight;
                done(reference.set_weight(name, node, weight))
            }
            OpKind::BackendDel => reference.remove_node(name, node),
            OpKind::BackendFail => reference.mark(service, pattern, true),
            OpKind::BackendRestore => reference.mark(service, pattern, false),
            _ => {
                op.limit = self.dice.one_of(&[1, 10, 50, 1000, 1000]);
                reference.set_limit(op.limit as usize);
                Some(0)
            }
        };
        self.tell(|| {
            format!(
                "{} {service:x?} {pattern:x?} {weight} {expected:?}",
                kind.name()
            )
        });
        let found = self.front_end.commit(&op);
        assert_eq!(found.ok(), expected, "{kind:?}: {found:?}");
        self.count(kind.name());
        *self.tally.entry("route_deleted").or_default() += expected.unwrap_or(0) as u64;
        self.compare_tables();
    }
}
