//! Appending messages to mailboxes in one transaction.

use super::after_commit::{AfterCommit, transact};
use super::files::SealedUpload;
use super::mailbox_row::MailboxRow;
use super::new_message::NewMessage;
use super::{messages, quota};
use crate::default_copies::REPLACED_MESSAGE;
use crate::error::{Error, Result};
use crate::quota::check_messages;
use crate::types::{AccountId, Appended, ContentId, InternalDate, MailboxId, Quota, Target, Usage};
use mailmime::decode;
use rusqlite::Connection;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// The outcome of each delivery, by the call that brought it.
type Results = Vec<Vec<Result<Vec<Appended>>>>;

/// Appends the deliveries of several calls in one transaction.
pub(super) fn append_all(
    writer: &mut Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    calls: &[Vec<(SealedUpload, Vec<Target>)>],
) -> Result<Results> {
    transact(writer, after_commit, |tx, after_commit| {
        let mut batch = Batch { quota, mailboxes: BTreeMap::new(), usages: BTreeMap::new() };
        let results = calls
            .iter()
            .map(|deliveries| {
                deliveries.iter().map(|(sealed, targets)| batch.deliver(tx, sealed, targets)).collect()
            })
            .collect::<Result<Results>>()?;
        batch.save(tx, after_commit, results.iter().flatten().flatten().flatten())?;
        Ok(results)
    })
}

/// Appends all deliveries or fails. Removes the replaced message first, so that the quota counts what is added in total.
pub(super) fn append_together(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    deliveries: &[(SealedUpload, Vec<Target>)],
    replaced: Option<(MailboxId, u32)>,
) -> Result<Vec<Vec<Appended>>> {
    let mut quota = *quota;
    if let Some((mailbox, uid)) = replaced {
        let account_of = |mailbox| MailboxRow::load(tx, mailbox).map(|row| row.account);
        let account = account_of(mailbox)?;
        let targets = deliveries.iter().flat_map(|(_, targets)| targets);
        let accounts = targets.map(|target| account_of(target.mailbox)).collect::<Result<BTreeSet<_>>>()?;
        if accounts.iter().all(|target| *target == account) {
            // An account that is over its quota may become smaller.
            quota = quota.or_usage(&quota::usage(tx, account)?);
        }
        if messages::remove(tx, after_commit, mailbox, &[uid], 0)?.is_empty() {
            return Err(Error::NotFound(REPLACED_MESSAGE));
        }
    }
    let mut batch = Batch { quota: &quota, mailboxes: BTreeMap::new(), usages: BTreeMap::new() };
    let appended = deliveries
        .iter()
        .map(|(sealed, targets)| batch.deliver(tx, sealed, targets)?)
        .collect::<Result<Vec<_>>>()?;
    batch.save(tx, after_commit, appended.iter().flatten())?;
    Ok(appended)
}

/// The state that the deliveries of one transaction share.
struct Batch<'q> {
    quota: &'q Quota,
    mailboxes: BTreeMap<MailboxId, MailboxRow>,
    /// The usage of each account, including the messages of this transaction.
    usages: BTreeMap<AccountId, Usage>,
}

impl Batch<'_> {
    /// Makes one delivery. The inner error concerns only this delivery; the outer error aborts the transaction.
    fn deliver(
        &mut self,
        tx: &Connection,
        sealed: &SealedUpload,
        targets: &[Target],
    ) -> Result<Result<Vec<Appended>>> {
        match self.admit(tx, sealed, targets) {
            Ok(()) => {}
            Err(
                error @ (Error::NotFound(_) | Error::NoSelect | Error::Limit(_) | Error::OverQuota { .. }),
            ) => {
                return Ok(Err(error));
            }
            Err(error) => return Err(error),
        }
        if targets.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let content = insert_content(tx, sealed)?;
        let saved = InternalDate::now().seconds;
        let mut appended = Vec::with_capacity(targets.len());
        for target in targets {
            let Some(mailbox) = self.mailboxes.get_mut(&target.mailbox) else { continue };
            mailbox.modseq += 1;
            let uid = mailbox.take_uid()?;
            let message = NewMessage {
                uid,
                flags: &target.flags,
                internal_date: target.internal_date,
                sent: sealed.sent_date(),
                saved,
                size: sealed.size,
                content,
            };
            message.insert(tx, mailbox)?;
            appended.push(Appended { mailbox: mailbox.id, uid_validity: mailbox.uid_validity, uid, content });
        }
        Ok(Ok(appended))
    }

    /// Writes the rows of the mailboxes with new messages.
    fn save<'a>(
        &self,
        tx: &Connection,
        after_commit: &mut AfterCommit,
        appended: impl Iterator<Item = &'a Appended>,
    ) -> Result<()> {
        let touched: BTreeSet<MailboxId> = appended.map(|appended| appended.mailbox).collect();
        let mut changed = self.mailboxes.values().filter(|mailbox| touched.contains(&mailbox.id));
        changed.try_for_each(|mailbox| mailbox.save(tx, after_commit))
    }

    /// Checks that the mailboxes exist and may take the message, and counts it.
    fn admit(&mut self, tx: &Connection, sealed: &SealedUpload, targets: &[Target]) -> Result<()> {
        let mut usages = BTreeMap::new();
        for target in targets {
            let account = match self.mailboxes.entry(target.mailbox) {
                Entry::Occupied(known) => known.get().account,
                Entry::Vacant(vacant) => vacant.insert(MailboxRow::load(tx, target.mailbox)?).account,
            };
            let usage = match usages.entry(account) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(match self.usages.get(&account) {
                    Some(known) => *known,
                    None => quota::usage(tx, account)?,
                }),
            };
            check_messages(self.quota, usage, 1, sealed.size)?;
            usage.messages += 1;
            usage.bytes += sealed.size;
        }
        for target in targets {
            if let Some(mailbox) = self.mailboxes.get_mut(&target.mailbox) {
                mailbox.keywords.check(tx, target.mailbox, &target.flags, self.quota.keywords)?;
            }
        }
        self.usages.append(&mut usages);
        Ok(())
    }
}

impl SealedUpload {
    pub(super) fn sent_date(&self) -> Option<i64> {
        self.record.date.as_deref().and_then(decode::date)
    }
}

/// Inserts the row of a message's content, with its envelope and structure, and returns its identifier.
pub(super) fn insert_content(tx: &Connection, sealed: &SealedUpload) -> Result<ContentId> {
    let (envelope, structure) = (&sealed.record.envelope, &sealed.record.root);
    tx.prepare_cached(
        "INSERT INTO contents (size, file, envelope, structure, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((sealed.size, sealed.file_name(), envelope, structure, sealed.inline()))?;
    Ok(ContentId(tx.last_insert_rowid()))
}
