//! Access control lists (RFC 4314). The entries of a mailbox go with it, by a trigger.

use super::mailboxes;
use crate::error::{Error, Result};
use crate::rights::{
    AclChange, AclEntry, Rights, canonical_identifier, changed, check_counts, identifiers_of,
};
use crate::types::{Account, AccountId, Mailbox, MailboxId};
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeSet;

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
    mailboxes::check_exists(tx, account, mailbox)?;
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
    mailboxes::check_exists(tx, account, mailbox)?;
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

/// Returns at most `limit` other accounts after `after` that have an entry for an account.
pub(super) fn sharing_accounts(
    tx: &Connection,
    account: &Account,
    after: AccountId,
    limit: usize,
) -> Result<Vec<Account>> {
    // Each step finds the next account by the index: the number of entries does not matter.
    let next = "SELECT min(account) FROM acl WHERE identifier = ?1 AND account > ?2";
    let mut next = tx.prepare_cached(next)?;
    let identifiers: Vec<String> =
        identifiers_of(&account.name).into_iter().filter(|one| !one.starts_with('-')).collect();
    let (mut found, mut after) = (Vec::new(), after.0);
    while found.len() < limit {
        let mut first: Option<i64> = None;
        for identifier in &identifiers {
            let one: Option<i64> = next.query_row((identifier, after), |row| row.get(0))?;
            first = [first, one].into_iter().flatten().min();
        }
        let Some(owner) = first else { break };
        after = owner;
        if owner != account.id.0 {
            found.push(super::accounts::find_by_id(tx, AccountId(owner))?);
        }
    }
    Ok(found)
}

/// Returns the mailboxes of `owner` with an entry for an account, in the order of their names, and the rights.
pub(super) fn shared_mailboxes(
    tx: &Connection,
    owner: AccountId,
    account: &str,
) -> Result<Vec<(Mailbox, Rights)>> {
    let mut statement =
        tx.prepare_cached("SELECT mailbox FROM acl WHERE identifier = ?1 AND account = ?2")?;
    let mut ids = BTreeSet::new();
    for identifier in identifiers_of(account) {
        let rows = statement.query_map((identifier, owner.0), |row| row.get::<_, i64>(0))?;
        ids.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let rights = crate::rights::rights_of(account, &entries(tx, owner, MailboxId(id))?);
        match mailboxes::find_by_id(tx, owner, MailboxId(id)) {
            Ok(mailbox) => found.push((mailbox, rights)),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    Ok(found)
}
