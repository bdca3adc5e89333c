// SPDX-License-Identifier: GPL-2.0

//! Whether a node answers an echo request (RFC 792, RFC 4443).

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

const HEADER: usize = 8;

/// Sends an echo request and waits for its answer.
pub(super) async fn run(address: IpAddr) -> Result<(), String> {
    ask(address).await.map_err(|error| error.to_string())
}

async fn ask(address: IpAddr) -> io::Result<()> {
    let (socket, raw) = open(address)?;
    socket.connect(&SocketAddr::new(address, 0).into())?;
    socket.set_nonblocking(true)?;
    // Not UDP, but a socket whose datagrams are read and written like it.
    let socket = UdpSocket::from_std(socket.into())?;
    let token = fastrand::u64(..).to_be_bytes();
    let (kind, answer) = if address.is_ipv4() {
        (8, 0)
    } else {
        (128, 129)
    };
    socket.send(&request(kind, token)).await?;
    let mut buffer = [0; 256];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let mut packet = buffer.get(..length).unwrap_or_default();
        if raw && address.is_ipv4() {
            // A raw socket gives the IP header, too.
            let words = packet.first().map_or(0, |first| usize::from(first & 0xf));
            packet = packet.get(words * 4..).unwrap_or_default();
        }
        if packet.first() == Some(&answer) && packet.get(HEADER..) == Some(token.as_slice()) {
            return Ok(());
        }
    }
}

/// A socket that everybody may have where the system allows it, else one that takes CAP_NET_RAW;
/// and whether it is of the second kind.
fn open(address: IpAddr) -> io::Result<(Socket, bool)> {
    let (domain, protocol) = if address.is_ipv4() {
        (Domain::IPV4, Protocol::ICMPV4)
    } else {
        (Domain::IPV6, Protocol::ICMPV6)
    };
    match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => Ok((socket, false)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            match Socket::new(domain, Type::RAW, Some(protocol)) {
                Ok(socket) => Ok((socket, true)),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "net.ipv4.ping_group_range does not let fepd send echo requests",
                )),
            }
        }
        Err(error) => Err(error),
    }
}

/// An echo request. The kernel sets the identifier of one socket's and the checksum of the other's.
fn request(kind: u8, token: [u8; 8]) -> [u8; HEADER + 8] {
    let mut packet = [0; HEADER + 8];
    packet[0] = kind;
    packet[7] = 1;
    packet[HEADER..].copy_from_slice(&token);
    let mut sum: u32 = packet
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    packet[2] = high;
    packet[3] = low;
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_makes_the_sum_all_ones() {
        for token in [[0; 8], [0xff; 8], *b"checksum"] {
            let packet = request(8, token);
            let sum: u32 = packet
                .chunks_exact(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }
}
