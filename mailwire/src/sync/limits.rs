//! The limits of a sync run: bytes per message, messages per folder, bytes in total, and free disk space.

use std::path::{Path, PathBuf};

use super::arguments::SyncArgs;
use crate::command_error::{CommandError, ExitCode};

/// How many messages, or responses without a body, a server may send beyond those requested: messages may arrive and
/// change at any time.
pub(super) const MAX_UNREQUESTED: usize = 1000;

/// How many bytes to receive between two checks of the disk.
const DISK_CHECK_BYTES: u64 = 16 << 20;

/// The limits of a run, and how much it has received.
#[derive(Debug)]
pub(super) struct Limits {
    /// The largest message, in bytes.
    pub(super) message_bytes: u64,
    /// The most messages in a folder.
    pub(super) folder_messages: u64,
    /// The most bytes to receive.
    total_bytes: Option<u64>,
    /// The disk space to leave free, in bytes.
    keep_free: u64,
    /// The directory whose disk is checked.
    directory: PathBuf,
    /// The bytes received.
    received: u64,
    /// The bytes received since the last check of the disk.
    unchecked: u64,
}

/// A limit that is exceeded.
#[derive(Debug)]
pub(super) enum Exceeded {
    /// The message is too large. The run continues.
    Message(String),
    /// The run must end.
    Run(CommandError),
}

impl Limits {
    /// Returns the limits that the command line sets.
    pub(super) fn new(arguments: &SyncArgs) -> Self {
        Self {
            message_bytes: arguments.max_message,
            folder_messages: arguments.max_messages,
            total_bytes: arguments.max_total,
            keep_free: arguments.keep_free,
            directory: arguments.into.clone(),
            received: 0,
            unchecked: 0,
        }
    }

    /// Returns no limits: a placeholder while the real ones are moved elsewhere.
    pub(super) fn none() -> Self {
        Self {
            message_bytes: u64::MAX,
            folder_messages: u64::MAX,
            total_bytes: None,
            keep_free: 0,
            directory: PathBuf::new(),
            received: 0,
            unchecked: 0,
        }
    }

    /// Checks the announced size of a message, in bytes.
    pub(super) fn check_message(&self, size: u64) -> Result<(), Exceeded> {
        if size > self.message_bytes {
            return Err(Exceeded::Message(format!(
                "the server announces {size} bytes, and the limit is {} (--max-message)",
                self.message_bytes
            )));
        }
        self.check_disk()?;
        let space = free(&self.directory).unwrap_or(u64::MAX).saturating_sub(self.keep_free);
        if size > space {
            return Err(Exceeded::Message(format!(
                "the server announces {size} bytes, and the disk has space for {space}"
            )));
        }
        match self.total_bytes {
            Some(total) if self.received.saturating_add(size) > total => Err(Exceeded::Run(
                CommandError::new(
                    ExitCode::TryAgain,
                    format!("this run has reached its limit of {total} bytes (--max-total)"),
                )
                .advise("run the command again to continue"),
            )),
            _ => Ok(()),
        }
    }

    /// Counts received bytes, and checks the disk from time to time.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), Exceeded> {
        self.received = self.received.saturating_add(bytes as u64);
        self.unchecked += bytes as u64;
        if self.unchecked < DISK_CHECK_BYTES {
            return Ok(());
        }
        self.unchecked = 0;
        self.check_disk()
    }

    fn check_disk(&self) -> Result<(), Exceeded> {
        match free(&self.directory) {
            Some(left) if left < self.keep_free => Err(Exceeded::Run(
                CommandError::new(
                    ExitCode::Unavailable,
                    format!(
                        "the disk has {left} bytes left, and {} must stay free (--keep-free)",
                        self.keep_free
                    ),
                )
                .advise("free some space and run the command again: it fetches nothing twice"),
            )),
            _ => Ok(()),
        }
    }
}

/// Returns the free disk space for this user, in bytes.
fn free(directory: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(directory).ok()?;
    Some(status.f_bavail.saturating_mul(status.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: Option<u64>, keep_free: u64) -> Limits {
        let directory = std::env::temp_dir();
        Limits {
            message_bytes: 100,
            folder_messages: 10,
            total_bytes: total,
            keep_free,
            directory,
            received: 0,
            unchecked: 0,
        }
    }

    #[test]
    fn skips_a_too_large_message_and_ends_the_run_on_a_full_disk() {
        assert!(limits(None, 0).check_message(100).is_ok());
        assert!(matches!(limits(None, 0).check_message(101), Err(Exceeded::Message(_))));
        assert!(matches!(limits(None, 0).check_message(1 << 62), Err(Exceeded::Message(_))));
        assert!(matches!(limits(None, u64::MAX).check_message(1), Err(Exceeded::Run(_))));
        let mut limits = limits(Some(150), 0);
        assert!(limits.check_message(100).and_then(|()| limits.count(100)).is_ok());
        assert!(limits.check_message(50).is_ok());
        assert!(matches!(limits.check_message(51), Err(Exceeded::Run(_))));
    }
}
