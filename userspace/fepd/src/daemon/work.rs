// SPDX-License-Identifier: GPL-2.0

//! The loop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fep_client::{diff, Client, Error, Outcome};
use fep_config::Config;
use fep_control::plane::{Action, Notice, Saved};
use fep_operator::{Call, Listener};
use nix::time::{clock_gettime, ClockId};
use sd_notify::NotifyState;
use tokio::signal::unix::{signal, Signal, SignalKind};
use tokio::sync::{mpsc, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::agents::{Agents, Questions};
use crate::checks::{self, Means};
use crate::engine::{CheckResult, Engine, Place};
use crate::state::StateFile;
use crate::watch::Watch;

use super::Failure;

/// So many checks are under way at once; others wait for one to end.
const CHECKS_MAX: usize = 512;

/// So many requests of administrators wait.
const CALLS_MAX: usize = 64;

/// How often decisions are made. What a check has found waits for so long at most.
const STEP: Duration = Duration::from_millis(100);

/// How often the filter's counters are looked at. A look takes at most a twentieth of the time.
const COUNTERS: Duration = Duration::from_millis(250);

/// How often the file is looked at, and the filter is compared with what it should hold.
const TEND: Duration = Duration::from_secs(1);

/// A daemon at work.
pub(super) struct Daemon {
    pub(super) file: PathBuf,
    watch: Watch,
    pub(super) engine: Engine,
    pub(super) client: Client,
    state: StateFile,
    checks: JoinSet<(Place, CheckResult)>,
    free: Arc<Semaphore>,
    means: Means,
    pub(super) agents: Agents,
    pub(super) questions: Questions,
    /// What the filter was made to hold last.
    held: Option<fep_client::Config>,
    /// The last commit did not succeed, for this reason.
    pub(super) trouble: Option<String>,
    /// The state file was not written last time, for this reason.
    pub(super) state_trouble: Option<String>,
    /// When it began.
    pub(super) began: Duration,
    /// When the file was read again last, and what was wrong with it.
    pub(super) reloaded: Option<(Duration, Option<String>)>,
    calls: mpsc::Receiver<Call>,
    /// The number of the last order to an agent.
    pub(super) orders: u64,
    watchdog: Option<Duration>,
    next: Next,
}

/// When what is done by time is due.
#[derive(Default)]
struct Next {
    step: Duration,
    counters: Duration,
    tend: Duration,
    watchdog: Duration,
}

/// The signals.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// The time since the machine was started: it goes on while the daemon does not run, and nobody sets
/// it.
pub(super) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
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
        saved: Saved,
    ) -> Result<Self, Failure> {
        let agents = Agents::new(&config)?;
        let socket = config.daemon.socket.clone();
        let held = client.snapshot()?.config();
        let engine = Engine::new(config, &held, saved, now(), &mut random);
        let mut micros = 0;
        let watchdog = sd_notify::watchdog_enabled(false, &mut micros);
        Ok(Self {
            file: file.to_owned(),
            watch: Watch::new(file),
            engine,
            client,
            state,
            checks: JoinSet::new(),
            free: Arc::new(Semaphore::new(CHECKS_MAX)),
            means: Means {
                agents: agents.alive(),
                ..Means::default()
            },
            agents,
            questions: Questions::default(),
            held: None,
            trouble: None,
            state_trouble: None,
            began: now(),
            reloaded: None,
            calls: listen(&socket)?,
            orders: 0,
            watchdog: watchdog.then(|| Duration::from_micros(micros) / 3),
            next: Next::default(),
        })
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
        let wanted = self.engine.plane().wanted(now());
        let outcome = self.client.apply(&wanted, false)?;
        committed(&outcome);
        notify(&[NotifyState::Ready]);
        info!(
            services = self.engine.config().services.len(),
            nodes = self.engine.config().nodes.len(),
            "watches"
        );
        loop {
            self.by_time();
            let wait = self.wake().saturating_sub(now());
            tokio::select! {
                biased;
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                // What is wrong was logged.
                _ = signals.hangup.recv() => drop(self.reload()),
                Some(done) = self.checks.join_next() => self.checked(done),
                (node, said) = self.agents.next() => self.heard(node, said),
                Some(call) = self.calls.recv() => self.asked(call),
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
            step,
            counters,
            tend,
            watchdog,
        } = self.next;
        let due = step.min(counters).min(tend);
        self.watchdog.map_or(due, |_| due.min(watchdog))
    }

    fn by_time(&mut self) {
        let time = now();
        if let (Some(period), true) = (self.watchdog, time >= self.next.watchdog) {
            notify(&[NotifyState::Watchdog]);
            self.next.watchdog = time + period;
        }
        if time >= self.next.counters {
            self.look_at_counters();
        }
        let tend = time >= self.next.tend;
        if tend {
            self.next.tend = time + TEND;
            if self.watch.changed() {
                info!("{} has changed", self.file.display());
                // What is wrong was logged.
                drop(self.reload());
            }
        }
        if tend || time >= self.next.step {
            self.next.step = time + STEP;
            self.begin_checks();
            self.step(tend);
        }
    }

    fn begin_checks(&mut self) {
        for order in self.engine.due(now(), &mut random) {
            let (free, means) = (Arc::clone(&self.free), self.means.clone());
            self.checks.spawn(async move {
                // It is never closed.
                let _permit = free.acquire_owned().await;
                (order.place, checks::run(&means, &order).await)
            });
        }
    }

    fn look_at_counters(&mut self) {
        let before = now();
        match self.client.nodes() {
            Ok(nodes) => self.engine.counted(&nodes, now()),
            Err(error) => debug!("counters of the nodes: {error}"),
        }
        let after = now();
        self.next.counters = after + COUNTERS.max(after.saturating_sub(before) * 20);
    }

    fn checked(&mut self, done: Result<(Place, CheckResult), JoinError>) {
        match done {
            Ok((place, result)) => {
                if let Err(why) = &result {
                    debug!(service = %place.0, node = %place.1, "check: {why}");
                }
                self.engine.checked(place, result, now());
            }
            Err(error) => error!("a check ended by itself: {error}"),
        }
    }

    /// Decides; writes down what another life has to know; then changes the filter; then does the rest.
    /// `whole`: whatever was decided, the filter is compared with what it should hold.
    pub(super) fn step(&mut self, whole: bool) {
        let time = now();
        let actions = self.engine.step(time);
        for (service, node) in self.engine.alarms(time) {
            let why = self.why((service, node));
            error!(%service, %node, "does not answer, but stays: too many nodes would be out{why}");
        }
        let kept = self.keep();
        let wanted = self.engine.plane().wanted(time);
        if whole || self.held.as_ref() != Some(&wanted) {
            self.commit(wanted);
        }
        for action in actions {
            // What is not written down is not begun: nobody would know of it later. It is ordered again.
            if kept || !matches!(action, Action::Start { .. }) {
                self.act(action);
            }
        }
    }

    /// Makes the filter hold what is wanted now. What it refuses stays as it is there, and is tried
    /// again: nothing of a commit is done when a part of it cannot be.
    fn commit(&mut self, wanted: fep_client::Config) {
        let mut seen = None;
        let outcome = self.client.update(false, |snapshot| {
            let changes = diff::diff(&snapshot.config(), &wanted);
            seen = changes.is_empty().then(|| snapshot.clone());
            Ok::<_, Error>(changes)
        });
        match outcome {
            Ok(outcome) => {
                if self.trouble.take().is_some() {
                    info!("the filter takes changes again");
                }
                committed(&outcome);
                self.held = Some(wanted);
                // Read when nothing had to be changed: what it says is of what is wanted.
                if let Some(seen) = seen {
                    self.engine.listed(&seen, now());
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    error!("the filter does not take what it should hold: {text}");
                }
                self.trouble = Some(text);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Tell(notice) => self.tell(notice),
            Action::EndDead { service, node } => self.end_dead(service, node),
            Action::Start { service, node, .. } => self.order(service, node, true),
            Action::Stop { service, node } => self.order(service, node, false),
        }
    }

    fn tell(&self, notice: Notice) {
        match notice {
            Notice::Failed(service, node, cause) => {
                let cause = format!("{cause:?}").to_lowercase();
                let why = self.why((service, node));
                warn!(%service, %node, "failed, by {cause}{why}");
            }
            Notice::Returned(service, node) => info!(%service, %node, "is back"),
            Notice::Ratio(node, ratio) => {
                info!(%node, "gets {}.{} % of its weight", ratio / 10, ratio % 10);
            }
            Notice::Process(service, notice) => info!(%service, "process: {notice:?}"),
        }
    }

    fn why(&self, place: Place) -> String {
        match self.engine.last(place) {
            Some((_, Err(why))) => format!(": {why}"),
            _ => String::new(),
        }
    }

    /// Writes down what another life needs. Returns whether it is written.
    fn keep(&mut self) -> bool {
        let kept = self.state.keep(&self.engine.plane().saved());
        let trouble = kept.err().map(|error| error.to_string());
        if let Some(error) = trouble
            .as_ref()
            .filter(|now| self.state_trouble.as_ref() != Some(now))
        {
            error!("the state is not kept: {error}");
        }
        self.state_trouble = trouble;
        self.state_trouble.is_none()
    }

    /// Reads the file again.
    ///
    /// # Errors
    ///
    /// What is wrong, a line for each mistake; what was in force stays.
    pub(super) fn reload(&mut self) -> Result<(), String> {
        let reloading = [
            NotifyState::Reloading,
            NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Ready),
        ];
        notify(&reloading);
        // What is seen is what is read now.
        self.watch.changed();
        let done = self.read_again().map_err(|error| error.to_string());
        let file = self.file.display();
        match &done {
            Ok(()) => info!("{file} is in force"),
            Err(text) => {
                for line in text.lines() {
                    error!("{line}");
                }
                error!("{file} is refused; what was in force stays");
            }
        }
        self.reloaded = Some((now(), done.clone().err()));
        notify(&[NotifyState::Ready]);
        done
    }

    /// Whether a configuration could be in force.
    pub(super) fn try_config(&mut self, config: &Config) -> Result<(), Failure> {
        let old = self.engine.config();
        if (&config.daemon, &config.agents) != (&old.daemon, &old.agents) {
            return Err(io::Error::other(format!(
                "{}: daemon and agents change with a new start only",
                self.file.display()
            ))
            .into());
        }
        self.client.apply(&config.filter(), true)?;
        Ok(())
    }

    /// Takes the file, if the filter would take it, too.
    fn read_again(&mut self) -> Result<(), Failure> {
        let config = Config::load(&self.file)?;
        self.try_config(&config)?;
        self.engine.reload(config, now(), &mut random);
        // Files that it names may be others, too.
        self.means.tls = Arc::default();
        self.agents.set(self.engine.config());
        Ok(())
    }
}

/// Listens for administrators.
fn listen(socket: &Path) -> io::Result<mpsc::Receiver<Call>> {
    let listener = Listener::bind(socket)?;
    let (sender, calls) = mpsc::channel(CALLS_MAX);
    let program = concat!("fepd ", env!("CARGO_PKG_VERSION"));
    tokio::spawn(fep_operator::serve(listener, program, sender));
    Ok(calls)
}

fn committed(outcome: &Outcome) {
    for change in &outcome.changes {
        info!("{change}");
    }
    if outcome.routes_deleted > 0 {
        info!(routes = outcome.routes_deleted, "ended with it");
    }
}

/// Tells the service manager, where there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        debug!("the service manager was not told: {error}");
    }
}
