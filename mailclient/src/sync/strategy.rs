//! Which messages of a folder to request.

use mailstore::UidSet;

use super::plan::difference;

/// What is known about a folder when its requests are planned.
#[derive(Debug)]
#[non_exhaustive]
pub struct FolderView<'v> {
    /// The messages on the server.
    pub listed: &'v UidSet,
    /// The messages that earlier runs have stored.
    pub known: &'v UidSet,
    /// The messages that an earlier run could not fetch.
    pub unfetched: &'v UidSet,
    /// The server's highest mod-sequence, if it has CONDSTORE (RFC 7162).
    pub highest_mod_seq: Option<u64>,
}

impl<'v> FolderView<'v> {
    pub(super) const fn new(
        listed: &'v UidSet,
        known: &'v UidSet,
        unfetched: &'v UidSet,
        highest_mod_seq: Option<u64>,
    ) -> Self {
        Self { listed, known, unfetched, highest_mod_seq }
    }
}

/// The messages to request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Messages that were never requested.
    pub new: UidSet,
    /// Messages that an earlier run could not fetch. Each is requested alone, after all others.
    pub failed_before: UidSet,
}

/// Decides which messages of a folder to request.
pub trait Strategy: std::fmt::Debug + Send + Sync {
    /// Returns the messages to request.
    fn select(&self, folder: &FolderView<'_>) -> Selection;
}

/// Requests every message that the store does not have.
#[derive(Debug, Clone, Copy, Default)]
pub struct FetchMissing;

impl Strategy for FetchMissing {
    fn select(&self, folder: &FolderView<'_>) -> Selection {
        let missing = difference(folder.listed, folder.known);
        let new = difference(&missing, folder.unfetched);
        let failed_before = difference(&missing, &new);
        Selection { new, failed_before }
    }
}
