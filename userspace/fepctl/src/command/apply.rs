// SPDX-License-Identifier: GPL-2.0

//! `fepctl apply`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use fep_client::file::{Document, FileError};
use fep_client::{Error, Outcome};

use super::outcome;
use crate::cli::Apply;
use crate::failure::Failure;
use crate::Context;

/// Largest file that is read, in bytes: room for a million backends.
const SIZE_MAX: u64 = 64 << 20;

pub(super) fn run(command: &Apply, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let (name, text) = if command.file == Path::new("-") {
        (
            "standard input".to_owned(),
            read(&mut *context.around.input),
        )
    } else {
        let name = command.file.display().to_string();
        (name, File::open(&command.file).and_then(read))
    };
    let text = text.map_err(|error| Failure::bad_input(error.to_string()).in_file(&name, None))?;
    let document = Document::parse(text).map_err(|FileError { position, message }| {
        Failure::bad_input(message).in_file(&name, Some(position))
    })?;
    let done = apply(&document, &name, command.dry_run, context)?;
    outcome::print_all(&done, context)
}

fn apply(
    document: &Document,
    name: &str,
    dry_run: bool,
    context: &Context<'_, '_>,
) -> Result<Outcome, Failure> {
    let result = context.client()?.apply(&document.config, dry_run);
    result.map_err(|error| {
        let position = match &error {
            Error::Refused(refusal) => refusal
                .change
                .as_ref()
                .and_then(|change| document.config.place_of(change))
                .and_then(|place| document.position(place, &refusal.keys())),
            _ => None,
        };
        match error {
            Error::Refused(_) => Failure::from(error).in_file(name, position),
            error => error.into(),
        }
    })
}

/// Reads text to its end.
fn read(from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > SIZE_MAX) {
        return Err(io::Error::other(format!(
            "larger than {SIZE_MAX} bytes, not a configuration"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::other(format!("not UTF-8 text (byte {at})"))
    })
}
