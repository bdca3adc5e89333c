// SPDX-License-Identifier: GPL-2.0

//! `fepctl group`.

use fep_operator::Snapshot;
use serde_json::json;

use super::{fepd, outcome};
use crate::cli;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::Context;

pub(super) fn run(command: &cli::Group, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let cli::Group::Status { group: name } = command;
    let Snapshot { mut groups, .. } = fepd::snapshot(context)?;
    if let Some(name) = name {
        groups.retain(|group| group.name == *name);
        if groups.is_empty() {
            return Err(fepd::not_there(&format!("group {name}")));
        }
    }
    if context.json {
        return outcome::json(&json!({ "groups": groups }), context);
    }
    let mut table = Table::new(&[
        ("GROUP", Align::Left),
        ("NODE", Align::Left),
        ("RUNNING", Align::Left),
        ("LOAD", Align::Right),
        ("PRIORITY", Align::Right),
        ("CHOSEN", Align::Left),
    ]);
    for group in &groups {
        for node in &group.nodes {
            let best = group.best.as_ref() == Some(&node.node);
            table.row([
                fepd::cell(&group.name),
                fepd::cell(&node.node),
                if node.running { "yes" } else { "no" }.to_owned(),
                fepd::percent(node.load_permille),
                node.priority.to_string(),
                if best { "yes" } else { "" }.to_owned(),
            ]);
        }
    }
    Ok(table.write(context.out())?)
}
