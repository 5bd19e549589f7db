//! The index of one account: its mailboxes and messages in memory, without the bytes of messages.

use super::content::Content;
use super::storage::{StoredMailbox, StoredMessage};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::keyword_table::KeywordTable;
use crate::metadata::{Annotated, cost};
use crate::removals::INDEXED_REMOVALS;
use crate::types::{AccountId, ContentId, InternalDate, Mailbox, MailboxId, Status, Usage};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What the index holds of one account.
pub(crate) struct State {
    pub(crate) account: AccountState,
    pub(crate) mailboxes: BTreeMap<MailboxId, MailboxState>,
    /// Where each content is used in this account.
    pub(crate) uses: BTreeSet<(ContentId, MailboxId, u32)>,
    /// The last identifier of a mailbox of any account.
    last_mailbox: Arc<AtomicI64>,
}

/// What an account has besides its mailboxes.
pub(crate) struct AccountState {
    pub(crate) id: AccountId,
    /// The last UIDVALIDITY. Each mailbox gets a higher one, so that no two mailboxes ever share a value.
    pub(crate) last_uid_validity: u32,
    pub(crate) names: BTreeMap<String, MailboxId>,
    pub(crate) subscriptions: BTreeSet<String>,
    pub(crate) metadata: BTreeMap<(Annotated, String), Arc<[u8]>>,
    /// Messages, also those of deleted mailboxes, and bytes. The other counters are not used.
    pub(crate) usage: Usage,
    /// Deleted mailboxes, whose messages are removed in slices.
    pub(crate) deleted: VecDeque<MailboxState>,
}

/// A mailbox.
pub(crate) struct MailboxState {
    pub(crate) header: StoredMailbox,
    pub(crate) recent: u32,
    pub(crate) unseen: u32,
    pub(crate) marked_deleted: u32,
    /// The bytes of the messages with `\Deleted`.
    deleted_size: u64,
    pub(crate) size: u64,
    pub(crate) messages: BTreeMap<u32, Entry>,
    /// The messages in the order of their changes: mod-sequence and UID.
    pub(crate) by_modseq: BTreeSet<(u64, u32)>,
    /// The removed messages in the order of their removal.
    pub(crate) removed: BTreeSet<(u64, u32)>,
    /// Removals up to this mod-sequence are forgotten.
    pub(crate) forgotten: u64,
    pub(crate) keywords: KeywordTable,
    /// The keywords that were added last, as given and as stored: most messages of a mailbox have the same ones.
    last_keywords: Option<(Arc<[Arc<str>]>, Flags)>,
}

/// A message in a mailbox.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) modseq: u64,
    pub(crate) flags: Flags,
    pub(crate) internal_date: InternalDate,
    pub(crate) saved_date: Option<i64>,
    pub(crate) content: Arc<Content>,
}

impl State {
    pub(crate) fn new(id: AccountId, last_mailbox: Arc<AtomicI64>) -> Self {
        Self {
            account: AccountState {
                id,
                last_uid_validity: 0,
                names: BTreeMap::new(),
                subscriptions: BTreeSet::new(),
                metadata: BTreeMap::new(),
                usage: Usage::default(),
                deleted: VecDeque::new(),
            },
            mailboxes: BTreeMap::new(),
            uses: BTreeSet::new(),
            last_mailbox,
        }
    }

