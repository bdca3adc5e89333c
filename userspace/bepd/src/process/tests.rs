// SPDX-License-Identifier: GPL-2.0

//! Real processes are started, ready, stopped, killed, and found by a later agent.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_protocol::{ProcessState, ProcessStatus};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::running::kill_marked;
use super::spec::{Ready, Spec};
use super::store::Store;
use super::Processes;

/// No wait is meant to end by this.
const LONG: Duration = Duration::from_secs(120);

/// A shell that does `script`, in which `$0` is the folder of the test.
fn shell(dir: &Path, script: &str) -> Spec {
    Spec {
        command: "/bin/sh".into(),
        args: ["-c", script, dir.to_str().unwrap()]
            .map(str::to_owned)
            .into(),
        env: BTreeMap::from([("COLOUR".to_owned(), "red".to_owned())]),
        user: None,
        ready: Ready::Running,
        ready_limit: LONG,
        stop_signal: Signal::SIGTERM,
        grace: LONG,
        restart_delay: Duration::from_millis(10),
        restarts: 3,
    }
}

/// Notes each start in a file, and runs until it is told to end.
const SERVER: &str = "echo $$ >> $0/starts; exec sleep 1000";

/// An agent's processes, in a runtime that ends with it as an agent's does that is killed.
struct Agent {
    processes: Arc<Processes>,
    runtime: Runtime,
}

impl Agent {
    fn start(dir: &TempDir, spec: &Spec) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let specs = BTreeMap::from([("web".to_owned(), spec.clone())]);
        let state = dir.path().join("state");
        let started = runtime.block_on(async { Processes::start(&state, &specs) });
        Self {
            processes: Arc::new(started.unwrap()),
            runtime,
        }
    }

    fn want(&self, wanted: bool) -> ProcessStatus {
        self.processes.want("web", wanted).unwrap()
    }

    fn wait(&self, wanted: impl Fn(&ProcessStatus) -> bool) -> ProcessStatus {
        let end = Instant::now() + LONG;
        loop {
            let status = self.processes.list().remove(0);
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < end, "{status:?}");
            // It runs in here alone.
            let pause = async { tokio::time::sleep(Duration::from_millis(5)).await };
            self.runtime.block_on(pause);
        }
    }

    fn wait_for(&self, state: ProcessState) -> ProcessStatus {
        self.wait(|status| status.state == state)
    }

    /// Ends as if killed: nothing is stopped and nothing more is written.
    fn die(self) {
        drop(self.runtime);
        assert_eq!(Arc::strong_count(&self.processes), 1);
    }
}

impl Agent {
    fn end(self) {
        self.want(false);
        self.wait_for(ProcessState::Stopped);
        self.die();
    }
}

fn starts(dir: &TempDir) -> usize {
    let text = std::fs::read_to_string(dir.path().join("starts"));
    text.unwrap_or_default().lines().count()
}

fn runs(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !text.is_empty() && !text.contains(") Z ")
}

#[test]
fn it_is_started_once_and_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(&dir, &shell(dir.path(), SERVER));
    assert_eq!(agent.processes.list()[0].state, ProcessState::Stopped);
    assert_eq!(agent.want(true).state, ProcessState::Starting);
    agent.want(true);
    let pid = agent.wait_for(ProcessState::Ready).pid.unwrap();
    agent.want(true);
    assert!(runs(pid));
    agent.want(false);
    assert_eq!(agent.wait_for(ProcessState::Stopped).pid, None);
    assert!(!runs(pid));
    assert_eq!(starts(&dir), 1);
    // Another need is another start.
    agent.want(true);
    assert_ne!(agent.wait_for(ProcessState::Ready).pid, Some(pid));
    agent.end();
    assert_eq!(starts(&dir), 2);
}

#[test]
fn one_that_dies_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(&dir, &shell(dir.path(), SERVER));
    agent.want(true);
    let first = agent.wait_for(ProcessState::Ready).pid.unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(first).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    let new =
        |status: &ProcessStatus| status.state == ProcessState::Ready && status.pid != Some(first);
    agent.wait(new);
    assert_eq!(starts(&dir), 2);
    agent.end();
}

#[test]
fn one_that_will_not_run_fails_and_may_be_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let spec = shell(
        dir.path(),
        "echo x >> $0/starts; test -e $0/now || exit 3; exec sleep 1000",
    );
    let agent = Agent::start(&dir, &spec);
    agent.want(true);
    let failed = agent.wait_for(ProcessState::Failed);
    assert!(failed.why.contains("exit status: 3"), "{failed:?}");
    assert_eq!(starts(&dir), 4, "one and three more");
    std::fs::write(dir.path().join("now"), "").unwrap();
    assert_eq!(agent.want(true).state, ProcessState::Starting);
    agent.wait_for(ProcessState::Ready);
    agent.end();
}

#[test]
fn one_that_cannot_be_started_fails() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = shell(dir.path(), "");
    spec.command = "/dev/null".into();
    let agent = Agent::start(&dir, &spec);
    agent.want(true);
    let failed = agent.wait_for(ProcessState::Failed);
    assert!(failed.why.starts_with("cannot be started: "), "{failed:?}");
    assert_eq!(agent.want(false).state, ProcessState::Stopped);
}

