// SPDX-License-Identifier: GPL-2.0

//! Whether a program says that a node is well.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use fep_client::ServiceKey;
use tokio::process::Command;

use std::net::SocketAddr;

/// Runs the program and waits for it. It ends with the check: the time limit kills it.
pub(super) async fn run(
    argv: &[String],
    service: ServiceKey,
    at: SocketAddr,
) -> Result<(), String> {
    let [program, arguments @ ..] = argv else {
        return Err("there is no program".to_owned());
    };
    let status = Command::new(program)
        .args(arguments)
        .env("FEP_SERVICE", service.to_string())
        .env("FEP_NODE", at.ip().to_string())
        .env("FEP_PORT", at.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| format!("{program}: {error}"))?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(format!("{program} ended with {code}")),
        (None, signal) => Err(format!(
            "{program} was ended by signal {}",
            signal.unwrap_or(0)
        )),
    }
}
