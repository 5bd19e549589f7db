//! The store's part of a sync: jobs that the engine asks for, and their results.

use mailstore::{
    AccountId, ImportOutcome, RemoteAccountId, RemoteMailboxId, RemoteMessage, SpecialUse, SyncStore, UidSet,
    Upload,
};

use super::local_mailboxes::{find_or_create_mailbox, local_names};
use crate::error::Error;
use crate::folder::Folder;

/// Work for the store. [`run`](Self::run) blocks; a driver with an event loop runs it on a worker.
#[derive(Debug)]
pub struct StoreJob(pub(super) Job);

/// The kinds of jobs.
pub(super) enum Job {
    /// Finds the local names of folders.
    Names { account: AccountId, remote: RemoteAccountId, folders: Vec<Folder> },
    /// Finds the local mailbox of a folder, and what is known of its messages.
    Prepare { place: Place, uid_validity: u32 },
    /// Adds bytes to a message. Without an upload, they are its first.
    Write { upload: Option<Box<Upload>>, bytes: Vec<u8> },
    /// Commits messages.
    Import { remote: RemoteMailboxId, messages: Vec<RemoteMessage> },
    /// Records which messages could not be fetched, and forgets others.
    Unfetched { remote: RemoteMailboxId, forget: UidSet, record: UidSet },
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Names { .. } => "Names",
            Self::Prepare { .. } => "Prepare",
            Self::Write { .. } => "Write",
            Self::Import { .. } => "Import",
            Self::Unfetched { .. } => "Unfetched",
        })
    }
}

/// Where the messages of a folder go.
pub(super) struct Place {
    pub(super) account: AccountId,
    pub(super) remote: RemoteAccountId,
    pub(super) key: String,
    pub(super) name: String,
    pub(super) special_use: Option<SpecialUse>,
}

/// A folder's mailbox in the store.
pub(super) struct Prepared {
    pub(super) remote: RemoteMailboxId,
    pub(super) known: UidSet,
    pub(super) unfetched: UidSet,
}

/// The result of a [`StoreJob`].
pub struct StoreOutcome(pub(super) Outcome);

pub(super) enum Outcome {
    Names(Result<Vec<String>, Error>),
    Prepared(Result<Prepared, PrepareError>),
    Written(Result<Box<Upload>, Error>),
    Imported(Result<Vec<ImportOutcome>, Error>),
    Recorded(Result<(), Error>),
}

/// Why a folder's mailbox could not be prepared.
pub(super) enum PrepareError {
    /// The store does not allow this mailbox.
    Folder(Error),
    /// The store failed.
    Store(Error),
}

impl std::fmt::Debug for StoreOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Outcome::Names(_) => "Names",
            Outcome::Prepared(_) => "Prepared",
            Outcome::Written(_) => "Written",
            Outcome::Imported(_) => "Imported",
            Outcome::Recorded(_) => "Recorded",
        })
    }
}

impl StoreJob {
    /// Does the work. Blocks.
    pub fn run(self, store: &dyn SyncStore) -> StoreOutcome {
        StoreOutcome(match self.0 {
            Job::Names { account, remote, folders } => {
                Outcome::Names(local_names(store, account, remote, &folders))
            }
            Job::Prepare { place, uid_validity } => Outcome::Prepared(prepare(store, &place, uid_validity)),
            Job::Write { upload, bytes } => Outcome::Written(write(store, upload, &bytes)),
            Job::Import { remote, messages } => {
                Outcome::Imported(store.record_imports(remote, messages).map_err(Error::from))
            }
            Job::Unfetched { remote, forget, record } => {
                let done = store.forget_unfetched(remote, &forget);
                let done = done.and_then(|()| store.record_unfetched(remote, &record));
                Outcome::Recorded(done.map_err(Error::from))
            }
        })
    }
}

fn prepare(store: &dyn SyncStore, place: &Place, uid_validity: u32) -> Result<Prepared, PrepareError> {
    let mailbox = find_or_create_mailbox(store, place.account, &place.name, place.special_use);
    let mailbox = mailbox.map_err(|error| match error {
        error @ (mailstore::Error::Limit(_) | mailstore::Error::InvalidName(_)) => {
            PrepareError::Folder(error.into())
        }
        error => PrepareError::Store(error.into()),
    })?;
    let failed = |error: mailstore::Error| PrepareError::Store(error.into());
    let remote = store.remote_mailbox(place.remote, &place.key, mailbox, uid_validity).map_err(failed)?.id;
    let known = store.known_uids(remote).map_err(failed)?;
    let unfetched = store.unfetched(remote).map_err(failed)?;
    Ok(Prepared { remote, known, unfetched })
}

fn write(store: &dyn SyncStore, upload: Option<Box<Upload>>, bytes: &[u8]) -> Result<Box<Upload>, Error> {
    let mut upload = match upload {
        Some(upload) => upload,
        None => Box::new(store.upload()?),
    };
    upload.write(bytes)?;
    Ok(upload)
}
