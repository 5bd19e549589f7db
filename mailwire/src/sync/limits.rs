//! What one run may take: per message, per folder, in all, and of the disk.

use std::path::{Path, PathBuf};

use crate::cli::SyncArgs;
use crate::failure::{Failure, Kind};

/// The largest message that is fetched, in bytes, unless `--max-message` says otherwise.
pub(crate) const MESSAGE_BYTES: u64 = 512 << 20;

/// The most messages of a folder, unless `--max-messages` says otherwise.
pub(crate) const FOLDER_MESSAGES: u64 = 2_000_000;

/// How much of the disk is left free, in bytes, unless `--keep-free` says otherwise.
pub(crate) const KEEP_FREE: u64 = 64 << 20;

/// How often the disk is looked at while a message comes, in bytes.
const LOOK_AGAIN: u64 = 16 << 20;

/// The limits of one run, and what it has taken so far.
#[derive(Debug)]
pub(super) struct Limits {
    /// The largest message in bytes.
    pub(super) message: u64,
    /// The most messages of a folder.
    pub(super) folder: u64,
    total: Option<u64>,
    keep_free: u64,
    directory: PathBuf,
    taken: u64,
    unlooked: u64,
}

/// Why a message is not fetched.
#[derive(Debug)]
pub(super) enum Excess {
    /// This message is too large; others may not be.
    Message(String),
    /// The run ends.
    Run(Failure),
}

impl Limits {
    pub(super) fn of(arguments: &SyncArgs) -> Self {
        Self {
            message: arguments.max_message,
            folder: arguments.max_messages,
            total: arguments.max_total,
            keep_free: arguments.keep_free,
            directory: arguments.into.clone(),
            taken: 0,
            unlooked: 0,
        }
    }

    /// No limits, in the place of those that are in use elsewhere.
    pub(super) fn none() -> Self {
        Self {
            message: u64::MAX,
            folder: u64::MAX,
            total: None,
            keep_free: 0,
            directory: PathBuf::new(),
            taken: 0,
            unlooked: 0,
        }
    }

    /// A message of so many bytes is announced.
    pub(super) fn announce(&self, size: u64) -> Result<(), Excess> {
        if size > self.message {
            return Err(Excess::Message(format!(
                "the server announces {size} bytes: {} are the limit (--max-message)",
                self.message
            )));
        }
        self.check_disk()?;
        let room = free(&self.directory).unwrap_or(u64::MAX).saturating_sub(self.keep_free);
        if size > room {
            return Err(Excess::Message(format!(
                "the server announces {size} bytes: the disk has room for {room}"
            )));
        }
        match self.total {
            Some(total) if self.taken.saturating_add(size) > total => Err(Excess::Run(
                Failure::new(
                    Kind::TryAgain,
                    format!("{total} bytes are the limit of this run (--max-total)"),
                )
                .advise("run it again to go on"),
            )),
            _ => Ok(()),
        }
    }

    /// So many bytes of a message have come.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Excess> {
        self.taken = self.taken.saturating_add(bytes as u64);
        self.unlooked += bytes as u64;
        if self.unlooked < LOOK_AGAIN {
            return Ok(());
        }
        self.unlooked = 0;
        self.check_disk()
    }

    fn check_disk(&self) -> Result<(), Excess> {
        match free(&self.directory) {
            Some(left) if left < self.keep_free => Err(Excess::Run(
                Failure::new(
                    Kind::Unavailable,
                    format!("the disk has {left} bytes left: {} are kept free (--keep-free)", self.keep_free),
                )
                .advise("free some space and run it again: nothing is fetched twice"),
            )),
            _ => Ok(()),
        }
    }
}

/// How many bytes the disk of a directory has left for this user.
fn free(directory: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(directory).ok()?;
    Some(status.f_bavail.saturating_mul(status.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: Option<u64>, keep_free: u64) -> Limits {
        let directory = std::env::temp_dir();
        Limits { message: 100, folder: 10, total, keep_free, directory, taken: 0, unlooked: 0 }
    }

    #[test]
    fn a_message_that_is_too_large_costs_itself_and_a_full_disk_the_run() {
        assert!(limits(None, 0).announce(100).is_ok());
        assert!(matches!(limits(None, 0).announce(101), Err(Excess::Message(_))));
        assert!(matches!(limits(None, 0).announce(1 << 62), Err(Excess::Message(_))));
        assert!(matches!(limits(None, u64::MAX).announce(1), Err(Excess::Run(_))));
        let mut limits = limits(Some(150), 0);
        assert!(limits.announce(100).and_then(|()| limits.take(100)).is_ok());
        assert!(limits.announce(50).is_ok());
        assert!(matches!(limits.announce(51), Err(Excess::Run(_))));
    }
}
