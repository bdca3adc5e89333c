// SPDX-License-Identifier: GPL-2.0

//! The running agent: serves its front-ends, reads its configuration again, and ends in order.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fep_protocol::{Error, Limits, Server, FEATURE_CONNECTIONS, FEATURE_PROCESSES};
use sd_notify::NotifyState;
use tokio::signal::unix::{signal, SignalKind};
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::config::Config;
use crate::link;
use crate::load::Sampler;
use crate::process::Processes;

/// What is served with one reading of the configuration.
struct Service {
    at: SocketAddr,
    listener: TcpListener,
    server: Arc<Server>,
    task: JoinHandle<()>,
}

impl Service {
    /// Serves as configured; `before` gives its socket when that is where to listen. It is not
    /// touched, but for that the links are ended by the caller afterwards.
    fn start(
        config: Config,
        processes: Option<Arc<Processes>>,
        before: Option<&Self>,
    ) -> io::Result<Self> {
        let mut features = vec![FEATURE_CONNECTIONS];
        features.extend(processes.as_ref().map(|_| FEATURE_PROCESSES));
        let server = Server::new(
            &config.identity,
            &config.node,
            env!("CARGO_PKG_VERSION"),
            &features,
            &config.front_ends,
            Limits::default(),
            refused,
        )
        .map_err(io::Error::other)?;
        let sampler = Sampler::new(Path::new("/proc"))?;
        let listener = match before {
            Some(before) if before.at == config.listen => before.listener.try_clone()?,
            _ => {
                let named = |error: io::Error| {
                    io::Error::new(error.kind(), format!("listen {}: {error}", config.listen))
                };
                let listener = TcpListener::bind(config.listen).map_err(named)?;
                listener.set_nonblocking(true)?;
                listener
            }
        };
        let accepting = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
        let server = Arc::new(server);
        let namespaces = config.namespaces;
        let serving = server.clone().serve(accepting, move |peer| {
            link::serve(peer, sampler.clone(), namespaces, processes.clone())
        });
        Ok(Self {
            at: config.listen,
            listener,
            server,
            task: tokio::spawn(serving),
        })
    }

    fn end(self) {
        self.task.abort();
        self.server.close();
    }
}

fn refused(address: IpAddr, error: &Error) {
    tracing::warn!(%address, %error, "peer refused");
}

/// Runs until SIGTERM or SIGINT. SIGHUP reads the file again: when it is right the links are made
/// anew with it, else everything stays as it is.
pub(crate) async fn run(path: &Path, config: Config) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let processes = match &config.state {
        Some(state) => Some(Arc::new(Processes::start(state, &config.processes)?)),
        None => None,
    };
    let state = config.state.clone();
    let mut service = Service::start(config, processes.clone(), None)?;
    tracing::info!(listen = %service.at, "ready");
    tell(&[NotifyState::Ready]);
    let mut watchdog = watchdog();
    loop {
        tokio::select! {
            _ = hangup.recv() => service = reload(path, service, state.as_deref(), processes.as_ref()),
            () = link::tick(&mut watchdog) => tell(&[NotifyState::Watchdog]),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tell(&[NotifyState::Stopping]);
    service.end();
    tracing::info!("ended");
    Ok(())
}

fn reload(
    path: &Path,
    service: Service,
    state: Option<&Path>,
    processes: Option<&Arc<Processes>>,
) -> Service {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            tracing::error!(%errors, "configuration refused, the old one stays");
            return service;
        }
    };
    if config.state.as_deref() != state {
        let error = "another `state` is taken when the agent is started again";
        tracing::error!(error, "configuration refused, the old one stays");
        return service;
    }
    let specs = config.processes.clone();
    let started = Service::start(config, processes.cloned(), Some(&service));
    let defined = |new: Service| match processes.map_or(Ok(()), |all| all.define(&specs)) {
        Ok(()) => Ok(new),
        Err(error) => {
            new.end();
            Err(error)
        }
    };
    match started.and_then(defined) {
        Ok(new) => {
            service.end();
            tracing::info!(listen = %new.at, "configuration read again");
            new
        }
        Err(error) => {
            tracing::error!(%error, "configuration refused, the old one stays");
            service
        }
    }
}

/// Twice in the time that systemd gives, if it gives one.
fn watchdog() -> Option<tokio::time::Interval> {
    let mut us = 0;
    let wanted = sd_notify::watchdog_enabled(false, &mut us) && us > 1;
    wanted.then(|| interval(Duration::from_micros(us / 2)))
}

/// Tells systemd, when there is one.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}
