// SPDX-License-Identifier: GPL-2.0

//! Runs commands in a guest for the harness outside, over one virtio-serial port.
//!
//! Everything on the port is a frame: command number (u32), kind (u8), length (u32), all little
//! endian, then that many bytes. Commands run side by side; their output comes back as it is
//! written. The other end is `qemu/channel.py`; the constants below are its own.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// To the guest: run a command; see [`Request`] for what it holds.
const EXEC: u8 = 1;
/// To the guest: bytes for the command's standard input; none at all closes it.
const STDIN: u8 = 2;
/// To the guest: a signal for the command's process group, its number in decimal.
const SIGNAL: u8 = 3;
/// From the guest: the agent is there. Command number 0.
const READY: u8 = 16;
/// From the guest: bytes of the command's standard output.
const STDOUT: u8 = 17;
/// From the guest: bytes of the command's standard error.
const STDERR: u8 = 18;
/// From the guest: the command has ended; its status in decimal, 128 + n for signal n.
const EXIT: u8 = 19;

/// Frames longer than this cannot be meant: the two ends are out of step.
const MAX_FRAME: u32 = 1 << 24;

/// The port, written by many threads, a whole frame at a time.
type Port = Arc<Mutex<File>>;

fn send(port: &Port, id: u32, kind: u8, data: &[u8]) {
    let mut frame = Vec::with_capacity(9 + data.len());
    frame.extend_from_slice(&id.to_le_bytes());
    frame.push(kind);
    frame.extend_from_slice(&(data.len() as u32).to_le_bytes());
    frame.extend_from_slice(data);
    if let Ok(mut file) = port.lock() {
        // Nobody is left to tell when the port itself fails.
        let _ = file.write_all(&frame);
    }
}

