//! Write transactions, and the actions that wait for their commit.

use crate::error::Result;
use crate::types::MailboxId;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::collections::BTreeMap;

/// The actions to take after a commit.
#[derive(Debug, Default)]
pub(super) struct AfterCommit {
    /// The changed mailboxes with their mod-sequences, of which subscribers are notified.
    pub(super) changed: BTreeMap<MailboxId, u64>,
    /// Files of content that no row names any more, which are deleted.
    pub(super) freed_files: Vec<String>,
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
