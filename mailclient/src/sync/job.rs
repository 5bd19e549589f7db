//! The store's part of a sync: jobs that the engine asks for, and their results.

use mailstore::{
    AccountId, ImportOutcome, MailboxId, RemoteAccountId, RemoteFolder, RemoteMailboxId, RemoteMessage,
    RemoteState, SpecialUse, SyncStore, UidSet, Upload,
};

use super::flag_changes::FlagBatch;
use super::folder_plan::{FoldersRequest, Planned, claim_special_use, set_subscription};
use super::local_mailboxes::find_or_create_mailbox;
use super::removal::{Removal, RemovalPolicy, Removed, take_from_trash};
use crate::error::Error;

/// Work for the store. [`run`](Self::run) blocks; a driver with an event loop runs it on a worker.
#[derive(Debug)]
pub struct StoreJob(pub(super) Job);

/// The kinds of jobs.
pub(super) enum Job {
    /// Compares the server's folders with the recorded ones.
    Folders(FoldersRequest),
    /// Loads what is known of a folder's messages.
    Load { remote: RemoteMailboxId },
    /// Finds the local mailbox of a folder, and what is known of its messages.
    Prepare { place: Place, uid_validity: u32 },
    /// Adds bytes to a message. Without an upload, they are its first.
    Write { upload: Option<Box<Upload>>, bytes: Vec<u8> },
    /// Commits messages, and removes them from the mailbox of removed messages of this account.
    Import {
        remote: RemoteMailboxId,
        mailbox: MailboxId,
        messages: Vec<RemoteMessage>,
        trash: Option<AccountId>,
    },
    /// Changes the flags of messages as on the server.
    Flags { remote: RemoteMailboxId, mailbox: MailboxId, batch: FlagBatch, is_dry_run: bool },
    /// Removes messages that the server has removed: one slice.
    Remove(Removal),
    /// Records the state of a folder.
    Record { remote: RemoteMailboxId, state: RemoteState },
    /// Concludes a folder that the server has deleted, after its messages.
    Gone { account: AccountId, folder: RemoteFolder, name: String, policy: RemovalPolicy },
    /// Records which messages could not be fetched, and forgets others.
    Unfetched { remote: RemoteMailboxId, forget: UidSet, record: UidSet },
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Folders(_) => "Folders",
            Self::Flags { .. } => "Flags",
            Self::Remove(_) => "Remove",
            Self::Record { .. } => "Record",
            Self::Gone { .. } => "Gone",
            Self::Load { .. } => "Load",
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
    pub(super) subscribed: Option<bool>,
    /// What is recorded of the folder. A dry run uses it and creates nothing.
    pub(super) recorded: Option<RemoteFolder>,
    /// The messages of the recorded folder, if it is not gone.
    pub(super) known: KnownMessages,
    pub(super) is_dry_run: bool,
}

/// What is known of a folder's messages, by their remote UIDs.
#[derive(Debug, Default)]
pub(super) struct KnownMessages {
    /// Those that earlier runs have stored.
    pub(super) stored: UidSet,
    /// Those that an earlier run could not fetch.
    pub(super) unfetched: UidSet,
}

impl KnownMessages {
    fn load(store: &dyn SyncStore, remote: RemoteMailboxId) -> Result<Self, mailstore::Error> {
        Ok(Self { stored: store.known_uids(remote)?, unfetched: store.unfetched(remote)? })
    }
}

/// A folder's mailbox in the store.
pub(super) struct Prepared {
    pub(super) remote: RemoteMailboxId,
    pub(super) mailbox: MailboxId,
    pub(super) known: UidSet,
    pub(super) unfetched: UidSet,
}

impl Prepared {
    /// What a dry run knows of a new folder: nothing. The identifiers are those of no mailbox.
    fn of_new_folder() -> Self {
        let (known, unfetched) = (UidSet::default(), UidSet::default());
        Self { remote: RemoteMailboxId(0), mailbox: MailboxId(0), known, unfetched }
    }

    /// Returns whether this is a new folder in a dry run.
    pub(super) const fn is_new(&self) -> bool {
        self.remote.0 == 0
    }
}

/// The result of a [`StoreJob`].
pub struct StoreOutcome(pub(super) Outcome);

pub(super) enum Outcome {
    Folders(Result<Planned, Error>),
    Loaded(Result<KnownMessages, Error>),
    Flagged(Result<u64, Error>),
    Removed(Result<Removed, Error>),
    /// The state of the folder is recorded, or the deleted folder is concluded.
    Concluded(Result<(), Error>),
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
            Outcome::Folders(_) => "Folders",
            Outcome::Loaded(_) => "Loaded",
            Outcome::Flagged(_) => "Flagged",
            Outcome::Removed(_) => "Removed",
            Outcome::Concluded(_) => "Concluded",
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
            Job::Folders(request) => Outcome::Folders(request.plan(store)),
            Job::Flags { remote, mailbox, batch, is_dry_run } => {
                Outcome::Flagged(batch.apply(store, (remote, mailbox), is_dry_run))
            }
            Job::Remove(removal) => Outcome::Removed(removal.remove_slice(store)),
            Job::Record { remote, state } => {
                Outcome::Concluded(store.set_remote_state(remote, &state).map_err(Error::from))
            }
            Job::Gone { account, folder, name, policy } => {
                Outcome::Concluded(conclude_gone(store, account, folder, &name, policy).map_err(Error::from))
            }
            Job::Load { remote } => Outcome::Loaded(KnownMessages::load(store, remote).map_err(Error::from)),
            Job::Prepare { place, uid_validity } => Outcome::Prepared(prepare(store, place, uid_validity)),
            Job::Write { upload, bytes } => Outcome::Written(write(store, upload, &bytes)),
            Job::Import { remote, mailbox, messages, trash } => {
                Outcome::Imported(import(store, (remote, mailbox), messages, trash))
            }
            Job::Unfetched { remote, forget, record } => {
                let done = store.forget_unfetched(remote, &forget);
                let done = done.and_then(|()| store.record_unfetched(remote, &record));
                Outcome::Recorded(done.map_err(Error::from))
            }
        })
    }
}

