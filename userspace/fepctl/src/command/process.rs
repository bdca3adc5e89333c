// SPDX-License-Identifier: GPL-2.0

//! `fepctl process`.

use fep_operator::{Instance, ProcessState, Request};
use serde_json::json;

use super::fepd::{self, Progress};
use super::outcome;
use crate::cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::Context;

pub(super) fn run(command: &cli::Process, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    match command {
        cli::Process::List => list(context),
        cli::Process::Start {
            process,
            node,
            wait,
        } => {
            let request = Request::ProcessStart {
                process: process.clone(),
                node: node.clone(),
            };
            let chosen = fepd::have(&request, context)?;
            let Some(node) = node.clone().or(chosen) else {
                let message = "fepd did not say on which node it starts";
                return Err(Failure::new(Exit::Internal, "garbled", message));
            };
            let what = format!("process {process} on node {node}");
            fepd::wait(*wait, &what, context, |snapshot| {
                started(snapshot.instance(process, &node), &what)
            })?;
            if !context.json {
                writeln!(context.out(), "{}", fepd::cell(&what))?;
            }
            fepd::done(Some(&node), context)
        }
        cli::Process::Stop {
            process,
            node,
            wait,
        } => {
            let request = Request::ProcessStop {
                process: process.clone(),
                node: node.clone(),
            };
            fepd::have(&request, context)?;
            let what = format!("process {process} on node {node}");
            fepd::wait(*wait, &what, context, |snapshot| {
                stopped(snapshot.instance(process, node), &what)
            })?;
            fepd::done(Some(node), context)
        }
    }
}

fn going(instance: &Instance) -> Progress {
    Progress::Going(fepd::state(instance.state.name(), &instance.why))
}

fn failed(instance: &Instance, what: &str) -> Progress {
    let message = format!("{what}: failed: {}", instance.why);
    Progress::Never(Failure::new(Exit::Refused, "rule", message))
}

fn started(instance: Option<&Instance>, what: &str) -> Progress {
    match instance {
        None => Progress::Going("not started".to_owned()),
        Some(instance) => match instance.state {
            ProcessState::Ready => Progress::Done,
            ProcessState::Failed => failed(instance, what),
            _ => going(instance),
        },
    }
}

fn stopped(instance: Option<&Instance>, what: &str) -> Progress {
    match instance {
        None => Progress::Done,
        Some(instance) => match instance.state {
            ProcessState::Stopped => Progress::Done,
            ProcessState::Failed => failed(instance, what),
            _ => going(instance),
        },
    }
}

fn list(context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let snapshot = fepd::snapshot(context)?;
    if context.json {
        return outcome::json(&json!({ "processes": snapshot.processes }), context);
    }
    let mut table = Table::new(&[
        ("PROCESS", Align::Left),
        ("SERVICE", Align::Left),
        ("NODE", Align::Left),
        ("RESTARTS", Align::Right),
        ("STATE", Align::Left),
        ("NEXT", Align::Left),
    ]);
    for process in &snapshot.processes {
        let begin = || [fepd::cell(&process.name), fepd::cell(&process.service)];
        if process.instances.is_empty() {
            let none = ["-", "-", "-", "-"].map(str::to_owned);
            table.row(begin().into_iter().chain(none));
        }
        for instance in &process.instances {
            let rest = [
                fepd::cell(&instance.node),
                instance.restarts.to_string(),
                fepd::state(instance.state.name(), &instance.why),
                fepd::maybe(instance.next.as_ref()),
            ];
            table.row(begin().into_iter().chain(rest));
        }
    }
    Ok(table.write(context.out())?)
}
