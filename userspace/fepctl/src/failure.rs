// SPDX-License-Identifier: GPL-2.0

//! What went wrong, as it is reported.

use std::io;

use fep_client::file::Position;
use fep_client::spec::ParseError;
use fep_client::text::acts_on_terminal;
use fep_client::Error;
use serde_json::json;

use crate::exit::{reason, Exit};

/// The end of a command that did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read the output has gone. Nothing to report.
    Unread,
    /// To be reported.
    Report(Box<Report>),
}

/// What is reported on standard error.
#[derive(Debug)]
pub(crate) struct Report {
    /// The exit code.
    pub(crate) exit: Exit,
    /// One sentence.
    pub(crate) message: String,
    /// Its kind, for programs.
    pub(crate) reason: &'static str,
    /// The file that it is about, and where in it.
    pub(crate) file: Option<(String, Option<Position>)>,
}

impl Failure {
    /// Bad input.
    pub(crate) fn bad_input(message: impl Into<String>) -> Self {
        Self::new(Exit::BadInput, "bad_input", message)
    }

    /// An error of input or output.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        Self::new(Exit::Internal, "io", format!("{what}: {error}"))
    }

    pub(crate) fn new(exit: Exit, reason: &'static str, message: impl Into<String>) -> Self {
        Self::Report(Box::new(Report {
            exit,
            message: message.into(),
            reason,
            file: None,
        }))
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match self {
            Self::Unread => None,
            Self::Report(report) => Some(report.exit),
        }
    }

    /// With the file that it is about.
    pub(crate) fn in_file(mut self, name: &str, position: Option<Position>) -> Self {
        if let Self::Report(report) = &mut self {
            report.file = Some((name.to_owned(), position));
        }
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Exit::of(&error), reason(&error), error.to_string())
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::bad_input(error.to_string())
    }
}

/// An error of writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Unread
        } else {
            Self::io("standard output", &error)
        }
    }
}

impl Report {
    /// The line, or lines, for people.
    pub(crate) fn to_text(&self) -> String {
        let place = match &self.file {
            Some((name, Some(position))) => format!("{name}:{position}: "),
            Some((name, None)) => format!("{name}: "),
            None => String::new(),
        };
        printable(&format!("fepctl: {place}{}", self.message))
    }

    /// The line for programs.
    pub(crate) fn to_json(&self) -> String {
        let mut error = json!({
            "code": self.exit.code(),
            "message": printable(&self.message),
            "reason": self.reason,
        });
        if let Some((name, position)) = &self.file {
            error["file"] = json!(name);
            if let Some(Position { line, column }) = position {
                error["line"] = json!(line);
                error["column"] = json!(column);
            }
        }
        json!({ "error": error }).to_string()
    }
}

/// Escapes what a terminal would act upon, line ends excepted.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && acts_on_terminal(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}
