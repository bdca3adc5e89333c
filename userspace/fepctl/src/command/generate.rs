// SPDX-License-Identifier: GPL-2.0

//! `fepctl completions` and `fepctl man`: made from the definitions of the command line.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::Context;

pub(super) fn completions(shell: Shell, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fepctl", &mut script);
    Ok(context.out().write_all(&script)?)
}

pub(super) fn man(dir: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(Cli::command(), dir)
        .map_err(|error| Failure::io(&dir.display().to_string(), &error))
}
