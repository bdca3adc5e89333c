// SPDX-License-Identifier: GPL-2.0

//! `fepctl`, as a function of its arguments and its surroundings.
//!
//! The binary gives it the real ones, the tests give it a kernel in memory.

#![forbid(unsafe_code)]

pub mod cli;
mod command;
mod exit;
mod failure;
mod services_file;
mod table;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::Parser;
use fep_client::{Client, Error, Kernel};

pub use exit::Exit;
use failure::{Failure, Report};
use services_file::PortNames;

/// Opens the control device at a path.
pub type Open = dyn Fn(&Path) -> Result<Box<dyn Kernel>, Error>;

/// What fepctl runs in.
pub struct Surroundings<'a> {
    /// Opens the control device at a path.
    pub open: &'a Open,
    /// The system's services file.
    pub services_file: &'a Path,
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub output: &'a mut dyn Write,
    /// Standard error.
    pub errors: &'a mut dyn Write,
    /// Whether standard output is a terminal.
    pub terminal: bool,
    /// The time.
    pub clock: &'a mut dyn Clock,
}

/// The time, and whether it is up.
pub trait Clock {
    /// The time since some moment that does not change.
    fn now(&self) -> Duration;

    /// Waits; returns whether to go on: not when somebody asked to stop.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn wait(&mut self, time: Duration) -> io::Result<bool>;
}

/// What a command runs in.
pub(crate) struct Context<'a, 'b> {
    around: &'a mut Surroundings<'b>,
    device: &'a Path,
    socket: &'a Path,
    json: bool,
}

impl Context<'_, '_> {
    fn client(&self) -> Result<Client, Failure> {
        let kernel = (self.around.open)(self.device)?;
        Ok(Client::connect(kernel)?)
    }

    fn ports(&self) -> PortNames<'_> {
        PortNames::new(self.around.services_file)
    }

    fn out(&mut self) -> &mut dyn Write {
        self.around.output
    }
}

/// Does what the arguments say, the program's name first; returns how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>, around: &mut Surroundings<'_>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let (result, json) = match cli::Cli::try_parse_from(&arguments) {
        Ok(cli) => {
            let mut context = Context {
                around,
                device: &cli.device,
                socket: &cli.socket,
                json: cli.json,
            };
            (command::run(&cli.command, &mut context), cli.json)
        }
        Err(error) => {
            let json = arguments.iter().any(|argument| argument == "--json");
            (not_a_command(&error, around.output), json)
        }
    };
    let result = result.and_then(|()| Ok(around.output.flush()?));
    match result {
        Ok(()) | Err(Failure::Unread) => Exit::Ok,
        Err(Failure::Report(report)) => {
            let text = if json {
                report.to_json()
            } else {
                report.to_text()
            };
            // Should this fail as well, the exit code is all there is left to say.
            let _ = around.output.flush();
            let _ = writeln!(around.errors, "{}", text.trim_end());
            report.exit
        }
    }
}

/// Arguments that are no command: a wish for help, or a mistake.
fn not_a_command(error: &clap::Error, output: &mut dyn Write) -> Result<(), Failure> {
    let text = error.render().to_string();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return Ok(output.write_all(text.as_bytes())?);
    }
    let message = text.strip_prefix("error: ").unwrap_or(&text);
    Err(Failure::Report(Box::new(Report {
        exit: Exit::BadInput,
        message: message.trim_end().to_owned(),
        reason: "usage",
        file: None,
    })))
}
