//! Messages fetched from remote servers: which are already stored, and how the last sync ended.
//!
//! Independent of the protocol that fetched them. A message is recorded in the transaction that appends it.

use super::after_commit::AfterCommit;
use super::append::insert_content;
use super::files::{SealedUpload, seal};
use super::mailbox_row::MailboxRow;
use super::new_message::NewMessage;
use super::quota;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::limits::NAME_LIMIT;
use crate::remote_types::{ImportOutcome, RemoteAccount, RemoteMailbox, RemoteMessage};
use crate::types::{AccountId, InternalDate, MailboxId, Quota, RemoteAccountId, RemoteMailboxId, UidSet};
use rusqlite::{Connection, OptionalExtension, Row};
use sha2::{Digest, Sha256};

/// A fetched message that is synced to disk and digested.
pub(super) struct PreparedImport {
    uid: u32,
    flags: Flags,
    internal_date: InternalDate,
    digest: [u8; 32],
    sealed: SealedUpload,
}

impl PreparedImport {
    pub(super) fn has_file(&self) -> bool {
        self.sealed.file_name().is_some()
    }

    pub(super) fn keep(&mut self) {
        self.sealed.keep();
    }
}

pub(super) fn prepare(messages: Vec<RemoteMessage>) -> Result<Vec<PreparedImport>> {
    messages
        .into_iter()
        .map(|mut message| {
            let mut digest = Sha256::new();
            message.upload.for_each_chunk(|chunk| digest.update(chunk))?;
            Ok(PreparedImport {
                uid: message.uid,
                flags: message.flags,
                internal_date: message.internal_date,
                digest: digest.finalize().into(),
                sealed: seal(message.upload)?,
            })
        })
        .collect()
}

pub(super) fn account(
    tx: &Connection,
    quota: &Quota,
    account: AccountId,
    url_key: &str,
) -> Result<RemoteAccount> {
    if url_key.len() > NAME_LIMIT {
        return Err(Error::Limit("the length of a remote account's key"));
    }
    let text = "SELECT id, url_key, last_sync_at, status, error FROM remote_accounts
        WHERE account = ?1 AND url_key = ?2";
    let mut statement = tx.prepare_cached(text)?;
    if let Some(found) = statement.query_row((account.0, url_key), read_account).optional()? {
        return Ok(found);
    }
    quota::check_remote_accounts(tx, quota, account)?;
    tx.execute("INSERT INTO remote_accounts (account, url_key) VALUES (?1, ?2)", (account.0, url_key))?;
    Ok(statement.query_row((account.0, url_key), read_account)?)
}

