// SPDX-License-Identifier: GPL-2.0

//! What outlives the daemon: a small file, written whole or not at all.
//!
//! That a node is failed is read back from the filter, which is right even when the daemon was killed
//! between a decision and its file; what the mark does not say is here.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fep_control::plane::Saved;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// The version of the file that is written.
const VERSION: u32 = 1;

/// The file's text.
#[derive(Serialize, Deserialize)]
struct Text {
    version: u32,
    #[serde(flatten)]
    saved: Saved,
}

/// The file, which no other daemon has.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    /// Held for as long as the daemon runs.
    _lock: Flock<File>,
    written: Option<Saved>,
}

fn context(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl StateFile {
    /// Opens the file at a path, and its folder where there is none. Reads what it has.
    ///
    /// # Errors
    ///
    /// It cannot be read or written, another daemon has it, or it is not a state file.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Saved)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(context(folder))?;
        }
        let lock = path.with_extension("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock);
        let file = file.map_err(context(&lock))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
            let text = match errno {
                nix::errno::Errno::EWOULDBLOCK => "another fepd runs with it".to_owned(),
                other => other.to_string(),
            };
            io::Error::other(format!("{}: {text}", lock.display()))
        })?;
        let saved = match fs::read(path) {
            Ok(bytes) => read(&bytes).map_err(context(path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::default(),
            Err(error) => return Err(context(path)(error)),
        };
        let file = Self {
            path: path.to_owned(),
            _lock: lock,
            written: None,
        };
        Ok((file, saved))
    }

    /// Keeps something, where it is not what the file has.
    ///
    /// # Errors
    ///
    /// It could not be written; the file is as it was.
    pub(crate) fn keep(&mut self, saved: &Saved) -> io::Result<()> {
        if self.written.as_ref() == Some(saved) {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(context(folder))?;
        let mut text = serde_json::to_vec_pretty(&Text {
            version: VERSION,
            saved: saved.clone(),
        })?;
        text.push(b'\n');
        let written = file
            .write_all(&text)
            .and_then(|()| file.as_file().sync_all());
        written.map_err(context(&self.path))?;
        file.persist(&self.path)
            .map_err(|error| context(&self.path)(error.error))?;
        // The name itself is on the disk only with its folder.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(context(folder))?;
        self.written = Some(saved.clone());
        Ok(())
    }
}

fn read(bytes: &[u8]) -> io::Result<Saved> {
    let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let text: Text = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if text.version > VERSION {
        return Err(wrong(format!(
            "is of version {}, this fepd knows {VERSION}",
            text.version
        )));
    }
    Ok(text.saved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered() -> Saved {
        let mut saved = Saved::default();
        saved.ratios.insert([10, 0, 0, 1].into(), 500);
        saved
    }

    #[test]
    fn what_is_kept_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/fepd.json");
        let (mut file, saved) = StateFile::open(&path).unwrap();
        assert_eq!(saved, Saved::default());
        let kept = lowered();
        file.keep(&kept).unwrap();
        let busy = StateFile::open(&path).unwrap_err().to_string();
        assert!(
            busy.ends_with("fepd.lock: another fepd runs with it"),
            "{busy}"
        );
        drop(file);
        let (_, saved) = StateFile::open(&path).unwrap();
        assert_eq!(saved, kept);
    }

    #[test]
    fn what_is_not_a_state_file_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fepd.json");
        for (text, wanted) in [
            ("", "EOF"),
            ("{\"version\":1,", "EOF"),
            ("{\"version\":2}", "is of version 2, this fepd knows 1"),
        ] {
            fs::write(&path, text).unwrap();
            let error = StateFile::open(&path).unwrap_err().to_string();
            assert!(
                error.contains("fepd.json: ") && error.contains(wanted),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_full_disk_leaves_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fepd.json");
        let (mut file, _) = StateFile::open(&path).unwrap();
        file.keep(&Saved::default()).unwrap();
        let before = fs::read(&path).unwrap();
        // A folder that is gone stands for a disk that takes nothing.
        file.path = folder.path().join("gone/fepd.json");
        assert!(file.keep(&lowered()).is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}
