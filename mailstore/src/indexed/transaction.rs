//! Changes of the index that are made together or not at all: those of one account, and those of several.
//!
//! A change is applied at once, and its opposite is remembered. If a later one fails, or the storage can't record them,
//! the opposites are applied in reverse order. Mod-sequences, identifiers and UIDVALIDITY values that were assigned stay used.

use super::state::{Entry, MailboxState, State};
use super::storage::{StorageChange, StoredAccount, StoredMailbox, StoredMessage};
use crate::callback::AccountChange;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::metadata::Annotated;
use crate::rights::AclEntry;
use crate::types::{AccountId, ContentId, MailboxId, SpecialUse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The changes of one call in one account.
pub(crate) struct Transaction<'s> {
    pub(crate) state: &'s mut State,
    changes: Vec<StorageChange>,
    opposites: Vec<Opposite>,
    /// Contents of removed messages, by the number of opposites when they were freed.
    freed: Vec<(usize, ContentId)>,
    /// The changes of the account that subscribers receive, besides changed messages.
    notes: Vec<AccountChange>,
}

/// How much a transaction has changed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mark {
    changes: usize,
    opposites: usize,
    notes: usize,
}

/// What follows a commit.
#[derive(Default)]
pub(crate) struct AfterCommit {
    pub(crate) freed: Vec<ContentId>,
    /// The changed mailboxes with their mod-sequences, of which subscribers are notified.
    pub(crate) changed: BTreeMap<MailboxId, u64>,
    /// The changes of accounts that subscribers receive.
    pub(crate) account_changes: Vec<(AccountId, AccountChange)>,
    /// The mailboxes that exist now, with their accounts, and those that are gone.
    pub(crate) mailboxes: Vec<(MailboxId, Option<AccountId>)>,
}

/// What undoes a change.
enum Opposite {
    RemoveMailbox(MailboxId),
    ResetMailbox(Box<MailboxState>),
    RestoreMailbox(MailboxId),
    RenameMailbox(MailboxId, String),
    RestoreSpecialUse(MailboxId, Option<SpecialUse>),
    RestoreAcl(MailboxId, Vec<AclEntry>),
    Unsubscribe(String),
    Subscribe(String),
    SetMetadata(Annotated, String, Option<Arc<[u8]>>),
    RemoveMessage(MailboxId, u32),
    RestoreFlags(MailboxId, u32, Flags, u64),
    RestoreMessage(MailboxId, u32, Box<Entry>, u64),
}

impl<'s> Transaction<'s> {
    pub(crate) fn new(state: &'s mut State) -> Self {
        Self { state, changes: Vec::new(), opposites: Vec::new(), freed: Vec::new(), notes: Vec::new() }
    }

    /// Returns how much was changed so far, for [`undo_to`](Self::undo_to).
    pub(crate) fn mark(&self) -> Mark {
        Mark { changes: self.changes.len(), opposites: self.opposites.len(), notes: self.notes.len() }
    }

    /// Undoes all changes after the mark.
    pub(crate) fn undo_to(&mut self, mark: Mark) {
        while self.opposites.len() > mark.opposites {
            if let Some(opposite) = self.opposites.pop() {
                self.apply(opposite);
            }
        }
        self.changes.truncate(mark.changes);
        self.notes.truncate(mark.notes);
        self.freed.retain(|(at, _)| *at < mark.opposites);
    }

    /// Notes a change of the account that subscribers receive after the commit.
    pub(crate) fn note(&mut self, change: AccountChange) {
        self.notes.push(change);
    }

    fn push(&mut self, change: StorageChange, opposite: Opposite) {
        self.changes.push(change);
        self.opposites.push(opposite);
    }

