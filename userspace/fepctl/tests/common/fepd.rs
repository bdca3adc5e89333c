// SPDX-License-Identifier: GPL-2.0

//! A fepd that answers what a test tells it to, in a thread.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use fep_operator::{serve, Answer, Call, Listener, Request, Snapshot};
use tokio::sync::{mpsc, oneshot};

use crate::common::{Ended, Place};

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
