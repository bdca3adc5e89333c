// SPDX-License-Identifier: GPL-2.0

//! A fepd that answers what a test tells it to, in a thread.

#![allow(
    dead_code,
    reason = "each test program is compiled with its own copy and uses a part"
)]

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use fep_operator::{
    serve, Agent, Answer, Call, Check, Daemon, Group, GroupNode, Instance, Listener, Member,
    MemberState, Node, NodeState, Process, ProcessState, Request, Service, Snapshot,
};
use tokio::sync::{mpsc, oneshot};

use crate::common::{Ended, Place, WEB};

pub(crate) fn member(node: &str, weight: u32, state: MemberState) -> Member {
    Member {
        node: node.to_owned(),
        address: format!("10.1.0.{weight}:80"),
        state,
        weight,
        weight_now: weight,
        asked_permille: 500,
        ..Member::default()
    }
}

/// Two nodes with a service, one of them failed, and a process.
pub(crate) fn snapshot() -> Snapshot {
    let mut good = member("a", 2, MemberState::Up);
    good.achieved_permille = Some(1000);
    good.routes = 5;
    good.check = Some(Check {
        age_ms: 1250,
        problem: None,
    });
    let mut bad = member("b", 3, MemberState::Failed);
    bad.why = "3 checks in a row".to_owned();
    bad.check = Some(Check {
        age_ms: 42_000,
        problem: Some("no\n\u{1b}answer".to_owned()),
    });
    bad.next = Some("check in 0.5s".to_owned());
    Snapshot {
        daemon: Daemon {
            version: "0.1.0".to_owned(),
            pid: 77,
            uptime_ms: 12_345,
            config: "/etc/fep/fep.toml".to_owned(),
            generation: 4,
            routes: 5,
            routes_limit: 100,
            ..Daemon::default()
        },
        nodes: vec![
            Node {
                name: "a".to_owned(),
                address: "10.1.0.2".to_owned(),
                state: NodeState::Up,
                agent: Agent::Alive,
                load_permille: Some(253),
                routes: 5,
                ..Node::default()
            },
            Node {
                name: "b".to_owned(),
                address: "10.1.0.3".to_owned(),
                state: NodeState::Failed,
                why: "no service answers".to_owned(),
                agent: Agent::None,
                ..Node::default()
            },
        ],
        services: vec![Service {
            service: WEB.to_owned(),
            scheduler: "wrr".to_owned(),
            group: Some("films".to_owned()),
            alarm: Some("half of its nodes are out".to_owned()),
            routes: 5,
            members: vec![good, bad],
            ..Service::default()
        }],
        groups: vec![Group {
            name: "films".to_owned(),
            best: Some("a".to_owned()),
            nodes: ["a", "b"]
                .map(|node| GroupNode {
                    node: node.to_owned(),
                    running: node == "a",
                    load_permille: (node == "a").then_some(200),
                    priority: 1,
                })
                .to_vec(),
        }],
        processes: vec![Process {
            name: "web".to_owned(),
            service: WEB.to_owned(),
            instances: vec![instance(ProcessState::Ready)],
        }],
    }
}

pub(crate) fn instance(state: ProcessState) -> Instance {
    Instance {
        node: "a".to_owned(),
        state,
        why: "because".to_owned(),
        restarts: 2,
        next: None,
    }
}

/// What was printed, without the blanks at the ends of columns.
pub(crate) fn words(text: &str) -> Vec<String> {
    let lines = text.lines();
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// What it has.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What it shows.
    pub(crate) snapshot: Snapshot,
    /// What it was asked for, snapshots excepted.
    pub(crate) asked: Vec<Request>,
    /// What it answers to these, done unless there is something.
    pub(crate) answer: Option<Answer>,
}

/// The daemon, until it is dropped.
pub(crate) struct Fepd {
    pub(crate) place: Place,
    pub(crate) socket: PathBuf,
    pub(crate) state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fepd {
    /// One that shows a snapshot.
    pub(crate) fn with(snapshot: Snapshot) -> Self {
        let place = Place::new();
        let socket = place.directory.path().join("fepd.sock");
        let state = State {
            snapshot,
            ..State::default()
        };
        let mut fepd = Self {
            place,
            socket,
            state: Arc::new(Mutex::new(state)),
            stop: None,
            thread: None,
        };
        fepd.start();
        fepd
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        let (stop, stopped) = oneshot::channel();
        let (ready, listens) = channel();
        let (path, state) = (self.socket.clone(), Arc::clone(&self.state));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = Listener::bind(&path).expect("a socket");
                ready.send(()).expect("to be waited for");
                let (calls, mut taken) = mpsc::channel::<Call>(1);
                let answers = async {
                    while let Some(call) = taken.recv().await {
                        let answer = answer(&state, &call.request);
                        call.answer(answer);
                    }
                };
                tokio::select! {
                    () = serve(listener, "fepd test", calls) => {}
                    () = answers => {}
                    _ = stopped => {}
                }
            });
        });
        listens.recv().expect("it listens");
        self.stop = Some(stop);
        self.thread = Some(thread);
    }

    /// Ends it.
    pub(crate) fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ended well");
        }
    }

    /// Runs fepctl with it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, || true)
    }

    /// Runs fepctl with it; `each` is called when it waits and says whether to go on.
    pub(crate) fn run_with(
        &self,
        arguments: &[&str],
        each: impl FnMut() -> bool + 'static,
    ) -> Ended {
        let socket = self.socket.to_str().expect("UTF-8");
        let arguments = [arguments, &["--socket", socket]].concat();
        self.place.run_with(&arguments, "", each)
    }

    /// What it was asked for since this was asked last.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.change(|state| std::mem::take(&mut state.asked))
    }

    /// Looks at what it has, and changes it.
    pub(crate) fn change<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        change(&self.state, with)
    }
}

/// Looks at what a daemon has, and changes it.
pub(crate) fn change<T>(state: &Mutex<State>, with: impl FnOnce(&mut State) -> T) -> T {
    with(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

fn answer(state: &Mutex<State>, request: &Request) -> Answer {
    change(state, |state| match request {
        Request::Snapshot => Answer::Snapshot(Box::new(state.snapshot.clone())),
        other => {
            state.asked.push(other.clone());
            state.answer.clone().unwrap_or(Answer::DONE)
        }
    })
}

impl Drop for Fepd {
    fn drop(&mut self) {
        self.end();
    }
}
