// SPDX-License-Identifier: GPL-2.0

//! A front-end node in memory against a plain model of the requirements, over random events.
//!
//! Each seed is one history of packets, passing time and changes of the configuration. After every
//! event the verdicts are compared and the invariants checked. A history that fails is repeated, and
//! told event by event, with
//!
//! ```text
//! FEP_SEED=<seed> cargo test -p fep_core --test model -- --nocapture
//! ```

#[path = "model/front_end.rs"]
mod front_end;
#[path = "model/reference.rs"]
mod reference;
#[path = "packets/wire.rs"]
mod wire;

use std::collections::BTreeMap;

use fep_core::packet::Protocol;
use fep_core::validate::{Node, Service};
use fep_uapi::{Endpoint, Op, OpKind, ServiceId};
use front_end::{FrontEnd, Verdict, HZ};
use reference::{Expected, Reference, Seen, ServiceKey};
use wire::{Sum, Wire};

const SEEDS: u64 = 400;
const STEPS: u32 = 2000;

/// Two protocols at one address and port, and two more ports.
const SERVICES: [ServiceKey; 4] = [
    (6, 0xc000_0201, 80),
    (17, 0xc000_0201, 80),
    (6, 0xc000_0201, 443),
    (6, 0xc000_0202, 8080),
];
const NODES: u32 = 6;
const CLIENTS: u32 = 72;

/// A node serves each service on a port of its own, so that every reply names its service.
fn node(service: ServiceKey, number: u32) -> (u32, u16) {
    let place = SERVICES.iter().position(|other| *other == service).unwrap();
    (0x0a00_0001 + number, 8000 + u16::try_from(place).unwrap())
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.roll() % u64::from(end)).unwrap()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len().try_into().unwrap()) as usize]
    }
}

/// Says which history failed.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with FEP_SEED={}", self.0);
        }
    }
}

/// How often what happened, over all histories.
type Tally = BTreeMap<&'static str, u64>;

struct World {
    dice: Dice,
    /// In ticks. The front-end node sees the low half.
    now: u64,
    front_end: FrontEnd,
    reference: Reference,
    tally: Tally,
    tell: bool,
}

impl World {
    fn new(seed: u64, tell: bool) -> Self {
        let mut dice = Dice(seed);
        let limit = dice.one_of(&[5, 40, 1000]);
        let key = [dice.roll(), dice.roll()];
        // The clock of the front-end node wraps in the middle of many histories.
        let start = (1 << 33) - u64::from(dice.below(2_000_000));
        Self {
            now: start,
            front_end: FrontEnd::new(key, limit),
            reference: Reference::new(HZ, limit),
            tally: Tally::new(),
            dice,
            tell,
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.tell {
            println!("{:>12} {}", self.now, what());
        }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..=54 => self.request(),
            55..=79 => self.reply(),
            80..=91 => self.pass_time(),
            92..=94 => self.sweep(),
            _ => self.configure(),
        }
        self.front_end.check_invariants();
        assert_eq!(self.front_end.count, self.reference.routes.len());
    }

    fn client(&mut self) -> (u32, u16) {
        let number = self.dice.below(CLIENTS);
        (0xc633_6401 + number / 8, 40_000 + (number % 8) as u16)
    }

    fn request(&mut self) {
        let (protocol, address, port) = self.dice.one_of(&SERVICES);
        const FLAGS: [u8; 14] = [2, 2, 2, 2, 2, 0xc2, 16, 16, 24, 17, 17, 4, 20, 18];
        let flags = match self.dice.below(12) {
            0 => self.dice.below(256) as u8,
            _ => self.dice.one_of(&FLAGS),
        };
        let flags = if protocol == 6 { flags } else { 0 };
        let (from, to) = (self.client(), (address, port));
        self.packet(Seen {
            protocol,
            from,
            to,
            flags,
        });
    }

    fn reply(&mut self) {
        // Mostly on a route that there is.
        let count = self.reference.routes.len();
        let service = self.dice.one_of(&SERVICES);
        let (service, to, from) = match self.dice.below(8) {
            1.. if count > 0 => {
                let at = self.dice.below(count.try_into().unwrap()) as usize;
                let (key, route) = self.reference.routes.iter().nth(at).unwrap();
                (key.0, key.1, route.node)
            }
            _ => (
                service,
                self.client(),
                node(service, self.dice.below(NODES)),
            ),
        };
        let flags = match self.dice.below(12) {
            0 => self.dice.below(256) as u8,
            _ => self.dice.one_of(&[18, 18, 18, 16, 16, 24, 17, 17, 4, 20]),
        };
        let flags = if service.0 == 6 { flags } else { 0 };
        self.packet(Seen {
            protocol: service.0,
            from,
            to,
            flags,
        });
    }

