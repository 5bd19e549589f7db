//! The server's data directory: its location, the lock that admits one server, and the mail store in it.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mailstore::{MemoryStore, SqliteStore};
use rustix::fs::{FlockOperation, flock};

use crate::command_error::{CommandError, ExitCode};
use crate::private_files;
use crate::user_directories::user_data_directory;

/// A locked data directory. The lock is released when the value is dropped.
#[derive(Debug)]
pub(super) struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Returns the path of the directory, which need not exist.
    pub(super) fn locate(given: Option<&Path>) -> Result<PathBuf, CommandError> {
        given.map_or_else(default_path, |path| Ok(path.to_owned()))
    }

    /// Creates the directory if it is missing, and locks it. Files that this process creates from now on are private.
    ///
    /// # Errors
    /// The directory cannot be created, other users can write to it, or another server has locked it.
    pub(super) fn open(given: Option<&Path>) -> Result<Self, CommandError> {
        let path = Self::locate(given)?;
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        created.map_err(|error| not_writable(&path, &error))?;
        let path = path.canonicalize().map_err(|error| not_writable(&path, &error))?;
        private_files::check_directory(&path)?;
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
            Err(rustix::io::Errno::WOULDBLOCK) => Err(CommandError::new(
                ExitCode::Unavailable,
                format!("another mailwire is serving from {}", path.display()),
            )
            .advise("stop that one, or take another directory with --dir DIR")),
            Err(error) => Err(CommandError::file(&lock_path, &error.into())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory of certificates and their keys.
    pub(super) fn tls(&self) -> PathBuf {
        self.path.join("tls")
    }
}

/// Opens the store in a data directory. It derives SCRAM keys from each new password.
pub(super) fn open_store(path: &Path) -> mailstore::Result<SqliteStore> {
    SqliteStore::open(path)
}

/// Creates a store in memory. It derives SCRAM keys from each new password.
pub(super) fn memory_store() -> mailstore::Result<MemoryStore> {
    MemoryStore::new()
}

/// Removes the permissions of other users from the entries of the directory, which may have been created with a looser
/// umask. Does not change keys: one that other users can read is rejected when it is opened.
fn make_private(directory: &Path) -> Result<(), CommandError> {
    let entries = std::fs::read_dir(directory).map_err(|error| not_writable(directory, &error))?;
    for entry in entries.flatten() {
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        let mode = metadata.permissions().mode();
        if !metadata.is_symlink() && mode & 0o077 != 0 && (metadata.is_file() || metadata.is_dir()) {
            let private = std::fs::Permissions::from_mode(mode & 0o700);
            if let Err(error) = std::fs::set_permissions(entry.path(), private) {
                tracing::warn!(%error, "cannot make a file in the data directory private");
            }
        }
    }
    Ok(())
}

fn not_writable(path: &Path, error: &std::io::Error) -> CommandError {
    let failure = CommandError::new(ExitCode::Configuration, format!("{}: {error}", path.display()));
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            failure.advise("a directory that this user can write to, with --dir DIR")
        }
        std::io::ErrorKind::NotFound => {
            failure.advise("a directory on a writable disk, with --dir DIR: a parent directory is missing")
        }
        std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
            failure.advise("a directory, with --dir DIR: this is a file")
        }
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            failure.advise("free space on that disk, or take another directory with --dir DIR")
        }
        _ => failure.advise("another directory with --dir DIR"),
    }
}

fn default_path() -> Result<PathBuf, CommandError> {
    user_data_directory().ok_or_else(|| {
        CommandError::new(ExitCode::Configuration, "no data directory: neither HOME nor XDG_DATA_HOME is set")
            .advise("--dir DIR")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_one_server_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataDirectory::open(Some(&path)).unwrap();
        assert_eq!(std::fs::metadata(first.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let failure = DataDirectory::open(Some(&path)).unwrap_err();
        assert!(failure.to_string().contains("another mailwire") && failure.advice.is_some(), "{failure}");
        drop(first);
        assert!(DataDirectory::open(Some(&path)).is_ok());
    }
}
