// SPDX-License-Identifier: GPL-2.0

//! What the configuration says of a server process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::User;
use serde::Deserialize;
use toml::Spanned;

/// Longest time that can be configured, in milliseconds: an hour.
const MS_MAX: u64 = 3_600_000;

/// A server process that front-ends may have started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// The program, and what it is given.
    pub(crate) command: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// Its user and group; none: those of the agent.
    pub(crate) user: Option<(u32, u32)>,
    pub(crate) ready: Ready,
    /// It must be ready within this time.
    pub(crate) ready_limit: Duration,
    pub(crate) stop_signal: Signal,
    /// It is killed when it has not ended so long after the stop signal.
    pub(crate) grace: Duration,
    /// Time until it is started again, doubled with each failure in a row.
    pub(crate) restart_delay: Duration,
    /// So often in a row; then it has failed.
    pub(crate) restarts: u32,
}

/// How it shows that it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ready {
    /// It runs.
    #[default]
    Running,
    /// It accepts a connection.
    Tcp(SocketAddr),
    /// It answers a GET with a status of 200 to 299.
    Http {
        /// Where.
        address: SocketAddr,
        /// Of what.
        path: String,
    },
    /// A command ends with 0.
    Command(Vec<String>),
}

/// A process as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    command: Spanned<PathBuf>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    user: Option<Spanned<String>>,
    ready: Option<Spanned<Ready>>,
    ready_limit_ms: Option<Spanned<u64>>,
    stop_signal: Option<Spanned<String>>,
    grace_ms: Option<Spanned<u64>>,
    restart_delay_ms: Option<Spanned<u64>>,
    restarts: Option<u32>,
}

impl Written {
    /// What it means; `wrong` is told place, key and rule of each error.
    pub(crate) fn check(self, mut wrong: impl FnMut(usize, &str, String)) -> Option<Spec> {
        let mut right = true;
        let mut bad = |at: usize, key: &str, why: String| {
            right = false;
            wrong(at, key, why);
        };
        let command = self.command.get_ref();
        if !command.is_absolute() || !command.is_file() {
            let why = format!("{command:?}: not the whole path of a file");
            bad(self.command.span().start, "command", why);
        }
        let user = self.user.and_then(|name| {
            let found = User::from_name(name.get_ref()).ok().flatten();
            if found.is_none() {
                let why = format!("{:?}: no such user", name.get_ref());
                bad(name.span().start, "user", why);
            }
            found.map(|user| (user.uid.as_raw(), user.gid.as_raw()))
        });
        let (at, ready) = self
            .ready
            .map_or((0, Ready::Running), |r| (r.span().start, r.into_inner()));
        match &ready {
            Ready::Command(words) if !words.first().is_some_and(|word| word.starts_with('/')) => {
                let why = "command: its first word is not a whole path".to_owned();
                bad(at, "ready", why);
            }
            Ready::Http { path, .. }
                if !path.starts_with('/') || path.contains(|c: char| c <= ' ' || c > '~') =>
            {
                bad(at, "ready", format!("http: {path:?}: not a path"));
            }
            _ => {}
        }
        let signal = self.stop_signal.and_then(|name| {
            let found = Signal::from_str(name.get_ref()).ok();
            if found.is_none() {
                let why = format!("{:?}: no signal, such as SIGTERM", name.get_ref());
                bad(name.span().start, "stop_signal", why);
            }
            found
        });
        let mut time = |key: &str, ms: Option<Spanned<u64>>, default: u64| {
            let (at, ms) = ms.map_or((0, default), |ms| (ms.span().start, ms.into_inner()));
            if !(1..=MS_MAX).contains(&ms) {
                bad(at, key, format!("{ms} (1 to {MS_MAX} ms)"));
            }
            Duration::from_millis(ms)
        };
        let ready_limit = time("ready_limit_ms", self.ready_limit_ms, 30_000);
        let grace = time("grace_ms", self.grace_ms, 30_000);
        let restart_delay = time("restart_delay_ms", self.restart_delay_ms, 500);
        right.then(|| Spec {
            command: self.command.into_inner(),
            args: self.args,
            env: self.env,
            user,
            ready,
            ready_limit,
            stop_signal: signal.unwrap_or(Signal::SIGTERM),
            grace,
            restart_delay,
            restarts: self.restarts.unwrap_or(5),
        })
    }
}