pub(super) fn accounts(tx: &Connection, account: AccountId) -> Result<Vec<RemoteAccount>> {
    let mut statement = tx.prepare_cached(
        "SELECT id, url_key, last_sync_at, status, error FROM remote_accounts WHERE account = ?1 ORDER BY url_key",
    )?;
    let rows = statement.query_map([account.0], read_account)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn record_sync(
    tx: &Connection,
    remote: RemoteAccountId,
    at: i64,
    status: &str,
    error: Option<&str>,
) -> Result<()> {
    let changed = tx.execute(
        "UPDATE remote_accounts SET last_sync_at = ?2, status = ?3, error = ?4 WHERE id = ?1",
        (remote.0, at, status, error),
    )?;
    if changed == 0 { Err(Error::NotFound("remote account")) } else { Ok(()) }
}

pub(super) fn mailbox(
    tx: &Connection,
    remote: RemoteAccountId,
    name: &str,
    mailbox: MailboxId,
    uid_validity: u32,
) -> Result<RemoteMailbox> {
    MailboxRow::load(tx, mailbox)?;
    if !tx.prepare_cached("SELECT 1 FROM remote_accounts WHERE id = ?1")?.exists([remote.0])? {
        return Err(Error::NotFound("remote account"));
    }
    let id = tx.query_row(
        "INSERT INTO remote_mailboxes (remote, name, mailbox, uid_validity) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (remote, name) DO UPDATE SET mailbox = excluded.mailbox, uid_validity = excluded.uid_validity,
             is_gone = 0, highest_modseq = CASE WHEN mailbox = excluded.mailbox
                 AND uid_validity = excluded.uid_validity THEN highest_modseq ELSE 0 END
         RETURNING id",
        (remote.0, name, mailbox.0, uid_validity),
        |row| row.get(0),
    )?;
    let known = tx.query_row(
        "SELECT count(*) FROM remote_messages WHERE remote_mailbox = ?1 AND uid_validity = ?2
            AND local_mailbox = ?3 AND is_removed = 0",
        (id, uid_validity, mailbox.0),
        |row| row.get(0),
    )?;
    Ok(RemoteMailbox { id: RemoteMailboxId(id), mailbox, uid_validity, known })
}

/// Returns the names of the remote mailboxes, and the local mailboxes that their messages go to.
pub(super) fn mailboxes(tx: &Connection, remote: RemoteAccountId) -> Result<Vec<(String, MailboxId)>> {
    let mut statement =
        tx.prepare_cached("SELECT name, mailbox FROM remote_mailboxes WHERE remote = ?1 ORDER BY name")?;
    let rows = statement.query_map([remote.0], |row| Ok((row.get(0)?, MailboxId(row.get(1)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn known_uids(tx: &Connection, remote: RemoteMailboxId) -> Result<UidSet> {
    let (mailbox, uid_validity) = load(tx, remote)?;
    let mut statement = tx.prepare_cached(
        "SELECT uid FROM remote_messages WHERE remote_mailbox = ?1 AND uid_validity = ?2 AND local_mailbox = ?3
            AND is_removed = 0 ORDER BY uid",
    )?;
    let rows = statement.query_map((remote.0, uid_validity, mailbox.0), |row| row.get::<_, u32>(0))?;
    Ok(rows.collect::<rusqlite::Result<Vec<u32>>>()?.into_iter().collect())
}

pub(super) fn record(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    remote: RemoteMailboxId,
    messages: &[PreparedImport],
) -> Result<Vec<ImportOutcome>> {
    let (mailbox, uid_validity) = load(tx, remote)?;
    let mut row = MailboxRow::load(tx, mailbox)?;
    let mut imports = Vec::with_capacity(messages.len());
    for message in messages {
        let import = match find_existing(tx, remote, uid_validity, mailbox, message)? {
            Some(import) => import,
            None => {
                row.keywords.check(tx, mailbox, &message.flags, quota.keywords)?;
                ImportOutcome::Imported(append(tx, &mut row, message)?)
            }
        };
        if let ImportOutcome::Imported(local) | ImportOutcome::Duplicate(local) = import {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO remote_messages (remote_mailbox, uid_validity, uid, local_mailbox, local_uid, digest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((remote.0, uid_validity, message.uid, mailbox.0, local, message.digest))?;
        }
        imports.push(import);
    }
    if imports.iter().any(|import| matches!(import, ImportOutcome::Imported(_))) {
        row.save(tx, after_commit)?;
        quota::check_after(tx, quota, row.account)?;
    }
    Ok(imports)
}

fn append(tx: &Connection, mailbox: &mut MailboxRow, message: &PreparedImport) -> Result<u32> {
    let content = insert_content(tx, &message.sealed)?;
    mailbox.modseq += 1;
    let uid = mailbox.take_uid()?;
    let new = NewMessage {
        uid,
        flags: &message.flags,
        internal_date: message.internal_date,
        sent: message.sealed.sent_date(),
        saved: InternalDate::now().seconds,
        size: message.sealed.size,
        content,
    };
    new.insert(tx, mailbox)?;
    Ok(uid)
}

/// Returns how the message is already stored, if it is. A message that was imported under an earlier UIDVALIDITY is
/// assigned to its new UID once, so that two equal messages of a mailbox stay two.
fn find_existing(
    tx: &Connection,
    remote: RemoteMailboxId,
    uid_validity: u32,
    mailbox: MailboxId,
    message: &PreparedImport,
) -> Result<Option<ImportOutcome>> {
    let known: Option<u32> = tx
        .prepare_cached(
            "SELECT local_uid FROM remote_messages
             WHERE remote_mailbox = ?1 AND uid_validity = ?2 AND uid = ?3 AND local_mailbox = ?4",
        )?
        .query_row((remote.0, uid_validity, message.uid, mailbox.0), |row| row.get(0))
        .optional()?;
    if let Some(local) = known {
        // The remote server has the message again.
        tx.prepare_cached(
            "UPDATE remote_messages SET is_removed = 0 WHERE remote_mailbox = ?1 AND uid_validity = ?2 AND uid = ?3",
        )?
        .execute((remote.0, uid_validity, message.uid))?;
        return Ok(Some(ImportOutcome::Known(local)));
    }
    // Search the rows below and above the current UIDVALIDITY, and not its own, which may be as many as there are
    // messages.
    let claimed = match find_claimable(tx, EARLIER, remote, uid_validity, mailbox, message)? {
        None => find_claimable(tx, LATER, remote, uid_validity, mailbox, message)?,
        found => found,
    };
    let Some((old_validity, old_uid, local)) = claimed else { return Ok(None) };
    tx.prepare_cached(
        "DELETE FROM remote_messages WHERE remote_mailbox = ?1 AND uid_validity = ?2 AND uid = ?3",
    )?
    .execute((remote.0, old_validity, old_uid))?;
    Ok(Some(ImportOutcome::Duplicate(local)))
}

/// Finds a row of the same content under a lower UIDVALIDITY whose message still exists. The index is named because
/// the planner would use the primary key for the order, and read all rows of the mailbox. At most 100 rows of equal
/// messages are examined.
const EARLIER: &str = "
SELECT r.uid_validity, r.uid, r.local_uid FROM (
    SELECT uid_validity, uid, local_mailbox, local_uid FROM remote_messages INDEXED BY remote_messages_digest
    WHERE remote_mailbox = ?1 AND digest = ?2 AND uid_validity < ?3 ORDER BY uid_validity, uid LIMIT 100) r
JOIN messages m ON m.mailbox = r.local_mailbox AND m.uid = r.local_uid
WHERE r.local_mailbox = ?4 LIMIT 1";

/// The same for higher UIDVALIDITY values.
const LATER: &str = "
SELECT r.uid_validity, r.uid, r.local_uid FROM (
    SELECT uid_validity, uid, local_mailbox, local_uid FROM remote_messages INDEXED BY remote_messages_digest
    WHERE remote_mailbox = ?1 AND digest = ?2 AND uid_validity > ?3 ORDER BY uid_validity, uid LIMIT 100) r
JOIN messages m ON m.mailbox = r.local_mailbox AND m.uid = r.local_uid
WHERE r.local_mailbox = ?4 LIMIT 1";

fn find_claimable(
    tx: &Connection,
    query: &str,
    remote: RemoteMailboxId,
    uid_validity: u32,
    mailbox: MailboxId,
    message: &PreparedImport,
) -> Result<Option<(u32, u32, u32)>> {
    Ok(tx
        .prepare_cached(query)?
        .query_row((remote.0, message.digest, uid_validity, mailbox.0), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?)
}

pub(super) fn load(tx: &Connection, remote: RemoteMailboxId) -> Result<(MailboxId, u32)> {
    tx.prepare_cached("SELECT mailbox, uid_validity FROM remote_mailboxes WHERE id = ?1")?
        .query_row([remote.0], |row| Ok((MailboxId(row.get(0)?), row.get(1)?)))
        .optional()?
        .ok_or(Error::NotFound("remote mailbox"))
}

fn read_account(row: &Row<'_>) -> rusqlite::Result<RemoteAccount> {
    Ok(RemoteAccount {
        id: RemoteAccountId(row.get(0)?),
        url_key: row.get(1)?,
        last_sync_at: row.get(2)?,
        status: row.get(3)?,
        error: row.get(4)?,
    })
}
