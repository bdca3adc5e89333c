// SPDX-License-Identifier: GPL-2.0

//! The server processes of the node (F10): what front-ends may have started and stopped.

mod keeper;
mod ready;
mod running;
pub(crate) mod spec;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fep_protocol::{ProcessState, ProcessStatus};
use tokio::sync::broadcast;

use keeper::Keeper;
use spec::Spec;
use store::Store;

/// So many changes wait for a link that is slow; then it is told all states instead.
const CHANGES: usize = 256;

/// The configured processes. They outlive links, readings of the configuration and the agent.
#[derive(Debug)]
pub(crate) struct Processes {
    keepers: Mutex<BTreeMap<String, Arc<Keeper>>>,
    changes: broadcast::Sender<ProcessStatus>,
    store: Arc<Store>,
}

impl Processes {
    /// Takes the processes over that an agent before has started.
    ///
    /// # Errors
    ///
    /// When the file of the states cannot be used, or it names a process that is not configured.
    pub(crate) fn start(state: &Path, specs: &BTreeMap<String, Spec>) -> io::Result<Self> {
        let processes = Self {
            keepers: Mutex::default(),
            changes: broadcast::channel(CHANGES).0,
            store: Arc::new(Store::open(state)?),
        };
        let unknown = processes.store.keys().into_iter();
        if let Some(key) = unknown.clone().find(|key| !specs.contains_key(key)) {
            return Err(runs_still(&key));
        }
        processes.define(specs)?;
        Ok(processes)
    }

    /// Takes new definitions; one that runs is started with its own the next time. Nothing changes
    /// after an error.
    ///
    /// # Errors
    ///
    /// When a process that is not stopped is defined no more.
    pub(crate) fn define(&self, specs: &BTreeMap<String, Spec>) -> io::Result<()> {
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |keeper: &Keeper| {
            let state = keeper.status().state;
            matches!(state, ProcessState::Stopped | ProcessState::Failed)
        };
        let gone =
            |(key, keeper): &(&String, &Arc<Keeper>)| !specs.contains_key(*key) && !idle(keeper);
        if let Some((key, _)) = keepers.iter().find(gone) {
            return Err(runs_still(key));
        }
        let mut new = Vec::new();
        for (key, spec) in specs.iter().filter(|(key, _)| !keepers.contains_key(*key)) {
            let (store, changes) = (self.store.clone(), self.changes.clone());
            new.push((
                key.clone(),
                Keeper::start(key, spec.clone(), store, changes)?,
            ));
        }
        keepers.retain(|key, keeper| {
            let kept = specs.contains_key(key);
            if !kept {
                keeper.release();
            }
            kept
        });
        for (key, keeper) in &*keepers {
            keeper.define(specs[key].clone());
        }
        keepers.extend(new);
        Ok(())
    }

    /// The states from here on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<ProcessStatus> {
        self.changes.subscribe()
    }

    /// The states of all.
    pub(crate) fn list(&self) -> Vec<ProcessStatus> {
        let keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.values().map(|keeper| keeper.status()).collect()
    }

    /// The states of some.
    ///
    /// # Errors
    ///
    /// Names one that is not configured.
    pub(crate) fn of(&self, keys: &[String]) -> Result<Vec<ProcessStatus>, String> {
        keys.iter().map(|key| Ok(self.one(key)?.status())).collect()
    }

    /// Has one run, or not run; its state now.
    ///
    /// # Errors
    ///
    /// When it is not configured, or that cannot be remembered; then nothing happens.
    pub(crate) fn want(&self, key: &str, wanted: bool) -> Result<ProcessStatus, String> {
        let keeper = self.one(key)?;
        keeper.want(wanted).map_err(|error| error.to_string())
    }

    fn one(&self, key: &str) -> Result<Arc<Keeper>, String> {
        let keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = keepers.get(key).cloned();
        found.ok_or_else(|| format!("process {key:?}: not configured at this node"))
    }
}

fn runs_still(key: &str) -> io::Error {
    io::Error::other(format!(
        "process {key}: it is not stopped, but no longer configured"
    ))
}
