// SPDX-License-Identifier: GPL-2.0

//! fepd's end of the socket: every request becomes a [`Call`] that the daemon's loop answers.
//!
//! Whoever connects costs a bounded amount: of connections, of memory for each, and of time without
//! a word. Only root and the user that the daemon runs as are heard.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Plain;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::line::{self, Bad};
use crate::{Answer, Hello, Reason, Request, ANSWER_MAX, REQUEST_MAX};

/// So many are connected at once.
const CONNECTIONS_MAX: usize = 64;

/// Who says nothing, or takes nothing, for so long is dropped.
const IDLE: Duration = Duration::from_secs(60);

/// After an error of the listening socket it is left alone for so long.
const PAUSE: Duration = Duration::from_millis(100);

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Call {
    /// What is asked for.
    pub request: Request,
    reply: oneshot::Sender<Answer>,
}

impl Call {
    /// Answers. Whoever asked may have gone meanwhile.
    pub fn answer(self, answer: Answer) {
        let _ = self.reply.send(answer);
    }
}

/// The socket. Its file goes with it.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
    /// The user that the daemon runs as.
    user: u32,
    /// Which file it is: another daemon's that took its place stays.
    inode: u64,
}

impl Listener {
    /// Listens at a path; makes its folder where there is none. A socket that nobody listens at any
    /// more is replaced. Runs inside a runtime of tokio.
    ///
    /// # Errors
    ///
    /// Somebody listens there, it is not a socket, or it cannot be made.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(named)?;
        }
        match Plain::connect(path) {
            Ok(_) => {
                let error = io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there");
                return Err(named(error));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                use std::os::unix::fs::FileTypeExt;
                if !fs::symlink_metadata(path)
                    .map_err(named)?
                    .file_type()
                    .is_socket()
                {
                    return Err(named(io::Error::other("is there, and is not a socket")));
                }
                fs::remove_file(path).map_err(named)?;
            }
            Err(error) => return Err(named(error)),
        }
        let listener = UnixListener::bind(path).map_err(named)?;
        // Whoever connects before this is told apart by who he is.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(named)?;
        let made = fs::symlink_metadata(path).map_err(named)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            user: made.uid(),
            inode: made.ino(),
        })
    }

    async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let user = stream.peer_cred()?.uid();
            if user == 0 || user == self.user {
                return Ok(stream);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| now.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Serves until nobody takes the calls any more; `program` is what fepd calls itself. A call whose
/// answer is dropped closes its connection.
pub async fn serve(listener: Listener, program: &str, calls: mpsc::Sender<Call>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = calls.closed() => return,
            Some(_) = connections.join_next() => {}
            stream = listener.accept() => match stream {
                Ok(stream) => {
                    let busy = connections.len() >= CONNECTIONS_MAX;
                    if busy {
                        refuse(&stream);
                    } else {
                        connections.spawn(talk(stream, Hello::new(program), calls.clone()));
                    }
                }
                // For instance no more files may be opened.
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
        }
    }
}

/// Says that too many are connected, if that takes no waiting.
fn refuse(stream: &UnixStream) {
    let message = format!("{CONNECTIONS_MAX} are connected already");
    let answer = Answer::refused(Reason::Busy, message);
    if let Ok(Some(line)) = line::encode(&answer, REQUEST_MAX) {
        let _ = stream.try_write(&line);
    }
}

/// Serves one that is connected, until it or time ends it.
async fn talk(stream: UnixStream, own: Hello, calls: mpsc::Sender<Call>) {
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    let Some(Ok(hello)) = read::<Hello>(&mut from).await else {
        return;
    };
    if !write(&mut to, &own).await || !hello.understood() {
        return;
    }
    while let Some(request) = read(&mut from).await {
        let (answer, last) = match request {
            Ok(request) => {
                let (reply, answer) = oneshot::channel();
                if calls.send(Call { request, reply }).await.is_err() {
                    return;
                }
                let Ok(answer) = answer.await else { return };
                (answer, false)
            }
            // A line was read to its end: the next one is where it should be.
            Err(Bad::Malformed(error)) => (
                Answer::refused(
                    Reason::Unsupported,
                    format!("this fepd knows no such request: {error}"),
                ),
                false,
            ),
            Err(_) => (
                Answer::refused(
                    Reason::BadInput,
                    format!("a request has more than {REQUEST_MAX} bytes"),
                ),
                true,
            ),
        };
        if !write(&mut to, &answer).await || last {
            return;
        }
    }
}

/// Reads a line; none when nothing more will come.
async fn read<T: DeserializeOwned>(from: &mut BufReader<OwnedReadHalf>) -> Option<Result<T, Bad>> {
    let mut line = Vec::new();
    let max = u64::try_from(REQUEST_MAX).unwrap_or(u64::MAX);
    let mut bounded = from.take(max);
    let read = timeout(IDLE, bounded.read_until(b'\n', &mut line)).await;
    match read {
        Ok(Ok(_)) => match line::decode(&line, REQUEST_MAX) {
            Err(Bad::Closed | Bad::Io(_)) => None,
            line => Some(line),
        },
        Ok(Err(_)) | Err(_) => None,
    }
}

/// Writes a line; returns whether it went.
async fn write(to: &mut OwnedWriteHalf, message: &impl Serialize) -> bool {
    let line = match line::encode(message, ANSWER_MAX) {
        Ok(Some(line)) => line,
        Ok(None) => {
            let message = format!("the answer has more than {ANSWER_MAX} bytes");
            match line::encode(&Answer::refused(Reason::Other, message), ANSWER_MAX) {
                Ok(Some(line)) => line,
                _ => return false,
            }
        }
        Err(_) => return false,
    };
    matches!(timeout(IDLE, to.write_all(&line)).await, Ok(Ok(())))
}
