// SPDX-License-Identifier: GPL-2.0

//! `fepctl status`.

use std::collections::HashMap;
use std::io::{self, Write};

use fep_client::counters::{group, meaning, value, Group};
use fep_client::{BackendState, NodeAddr, NodeDetails, ServiceKey, ServiceState, Snapshot};
use fep_uapi::Counter;
use serde_json::{json, Map, Value};

use super::outcome;
use super::stats::traffic;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::Context;

pub(super) fn run(context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let mut client = context.client()?;
    let snapshot = client.snapshot()?;
    let nodes = client.nodes()?.into_iter();
    let nodes = nodes.map(|node| ((node.service, node.backend), node));
    let nodes = nodes.collect();
    drop(client);
    if context.json {
        outcome::json(&to_json(&snapshot, &nodes), context)
    } else {
        Ok(print(&snapshot, &nodes, context.out())?)
    }
}

/// What the module has seen of each backend; nothing where the module is older than that.
type Nodes = HashMap<(ServiceKey, NodeAddr), NodeDetails>;

fn to_json(snapshot: &Snapshot, nodes: &Nodes) -> Value {
    let devices = snapshot.devices.iter();
    let devices = devices.map(|device| json!({"name": device.name, "ifindex": device.ifindex}));
    json!({
        "version": snapshot.version,
        "abi": { "major": snapshot.abi.0, "minor": snapshot.abi.1 },
        "generation": snapshot.generation,
        "devices": devices.collect::<Vec<_>>(),
        "routes": snapshot.routes,
        "routes_limit": snapshot.routes_limit,
        "buckets": snapshot.buckets,
        "services": snapshot.services.iter().map(|service| service_json(service, nodes)).collect::<Vec<_>>(),
        "counters": counters_json(&snapshot.counters),
    })
}

fn service_json(service: &ServiceState, nodes: &Nodes) -> Value {
    let shares = (service.shares_asked().into_iter()).zip(service.shares_achieved());
    let shares = shares.zip(service.shares_live());
    let backends = service.backends.iter().zip(shares);
    let backends = backends.map(|(backend, ((asked, achieved), live))| {
        let node = nodes.get(&(service.key, backend.addr));
        json!({
            "backend": backend.addr,
            "weight": backend.weight,
            "method": backend.method,
            "state": backend.state().name(),
            "routes": backend.routes,
            "share_asked_percent": asked,
            "share_achieved_percent": achieved,
            "share_live_percent": live,
            "priority": node.map(|node| node.priority),
            "load": node.map(|node| node.load),
            "syns": node.map(|node| json!({
                "unanswered": node.syn_unanswered,
                "reset": node.syn_reset,
                "repeated": node.syn_repeated,
            })),
            "traffic": traffic(&backend.traffic),
        })
    });
    let timeouts = service.timeouts.effective().named();
    let timeouts = timeouts.map(|(name, seconds)| (name.to_owned(), json!(seconds)));
    json!({
        "service": service.key,
        "scheduler": service.scheduler.name(),
        "timeouts_seconds": Map::from_iter(timeouts),
        "routes": service.routes,
        "backends": backends.collect::<Vec<_>>(),
        "traffic": traffic(&service.traffic),
        "counters": counters_json(&service.counters),
    })
}

fn counters_json(counters: &[u64]) -> Value {
    let all = Counter::ALL.iter();
    let all = all.map(|counter| (counter.name().to_owned(), json!(value(counters, *counter))));
    Value::Object(all.collect())
}

fn print(snapshot: &Snapshot, nodes: &Nodes, out: &mut dyn Write) -> io::Result<()> {
    let (major, minor) = snapshot.abi;
    let generation = snapshot.generation;
    writeln!(
        out,
        "fep {}, ABI {major}.{minor}, generation {generation}",
        snapshot.version
    )?;
    let devices: Vec<String> = snapshot
        .devices
        .iter()
        .map(|device| device.name.to_string())
        .collect();
    let devices = match devices.as_slice() {
        [] => "none attached".to_owned(),
        devices => devices.join(", "),
    };
    writeln!(out, "devices  {devices}")?;
    writeln!(
        out,
        "routes   {} of at most {}, {} buckets",
        snapshot.routes, snapshot.routes_limit, snapshot.buckets
    )?;
    for service in &snapshot.services {
        print_service(service, nodes, out)?;
    }
    if snapshot.counters.iter().any(|count| *count != 0) {
        writeln!(out)?;
        print_counters(&snapshot.counters, out)?;
    }
    Ok(())
}

