// SPDX-License-Identifier: GPL-2.0

//! Random packets, told to both models.

use std::net::IpAddr;

use fep_core::rewrite::Coverage;
use fep_core::validate::Node;

use crate::front_end::Verdict;
use crate::reference::{Endpoint, Expected, Seen, ServiceKey, Target};
use crate::wire::{Sum, Wire};
use crate::{address, node, World, CLIENTS, NODES, SERVICES};

fn as_node((address, port): Endpoint) -> Node {
    Node { address, port }
}

/// Where a packet goes, of which so many bytes are before the transport header.
fn destination(bytes: &[u8], header_len: usize) -> Endpoint {
    let address = if bytes[0] >> 4 == 4 {
        <[u8; 4]>::try_from(&bytes[16..20]).unwrap().into()
    } else {
        <[u8; 16]>::try_from(&bytes[24..40]).unwrap().into()
    };
    let port = &bytes[header_len + 2..header_len + 4];
    (address, u16::from_be_bytes(port.try_into().unwrap()))
}

impl World {
    /// A client of that family.
    fn client(&mut self, like: IpAddr) -> Endpoint {
        let number = self.dice.below(CLIENTS);
        let port = 40_000 + (number % 8) as u16;
        (address(like, 0xc633_6401 + number / 8), port)
    }

    /// An end that is no client, or none that is answered.
    fn nobody(&mut self, (like, port): Endpoint) -> Endpoint {
        let texts = match like {
            IpAddr::V4(_) => ["0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"],
            IpAddr::V6(_) => ["::", "fe80::1", "::ffff:198.51.100.1", "ff02::1"],
        };
        match self.dice.below(3) {
            0 => (like, 0),
            _ => (self.dice.one_of(&texts).parse().unwrap(), port),
        }
    }

    /// A route that there is, mostly: its service, client and node.
    pub(crate) fn some_route(&mut self) -> Option<(ServiceKey, Endpoint, Endpoint)> {
        let count = u32::try_from(self.reference.routes.len()).unwrap();
        if count == 0 || self.dice.below(3) == 0 {
            return None;
        }
        let at = self.dice.below(count) as usize;
        let (key, route) = self.reference.routes.iter().nth(at).unwrap();
        Some((key.0, key.1, route.node))
    }

    /// These flags mostly, else any.
    fn flags(&mut self, protocol: u8, usual: &[u8]) -> u8 {
        let any = self.dice.below(16) == 0;
        let any = any.then(|| self.dice.below(256) as u8);
        let flags = any.unwrap_or_else(|| self.dice.one_of(usual));
        if protocol == 6 {
            flags
        } else {
            0
        }
    }

    pub(crate) fn request(&mut self) {
        let (service, from) = match self.some_route() {
            Some((service, client, _)) => (service, client),
            None => {
                let service = self.dice.one_of(&SERVICES);
                (service, self.client(service.1))
            }
        };
        let (protocol, address, port) = service;
        let usual = [2, 2, 2, 0xc2, 16, 16, 16, 24, 24, 17, 17, 17, 4, 20, 18];
        let flags = self.flags(protocol, &usual);
        let (from, to) = self.ends(from, (address, port));
        self.packet(Seen {
            protocol,
            from,
            to,
            flags,
        });
    }

    pub(crate) fn reply(&mut self) {
        let (service, to, from) = self.some_route().unwrap_or_else(|| {
            let service = self.dice.one_of(&SERVICES);
            let client = self.client(service.1);
            (service, client, node(service, self.dice.below(NODES)))
        });
        let flags = self.flags(service.0, &[18, 18, 18, 18, 16, 16, 24, 17, 17, 17, 4]);
        // A node that answers for itself has the service's address, but for a mistake.
        let direct = self.reference.is_direct(&service, from) && self.dice.below(16) > 0;
        let from = if direct { (service.1, service.2) } else { from };
        let (from, to) = self.ends(from, to);
        self.packet(Seen {
            protocol: service.0,
            from,
            to,
            flags,
        });
    }

    /// These ends mostly.
    fn ends(&mut self, from: Endpoint, to: Endpoint) -> (Endpoint, Endpoint) {
        match self.dice.below(64) {
            0 => (self.nobody(from), to),
            1 => (from, self.nobody(to)),
            _ => (from, to),
        }
    }

    fn packet(&mut self, seen: Seen) {
        let sum = match (self.dice.below(4), seen.protocol) {
            (0, _) => Sum::Partial,
            (1, 17) => Sum::Absent,
            _ => Sum::Full,
        };
        let coverage = match sum {
            Sum::Partial => Coverage::Partial,
            Sum::Full | Sum::Absent => Coverage::Full,
        };
        let mut wire = Wire {
            source: seen.from.0,
            source_port: seen.from.1,
            destination: seen.to.0,
            destination_port: seen.to.1,
            flags: seen.flags,
            payload: vec![0x55; self.dice.below(9) as usize],
            sum,
            ..match seen.from.0 {
                IpAddr::V4(_) => Wire::new(seen.protocol),
                IpAddr::V6(_) => Wire::new6(seen.protocol),
            }
        };
        if self.dice.below(8) == 0 {
            // Not the plainest kind of packet.
            wire.ip_options = vec![1; 4];
            wire.extensions = vec![(60, vec![1, 4, 0, 0, 0, 0])];
        }
        let bytes = wire.bytes();
        let linear = self.dice.below(bytes.len().try_into().unwrap()) as usize;
        let verdict = self
            .front_end
            .receive(&bytes, linear, coverage, self.now as u32);
        let expected = self.reference.packet(seen, self.now);
        self.tell(|| format!("{seen:x?} {expected:x?}"));

        let mut sent = Wire {
            ttl: wire.ttl - 1,
            ..wire
        };
        match expected {
            Expected::Ended(name) => {
                self.count(name);
                let Verdict::Ended(counter) = verdict else {
                    panic!("{verdict:?}, not {name}")
                };
                assert_eq!(counter.name(), name);
                return;
            }
            Expected::To(target, state) => {
                self.count("forward_request");
                self.count(state);
                if target.direct {
                    self.count("sent_as_is");
                    assert_eq!(verdict, Verdict::AsIs(Some(as_node(target.node))));
                    return;
                }
                (sent.destination, sent.destination_port) = target.node;
            }
            Expected::From(service) => {
                self.count("forward_reply");
                (sent.source, sent.source_port) = service;
            }
            Expected::Onward => {
                self.count("direct_reply");
                assert_eq!(verdict, Verdict::AsIs(None));
                return;
            }
            Expected::ToOneOf(targets) => {
                self.count("route_allocated");
                let target = match &verdict {
                    Verdict::Sent(bytes) => Target {
                        node: destination(bytes, sent.header_len()),
                        direct: false,
                    },
                    Verdict::AsIs(Some(node)) => Target {
                        node: (node.address, node.port),
                        direct: true,
                    },
                    other => panic!("{other:?}, not sent"),
                };
                assert!(targets.contains(&target), "{target:?} takes no new client");
                self.reference.chosen(seen, target, self.now);
                if target.direct {
                    return;
                }
                (sent.destination, sent.destination_port) = target.node;
            }
        }
        assert_eq!(verdict, Verdict::Sent(sent.bytes()));
    }
}
