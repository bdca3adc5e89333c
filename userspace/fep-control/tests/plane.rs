// SPDX-License-Identifier: GPL-2.0

//! The control plane as a whole, in examples; and its cost with 1,000 nodes and 100 services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use fep_client::change::Change;
use fep_client::config::scheduler_named;
use fep_client::diff::diff;
use fep_client::{Backend, Config, NodeAddr, Service, ServiceKey, Timeouts, Weight};
use fep_control::maintenance::State;
use fep_control::plane::{Action, Event, Notice, Plane, Rules, Saved, ServiceRules};
use fep_control::pool::{self, AllDown, Verdict};
use fep_control::presence::Standing;

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn node(n: u64) -> NodeAddr {
    let (high, low) = (n / 250, n % 250 + 1);
    format!("10.1.{high}.{low}:80").parse().expect("an address")
}

fn key(n: u64) -> ServiceKey {
    format!("tcp/10.0.0.100:{}", 1000 + n)
        .parse()
        .expect("a service")
}

fn backend(addr: NodeAddr, weight: u32) -> Backend {
    Backend {
        addr,
        weight: Weight(weight),
        priority: fep_client::Priority::default(),
        method: fep_client::Method::default(),
        failed: None,
    }
}

/// Services that all these nodes serve.
fn configuration(services: u64, nodes: u64) -> Config {
    let service = |n| Service {
        key: key(n),
        scheduler: scheduler_named("wrr").expect("a scheduler"),
        timeouts: Timeouts::default(),
        backends: (0..nodes).map(|n| backend(node(n), 100)).collect(),
    };
    Config {
        services: Some((0..services).map(service).collect()),
        ..Config::default()
    }
}

fn plane(rules: Rules, desired: &Config) -> Plane {
    let kernel = desired.clone();
    Plane::new(
        rules,
        desired.clone(),
        &kernel,
        Saved::default(),
        at(0),
        || 7,
    )
}

fn fail(plane: &mut Plane, node: NodeAddr, now: Duration) {
    for _ in 0..3 {
        let service = key(0);
        let good = false;
        plane.event(
            Event::Checked {
                service,
                node,
                good,
            },
            now,
        );
    }
}

fn held(config: &Config) -> BTreeMap<NodeAddr, (u32, Option<bool>)> {
    let services = config.services.as_ref().expect("there are services");
    let nodes = services[0].backends.iter();
    nodes
        .map(|node| (node.addr, (node.weight.0, node.failed)))
        .collect()
}

#[test]
fn a_sorry_server_serves_while_nobody_else_does() {
    let mut rules = Rules::default();
    let own = ServiceRules {
        pool: pool::Rules {
            all_down: AllDown::Refuse,
            ..pool::Rules::default()
        },
        sorry: Some(backend(node(9), 1)),
        ..ServiceRules::default()
    };
    rules.services.insert(key(0), own);
    let mut plane = plane(rules, &configuration(1, 2));
    let sorry = |plane: &Plane| held(&plane.wanted(at(1)))[&node(9)];
    assert_eq!(sorry(&plane), (0, Some(false)));
    fail(&mut plane, node(0), at(1));
    assert_eq!(sorry(&plane), (0, Some(false)));
    fail(&mut plane, node(1), at(1));
    assert_eq!(sorry(&plane), (1, Some(false)));
    let all = held(&plane.wanted(at(1)));
    assert_eq!(all[&node(0)].1, Some(true));
    assert_eq!(all[&node(1)].1, Some(true));
}

#[test]
fn a_node_in_maintenance_does_not_count_in_the_bound() {
    let mut plane = plane(Rules::default(), &configuration(1, 2));
    assert!(plane.maintain(node(0).address, at(10), at(0)));
    fail(&mut plane, node(1), at(1));
    let verdicts = plane.verdicts(key(0), at(1));
    assert_eq!(verdicts[&node(1)], Verdict::Kept, "it is the only one");
    let all = held(&plane.wanted(at(1)));
    assert_eq!(all[&node(0)], (0, Some(false)));
    assert_eq!(all[&node(1)], (100, Some(false)));
    // One that is down and gets no clients is out, and holds no route.
    fail(&mut plane, node(0), at(1));
    assert_eq!(plane.verdicts(key(0), at(1))[&node(0)], Verdict::Ejected);
}

