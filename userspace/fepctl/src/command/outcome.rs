// SPDX-License-Identifier: GPL-2.0

//! What a commit did, as it is printed.

use fep_client::{Change, Outcome};
use serde::Serialize;

use crate::failure::Failure;
use crate::Context;

/// An outcome for programs.
#[derive(Serialize)]
struct Printed {
    changes: Vec<PrintedChange>,
    generation: u64,
    routes_deleted: u64,
    dry_run: bool,
}

/// A change for programs.
#[derive(Serialize)]
struct PrintedChange {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    text: String,
}

fn printed(change: &Change) -> PrintedChange {
    let device = match change {
        Change::DeviceAttach(name) | Change::DeviceDetach(name) => Some(name.to_string()),
        _ => None,
    };
    PrintedChange {
        action: change.kind().name(),
        device,
        service: change.service().map(ToString::to_string),
        backend: change.backend().map(|backend| backend.to_string()),
        text: change.to_string(),
    }
}

/// Prints an outcome for programs.
fn print_json(outcome: &Outcome, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let printed = Printed {
        changes: outcome.changes.iter().map(printed).collect(),
        generation: outcome.generation,
        routes_deleted: outcome.routes_deleted,
        dry_run: outcome.dry_run,
    };
    json(&printed, context)
}

/// Prints a value for programs, on one line.
pub(super) fn json(value: &impl Serialize, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::io("JSON", &std::io::Error::from(error)))?;
    Ok(writeln!(context.out(), "{text}")?)
}

/// So many routes, in words.
pub(super) fn routes(count: u64) -> String {
    let routes = if count == 1 { "route" } else { "routes" };
    format!("{count} {routes}")
}

/// Prints what a single command did: nothing but what is not told by the command itself.
pub(super) fn print(outcome: &Outcome, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    if context.json {
        return print_json(outcome, context);
    }
    let deletes = |change: &Change| {
        matches!(
            change,
            Change::ServiceDel(_) | Change::BackendDel { .. } | Change::BackendFail { .. }
        )
    };
    if outcome.changes.iter().any(deletes) {
        writeln!(context.out(), "{} deleted", routes(outcome.routes_deleted))?;
    }
    Ok(())
}

/// Prints all that was done.
pub(super) fn print_all(outcome: &Outcome, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    if context.json {
        return print_json(outcome, context);
    }
    let out = context.out();
    if outcome.changes.is_empty() {
        return Ok(writeln!(out, "nothing to do")?);
    }
    for change in &outcome.changes {
        writeln!(out, "{change}")?;
    }
    let count = outcome.changes.len();
    let changes = if count == 1 { "change" } else { "changes" };
    if outcome.dry_run {
        writeln!(out, "dry run: {count} {changes} would be applied, none was")?;
    } else {
        writeln!(
            out,
            "{count} {changes} applied, generation {}, {} deleted",
            outcome.generation,
            routes(outcome.routes_deleted)
        )?;
    }
    Ok(())
}
