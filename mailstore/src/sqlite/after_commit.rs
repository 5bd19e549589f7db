//! Write transactions, and the actions that wait for their commit.

use crate::callback::AccountChange;
use crate::error::Result;
use crate::types::{AccountId, MailboxId};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::collections::BTreeMap;

/// The actions to take after a commit.
#[derive(Debug, Default)]
pub(super) struct AfterCommit {
    /// The changed mailboxes with their mod-sequences, of which subscribers are notified.
    pub(super) changed: BTreeMap<MailboxId, u64>,
    /// The changes of accounts that subscribers receive.
    pub(super) account_changes: Vec<(AccountId, AccountChange)>,
    /// Files of content that no row names any more, which are deleted.
    pub(super) freed_files: Vec<String>,
}

impl AfterCommit {
    /// Notes a change of an account.
    pub(super) fn note(&mut self, account: AccountId, change: AccountChange) {
        self.account_changes.push((account, change));
    }

    /// Adds the notifications of another transaction.
    pub(super) fn notify_also(&mut self, other: Self) {
        self.changed.extend(other.changed);
        self.account_changes.extend(other.account_changes);
    }
}

/// Runs `work` in a write transaction and commits it; an error rolls everything back.
pub(super) fn transact<T>(
    writer: &mut Connection,
    after_commit: &mut AfterCommit,
    work: impl FnOnce(&Transaction<'_>, &mut AfterCommit) -> Result<T>,
) -> Result<T> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcome = work(&transaction, after_commit)?;
    transaction.commit()?;
    Ok(outcome)
}