fn print_service(service: &ServiceState, nodes: &Nodes, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "\n{}  scheduler {}, {}",
        service.key,
        service.scheduler.name(),
        outcome::routes(service.routes)
    )?;
    for (name, seconds) in service.timeouts.named() {
        if seconds != 0 {
            write!(out, ", timeout {name} {seconds}s")?;
        }
    }
    writeln!(out)?;
    if service.backends.is_empty() {
        writeln!(out, "  no backends")?;
    } else {
        backends(service).write(out)?;
    }
    for backend in &service.backends {
        if let Some(node) = nodes.get(&(service.key, backend.addr)) {
            print_node(node, out)?;
        }
    }
    // The good cases are in the table and in `stats`.
    let bad = |counter: &&Counter| matches!(group(**counter), Group::Passed | Group::Dropped);
    for counter in Counter::ALL.iter().filter(bad) {
        let count = value(&service.counters, *counter);
        if count != 0 {
            writeln!(out, "  {} {count} ({})", counter.name(), meaning(*counter))?;
        }
    }
    Ok(())
}

/// What is out of the ordinary with a backend.
fn print_node(node: &NodeDetails, out: &mut dyn Write) -> io::Result<()> {
    let words = [
        (u64::from(node.priority), "priority"),
        (u64::from(node.load), "load"),
        (node.syn_unanswered, "SYNs unanswered"),
        (node.syn_reset, "SYNs reset"),
        (node.syn_repeated, "SYNs repeated"),
    ];
    let words = words.iter().filter(|(number, _)| *number != 0);
    let words: Vec<String> = words
        .map(|(number, what)| format!("{what} {number}"))
        .collect();
    if words.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {}: {}", node.backend, words.join(", "))
}

fn backends(service: &ServiceState) -> Table {
    let mut table = Table::new(&[
        ("BACKEND", Align::Left),
        ("METHOD", Align::Left),
        ("WEIGHT", Align::Right),
        ("STATE", Align::Left),
        ("ROUTES", Align::Right),
        ("CLIENTS", Align::Right),
        ("ASKED", Align::Right),
        ("ACHIEVED", Align::Right),
        ("LIVE", Align::Right),
    ])
    .indented(2);
    let shares = (service.shares_asked().into_iter()).zip(service.shares_achieved());
    let shares = shares.zip(service.shares_live());
    for (backend, ((asked, achieved), live)) in service.backends.iter().zip(shares) {
        let BackendState {
            addr,
            weight,
            method,
            routes,
            ..
        } = backend;
        table.row([
            addr.to_string(),
            method.to_string(),
            weight.to_string(),
            backend.state().to_string(),
            routes.to_string(),
            backend.traffic.connections.to_string(),
            format!("{asked:.1} %"),
            format!("{achieved:.1} %"),
            format!("{live:.1} %"),
        ]);
    }
    table
}

fn print_counters(counters: &[u64], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&[
        ("COUNTER", Align::Left),
        ("COUNT", Align::Right),
        ("MEANING", Align::Left),
    ]);
    for wanted in Group::ALL {
        let here = Counter::ALL
            .iter()
            .filter(|counter| group(**counter) == wanted);
        let here: Vec<_> = here
            .filter(|counter| value(counters, **counter) != 0)
            .collect();
        if here.is_empty() {
            continue;
        }
        table.row([wanted.name().to_owned(), String::new(), String::new()]);
        for counter in here {
            table.row([
                format!("  {}", counter.name()),
                value(counters, *counter).to_string(),
                meaning(*counter).to_owned(),
            ]);
        }
    }
    table.write(out)
}
