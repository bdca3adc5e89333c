// SPDX-License-Identifier: GPL-2.0

//! `[[service]]`: the services, their nodes and what is decided about them.

use std::time::Duration;

use fep_client::{config, Method, NodeAddr, Priority, ServiceKey, Timeouts, Weight};
use fep_control::health::Thresholds;
use fep_control::load;
use fep_control::pool::{self, AllDown};
use fep_uapi::Scheduler;

use crate::check::Check;
use crate::daemon::port;
use crate::node::{Group, Node};
use crate::process::Process;
use crate::reader::Section;

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What clients connect to.
    pub key: ServiceKey,
    /// How a node is chosen for a new client.
    pub scheduler: Scheduler,
    /// When routes end.
    pub timeouts: Timeouts,
    /// Its nodes.
    pub members: Vec<Member>,
    /// Who serves while no node does.
    pub sorry: Option<NodeAddr>,
    /// The group of its nodes, where it was named so.
    pub group: Option<String>,
    /// All of them have to be good; one at least.
    pub checks: Vec<Check>,
    /// When a node is out and in.
    pub health: Thresholds,
    /// How many nodes may be out, and what then.
    pub pool: pool::Rules,
    /// A maintenance ends after so long, whatever routes are left.
    pub drain_timeout: Duration,
    /// Its server process, where the agents start and stop it.
    pub process: Option<Process>,
}

/// A node of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: String,
    /// Where it serves.
    pub addr: NodeAddr,
    /// Its share of the new clients.
    pub weight: u32,
    /// Which nodes come before it.
    pub priority: u32,
    /// How packets reach it.
    pub method: Method,
}

const SCHEDULERS: &[(&str, Scheduler)] = &[
    ("wrr", Scheduler::Wrr),
    ("optimal", Scheduler::Optimal),
    ("steer", Scheduler::Steer),
];

#[derive(Clone, Copy, PartialEq)]
enum OnDown {
    Keep,
    Refuse,
    Sorry,
}

const ON_DOWN: &[(&str, OnDown)] = &[
    ("keep", OnDown::Keep),
    ("refuse", OnDown::Refuse),
    ("sorry", OnDown::Sorry),
];

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Service {
    /// What the filter holds of it when every node is well.
    pub(crate) fn filter(&self) -> config::Service {
        let member = |member: &Member| config::Backend {
            addr: member.addr,
            weight: Weight(member.weight),
            priority: Priority(member.priority),
            method: member.method,
            failed: None,
        };
        config::Service {
            key: self.key,
            scheduler: self.scheduler,
            timeouts: self.timeouts,
            backends: self.members.iter().map(member).collect(),
        }
    }
}

pub(crate) fn read_all(
    top: &mut Section<'_>,
    nodes: &[Node],
    groups: &[Group],
    agents: bool,
) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for mut section in top.sections("service") {
        let key: Option<ServiceKey> = section.needed("key");
        let Some(service) = read(&mut section, key, nodes, groups, agents) else {
            section.finish();
            continue;
        };
        if services.iter().any(|other| other.key == service.key) {
            section.wrong(
                "key",
                format_args!("service {} is there twice", service.key),
            );
        }
        let vip = service.key.address;
        if let Some(node) = nodes.iter().find(|node| node.address == vip) {
            section.wrong(
                "key",
                format_args!("{vip} is the address of node {}", node.name),
            );
        }
        if let Some(process) = &service.process {
            let mut named = services.iter().filter_map(|other| other.process.as_ref());
            if named.any(|other| other.name == process.name) {
                section.wrong(
                    "process",
                    format_args!("there is another process {}", process.name),
                );
            }
        }
        section.finish();
        services.push(service);
    }
    services
}

fn read(
    section: &mut Section<'_>,
    key: Option<ServiceKey>,
    nodes: &[Node],
    groups: &[Group],
    agents: bool,
) -> Option<Service> {
    let scheduler = section
        .choice("scheduler", SCHEDULERS)
        .unwrap_or(Scheduler::Wrr);
    let port = key.map_or(0, |key| key.port);
    let (members, group) = members(section, port, nodes, groups);
    let same_family = |member: &&Member| {
        key.is_some_and(|key| key.address.is_ipv4() != member.addr.address.is_ipv4())
    };
    if let Some(other) = members.iter().find(same_family) {
        section.wrong(
            if group.is_some() { "group" } else { "node" },
            format_args!("node {} is of another family than the service", other.node),
        );
    }
    let (pool, sorry) = read_pool(section, port);
    let checks = section.sections("check");
    let mut checks: Vec<Check> = checks
        .into_iter()
        .filter_map(|check| Check::read(check, agents))
        .collect();
    if !section.has("check") {
        let udp = key.is_some_and(|key| key.protocol == fep_client::Protocol::Udp);
        if udp {
            section.wrong("check", "is missing: a UDP service has none by default");
        }
        checks.push(Check::of_tcp());
    } else if checks.is_empty() {
        checks.push(Check::of_tcp());
    }
    let process = section
        .section("process")
        .and_then(|process| Process::read(process, nodes, &members));
    if process.is_some() && !agents {
        section.wrong("process", "needs agents, but the file has no [agents]");
    }
    Some(Service {
        key: key?,
        scheduler,
        timeouts: timeouts(section),
        members,
        sorry,
        group,
        checks,
        health: health(section),
        pool,
        drain_timeout: section
            .duration("drain_timeout", millis(0)..=millis(86_400_000))
            .unwrap_or(millis(300_000)),
        process,
    })
}

