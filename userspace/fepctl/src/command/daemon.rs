// SPDX-License-Identifier: GPL-2.0

//! `fepctl daemon`.

use std::io::{self, Write};

use fep_operator::{Daemon, Request};
use serde_json::json;

use super::{fepd, outcome};
use crate::cli;
use crate::failure::Failure;
use crate::Context;

pub(super) fn run(command: &cli::Daemon, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    match command {
        cli::Daemon::Status => {
            let snapshot = fepd::snapshot(context)?;
            if context.json {
                return outcome::json(&json!({ "daemon": snapshot.daemon }), context);
            }
            Ok(print(&snapshot.daemon, context.out())?)
        }
        cli::Daemon::Reload => fepd::simply(&Request::Reload, context),
    }
}

fn print(daemon: &Daemon, out: &mut dyn Write) -> io::Result<()> {
    let fine = "as it should be".to_owned();
    let file = match &daemon.reload {
        None => "in force since the start".to_owned(),
        Some(reload) => match &reload.problem {
            None => format!("in force since {}", fepd::shown(reload.age_ms)),
            Some(problem) => format!(
                "refused {} ago: {}",
                fepd::shown(reload.age_ms),
                fepd::cell(problem)
            ),
        },
    };
    let trouble = |trouble: &Option<String>| match trouble {
        None => fine.clone(),
        Some(trouble) => fepd::cell(trouble),
    };
    writeln!(
        out,
        "fepd {}, process {}, runs for {}\n\
         configuration {}: {file}\n\
         filter: {}; generation {}, {} of {} routes\n\
         state file: {}",
        fepd::cell(&daemon.version),
        daemon.pid,
        fepd::shown(daemon.uptime_ms),
        fepd::cell(&daemon.config),
        trouble(&daemon.trouble),
        daemon.generation,
        daemon.routes,
        daemon.routes_limit,
        trouble(&daemon.state_trouble),
    )
}
