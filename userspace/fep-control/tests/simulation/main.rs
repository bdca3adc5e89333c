// SPDX-License-Identifier: GPL-2.0

//! Seeded simulation of the whole control plane against models of the filter and of a cluster in which
//! nodes, agents and servers die and return, what agents say is late or lost, the filter is changed by
//! others at the same time, the clock jumps, and the daemon is killed between any two of its steps.
//!
//! One seed alone is run again with
//!
//! ```text
//! FEP_SEED=<seed> cargo test -p fep-control --test simulation
//! ```

mod checks;
mod daemon;
mod filter;
mod killed;
mod random;
mod scenario;
mod world;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use fep_client::diff::diff;
use fep_control::plane::{Action, Event};
use fep_control::process::{Phase, Report};

use checks::{Checks, Seen};
use daemon::{Daemon, Kill};
use filter::{At, Filter};
use random::Random;
use scenario::Scenario;
use world::{Order, World};

const TICK: Duration = Duration::from_millis(200);
/// In ticks.
const SECOND: u64 = 5;
/// Faults come for so many ticks, and then nothing does.
const FAULTS: u64 = 40 * SECOND;
const CALM: u64 = 30 * SECOND;
const SEEDS: u64 = 10_000;
/// How long a maintenance may take.
const MAINTENANCE: u64 = 6 * SECOND;

/// Names the seed of a run that panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with FEP_SEED={}", self.0);
        }
    }
}