    fn apply(&mut self, opposite: Opposite) {
        let state = &mut *self.state;
        match opposite {
            Opposite::RemoveMailbox(id) => {
                if let Some(mailbox) = state.mailboxes.remove(&id) {
                    state.account.names.remove(&mailbox.header.name);
                }
            }
            Opposite::ResetMailbox(mailbox) => {
                state.mailboxes.insert(mailbox.header.id, *mailbox);
            }
            Opposite::RestoreMailbox(id) => restore_deleted(state, id),
            Opposite::RenameMailbox(id, name) => rename(state, id, name),
            Opposite::RestoreSpecialUse(id, special_use) => {
                if let Some(mailbox) = state.mailboxes.get_mut(&id) {
                    mailbox.header.special_use = special_use;
                }
            }
            Opposite::RestoreAcl(id, acl) => {
                if let Some(mailbox) = state.mailboxes.get_mut(&id) {
                    mailbox.header.acl = acl;
                }
            }
            Opposite::Unsubscribe(name) => {
                state.account.subscriptions.remove(&name);
            }
            Opposite::Subscribe(name) => {
                state.account.subscriptions.insert(name);
            }
            Opposite::SetMetadata(of, name, value) => {
                state.account.set_metadata(of, &name, value);
            }
            Opposite::RemoveMessage(mailbox, uid) => {
                state.take(mailbox, uid);
                // No reader saw the UID: it is assigned again.
                if let Some(mailbox) = state.mailboxes.get_mut(&mailbox) {
                    mailbox.header.uid_next = uid;
                }
            }
            Opposite::RestoreFlags(mailbox, uid, flags, modseq) => {
                state.mailboxes.get_mut(&mailbox).map(|mailbox| mailbox.set_flags(uid, flags, modseq));
            }
            Opposite::RestoreMessage(mailbox, uid, entry, removed_at) => {
                if let Some(mailbox) = state.mailboxes.get_mut(&mailbox) {
                    mailbox.removed.remove(&(removed_at, uid));
                }
                state.insert(mailbox, uid, *entry);
            }
        }
    }

    /// Adds a mailbox under a name that is free.
    pub(crate) fn add_mailbox(&mut self, header: StoredMailbox) {
        let id = header.id;
        self.state.account.names.insert(header.name.clone(), id);
        self.state.mailboxes.insert(id, MailboxState::new(header.clone()));
        self.note(AccountChange::Created(header.name.clone()));
        self.push(StorageChange::MailboxSet(self.account(), header), Opposite::RemoveMailbox(id));
    }

    /// Makes a `\Noselect` mailbox an empty one with another UIDVALIDITY.
    pub(crate) fn reset_mailbox(&mut self, header: StoredMailbox) {
        let new = MailboxState::new(header.clone());
        if let Some(old) = self.state.mailboxes.insert(header.id, new) {
            self.note(AccountChange::Created(header.name.clone()));
            let change = StorageChange::MailboxSet(self.account(), header);
            self.push(change, Opposite::ResetMailbox(Box::new(old)));
        }
    }

    pub(crate) fn rename_mailbox(&mut self, id: MailboxId, name: String) -> Result<()> {
        let mailbox = self.state.mailboxes.get(&id).ok_or(Error::NotFound("mailbox"))?;
        let old = mailbox.header.name.clone();
        rename(self.state, id, name);
        let header = self.state.mailboxes.get(&id).ok_or(Error::NotFound("mailbox"))?.header.clone();
        self.push(StorageChange::MailboxSet(self.account(), header), Opposite::RenameMailbox(id, old));
        Ok(())
    }

    pub(crate) fn set_special_use(&mut self, id: MailboxId, special_use: Option<SpecialUse>) -> Result<()> {
        let mailbox = self.state.mailboxes.get_mut(&id).ok_or(Error::NotFound("mailbox"))?;
        let old = std::mem::replace(&mut mailbox.header.special_use, special_use);
        let header = mailbox.header.clone();
        self.push(StorageChange::MailboxSet(self.account(), header), Opposite::RestoreSpecialUse(id, old));
        Ok(())
    }

    pub(crate) fn set_acl(&mut self, id: MailboxId, acl: Vec<AclEntry>) -> Result<()> {
        let mailbox = self.state.mailboxes.get_mut(&id).ok_or(Error::NotFound("mailbox"))?;
        let old = std::mem::replace(&mut mailbox.header.acl, acl);
        let header = mailbox.header.clone();
        self.push(StorageChange::MailboxSet(self.account(), header), Opposite::RestoreAcl(id, old));
        Ok(())
    }

    /// Takes a mailbox away. Its messages stay until they are purged.
    pub(crate) fn remove_mailbox(&mut self, id: MailboxId) -> Result<()> {
        let mailbox = self.state.mailboxes.remove(&id).ok_or(Error::NotFound("mailbox"))?;
        self.state.account.names.remove(&mailbox.header.name);
        self.note(AccountChange::Deleted(mailbox.header.name.clone()));
        self.state.account.deleted.push_back(mailbox);
        self.push(StorageChange::MailboxRemoved(id), Opposite::RestoreMailbox(id));
        Ok(())
    }

