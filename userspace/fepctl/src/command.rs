// SPDX-License-Identifier: GPL-2.0

//! The commands, one file each.

mod apply;
mod assignment;
mod backend;
mod daemon;
mod device;
mod dump;
mod events;
mod fepd;
mod flush;
mod generate;
mod group;
mod limit;
mod node;
mod outcome;
mod pki;
mod process;
mod resolve;
mod route;
mod service;
mod stats;
mod status;

use crate::cli::Command;
use crate::failure::Failure;
use crate::Context;

/// Runs a command.
pub(crate) fn run(command: &Command, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    match command {
        Command::Device(command) => device::run(command, context),
        Command::Service(command) => service::run(command, context),
        Command::Backend(command) => backend::run(command, context),
        Command::Route(command) => route::run(command, context),
        Command::Limit(command) => limit::run(command, context),
        Command::Status => status::run(context),
        Command::Stats(command) => stats::run(command, context),
        Command::Events { count } => events::run(*count, context),
        Command::Dump => dump::run(context),
        Command::Apply(command) => apply::run(command, context),
        Command::Flush(command) => flush::run(command, context),
        Command::Node(command) => node::run(command, context),
        Command::Group(command) => group::run(command, context),
        Command::Process(command) => process::run(command, context),
        Command::Daemon(command) => daemon::run(command, context),
        Command::Pki(command) => pki::run(command, context),
        Command::Completions { shell } => generate::completions(*shell, context),
        Command::Man { dir } => generate::man(dir),
    }
}
