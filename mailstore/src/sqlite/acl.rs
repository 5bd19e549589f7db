//! Access control lists (RFC 4314). The entries of a mailbox go with it, by a trigger.

use super::mailbox_row::check_exists;
use crate::error::Result;
use crate::rights::{AclChange, AclEntry, Rights, canonical_identifier, changed, check_counts};
use crate::types::{AccountId, MailboxId};
use rusqlite::{Connection, OptionalExtension};

/// Version 12 added access control lists.
pub(super) const TABLE: &str = "
CREATE TABLE acl (
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id),
    identifier TEXT NOT NULL, -- in lower case
    account INTEGER NOT NULL REFERENCES accounts (id), -- the owner of the mailbox
    rights INTEGER NOT NULL,
    PRIMARY KEY (mailbox, identifier)
) STRICT, WITHOUT ROWID;
CREATE INDEX acl_identifier ON acl (identifier, account, mailbox);
CREATE INDEX acl_account ON acl (account);
CREATE TRIGGER mailbox_deleted_with_acl AFTER UPDATE OF name ON mailboxes
    WHEN old.name >= char(2) AND new.name < char(2)
BEGIN
    DELETE FROM acl WHERE mailbox = new.id;
END;
";

pub(super) fn entries(tx: &Connection, account: AccountId, mailbox: MailboxId) -> Result<Vec<AclEntry>> {
    check_exists(tx, account, mailbox)?;
    let text = "SELECT identifier, rights FROM acl WHERE mailbox = ?1 ORDER BY identifier";
    let mut statement = tx.prepare_cached(text)?;
    let rows = statement.query_map([mailbox.0], |row| {
        Ok(AclEntry::new(row.get::<_, String>(0)?, Rights::from_bits(row.get(1)?)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn set(
    tx: &Connection,
    account: AccountId,
    mailbox: MailboxId,
    identifier: &str,
    change: AclChange,
    rights: Rights,
) -> Result<()> {
    let identifier = canonical_identifier(identifier)?;
    check_exists(tx, account, mailbox)?;
    let before: Option<u16> = tx
        .prepare_cached("SELECT rights FROM acl WHERE mailbox = ?1 AND identifier = ?2")?
        .query_row((mailbox.0, &identifier), |row| row.get(0))
        .optional()?;
    let new = changed(Rights::from_bits(before.unwrap_or_default()), change, rights);
    if new.is_empty() {
        tx.prepare_cached("DELETE FROM acl WHERE mailbox = ?1 AND identifier = ?2")?
            .execute((mailbox.0, &identifier))?;
        return Ok(());
    }
    tx.prepare_cached(
        "INSERT INTO acl (mailbox, identifier, account, rights) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (mailbox, identifier) DO UPDATE SET rights = excluded.rights",
    )?
    .execute((mailbox.0, &identifier, account.0, new.bits()))?;
    if before.is_none() { check_limits(tx, account, mailbox) } else { Ok(()) }
}

/// Gives a new mailbox the entries of its parent (RFC 4314 §4).
pub(super) fn inherit(tx: &Connection, account: AccountId, new: MailboxId, parent: &str) -> Result<()> {
    let text = "INSERT INTO acl (mailbox, identifier, account, rights)
        SELECT ?1, a.identifier, a.account, a.rights FROM acl a JOIN mailboxes m ON m.id = a.mailbox
        WHERE m.account = ?2 AND m.name = ?3";
    match tx.prepare_cached(text)?.execute((new.0, account.0, parent))? {
        0 => Ok(()),
        _ => check_limits(tx, account, new),
    }
}

pub(super) fn remove_all(tx: &Connection, mailbox: MailboxId) -> Result<()> {
    tx.prepare_cached("DELETE FROM acl WHERE mailbox = ?1")?.execute([mailbox.0])?;
    Ok(())
}

fn check_limits(tx: &Connection, account: AccountId, mailbox: MailboxId) -> Result<()> {
    let count =
        |text, id: i64| -> Result<usize> { Ok(tx.prepare_cached(text)?.query_row([id], |row| row.get(0))?) };
    check_counts(
        count("SELECT count(*) FROM acl WHERE mailbox = ?1", mailbox.0)?,
        count("SELECT count(*) FROM acl WHERE account = ?1", account.0)?,
    )
}
