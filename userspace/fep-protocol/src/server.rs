// SPDX-License-Identifier: GPL-2.0

//! The accepting end: the agent's.
//!
//! Until a peer has shown its certificate and said hello it holds one of a bounded number of places.
//! When all are taken the oldest makes room: a front-end needs its place for a moment only, so
//! those who keep theirs cannot keep it out. A front-end that comes again takes its own place.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{split, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout, Instant};
use tokio_rustls::server::TlsStream;
use tokio_rustls::TlsAcceptor;

use crate::frame::{self, FRAME_MAX, HELLO_MAX, WRITE_LIMIT};
use crate::identity::names;
use crate::{common_version, Error, FromAgent, Identity, ToAgent};

/// So many addresses are remembered as refused; more are refused without a line.
const REMEMBERED: usize = 1024;

/// What unknown peers may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time until a peer must have said hello.
    pub greeting: Duration,
    /// Peers that have not said hello yet.
    pub half_open: usize,
    /// Refusals of one address are told once in this time.
    pub tell_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(10),
            half_open: 64,
            tell_every: Duration::from_secs(60),
        }
    }
}

/// Is told of a refused peer.
type Tell = dyn Fn(IpAddr, &Error) + Send + Sync;

/// Accepts the configured front-ends.
pub struct Server {
    acceptor: TlsAcceptor,
    node: String,
    agent_version: String,
    features: Vec<String>,
    front_ends: Vec<String>,
    limits: Limits,
    tell: Box<Tell>,
    refused: Mutex<HashMap<IpAddr, Instant>>,
    half_open: Mutex<VecDeque<(u64, IpAddr, AbortHandle)>>,
    links: Mutex<HashMap<String, AbortHandle>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("node", &self.node)
            .field("front_ends", &self.front_ends)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Makes the server of `node`, which obeys `front_ends` alone; `tell` is told of refused peers.
    ///
    /// # Errors
    ///
    /// [`Error::Certificates`] when the identity is unusable or not one of `node`.
    pub fn new(
        identity: &Identity,
        node: &str,
        agent_version: &str,
        features: &[&str],
        front_ends: &[String],
        limits: Limits,
        tell: impl Fn(IpAddr, &Error) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let found = identity.names();
        if !found.iter().any(|name| name == node) {
            return Err(Error::WrongName {
                found: list(&found),
                wanted: node.to_owned(),
            });
        }
        Ok(Self {
            acceptor: TlsAcceptor::from(identity.server()?),
            node: node.to_owned(),
            agent_version: agent_version.to_owned(),
            features: features.iter().map(|&name| name.to_owned()).collect(),
            front_ends: front_ends.to_vec(),
            limits,
            tell: Box::new(tell),
            refused: Mutex::default(),
            half_open: Mutex::default(),
            links: Mutex::default(),
        })
    }

    /// Peers that have not said hello yet.
    pub fn half_open(&self) -> usize {
        locked(&self.half_open).len()
    }

    /// Ends all links, and those that are not made yet. For after [`serve`](Self::serve) has been
    /// dropped.
    pub fn close(&self) {
        for (_, _, waiting) in locked(&self.half_open).drain(..) {
            waiting.abort();
        }
        for (_, link) in locked(&self.links).drain() {
            link.abort();
        }
    }