/// The nodes of a service: its own, or all of a group.
fn members(
    section: &mut Section<'_>,
    service_port: u16,
    nodes: &[Node],
    groups: &[Group],
) -> (Vec<Member>, Option<String>) {
    let mut members: Vec<Member> = Vec::new();
    let group = section.text("group");
    if let Some(name) = &group {
        if section.has("node") {
            section.wrong("group", "and node exclude each other");
        }
        let Some(group) = groups.iter().find(|group| group.name == *name) else {
            section.wrong("group", format_args!("there is no group \"{name}\""));
            return (members, None);
        };
        let of = |name: &String| nodes.iter().find(|node| node.name == *name);
        let member = |node: &Node| Member {
            node: node.name.clone(),
            addr: crate::on(node.address, service_port),
            weight: 1,
            priority: node.priority,
            method: Method::NAT,
        };
        members.extend(group.nodes.iter().filter_map(of).map(member));
        return (members, Some(name.clone()));
    }
    for mut member in section.sections("node") {
        let name = member.needed_text("name");
        let node = nodes.iter().find(|node| Some(&node.name) == name.as_ref());
        if let (Some(name), None) = (&name, node) {
            member.wrong("name", format_args!("there is no node \"{name}\""));
        }
        let own = port(&mut member, "port");
        let method: Method = member.parsed("method").unwrap_or(Method::NAT);
        if method == Method::DR && own.is_some_and(|own| own != service_port) {
            member.wrong(
                "port",
                "is another than the service's, which the method dr does not change",
            );
        }
        let weight = member
            .integer("weight", 0..=fep_uapi::WEIGHT_MAX)
            .unwrap_or(1);
        let priority = member.integer("priority", 0..=fep_uapi::PRIORITY_MAX);
        if let Some(node) = node {
            let addr = crate::on(node.address, own.unwrap_or(service_port));
            if members.iter().any(|other| other.addr == addr) {
                member.wrong("name", format_args!("{addr} is there twice"));
            }
            members.push(Member {
                node: node.name.clone(),
                addr,
                weight,
                priority: priority.unwrap_or(node.priority),
                method,
            });
        }
        member.finish();
    }
    (members, None)
}

fn timeouts(section: &mut Section<'_>) -> Timeouts {
    let Some(mut section) = section.section("timeouts") else {
        return Timeouts::default();
    };
    let mut seconds = |key| section.integer(key, 0..=fep_uapi::TIMEOUT_MAX).unwrap_or(0);
    let timeouts = Timeouts {
        syn: seconds("syn"),
        established: seconds("established"),
        closing: seconds("closing"),
        reset: seconds("reset"),
        udp: seconds("udp"),
    };
    section.finish();
    timeouts
}

fn read_pool(section: &mut Section<'_>, port: u16) -> (pool::Rules, Option<NodeAddr>) {
    let mut rules = pool::Rules::default();
    if let Some(percent) = section.integer("max_ejected_percent", 0..=100) {
        rules.max_ejected_percent = percent;
    }
    if let Some(slow) = section.duration("slow_start", millis(0)..=millis(3_600_000)) {
        rules.slow_start = slow;
    }
    let on_down = section.choice("on_down", ON_DOWN).unwrap_or(OnDown::Keep);
    if on_down != OnDown::Keep {
        rules.all_down = AllDown::Refuse;
    }
    let sorry = section.text("sorry").and_then(|text| {
        let spec = text.parse::<NodeAddr>().ok();
        let alone = || text.parse().ok().map(|address| crate::on(address, port));
        let addr = spec.or_else(alone);
        if addr.is_none() {
            section.wrong("sorry", "is not an address, with a port or without");
        }
        addr
    });
    match (on_down, sorry) {
        (OnDown::Sorry, None) if !section.has("sorry") => {
            section.wrong("on_down", "is \"sorry\", but there is no sorry server");
        }
        (OnDown::Keep | OnDown::Refuse, Some(_)) => {
            section.wrong("sorry", "means nothing without on_down = \"sorry\"");
        }
        _ => {}
    }
    (rules, sorry)
}

fn health(section: &mut Section<'_>) -> Thresholds {
    let mut rules = Thresholds {
        interval: millis(800),
        ..Thresholds::default()
    };
    let Some(mut section) = section.section("health") else {
        return rules;
    };
    for (key, value, least) in [
        ("interval", &mut rules.interval, millis(50)),
        ("hold", &mut rules.hold, millis(0)),
        ("hold_max", &mut rules.hold_max, millis(0)),
        ("calm", &mut rules.calm, millis(0)),
    ] {
        if let Some(found) = section.duration(key, least..=millis(3_600_000)) {
            *value = found;
        }
    }
    for (key, value, range) in [
        ("rise", &mut rules.rise, 1..=1000),
        ("fall", &mut rules.fall, 1..=1000),
        ("jitter_percent", &mut rules.jitter_percent, 0..=100),
        ("passive", &mut rules.passive, 0..=1000),
    ] {
        if let Some(found) = section.integer(key, range) {
            *value = found;
        }
    }
    if rules.hold_max < rules.hold {
        section.wrong("hold_max", "is less than hold");
    }
    section.finish();
    rules
}

pub(crate) fn load_rules(section: &mut Section<'_>) -> load::Rules {
    let mut rules = load::Rules::default();
    let Some(mut section) = section.section("load") else {
        return rules;
    };
    for (key, value, least) in [
        ("low_percent", &mut rules.low, 1),
        ("high_percent", &mut rules.high, 1),
        ("step_percent", &mut rules.step, 1),
        ("floor_percent", &mut rules.floor, 1),
    ] {
        if let Some(percent) = section.integer(key, least..=100) {
            *value = percent * 10;
        }
    }
    if let Some(settle) = section.integer("settle", 1..=1000) {
        rules.settle = settle;
    }
    if rules.low >= rules.high {
        section.wrong("low_percent", "is not less than high_percent");
    }
    section.finish();
    rules
}