fn prepare(store: &dyn SyncStore, place: Place, uid_validity: u32) -> Result<Prepared, PrepareError> {
    let failed = |error: mailstore::Error| PrepareError::Store(error.into());
    if place.is_dry_run {
        return Ok(prepare_dry_run(place, uid_validity));
    }
    let mailbox = find_or_create_mailbox(store, place.account, &place.name, place.special_use);
    let mailbox = mailbox.map_err(|error| match error {
        error @ (mailstore::Error::Limit(_)
        | mailstore::Error::InvalidName(_)
        | mailstore::Error::OverQuota { .. }) => PrepareError::Folder(error.into()),
        error => PrepareError::Store(error.into()),
    })?;
    let remote = store.remote_mailbox(place.remote, &place.key, mailbox, uid_validity).map_err(failed)?.id;
    set_attributes(store, &place).map_err(failed)?;
    let is_loaded = place.recorded.as_ref().is_some_and(|recorded| {
        (recorded.id, recorded.mailbox, recorded.uid_validity) == (remote, mailbox, uid_validity)
            && !recorded.state.is_gone
    });
    let known = match is_loaded {
        true => place.known,
        false => KnownMessages::load(store, remote).map_err(failed)?,
    };
    Ok(Prepared { remote, mailbox, known: known.stored, unfetched: known.unfetched })
}

/// Gives the mailbox, which may be a new one, its special use and its subscription.
fn set_attributes(store: &dyn SyncStore, place: &Place) -> Result<(), mailstore::Error> {
    let mailbox = store.mailbox(place.account, &place.name)?;
    if let Some(special_use) = place.special_use.filter(|wanted| mailbox.special_use != Some(*wanted)) {
        claim_special_use(store, place.account, mailbox.id, special_use)?;
    }
    set_subscription(store, place.account, &mailbox, place.subscribed)
}

/// Finds what is known of a folder, and creates nothing.
fn prepare_dry_run(place: Place, uid_validity: u32) -> Prepared {
    let recorded = place.recorded.as_ref().filter(|recorded| !recorded.state.is_gone);
    let Some(recorded) = recorded.filter(|recorded| recorded.uid_validity == uid_validity) else {
        return Prepared::of_new_folder();
    };
    Prepared {
        remote: recorded.id,
        mailbox: recorded.mailbox,
        known: place.known.stored,
        unfetched: place.known.unfetched,
    }
}

/// Commits messages. Those that were stored before get the server's flags.
fn import(
    store: &dyn SyncStore,
    (remote, mailbox): (RemoteMailboxId, MailboxId),
    mut messages: Vec<RemoteMessage>,
    trash: Option<AccountId>,
) -> Result<Vec<ImportOutcome>, Error> {
    if let Some(account) = trash {
        take_from_trash(store, account, &mut messages)?;
    }
    let flags: Vec<_> = messages.iter().map(|message| (message.uid, message.flags.clone())).collect();
    let outcomes = store.record_imports(remote, messages)?;
    let mut stored_before = FlagBatch::default();
    for ((uid, flags), outcome) in flags.into_iter().zip(&outcomes) {
        if !matches!(outcome, ImportOutcome::Imported(_)) {
            stored_before.add(uid, flags);
        }
    }
    if !stored_before.is_empty() {
        stored_before.apply(store, (remote, mailbox), false)?;
    }
    Ok(outcomes)
}

/// Deletes the local mailbox of a folder that the server has deleted, if the policy wants it and no message is left, and
/// records that the folder is gone.
fn conclude_gone(
    store: &dyn SyncStore,
    account: AccountId,
    folder: RemoteFolder,
    name: &str,
    policy: RemovalPolicy,
) -> Result<(), mailstore::Error> {
    let is_deleted = match policy {
        RemovalPolicy::Never => false,
        RemovalPolicy::Trash | RemovalPolicy::Mirror => match store.status(folder.mailbox) {
            Ok(status) => status.messages == 0 && name != "INBOX",
            Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) => false,
            Err(error) => return Err(error),
        },
    };
    if is_deleted {
        match store.unsubscribe(account, name).and_then(|()| store.delete_mailbox(account, name)) {
            Ok(()) | Err(mailstore::Error::NotFound(_) | mailstore::Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let state = RemoteState { is_gone: true, highest_modseq: 0, ..folder.state };
    store.set_remote_state(folder.id, &state)
}

fn write(store: &dyn SyncStore, upload: Option<Box<Upload>>, bytes: &[u8]) -> Result<Box<Upload>, Error> {
    let mut upload = match upload {
        Some(upload) => upload,
        None => Box::new(store.upload()?),
    };
    upload.write(bytes)?;
    Ok(upload)
}