#[test]
fn without_a_file_the_marks_in_the_filter_say_who_has_failed() {
    let mut before = plane(Rules::default(), &configuration(1, 3));
    fail(&mut before, node(1), at(1));
    let kernel = before.wanted(at(1));
    let desired = configuration(1, 3);
    let (rules, saved) = (Rules::default(), Saved::default());
    let after = Plane::new(rules, desired, &kernel, saved, at(2), || 7);
    assert_eq!(after.verdicts(key(0), at(2))[&node(1)], Verdict::Ejected);
    assert_eq!(diff(&kernel, &after.wanted(at(2))), []);
}

#[test]
fn maintenance_shows_how_far_it_is() {
    let mut plane = plane(Rules::default(), &configuration(2, 2));
    let address = node(0).address;
    assert!(plane.maintain(address, at(10), at(5)) && !plane.maintain(address, at(10), at(5)));
    assert_eq!(plane.watched(), [(key(0), node(0)), (key(1), node(0))]);
    let list = |plane: &mut Plane, found, now| {
        for n in 0..2 {
            let (service, node) = (key(n), node(0));
            plane.event(
                Event::Listed {
                    service,
                    node,
                    found,
                },
                now,
            );
        }
    };
    let state = |plane: &Plane, now| {
        let all = plane.maintenance(address, now).expect("it is on");
        all.into_iter()
            .map(|(_, _, state, progress)| (state, progress))
            .next_back()
            .expect("one")
    };
    list(&mut plane, Some((100, 0)), at(6));
    assert_eq!(
        state(&plane, at(6)).0,
        State::Draining,
        "the weight is not 0 yet"
    );
    list(&mut plane, Some((0, 8)), at(7));
    let end_dead = |n| Action::EndDead {
        service: key(n),
        node: node(0),
    };
    let actions = plane.step(at(7));
    assert!(actions.contains(&end_dead(0)) && actions.contains(&end_dead(1)));
    list(&mut plane, Some((0, 2)), at(9));
    let (now, progress) = state(&plane, at(9));
    assert_eq!((now, progress.left, progress.most), (State::Draining, 2, 8));
    assert_eq!((progress.gone, progress.remaining), (at(4), at(6)));
    list(&mut plane, Some((0, 0)), at(10));
    assert_eq!(state(&plane, at(10)).0, State::Done);
    assert!(plane.end_maintenance(address) && !plane.end_maintenance(address));
    assert_eq!(held(&plane.wanted(at(11)))[&node(0)], (100, Some(false)));
}

#[test]
fn a_dead_agent_takes_no_client_away_and_its_reports_expire() {
    let address = node(0).address;
    let mut rules = Rules::default();
    rules.agents.insert(address);
    let mut plane = plane(rules, &configuration(1, 2));
    assert_eq!(plane.standing(address, at(0)), Standing::AgentDead);
    let mut asked = false;
    for second in 1..=6 {
        plane.event(Event::Load(address, 2_000), at(second));
        let actions = plane.step(at(second));
        let (service, node) = (key(0), node(0));
        asked |= actions.contains(&Action::EndDead { service, node })
            && actions.contains(&Action::Tell(Notice::Ratio(address, 800)));
    }
    assert!(asked, "what is dead goes with the change of the ratio");
    assert_eq!(plane.standing(address, at(6)), Standing::Well);
    assert_eq!(held(&plane.wanted(at(6)))[&node(0)], (80, Some(false)));
    // The agent is silent; checks go on to be good.
    for second in 7..=20 {
        let (service, node, good) = (key(0), node(0), true);
        plane.event(
            Event::Checked {
                service,
                node,
                good,
            },
            at(second),
        );
        plane.step(at(second));
    }
    assert_eq!(plane.standing(address, at(20)), Standing::AgentDead);
    assert_eq!(held(&plane.wanted(at(20)))[&node(0)], (100, Some(false)));
    fail(&mut plane, node(0), at(21));
    assert_eq!(plane.standing(address, at(21)), Standing::Dead);
    plane.event(Event::Heard(address), at(21));
    assert_eq!(plane.standing(address, at(21)), Standing::ServicesDead);
}

