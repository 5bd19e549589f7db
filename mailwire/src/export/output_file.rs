//! Files that appear complete or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::command_error::CommandError;

/// Creates a directory that only this user may read, and its parents. Fails if a part of the path is a symbolic link to
/// something else than a directory.
///
/// # Errors
/// The directory cannot be created.
pub(super) fn create_directory(path: &Path) -> Result<(), CommandError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| CommandError::file(path, &error))
}

/// Creates the directories of these levels below `root`. A level that is a symbolic link is refused.
///
/// # Errors
/// A directory cannot be created.
pub(super) fn create_levels(root: &Path, levels: &[String]) -> Result<PathBuf, CommandError> {
    let mut path = root.to_owned();
    for level in levels {
        path.push(level);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(&path).map_err(|error| CommandError::file(&path, &error))?;
                if !found.is_dir() {
                    let error = std::io::Error::other("it is not a directory");
                    return Err(CommandError::file(&path, &error));
                }
            }
            Err(error) => return Err(CommandError::file(&path, &error)),
        }
    }
    Ok(path)
}

/// A file that is being written under a temporary name. It is removed unless it is [kept](Self::keep).
pub(super) struct OutputFile {
    temporary: PathBuf,
    file: BufWriter<File>,
    is_kept: bool,
}

impl OutputFile {
    /// Creates the file, and replaces one that an earlier run has left.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(super) fn create(temporary: PathBuf) -> Result<Self, CommandError> {
        let failed = |error| CommandError::file(&temporary, &error);
        match fs::remove_file(&temporary) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let file = BufWriter::with_capacity(64 * 1024, file.map_err(failed)?);
        Ok(Self { temporary, file, is_kept: false })
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// The disk is full, for example.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.file.write_all(bytes).map_err(|error| CommandError::file(&self.temporary, &error))
    }

    /// Gives the complete file its name, and replaces a file of that name.
    ///
    /// # Errors
    /// The file cannot be written or renamed.
    pub(super) fn keep(mut self, path: &Path) -> Result<(), CommandError> {
        let failed = |error: std::io::Error| CommandError::file(path, &error);
        self.file.flush().map_err(failed)?;
        fs::rename(&self.temporary, path).map_err(failed)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
