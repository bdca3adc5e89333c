// SPDX-License-Identifier: GPL-2.0

//! `fepctl node`.

use std::io::{self, Write};

use fep_operator::{Maintenance as State, MaintenanceState, Node, Request, Snapshot};
use serde_json::json;

use super::fepd::{self, Progress};
use super::outcome;
use crate::cli::{self, Maintenance};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::Context;

pub(super) fn run(command: &cli::Node, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    match command {
        cli::Node::List => list(context),
        cli::Node::Show { node } => show(node, context),
        cli::Node::Add {
            node,
            address,
            agent,
            agent_port,
            priority,
        } => {
            let request = Request::NodeAdd {
                node: node.clone(),
                address: *address,
                agent: *agent,
                agent_port: *agent_port,
                priority: *priority,
            };
            fepd::simply(&request, context)
        }
        cli::Node::Del { node } => fepd::simply(&Request::NodeDel { node: node.clone() }, context),
        cli::Node::Maintenance(Maintenance::On { node, limit, wait }) => {
            let request = Request::MaintenanceOn {
                node: node.clone(),
                limit_seconds: *limit,
            };
            fepd::have(&request, context)?;
            let what = format!("node {node}");
            fepd::wait(*wait, &what, context, |snapshot| drained(snapshot, node))?;
            fepd::done(None, context)
        }
        cli::Node::Maintenance(Maintenance::Off { node }) => {
            fepd::simply(&Request::MaintenanceOff { node: node.clone() }, context)
        }
    }
}

/// How far the maintenance of a node is.
fn drained(snapshot: &Snapshot, name: &str) -> Progress {
    let Some(node) = snapshot.node(name) else {
        return Progress::Never(fepd::not_there(&format!("node {name} any more")));
    };
    let Some(maintenance) = &node.maintenance else {
        let message = format!("node {name}: its maintenance was ended before it had no routes");
        return Progress::Never(Failure::new(Exit::Refused, "rule", message));
    };
    match maintenance.state {
        MaintenanceState::Done => Progress::Done,
        MaintenanceState::Late => {
            let message = format!(
                "node {name}: {} routes are left at the end of its time; it gets no new clients all the same",
                maintenance.routes
            );
            Progress::Never(Failure::new(Exit::NotInTime, "not_in_time", message))
        }
        _ => Progress::Going(far(maintenance)),
    }
}

fn far(maintenance: &State) -> String {
    match maintenance.state {
        MaintenanceState::Draining => format!(
            "{} routes left, {} s of its time",
            maintenance.routes,
            // So that progress is not said anew with each look.
            maintenance.left_ms.div_ceil(10_000) * 10
        ),
        other => other.name().to_owned(),
    }
}

fn list(context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let snapshot = fepd::snapshot(context)?;
    if context.json {
        return outcome::json(&json!({ "nodes": snapshot.nodes }), context);
    }
    let mut table = table(0);
    for node in &snapshot.nodes {
        table.row(cells(node));
    }
    Ok(table.write(context.out())?)
}

fn table(indent: usize) -> Table {
    Table::new(&[
        ("NODE", Align::Left),
        ("ADDRESS", Align::Left),
        ("AGENT", Align::Left),
        ("LOAD", Align::Right),
        ("ROUTES", Align::Right),
        ("STATE", Align::Left),
        ("NEXT", Align::Left),
    ])
    .indented(indent)
}

fn cells(node: &Node) -> Vec<String> {
    let state = match &node.maintenance {
        Some(maintenance) => fepd::state(node.state.name(), &far(maintenance)),
        None => fepd::state(node.state.name(), &node.why),
    };
    vec![
        fepd::cell(&node.name),
        fepd::cell(&node.address),
        node.agent.name().to_owned(),
        fepd::percent(node.load_permille),
        node.routes.to_string(),
        state,
        fepd::maybe(node.next.as_ref()),
    ]
}

fn show(name: &str, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let snapshot = fepd::snapshot(context)?;
    let node = snapshot
        .node(name)
        .ok_or_else(|| fepd::not_there(&format!("node {name}")))?;
    if context.json {
        let members = snapshot.members_of(name).map(|(service, member)| {
            let mut member = json!(member);
            member["service"] = json!(service.service);
            member
        });
        let services: Vec<_> = members.collect();
        return outcome::json(&json!({ "node": node, "services": services }), context);
    }
    Ok(print(&snapshot, node, context.out())?)
}

fn print(snapshot: &Snapshot, node: &Node, out: &mut dyn Write) -> io::Result<()> {
    let mut table = table(0);
    table.row(cells(node));
    table.write(out)?;
    writeln!(out)?;
    let mut table = super::assignment::table("SERVICE", 0);
    for (service, member) in snapshot.members_of(&node.name) {
        table.row(super::assignment::cells(&service.service, member));
    }
    table.write(out)
}
