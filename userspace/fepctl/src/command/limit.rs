// SPDX-License-Identifier: GPL-2.0

//! `fepctl limit`.

use fep_client::Change;

use super::outcome;
use crate::cli::Limit;
use crate::failure::Failure;
use crate::Context;

pub(super) fn run(command: &Limit, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let Limit::Set { routes } = command;
    let change = Change::LimitSet {
        limit: *routes,
        was: None,
    };
    let done = context.client()?.commit(vec![change], false, 0)?;
    outcome::print(&done, context)
}
