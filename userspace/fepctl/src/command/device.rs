// SPDX-License-Identifier: GPL-2.0

//! `fepctl device`.

use fep_client::Change;

use super::outcome;
use crate::cli::Device;
use crate::failure::Failure;
use crate::Context;

pub(super) fn run(command: &Device, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let change = match command {
        Device::Attach { name } => Change::DeviceAttach(name.clone()),
        Device::Detach { name } => Change::DeviceDetach(name.clone()),
    };
    let done = context.client()?.commit(vec![change], false, 0)?;
    outcome::print(&done, context)
}
