// SPDX-License-Identifier: GPL-2.0

//! The loop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fep_client::{diff, Client, Error};
use fep_config::Config;
use fep_control::pool::Verdict;
use sd_notify::NotifyState;
use tokio::signal::unix::{signal, Signal, SignalKind};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::checks::{self, Tls};
use crate::engine::{CheckResult, Engine, Place};
use crate::state::{Saved, StateFile};
use crate::watch::Watch;

use super::Failure;

/// So many checks are under way at once; others wait for one to end.
const CHECKS_MAX: usize = 512;

/// How often the filter's counters are looked at. A look takes at most a twentieth of the time.
const COUNTERS: Duration = Duration::from_millis(250);

/// How often the file is looked at, and the filter is compared with what it should hold.
const TEND: Duration = Duration::from_secs(1);

/// A daemon at work.
pub(super) struct Daemon {
    start: Instant,
    file: PathBuf,
    watch: Watch,
    engine: Engine,
    client: Client,
    state: StateFile,
    checks: JoinSet<(Place, CheckResult)>,
    free: Arc<Semaphore>,
    tls: Arc<Tls>,
    /// What is wanted may have changed since the last commit.
    stale: bool,
    /// The last commit did not succeed, for this reason.
    trouble: Option<String>,
    watchdog: Option<Duration>,
    next: Next,
}

/// When what is done by time is due.
struct Next {
    counters: Duration,
    tend: Duration,
    share: Option<Duration>,
    watchdog: Duration,
}

/// The signals.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

fn wall() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

fn random() -> u64 {
    fastrand::u64(..)
}

impl Daemon {
    /// Reads what the filter has, and begins.
    pub(super) fn begin(
        file: &Path,
        config: Config,
        mut client: Client,
        state: StateFile,
        saved: &Saved,
    ) -> Result<Self, Failure> {
        let held = client.snapshot()?.config();
        let engine = Engine::new(config, &held, saved, (Duration::ZERO, wall()), &mut random);
        let mut micros = 0;
        let watchdog = sd_notify::watchdog_enabled(false, &mut micros);
        Ok(Self {
            start: Instant::now(),
            file: file.to_owned(),
            watch: Watch::new(file),
            engine,
            client,
            state,
            checks: JoinSet::new(),
            free: Arc::new(Semaphore::new(CHECKS_MAX)),
            tls: Arc::default(),
            stale: true,
            trouble: None,
            watchdog: watchdog.then(|| Duration::from_micros(micros) / 3),
            next: Next {
                counters: Duration::ZERO,
                tend: Duration::ZERO,
                share: None,
                watchdog: Duration::ZERO,
            },
        })
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Works until a signal ends it.
    pub(super) async fn run(&mut self) -> Result<(), Failure> {
        let mut signals = Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        // The first commit has to succeed: a configuration that the filter refuses is an error to
        // start with, not one to live with.
        self.commit_first()?;
        notify(&[NotifyState::Ready]);
        info!(
            services = self.engine.config().services.len(),
            nodes = self.engine.config().nodes.len(),
            "watches"
        );
        loop {
            self.by_time();
            for order in self.engine.due(self.now(), &mut random) {
                let (free, tls) = (Arc::clone(&self.free), Arc::clone(&self.tls));
                self.checks.spawn(async move {
                    // It is never closed.
                    let _permit = free.acquire_owned().await;
                    (order.place, checks::run(&tls, &order).await)
                });
            }
            if self.stale {
                self.commit();
            }
            let wait = self.wake().saturating_sub(self.now());
            tokio::select! {
                biased;
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hangup.recv() => self.reload(),
                Some(done) = self.checks.join_next() => self.checked(done),
                () = sleep(wait) => {}
            }
        }
        notify(&[NotifyState::Stopping]);
        self.keep();
        Ok(())
    }

    /// When there is something to do next, if nothing happens before.
    fn wake(&self) -> Duration {
        let Next {
            counters,
            tend,
            share,
            watchdog,
        } = self.next;
        let watchdog = self.watchdog.map(|_| watchdog);
        let due = [
            Some(counters),
            Some(tend),
            share,
            watchdog,
            self.engine.next_check(),
        ];
        due.into_iter().flatten().min().unwrap_or(tend)
    }

    fn by_time(&mut self) {
        let now = self.now();
        if let (Some(period), true) = (self.watchdog, now >= self.next.watchdog) {
            notify(&[NotifyState::Watchdog]);
            self.next.watchdog = now + period;
        }
        if now >= self.next.counters {
            self.look_at_counters();
        }
        if now >= self.next.tend {
            self.next.tend = now + TEND;
            if self.watch.changed() {
                info!("{} has changed", self.file.display());
                self.reload();
            }
            self.stale = true;
        }
        if self.next.share.is_some_and(|share| now >= share) {
            self.stale = true;
        }
    }

    fn look_at_counters(&mut self) {
        let before = self.now();
        match self.client.nodes() {
            Ok(nodes) => {
                let now = self.now();
                self.stale |= self.engine.counted(&nodes, now);
            }
            Err(error) => debug!("counters of the nodes: {error}"),
        }
        let now = self.now();
        self.next.counters = now + COUNTERS.max((now - before) * 20);
    }

    fn checked(&mut self, done: Result<(Place, CheckResult), tokio::task::JoinError>) {
        match done {
            Ok((place, result)) => {
                if let Err(why) = &result {
                    debug!(service = %place.0, node = %place.1, "check: {why}");
                }
                let now = self.now();
                self.stale |= self.engine.checked(place, result, now);
            }
            Err(error) => error!("a check ended by itself: {error}"),
        }
    }

    fn commit_first(&mut self) -> Result<(), Failure> {
        let wanted = self.engine.wanted(self.now());
        let outcome = self.client.apply(&wanted, false)?;
        self.committed(&outcome);
        Ok(())
    }

    /// Makes the filter hold what is wanted now. What it refuses stays as it is there, and is tried
    /// again: nothing of a commit is done when a part of it cannot be.
    fn commit(&mut self) {
        self.stale = false;
        let now = self.now();
        self.next.share = self.engine.next_share(now);
        for change in self.engine.news(now) {
            let (service, node) = change.place;
            let why = change.why;
            match change.now {
                Some(Verdict::Serve(_)) => info!(%service, %node, "is back: {why}"),
                Some(Verdict::Ejected) => warn!(%service, %node, "failed: {why}"),
                Some(Verdict::Kept) => error!(
                    %service, %node,
                    "failed, but stays: too many nodes of the service would be out: {why}"
                ),
                None => {}
            }
        }
        let engine = &mut self.engine;
        let outcome = self.client.update(false, |snapshot| {
            engine.drains(snapshot, now);
            Ok::<_, Error>(diff::diff(&snapshot.config(), &engine.wanted(now)))
        });
        match outcome {
            Ok(outcome) => {
                if self.trouble.take().is_some() {
                    info!("the filter takes changes again");
                }
                self.committed(&outcome);
            }
            Err(error) => {
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    error!("the filter does not take what it should hold: {text}");
                }
                self.trouble = Some(text);
            }
        }
        self.keep();
    }

