//! Reads messages in pages, appends, copies, moves and removes them.

use super::content::Content;
use super::state::{Entry, State};
use super::storage::Storage;
use super::transaction::{Transaction, Transactions};
use crate::content::SMALL_LIMIT;
use crate::default_copies::REPLACED_MESSAGE;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::limits::{PAGE_LIMIT, RANGE_LIMIT, SCAN_LIMIT};
use crate::quota::{check, check_messages};
use crate::types::{
    Appended, Columns, Copied, Expunge, Expunged, InternalDate, MailboxId, Message, Page, Quota, Target,
    UidPage, UidSet,
};
use mailmime::{Envelope, Part};
use std::sync::Arc;

/// The most messages of a page: more would exceed its memory.
const PAGE_MESSAGES: usize = PAGE_LIMIT / size_of::<Message>();

/// Returns at most `limit` UIDs in `from..below`.
pub(super) fn uid_page(
    state: &State,
    mailbox: MailboxId,
    from: u32,
    below: u32,
    limit: usize,
) -> Result<UidPage> {
    let mut page = UidPage::default();
    let Some(found) = state.mailboxes.get(&mailbox).filter(|_| from < below) else { return Ok(page) };
    for (&uid, entry) in found.messages.range(from..below) {
        if page.uids.len() >= limit.max(1) {
            page.next = Some(uid);
            break;
        }
        if page.first_unseen.is_none() && !entry.flags.contains(Flags::SEEN) {
            page.first_unseen = Some(uid);
        }
        page.uids.push(uid);
    }
    Ok(page)
}

/// Messages with their UIDs, and where the next page starts.
pub(super) type Entries = (Vec<(u32, Entry)>, Option<u32>);

/// Returns the first messages of a set, and where the next page starts.
pub(super) fn entries(state: &State, mailbox: MailboxId, uids: &UidSet, limit: usize) -> Result<Entries> {
    let mailbox = state.mailbox(mailbox)?;
    let mut found = Vec::new();
    for (index, range) in uids.ranges().iter().enumerate() {
        if index >= RANGE_LIMIT {
            return Ok((found, Some(*range.start())));
        }
        for (&uid, entry) in mailbox.messages.range(range.clone()) {
            if found.len() >= limit.max(1) {
                return Ok((found, Some(uid)));
            }
            found.push((uid, entry.clone()));
        }
    }
    Ok((found, None))
}

/// Makes a page of messages. `entries` reads from the index; the rest needs no lock.
pub(super) fn page(
    storage: &impl Storage,
    entries: impl FnOnce(usize) -> Result<Entries>,
    columns: Columns,
    limit: usize,
) -> Result<Page> {
    let (entries, next) = entries(limit.min(PAGE_MESSAGES))?;
    let mut page = Page { messages: Vec::with_capacity(entries.len()), next };
    let mut page_size = 0;
    for (uid, entry) in entries {
        if page_size >= PAGE_LIMIT {
            page.next = Some(uid);
            break;
        }
        let message = message(storage, uid, &entry, columns)?;
        // Keywords are shared, so a message holds only references.
        page_size += size_of::<Message>()
            + message.flags.keywords().len() * 16
            + message.envelope.as_ref().map_or(0, Envelope::memory_size)
            + message.structure.as_ref().map_or(0, Part::memory_size)
            + message.body.as_ref().map_or(0, Vec::len);
        page.messages.push(message);
    }
    Ok(page)
}

fn message(storage: &impl Storage, uid: u32, entry: &Entry, columns: Columns) -> Result<Message> {
    let content = &entry.content;
    let mut message = Message {
        uid,
        modseq: entry.modseq,
        flags: entry.flags.clone(),
        internal_date: entry.internal_date,
        sent_date: content.sent_date(storage)?,
        saved_date: entry.saved_date,
        size: content.size,
        content: content.id,
        email_id: None,
        preview: None,
        envelope: None,
        structure: None,
        body: None,
    };
    if columns.envelope || columns.structure {
        let (envelope, root) = content.structure(storage)?;
        message.envelope = columns.envelope.then_some(envelope);
        message.structure = columns.structure.then_some(root);
    }
    if columns.body && content.size <= SMALL_LIMIT as u64 {
        message.body = match storage.open(content.id) {
            // It was expunged after the index was read. The caller learns that when it opens the content.
            Err(Error::NotFound(_)) => None,
            body => Some(body?.read(0, SMALL_LIMIT)?),
        };
    }
    Ok(message)
}

