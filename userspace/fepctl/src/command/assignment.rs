// SPDX-License-Identifier: GPL-2.0

//! `fepctl service`, the verbs that fepd is asked for: which nodes serve a service.

use std::io::{self, Write};

use fep_client::ServiceSpec;
use fep_operator::{Member, Service, Snapshot};
use serde_json::json;

use super::{fepd, outcome, resolve};
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::Context;

/// `fepctl service list`.
pub(super) fn list(
    service: Option<&ServiceSpec>,
    context: &mut Context<'_, '_>,
) -> Result<(), Failure> {
    let key = service
        .map(|service| resolve::service(context.ports(), service))
        .transpose()?
        .map(|key| key.to_string());
    let Snapshot { mut services, .. } = fepd::snapshot(context)?;
    if let Some(key) = &key {
        services.retain(|service| service.service == *key);
        if services.is_empty() {
            return Err(fepd::not_there(&format!("service {key}")));
        }
    }
    if context.json {
        return outcome::json(&json!({ "services": services }), context);
    }
    for (at, service) in services.iter().enumerate() {
        if at > 0 {
            writeln!(context.out())?;
        }
        print(service, context.out())?;
    }
    Ok(())
}

fn print(service: &Service, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "{} scheduler {}, {} routes",
        fepd::cell(&service.service),
        fepd::cell(&service.scheduler),
        service.routes
    )?;
    if let Some(group) = &service.group {
        write!(out, ", group {}", fepd::cell(group))?;
    }
    if let Some(sorry) = &service.sorry {
        write!(out, ", sorry server {}", fepd::cell(sorry))?;
    }
    writeln!(out)?;
    if let Some(alarm) = &service.alarm {
        writeln!(out, "  ALARM: {}", fepd::cell(alarm))?;
    }
    let mut table = table("NODE", 2);
    for member in &service.members {
        table.row(cells(&member.node, member));
    }
    table.write(out)
}

/// A table of nodes of services.
pub(super) fn table(first: &str, indent: usize) -> Table {
    Table::new(&[
        (first, Align::Left),
        ("SERVES AT", Align::Left),
        ("WEIGHT", Align::Right),
        ("NOW", Align::Right),
        ("ASKED", Align::Right),
        ("ACHIEVED", Align::Right),
        ("ROUTES", Align::Right),
        ("CHECK", Align::Left),
        ("STATE", Align::Left),
        ("NEXT", Align::Left),
    ])
    .indented(indent)
}

/// A row of it.
pub(super) fn cells(first: &str, member: &Member) -> Vec<String> {
    let check = member.check.as_ref().map(|check| {
        let ago = format!("{} ago", fepd::shown(check.age_ms));
        match &check.problem {
            None => format!("good {ago}"),
            Some(problem) => format!("bad {ago}: {}", fepd::cell(problem)),
        }
    });
    vec![
        fepd::cell(first),
        fepd::cell(&member.address),
        member.weight.to_string(),
        member.weight_now.to_string(),
        fepd::percent(Some(member.asked_permille)),
        fepd::percent(member.achieved_permille),
        member.routes.to_string(),
        check.unwrap_or_else(|| "-".to_owned()),
        fepd::state(member.state.name(), &member.why),
        fepd::maybe(member.next.as_ref()),
    ]
}
