// SPDX-License-Identifier: GPL-2.0

//! The program `bepd`, the agent of a back-end node.

#![forbid(unsafe_code)]

mod agent;
mod config;
mod connections;
mod diag;
mod link;
mod load;
mod process;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::config::Config;

/// Exit code of a configuration or command line that makes no sense.
const BAD_INPUT: u8 = 2;

/// The agent of a back-end node: tells the front-ends its load and which connections are live, and
/// keeps server processes for them
#[derive(Debug, Parser)]
#[command(
    name = "bepd",
    version,
    after_help = "Signals:\n  SIGHUP   reads the configuration again; a bad one is refused, the old one stays\n  \
                  SIGTERM  ends; server processes go on\n\nExit codes:\n  0  ended by a signal, or the configuration is right\n  \
                  1  cannot listen, or another error of the system\n  2  usage, or a bad configuration"
)]
struct Cli {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/fep/bepd.toml")]
    config: PathBuf,

    /// Check the configuration, print what is wrong with it, and end
    #[arg(long)]
    check: bool,

    /// How log lines are written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match Config::load(&cli.config) {
        Ok(_) if cli.check => return ExitCode::SUCCESS,
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(BAD_INPUT);
        }
    };
    let lines = tracing_subscriber::fmt().with_writer(io::stderr);
    match cli.log_format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().init(),
    }
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(agent::run(&cli.config, config)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "ended by an error");
            ExitCode::FAILURE
        }
    }
}
