// SPDX-License-Identifier: GPL-2.0

//! The sockets of one network namespace, asked of the kernel through sock_diag.
//!
//! C header: [`include/uapi/linux/inet_diag.h`](srctree/include/uapi/linux/inet_diag.h)

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use fep_protocol::Transport;
use nix::sys::socket::{
    recv, sendto, socket, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
/// Sizes of `nlmsghdr`, of it with `inet_diag_req_v2`, and of `inet_diag_msg`, in bytes.
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
const MESSAGE: usize = 72;
/// States of TCP, by their numbers, in which there is no connection any more or not one at all:
/// TIME_WAIT, CLOSE and LISTEN.
const NO_CONNECTION: u32 = (1 << 6) | (1 << 7) | (1 << 10);
/// The kernel fills no larger datagram than this when it is offered so much.
const BUFFER: usize = 32 << 10;

/// A socket. Without a peer it takes what comes from anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) transport: Transport,
    pub(crate) local: SocketAddr,
    pub(crate) peer: Option<SocketAddr>,
}

/// Gives `found` every TCP connection and UDP socket of the calling thread's network namespace.
pub(crate) fn sockets(mut found: impl FnMut(Socket)) -> io::Result<()> {
    for transport in [Transport::Tcp, Transport::Udp] {
        for family in [AF_INET, AF_INET6] {
            dump(transport, family, &mut found)?;
        }
    }
    Ok(())
}

fn dump(transport: Transport, family: u8, found: &mut impl FnMut(Socket)) -> io::Result<()> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let kernel = NetlinkAddr::new(0, 0);
    let request = request(transport, family);
    sendto(netlink.as_raw_fd(), &request, &kernel, MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let size = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)?;
        let datagram = buffer.get(..size).ok_or_else(|| garbled("too large"))?;
        if datagram.is_empty() || answer(transport, datagram, found)? {
            return Ok(());
        }
    }
}

fn request(transport: Transport, family: u8) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    let (protocol, states) = match transport {
        Transport::Tcp => (IPPROTO_TCP, !NO_CONNECTION),
        Transport::Udp => (IPPROTO_UDP, !0),
    };
    request[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    request[HEADER] = family;
    request[HEADER + 1] = protocol;
    request[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
    request
}

/// Reads the messages of a datagram. Whether it was the last one.
fn answer(
    transport: Transport,
    mut datagram: &[u8],
    found: &mut impl FnMut(Socket),
) -> io::Result<bool> {
    while let Some((header, rest)) = datagram.split_at_checked(HEADER) {
        let length = usize::try_from(u32_at(header, 0)).unwrap_or(usize::MAX);
        let body = length.checked_sub(HEADER).and_then(|size| rest.get(..size));
        let body = body.ok_or_else(|| garbled("a length beyond its end"))?;
        match u16::from_ne_bytes([header[4], header[5]]) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = body
                    .first_chunk()
                    .map_or(0, |code| i32::from_ne_bytes(*code));
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            SOCK_DIAG_BY_FAMILY => found(one(transport, body)?),
            _ => {}
        }
        datagram = rest.get(body.len().next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(false)
}

fn one(transport: Transport, message: &[u8]) -> io::Result<Socket> {
    let message: &[u8; MESSAGE] = message
        .first_chunk()
        .ok_or_else(|| garbled("a short socket"))?;
    let port = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let address = |at: usize| -> IpAddr {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&message[at..at + 16]);
        match message[0] {
            AF_INET => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
            _ => Ipv6Addr::from(bytes).to_canonical(),
        }
    };
    let peer = SocketAddr::new(address(24), port(6));
    Ok(Socket {
        transport,
        local: SocketAddr::new(address(8), port(4)),
        peer: (peer.port() != 0).then_some(peer),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn garbled(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("sock_diag: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut ignore = |_| {};
        assert!(!answer(Transport::Tcp, &[0; 15], &mut ignore).unwrap());
        for (length, kind) in [(15_u32, 20_u16), (17, 20), (16, 20), (u32::MAX, 20)] {
            let mut datagram = [0; HEADER];
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            datagram[4..6].copy_from_slice(&kind.to_ne_bytes());
            assert!(answer(Transport::Tcp, &datagram, &mut ignore).is_err());
        }
    }

    #[test]
    fn the_kernels_error_is_told() {
        let mut datagram = [0; HEADER + 4];
        datagram[0] = 20;
        datagram[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        datagram[HEADER..].copy_from_slice(&(-2_i32).to_ne_bytes());
        let error = answer(Transport::Tcp, &datagram, &mut |_| {}).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(2));
    }
}