/// Appends a message to all targets, or to none. An error concerns only this message.
pub(super) fn append(
    txs: &mut Transactions<'_>,
    quota: &Quota,
    content: &Arc<Content>,
    targets: &[Target],
) -> Result<Vec<Appended>> {
    txs.attempt(|txs| {
        targets.iter().map(|target| append_one(txs.of(target.mailbox)?, quota, content, target)).collect()
    })
}

/// Appends all messages or fails. Removes the replaced message first, so that the quota counts what is added in total.
pub(super) fn append_together(
    txs: &mut Transactions<'_>,
    quota: &Quota,
    messages: &[(Arc<Content>, Vec<Target>)],
    replaced: Option<(MailboxId, u32)>,
) -> Result<Vec<Vec<Appended>>> {
    let mut quota = *quota;
    if let Some((mailbox, uid)) = replaced {
        let account = txs.of(mailbox)?.state.account.id;
        let mut targets = messages.iter().flat_map(|(_, targets)| targets);
        let is_same =
            targets.all(|target| txs.of(target.mailbox).is_ok_and(|tx| tx.state.account.id == account));
        let tx = txs.of(mailbox)?;
        if is_same {
            // An account that is over its quota may become smaller.
            quota = quota.or_usage(&tx.state.account.usage);
        }
        let found = tx.state.mailbox_mut(mailbox)?;
        if !found.messages.contains_key(&uid) {
            return Err(Error::NotFound(REPLACED_MESSAGE));
        }
        let modseq = found.take_modseq();
        tx.remove_message(mailbox, uid, modseq)?;
    }
    messages.iter().map(|(content, targets)| append(txs, &quota, content, targets)).collect()
}

fn append_one(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    content: &Arc<Content>,
    target: &Target,
) -> Result<Appended> {
    tx.state.mailbox(target.mailbox)?;
    check_messages(quota, &tx.state.account.usage, 1, content.size)?;
    let uid = add(tx, quota, target, content, None)?;
    let uid_validity = tx.state.mailbox(target.mailbox)?.header.uid_validity;
    Ok(Appended { mailbox: target.mailbox, uid_validity, uid, content: content.id })
}

/// Adds a message without a check of the account's quota, and returns its UID. Without `modseq`, it gets one of its own.
pub(super) fn add(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    target: &Target,
    content: &Arc<Content>,
    modseq: Option<u64>,
) -> Result<u32> {
    let mailbox = tx.state.mailbox_mut(target.mailbox)?;
    mailbox.keywords.check(target.flags.keywords(), quota.keywords)?;
    let flags = mailbox.intern(&target.flags)?;
    let uid = mailbox.take_uid()?;
    let modseq = modseq.unwrap_or_else(|| mailbox.take_modseq());
    let entry = Entry {
        modseq,
        flags,
        internal_date: target.internal_date,
        saved_date: Some(InternalDate::now().seconds),
        content: Arc::clone(content),
    };
    tx.add_message(target.mailbox, uid, entry);
    Ok(uid)
}

/// Checks the quotas after messages were added in the same transaction.
pub(super) fn check_after(state: &State, quota: &Quota) -> Result<()> {
    let usage = &state.account.usage;
    check(usage.messages, 0, quota.messages, "the number of the account's messages")?;
    check(usage.bytes, 0, quota.bytes, "the size of the account's messages")
}

