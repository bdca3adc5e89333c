// SPDX-License-Identifier: GPL-2.0

//! The connecting end: fepd's.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{split, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

use crate::frame::{self, FRAME_MAX, HELLO_MAX, WRITE_LIMIT};
use crate::{common_version, Error, FromAgent, Identity, ToAgent, VERSION_MAX, VERSION_MIN};

/// A link to the agent of a node.
#[derive(Debug)]
pub struct AgentClient {
    /// The version that is spoken.
    pub protocol: u32,
    /// Version of the agent.
    pub agent_version: String,
    /// What the agent can do.
    pub features: Vec<String>,
    reader: AgentReader,
    writer: AgentWriter,
}

impl AgentClient {
    /// Connects to the agent of `node`, whose certificate must have that name, and says hello.
    ///
    /// # Errors
    ///
    /// [`Error::TooSlow`] when it is not done within `limit`; [`Error::Io`] when there is no
    /// connection or the certificate is not right; [`Error::Refused`] when the agent does not want
    /// this front-end; [`Error::Version`] and [`Error::OutOfPlace`] when it answers strangely.
    pub async fn connect(
        address: SocketAddr,
        node: &str,
        identity: &Identity,
        program_version: &str,
        limit: Duration,
    ) -> Result<Self, Error> {
        let greeting = Self::greet(address, node, identity, program_version);
        timeout(limit, greeting).await.map_err(|_| Error::TooSlow {
            what: "welcome of the agent",
            ms: limit.as_millis(),
        })?
    }

    async fn greet(
        address: SocketAddr,
        node: &str,
        identity: &Identity,
        program_version: &str,
    ) -> Result<Self, Error> {
        let name = ServerName::try_from(node.to_owned()).map_err(|_| {
            Error::Certificates(format!("{node}: not a name that a certificate can have"))
        })?;
        let connector = TlsConnector::from(identity.client()?);
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let mut stream = connector.connect(name, tcp).await?;
        let hello = ToAgent::Hello {
            protocol_min: VERSION_MIN,
            protocol_max: VERSION_MAX,
            node: node.to_owned(),
            program_version: program_version.to_owned(),
        };
        frame::write(&mut stream, &hello, HELLO_MAX).await?;
        match frame::read(&mut stream, HELLO_MAX).await? {
            Some(FromAgent::Welcome {
                protocol,
                agent_version,
                features,
                ..
            }) => {
                if common_version(protocol, protocol).is_none() {
                    return Err(Error::Version {
                        min: protocol,
                        max: protocol,
                    });
                }
                let (reader, writer) = split(stream);
                Ok(Self {
                    protocol,
                    agent_version,
                    features,
                    reader: AgentReader(reader),
                    writer: AgentWriter(writer),
                })
            }
            Some(FromAgent::Refused { why }) => Err(Error::Refused { why }),
            Some(_) => Err(Error::OutOfPlace {
                expected: "a welcome",
            }),
            None => Err(Error::Refused {
                why: "it closed the link without a word".to_owned(),
            }),
        }
    }

    /// The two directions, which can be used at the same time.
    pub fn split(self) -> (AgentReader, AgentWriter) {
        (self.reader, self.writer)
    }
}

/// What comes from the agent.
#[derive(Debug)]
pub struct AgentReader(ReadHalf<TlsStream<TcpStream>>);

impl AgentReader {
    /// The next message; none when the agent has closed the link. A call that is dropped before it
    /// is done loses its place in the stream: read in a task of its own.
    ///
    /// # Errors
    ///
    /// As [`frame::read`].
    pub async fn read(&mut self) -> Result<Option<FromAgent>, Error> {
        frame::read(&mut self.0, FRAME_MAX).await
    }
}

/// What goes to the agent.
#[derive(Debug)]
pub struct AgentWriter(WriteHalf<TlsStream<TcpStream>>);

impl AgentWriter {
    /// Sends a message.
    ///
    /// # Errors
    ///
    /// As [`frame::write_within`].
    pub async fn write(&mut self, message: &ToAgent) -> Result<(), Error> {
        frame::write_within(&mut self.0, message, FRAME_MAX, WRITE_LIMIT).await
    }
}
