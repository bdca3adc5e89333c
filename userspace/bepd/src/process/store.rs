// SPDX-License-Identifier: GPL-2.0

//! What is remembered of the processes, so that an agent that starts again finds them.
//!
//! A process is noted with a mark before it is started and with its number afterwards. An agent that
//! ends between the two finds it by the mark, which is in its environment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// What is remembered of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Whether it shall run.
    pub(crate) wanted: bool,
    /// Its mark; none when it has not been started.
    pub(crate) mark: Option<String>,
    /// Its number and when it was started, in ticks since the node was.
    pub(crate) process: Option<(u32, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    boot: String,
    processes: BTreeMap<String, Saved>,
}

/// The file, which no other agent can have at the same time.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    kept: Mutex<Kept>,
    _lock: Flock<File>,
}

impl Store {
    /// Opens or makes it. What is from before the node was started counts for nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is not such a file, or another agent has it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let lock = File::options()
            .create(true)
            .append(true)
            .open(path.with_extension("lock"))
            .map_err(named)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, _)| named(io::Error::other("another agent has it")))?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let mut kept = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| named(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept {
                boot: String::new(),
                processes: BTreeMap::new(),
            },
            Err(error) => return Err(named(error)),
        };
        if kept.boot != boot {
            kept = Kept {
                boot,
                processes: BTreeMap::new(),
            };
        }
        Ok(Self {
            path: path.to_owned(),
            kept: Mutex::new(kept),
            _lock: lock,
        })
    }

    /// What is remembered of a process.
    pub(crate) fn get(&self, key: &str) -> Saved {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.processes.get(key).cloned().unwrap_or_default()
    }

    /// The keys of those that are remembered to run or be wanted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.processes.keys().cloned().collect()
    }

    /// Remembers a process; after an error what was remembered before is.
    pub(crate) fn change(&self, key: &str, change: impl FnOnce(&mut Saved)) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.processes.get(key).cloned();
        let mut saved = before.clone().unwrap_or_default();
        change(&mut saved);
        if saved == Saved::default() {
            kept.processes.remove(key);
        } else {
            kept.processes.insert(key.to_owned(), saved);
        }
        self.write(&kept).inspect_err(|_| {
            match before {
                Some(before) => kept.processes.insert(key.to_owned(), before),
                None => kept.processes.remove(key),
            };
        })
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        let part = self.path.with_extension("part");
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(&serde_json::to_vec(kept)?)?;
            file.sync_all()
        });
        written
            .and_then(|()| std::fs::rename(&part, &self.path))
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_again_by_one_agent_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let store = Store::open(&path).unwrap();
        store
            .change("web", |saved| saved.process = Some((7, 9)))
            .unwrap();
        store.change("ftp", |saved| saved.wanted = true).unwrap();
        store.change("ftp", |saved| saved.wanted = false).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(error.to_string().contains("another agent"), "{error}");
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.get("web").process, Some((7, 9)));
        assert_eq!(store.keys(), ["web"]);
    }

    #[test]
    fn what_is_of_another_boot_or_no_such_file_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        std::fs::write(
            &path,
            r#"{"boot":"x","processes":{"web":{"wanted":true,"mark":null,"process":[1,2]}}}"#,
        )
        .unwrap();
        assert!(Store::open(&path).unwrap().keys().is_empty());
        std::fs::write(&path, "{").unwrap();
        assert!(Store::open(&path)
            .unwrap_err()
            .to_string()
            .contains("state.json"));
    }

    #[test]
    fn what_cannot_be_written_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let store = Store::open(&path).unwrap();
        std::fs::create_dir(path.with_extension("part")).unwrap();
        assert!(store.change("web", |saved| saved.wanted = true).is_err());
        assert_eq!(store.get("web"), Saved::default());
    }
}