    pub(crate) fn subscribe(&mut self, name: String) {
        if self.state.account.subscriptions.insert(name.clone()) {
            self.note(AccountChange::Subscribed(name.clone()));
            let opposite = Opposite::Unsubscribe(name.clone());
            self.push(StorageChange::Subscribed(self.account(), name), opposite);
        }
    }

    pub(crate) fn unsubscribe(&mut self, name: String) {
        if self.state.account.subscriptions.remove(&name) {
            self.note(AccountChange::Unsubscribed(name.clone()));
            let opposite = Opposite::Subscribe(name.clone());
            self.push(StorageChange::Unsubscribed(self.account(), name), opposite);
        }
    }

    /// Sets or removes an entry of metadata.
    pub(crate) fn set_metadata(&mut self, of: Annotated, name: &str, value: Option<Arc<[u8]>>) {
        let old = self.state.account.set_metadata(of, name, value.clone());
        if old.is_some() || value.is_some() {
            let change = StorageChange::MetadataSet(self.account(), of, name.to_owned(), value);
            self.push(change, Opposite::SetMetadata(of, name.to_owned(), old));
        }
    }

    /// Returns the changes of the account that subscribers receive.
    fn take_notes(&mut self) -> Vec<(AccountId, AccountChange)> {
        let account = self.account();
        let (mut messages, mut flags) = (BTreeSet::new(), BTreeSet::new());
        for change in &self.changes {
            match change {
                StorageChange::MessageAdded(mailbox, _) | StorageChange::MessageRemoved(mailbox, ..) => {
                    messages.insert(*mailbox);
                }
                StorageChange::FlagsSet(mailbox, ..) => {
                    flags.insert(*mailbox);
                }
                _ => {}
            }
        }
        let notes = std::mem::take(&mut self.notes).into_iter();
        let messages = messages.into_iter().map(AccountChange::Messages);
        let flags = flags.into_iter().map(AccountChange::Flags);
        notes.chain(messages).chain(flags).map(|note| (account, note)).collect()
    }

    /// Records the account itself. The caller adds it to the directory after the commit.
    pub(crate) fn set_account(&mut self, account: StoredAccount) {
        self.changes.push(StorageChange::AccountSet(account));
    }

    fn account(&self) -> AccountId {
        self.state.account.id
    }

    /// Adds a message. Its flags were interned by the mailbox.
    pub(crate) fn add_message(&mut self, mailbox: MailboxId, uid: u32, entry: Entry) {
        let stored = entry.stored(uid);
        self.state.insert(mailbox, uid, entry);
        self.push(StorageChange::MessageAdded(mailbox, stored), Opposite::RemoveMessage(mailbox, uid));
    }

    /// Replaces the flags of a message. They were interned by the mailbox.
    pub(crate) fn set_flags(
        &mut self,
        mailbox: MailboxId,
        uid: u32,
        flags: Flags,
        modseq: u64,
    ) -> Result<()> {
        let found = self.state.mailbox_mut(mailbox)?;
        if let Some((old, at)) = found.set_flags(uid, flags.clone(), modseq) {
            let opposite = Opposite::RestoreFlags(mailbox, uid, old, at);
            self.push(StorageChange::FlagsSet(mailbox, uid, flags, modseq), opposite);
        }
        Ok(())
    }

