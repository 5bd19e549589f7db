//! Changes of the index that are made together or not at all.
//!
//! A change is applied at once, and its opposite is remembered. If a later one fails, or the storage can't record them,
//! the opposites are applied in reverse order. Mod-sequences, identifiers and UIDVALIDITY values that were assigned stay used.

use super::remote_records::{RemoteKey, RemoteRecord};
use super::state::{Entry, MailboxState, State};
use super::storage::{StorageChange, StoredMailbox, StoredMessage};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::types::{AccountId, ContentId, MailboxId, RemoteMailboxId};
use std::collections::BTreeMap;

/// The changes of one call.
pub(crate) struct Transaction<'s> {
    pub(crate) state: &'s mut State,
    changes: Vec<StorageChange>,
    opposites: Vec<Opposite>,
    /// Contents of removed messages, by the number of opposites when they were freed.
    freed: Vec<(usize, ContentId)>,
}

/// How much a transaction has changed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mark {
    changes: usize,
    opposites: usize,
}

/// What follows a commit.
#[derive(Default)]
pub(crate) struct AfterCommit {
    pub(crate) freed: Vec<ContentId>,
    /// The changed mailboxes with their mod-sequences, of which subscribers are notified.
    pub(crate) changed: BTreeMap<MailboxId, u64>,
}

/// What undoes a change.
enum Opposite {
    RemoveMailbox(MailboxId),
    ResetMailbox(Box<MailboxState>),
    RestoreMailbox(MailboxId),
    RenameMailbox(MailboxId, String),
    Unsubscribe(AccountId, String),
    Subscribe(AccountId, String),
    RemoveMessage(MailboxId, u32),
    RestoreFlags(MailboxId, u32, Flags, u64),
    RestoreMessage(MailboxId, u32, Box<Entry>, u64),
    SetRemote(RemoteMailboxId, RemoteKey, Option<RemoteRecord>),
}

impl<'s> Transaction<'s> {
    pub(crate) fn new(state: &'s mut State) -> Self {
        Self { state, changes: Vec::new(), opposites: Vec::new(), freed: Vec::new() }
    }

    /// Records the changes with `record`, or undoes them.
    pub(crate) fn commit(
        mut self,
        record: impl FnOnce(&[StorageChange]) -> Result<()>,
    ) -> Result<AfterCommit> {
        if !self.changes.is_empty()
            && let Err(error) = record(&self.changes)
        {
            self.undo_to(Mark::default());
            return Err(error);
        }
        let freed = self.freed.into_iter().map(|(_, content)| content).collect();
        Ok(AfterCommit { freed, changed: changed_mailboxes(&self.changes) })
    }

    /// Returns how much was changed so far, for [`undo_to`](Self::undo_to).
    pub(crate) fn mark(&self) -> Mark {
        Mark { changes: self.changes.len(), opposites: self.opposites.len() }
    }

    /// Undoes all changes after the mark.
    pub(crate) fn undo_to(&mut self, mark: Mark) {
        while self.opposites.len() > mark.opposites {
            if let Some(opposite) = self.opposites.pop() {
                self.apply(opposite);
            }
        }
        self.changes.truncate(mark.changes);
        self.freed.retain(|(at, _)| *at < mark.opposites);
    }

    /// Records where a remote message is stored, or forgets it.
    pub(crate) fn set_remote(
        &mut self,
        remote: RemoteMailboxId,
        key: RemoteKey,
        record: Option<RemoteRecord>,
    ) -> Result<()> {
        let old = self.state.remotes.mailbox_mut(remote)?.set(key, record);
        self.opposites.push(Opposite::SetRemote(remote, key, old));
        Ok(())
    }

    fn push(&mut self, change: StorageChange, opposite: Opposite) {
        self.changes.push(change);
        self.opposites.push(opposite);
    }

