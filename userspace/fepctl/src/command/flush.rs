// SPDX-License-Identifier: GPL-2.0

//! `fepctl flush`.

use fep_client::Config;

use super::outcome;
use crate::cli::Flush;
use crate::failure::Failure;
use crate::Context;

pub(super) fn run(command: &Flush, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let empty = Config {
        devices: command.devices.then(Vec::new),
        limit: None,
        services: Some(Vec::new()),
    };
    let done = context.client()?.apply(&empty, false)?;
    outcome::print_all(&done, context)
}
