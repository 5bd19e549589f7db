//! The limits of a sync run: bytes per message, messages per folder, bytes in total, and free disk space.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, SyncLimit};

/// How many messages, or responses without a body, a server may send beyond those requested: messages may arrive and
/// change at any time.
pub(super) const MAX_UNREQUESTED: usize = 1000;

/// How many bytes to receive between two checks of the disk.
const DISK_CHECK_BYTES: u64 = 16 << 20;

/// The default of [`SyncLimits::message_bytes`].
const MESSAGE_BYTES: u64 = 512 << 20;
/// The default of [`SyncLimits::folder_messages`].
const FOLDER_MESSAGES: u64 = 2_000_000;

/// Returns the free space of the store's disk in bytes, if it is known.
type FreeSpace = dyn Fn() -> Option<u64> + Send + Sync;

/// The limits of a run. Start with the default and change its fields:
///
/// ```
/// use mailclient::sync::SyncLimits;
///
/// let mut limits = SyncLimits::default();
/// limits.message_bytes = 50 << 20;
/// limits.total_bytes = Some(10 << 30);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct SyncLimits {
    /// The largest message, in bytes. Default: 512 MiB.
    pub message_bytes: u64,
    /// The most messages in a folder. Default: 2,000,000.
    pub folder_messages: u64,
    /// The most bytes to receive. Default: no limit.
    pub total_bytes: Option<u64>,
    /// The disk space to leave free, in bytes. Default: 0. It is checked if `free_space` is set.
    pub keep_free: u64,
    /// Returns the free space of the store's disk in bytes; `None` if it is not known. Default: none. It is called for each
    /// message and every 16 MiB, on the thread that runs the sync, and must not block.
    pub free_space: Option<Arc<FreeSpace>>,
}

impl Default for SyncLimits {
    fn default() -> Self {
        Self {
            message_bytes: MESSAGE_BYTES,
            folder_messages: FOLDER_MESSAGES,
            total_bytes: None,
            keep_free: 0,
            free_space: None,
        }
    }
}

impl fmt::Debug for SyncLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncLimits")
            .field("message_bytes", &self.message_bytes)
            .field("folder_messages", &self.folder_messages)
            .field("total_bytes", &self.total_bytes)
            .field("keep_free", &self.keep_free)
            .finish_non_exhaustive()
    }
}

/// The limits of a run, and how much it has received.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) settings: SyncLimits,
    /// The bytes received.
    received: u64,
    /// The bytes received since the last check of the disk.
    unchecked: u64,
}

/// A limit that is exceeded.
#[derive(Debug)]
pub(super) enum Exceeded {
    /// The message is too large. The run continues.
    Message(Error),
    /// The run must end.
    Run(Error),
}

impl Limits {
    pub(super) const fn new(settings: SyncLimits) -> Self {
        Self { settings, received: 0, unchecked: 0 }
    }

    /// Checks the announced size of a message, in bytes.
    pub(super) fn check_message(&self, size: u64) -> Result<(), Exceeded> {
        if size > self.settings.message_bytes {
            let why = format!(
                "the server announces {size} bytes, and the limit is {}",
                self.settings.message_bytes
            );
            return Err(Exceeded::Message(unavailable(why).exceeding(SyncLimit::MessageBytes)));
        }
        self.check_disk()?;
        let space = self.free().unwrap_or(u64::MAX).saturating_sub(self.settings.keep_free);
        if size > space {
            return Err(Exceeded::Message(unavailable(format!(
                "the server announces {size} bytes, and the disk has space for {space}"
            ))));
        }
        match self.settings.total_bytes {
            Some(total) if self.received.saturating_add(size) > total => Err(Exceeded::Run(
                Error::new(ErrorKind::Temporary, format!("this run has reached its limit of {total} bytes"))
                    .exceeding(SyncLimit::TotalBytes)
                    .advise("sync again to continue"),
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

    fn free(&self) -> Option<u64> {
        self.settings.free_space.as_ref().and_then(|free| free())
    }

    fn check_disk(&self) -> Result<(), Exceeded> {
        match self.free() {
            Some(left) if left < self.settings.keep_free => Err(Exceeded::Run(
                unavailable(format!(
                    "the disk has {left} bytes left, and {} must stay free",
                    self.settings.keep_free
                ))
                .exceeding(SyncLimit::FreeSpace)
                .advise("free some space and sync again: nothing is fetched twice"),
            )),
            _ => Ok(()),
        }
    }
}

fn unavailable(why: String) -> Error {
    Error::new(ErrorKind::Unavailable, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: Option<u64>, keep_free: u64) -> Limits {
        Limits::new(SyncLimits {
            message_bytes: 100,
            folder_messages: 10,
            total_bytes: total,
            keep_free,
            free_space: Some(Arc::new(|| Some(1 << 40))),
        })
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