    fn apply(&mut self, opposite: Opposite) {
        let state = &mut *self.state;
        match opposite {
            Opposite::RemoveMailbox(id) => {
                if let Some(mailbox) = state.mailboxes.remove(&id)
                    && let Some(account) = state.accounts.get_mut(&mailbox.account)
                {
                    account.names.remove(&mailbox.header.name);
                }
            }
            Opposite::ResetMailbox(mailbox) => {
                state.mailboxes.insert(mailbox.header.id, *mailbox);
            }
            Opposite::RestoreMailbox(id) => restore_deleted(state, id),
            Opposite::RenameMailbox(id, name) => rename(state, id, name),
            Opposite::Unsubscribe(account, name) => {
                state.accounts.get_mut(&account).map(|account| account.subscriptions.remove(&name));
            }
            Opposite::Subscribe(account, name) => {
                state.accounts.get_mut(&account).map(|account| account.subscriptions.insert(name));
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
            Opposite::SetRemote(remote, key, record) => {
                state.remotes.mailbox_mut(remote).ok().map(|mailbox| mailbox.set(key, record));
            }
        }
    }

    /// Adds a mailbox under a name that is free.
    pub(crate) fn add_mailbox(&mut self, account: AccountId, header: StoredMailbox) -> Result<()> {
        let id = header.id;
        self.state.account_mut(account)?.names.insert(header.name.clone(), id);
        self.state.mailboxes.insert(id, MailboxState::new(account, header.clone()));
        self.push(StorageChange::MailboxSet(account, header), Opposite::RemoveMailbox(id));
        Ok(())
    }

    /// Makes a `\Noselect` mailbox an empty one with another UIDVALIDITY.
    pub(crate) fn reset_mailbox(&mut self, account: AccountId, header: StoredMailbox) {
        let new = MailboxState::new(account, header.clone());
        if let Some(old) = self.state.mailboxes.insert(header.id, new) {
            self.push(StorageChange::MailboxSet(account, header), Opposite::ResetMailbox(Box::new(old)));
        }
    }

    pub(crate) fn rename_mailbox(&mut self, id: MailboxId, name: String) -> Result<()> {
        let mailbox = self.state.mailboxes.get(&id).ok_or(Error::NotFound("mailbox"))?;
        let (account, old) = (mailbox.account, mailbox.header.name.clone());
        rename(self.state, id, name);
        let header = self.state.mailboxes.get(&id).ok_or(Error::NotFound("mailbox"))?.header.clone();
        self.push(StorageChange::MailboxSet(account, header), Opposite::RenameMailbox(id, old));
        Ok(())
    }

    /// Takes a mailbox away. Its messages stay until they are purged.
    pub(crate) fn remove_mailbox(&mut self, id: MailboxId) -> Result<()> {
        let mailbox = self.state.mailboxes.remove(&id).ok_or(Error::NotFound("mailbox"))?;
        let account = self.state.account_mut(mailbox.account)?;
        account.names.remove(&mailbox.header.name);
        account.deleted.push_back(mailbox);
        self.push(StorageChange::MailboxRemoved(id), Opposite::RestoreMailbox(id));
        Ok(())
    }

    pub(crate) fn subscribe(&mut self, account: AccountId, name: String) -> Result<()> {
        if self.state.account_mut(account)?.subscriptions.insert(name.clone()) {
            let opposite = Opposite::Unsubscribe(account, name.clone());
            self.push(StorageChange::Subscribed(account, name), opposite);
        }
        Ok(())
    }

    pub(crate) fn unsubscribe(&mut self, account: AccountId, name: String) -> Result<()> {
        if self.state.account_mut(account)?.subscriptions.remove(&name) {
            let opposite = Opposite::Subscribe(account, name.clone());
            self.push(StorageChange::Unsubscribed(account, name), opposite);
        }
        Ok(())
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
    if let Some(account) = state.accounts.get_mut(&mailbox.account) {
        // Another mailbox may have taken the old name.
        if account.names.get(&old) == Some(&id) {
            account.names.remove(&old);
        }
        account.names.insert(name, id);
    }
}

fn restore_deleted(state: &mut State, id: MailboxId) {
    let deleted = state.accounts.values_mut().find_map(|account| {
        let at = account.deleted.iter().position(|mailbox| mailbox.header.id == id)?;
        let mailbox = account.deleted.remove(at)?;
        account.names.insert(mailbox.header.name.clone(), id);
        Some(mailbox)
    });
    if let Some(mailbox) = deleted {
        state.mailboxes.insert(id, mailbox);
    }
}