#[test]
fn one_that_does_not_get_ready_fails() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = shell(dir.path(), SERVER);
    spec.ready = Ready::Command(vec!["/bin/false".to_owned()]);
    spec.ready_limit = Duration::from_millis(200);
    spec.restarts = 0;
    let agent = Agent::start(&dir, &spec);
    agent.want(true);
    let failed = agent.wait_for(ProcessState::Failed);
    assert_eq!(failed.why, "not ready within 200 ms");
    assert_eq!(failed.pid, None);
}

#[test]
fn it_is_killed_with_its_children_when_it_does_not_stop() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; sleep 1000 & echo $! > $0/child; while :; do sleep 1; done";
    let mut spec = shell(dir.path(), script);
    spec.grace = Duration::from_millis(300);
    spec.ready = Ready::Command(
        ["/bin/sh", "-c", "test -s $0/child"]
            .map(str::to_owned)
            .into(),
    );
    let Ready::Command(words) = &mut spec.ready else {
        unreachable!()
    };
    words.push(dir.path().to_str().unwrap().to_owned());
    let agent = Agent::start(&dir, &spec);
    agent.want(true);
    agent.wait_for(ProcessState::Ready);
    let child = std::fs::read_to_string(dir.path().join("child")).unwrap();
    let child = child.trim().parse().unwrap();
    assert!(runs(child));
    agent.want(false);
    agent.wait_for(ProcessState::Stopped);
    let end = Instant::now() + LONG;
    while runs(child) {
        assert!(Instant::now() < end, "the child runs on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_next_agent_finds_it_and_starts_no_second_one() {
    for known in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let spec = shell(dir.path(), SERVER);
        let agent = Agent::start(&dir, &spec);
        agent.want(true);
        let pid = agent.wait_for(ProcessState::Ready).pid;
        agent.die();
        if !known {
            // As if the agent had ended before it could note the number.
            let store = Store::open(&dir.path().join("state")).unwrap();
            store.change("web", |saved| saved.process = None).unwrap();
        }
        let agent = Agent::start(&dir, &spec);
        assert_eq!(agent.wait_for(ProcessState::Ready).pid, pid);
        agent.end();
        assert_eq!(starts(&dir), 1, "known: {known}");
        assert!(!runs(pid.unwrap()));
    }
}

#[test]
fn the_next_agent_ends_what_was_not_ended_and_starts_what_has_died() {
    let dir = tempfile::tempdir().unwrap();
    let spec = shell(dir.path(), SERVER);
    for wanted in [false, true] {
        let agent = Agent::start(&dir, &spec);
        agent.want(true);
        let pid = agent.wait_for(ProcessState::Ready).pid.unwrap();
        agent.die();
        let store = Store::open(&dir.path().join("state")).unwrap();
        let mark = store.get("web").mark.unwrap();
        store.change("web", |saved| saved.wanted = wanted).unwrap();
        drop(store);
        if wanted {
            kill_marked(&mark);
        }
        let agent = Agent::start(&dir, &spec);
        if wanted {
            assert_ne!(agent.wait_for(ProcessState::Ready).pid, Some(pid));
        }
        agent.end();
        assert!(!runs(pid));
    }
}

#[test]
fn readiness_is_asked_over_tcp_and_http() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let path = "/health".to_owned();
    let answers = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut asked = Vec::new();
        for answer in ["", "HTTP/1.1 503 No\r\n\r\n", "HTTP/1.0 204 Yes\r\n\r\n"] {
            let (mut stream, _) = listener.accept().unwrap();
            if !answer.is_empty() {
                let mut request = [0; 256];
                let size = stream.read(&mut request).unwrap();
                asked.push(String::from_utf8_lossy(&request[..size]).into_owned());
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
        asked
    });
    within(super::ready::wait(&Ready::Tcp(address)));
    within(super::ready::wait(&Ready::Http { address, path }));
    let asked = answers.join().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(
        asked[1].starts_with("GET /health HTTP/1.1\r\nHost: 127.0.0.1:"),
        "{asked:?}"
    );
}

fn within<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONG, work).await.unwrap() })
}

#[test]
fn what_is_not_configured_is_refused_and_what_runs_stays_configured() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(&dir, &shell(dir.path(), SERVER));
    let unknown = agent.processes.want("ftp", true).unwrap_err();
    assert_eq!(unknown, "process \"ftp\": not configured at this node");
    assert!(agent
        .processes
        .of(&["web".to_owned(), "ftp".to_owned()])
        .is_err());
    agent.want(true);
    agent.wait_for(ProcessState::Ready);
    let none = BTreeMap::new();
    assert!(agent.processes.define(&none).is_err());
    assert_eq!(agent.processes.list().len(), 1);
    agent.want(false);
    agent.wait_for(ProcessState::Stopped);
    agent.processes.define(&none).unwrap();
    assert!(agent.processes.list().is_empty());
}
