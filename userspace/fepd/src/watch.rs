// SPDX-License-Identifier: GPL-2.0

//! Whether a file has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that is looked at again and again. Editors and configuration systems write over a file or
/// put another in its place: both are seen, on any file system.
#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    seen: Option<Stamp>,
}

type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    let (dev, ino, size) = (found.dev(), found.ino(), found.size());
    Some((dev, ino, size, found.mtime(), found.mtime_nsec()))
}

impl Watch {
    /// Watches from now on.
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            seen: stamp(path),
        }
    }

    /// Whether it is there and another than last time.
    pub(crate) fn changed(&mut self) -> bool {
        let now = stamp(&self.path);
        if now.is_none() || now == self.seen {
            return false;
        }
        self.seen = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "a").unwrap();
        let mut watch = Watch::new(&path);
        assert!(!watch.changed());
        fs::write(&path, "ab").unwrap();
        assert!(watch.changed());
        assert!(!watch.changed());
        fs::remove_file(&path).unwrap();
        assert!(!watch.changed());
        fs::write(folder.path().join("g"), "ab").unwrap();
        fs::rename(folder.path().join("g"), &path).unwrap();
        assert!(watch.changed());
    }
}
