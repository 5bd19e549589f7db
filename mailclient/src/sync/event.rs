//! What a sync run reports.

use std::collections::BTreeSet;

use crate::error::{Error, ErrorKind};

/// What a sync run reports, in order. Events between [`FolderStarted`](Self::FolderStarted) and
/// [`FolderDone`](Self::FolderDone) belong to that folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEvent {
    /// The first session is open.
    Connected,
    /// A folder begins.
    FolderStarted {
        /// Its name as text.
        name: String,
    },
    /// The missing messages of the folder are known.
    Planned {
        /// How many there are.
        missing: u64,
        /// How many messages an earlier run has fetched.
        known: u64,
    },
    /// A message has arrived. It is not stored yet.
    Received,
    /// Messages are stored.
    Stored {
        /// New messages.
        imported: u64,
        /// Messages whose bytes were in the store already.
        duplicates: u64,
        /// Messages that an earlier run had fetched.
        known: u64,
    },
    /// Local messages were changed as on the server. In a dry run, they would be.
    Changed {
        /// Messages whose flags or keywords differed.
        flags: u64,
        /// Messages that the server has removed; [`SyncJob::removal`](super::SyncJob::removal) says what happened to them.
        removed: u64,
    },
    /// The server has renamed a folder. Comes before all folders.
    FolderRenamed {
        /// The name at the last sync, as text.
        from: String,
        /// The name now.
        to: String,
    },
    /// The server has deleted a folder. Comes after all folders, between [`FolderStarted`](Self::FolderStarted) and
    /// [`FolderDone`](Self::FolderDone).
    FolderGone,
    /// The run is complete, and the engine waits for changes ([`SyncJob::watch`](super::SyncJob::watch)). The next run
    /// follows.
    Watching,
    /// One message could not be fetched.
    MessageFailed {
        /// Its UID.
        uid: u32,
        /// Why.
        error: Error,
    },
    /// A number of messages could not be fetched.
    MessagesFailed {
        /// How many; at least one.
        count: u64,
        /// The kind of the failure.
        kind: ErrorKind,
        /// Why.
        why: String,
    },
    /// All requests of the folder have ended. These messages were requested and did not arrive.
    Absent {
        /// Their UIDs.
        uids: BTreeSet<u32>,
        /// How many responses could not be parsed.
        unparsed: u64,
        /// How many messages were removed during the run; the server did not say which ones.
        expunged: u64,
    },
    /// The folder's messages are counted; only [`FolderFailed`](Self::FolderFailed) may follow.
    FolderCounted,
    /// The folder could not be fetched completely.
    FolderFailed(Error),
    /// The folder is done.
    FolderDone,
}

impl SyncEvent {
    /// Returns whether messages are missing in the store because of this.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::MessageFailed { .. } | Self::MessagesFailed { .. } | Self::FolderFailed(_) => true,
            Self::Absent { uids, .. } => !uids.is_empty(),
            _ => false,
        }
    }
}
