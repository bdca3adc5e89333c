// SPDX-License-Identifier: GPL-2.0

//! A link to a front-end: answers what it asks, and reports at the interval that it wants.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fep_protocol::{Error, FromAgent, Peer, PeerReader, PeerWriter, ProcessStatus, ToAgent};
use tokio::sync::{broadcast, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{interval, Interval, MissedTickBehavior};

use crate::connections;
use crate::load::Sampler;
use crate::process::Processes;

/// Reports come no more often than this, whatever is asked for.
const REPORT_EVERY_MIN: Duration = Duration::from_millis(50);
/// So many requests of a front-end wait for those before them; then it waits.
const WAITING: usize = 16;

/// Serves a front-end until it closes the link.
pub(crate) async fn serve(
    peer: Peer,
    sampler: Sampler,
    namespaces: bool,
    processes: Option<Arc<Processes>>,
) {
    let (name, address) = (peer.name.clone(), peer.address);
    tracing::info!(front_end = name, %address, "front-end connected");
    let (reader, writer) = peer.split();
    let (to, from) = mpsc::channel(WAITING);
    let mut session = Session {
        writer,
        sampler,
        every: None,
        namespaces,
        changes: processes.as_ref().map(|all| all.changes()),
        processes,
    };
    // Neither is dropped before it is done, but for the end of the link.
    let ended = tokio::select! {
        ended = read(reader, to) => ended,
        ended = session.answer_all(from) => ended,
    };
    match ended {
        Ok(()) => tracing::info!(front_end = name, %address, "front-end has closed the link"),
        Err(error) => tracing::warn!(front_end = name, %address, %error, "link ended"),
    }
}

async fn read(mut reader: PeerReader, to: mpsc::Sender<ToAgent>) -> Result<(), Error> {
    while let Some(message) = reader.read().await? {
        if to.send(message).await.is_err() {
            break;
        }
    }
    Ok(())
}

struct Session {
    writer: PeerWriter,
    sampler: Sampler,
    every: Option<Interval>,
    namespaces: bool,
    processes: Option<Arc<Processes>>,
    changes: Option<broadcast::Receiver<ProcessStatus>>,
}

impl Session {
    async fn answer_all(&mut self, mut from: mpsc::Receiver<ToAgent>) -> Result<(), Error> {
        loop {
            let message = tokio::select! {
                message = from.recv() => message,
                () = tick(&mut self.every) => {
                    self.report(None).await?;
                    continue;
                }
                change = change(&mut self.changes) => {
                    self.changed(change).await?;
                    continue;
                }
            };
            match message {
                Some(message) => self.answer(message).await?,
                None => return Ok(()),
            }
        }
    }

    async fn answer(&mut self, message: ToAgent) -> Result<(), Error> {
        match message {
            ToAgent::AskReport { id, .. } => self.report(Some(id)).await,
            ToAgent::ReportEvery { ms } => {
                let every = Duration::from_millis(ms.into());
                self.every = (ms > 0).then(|| interval(every.max(REPORT_EVERY_MIN)));
                if let Some(every) = &mut self.every {
                    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
                }
                Ok(())
            }
            ToAgent::Connections { id, list } => {
                let namespaces = self.namespaces;
                let looked = spawn_blocking(move || connections::live(&list, namespaces)).await;
                match looked.unwrap_or_else(|error| Err(io::Error::other(error))) {
                    Ok(live) => self.writer.write(&FromAgent::Live { id, live }).await,
                    Err(error) => self.failed(id, &error.to_string()).await,
                }
            }
            ToAgent::DefineProcesses { id, keys } => self.of(id, |all| all.of(&keys)).await,
            ToAgent::ProcessList { id } => self.of(id, |all| Ok(all.list())).await,
            ToAgent::ProcessStart { id, key } => {
                let start = |all: &Processes| all.want(&key, true).map(|one| vec![one]);
                self.of(id, start).await
            }
            ToAgent::ProcessStop { id, key } => {
                let stop = |all: &Processes| all.want(&key, false).map(|one| vec![one]);
                self.of(id, stop).await
            }
            // Of a later version, or a second hello.
            _ => Ok(()),
        }
    }

    async fn report(&mut self, id: Option<u64>) -> Result<(), Error> {
        let list = self.processes.as_deref().map(Processes::list);
        let processes: Vec<_> = list
            .into_iter()
            .flatten()
            .filter_map(|one| Some((one.key, one.pid?)))
            .collect();
        match (self.sampler.report(&processes), id) {
            (Ok(report), id) => self.writer.write(&FromAgent::Report { id, report }).await,
            (Err(error), Some(id)) => self.failed(id, &error.to_string()).await,
            (Err(error), None) => {
                tracing::error!(%error, "cannot read the load");
                Ok(())
            }
        }
    }

    /// Answers with the states of processes.
    async fn of(
        &mut self,
        id: u64,
        ask: impl FnOnce(&Processes) -> Result<Vec<ProcessStatus>, String>,
    ) -> Result<(), Error> {
        let processes = self.processes.as_deref();
        let none = || Err("this agent controls no processes".to_owned());
        match processes.map_or_else(none, ask) {
            Ok(list) => self.writer.write(&FromAgent::Processes { id, list }).await,
            Err(why) => self.failed(id, &why).await,
        }
    }

    /// Tells of a change; of all states when some of the changes were missed.
    async fn changed(&mut self, change: Option<ProcessStatus>) -> Result<(), Error> {
        let list = match (change, &self.processes) {
            (Some(one), _) => vec![one],
            (None, Some(all)) => all.list(),
            (None, None) => Vec::new(),
        };
        for process in list {
            let message = FromAgent::ProcessChanged { process };
            self.writer.write(&message).await?;
        }
        Ok(())
    }

    async fn failed(&mut self, id: u64, why: &str) -> Result<(), Error> {
        tracing::warn!(id, why, "request failed");
        let why = why.to_owned();
        self.writer.write(&FromAgent::Failed { id, why }).await
    }
}

/// The next change of a process; none when some were missed.
async fn change(changes: &mut Option<broadcast::Receiver<ProcessStatus>>) -> Option<ProcessStatus> {
    match changes {
        Some(changes) => match changes.recv().await {
            Ok(process) => Some(process),
            Err(broadcast::error::RecvError::Lagged(_)) => None,
            Err(broadcast::error::RecvError::Closed) => pending().await,
        },
        None => pending().await,
    }
}

/// The next tick; never comes without an interval.
pub(crate) async fn tick(every: &mut Option<Interval>) {
    match every {
        Some(every) => drop(every.tick().await),
        None => pending().await,
    }
}
