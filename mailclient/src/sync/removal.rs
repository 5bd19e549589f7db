//! What happens to local messages that the server has removed.
//!
//! Every step can be repeated: the messages change first and their records last, so that a run that is killed in between
//! does the rest in the next one.

use mailstore::{
    Columns, Expunge, Flags, ImportRecord, MailboxId, RemoteMailboxId, RemoteMessage, StoreMode, SyncStore,
    UidSet, Upload,
};

use super::local_mailboxes::{REMOVED_MAILBOX, find_or_create_mailbox};
use crate::error::Error;

/// The keyword of a local message that the server has removed, under [`RemovalPolicy::Never`].
pub const REMOVED_KEYWORD: &str = "$RemovedFromServer";

/// How many messages of [`REMOVED_MAILBOX`] are compared with those that are fetched.
const MAX_COMPARED: usize = 100_000;

/// How many messages one job removes.
const SLICE: usize = 500;

/// What happens to local messages and mailboxes that the server has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemovalPolicy {
    /// They stay. The messages get the keyword [`REMOVED_KEYWORD`].
    #[default]
    Never,
    /// Messages move to the local mailbox [`REMOVED_MAILBOX`]. Mailboxes that are empty then are deleted. A message that the
    /// server has moved to another mailbox, or has again, is not kept twice.
    Trash,
    /// Messages are expunged, and mailboxes that are empty then are deleted. A message that was added here and never was
    /// on the server stays.
    Mirror,
}

/// The messages of one folder that the server has removed.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) account: mailstore::AccountId,
    pub(super) remote: RemoteMailboxId,
    pub(super) mailbox: MailboxId,
    /// Their remote UIDs.
    pub(super) uids: UidSet,
    /// Whether messages of another UIDVALIDITY, which no message has taken the place of, are removed as well.
    pub(super) with_earlier: bool,
    pub(super) policy: RemovalPolicy,
    /// Whether to count them only.
    pub(super) is_dry_run: bool,
}

/// How far a removal went.
#[derive(Debug)]
pub(super) struct Removed {
    pub(super) count: u64,
    /// What is left to do.
    pub(super) rest: Option<Removal>,
}

impl Removal {
    /// Removes the next messages. Returns the rest.
    pub(super) fn remove_slice(mut self, store: &dyn SyncStore) -> Result<Removed, Error> {
        let mut records = store.import_records(self.remote, &self.uids, SLICE)?;
        match records.last() {
            Some(last) => self.uids = self.uids.starting_at(last.uid.saturating_add(1)),
            None => {
                self.uids = UidSet::default();
                if self.with_earlier {
                    records = store.earlier_import_records(self.remote, SLICE)?;
                }
                // Records that are only counted are found again.
                self.with_earlier &= !records.is_empty() && !self.is_dry_run;
            }
        }
        let count = records.len() as u64;
        if !self.is_dry_run && !records.is_empty() {
            self.remove(store, &records)?;
        }
        let is_done = self.uids.is_empty() && !self.with_earlier;
        Ok(Removed { count, rest: (!is_done).then_some(self) })
    }

    fn remove(&self, store: &dyn SyncStore, records: &[ImportRecord]) -> Result<(), mailstore::Error> {
        let uids = |records: &[ImportRecord]| records.iter().map(|record| record.local_uid).collect();
        match self.policy {
            RemovalPolicy::Never => in_slices(uids(records), |left| flag_removed(store, self.mailbox, left))?,
            RemovalPolicy::Mirror => in_slices(uids(records), |left| expunge(store, self.mailbox, left))?,
            RemovalPolicy::Trash => {
                let (mut moved, mut kept_elsewhere) = (Vec::new(), Vec::new());
                for record in records {
                    let is_elsewhere = store.has_equal_message(self.remote, record)?;
                    if is_elsewhere { &mut kept_elsewhere } else { &mut moved }.push(*record);
                }
                in_slices(uids(&kept_elsewhere), |left| expunge(store, self.mailbox, left))?;
                let trash = find_or_create_mailbox(store, self.account, REMOVED_MAILBOX, None)?;
                if trash != self.mailbox {
                    in_slices(uids(&moved), |left| {
                        store.move_messages(self.mailbox, left, trash, SLICE).map(|moved| moved.next)
                    })?;
                }
            }
        }
        match self.policy {
            RemovalPolicy::Never => store.mark_imports_removed(self.remote, records),
            RemovalPolicy::Trash | RemovalPolicy::Mirror => store.forget_imports(self.remote, records),
        }
    }
}

