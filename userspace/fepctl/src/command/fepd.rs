// SPDX-License-Identifier: GPL-2.0

//! Asking fepd, and waiting for what it does.

use std::time::Duration;

use fep_operator::{Answer, Client, Error, Reason, Request, Snapshot};
use serde_json::json;

use super::outcome;
use crate::cli::Wait;
use crate::exit::Exit;
use crate::failure::{printable, Failure};
use crate::Context;

/// fepd answers at once, or something is wrong with it.
const LIMIT: Duration = Duration::from_secs(10);

/// How often one looks while waiting.
const LOOK: Duration = Duration::from_millis(500);

/// How far something is.
pub(super) enum Progress {
    /// It is done.
    Done,
    /// It goes on; so far it is.
    Going(String),
    /// It will not be done.
    Never(Failure),
}

/// Asks for something, and returns what fepd answers unless it refuses.
fn ask(request: &Request, context: &Context<'_, '_>) -> Result<Answer, Failure> {
    let program = concat!("fepctl ", env!("CARGO_PKG_VERSION"));
    let mut client = Client::connect(context.socket, program, LIMIT)?;
    match client.ask(request)? {
        Answer::Refused { reason, message } => {
            Err(Failure::new(exit_of(reason), reason.name(), message))
        }
        answer => Ok(answer),
    }
}

/// What fepd knows.
pub(super) fn snapshot(context: &Context<'_, '_>) -> Result<Snapshot, Failure> {
    match ask(&Request::Snapshot, context)? {
        Answer::Snapshot(snapshot) => Ok(*snapshot),
        _ => Err(garbled()),
    }
}

/// Has fepd do something; returns the node that it chose, if it chose one.
pub(super) fn have(
    request: &Request,
    context: &Context<'_, '_>,
) -> Result<Option<String>, Failure> {
    match ask(request, context)? {
        Answer::Done { node } => Ok(node),
        _ => Err(garbled()),
    }
}

/// Has fepd do something that takes no time.
pub(super) fn simply(request: &Request, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    have(request, context)?;
    done(None, context)
}

/// Says that something is done, in JSON; in words nothing need be said.
pub(super) fn done(node: Option<&str>, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    if !context.json {
        return Ok(());
    }
    let mut done = json!({ "done": true });
    if let Some(node) = node {
        done["node"] = json!(node);
    }
    outcome::json(&done, context)
}

/// Waits until something is done, if that is wished. `what` is what one waits for.
pub(super) fn wait(
    wait: Wait,
    what: &str,
    context: &mut Context<'_, '_>,
    look: impl Fn(&Snapshot) -> Progress,
) -> Result<(), Failure> {
    if !wait.wait {
        return Ok(());
    }
    let end = context.around.clock.now() + wait.timeout;
    let mut said = String::new();
    loop {
        let far = match snapshot(context) {
            Ok(snapshot) => match look(&snapshot) {
                Progress::Done => return Ok(()),
                Progress::Going(far) => far,
                Progress::Never(failure) => return Err(failure),
            },
            // What it was doing it takes up again when it is started again.
            Err(failure) if failure.exit() == Some(Exit::NoDaemon) => {
                "fepd is not running, waits for it".to_owned()
            }
            Err(failure) => return Err(failure),
        };
        if far != said && !context.json {
            // Who does not see how far it is waits all the same.
            let _ = writeln!(context.around.errors, "{what}: {}", printable(&far));
            said.clone_from(&far);
        }
        let left = end.saturating_sub(context.around.clock.now());
        let why = if left.is_zero() {
            format!("after {} s", wait.timeout.as_secs_f64())
        } else if context.around.clock.wait(left.min(LOOK))? {
            continue;
        } else {
            "when the waiting was interrupted".to_owned()
        };
        let message = format!("{what}: not done {why} ({far}); fepd goes on with it");
        return Err(Failure::new(Exit::NotInTime, "not_in_time", message));
    }
}

/// Something that is not there.
pub(super) fn not_there(what: &str) -> Failure {
    let reason = Reason::NotThere.name();
    Failure::new(Exit::NotThere, reason, format!("there is no {what}"))
}

/// A cell of a table: one line, without anything that a terminal would act upon.
pub(super) fn cell(text: &str) -> String {
    printable(&text.replace('\n', " "))
}

/// A cell of a state and why it is so.
pub(super) fn state(state: &str, why: &str) -> String {
    if why.is_empty() {
        state.to_owned()
    } else {
        format!("{state}: {}", cell(why))
    }
}

/// A cell of thousandths, in percent.
pub(super) fn percent(permille: Option<u32>) -> String {
    permille.map_or_else(
        || "-".to_owned(),
        |permille| format!("{}.{}%", permille / 10, permille % 10),
    )
}

/// A cell of a text that there may be.
pub(super) fn maybe(text: Option<&String>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| cell(text))
}

/// A time, in whole seconds from ten on.
pub(super) fn shown(millis: u64) -> String {
    if millis < 10_000 {
        format!("{}.{}s", millis / 1000, millis % 1000 / 100)
    } else {
        format!("{}s", millis / 1000)
    }
}

fn garbled() -> Failure {
    let message = "fepd answered something that was not asked for";
    Failure::new(Exit::Internal, "garbled", message)
}

fn exit_of(reason: Reason) -> Exit {
    match reason {
        Reason::NotThere => Exit::NotThere,
        Reason::AlreadyThere => Exit::AlreadyThere,
        Reason::BadInput => Exit::BadInput,
        Reason::Rule | Reason::Filter | Reason::Unsupported => Exit::Refused,
        Reason::Busy | Reason::Version | Reason::Other => Exit::Internal,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (exit, reason) = match &error {
            Error::NotRunning { .. } => (Exit::NoDaemon, "no_daemon"),
            // It ended just now.
            Error::Closed { .. } => (Exit::NoDaemon, "closed"),
            Error::NotPermitted { .. } => (Exit::NotPermitted, "not_permitted"),
            Error::TooLong => (Exit::BadInput, "bad_input"),
            Error::Version { .. } => (Exit::Internal, "version"),
            Error::Refused { .. } => (Exit::Internal, "busy"),
            Error::Garbled { .. } => (Exit::Internal, "garbled"),
            Error::Silent { .. } | Error::Io { .. } => (Exit::Internal, "io"),
        };
        Self::new(exit, reason, error.to_string())
    }
}
