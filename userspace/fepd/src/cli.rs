// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use fep_uapi::DEVICE_PATH;

/// Where the configuration is unless the command line says otherwise.
const CONFIG: &str = "/etc/fep/fep.toml";

/// Watches the back-end nodes and keeps fep's transfer-control table.
#[derive(Debug, Parser)]
#[command(
    name = "fepd",
    version,
    long_about = "Watches the back-end nodes of a front-end with the packet filter fep, and keeps \
        the filter's transfer-control table: a node that fails gets no more clients and its routes \
        end, one that comes back gets its share again.\n\n\
        SIGHUP, or a change of the file, reads the configuration again. SIGTERM ends the daemon; the \
        filter goes on with what it has.",
    after_help = "Exit status: 0 ended by a signal, or --check found nothing; 1 something failed; \
        2 the command line or the configuration is wrong."
)]
pub struct Cli {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    pub config: PathBuf,

    /// Say what is wrong with the configuration, and end
    #[arg(long)]
    pub check: bool,

    /// Control device of the module
    #[arg(long, value_name = "PATH", default_value = DEVICE_PATH)]
    pub device: PathBuf,

    /// How the log, on standard error, looks
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: tracing::Level,

    /// Print the manual page, and end
    #[arg(long, hide = true)]
    pub man: bool,
}

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people; with their priority in front where systemd's journal reads them.
    Text,
    /// An object of JSON a line.
    Json,
}
