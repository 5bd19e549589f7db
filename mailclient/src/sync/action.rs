//! What to sync, what a run needs next, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use mailstore::{AccountId, RemoteAccountId};

use super::job::StoreJob;
use super::limits::SyncLimits;
use super::removal::RemovalPolicy;
use super::strategy::{FetchMissing, Strategy};
use crate::error::Error;

/// What a sync needs next.
#[derive(Debug)]
pub enum SyncAction {
    /// A new session: connect, read the credentials, and call [`SyncEngine::connected`](super::SyncEngine::connected) or
    /// [`SyncEngine::connect_failed`](super::SyncEngine::connect_failed). The session before it is lost; drop it.
    Connect,
    /// Drive the session with the engine as the [`Task`](crate::Task), until it is done. If that fails, call
    /// [`SyncEngine::session_failed`](super::SyncEngine::session_failed).
    Drive,
    /// The store's work: run the job, and call [`SyncEngine::stored`](super::SyncEngine::stored).
    Store(StoreJob),
    /// Wait for this time.
    Wait(Duration),
    /// The run is over.
    Done(SyncEnd),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEnd {
    /// All messages of all folders were fetched. Log out.
    Complete,
    /// All folders were handled, but not all messages were fetched. An event said which ones, and why: see
    /// [`SyncEvent::is_failure`](super::SyncEvent::is_failure). Log out.
    Incomplete,
    /// An error ended the run early. Close the connection without LOGOUT, which would first have to read all pending
    /// responses. What was received is stored.
    Stopped(Error),
}

/// Which account to sync, and how.
#[derive(Debug)]
pub struct SyncJob {
    /// The local account that gets the messages.
    pub account: AccountId,
    /// The remote account in the store.
    pub remote: RemoteAccountId,
    /// The folders to sync, by name; all if empty.
    pub folders: Vec<String>,
    /// The limits.
    pub limits: SyncLimits,
    /// Which messages to request.
    pub strategy: Arc<dyn Strategy>,
    /// What happens to local messages and mailboxes that the server has removed. Default: they stay.
    pub removal: RemovalPolicy,
    /// Whether to report only what would be done. Nothing is fetched, and the store does not change. Default: no.
    pub dry_run: bool,
    /// Whether to follow the account after the first run, until the caller stops the sync. A change in INBOX, or in the
    /// only folder, starts the next run at once by IDLE (RFC 2177); all folders are checked every two minutes. A lost
    /// connection is opened again, with growing pauses. Default: no.
    pub watch: bool,
    /// Whether to compress the session (RFC 4978), if TLS protects it and the server can. Compression shows an
    /// eavesdropper how similar parts of the mail are: see [`Client::compress`](proto_imap::client::Client::compress).
    /// Default: no.
    pub compress: bool,
}

impl SyncJob {
    /// Syncs all folders: fetches every message that the store does not have, and changes the others as on the server.
    #[must_use]
    pub fn new(account: AccountId, remote: RemoteAccountId) -> Self {
        let (folders, limits) = (Vec::new(), SyncLimits::default());
        Self {
            account,
            remote,
            folders,
            limits,
            strategy: Arc::new(FetchMissing),
            removal: RemovalPolicy::default(),
            dry_run: false,
            watch: false,
            compress: false,
        }
    }
}
