// SPDX-License-Identifier: GPL-2.0

//! Whether a node answers a datagram.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use fep_config::Pattern;
use tokio::net::UdpSocket;

/// Sends a datagram; the first answer decides.
pub(super) async fn run(
    send: &[u8],
    expect: Option<&Pattern>,
    at: SocketAddr,
) -> Result<(), String> {
    let answer = ask(send, at).await.map_err(|error| error.to_string())?;
    match expect {
        Some(pattern) if !pattern.0.is_match(&answer) => {
            Err(format!("no \"{}\" in the answer", pattern.0.as_str()))
        }
        _ => Ok(()),
    }
}

async fn ask(send: &[u8], at: SocketAddr) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if at.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    // Connected: nobody else can answer, and an ICMP error of the node is one here.
    socket.connect(at).await?;
    socket.send(send).await?;
    let mut answer = vec![0; 65_536];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}
