// SPDX-License-Identifier: GPL-2.0

//! The program `fepctl`: gives [`fepctl::run`] the real surroundings.

#![forbid(unsafe_code)]

use std::io::{self, BufWriter, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fep_client::{Device, Error, Kernel};
use fepctl::{Clock, Surroundings};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The system's clock. From the first wait on, SIGINT and SIGTERM end the waiting, not the program.
struct SystemClock {
    start: Instant,
    signals: Option<OwnedFd>,
}

impl SystemClock {
    fn signals(&mut self) -> io::Result<&OwnedFd> {
        if self.signals.is_none() {
            let set: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
            set.thread_block()?;
            let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
            self.signals = Some(signals.as_fd().try_clone_to_owned()?);
        }
        self.signals
            .as_ref()
            .ok_or_else(|| io::Error::other("no signals"))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wait(&mut self, time: Duration) -> io::Result<bool> {
        let end = self.start.elapsed() + time;
        loop {
            let start = self.start;
            let signals = self.signals()?;
            let rest = end.saturating_sub(start.elapsed());
            if rest.is_zero() {
                return Ok(true);
            }
            // A millisecond more: it would else be cut off, and the rest be waited for in vain.
            let timeout =
                PollTimeout::try_from(rest + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let mut signal = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut signal, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn open(path: &Path) -> Result<Box<dyn Kernel>, Error> {
    Ok(Box::new(Device::open_at(path)?))
}

fn main() -> ExitCode {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let mut clock = SystemClock {
        start: Instant::now(),
        signals: None,
    };
    let exit = fepctl::run(
        std::env::args_os(),
        &mut Surroundings {
            open: &open,
            services_file: Path::new("/etc/services"),
            input: &mut io::stdin().lock(),
            output: &mut BufWriter::new(stdout.lock()),
            errors: &mut io::stderr().lock(),
            terminal,
            clock: &mut clock,
        },
    );
    ExitCode::from(exit.code())
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn an_interrupt_ends_the_waiting() {
        let mut clock = SystemClock {
            start: Instant::now(),
            signals: None,
        };
        let time = Duration::from_millis(20);
        assert!(clock.wait(time).expect("to wait"));
        assert!(clock.now() >= time);
        raise(Signal::SIGINT).expect("a signal");
        let minute = Duration::from_secs(60);
        assert!(!clock.wait(minute).expect("to wait"));
        assert!(clock.now() < minute);
    }
}