struct Run {
    random: Random,
    scenario: Scenario,
    world: World,
    filter: Filter,
    daemon: Daemon,
    checks: Checks,
    maintained: BTreeSet<IpAddr>,
    /// When a daemon that was killed is started again.
    restart: u64,
    /// When it was killed, if it had changed the filter then.
    settled: Option<Duration>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let scenario = Scenario::new(&mut random);
        let daemon = Daemon::new(scenario.rules.clone(), scenario.desired.clone());
        Self {
            world: scenario.world(&mut random),
            filter: Filter::default(),
            checks: Checks::default(),
            maintained: BTreeSet::new(),
            restart: 0,
            settled: None,
            random,
            scenario,
            daemon,
        }
    }

    /// One tick; `kill` is when the daemon is killed in it.
    fn tick(&mut self, tick: u64, faults: bool, kill: Option<Kill>) {
        self.daemon.now += TICK;
        if faults {
            self.fault();
        }
        if self.daemon.plane.is_none() && tick >= self.restart {
            self.start(tick);
        }
        self.clients(tick);
        self.filter.tick(tick, &mut self.random);
        self.world.share_load(&self.filter);
        let heard = self.world.agents(tick, faults, &mut self.random);
        if self.daemon.plane.is_none() {
            self.checks.hindered += 1;
            return;
        }
        self.see(heard, tick, faults);
        if faults && self.random.one_in(60) {
            self.maintain(tick);
        }
        let busy = faults && self.random.one_in(10);
        let done = self.daemon.interval(&mut self.filter, busy, kill);
        if done.committed.is_some() {
            self.checks.hindered_now = 0;
        } else {
            self.checks.hindered_now += 1;
            self.checks.hindered += 1;
        }
        self.checks.interval(
            &done,
            &self.daemon,
            &self.filter,
            &self.world,
            &self.maintained,
        );
        for &action in &done.actions {
            self.act(action, tick);
        }
        if kill.is_some() {
            self.checks.seen.kills += 1;
            self.restart = tick + 1 + self.random.below(SECOND);
            self.world.forget_checks();
            self.settled = done.committed.is_some().then_some(self.daemon.now);
        }
        self.checks.sequences(tick, &self.daemon);
        self.checks.maintenance(tick, MAINTENANCE, &self.daemon);
    }

    fn start(&mut self, tick: u64) {
        self.daemon.start(&self.filter, &mut self.random);
        self.checks.restarted = tick;
        // An order that was not saved was not confirmed to the administrator either.
        let plane = self.daemon.plane.as_ref().expect("it lives");
        let all = self.world.nodes.keys().copied();
        let held = all.filter(|&address| plane.maintenance(address, self.daemon.now).is_some());
        self.maintained = held.collect();
        // Killed after it had changed the filter, it changes nothing when it is back.
        if let Some(then) = self.settled.take() {
            let plane = self.daemon.plane.as_ref().expect("it lives");
            let changes = diff(&self.filter.config, &plane.wanted(then));
            assert_eq!(changes, [], "a restart changes the filter");
        }
    }

    fn fault(&mut self) {
        let random = &mut self.random;
        for node in self.world.nodes.values_mut() {
            if random.one_in(if node.dead { 40 } else { 250 }) {
                node.dead = !node.dead;
            }
            if random.one_in(if node.agent_dead { 30 } else { 250 }) {
                node.agent_dead = !node.agent_dead;
            }
        }
        for &at in &self.scenario.base {
            let broken = self.world.broken.contains(&at);
            if random.one_in(if broken { 40 } else { 300 }) {
                if broken {
                    self.world.broken.remove(&at);
                } else {
                    self.world.broken.insert(at);
                }
            }
        }
        for demand in self.world.demand.values_mut() {
            if random.one_in(40) {
                *demand = self.scenario.capacity * random.below(12) / 10;
            }
        }
        if random.one_in(400) {
            self.daemon.now += Duration::from_secs(random.below(100));
        }
        if random.one_in(1000) {
            // The front-end is started again: the filter is empty, the file is there.
            self.filter = Filter::default();
            self.daemon.plane = None;
            self.daemon.now = TICK;
            self.world.forget_checks();
            self.checks.rebooted();
            self.settled = None;
            self.restart = 0;
        }
    }

    fn clients(&mut self, tick: u64) {
        let services: Vec<_> = self.world.demand.iter().map(|(&k, &d)| (k, d)).collect();
        for (key, demand) in services {
            for _ in 0..=self
                .random
                .below(1 + 4 * demand / self.scenario.capacity.max(1))
            {
                let Some(node) = self.filter.client(key, &mut self.random) else {
                    continue;
                };
                let at = (key, node);
                if Some(node) == self.scenario.sorry || self.answers(at) {
                    self.world.silent_since.remove(&at);
                    continue;
                }
                let since = *self.world.silent_since.entry(at).or_insert(tick);
                let reset = !self.world.nodes[&node.address].dead;
                self.filter.unanswered(at, reset, tick, SECOND);
                if self.daemon.plane.is_some() && !self.scenario.candidates.contains(&at) {
                    self.checks.lost_client(at, since, tick, &self.daemon);
                }
            }
        }
        for at in &self.scenario.base {
            if self.answers(*at) {
                self.world.silent_since.remove(at);
            } else {
                self.world.silent_since.entry(*at).or_insert(tick);
            }
        }
    }

    fn answers(&self, at: At) -> bool {
        self.world
            .answers(at, self.scenario.candidates.contains(&at))
    }

    /// What the daemon sees.
    fn see(&mut self, heard: Vec<Event>, tick: u64, faults: bool) {
        let mut events = heard;
        for ((service, node), good) in self.world.checked(tick) {
            events.push(Event::Checked {
                service,
                node,
                good,
            });
        }
        for (&(service, node), &counters) in &self.filter.counters {
            events.push(Event::Counted {
                service,
                node,
                counters,
            });
        }
        let plane = self.daemon.plane.as_mut().expect("it lives");
        for (service, node) in plane.watched() {
            let found = self.filter.listed((service, node));
            events.push(Event::Listed {
                service,
                node,
                found,
            });
        }
        for event in events {
            self.checks.event(&event);
            plane.event(event, self.daemon.now);
        }
        for at in plane.due(self.daemon.now, || self.random.next()) {
            let candidate = self.scenario.candidates.contains(&at);
            let wrong = faults && self.random.one_in(30);
            let good = self.world.answers(at, candidate) && !wrong;
            self.world.check(at, good, tick, &mut self.random);
        }
    }

    fn maintain(&mut self, tick: u64) {
        let plane = self.daemon.plane.as_mut().expect("it lives");
        if let Some(&address) = self.maintained.iter().next() {
            self.maintained.remove(&address);
            plane.end_maintenance(address);
            return;
        }
        let all: Vec<IpAddr> = self.world.nodes.keys().copied().collect();
        let address = all[self.random.below(all.len() as u64) as usize];
        let limit = TICK * u32::try_from(MAINTENANCE).expect("short");
        if plane.maintain(address, limit, self.daemon.now) {
            self.maintained.insert(address);
            self.checks.maintenance_began(address, tick);
        }
    }

    fn act(&mut self, action: Action, tick: u64) {
        match action {
            Action::EndDead { service, node } => {
                let agent = &self.world.nodes[&node.address];
                if let (false, false, Some(routes)) = (
                    agent.dead,
                    agent.agent_dead,
                    self.filter.routes.get_mut(&(service, node)),
                ) {
                    routes.dead = 0;
                }
            }
            Action::Start {
                service,
                node,
                number,
            } => {
                let order = Order::Start((service, node), number);
                self.world.order(order, tick, &mut self.random);
            }
            Action::Stop { service, node } => {
                let order = Order::Stop((service, node));
                self.world.order(order, tick, &mut self.random);
            }
            Action::Tell(_) => {}
        }
    }

    /// No fault has come for long: what is decided is what is true, and everything is at rest.
    fn at_rest(&self) {
        let plane = self.daemon.plane.as_ref().expect("it lives");
        for &at in &self.scenario.base {
            let health = plane.health(at.0, at.1).expect("it is checked");
            let (true_, hold) = (self.answers(at), health.hold());
            assert_eq!(health.is_up(), true_, "{} with a hold of {hold:?}", at.1);
        }
        for &at in &self.scenario.candidates {
            let processes = plane.processes(at.0).expect("it has some");
            let phase = processes
                .state()
                .instances
                .get(&at.1)
                .map(|known| known.phase);
            let node = &self.world.nodes[&at.1.address];
            if !node.dead && !node.agent_dead {
                let state = node.processes.get(&at.0).and_then(|process| process.state);
                let runs = matches!(state, Some(Report::Ready | Report::Starting));
                assert!(runs || phase.is_none(), "{} does not run: {phase:?}", at.1);
                assert!(!runs || phase.is_some(), "nobody knows of {}", at.1);
                let late = matches!(phase, Some(Phase::Stopping { late: true, .. }));
                assert!(!late, "{} is still stopped", at.1);
            }
        }
    }
}

fn run(seed: u64) -> Seen {
    let _named = Named(seed);
    let mut run = Run::new(seed);
    for tick in 1..=FAULTS + CALM {
        let faults = tick <= FAULTS;
        let kill = faults && run.random.one_in(50);
        let kill = kill.then(|| Kill::ALL[run.random.below(4) as usize]);
        run.tick(tick, faults, kill);
    }
    run.at_rest();
    run.checks.seen
}

#[test]
fn the_rules_hold_through_faults() {
    if let Ok(seed) = std::env::var("FEP_SEED") {
        let seen = run(seed.parse().expect("FEP_SEED is a number"));
        println!("{seen:?}");
        return;
    }
    let begun = Instant::now();
    let mut all = Seen::default();
    for seed in 0..SEEDS {
        all.add(run(seed));
    }
    println!("{SEEDS} seeds in {:?}: {all:?}", begun.elapsed());
    all.check();
}