    /// Accepts for ever; `link` is what is done with a front-end that is welcome.
    pub async fn serve<F, L>(self: Arc<Self>, listener: TcpListener, link: F)
    where
        F: Fn(Peer) -> L + Send + Sync + 'static,
        L: Future<Output = ()> + Send + 'static,
    {
        let link = Arc::new(link);
        for number in 0_u64.. {
            let (tcp, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(_) => {
                    // Out of file descriptors, most likely: others must close theirs first.
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (server, link) = (self.clone(), link.clone());
            // Held until the task is in the list, so that it cannot look for itself too early.
            let mut waiting = locked(&self.half_open);
            if waiting.len() >= self.limits.half_open.max(1) {
                if let Some((_, from, oldest)) = waiting.pop_front() {
                    oldest.abort();
                    self.refuse(from, &Error::Crowded);
                }
            }
            let task =
                tokio::spawn(async move { server.admit(number, tcp, address, &*link).await });
            waiting.push_back((number, address.ip(), task.abort_handle()));
        }
    }

    async fn admit<F, L>(&self, number: u64, tcp: TcpStream, address: SocketAddr, link: &F)
    where
        F: Fn(Peer) -> L,
        L: Future<Output = ()> + Send + 'static,
    {
        let limit = self.limits.greeting;
        let greeted = timeout(limit, self.greet(tcp, address))
            .await
            .unwrap_or(Err(Error::TooSlow {
                what: "hello",
                ms: limit.as_millis(),
            }));
        locked(&self.half_open).retain(|(waiting, ..)| *waiting != number);
        match greeted {
            Ok(peer) => {
                let name = peer.name.clone();
                let task = tokio::spawn(link(peer));
                if let Some(before) = locked(&self.links).insert(name, task.abort_handle()) {
                    before.abort();
                }
            }
            Err(error) => self.refuse(address.ip(), &error),
        }
    }

    async fn greet(&self, tcp: TcpStream, address: SocketAddr) -> Result<Peer, Error> {
        tcp.set_nodelay(true)?;
        let mut stream = self.acceptor.accept(tcp).await?;
        let certificate = stream.get_ref().1.peer_certificates();
        let found = certificate.and_then(<[_]>::first).map(names);
        let found = found.unwrap_or_default();
        let name = found.iter().find(|name| self.front_ends.contains(name));
        let name = name.cloned();
        // It is read first: closing with something unread could take the refusal from the wire.
        let Some(ToAgent::Hello {
            protocol_min: min,
            protocol_max: max,
            node,
            ..
        }) = frame::read(&mut stream, HELLO_MAX).await?
        else {
            return Err(Error::OutOfPlace { expected: "hello" });
        };
        let Some(name) = name else {
            self.say_no(&mut stream, "not a front-end of this node")
                .await;
            return Err(Error::WrongName {
                found: list(&found),
                wanted: list(&self.front_ends),
            });
        };
        if node != self.node {
            self.say_no(&mut stream, "this is another node").await;
            return Err(Error::WrongName {
                found: self.node.clone(),
                wanted: node,
            });
        }
        let Some(protocol) = common_version(min, max) else {
            self.say_no(&mut stream, "no common version of the protocol")
                .await;
            return Err(Error::Version { min, max });
        };
        let welcome = FromAgent::Welcome {
            protocol,
            node: self.node.clone(),
            agent_version: self.agent_version.clone(),
            features: self.features.clone(),
        };
        frame::write(&mut stream, &welcome, HELLO_MAX).await?;
        let (reader, writer) = split(stream);
        Ok(Peer {
            name,
            address,
            protocol,
            reader: PeerReader(reader),
            writer: PeerWriter(writer),
        })
    }

    async fn say_no(&self, stream: &mut TlsStream<TcpStream>, why: &str) {
        let why = why.to_owned();
        // It is refused either way; that it cannot be told changes nothing.
        let _ = frame::write(stream, &FromAgent::Refused { why }, HELLO_MAX).await;
        let _ = tokio::io::AsyncWriteExt::shutdown(stream).await;
    }

    fn refuse(&self, address: IpAddr, error: &Error) {
        let now = Instant::now();
        let mut refused = locked(&self.refused);
        let told = |at: &Instant| now.duration_since(*at) < self.limits.tell_every;
        if refused.get(&address).is_some_and(told) {
            return;
        }
        refused.retain(|_, at| told(at));
        if refused.len() < REMEMBERED {
            refused.insert(address, now);
            drop(refused);
            (self.tell)(address, error);
        }
    }
}

/// A front-end that is welcome.
#[derive(Debug)]
pub struct Peer {
    /// The name in its certificate.
    pub name: String,
    /// Where it connects from.
    pub address: SocketAddr,
    /// The version that is spoken.
    pub protocol: u32,
    reader: PeerReader,
    writer: PeerWriter,
}

impl Peer {
    /// The two directions, which can be used at the same time.
    pub fn split(self) -> (PeerReader, PeerWriter) {
        (self.reader, self.writer)
    }
}

/// What comes from a front-end.
#[derive(Debug)]
pub struct PeerReader(ReadHalf<TlsStream<TcpStream>>);

impl PeerReader {
    /// The next message; none when the front-end has closed the link. A call that is dropped before
    /// it is done loses its place in the stream: read in a task of its own.
    ///
    /// # Errors
    ///
    /// As [`frame::read`].
    pub async fn read(&mut self) -> Result<Option<ToAgent>, Error> {
        frame::read(&mut self.0, FRAME_MAX).await
    }
}

/// What goes to a front-end.
#[derive(Debug)]
pub struct PeerWriter(WriteHalf<TlsStream<TcpStream>>);

impl PeerWriter {
    /// Sends a message.
    ///
    /// # Errors
    ///
    /// As [`frame::write_within`].
    pub async fn write(&mut self, message: &FromAgent) -> Result<(), Error> {
        frame::write_within(&mut self.0, message, FRAME_MAX, WRITE_LIMIT).await
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        names => names.join(", "),
    }
}

/// Nothing panics while holding one, so what is behind a poisoned lock is whole.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
