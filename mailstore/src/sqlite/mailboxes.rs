//! Mailboxes: names, hierarchy, subscriptions and counters.
//!
//! Implements RFC 9051 §5.1 and §6.3.3 to §6.3.11. UIDVALIDITY comes from a counter of the account, which only grows
//! and is at least the time of creation. So no two mailboxes of an account ever share a value, also after renames.

use super::after_commit::AfterCommit;
use super::mailbox_row::MailboxRow;
use super::{acl, keywords, messages, quota};
use crate::callback::AccountChange;
use crate::error::{Error, Result};
use crate::mailbox_name::canonical;
use crate::types::{
    AccountId, Mailbox, MailboxId, NameSelection, Quota, Selection, SpecialUse, Status, Subscription, UidSet,
};
use rusqlite::{Connection, OptionalExtension, Row};
use std::ops::Range;
use std::time::SystemTime;

const COLUMNS: &str = "
SELECT m.id, m.name, m.special_use, m.no_select,
    EXISTS (SELECT 1 FROM mailboxes c WHERE c.account = m.account AND c.name > m.name || '/' AND c.name < m.name || '0'),
    EXISTS (SELECT 1 FROM subscriptions s WHERE s.account = m.account AND s.name = m.name)
FROM mailboxes m";

/// A text after all names of deleted mailboxes and before all other names.
const AFTER_DELETED_NAMES: &str = "\u{1}\u{7f}";

