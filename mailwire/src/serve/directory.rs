//! The directory that a server keeps everything in: where it is, and that only one server has it.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::data;
use crate::failure::{Failure, Kind};
use crate::private;

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

    /// Makes the directory where it is missing, and locks it. Whatever this process creates from here on is private.
    ///
    /// # Errors
    /// The directory cannot be made, other users can change what is in it, or another server has it.
    pub(super) fn open(given: Option<&Path>) -> Result<Self, Failure> {
        let path = Self::locate(given)?;
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        created.map_err(|error| not_writable(&path, &error))?;
        let path = path.canonicalize().map_err(|error| not_writable(&path, &error))?;
        private::check_directory(&path)?;
        make_private(&path)?;
        let lock_path = path.join("serve.lock");
        let lock = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| not_writable(&path, &error))?;
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

/// Takes the rights of other users from what is directly in the directory and was made with a looser umask. Keys are left
/// alone: one that other users could read is refused where it is opened.
fn make_private(directory: &Path) -> Result<(), Failure> {
    let entries = std::fs::read_dir(directory).map_err(|error| not_writable(directory, &error))?;
    for entry in entries.flatten() {
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        let mode = metadata.permissions().mode();
        if !metadata.is_symlink() && mode & 0o077 != 0 && (metadata.is_file() || metadata.is_dir()) {
            let private = std::fs::Permissions::from_mode(mode & 0o700);
            if let Err(error) = std::fs::set_permissions(entry.path(), private) {
                tracing::warn!(%error, "a file in the data directory cannot be made private");
            }
        }
    }
    Ok(())
}

fn not_writable(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::new(Kind::Configuration, format!("{}: {error}", path.display()));
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            failure.advise("a directory that this user can write to, with --dir DIR")
        }
        std::io::ErrorKind::NotFound => failure
            .advise("a directory on a disk that can be written to, with --dir DIR: a part of this name is missing there"),
        std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
            failure.advise("a directory, with --dir DIR: a file has that name")
        }
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            failure.advise("make room on that disk, or take another directory with --dir DIR")
        }
        _ => failure.advise("another directory with --dir DIR"),
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
