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
#[path = "model/table.rs"]
mod table;
#[path = "model/traffic.rs"]
mod traffic;
#[path = "packets/wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dice::Dice;
use fep_core::validate::Service;
use front_end::{FrontEnd, HZ};
use reference::{Endpoint, Reference, ServiceKey};

const SEEDS: u64 = 800;
const STEPS: u32 = 2000;

/// Two protocols at one address and port, and more ports; and the same in IPv6, where addresses end
/// with the same bytes.
const SERVICES: [ServiceKey; 7] = [
    (6, VIP, 80),
    (17, VIP, 80),
    (6, VIP, 443),
    (6, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 8080),
    (6, VIP6, 80),
    (17, VIP6, 80),
    (6, VIP6, 443),
];
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xc000, 0x0201));
const NODES: u32 = 6;
/// Nodes from here on may be reached directly.
const DIRECT: u32 = 4;
const CLIENTS: u32 = 72;

/// An address of the family that `like` has.
fn address(like: IpAddr, bits: u32) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from(bits).into(),
        IpAddr::V6(_) => {
            let prefix = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0));
            Ipv6Addr::from(prefix | u128::from(bits)).into()
        }
    }
}

/// A node serves each service on a port of its own, or on the service's, so that every reply names its
/// service.
fn node(service: ServiceKey, number: u32) -> Endpoint {
    let place = SERVICES.iter().position(|other| *other == service).unwrap();
    let port = if number < DIRECT {
        8000 + u16::try_from(place).unwrap()
    } else {
        service.2
    };
    (address(service.1, 0x0a00_0001 + number), port)
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
        let key = [(); 4].map(|()| dice.roll());
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
        *tally.entry("moved_on_direct").or_default() += judged.moved_on_direct;
        cycles += judged.cycles;
        farthest = farthest.max(judged.farthest);
    }
    println!("{tally:#?}\n{cycles} cycles, {farthest:.2} clients from the share at most");

    // The histories are worth something only when everything happens in them.
    let verdicts = "forward_request forward_reply route_allocated route_expired route_deleted \
                    pass_no_route pass_no_service drop_no_backend drop_table_full moved_on moved_on_direct \
                    pass_foreign pass_malformed drop_stale_reply sent_as_is direct_reply";
    let states = "udp syn_sent syn_received established fin_wait time_wait closed";
    for what in verdicts.split(' ').chain(states.split(' ')) {
        let count = tally.get(what).copied().unwrap_or(0);
        let least = if what == "moved_on_direct" { 100 } else { 500 };
        assert!(count > least, "{what}: {count}");
    }
    assert!(cycles > 1000, "{cycles}");
    assert!(farthest < 4.0, "{farthest}");
}
