// SPDX-License-Identifier: GPL-2.0

//! fepctl's end of the socket.

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::line::{self, Bad};
use crate::{Answer, Hello, Request, ANSWER_MAX, OLDEST, REQUEST_MAX, VERSION};

/// Why fepd was not heard.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("{}: nobody listens; is fepd running? (systemctl start fepd; --socket for another socket)", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The caller may not speak to it.
    #[error("{}: not permitted; fepd obeys root and the user it runs as", socket.display())]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
    },
    /// It speaks another version.
    #[error("{}: {program} speaks version {version} of the protocol, this program {OLDEST} to {VERSION}", socket.display())]
    Version {
        /// The socket.
        socket: PathBuf,
        /// What it calls itself.
        program: String,
        /// The version that it speaks.
        version: u32,
    },
    /// It does not want to talk, since for instance too many are connected.
    #[error("{}: {message}", socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// What it says.
        message: String,
    },
    /// What is asked does not fit into a request.
    #[error("the request is longer than {REQUEST_MAX} bytes")]
    TooLong,
    /// It closed without an answer.
    #[error("{}: fepd closed without an answer", socket.display())]
    Closed {
        /// The socket.
        socket: PathBuf,
    },
    /// It did not answer in time.
    #[error("{}: fepd did not answer within {} s", socket.display(), limit.as_secs_f64())]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// The time.
        limit: Duration,
    },
    /// It is not fepd, or not one that is understood.
    #[error("{}: what came is not an answer of fepd: {why}", socket.display())]
    Garbled {
        /// The socket.
        socket: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Something else of the system.
    #[error("{}: {source}", socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// The first line that comes.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum First {
    Hello(Hello),
    Answer(Answer),
}

/// A connection to fepd.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    limit: Duration,
    stream: BufReader<UnixStream>,
    hello: Hello,
}

impl Client {
    /// Connects as a program of that name; nothing of it may take longer than `limit`, which is not 0.
    ///
    /// # Errors
    ///
    /// Each of [`Error`] but [`Error::TooLong`].
    pub fn connect(socket: &Path, program: &str, limit: Duration) -> Result<Self, Error> {
        let failed = |error| of_io(socket, limit, error);
        let stream = UnixStream::connect(socket).map_err(failed)?;
        stream.set_read_timeout(Some(limit)).map_err(failed)?;
        stream.set_write_timeout(Some(limit)).map_err(failed)?;
        let mut client = Self {
            socket: socket.to_owned(),
            limit,
            stream: BufReader::new(stream),
            hello: Hello::new(program),
        };
        // One that refuses, for instance since too many are connected, says why and closes without
        // reading this: what it said is read all the same.
        let sent = client.send(&Hello::new(program));
        let first: First = client.receive().map_err(|error| match sent {
            Err(unsent) if matches!(error, Error::Closed { .. }) => unsent,
            _ => error,
        })?;
        let socket = socket.to_owned();
        let hello = match first {
            First::Hello(hello) => hello,
            First::Answer(Answer::Refused { message, .. }) => {
                return Err(Error::Refused { socket, message })
            }
            First::Answer(_) => {
                let why = "an answer before a greeting".to_owned();
                return Err(Error::Garbled { socket, why });
            }
        };
        if !hello.understood() {
            return Err(Error::Version {
                socket,
                program: hello.program,
                version: hello.version,
            });
        }
        client.hello = hello;
        Ok(client)
    }

    /// What fepd said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Asks for something.
    ///
    /// # Errors
    ///
    /// Each of [`Error`] but those of connecting. Whether it was done is not known then; the
    /// connection cannot be used after it.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, Error> {
        let sent = self.send(request);
        if let Err(error @ Error::TooLong) = sent {
            return Err(error);
        }
        match (self.receive(), sent) {
            (Err(Error::Closed { .. }), Err(unsent)) => Err(unsent),
            (answer, _) => answer,
        }
    }

    fn send(&mut self, message: &impl serde::Serialize) -> Result<(), Error> {
        let failed = |error| of_io(&self.socket, self.limit, error);
        let line = line::encode(message, REQUEST_MAX).map_err(failed)?;
        let line = line.ok_or(Error::TooLong)?;
        self.stream.get_mut().write_all(&line).map_err(failed)
    }

    fn receive<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Error> {
        let socket = || self.socket.clone();
        line::read(&mut self.stream, ANSWER_MAX).map_err(|bad| match bad {
            Bad::Closed => Error::Closed { socket: socket() },
            Bad::TooLong => Error::Garbled {
                socket: socket(),
                why: format!("a line of more than {ANSWER_MAX} bytes"),
            },
            Bad::Malformed(error) => Error::Garbled {
                socket: socket(),
                why: error.to_string(),
            },
            Bad::Io(error) => of_io(&self.socket, self.limit, error),
        })
    }
}

fn of_io(socket: &Path, limit: Duration, source: io::Error) -> Error {
    let socket = socket.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning { socket },
        io::ErrorKind::PermissionDenied => Error::NotPermitted { socket },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Silent { socket, limit },
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Error::Closed { socket },
        _ => Error::Io { socket, source },
    }
}