pub(super) fn copy(
    txs: &mut Transactions<'_>,
    quota: &Quota,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    limit: usize,
) -> Result<Copied> {
    let found = entries_to_copy(txs, from, uids, to, limit)?;
    let copied = add_copies(txs.of(to)?, quota, to, found)?;
    if !copied.pairs.is_empty() {
        check_after(txs.of(to)?.state, quota)?;
    }
    Ok(copied)
}

fn entries_to_copy(
    txs: &mut Transactions<'_>,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    limit: usize,
) -> Result<Entries> {
    let uid_next = txs.of(to)?.state.mailbox(to)?.header.uid_next;
    // If source and destination are the same mailbox, the new copies must not be copied again.
    let uids = if from == to { uids.ending_before(uid_next) } else { uids.clone() };
    entries(txs.of(from)?.state, from, &uids, limit)
}

/// Adds copies of messages to a mailbox, without a check of the account's quota.
pub(super) fn add_copies(
    tx: &mut Transaction<'_>,
    quota: &Quota,
    to: MailboxId,
    (found, next): Entries,
) -> Result<Copied> {
    let uid_validity = tx.state.mailbox(to)?.header.uid_validity;
    let mut copied = Copied { uid_validity, next, ..Copied::default() };
    if found.is_empty() {
        return Ok(copied);
    }
    let modseq = tx.state.mailbox_mut(to)?.take_modseq();
    for (uid, Entry { flags, internal_date, content, .. }) in found {
        let target = Target { mailbox: to, flags, internal_date };
        copied.pairs.push((uid, add(tx, quota, &target, &content, Some(modseq))?));
    }
    Ok(copied)
}

pub(super) fn move_messages(
    txs: &mut Transactions<'_>,
    quota: &Quota,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    limit: usize,
) -> Result<Copied> {
    // A move adds nothing to the account, so it is allowed over quota.
    let found = entries_to_copy(txs, from, uids, to, limit)?;
    let moved = add_copies(txs.of(to)?, quota, to, found)?;
    remove_moved(txs.of(from)?, from, &moved).map(|()| moved)
}

/// Removes the messages that were moved to another mailbox.
pub(super) fn remove_moved(tx: &mut Transaction<'_>, from: MailboxId, moved: &Copied) -> Result<()> {
    if moved.pairs.is_empty() {
        return Ok(());
    }
    let modseq = tx.state.mailbox_mut(from)?.take_modseq();
    moved.pairs.iter().try_for_each(|(uid, _)| tx.remove_message(from, *uid, modseq))
}

pub(super) fn expunge(
    tx: &mut Transaction<'_>,
    mailbox: MailboxId,
    which: &Expunge,
    limit: usize,
) -> Result<Expunged> {
    let expunged = find_to_expunge(tx.state, mailbox, which, limit)?;
    if !expunged.uids.is_empty() {
        let modseq = tx.state.mailbox_mut(mailbox)?.take_modseq();
        expunged.uids.iter().try_for_each(|uid| tx.remove_message(mailbox, *uid, modseq))?;
    }
    Ok(expunged)
}

fn find_to_expunge(state: &State, mailbox: MailboxId, which: &Expunge, limit: usize) -> Result<Expunged> {
    let mailbox = state.mailbox(mailbox)?;
    let everything = UidSet::all();
    let (uids, bits) = match which {
        Expunge::Deleted => (&everything, Flags::DELETED),
        Expunge::DeletedAmong(uids) => (uids, Flags::DELETED),
        Expunge::Exactly(uids) => (uids, 0),
    };
    let mut found = Expunged::default();
    if bits != 0 && mailbox.marked_deleted == 0 {
        return Ok(found);
    }
    let mut examined = 0;
    for range in uids.ranges() {
        for (&uid, entry) in mailbox.messages.range(range.clone()) {
            if found.uids.len() >= limit.max(1) || examined >= SCAN_LIMIT {
                found.next = Some(uid);
                return Ok(found);
            }
            examined += 1;
            if entry.flags.contains(bits) {
                found.uids.push(uid);
            }
        }
    }
    Ok(found)
}
