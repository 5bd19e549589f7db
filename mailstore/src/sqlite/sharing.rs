//! The mailboxes that accounts share with others (RFC 4314).

use super::{accounts, acl, mailboxes};
use crate::error::{Error, Result};
use crate::rights::{Rights, identifiers_of, rights_of};
use crate::types::{Account, AccountId, Mailbox, MailboxId};
use rusqlite::Connection;
use std::collections::BTreeSet;

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
            found.push(accounts::find_by_id(tx, AccountId(owner))?);
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
        let rights = rights_of(account, &acl::entries(tx, owner, MailboxId(id))?);
        match mailboxes::find_by_id(tx, owner, MailboxId(id)) {
            Ok(mailbox) => found.push((mailbox, rights)),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    Ok(found)
}
