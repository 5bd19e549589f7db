//! What happens to local messages that the server has removed.
//!
//! Every step can be repeated: the messages change first and their records last, so that a run that is killed in between
//! does the rest in the next one.

use mailstore::{Expunge, Flags, ImportRecord, MailboxId, RemoteMailboxId, StoreMode, SyncStore, UidSet};

use super::local_mailboxes::{REMOVED_MAILBOX, find_or_create_mailbox};
use crate::error::Error;

/// The keyword of a local message that the server has removed, under [`RemovalPolicy::Never`].
pub const REMOVED_KEYWORD: &str = "$RemovedFromServer";

/// How many messages one job removes.
const SLICE: usize = 500;

/// What happens to local messages and mailboxes that the server has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemovalPolicy {
    /// They stay. The messages get the keyword [`REMOVED_KEYWORD`].
    #[default]
    Never,
    /// Messages move to the local mailbox [`REMOVED_MAILBOX`]. Mailboxes that are empty then are deleted.
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
        let mut left: UidSet = records.iter().map(|record| record.local_uid).collect();
        let to = match self.policy {
            RemovalPolicy::Trash => find_or_create_mailbox(store, self.account, REMOVED_MAILBOX, None)?,
            RemovalPolicy::Never | RemovalPolicy::Mirror => self.mailbox,
        };
        loop {
            let next = match self.policy {
                RemovalPolicy::Never => flag_removed(store, self.mailbox, &left),
                RemovalPolicy::Trash if to == self.mailbox => Ok(None),
                RemovalPolicy::Trash => {
                    store.move_messages(self.mailbox, &left, to, SLICE).map(|moved| moved.next)
                }
                RemovalPolicy::Mirror => {
                    let which = Expunge::Exactly(left.clone());
                    store.expunge(self.mailbox, &which, SLICE).map(|expunged| expunged.next)
                }
            };
            match next {
                Ok(Some(next)) => left = left.starting_at(next),
                // The mailbox was deleted here.
                Ok(None) | Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) => break,
                Err(error) => return Err(error),
            }
        }
        match self.policy {
            RemovalPolicy::Never => store.mark_imports_removed(self.remote, records),
            RemovalPolicy::Trash | RemovalPolicy::Mirror => store.forget_imports(self.remote, records),
        }
    }
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