/// Repeats a step of a slice until it is done with all messages.
fn in_slices(
    mut left: UidSet,
    mut step: impl FnMut(&UidSet) -> Result<Option<u32>, mailstore::Error>,
) -> Result<(), mailstore::Error> {
    while !left.is_empty() {
        match step(&left) {
            Ok(Some(next)) => left = left.starting_at(next),
            // The mailbox was deleted here.
            Ok(None) | Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn expunge(
    store: &dyn SyncStore,
    mailbox: MailboxId,
    uids: &UidSet,
) -> Result<Option<u32>, mailstore::Error> {
    store.expunge(mailbox, &Expunge::Exactly(uids.clone()), SLICE).map(|expunged| expunged.next)
}

/// Removes the messages from [`REMOVED_MAILBOX`] that the server has again, or has moved to another folder. It happens
/// before they are stored there: a run that is killed in between fetches them again.
///
/// Of a mailbox with more than 100,000 messages, only so many are compared.
pub(super) fn take_from_trash(
    store: &dyn SyncStore,
    account: mailstore::AccountId,
    messages: &mut [RemoteMessage],
) -> Result<(), mailstore::Error> {
    let trash = match store.mailbox(account, REMOVED_MAILBOX) {
        Ok(trash) => trash.id,
        Err(mailstore::Error::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    let (mut left, mut found, mut compared) = (UidSet::all(), Vec::new(), 0);
    while compared < MAX_COMPARED {
        let page = store.fetch_page(trash, &left, Columns::summary(), SLICE)?;
        compared += page.messages.len();
        for kept in &page.messages {
            let mut candidates = messages.iter_mut().filter(|message| message.upload.size() == kept.size);
            if candidates.try_fold(false, |found, one| {
                Ok::<_, mailstore::Error>(found || is_equal(store, kept.content, &mut one.upload)?)
            })? {
                found.push(kept.uid);
            }
        }
        match page.next {
            Some(next) => left = left.starting_at(next),
            None => break,
        }
    }
    in_slices(found.into_iter().collect(), |left| expunge(store, trash, left))
}

/// Returns whether a stored message has the bytes of a fetched one of the same size.
fn is_equal(
    store: &dyn SyncStore,
    content: mailstore::ContentId,
    upload: &mut Upload,
) -> Result<bool, mailstore::Error> {
    let body = match store.open_content(content) {
        Ok(body) => body,
        // It cannot be read, so that the fetched one is better.
        Err(mailstore::Error::NotFound(_) | mailstore::Error::Corrupt(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let (mut at, mut is_equal, mut failure) = (0, true, None);
    upload.for_each_chunk(|chunk| {
        if is_equal && failure.is_none() {
            match body.read(at, chunk.len()) {
                Ok(bytes) => is_equal = bytes == chunk,
                Err(error) => failure = Some(error),
            }
            at += chunk.len() as u64;
        }
    })?;
    failure.map_or(Ok(is_equal), Err)
}

fn flag_removed(
    store: &dyn SyncStore,
    mailbox: MailboxId,
    uids: &UidSet,
) -> Result<Option<u32>, mailstore::Error> {
    let keyword = Flags::parse([REMOVED_KEYWORD])?;
    match store.store_flags(mailbox, uids, StoreMode::Add, &keyword, None, SLICE) {
        Ok(stored) => Ok(stored.next),
        // The mailbox or a message has too many keywords: the message stays without this one.
        Err(mailstore::Error::Limit(_) | mailstore::Error::OverQuota { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