    /// Returns an identifier for a new mailbox.
    pub(crate) fn next_mailbox(&self) -> MailboxId {
        MailboxId(self.last_mailbox.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Never gives a new mailbox this identifier or a lower one.
    pub(crate) fn reserve_mailbox(&self, id: MailboxId) {
        self.last_mailbox.fetch_max(id.0, Ordering::Relaxed);
    }

    /// Returns a mailbox that holds messages.
    pub(crate) fn mailbox(&self, mailbox: MailboxId) -> Result<&MailboxState> {
        let found = self.mailboxes.get(&mailbox).ok_or(Error::NotFound("mailbox"))?;
        if found.header.no_select { Err(Error::NoSelect) } else { Ok(found) }
    }

    pub(crate) fn mailbox_mut(&mut self, mailbox: MailboxId) -> Result<&mut MailboxState> {
        let found = self.mailboxes.get_mut(&mailbox).ok_or(Error::NotFound("mailbox"))?;
        if found.header.no_select { Err(Error::NoSelect) } else { Ok(found) }
    }

    /// Describes a mailbox as LIST shows it.
    pub(crate) fn describe(&self, mailbox: MailboxId) -> Option<Mailbox> {
        let header = &self.mailboxes.get(&mailbox)?.header;
        Some(Mailbox {
            id: mailbox,
            name: header.name.clone(),
            special_use: header.special_use,
            no_select: header.no_select,
            has_children: self.account.children(&header.name).next().is_some(),
            subscribed: self.account.subscriptions.contains(&header.name),
        })
    }

    /// Puts a message into a mailbox and counts it.
    pub(crate) fn insert(&mut self, mailbox: MailboxId, uid: u32, entry: Entry) {
        if !self.mailboxes.contains_key(&mailbox) {
            return;
        }
        if self.first_use(entry.content.id).is_none() {
            entry.content.begin_use();
        }
        self.uses.insert((entry.content.id, mailbox, uid));
        self.account.usage.messages += 1;
        self.account.usage.bytes += entry.content.size;
        if let Some(found) = self.mailboxes.get_mut(&mailbox) {
            found.insert(uid, entry);
        }
    }

    /// Takes a message out of a mailbox. Also returns whether it was the last one with its content.
    pub(crate) fn take(&mut self, mailbox: MailboxId, uid: u32) -> Option<(Entry, bool)> {
        let entry = self.mailboxes.get_mut(&mailbox)?.take(uid)?;
        let was_last = self.release(mailbox, uid, &entry);
        Some((entry, was_last))
    }

    /// Uncounts a message that is in no mailbox any more. Returns whether it was the last one with its content, in all
    /// accounts.
    pub(crate) fn release(&mut self, mailbox: MailboxId, uid: u32, entry: &Entry) -> bool {
        self.account.usage.messages -= 1;
        self.account.usage.bytes -= entry.content.size;
        let was_used = self.uses.remove(&(entry.content.id, mailbox, uid));
        was_used && self.first_use(entry.content.id).is_none() && entry.content.end_use()
    }

    /// Returns a content that the account uses.
    pub(crate) fn content(&self, content: ContentId) -> Option<Arc<Content>> {
        let (mailbox, uid) = self.first_use(content)?;
        // A deleted mailbox that is not purged yet still uses its contents.
        let mut deleted = self.account.deleted.iter();
        let found = self.mailboxes.get(&mailbox).or_else(|| deleted.find(|one| one.header.id == mailbox))?;
        Some(Arc::clone(&found.messages.get(&uid)?.content))
    }

    /// Returns a message that has this content.
    pub(crate) fn first_use(&self, content: ContentId) -> Option<(MailboxId, u32)> {
        let first = self.uses.range((content, MailboxId(i64::MIN), 0)..).next();
        first.filter(|(found, ..)| *found == content).map(|(_, mailbox, uid)| (*mailbox, *uid))
    }
}

impl AccountState {
    /// Returns the mailboxes below a name.
    pub(crate) fn children(&self, name: &str) -> impl Iterator<Item = (&String, &MailboxId)> {
        self.names.range(format!("{name}/")..format!("{name}0"))
    }

    /// Sets or removes an entry of metadata, and counts it. Returns the value before.
    pub(crate) fn set_metadata(
        &mut self,
        of: Annotated,
        name: &str,
        value: Option<Arc<[u8]>>,
    ) -> Option<Arc<[u8]>> {
        let key = (of, name.to_owned());
        let added = value.as_ref().map_or(0, |value| cost(name, value));
        let old = match value {
            Some(value) => self.metadata.insert(key, value),
            None => self.metadata.remove(&key),
        };
        self.usage.bytes += added;
        self.usage.bytes -= old.as_ref().map_or(0, |old| cost(name, old));
        old
    }

    pub(crate) fn usage(&self, remote_accounts: u64) -> Usage {
        Usage {
            mailboxes: self.names.len() as u64,
            subscriptions: self.subscriptions.len() as u64,
            metadata: self.metadata.len() as u64,
            remote_accounts,
            ..self.usage
        }
    }
}

impl MailboxState {
    pub(crate) fn new(mut header: StoredMailbox) -> Self {
        let kept = header.first_recent_uid;
        header.first_recent_uid = if kept == 0 { header.uid_next } else { kept.min(header.uid_next) };
        // Removals before the index was made are not known.
        let forgotten = header.highest_modseq;
        Self {
            header,
            recent: 0,
            unseen: 0,
            marked_deleted: 0,
            deleted_size: 0,
            size: 0,
            messages: BTreeMap::new(),
            by_modseq: BTreeSet::new(),
            removed: BTreeSet::new(),
            forgotten,
            keywords: KeywordTable::default(),
            last_keywords: None,
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            messages: u32::try_from(self.messages.len()).unwrap_or(u32::MAX),
            recent: self.recent,
            unseen: self.unseen,
            deleted: self.marked_deleted,
            deleted_size: self.deleted_size,
            size: self.size,
            uid_next: self.header.uid_next,
            uid_validity: self.header.uid_validity,
            highest_modseq: self.header.highest_modseq,
        }
    }

    /// Assigns the next UID.
    pub(crate) fn take_uid(&mut self) -> Result<u32> {
        let uid = self.header.uid_next;
        self.header.uid_next = uid.checked_add(1).ok_or(Error::Limit("the UIDs of a mailbox"))?;
        Ok(uid)
    }

    /// Assigns the next mod-sequence.
    pub(crate) fn take_modseq(&mut self) -> u64 {
        self.header.highest_modseq += 1;
        self.header.highest_modseq
    }

    /// Makes messages below `below` recent for no later session. Returns the first UID that was recent.
    pub(crate) fn claim_recent(&mut self, below: u32) -> u32 {
        let first = self.header.first_recent_uid;
        if first < below {
            self.header.first_recent_uid = below;
            let recent = self.messages.range(below..).count();
            self.recent = u32::try_from(recent).unwrap_or(u32::MAX);
        }
        first
    }

    fn insert(&mut self, uid: u32, entry: Entry) {
        self.size += entry.content.size;
        self.recent += u32::from(uid >= self.header.first_recent_uid);
        self.count_flags(&entry.flags, |counter, by| *counter += by);
        self.deleted_size += deleted_size(&entry.flags, &entry.content);
        self.by_modseq.insert((entry.modseq, uid));
        self.messages.insert(uid, entry);
    }

    pub(crate) fn take(&mut self, uid: u32) -> Option<Entry> {
        let entry = self.messages.remove(&uid)?;
        self.by_modseq.remove(&(entry.modseq, uid));
        self.count_flags(&entry.flags, |counter, by| *counter -= by);
        self.deleted_size -= deleted_size(&entry.flags, &entry.content);
        self.recent -= u32::from(uid >= self.header.first_recent_uid);
        self.size -= entry.content.size;
        Some(entry)
    }

    /// Replaces the flags of a message. Returns the old flags and the old mod-sequence.
    pub(crate) fn set_flags(&mut self, uid: u32, flags: Flags, modseq: u64) -> Option<(Flags, u64)> {
        let entry = self.messages.get_mut(&uid)?;
        let old = (std::mem::replace(&mut entry.flags, flags.clone()), entry.modseq);
        entry.modseq = modseq;
        self.deleted_size += deleted_size(&flags, &entry.content);
        self.deleted_size -= deleted_size(&old.0, &entry.content);
        self.by_modseq.remove(&(old.1, uid));
        self.by_modseq.insert((modseq, uid));
        self.count_flags(&old.0, |counter, by| *counter -= by);
        self.count_flags(&flags, |counter, by| *counter += by);
        Some(old)
    }

    fn count_flags(&mut self, flags: &Flags, change: impl Fn(&mut u32, u32)) {
        change(&mut self.unseen, u32::from(!flags.contains(Flags::SEEN)));
        change(&mut self.marked_deleted, u32::from(flags.contains(Flags::DELETED)));
    }

    /// Remembers a removal. Forgets the oldest ones beyond the limit, whole mod-sequences at a time.
    pub(crate) fn note_removal(&mut self, uid: u32, modseq: u64) {
        self.removed.insert((modseq, uid));
        if self.removed.len() <= INDEXED_REMOVALS {
            return;
        }
        if let Some(&(oldest, _)) = self.removed.first() {
            self.forgotten = oldest;
            self.removed = self.removed.split_off(&(oldest + 1, 0));
        }
    }

    /// Returns these flags with the mailbox's spelling and numbers of keywords. New keywords get numbers.
    ///
    /// # Errors
    /// `Limit` if the mailbox would have too many keywords.
    pub(crate) fn intern(&mut self, flags: &Flags) -> Result<Flags> {
        let given = flags.shared_keywords();
        if given.is_empty() {
            return Ok(Flags::system(flags.system_bits()));
        }
        if let Some((known, stored)) = &self.last_keywords
            && Arc::ptr_eq(known, given)
        {
            let list = Arc::clone(stored.shared_keywords());
            return Ok(Flags::stored(flags.system_bits(), list, stored.newest_keyword()));
        }
        let mut numbers = BTreeSet::new();
        for keyword in given.iter() {
            let number = match self.keywords.number(keyword) {
                Some(number) => number,
                None => self.keywords.add(keyword)?,
            };
            numbers.insert(number);
        }
        let names = &self.keywords.by_number;
        let list = numbers.iter().filter_map(|number| names.get(*number as usize - 1).cloned()).collect();
        let newest = numbers.last().copied().unwrap_or_default();
        let stored = Flags::stored(flags.system_bits(), list, newest);
        self.last_keywords = Some((Arc::clone(given), stored.clone()));
        Ok(stored)
    }
}

/// Returns the bytes that a message with these flags counts for as one with `\Deleted`.
fn deleted_size(flags: &Flags, content: &Content) -> u64 {
    if flags.contains(Flags::DELETED) { content.size } else { 0 }
}

impl Entry {
    /// Describes the message for the storage.
    pub(crate) fn stored(&self, uid: u32) -> StoredMessage {
        StoredMessage {
            uid,
            modseq: self.modseq,
            flags: self.flags.clone(),
            internal_date: self.internal_date,
            saved_date: self.saved_date,
            size: self.content.size,
            content: self.content.id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_old_removals_by_mod_sequence() {
        let mut mailbox = MailboxState::new(StoredMailbox::new(MailboxId(1), "x"));
        let count = u32::try_from(INDEXED_REMOVALS).unwrap();
        (0..count).for_each(|uid| mailbox.note_removal(uid, u64::from(uid / 100 + 1)));
        assert_eq!((mailbox.removed.len(), mailbox.forgotten), (INDEXED_REMOVALS, 0));
        mailbox.note_removal(count, u64::from(count / 100 + 1));
        assert_eq!((mailbox.removed.len(), mailbox.forgotten), (INDEXED_REMOVALS - 99, 1));
        assert_eq!(mailbox.removed.first(), Some(&(2, 100)));
    }
}
