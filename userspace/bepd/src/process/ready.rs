// SPDX-License-Identifier: GPL-2.0

//! Waits until a server process shows that it is ready.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::spec::Ready;

/// Time between two tries.
const EVERY: Duration = Duration::from_millis(100);
/// A try that takes longer has failed.
const TRY: Duration = Duration::from_secs(5);

/// Returns when it is ready.
pub(crate) async fn wait(ready: &Ready) {
    loop {
        // What only has to run has run for so long then.
        sleep(EVERY).await;
        if timeout(TRY, is_ready(ready)).await.unwrap_or(false) {
            return;
        }
    }
}

async fn is_ready(ready: &Ready) -> bool {
    match ready {
        Ready::Running => true,
        Ready::Tcp(address) => TcpStream::connect(address).await.is_ok(),
        Ready::Http { address, path } => get(*address, path).await.unwrap_or(false),
        Ready::Command(words) => {
            let Some((program, args)) = words.split_first() else {
                return false;
            };
            let mut command = Command::new(program);
            command
                .args(args)
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            command.kill_on_drop(true);
            command.status().await.is_ok_and(|status| status.success())
        }
    }
}

/// Whether the status of a GET is 200 to 299.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(status.starts_with(b"HTTP/1.") && &status[8..10] == b" 2")
}
