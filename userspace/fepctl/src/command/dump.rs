// SPDX-License-Identifier: GPL-2.0

//! `fepctl dump`.

use fep_client::file::to_toml;
use fep_client::Config;

use super::outcome;
use crate::failure::Failure;
use crate::Context;

pub(super) fn run(context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let mut config = context.client()?.snapshot()?.config();
    only_marked(&mut config);
    if context.json {
        return outcome::json(&config, context);
    }
    let out = context.out();
    writeln!(out, "# fep's configuration, for: fepctl apply -f FILE")?;
    Ok(out.write_all(to_toml(&config).as_bytes())?)
}

/// Leaves the mark out where there is none: a file does not speak of what nothing is wrong with.
fn only_marked(config: &mut Config) {
    let services = config.services.iter_mut().flatten();
    for backend in services.flat_map(|service| &mut service.backends) {
        if backend.failed == Some(false) {
            backend.failed = None;
        }
    }
}
