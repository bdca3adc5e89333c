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

#[path = "model/configure.rs"]
mod configure;
#[path = "model/connection.rs"]
mod connection;
#[path = "model/dice.rs"]
mod dice;
#[path = "model/front_end.rs"]
mod front_end;
#[path = "model/invariants.rs"]
mod invariants;
#[path = "model/reference.rs"]
mod reference;
#[path = "packets/wire.rs"]
mod wire;

use std::collections::BTreeMap;

use dice::Dice;
use fep_core::rewrite::Coverage;
use fep_core::validate::Service;
use front_end::{FrontEnd, Verdict, HZ};
use reference::{Endpoint, Expected, Reference, Seen, ServiceKey};
use wire::{Sum, Wire};

const SEEDS: u64 = 800;
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
            92..=93 => self.sweep(),
            _ => self.configure(),
        }
        self.front_end.check_invariants();
        assert_eq!(self.front_end.count, self.reference.routes.len());
    }

    fn client(&mut self) -> (u32, u16) {
        let number = self.dice.below(CLIENTS);
        (0xc633_6401 + number / 8, 40_000 + (number % 8) as u16)
    }

    /// A route that there is, mostly: its service, client and node.
    fn some_route(&mut self) -> Option<(ServiceKey, Endpoint, Endpoint)> {
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

    fn request(&mut self) {
        let (service, from) = match self.some_route() {
            Some((service, client, _)) => (service, client),
            None => (self.dice.one_of(&SERVICES), self.client()),
        };
        let (protocol, address, port) = service;
        let usual = [2, 2, 2, 0xc2, 16, 16, 16, 24, 24, 17, 17, 17, 4, 20, 18];
        let flags = self.flags(protocol, &usual);
        let to = (address, port);
        self.packet(Seen {
            protocol,
            from,
            to,
            flags,
        });
    }

    fn reply(&mut self) {
        let (service, to, from) = self.some_route().unwrap_or_else(|| {
            let service = self.dice.one_of(&SERVICES);
            (
                service,
                self.client(),
                node(service, self.dice.below(NODES)),
            )
        });
        let flags = self.flags(service.0, &[18, 18, 18, 18, 16, 16, 24, 17, 17, 17, 4]);
        self.packet(Seen {
            protocol: service.0,
            from,
            to,
            flags,
        });
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
        let wire = Wire {
            source: seen.from.0,
            source_port: seen.from.1,
            destination: seen.to.0,
            destination_port: seen.to.1,
            flags: seen.flags,
            payload: vec![0x55; self.dice.below(9) as usize],
            sum,
            ..Wire::new(seen.protocol)
        };
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
            Expected::To(node, state) => {
                self.count("forward_request");
                self.count(state);
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
        let ticks = match (self.dice.below(12), self.some_route()) {
            (0..=5, _) => self.dice.below(HZ),
            (6..=9, _) => self.dice.below(3 * HZ),
            (10, _) => self.dice.below(50 * HZ),
            (_, Some((service, client, _))) => {
                // To the end of a route, or one tick before it.
                let end = self.reference.end_of(&(service, client));
                let ticks = end.saturating_sub(self.now + u64::from(self.dice.below(2)));
                ticks.min(u64::from(100 * HZ)) as u32
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
    for _ in 0..40 {
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
        let judged = &world.reference.judged;
        *tally.entry("moved_on").or_default() += judged.moved_on;
        cycles += judged.cycles;
        farthest = farthest.max(judged.farthest);
    }
    println!("{tally:#?}\n{cycles} cycles, {farthest:.2} clients from the share at most");

    // The histories are worth something only when everything happens in them.
    let verdicts = "forward_request forward_reply route_allocated route_expired route_deleted \
                    pass_no_route pass_no_service drop_no_backend drop_table_full moved_on";
    let states = "udp syn_sent syn_received established fin_wait time_wait closed";
    for what in verdicts.split(' ').chain(states.split(' ')) {
        let count = tally.get(what).copied().unwrap_or(0);
        assert!(count > 500, "{what}: {count}");
    }
    assert!(cycles > 1000, "{cycles}");
    assert!(farthest < 4.0, "{farthest}");
}