/// Fills `buf`. A port nobody holds open outside reads as ended; it is waited for.
fn read_exact(port: &mut File, buf: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match port.read(&mut buf[done..]) {
            Ok(0) => thread::sleep(Duration::from_millis(20)),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// What an EXEC frame asks for: NUL-separated flags, directory, number of environment
/// entries, these as `NAME=VALUE`, and the argument vector.
struct Request {
    /// `i`: standard input is sent (else /dev/null); `m`: standard error goes where output goes.
    flags: String,
    dir: String,
    env: Vec<(String, String)>,
    argv: Vec<String>,
}

impl Request {
    fn parse(data: &[u8]) -> Option<Self> {
        let text = String::from_utf8(data.to_vec()).ok()?;
        let mut fields = text.split('\0').map(str::to_owned);
        let flags = fields.next()?;
        let dir = fields.next()?;
        let count: usize = fields.next()?.parse().ok()?;
        let mut env = Vec::new();
        for _ in 0..count {
            let (name, value) = fields
                .next()?
                .split_once('=')
                .map(|(n, v)| (n.to_owned(), v.to_owned()))?;
            env.push((name, value));
        }
        let argv: Vec<String> = fields.collect();
        (!argv.is_empty()).then_some(Self {
            flags,
            dir,
            env,
            argv,
        })
    }

    fn spawn(&self) -> io::Result<Child> {
        let merged = self.flags.contains('m');
        let mut command = if merged {
            // One pipe for both keeps them in the order they were written.
            let mut shell = Command::new("/bin/sh");
            shell
                .args(["-c", "exec \"$@\" 2>&1", "sh"])
                .args(&self.argv);
            shell
        } else {
            let mut direct = Command::new(&self.argv[0]);
            direct.args(&self.argv[1..]);
            direct
        };
        command.envs(self.env.iter().map(|(n, v)| (n, v)));
        command.current_dir(&self.dir);
        command.stdin(if self.flags.contains('i') {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        command.stdout(Stdio::piped());
        command.stderr(if merged {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        command.process_group(0);
        command.spawn()
    }
}

/// Where a stream ends although processes left behind by the command still hold it: the agent
/// itself writes this into the pipe once the command is gone.
fn marker(id: u32, kind: u8) -> Vec<u8> {
    format!("\0\u{1}\u{2}fep-agent end of stream {kind} of command {id}\u{2}\u{1}\0").into_bytes()
}

/// Forwards a stream up to its marker or end, then swallows what may still come.
struct Stream {
    end: File,
    marker: Vec<u8>,
    thread: thread::JoinHandle<()>,
}

impl Stream {
    fn start<R: Read + AsRawFd + Send + 'static>(
        port: Port,
        id: u32,
        kind: u8,
        mut from: R,
    ) -> io::Result<Self> {
        // The read end's own entry in /proc, opened for writing, is the pipe's write end.
        let end = OpenOptions::new()
            .write(true)
            .open(format!("/proc/self/fd/{}", from.as_raw_fd()))?;
        let marker = marker(id, kind);
        let wanted = marker.clone();
        let (told, over) = channel();
        thread::spawn(move || {
            let mut held: Vec<u8> = Vec::new();
            let mut buf = [0u8; 16384];
            let mut told = Some(told);
            while let Ok(n) = from.read(&mut buf) {
                if n == 0 {
                    break;
                }
                if told.is_none() {
                    continue;
                }
                held.extend_from_slice(&buf[..n]);
                if let Some(at) = held.windows(wanted.len()).position(|w| w == wanted) {
                    if at > 0 {
                        send(&port, id, kind, &held[..at]);
                    }
                    held.clear();
                    told = None; // drops the sender: the stream is over
                    continue;
                }
                // Keep back what may be the marker's beginning.
                let keep = (1..wanted.len().min(held.len() + 1))
                    .rev()
                    .find(|&k| held.ends_with(&wanted[..k]))
                    .unwrap_or(0);
                let ready = held.len() - keep;
                if ready > 0 {
                    send(&port, id, kind, &held[..ready]);
                    held.drain(..ready);
                }
            }
        });
        let thread = thread::spawn(move || {
            let _: Result<(), _> = over.recv();
        });
        Ok(Self {
            end,
            marker,
            thread,
        })
    }

    fn finish(mut self) {
        let _ = self.end.write_all(&self.marker);
        drop(self.end);
        let _ = self.thread.join();
    }
}

/// A running command, as the port's reader sees it.
struct Running {
    stdin: Option<Sender<Vec<u8>>>,
    pid: u32,
}

type Table = Arc<Mutex<HashMap<u32, Running>>>;

fn exec(port: &Port, table: &Table, id: u32, data: &[u8]) {
    let spawned = Request::parse(data)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "malformed request"))
        .and_then(|request| request.spawn().map(|child| (child, request.argv)));
    let mut child = match spawned {
        Ok((child, _)) => child,
        Err(e) => {
            let status: &[u8] = if e.kind() == io::ErrorKind::NotFound {
                b"127"
            } else {
                b"126"
            };
            send(port, id, STDERR, format!("agent: {e}\n").as_bytes());
            send(port, id, EXIT, status);
            return;
        }
    };
    let stdin = child.stdin.take().map(|mut pipe| {
        let (to, from) = channel::<Vec<u8>>();
        thread::spawn(move || {
            for data in from {
                if data.is_empty() || pipe.write_all(&data).is_err() {
                    break;
                }
            }
        });
        to
    });
    if let Ok(mut table) = table.lock() {
        table.insert(
            id,
            Running {
                stdin,
                pid: child.id(),
            },
        );
    }
    let (port, table) = (port.clone(), table.clone());
    let out = child
        .stdout
        .take()
        .map(|p| Stream::start(port.clone(), id, STDOUT, p));
    let err = child
        .stderr
        .take()
        .map(|p| Stream::start(port.clone(), id, STDERR, p));
    thread::spawn(move || {
        let status = match child.wait() {
            Ok(s) => s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or(0)),
            Err(_) => 126,
        };
        for stream in [out, err].into_iter().flatten().flatten() {
            stream.finish();
        }
        if let Ok(mut table) = table.lock() {
            table.remove(&id);
        }
        send(&port, id, EXIT, status.to_string().as_bytes());
    });
}

fn signal(table: &Table, id: u32, data: &[u8]) {
    let pid = table.lock().ok().and_then(|t| t.get(&id).map(|r| r.pid));
    if let (Some(pid), Ok(number)) = (pid, String::from_utf8(data.to_vec())) {
        let _ = Command::new("/bin/kill")
            .args([&format!("-{number}"), "--", &format!("-{pid}")])
            .status();
    }
}

fn main() -> io::Result<()> {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "/dev/vport0p1".to_owned());
    let mut from = OpenOptions::new().read(true).write(true).open(&path)?;
    let port: Port = Arc::new(Mutex::new(from.try_clone()?));
    let table: Table = Arc::default();
    send(&port, 0, READY, b"");
    loop {
        let mut head = [0u8; 9];
        read_exact(&mut from, &mut head)?;
        let id = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let length = u32::from_le_bytes([head[5], head[6], head[7], head[8]]);
        if length > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
        }
        let mut data = vec![0u8; length as usize];
        read_exact(&mut from, &mut data)?;
        match head[4] {
            EXEC => exec(&port, &table, id, &data),
            STDIN => {
                if let Some(running) = table.lock().ok().as_mut().and_then(|t| t.get_mut(&id)) {
                    if let Some(to) = &running.stdin {
                        let _ = to.send(data.clone());
                    }
                    if data.is_empty() {
                        running.stdin = None;
                    }
                }
            }
            SIGNAL => signal(&table, id, &data),
            _ => {}
        }
    }
}
