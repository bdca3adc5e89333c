// SPDX-License-Identifier: GPL-2.0

//! Ethernet switches for guests, in one unprivileged process.
//!
//! `switch SOCKET...`: each unix socket is a switch, each connection to it a port. QEMU's
//! `-netdev stream` speaks the other end: a frame's length (u32, big endian), then the frame.
//! Ports learn addresses. A port that cannot take more makes the senders wait, as a network with
//! flow control does; only one that takes nothing at all for a second loses frames.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Frames waiting at a port before its senders wait too.
const QUEUE: usize = 1024;
/// How long a port may take nothing before frames for it are dropped.
const PATIENCE: Duration = Duration::from_secs(1);
/// Nothing QEMU sends is longer (a GSO packet with its headers).
const MAX_FRAME: usize = 70_000;

type Mac = [u8; 6];
type Frame = Arc<Vec<u8>>;

#[derive(Default)]
struct Switch {
    next: u64,
    ports: HashMap<u64, SyncSender<Frame>>,
    known: HashMap<Mac, u64>,
}

impl Switch {
    fn plug(&mut self, port: SyncSender<Frame>) -> u64 {
        self.next += 1;
        self.ports.insert(self.next, port);
        self.next
    }

    fn unplug(&mut self, port: u64) {
        self.ports.remove(&port);
        self.known.retain(|_, at| *at != port);
    }

    /// Learns the sender's place and says which ports get the frame.
    fn targets(&mut self, from: u64, to: Mac, sender: Mac) -> Vec<SyncSender<Frame>> {
        if sender[0] & 1 == 0 {
            self.known.insert(sender, from);
        }
        match self.known.get(&to) {
            Some(&at) if at == from => Vec::new(),
            Some(at) => self.ports.get(at).cloned().into_iter().collect(),
            None => self
                .ports
                .iter()
                .filter(|(at, _)| **at != from)
                .map(|(_, p)| p.clone())
                .collect(),
        }
    }
}

fn hand_over(port: &SyncSender<Frame>, mut frame: Frame) {
    let start = Instant::now();
    loop {
        match port.try_send(frame) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => return,
            Err(TrySendError::Full(back)) if start.elapsed() < PATIENCE => {
                frame = back;
                thread::sleep(Duration::from_micros(200));
            }
            Err(TrySendError::Full(_)) => return,
        }
    }
}

fn receive(stream: &mut io::BufReader<UnixStream>) -> io::Result<Frame> {
    let mut length = [0u8; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if !(14..=MAX_FRAME).contains(&length) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("frame of {length} bytes"),
        ));
    }
    // Kept with its length in front: it goes out as it came.
    let mut frame = vec![0u8; 4 + length];
    frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
    stream.read_exact(&mut frame[4..])?;
    Ok(Arc::new(frame))
}

fn write_out(mut stream: UnixStream, frames: Receiver<Frame>) {
    let mut batch = Vec::new();
    while let Ok(frame) = frames.recv() {
        batch.clear();
        batch.extend_from_slice(&frame);
        while batch.len() < 1 << 16 {
            match frames.try_recv() {
                Ok(more) => batch.extend_from_slice(&more),
                Err(_) => break,
            }
        }
        if stream.write_all(&batch).is_err() {
            return;
        }
    }
}

fn serve(switch: Arc<Mutex<Switch>>, stream: UnixStream) -> io::Result<()> {
    let (to, frames) = sync_channel(QUEUE);
    let writer = stream.try_clone()?;
    thread::spawn(move || write_out(writer, frames));
    let Ok(port) = switch.lock().map(|mut s| s.plug(to)) else {
        return Ok(());
    };
    let mut stream = io::BufReader::with_capacity(1 << 16, stream);
    while let Ok(frame) = receive(&mut stream) {
        let mac = |at: usize| -> Mac { std::array::from_fn(|i| frame[at + i]) };
        let Ok(targets) = switch.lock().map(|mut s| s.targets(port, mac(4), mac(10))) else {
            break;
        };
        for target in targets {
            hand_over(&target, frame.clone());
        }
    }
    if let Ok(mut s) = switch.lock() {
        s.unplug(port);
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let mut threads = Vec::new();
    for path in std::env::args().skip(1) {
        let listener = UnixListener::bind(&path)?;
        threads.push(thread::spawn(move || {
            let switch = Arc::new(Mutex::new(Switch::default()));
            for stream in listener.incoming().flatten() {
                let switch = switch.clone();
                thread::spawn(move || serve(switch, stream));
            }
        }));
    }
    println!("ready");
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}