    fn packet(&mut self, seen: Seen) {
        let absent = seen.protocol == 17 && self.dice.below(4) == 0;
        let wire = Wire {
            source: seen.from.0,
            source_port: seen.from.1,
            destination: seen.to.0,
            destination_port: seen.to.1,
            flags: seen.flags,
            payload: vec![0x55; self.dice.below(9) as usize],
            sum: if absent { Sum::Absent } else { Sum::Full },
            ..Wire::new(seen.protocol)
        };
        let bytes = wire.bytes();
        let linear = self.dice.below(bytes.len().try_into().unwrap()) as usize;
        let verdict = self.front_end.receive(&bytes, linear, self.now as u32);
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
            Expected::To(node) => {
                self.count("forward_request");
                (sent.destination, sent.destination_port) = node;
            }
            Expected::From(service) => {
                self.count("forward_reply");
                (sent.source, sent.source_port) = service;
            }
            Expected::ToOneOf(nodes) => {
                self.count("route_allocated");
                let Verdict::Sent(bytes) = &verdict else {
                    panic!("{verdict:?}, not sent")
                };
                let address = u32::from_be_bytes(bytes[16..20].try_into().unwrap());
                let port = u16::from_be_bytes(bytes[22..24].try_into().unwrap());
                let node = (address, port);
                assert!(nodes.contains(&node), "{node:?} takes no new client");
                self.reference.chosen(seen, node, self.now);
                (sent.destination, sent.destination_port) = node;
            }
        }
        assert_eq!(verdict, Verdict::Sent(sent.bytes()));
    }

    fn pass_time(&mut self) {
        let count = self.reference.routes.len();
        let ticks = match self.dice.below(6) {
            0 | 1 => self.dice.below(HZ),
            2 | 3 => self.dice.below(10 * HZ),
            4 => self.dice.below(200 * HZ),
            _ if count > 0 => {
                // To the end of a route, or one tick before it.
                let at = self.dice.below(count.try_into().unwrap()) as usize;
                let key = *self.reference.routes.keys().nth(at).unwrap();
                let end = self.reference.end_of(&key) - u64::from(self.dice.below(2));
                end.saturating_sub(self.now).try_into().unwrap()
            }
            _ => 1,
        };
        self.now += u64::from(ticks);
        self.tell(|| format!("after {ticks} ticks"));
    }

    fn sweep(&mut self) {
        let deleted = self.reference.sweep(self.now);
        self.tell(|| format!("sweep {deleted}"));
        assert_eq!(self.front_end.sweep(self.now as u32), deleted);
        *self.tally.entry("route_expired").or_default() += deleted as u64;
    }

    fn configure(&mut self) {
        let name = self.dice.one_of(&SERVICES);
        let node = node(name, self.dice.below(NODES));
        let weight = self.dice.one_of(&[0, 0, 1, 1, 2, 3, 5, 8]);
        let timeouts = [0; 5].map(|_| self.dice.one_of(&[0, 1, 5, 60]));
        let kind = self
            .dice
            .one_of(&[3, 3, 3, 4, 5, 6, 6, 6, 6, 6, 7, 7, 8, 9, 9, 10, 10, 11]);
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
                done(reference.add_node(name, node, weight))
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

    /// The two tables of allocated routes are one.
    fn compare_tables(&self) {
        for route in self.front_end.routes() {
            let Service {
                protocol,
                address,
                port,
            } = route.service;
            let key = ((protocol.number(), address, port), route.client);
            let expected = &self.reference.routes[&key];
            assert_eq!((route.node.address, route.node.port), expected.node);
            assert_eq!(route.tracker().state().name(), expected.state());
        }
    }
}

/// Runs one history.
fn run(seed: u64, tell: bool) -> World {
    let _replay = Replay(seed);
    let mut world = World::new(seed, tell);
    // Something to begin with; the dice say what is removed again.
    for _ in 0..30 {
        world.configure();
    }
    for step in 0..STEPS {
        world.step();
        if step % 16 == 0 {
            world.compare_tables();
        }
    }
    world.compare_tables();
    world
}

#[test]
fn random_histories() {
    if let Ok(seed) = std::env::var("FEP_SEED") {
        run(seed.parse().expect("FEP_SEED is a number"), true);
        return;
    }
    let mut tally = Tally::new();
    let (mut cycles, mut farthest) = (0, 0f64);
    for seed in 0..SEEDS {
        let world = run(seed, false);
        for (what, count) in world.tally {
            *tally.entry(what).or_default() += count;
        }
        let distribution = &world.reference.distribution;
        cycles += distribution.cycles;
        farthest = farthest.max(distribution.farthest);
    }
    println!("{tally:#?}\n{cycles} cycles, {farthest:.2} clients from the share at most");

    // The histories are worth something only when everything happens in them.
    for what in [
        "forward_request",
        "forward_reply",
        "route_allocated",
        "route_expired",
        "route_deleted",
        "pass_no_route",
        "pass_no_service",
        "drop_no_backend",
        "drop_table_full",
    ] {
        assert!(tally[what] > 1000, "{what}: {}", tally[what]);
    }
    assert!(cycles > 1000, "{cycles}");
    assert!(farthest < 6.0, "{farthest}");
}