    fn committed(&self, outcome: &fep_client::Outcome) {
        for change in &outcome.changes {
            info!("{change}");
        }
        if outcome.routes_deleted > 0 {
            info!(routes = outcome.routes_deleted, "ended with it");
        }
    }

    fn keep(&mut self) {
        if let Err(error) = self.state.keep(&self.engine.saved()) {
            error!("the state is not kept: {error}");
        }
    }

    fn reload(&mut self) {
        notify(&[
            NotifyState::Reloading,
            NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Ready),
        ]);
        match self.read_again() {
            Ok(()) => info!("{} is in force", self.file.display()),
            Err(error) => {
                for line in error.to_string().lines() {
                    error!("{line}");
                }
                error!(
                    "{} is refused; what was in force stays",
                    self.file.display()
                );
            }
        }
        notify(&[NotifyState::Ready]);
    }

    /// Takes the file, if the filter would take it, too.
    fn read_again(&mut self) -> Result<(), Failure> {
        let config = Config::load(&self.file)?;
        let old = self.engine.config();
        if (&config.daemon, &config.agents) != (&old.daemon, &old.agents) {
            return Err(io::Error::other(format!(
                "{}: daemon and agents change with a new start only",
                self.file.display()
            ))
            .into());
        }
        self.client.apply(&config.filter(), true)?;
        let now = self.now();
        self.engine.reload(config, now, &mut random);
        // Files that it names may be others, too.
        self.tls = Arc::default();
        self.stale = true;
        Ok(())
    }
}

/// Tells the service manager, where there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        debug!("the service manager was not told: {error}");
    }
}
