//! The row of one mailbox, as operations on its messages load and update it.

use super::after_commit::AfterCommit;
use super::keywords::Keywords;
use crate::callback::AccountChange;
use crate::error::{Error, Result};
use crate::types::{AccountId, MailboxId};
use rusqlite::Connection;

/// The columns of a mailbox that operations on its messages read and change.
pub(super) struct MailboxRow {
    pub(super) id: MailboxId,
    pub(super) account: AccountId,
    pub(super) uid_validity: u32,
    pub(super) uid_next: u32,
    pub(super) modseq: u64,
    pub(super) keywords: Keywords,
}

impl MailboxRow {
    pub(super) fn load(tx: &Connection, id: MailboxId) -> Result<Self> {
        let mut statement = tx.prepare_cached(
            "SELECT uid_validity, uid_next, highest_modseq, no_select, name < char(2), account
             FROM mailboxes WHERE id = ?1",
        )?;
        let mut rows = statement.query([id.0])?;
        let row = rows.next()?.ok_or(Error::NotFound("mailbox"))?;
        if row.get(4)? {
            return Err(Error::NotFound("mailbox"));
        }
        if row.get(3)? {
            return Err(Error::NoSelect);
        }
        let keywords = Keywords::default();
        Ok(Self {
            id,
            account: AccountId(row.get(5)?),
            uid_validity: row.get(0)?,
            uid_next: row.get(1)?,
            modseq: row.get(2)?,
            keywords,
        })
    }

    /// Assigns the next UID.
    pub(super) fn take_uid(&mut self) -> Result<u32> {
        let uid = self.uid_next;
        self.uid_next = uid.checked_add(1).ok_or(Error::Limit("the UIDs of a mailbox"))?;
        Ok(uid)
    }

    /// Writes the counters back and notifies subscribers after the commit, because messages were added or removed.
    pub(super) fn save(&self, tx: &Connection, after_commit: &mut AfterCommit) -> Result<()> {
        after_commit.note(self.account, AccountChange::Messages(self.id));
        self.save_counters(tx, after_commit)
    }

    /// The same, because flags have changed.
    pub(super) fn save_flags(&self, tx: &Connection, after_commit: &mut AfterCommit) -> Result<()> {
        after_commit.note(self.account, AccountChange::Flags(self.id));
        self.save_counters(tx, after_commit)
    }

    fn save_counters(&self, tx: &Connection, after_commit: &mut AfterCommit) -> Result<()> {
        tx.prepare_cached("UPDATE mailboxes SET uid_next = ?2, highest_modseq = ?3 WHERE id = ?1")?
            .execute((self.id.0, self.uid_next, self.modseq))?;
        after_commit.changed.insert(self.id, self.modseq);
        Ok(())
    }
}

/// Checks that a mailbox belongs to an account.
///
/// # Errors
/// `NotFound` if the mailbox does not exist in this account.
pub(super) fn check_exists(tx: &Connection, account: AccountId, mailbox: MailboxId) -> Result<()> {
    let text = "SELECT 1 FROM mailboxes WHERE id = ?1 AND account = ?2 AND name >= char(2)";
    match tx.prepare_cached(text)?.exists((mailbox.0, account.0))? {
        true => Ok(()),
        false => Err(Error::NotFound("mailbox")),
    }
}
