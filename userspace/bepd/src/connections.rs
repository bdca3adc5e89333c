// SPDX-License-Identifier: GPL-2.0

//! The connection monitor (F9): which of a list of connections are live, in any network namespace.
//!
//! A TCP connection is live until it is closed; one in TIME_WAIT is over. A UDP connection is live
//! while a socket is connected so, or one is bound to its port that takes what comes from anyone.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fep_protocol::{Connection, Transport};
use nix::sched::{setns, CloneFlags};

use crate::diag::{self, Socket};

/// The connections that are asked about.
struct Asked {
    connections: HashMap<(Transport, SocketAddr, SocketAddr), Vec<usize>>,
    ports: HashMap<u16, Vec<(SocketAddr, usize)>>,
    live: Vec<bool>,
}

impl Asked {
    fn new(list: &[Connection]) -> Self {
        let mut asked = Self {
            connections: HashMap::new(),
            ports: HashMap::new(),
            live: vec![false; list.len()],
        };
        for (place, connection) in list.iter().enumerate() {
            let (local, peer) = (plain(connection.local), plain(connection.peer));
            let same = asked.connections.entry((connection.transport, local, peer));
            same.or_default().push(place);
            if connection.transport == Transport::Udp {
                let port = asked.ports.entry(local.port()).or_default();
                port.push((local, place));
            }
        }
        asked
    }

    fn found(&mut self, socket: Socket) {
        let local = socket.local.ip();
        match (socket.peer, socket.transport) {
            (Some(peer), transport) => {
                let key = (transport, plain(socket.local), plain(peer));
                for &place in self.connections.get(&key).into_iter().flatten() {
                    self.live[place] = true;
                }
            }
            (None, Transport::Udp) => {
                let bound = self.ports.get(&socket.local.port());
                for &(asked, place) in bound.into_iter().flatten() {
                    // One of IPv6 without an address takes IPv4 as well.
                    let any = local.is_unspecified() && (local.is_ipv6() || asked.is_ipv4());
                    if any || local == asked.ip() {
                        self.live[place] = true;
                    }
                }
            }
            (None, _) => {}
        }
    }
}

/// An IPv4 address as such, and nothing beyond address and port.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether each connection is live. With `namespaces`, connections of all network namespaces that a
/// process is in are looked for; takes as long as the kernel needs to list their sockets.
///
/// # Errors
///
/// When the kernel does not tell, or a namespace cannot be looked into: a connection in it would
/// else seem dead.
pub(crate) fn live(list: &[Connection], namespaces: bool) -> io::Result<Vec<bool>> {
    let mut asked = Asked::new(list);
    diag::sockets(|socket| asked.found(socket))?;
    if namespaces {
        for namespace in others(Path::new("/proc"))? {
            // In a thread of its own, which ends in that namespace.
            let looked = std::thread::scope(|scope| {
                let look = || {
                    setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                    diag::sockets(|socket| asked.found(socket))
                };
                scope.spawn(look).join()
            });
            looked
                .unwrap_or_else(|_| Err(io::Error::other("it panicked")))
                .map_err(|error| about_namespaces("cannot look into one", &error))?;
        }
    }
    Ok(asked.live)
}

/// The network namespaces of processes, without the own one.
fn others(proc: &Path) -> io::Result<Vec<File>> {
    let id = |file: &std::fs::Metadata| (file.dev(), file.ino());
    let mut known = HashSet::from([id(&std::fs::metadata(proc.join("self/ns/net"))?)]);
    let mut others = Vec::new();
    for entry in std::fs::read_dir(proc)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes()[0].is_ascii_digit() {
            continue;
        }
        let path = entry.path().join("ns/net");
        let opened = std::fs::metadata(&path).and_then(|found| {
            let new = known.insert(id(&found));
            new.then(|| File::open(&path)).transpose()
        });
        match opened {
            Ok(file) => others.extend(file),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(about_namespaces(&path.display().to_string(), &error)),
        }
    }
    Ok(others)
}

/// Whether a process has ended meanwhile.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32)
}

fn about_namespaces(what: &str, error: &io::Error) -> io::Error {
    let needed = "CAP_SYS_ADMIN and CAP_SYS_PTRACE are needed, or namespaces = false";
    let text = format!("network namespaces: {what}: {error} ({needed})");
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn connection(transport: Transport, local: SocketAddr, peer: SocketAddr) -> Connection {
        Connection {
            transport,
            local,
            peer,
        }
    }

    fn is_live(transport: Transport, local: SocketAddr, peer: SocketAddr) -> bool {
        live(&[connection(transport, local, peer)], false).unwrap()[0]
    }

    fn tcp(at: &str) {
        let listener = TcpListener::bind(at).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let local = server.local_addr().unwrap();
        assert!(is_live(Transport::Tcp, local, peer));
        assert!(!is_live(Transport::Udp, local, peer));
        let other = SocketAddr::new(peer.ip(), peer.port() ^ 1);
        assert!(!is_live(Transport::Tcp, local, other));
        // The end that closes first is in TIME_WAIT afterwards, the other one gone.
        drop(server);
        drop(client);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while is_live(Transport::Tcp, local, peer) {
            assert!(std::time::Instant::now() < end, "still live");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn tcp_is_live_until_closed() {
        tcp("127.0.0.1:0");
        tcp("[::1]:0");
    }

    #[test]
    fn udp_is_live_while_someone_takes_it() {
        let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
        for at in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let server = UdpSocket::bind(at).unwrap();
            let local = SocketAddr::new(
                "127.0.0.1".parse().unwrap(),
                server.local_addr().unwrap().port(),
            );
            assert!(is_live(Transport::Udp, local, peer), "{at}");
            assert!(!is_live(Transport::Tcp, local, peer), "{at}");
            drop(server);
            assert!(!is_live(Transport::Udp, local, peer), "{at}");
        }
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.connect(peer).unwrap();
        let local = server.local_addr().unwrap();
        assert!(is_live(Transport::Udp, local, peer));
        let other = "127.0.0.1:10".parse().unwrap();
        assert!(!is_live(Transport::Udp, local, other));
    }

    #[test]
    fn a_socket_of_ipv4_takes_nothing_of_ipv6() {
        let local: SocketAddr = "[2001:db8::1]:53".parse().unwrap();
        let peer = "[2001:db8::2]:9".parse().unwrap();
        let mut asked = Asked::new(&[connection(Transport::Udp, local, peer)]);
        asked.found(Socket {
            transport: Transport::Udp,
            local: "0.0.0.0:53".parse().unwrap(),
            peer: None,
        });
        assert_eq!(asked.live, [false]);
        asked.found(Socket {
            transport: Transport::Udp,
            local,
            peer: None,
        });
        assert_eq!(asked.live, [true]);
    }

    #[test]
    fn the_order_is_that_of_the_list() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = server.local_addr().unwrap();
        let peer = "127.0.0.1:9".parse().unwrap();
        let yes = connection(Transport::Udp, local, peer);
        let no = connection(Transport::Tcp, local, peer);
        let answer = live(&[no, yes, yes, no], false).unwrap();
        assert_eq!(answer, [false, true, true, false]);
        assert!(live(&[], false).unwrap().is_empty());
    }
}
