// SPDX-License-Identifier: GPL-2.0

//! The program `fepd`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    fepd::daemon::main(&fepd::cli::Cli::parse())
}
