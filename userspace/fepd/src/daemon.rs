// SPDX-License-Identifier: GPL-2.0

//! The daemon: the loop that checks, decides and commits.
//!
//! It never takes the filter's tables away: however it ends, traffic goes on with what the filter
//! has.

mod edit;
mod links;
mod operator;
mod view;
mod work;

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use fep_client::{Client, Device};
use fep_config::Config;
use tracing::{error, info};

use crate::cli::Cli;
use crate::logging;
use crate::state::StateFile;
use work::Daemon;

/// Exit status: it failed.
const FAILED: u8 = 1;
/// Exit status: the command line or the configuration is wrong.
const WRONG: u8 = 2;

/// Why the daemon ends.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] fep_config::Error),
    #[error(transparent)]
    Kernel(#[from] fep_client::Error),
    #[error("agents: {0}")]
    Agents(#[from] fep_protocol::Error),
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Does what the command line says.
pub fn main(cli: &Cli) -> ExitCode {
    if cli.man {
        return man();
    }
    if cli.check {
        return check(&cli.config);
    }
    logging::begin(cli);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.to_string().lines() {
                error!("{line}");
            }
            let wrong = matches!(failure, Failure::Config(fep_config::Error::Wrong(_)));
            ExitCode::from(if wrong { WRONG } else { FAILED })
        }
    }
}

fn man() -> ExitCode {
    let page = clap_mangen::Man::new(Cli::command()).section("8");
    match page.render(&mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fepd: {error}");
            ExitCode::from(FAILED)
        }
    }
}

fn check(file: &Path) -> ExitCode {
    match Config::load(file) {
        Ok(config) => {
            println!(
                "{}: {} services, {} nodes: nothing is wrong",
                file.display(),
                config.services.len(),
                config.nodes.len()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(match error {
                fep_config::Error::Wrong(_) => WRONG,
                fep_config::Error::Unreadable { .. } => FAILED,
            })
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let config = Config::load(&cli.config)?;
    let (state, saved) = StateFile::open(&config.daemon.state)?;
    let client = Client::connect(Box::new(Device::open_at(&cli.device)?))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut daemon = Daemon::begin(&cli.config, config, client, state, saved)?;
        daemon.run().await?;
        info!("ends; the filter goes on with what it has");
        Ok(())
    })
}
