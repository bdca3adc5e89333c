// SPDX-License-Identifier: GPL-2.0

//! `fepctl route`: lists of any length in memory for one page.

use std::fmt::Display;
use std::time::Duration;

use fep_client::{Filter, Route};
use serde_json::json;

use super::{outcome, resolve};
use crate::cli;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::Context;

pub(super) fn run(command: &cli::Route, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    match command {
        cli::Route::List { filter, limit } => {
            let filter = resolve::filter(context.ports(), filter)?;
            list(&filter, limit.unwrap_or(u64::MAX), context)
        }
        cli::Route::Flush { filter } => {
            let filter = resolve::filter(context.ports(), filter)?;
            let mut client = context.client()?;
            client.check_filter(&filter)?;
            let deleted = client.flush_routes(&filter)?;
            if context.json {
                outcome::json(&json!({ "routes_deleted": deleted }), context)
            } else {
                Ok(writeln!(
                    context.out(),
                    "{} deleted",
                    outcome::routes(deleted)
                )?)
            }
        }
    }
}

fn list(filter: &Filter, limit: u64, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let mut client = context.client()?;
    client.check_filter(filter)?;
    let mut pages = client.routes(filter);
    let mut printer = Printer::new(context.json);
    let mut count = 0;
    'pages: while let Some(page) = pages.next_page()? {
        for route in page {
            if count >= limit {
                break 'pages;
            }
            printer.route(&route?, context)?;
            count += 1;
        }
        printer.end_of_page(context)?;
    }
    printer.end(count, context)
}

/// How the JSON of a list begins.
const OPENING: &str = "{\"routes\":[";

/// Prints routes as they come, and nothing before the first one: the list may be refused.
struct Printer {
    json: bool,
    first: bool,
    table: Table,
}

impl Printer {
    fn new(json: bool) -> Self {
        let headings = [
            ("SERVICE", Align::Left),
            ("CLIENT", Align::Left),
            ("BACKEND", Align::Left),
            ("STATE", Align::Left),
            ("IDLE", Align::Right),
            ("EXPIRES", Align::Right),
        ];
        Self {
            json,
            first: true,
            table: Table::new(&headings),
        }
    }

    fn route(&mut self, route: &Route, context: &mut Context<'_, '_>) -> Result<(), Failure> {
        let Route {
            service,
            client,
            backend,
            state,
            idle,
            expires,
        } = route;
        if self.json {
            let object = json!({
                "service": service,
                "client": client,
                "backend": backend,
                "state": state.name(),
                "idle_seconds": idle.as_secs_f64(),
                "expires_seconds": expires.as_secs_f64(),
            });
            let before = if self.first { OPENING } else { "," };
            self.first = false;
            return Ok(write!(context.out(), "{before}\n{object}")?);
        }
        let names: [&dyn Display; 4] = [service, client, backend, &state.name()];
        let times = [idle, expires].map(|time| seconds(*time));
        self.table
            .row(names.map(|name| name.to_string()).into_iter().chain(times));
        Ok(())
    }

    fn end_of_page(&mut self, context: &mut Context<'_, '_>) -> Result<(), Failure> {
        Ok(self.table_unless_json(context)?)
    }

    fn table_unless_json(&mut self, context: &mut Context<'_, '_>) -> std::io::Result<()> {
        if self.json {
            Ok(())
        } else {
            self.table.write(context.out())
        }
    }

    fn end(mut self, count: u64, context: &mut Context<'_, '_>) -> Result<(), Failure> {
        self.table_unless_json(context)?;
        if self.json {
            let before = if self.first { OPENING } else { "" };
            writeln!(context.out(), "{before}\n],\"count\":{count}}}")?;
        }
        Ok(())
    }
}

fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}