#[test]
fn a_new_configuration_touches_nothing_that_is_the_same() {
    let address: IpAddr = node(0).address;
    let mut plane = plane(Rules::default(), &configuration(2, 3));
    for second in 1..=6 {
        plane.event(Event::Load(address, 2_000), at(second));
    }
    fail(&mut plane, node(1), at(6));
    let (service, second, good) = (key(0), node(2), false);
    plane.event(
        Event::Checked {
            service,
            node: second,
            good,
        },
        at(6),
    );
    let before = plane.wanted(at(7));
    let saved = plane.saved();
    plane.reconfigure(Rules::default(), configuration(2, 3), at(7), || 3);
    assert_eq!(diff(&before, &plane.wanted(at(7))), []);
    assert_eq!(plane.saved(), saved);
    // What was half known is known still: two more bad checks are enough.
    plane.event(
        Event::Checked {
            service,
            node: second,
            good,
        },
        at(8),
    );
    plane.event(
        Event::Checked {
            service,
            node: second,
            good,
        },
        at(8),
    );
    assert!(!plane
        .health(service, second)
        .expect("it is checked")
        .is_up());
    // One more node is one change for each service, and two of four may be out where one of three may.
    let before = plane.wanted(at(8));
    plane.reconfigure(Rules::default(), configuration(2, 4), at(8), || 3);
    let changes = diff(&before, &plane.wanted(at(8)));
    let added = |change: &&Change| matches!(change, Change::BackendAdd { .. });
    assert_eq!(changes.iter().filter(added).count(), 2);
    assert_eq!(changes.len(), 3, "{changes:?}");
}

/// Resident memory of this process in bytes.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("it can be read");
    let pages = text.split(' ').nth(1).expect("a second number");
    pages.parse::<u64>().expect("a number") * 4096
}

#[test]
fn a_thousand_nodes_and_a_hundred_services() {
    let (services, nodes) = (100, 1_000);
    let before = memory();
    let desired = configuration(services, nodes);
    let rules = Rules {
        agents: (0..nodes).map(|n| node(n).address).collect(),
        ..Rules::default()
    };
    let mut plane = plane(rules, &desired);
    let used = memory().saturating_sub(before);
    let mut kernel = plane.wanted(at(0));
    let (mut whole, mut longest, mut checks) = (Duration::ZERO, Duration::ZERO, 0);
    let seconds = 10;
    for second in 1..=seconds {
        let begun = Instant::now();
        let now = at(second);
        for (service, node) in plane.due(now, || second) {
            // One node is dead from the third second on.
            let good = second < 3 || node.address != self::node(500).address;
            plane.event(
                Event::Checked {
                    service,
                    node,
                    good,
                },
                now,
            );
            checks += 1;
        }
        for n in 0..nodes {
            let load = if n % 10 == 0 { 1_000 } else { 700 };
            plane.event(Event::Load(node(n).address, load), now);
        }
        plane.step(now);
        let saved = plane.saved();
        let wanted = plane.wanted(now);
        let changes = diff(&kernel, &wanted);
        kernel = wanted;
        let took = begun.elapsed();
        whole += took;
        longest = longest.max(took);
        assert!(saved.health.len() <= 100 && changes.len() <= 20_000);
    }
    plane.check_invariants(at(seconds));
    let failed = plane.verdicts(key(5), at(seconds))[&node(500)];
    assert_eq!(failed, Verdict::Ejected);
    println!(
        "1,000 nodes x 100 services, {checks} checks in {seconds} intervals of 1 s: {:?} an interval, \
         {longest:?} at most; the plane and its configuration take {} MiB",
        whole / u32::try_from(seconds).expect("few"),
        used >> 20
    );
    assert!(longest < at(30), "{longest:?} for an interval of 1 s");
    assert!(used < 1 << 30, "{used} bytes");
}