/// Returns at most `limit` mailboxes whose names follow `after`.
pub(super) fn list(tx: &Connection, account: AccountId, after: &str, limit: usize) -> Result<Vec<Mailbox>> {
    let after = after.max(AFTER_DELETED_NAMES);
    let mut statement = tx.prepare_cached(&list_query())?;
    let rows = statement.query_map((account.0, after, limit.min(crate::limits::ROWS_LIMIT)), read_mailbox)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn list_query() -> String {
    format!("{COLUMNS} WHERE m.account = ?1 AND m.name > ?2 ORDER BY m.name LIMIT ?3")
}

pub(super) fn lookup_query() -> String {
    format!("{COLUMNS} WHERE m.account = ?1 AND m.name = ?2")
}

pub(super) fn find(tx: &Connection, account: AccountId, name: &str) -> Result<Mailbox> {
    // An invalid name belongs to no mailbox.
    let name = canonical(name).map_err(|_| Error::NotFound("mailbox"))?;
    lookup(tx, account, &name)?.ok_or(Error::NotFound("mailbox"))
}

/// Returns a mailbox of this account.
pub(super) fn find_by_id(tx: &Connection, account: AccountId, mailbox: MailboxId) -> Result<Mailbox> {
    let text = "SELECT name FROM mailboxes WHERE id = ?1 AND account = ?2 AND name >= char(2)";
    let name: Option<String> =
        tx.prepare_cached(text)?.query_row((mailbox.0, account.0), |row| row.get(0)).optional()?;
    find(tx, account, &name.ok_or(Error::NotFound("mailbox"))?)
}

pub(super) fn create(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<MailboxId> {
    let name = canonical(name)?;
    create_parents(tx, after_commit, quota, account, &name)?;
    let id = match lookup(tx, account, &name)? {
        None => insert(tx, quota, account, &name, special_use)?,
        Some(mailbox) if mailbox.no_select => {
            let uid_validity = next_uid_validity(tx, account)?;
            tx.execute(
                "UPDATE mailboxes SET no_select = 0, uid_validity = ?2, uid_next = 1, first_recent_uid = 1,
                    recent = 0, special_use = ?3 WHERE id = ?1",
                (mailbox.id.0, uid_validity, special_use.map(SpecialUse::attribute)),
            )?;
            mailbox.id
        }
        Some(_) => return Err(Error::Exists("mailbox")),
    };
    after_commit.note(account, AccountChange::Created(name));
    Ok(id)
}

pub(super) fn delete(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    account: AccountId,
    name: &str,
) -> Result<()> {
    let mailbox = find(tx, account, name)?;
    if mailbox.name == "INBOX" {
        return Err(Error::Refused("INBOX can't be deleted"));
    }
    if mailbox.no_select && mailbox.has_children {
        return Err(Error::Refused("the mailbox holds others: delete those first"));
    }
    // No mailbox name starts with a control character, so no call finds this mailbox any more. Its messages are
    // removed in slices.
    tx.execute(
        "UPDATE mailboxes SET name = char(1) || id, no_select = 1, special_use = NULL WHERE id = ?1",
        [mailbox.id.0],
    )?;
    if mailbox.has_children {
        let id = insert(tx, &Quota::UNLIMITED, account, &mailbox.name, None)?;
        tx.execute("UPDATE mailboxes SET no_select = 1 WHERE id = ?1", [id.0])?;
        acl::remove_all(tx, id)?;
    }
    after_commit.changed.insert(mailbox.id, 0);
    after_commit.note(account, AccountChange::Deleted(mailbox.name));
    Ok(())
}

/// Removes a slice of the messages of deleted mailboxes. Returns whether to call it again.
pub(super) fn purge(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    account: AccountId,
    limit: usize,
) -> Result<bool> {
    let deleted: Option<i64> = tx
        .prepare_cached("SELECT id FROM mailboxes WHERE account = ?1 AND name < char(2) LIMIT 1")?
        .query_row([account.0], |row| row.get(0))
        .optional()?;
    let Some(deleted) = deleted else { return Ok(false) };
    messages::purge(tx, after_commit, MailboxId(deleted), limit)?;
    Ok(true)
}

pub(super) fn rename(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    account: AccountId,
    from: &str,
    to: &str,
) -> Result<()> {
    let mailbox = find(tx, account, from)?;
    let to = canonical(to)?;
    if lookup(tx, account, &to)?.is_some() {
        return Err(Error::Exists("mailbox"));
    }
    if mailbox.name == "INBOX" {
        create_parents(tx, after_commit, quota, account, &to)?;
        let destination = insert(tx, quota, account, &to, None)?;
        after_commit.note(account, AccountChange::Created(to));
        messages::move_messages(
            tx,
            after_commit,
            quota,
            mailbox.id,
            &UidSet::all(),
            destination,
            usize::MAX,
        )?;
        return Ok(());
    }
    let below = format!("{}/", mailbox.name);
    if to.starts_with(&below) {
        return Err(Error::Refused("a mailbox can't be moved below itself"));
    }
    create_parents(tx, after_commit, quota, account, &to)?;
    let children: Vec<(i64, String)> = {
        let mut statement = tx.prepare_cached(
            "SELECT id, name FROM mailboxes WHERE account = ?1 AND name > ?2 AND name < ?3",
        )?;
        let rows = statement.query_map((account.0, &below, format!("{}0", mailbox.name)), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let mut update = tx.prepare_cached("UPDATE mailboxes SET name = ?2 WHERE id = ?1")?;
    update.execute((mailbox.id.0, &to))?;
    for (id, name) in children {
        let new = canonical(&format!("{to}/{}", name.get(below.len()..).unwrap_or_default()))?;
        update.execute((id, new))?;
    }
    after_commit.note(account, AccountChange::Renamed { from: mailbox.name, to });
    Ok(())
}

pub(super) fn subscribe(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    account: AccountId,
    name: &str,
) -> Result<()> {
    let name = canonical(name)?;
    let text = "SELECT 1 FROM subscriptions WHERE account = ?1 AND name = ?2";
    if tx.prepare_cached(text)?.exists((account.0, &name))? {
        return Ok(());
    }
    quota::check_subscriptions(tx, quota, account)?;
    tx.execute("INSERT INTO subscriptions (account, name) VALUES (?1, ?2)", (account.0, &name))?;
    after_commit.note(account, AccountChange::Subscribed(name));
    Ok(())
}

pub(super) fn unsubscribe(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    account: AccountId,
    name: &str,
) -> Result<()> {
    let name = canonical(name)?;
    let text = "DELETE FROM subscriptions WHERE account = ?1 AND name = ?2";
    if tx.execute(text, (account.0, &name))? > 0 {
        after_commit.note(account, AccountChange::Unsubscribed(name));
    }
    Ok(())
}

/// Returns at most `limit` subscriptions whose names follow `after`.
pub(super) fn subscriptions(
    tx: &Connection,
    account: AccountId,
    after: &str,
    limit: usize,
) -> Result<Vec<Subscription>> {
    let mut statement = tx.prepare_cached(
        "SELECT s.name, m.id, m.special_use, m.no_select, EXISTS (SELECT 1 FROM mailboxes c
            WHERE c.account = s.account AND c.name > s.name || '/' AND c.name < s.name || '0')
         FROM subscriptions s LEFT JOIN mailboxes m ON m.account = s.account AND m.name = s.name
         WHERE s.account = ?1 AND s.name > ?2 ORDER BY s.name LIMIT ?3",
    )?;
    let rows = statement.query_map((account.0, after, limit.min(crate::limits::ROWS_LIMIT)), |row| {
        let name: String = row.get(0)?;
        let mailbox = match row.get(1)? {
            None => None,
            Some(id) => Some(Mailbox {
                id: MailboxId(id),
                name: name.clone(),
                special_use: read_special_use(row, 2)?,
                no_select: row.get(3)?,
                has_children: row.get(4)?,
                subscribed: true,
            }),
        };
        Ok(Subscription { name, mailbox })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns whether `selection` selects a name in the range.
pub(super) fn has_selected_name(
    tx: &Connection,
    account: AccountId,
    selection: NameSelection,
    names: &Range<&str>,
) -> Result<bool> {
    let text = match selection {
        NameSelection::Subscribed => {
            "SELECT 1 FROM subscriptions WHERE account = ?1 AND name >= ?2 AND name < ?3"
        }
        NameSelection::SpecialUse => {
            "SELECT 1 FROM mailboxes WHERE account = ?1 AND name >= ?2 AND name < ?3 AND special_use IS NOT NULL"
        }
        NameSelection::SubscribedSpecialUse => {
            "SELECT 1 FROM subscriptions s CROSS JOIN mailboxes m ON m.account = s.account AND m.name = s.name
             WHERE s.account = ?1 AND s.name >= ?2 AND s.name < ?3 AND m.special_use IS NOT NULL"
        }
    };
    Ok(tx.prepare_cached(text)?.exists((account.0, names.start, names.end))?)
}

pub(super) fn status(tx: &Connection, mailbox: MailboxId) -> Result<Status> {
    MailboxRow::load(tx, mailbox)?;
    let mut statement = tx.prepare_cached(
        "SELECT messages, unseen, deleted, size, uid_next, uid_validity, highest_modseq, recent, deleted_size
         FROM mailboxes WHERE id = ?1",
    )?;
    Ok(statement.query_row([mailbox.0], |row| {
        Ok(Status {
            messages: row.get(0)?,
            unseen: row.get(1)?,
            deleted: row.get(2)?,
            size: row.get(3)?,
            uid_next: row.get(4)?,
            uid_validity: row.get(5)?,
            highest_modseq: row.get(6)?,
            recent: row.get(7)?,
            deleted_size: row.get(8)?,
        })
    })?)
}

pub(super) fn select(tx: &Connection, quota: &Quota, mailbox: MailboxId) -> Result<Selection> {
    let status = status(tx, mailbox)?;
    let first_recent_uid = first_recent(tx, mailbox)?;
    let keywords = keywords::in_use(tx, mailbox, quota.keywords)?;
    Ok(Selection { mailbox, status, first_recent_uid, keywords })
}

/// Makes the messages of this selection recent for no other session.
pub(super) fn claim_recent_of(tx: &Connection, selection: &Selection) -> Result<()> {
    claim_recent(tx, selection.mailbox, selection.status.uid_next).map(drop)
}

/// Makes messages below `below` recent for no other session. Returns the first UID that was recent.
pub(super) fn claim_recent(tx: &Connection, mailbox: MailboxId, below: u32) -> Result<u32> {
    let first = first_recent(tx, mailbox)?;
    tx.prepare_cached(
        "UPDATE mailboxes SET first_recent_uid = ?2,
            recent = (SELECT count(*) FROM messages WHERE mailbox = ?1 AND uid >= ?2)
         WHERE id = ?1 AND first_recent_uid < ?2",
    )?
    .execute((mailbox.0, below))?;
    Ok(first)
}

/// Returns the first recent UID.
pub(super) fn first_recent(tx: &Connection, mailbox: MailboxId) -> Result<u32> {
    tx.prepare_cached("SELECT first_recent_uid FROM mailboxes WHERE id = ?1")?
        .query_row([mailbox.0], |row| row.get(0))
        .optional()?
        .ok_or(Error::NotFound("mailbox"))
}

fn create_parents(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    account: AccountId,
    name: &str,
) -> Result<()> {
    for (at, _) in name.match_indices('/') {
        let parent = name.get(..at).unwrap_or_default();
        if lookup(tx, account, parent)?.is_none() {
            let id = insert(tx, quota, account, parent, None)?;
            tx.execute("UPDATE mailboxes SET no_select = 1 WHERE id = ?1", [id.0])?;
            after_commit.note(account, AccountChange::Created(parent.to_owned()));
        }
    }
    Ok(())
}

fn insert(
    tx: &Connection,
    quota: &Quota,
    account: AccountId,
    name: &str,
    special: Option<SpecialUse>,
) -> Result<MailboxId> {
    quota::check_mailboxes(tx, quota, account)?;
    let uid_validity = next_uid_validity(tx, account)?;
    tx.execute(
        "INSERT INTO mailboxes (account, name, uid_validity, special_use) VALUES (?1, ?2, ?3, ?4)",
        (account.0, name, uid_validity, special.map(SpecialUse::attribute)),
    )?;
    let id = MailboxId(tx.last_insert_rowid());
    if let Some((parent, _)) = name.rsplit_once('/') {
        acl::inherit(tx, account, id, parent)?;
    }
    Ok(id)
}

fn next_uid_validity(tx: &Connection, account: AccountId) -> Result<u32> {
    let last: Option<u32> = tx
        .query_row("SELECT last_uid_validity FROM accounts WHERE id = ?1", [account.0], |row| row.get(0))
        .optional()?;
    let last = last.ok_or(Error::NotFound("account"))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let next = last.checked_add(1).ok_or(Error::Limit("the UIDVALIDITY values of an account"))?;
    let next = next.max(u32::try_from(now).unwrap_or_default());
    tx.execute("UPDATE accounts SET last_uid_validity = ?2 WHERE id = ?1", (account.0, next))?;
    Ok(next)
}

fn lookup(tx: &Connection, account: AccountId, name: &str) -> Result<Option<Mailbox>> {
    Ok(tx.prepare_cached(&lookup_query())?.query_row((account.0, name), read_mailbox).optional()?)
}

fn read_special_use(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<SpecialUse>> {
    let attribute: Option<String> = row.get(index)?;
    Ok(attribute.as_deref().and_then(SpecialUse::from_attribute))
}

fn read_mailbox(row: &Row<'_>) -> rusqlite::Result<Mailbox> {
    Ok(Mailbox {
        id: MailboxId(row.get(0)?),
        name: row.get(1)?,
        special_use: read_special_use(row, 2)?,
        no_select: row.get(3)?,
        has_children: row.get(4)?,
        subscribed: row.get(5)?,
    })
}