    /// Removes a message.
    pub(crate) fn remove_message(&mut self, mailbox: MailboxId, uid: u32, modseq: u64) -> Result<()> {
        let Some((entry, was_last)) = self.state.take(mailbox, uid) else { return Ok(()) };
        if was_last {
            self.freed.push((self.opposites.len(), entry.content.id));
        }
        self.state.mailbox_mut(mailbox)?.note_removal(uid, modseq);
        let opposite = Opposite::RestoreMessage(mailbox, uid, Box::new(entry), modseq);
        self.push(StorageChange::MessageRemoved(mailbox, uid, modseq), opposite);
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    /// Undoes what was not committed. A storage that panics leaves nothing half done.
    fn drop(&mut self) {
        self.undo_to(Mark::default());
    }
}

fn changed_mailboxes(changes: &[StorageChange]) -> BTreeMap<MailboxId, u64> {
    let mut changed = BTreeMap::new();
    for change in changes {
        match change {
            StorageChange::MessageAdded(mailbox, StoredMessage { modseq, .. })
            | StorageChange::FlagsSet(mailbox, _, _, modseq)
            | StorageChange::MessageRemoved(mailbox, _, modseq) => changed.insert(*mailbox, *modseq),
            StorageChange::MailboxRemoved(mailbox) => changed.insert(*mailbox, 0),
            _ => None,
        };
    }
    changed
}

fn rename(state: &mut State, id: MailboxId, name: String) {
    let Some(mailbox) = state.mailboxes.get_mut(&id) else { return };
    let old = std::mem::replace(&mut mailbox.header.name, name.clone());
    // Another mailbox may have taken the old name.
    if state.account.names.get(&old) == Some(&id) {
        state.account.names.remove(&old);
    }
    state.account.names.insert(name, id);
}

fn restore_deleted(state: &mut State, id: MailboxId) {
    let deleted = &mut state.account.deleted;
    let found = deleted.iter().position(|mailbox| mailbox.header.id == id);
    if let Some(mailbox) = found.and_then(|at| deleted.remove(at)) {
        state.account.names.insert(mailbox.header.name.clone(), id);
        state.mailboxes.insert(id, mailbox);
    }
}

/// The changes of one call in the accounts of some mailboxes.
pub(crate) struct Transactions<'s> {
    each: Vec<Transaction<'s>>,
    /// The position of each mailbox's transaction.
    positions: BTreeMap<MailboxId, usize>,
}

impl<'s> Transactions<'s> {
    pub(crate) fn new(
        states: impl Iterator<Item = &'s mut State>,
        positions: BTreeMap<MailboxId, usize>,
    ) -> Self {
        Self { each: states.map(Transaction::new).collect(), positions }
    }

    /// Returns the transaction of a mailbox's account.
    pub(crate) fn of(&mut self, mailbox: MailboxId) -> Result<&mut Transaction<'s>> {
        let found = self.positions.get(&mailbox).and_then(|at| self.each.get_mut(*at));
        found.ok_or(Error::NotFound("mailbox"))
    }

    /// Returns the transaction of the only account.
    pub(crate) fn only(&mut self) -> Result<&mut Transaction<'s>> {
        self.each.first_mut().ok_or(Error::NotFound("account"))
    }

    /// Runs `work`, and undoes its changes if it fails.
    pub(crate) fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let marks: Vec<Mark> = self.each.iter().map(Transaction::mark).collect();
        let outcome = work(self);
        if outcome.is_err() {
            self.each.iter_mut().zip(marks).for_each(|(tx, mark)| tx.undo_to(mark));
        }
        outcome
    }

    /// Records all changes with `record`, or undoes them.
    pub(crate) fn commit(
        mut self,
        record: impl FnOnce(&[StorageChange]) -> Result<()>,
    ) -> Result<AfterCommit> {
        let account_changes = self.each.iter_mut().flat_map(Transaction::take_notes).collect();
        let changes: Vec<StorageChange> =
            self.each.iter_mut().flat_map(|tx| std::mem::take(&mut tx.changes)).collect();
        if !changes.is_empty()
            && let Err(error) = record(&changes)
        {
            self.each.iter_mut().for_each(|tx| tx.undo_to(Mark::default()));
            return Err(error);
        }
        let commit = |tx: &mut Transaction<'_>| {
            tx.opposites.clear();
            std::mem::take(&mut tx.freed)
        };
        let freed = self.each.iter_mut().flat_map(commit).map(|(_, content)| content).collect();
        Ok(AfterCommit {
            freed,
            changed: changed_mailboxes(&changes),
            account_changes,
            mailboxes: set_mailboxes(&changes),
        })
    }
}

/// Returns the mailboxes that were created or removed, and the accounts of the former.
fn set_mailboxes(changes: &[StorageChange]) -> Vec<(MailboxId, Option<AccountId>)> {
    let set = changes.iter().filter_map(|change| match change {
        StorageChange::MailboxSet(account, header) => Some((header.id, Some(*account))),
        StorageChange::MailboxRemoved(mailbox) => Some((*mailbox, None)),
        _ => None,
    });
    set.collect()
}
