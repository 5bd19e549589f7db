//! The directory that a server keeps everything in: where it is, and that only one server has it.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::data;
use crate::failure::{Failure, Kind};

/// A data directory that this process has to itself, as long as the value lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Where it is or will be.
    pub(super) fn locate(given: Option<&Path>) -> Result<PathBuf, Failure> {
        given.map_or_else(default_path, |path| Ok(path.to_owned()))
    }

    /// Makes the directory where it is missing, and locks it.
    pub(super) fn open(given: Option<&Path>) -> Result<Self, Failure> {
        let path = Self::locate(given)?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| Failure::file(&path, &error))?;
        let path = path.canonicalize().map_err(|error| Failure::file(&path, &error))?;
        let lock_path = path.join("serve.lock");
        let lock = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| Failure::file(&lock_path, &error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure::new(
                Kind::Unavailable,
                format!("another mailwire is serving from {}", path.display()),
            )
            .advise("stop that one, or take another directory with --dir DIR")),
            Err(error) => Err(Failure::file(&lock_path, &error.into())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where certificates and their keys are.
    pub(super) fn tls(&self) -> PathBuf {
        self.path.join("tls")
    }
}

fn default_path() -> Result<PathBuf, Failure> {
    data::directory().ok_or_else(|| {
        Failure::new(Kind::Configuration, "no data directory: neither HOME nor XDG_DATA_HOME is set")
            .advise("--dir DIR")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_server_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = Directory::open(Some(&path)).unwrap();
        assert_eq!(std::fs::metadata(first.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let failure = Directory::open(Some(&path)).unwrap_err();
        assert!(failure.to_string().contains("another mailwire") && failure.advice.is_some(), "{failure}");
        drop(first);
        assert!(Directory::open(Some(&path)).is_ok());
    }
}
