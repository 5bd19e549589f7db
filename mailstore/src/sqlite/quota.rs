//! Quotas: the usage of an account, and checks before something is added.
//!
//! Triggers of the database keep the counters in columns of the account. A check reads one row, in the transaction
//! that adds something.

use super::mailbox_row::MailboxRow;
use crate::error::{Error, Result};
use crate::quota::{check, check_messages};
use crate::types::{AccountId, MailboxId, Quota, Usage};
use rusqlite::{Connection, OptionalExtension};

/// Returns the current usage of an account.
pub(super) fn usage(tx: &Connection, account: AccountId) -> Result<Usage> {
    let text = "SELECT messages, bytes, mailboxes, subscriptions, remote_accounts, metadata FROM accounts WHERE id = ?1";
    let usage = tx.prepare_cached(text)?.query_row([account.0], |row| {
        Ok(Usage {
            messages: row.get(0)?,
            bytes: row.get(1)?,
            mailboxes: row.get(2)?,
            subscriptions: row.get(3)?,
            remote_accounts: row.get(4)?,
            metadata: row.get(5)?,
        })
    });
    usage.optional()?.ok_or(Error::NotFound("account"))
}

/// Checks whether a mailbox's account may store one more message of this size.
pub(super) fn check_mailbox(tx: &Connection, quota: &Quota, mailbox: MailboxId, bytes: u64) -> Result<()> {
    let row = MailboxRow::load(tx, mailbox)?;
    check_messages(quota, &usage(tx, row.account)?, 1, bytes)
}

/// Checks the quotas after messages were added in the same transaction.
pub(super) fn check_after(tx: &Connection, quota: &Quota, account: AccountId) -> Result<()> {
    let usage = usage(tx, account)?;
    check(usage.messages, 0, quota.messages, "the number of the account's messages")?;
    check(usage.bytes, 0, quota.bytes, "the size of the account's messages")
}

/// Checks whether one more mailbox is allowed.
pub(super) fn check_mailboxes(tx: &Connection, quota: &Quota, account: AccountId) -> Result<()> {
    check(usage(tx, account)?.mailboxes, 1, quota.mailboxes, "the number of the account's mailboxes")
}

/// Checks whether one more subscription is allowed.
pub(super) fn check_subscriptions(tx: &Connection, quota: &Quota, account: AccountId) -> Result<()> {
    check(
        usage(tx, account)?.subscriptions,
        1,
        quota.subscriptions,
        "the number of the account's subscriptions",
    )
}

/// Checks whether one more remote account is allowed.
pub(super) fn check_remote_accounts(tx: &Connection, quota: &Quota, account: AccountId) -> Result<()> {
    let what = "the number of the account's remote accounts";
    check(usage(tx, account)?.remote_accounts, 1, quota.remote_accounts, what)
}
