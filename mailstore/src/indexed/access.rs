//! How threads share the indexes of an [`IndexedStore`], and what follows a commit.
//!
//! Readers share the index of an account, and one call at a time changes it.

use super::directory::AccountIndex;
use super::state::{MailboxState, State};
use super::storage::Storage;
use super::store::IndexedStore;
use super::transaction::{AfterCommit, Transaction, Transactions};
use crate::error::Result;
use crate::types::{AccountId, MailboxId};
use std::collections::BTreeMap;
use std::sync::Arc;

impl<S: Storage> IndexedStore<S> {
    /// Reads the index of an account.
    pub(super) fn read<T>(&self, account: AccountId, work: impl FnOnce(&State) -> T) -> Result<T> {
        Ok(work(&self.directory.account(account)?.read()))
    }

    /// Reads the index of a mailbox's account.
    pub(crate) fn read_mailbox<T>(
        &self,
        mailbox: MailboxId,
        work: impl FnOnce(&State) -> Result<T>,
    ) -> Result<T> {
        work(&self.directory.account_of(mailbox)?.read())
    }

    /// Changes something of a mailbox that the storage does not record.
    pub(super) fn change_mailbox<T>(
        &self,
        mailbox: MailboxId,
        work: impl FnOnce(&mut MailboxState) -> T,
    ) -> Result<T> {
        Ok(work(self.directory.account_of(mailbox)?.write().mailbox_mut(mailbox)?))
    }

    /// Runs `work` as one transaction in an account, and what follows its commit.
    pub(super) fn write<T>(
        &self,
        account: AccountId,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let accounts = [self.directory.account(account)?];
        self.write_accounts(&accounts, BTreeMap::new(), |txs| work(txs.only()?))
    }

    /// Runs `work` as one transaction in a mailbox's account, and what follows its commit.
    pub(crate) fn write_mailbox<T>(
        &self,
        mailbox: MailboxId,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.write_mailboxes([mailbox].into_iter(), |txs| work(txs.of(mailbox)?))
    }

    /// Runs `work` as one transaction in the accounts of these mailboxes, and what follows its commit.
    pub(super) fn write_mailboxes<T>(
        &self,
        mailboxes: impl Iterator<Item = MailboxId>,
        work: impl FnOnce(&mut Transactions<'_>) -> Result<T>,
    ) -> Result<T> {
        let (accounts, positions) = self.directory.accounts_of(mailboxes);
        self.write_accounts(&accounts, positions, work)
    }

    fn write_accounts<T>(
        &self,
        accounts: &[Arc<AccountIndex>],
        positions: BTreeMap<MailboxId, usize>,
        work: impl FnOnce(&mut Transactions<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut locked: Vec<_> = accounts.iter().map(|account| account.write()).collect();
        let mut txs = Transactions::new(locked.iter_mut().map(|state| &mut **state), positions);
        let outcome = txs.attempt(work)?;
        let after_commit = txs.commit(|changes| self.storage.record(changes))?;
        self.directory.note(&after_commit.mailboxes);
        drop(locked);
        self.run_after_commit(after_commit);
        Ok(outcome)
    }

    fn run_after_commit(&self, after_commit: AfterCommit) {
        after_commit.freed.into_iter().for_each(|content| self.storage.remove(content));
        self.subscribers.call(&after_commit.changed, &after_commit.account_changes);
    }
}
