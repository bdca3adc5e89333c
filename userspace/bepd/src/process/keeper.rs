// SPDX-License-Identifier: GPL-2.0

//! Keeps one server process as it is wanted: starts it, waits until it is ready, starts it again
//! when it dies, stops it.
//!
//! One task alone starts and stops a process, so there is never a second one of it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fep_protocol::{ProcessState, ProcessStatus};
use nix::sys::signal::Signal;
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::{interval, sleep, timeout, Instant};

use super::ready;
use super::running::{kill_marked, Running};
use super::spec::Spec;
use super::store::Store;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// One that has been ready for so long has not failed in a row with what was before.
const STEADY: Duration = Duration::from_secs(60);
/// It is not waited longer until a process is started again.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// What is known of one process.
#[derive(Debug)]
pub(crate) struct Keeper {
    key: String,
    spec: Mutex<Arc<Spec>>,
    /// Changes together with the status, under its lock.
    wanted: watch::Sender<bool>,
    status: Mutex<ProcessStatus>,
    changes: broadcast::Sender<ProcessStatus>,
    store: Arc<Store>,
    task: OnceLock<AbortHandle>,
}

/// How a process came to its end.
enum End {
    /// It was told to.
    Asked,
    /// By itself, or because it would not be ready; whether it had been ready for long.
    Died { why: String, steady: bool },
}

impl Keeper {
    /// Keeps a process from here on, which may run already.
    ///
    /// # Errors
    ///
    /// When it cannot be found out whether it does.
    pub(crate) fn start(
        key: &str,
        spec: Spec,
        store: Arc<Store>,
        changes: broadcast::Sender<ProcessStatus>,
    ) -> io::Result<Arc<Self>> {
        let saved = store.get(key);
        let running = match &saved.mark {
            Some(mark) => Running::find(mark, saved.process)?,
            None => None,
        };
        if let (None, Some(mark)) = (&running, &saved.mark) {
            kill_marked(mark);
        }
        let (wanted, want) = watch::channel(saved.wanted);
        let state = match (&running, saved.wanted) {
            (Some(_), false) => ProcessState::Stopping,
            (None, false) => ProcessState::Stopped,
            (_, true) => ProcessState::Starting,
        };
        let status = ProcessStatus {
            key: key.to_owned(),
            state,
            pid: running.as_ref().map(Running::pid),
            why: String::new(),
        };
        let keeper = Arc::new(Self {
            key: key.to_owned(),
            spec: Mutex::new(Arc::new(spec)),
            wanted,
            status: Mutex::new(status),
            changes,
            store,
            task: OnceLock::new(),
        });
        let task = tokio::spawn(keeper.clone().keep(want, running));
        let _ = keeper.task.set(task.abort_handle());
        Ok(keeper)
    }

    pub(crate) fn status(&self) -> ProcessStatus {
        locked(&self.status).clone()
    }

