// SPDX-License-Identifier: GPL-2.0

//! Runs fepctl in a test's own surroundings: a kernel in memory, a clock that does not wait.

#![allow(
    dead_code,
    reason = "each test program is compiled with its own copy and uses a part"
)]

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use fep_client::Kernel;
use fep_fake::FakeKernel;
use fepctl::{Clock, Exit, Open, Surroundings};

/// A service, and nodes of it.
pub(crate) const WEB: &str = "tcp/10.0.0.100:80";
pub(crate) const A: &str = "10.1.0.2:80";
pub(crate) const B: &str = "10.1.0.3:80";

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// What it printed, after making sure that nothing went wrong.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(
            (self.exit, self.err.as_str()),
            (Exit::Ok, ""),
            "{}",
            self.out
        );
        self.out
    }

    /// Its JSON.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).expect("JSON")
    }

    /// Its error, after making sure that it printed nothing else.
    #[track_caller]
    pub(crate) fn error(self, exit: Exit) -> String {
        assert_eq!((self.exit, self.out.as_str()), (exit, ""), "{}", self.err);
        assert!(self.err.starts_with("fepctl: "), "{}", self.err);
        self.err
    }
}

/// A clock that passes as fast as it is waited for.
struct TestClock {
    now: Duration,
    each: Box<dyn FnMut() -> bool>,
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        self.now
    }

    fn wait(&mut self, time: Duration) -> io::Result<bool> {
        self.now += time;
        Ok((self.each)())
    }
}

/// A place to run fepctl in.
pub(crate) struct Place {
    pub(crate) kernel: FakeKernel,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) terminal: bool,
}

impl Place {
    /// A kernel with two devices and no configuration.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let names = "http 80/tcp www\nhttp-alt 8080/tcp\ndomain 53/udp\nsplit 1/tcp\nsplit 2/udp\n";
        std::fs::write(directory.path().join("services"), names).expect("a services file");
        Self {
            kernel: FakeKernel::new(&["lo", "eth0", "eth1"]),
            directory,
            terminal: false,
        }
    }

    /// With the service and both nodes.
    pub(crate) fn with_web() -> Self {
        let place = Self::new();
        place.run(&["service", "add", WEB]).ok();
        place.run(&["backend", "add", WEB, A, "--weight", "2"]).ok();
        place.run(&["backend", "add", WEB, B]).ok();
        place
    }

    /// Runs a command.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, "", || true)
    }

    /// Runs a command with something on standard input.
    pub(crate) fn pipe(&self, arguments: &[&str], input: &str) -> Ended {
        self.run_with(arguments, input, || true)
    }

    /// Runs a command that waits: `each` is called then and says whether to go on.
    pub(crate) fn run_with(
        &self,
        arguments: &[&str],
        input: &str,
        each: impl FnMut() -> bool + 'static,
    ) -> Ended {
        let kernel = self.kernel.clone();
        let open = move |_: &Path| Ok(Box::new(kernel.clone()) as Box<dyn Kernel>);
        let mut out = Vec::new();
        let mut err = Vec::new();
        let mut clock = TestClock {
            now: Duration::ZERO,
            each: Box::new(each),
        };
        let exit = run(
            arguments,
            &mut Surroundings {
                open: &open,
                services_file: &self.directory.path().join("services"),
                input: &mut input.as_bytes(),
                output: &mut out,
                errors: &mut err,
                terminal: self.terminal,
                clock: &mut clock,
            },
        );
        Ended {
            exit,
            out: String::from_utf8(out).expect("UTF-8"),
            err: String::from_utf8(err).expect("UTF-8"),
        }
    }

    /// Runs a command where the control device cannot be opened.
    pub(crate) fn run_closed(&self, arguments: &[&str], open: &Open) -> Ended {
        let mut out = Vec::new();
        let mut err = Vec::new();
        let mut clock = TestClock {
            now: Duration::ZERO,
            each: Box::new(|| true),
        };
        let exit = run(
            arguments,
            &mut Surroundings {
                open,
                services_file: Path::new("/nonexistent/services"),
                input: &mut io::empty(),
                output: &mut out,
                errors: &mut err,
                terminal: false,
                clock: &mut clock,
            },
        );
        Ended {
            exit,
            out: String::from_utf8(out).expect("UTF-8"),
            err: String::from_utf8(err).expect("UTF-8"),
        }
    }

    /// Runs a command whose output nobody reads.
    pub(crate) fn run_unread(&self, arguments: &[&str]) -> Exit {
        let kernel = self.kernel.clone();
        let open = move |_: &Path| Ok(Box::new(kernel.clone()) as Box<dyn Kernel>);
        let mut clock = TestClock {
            now: Duration::ZERO,
            each: Box::new(|| true),
        };
        run(
            arguments,
            &mut Surroundings {
                open: &open,
                services_file: Path::new("/nonexistent/services"),
                input: &mut io::empty(),
                output: &mut Unread,
                errors: &mut io::stderr(),
                terminal: false,
                clock: &mut clock,
            },
        )
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.directory.path().join(name);
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(contents.as_ref()).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }
}

fn run(arguments: &[&str], around: &mut Surroundings<'_>) -> Exit {
    let arguments = std::iter::once("fepctl").chain(arguments.iter().copied());
    fepctl::run(arguments.map(OsString::from), around)
}

/// A pipe whose reader has gone.
struct Unread;

impl io::Write for Unread {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}
