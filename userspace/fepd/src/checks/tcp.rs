// SPDX-License-Identifier: GPL-2.0

//! Whether a node takes a TCP connection.

use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Connects, and closes.
pub(super) async fn run(at: SocketAddr) -> Result<(), String> {
    match TcpStream::connect(at).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