    /// Keeps it no longer. One that runs goes on.
    pub(crate) fn release(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// What it is started with the next time.
    pub(crate) fn define(&self, spec: Spec) {
        *locked(&self.spec) = Arc::new(spec);
    }

    /// Has it run, or not run.
    ///
    /// # Errors
    ///
    /// When that cannot be remembered; then nothing happens.
    pub(crate) fn want(&self, wanted: bool) -> io::Result<ProcessStatus> {
        let mut status = locked(&self.status);
        self.store
            .change(&self.key, |saved| saved.wanted = wanted)?;
        if wanted && matches!(status.state, ProcessState::Stopped | ProcessState::Failed) {
            self.publish(&mut status, ProcessState::Starting, None, "");
        } else if !wanted && status.state == ProcessState::Failed {
            self.publish(&mut status, ProcessState::Stopped, None, "");
        }
        self.wanted.send_replace(wanted);
        Ok(status.clone())
    }

    fn publish(
        &self,
        status: &mut ProcessStatus,
        state: ProcessState,
        pid: Option<u32>,
        why: &str,
    ) {
        status.state = state;
        status.pid = pid;
        why.clone_into(&mut status.why);
        tracing::info!(process = self.key, ?state, pid, why, "process");
        // There may be no link that listens.
        let _ = self.changes.send(status.clone());
    }

    fn tell(&self, state: ProcessState, pid: Option<u32>, why: &str) {
        self.publish(&mut locked(&self.status), state, pid, why);
    }

    async fn keep(self: Arc<Self>, mut want: watch::Receiver<bool>, mut running: Option<Running>) {
        loop {
            // The sender is the keeper's own.
            if running.is_none() {
                let _ = want.wait_for(|&wanted| wanted).await;
            }
            self.one_need(&mut want, running.take()).await;
        }
    }

    /// From the start until it is no longer wanted, or has failed.
    async fn one_need(&self, want: &mut watch::Receiver<bool>, mut running: Option<Running>) {
        let mut failures = 0;
        loop {
            let spec = locked(&self.spec).clone();
            let started = match running.take() {
                Some(running) => Ok(running),
                None => self.start_it(&spec),
            };
            let end = match started {
                Ok(running) => self.one_life(&spec, running, want).await,
                Err(error) => End::Died {
                    why: format!("cannot be started: {error}"),
                    steady: false,
                },
            };
            self.forget();
            let why = match end {
                End::Asked => return self.done(ProcessState::Stopped, ""),
                End::Died { why, steady } => {
                    failures = if steady { 1 } else { failures + 1 };
                    why
                }
            };
            if failures > spec.restarts {
                return self.done(ProcessState::Failed, &why);
            }
            let doubled = spec
                .restart_delay
                .saturating_mul(1 << (failures - 1).min(16));
            let delay = doubled.min(DELAY_MAX.max(spec.restart_delay));
            let text = format!("{why}; started again in {} ms", delay.as_millis());
            self.tell(ProcessState::Starting, None, &text);
            if timeout(delay, unwanted(want)).await.is_ok() {
                return self.done(ProcessState::Stopped, "");
            }
        }
    }

    /// It does not run; unless it is wanted again by now, that is the end of this need.
    fn done(&self, state: ProcessState, why: &str) {
        let mut status = locked(&self.status);
        if state == ProcessState::Failed {
            if let Err(error) = self.store.change(&self.key, |saved| saved.wanted = false) {
                tracing::error!(process = self.key, %error, "cannot remember");
            }
            self.wanted.send_replace(false);
        }
        if *self.wanted.borrow() {
            self.publish(&mut status, ProcessState::Starting, None, "");
        } else {
            self.publish(&mut status, state, None, why);
        }
    }

    fn start_it(&self, spec: &Spec) -> io::Result<Running> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let mark = format!("{}:{}:{now}", self.key, std::process::id());
        self.store.change(&self.key, |saved| {
            saved.mark = Some(mark.clone());
            saved.process = None;
        })?;
        let running = Running::start(spec, &mark)?;
        // If this fails, the mark is enough to find it.
        self.remember(&running);
        self.tell(ProcessState::Starting, Some(running.pid()), "");
        Ok(running)
    }

    fn remember(&self, running: &Running) {
        let identity = Some(running.identity());
        if let Err(error) = self
            .store
            .change(&self.key, |saved| saved.process = identity)
        {
            tracing::error!(process = self.key, %error, "cannot remember");
        }
    }

    fn forget(&self) {
        let forgotten = self.store.change(&self.key, |saved| {
            saved.mark = None;
            saved.process = None;
        });
        if let Err(error) = forgotten {
            tracing::error!(process = self.key, %error, "cannot remember");
        }
    }

    async fn one_life(
        &self,
        spec: &Spec,
        mut running: Running,
        want: &mut watch::Receiver<bool>,
    ) -> End {
        let mut look = interval(LOOK);
        let limit = Instant::now() + spec.ready_limit;
        let mut ready = std::pin::pin!(ready::wait(&spec.ready));
        let mut since: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = unwanted(want) => {
                    self.tell(ProcessState::Stopping, Some(running.pid()), "");
                    stop(spec, &mut running).await;
                    return End::Asked;
                }
                _ = look.tick() => if let Some(why) = running.ended() {
                    let steady = since.is_some_and(|since| since.elapsed() >= STEADY);
                    return End::Died { why, steady };
                },
                () = &mut ready, if since.is_none() => {
                    since = Some(Instant::now());
                    self.tell(ProcessState::Ready, Some(running.pid()), "");
                }
                () = tokio::time::sleep_until(limit), if since.is_none() => {
                    stop(spec, &mut running).await;
                    let why = format!("not ready within {} ms", spec.ready_limit.as_millis());
                    return End::Died { why, steady: false };
                }
            }
        }
    }
}

/// Returns when it is not wanted. What the receiver lends is given back by then.
async fn unwanted(want: &mut watch::Receiver<bool>) {
    let _ = want.wait_for(|&wanted| !wanted).await;
}

/// Ends it, in good order within its grace or by SIGKILL.
async fn stop(spec: &Spec, running: &mut Running) {
    if running.ended().is_some() {
        return;
    }
    running.signal(spec.stop_signal);
    let limit = Instant::now() + spec.grace;
    let mut killed = false;
    while running.ended().is_none() {
        if !killed && Instant::now() >= limit {
            running.signal(Signal::SIGKILL);
            killed = true;
        }
        sleep(LOOK / 4).await;
    }
}

/// Nothing panics while holding one, so what is behind a poisoned lock is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
