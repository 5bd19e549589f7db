//! Which remote messages are in a store in memory.
//!
//! Only this store has it: in another [`IndexedStore`](crate::IndexedStore), messages may outlast the process, and these
//! records would not.

use super::MemoryStore;
use crate::error::{Error, Result};
use crate::indexed::Storage;
use crate::indexed::remote::{self, Import, Replaced};
use crate::lock::lock;
use crate::remote_types::*;
use crate::store::Store;
use crate::sync_store::SyncStore;
use crate::types::*;
use sha2::{Digest, Sha256};

impl MemoryStore {
    fn prepare(&self, message: RemoteMessage) -> Result<Import> {
        let RemoteMessage { uid, mut upload, flags, internal_date } = message;
        let mut digest = Sha256::new();
        upload.for_each_chunk(|chunk| digest.update(chunk))?;
        Ok(Import { uid, flags, internal_date, digest: digest.finalize().into(), content: self.put(upload)? })
    }

    /// Appends and records messages: all of them or none.
    fn import(&self, remote: RemoteMailboxId, imports: &[Import]) -> Result<Vec<ImportOutcome>> {
        let mut remotes = lock(&self.remotes);
        let remote = remotes.mailbox_mut(remote)?;
        let mut replaced = Replaced::new();
        let outcomes = self.write_mailbox(remote.mailbox, |tx| {
            remote::import(tx, &self.quota(), remote, imports, &mut replaced)
        });
        if outcomes.is_err() {
            for (key, record) in replaced.into_iter().rev() {
                remote.set(key, record);
            }
        }
        outcomes
    }
}

impl SyncStore for MemoryStore {
    fn remote_account(&self, account: AccountId, url_key: &str) -> Result<RemoteAccount> {
        self.usage(account)?;
        remote::account(&mut lock(&self.remotes), &self.quota(), account, url_key)
    }

    fn remote_accounts(&self, account: AccountId) -> Result<Vec<RemoteAccount>> {
        Ok(lock(&self.remotes).list(account))
    }

    fn record_sync(&self, remote: RemoteAccountId, at: i64, status: &str, error: Option<&str>) -> Result<()> {
        lock(&self.remotes).record_sync(remote, at, status, error)
    }

    fn remote_mailbox(
        &self,
        remote: RemoteAccountId,
        name: &str,
        mailbox: MailboxId,
        uid_validity: u32,
    ) -> Result<RemoteMailbox> {
        self.status(mailbox)?;
        lock(&self.remotes).open_mailbox(remote, name, mailbox, uid_validity)
    }

    fn remote_mailboxes(&self, remote: RemoteAccountId) -> Result<Vec<(String, MailboxId)>> {
        Ok(lock(&self.remotes).mailboxes(remote))
    }

    fn remote_folders(&self, remote: RemoteAccountId) -> Result<Vec<RemoteFolder>> {
        Ok(lock(&self.remotes).folders(remote))
    }

    fn set_remote_state(&self, remote: RemoteMailboxId, state: &RemoteState) -> Result<()> {
        lock(&self.remotes).set_state(remote, state)
    }

    fn rename_remote_mailboxes(
        &self,
        remote: RemoteAccountId,
        names: &[(RemoteMailboxId, String)],
    ) -> Result<()> {
        lock(&self.remotes).rename(remote, names)
    }

    fn import_records(
        &self,
        remote: RemoteMailboxId,
        uids: &UidSet,
        limit: usize,
    ) -> Result<Vec<ImportRecord>> {
        Ok(lock(&self.remotes).mailbox(remote)?.import_records(uids, limit))
    }

    fn earlier_import_records(&self, remote: RemoteMailboxId, limit: usize) -> Result<Vec<ImportRecord>> {
        Ok(lock(&self.remotes).mailbox(remote)?.earlier_import_records(limit))
    }

    fn forget_imports(&self, remote: RemoteMailboxId, records: &[ImportRecord]) -> Result<()> {
        let mut remotes = lock(&self.remotes);
        let remote = remotes.mailbox_mut(remote)?;
        records.iter().for_each(|record| remote.forget(*record));
        Ok(())
    }

    fn mark_imports_removed(&self, remote: RemoteMailboxId, records: &[ImportRecord]) -> Result<()> {
        let mut remotes = lock(&self.remotes);
        let remote = remotes.mailbox_mut(remote)?;
        records.iter().for_each(|record| remote.mark_removed(*record));
        Ok(())
    }

    fn has_equal_message(&self, remote: RemoteMailboxId, record: &ImportRecord) -> Result<bool> {
        let equal = lock(&self.remotes).equal_elsewhere(remote, record);
        for (mailbox, uid) in equal {
            match self.fetch_page(mailbox, &UidSet::one(uid), Columns::summary(), 1) {
                Ok(page) if page.messages.is_empty() => {}
                Ok(_) => return Ok(true),
                // The mailbox was deleted.
                Err(Error::NotFound(_) | Error::NoSelect) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn set_special_use(&self, mailbox: MailboxId, special_use: Option<SpecialUse>) -> Result<()> {
        self.write_mailbox(mailbox, |tx| tx.set_special_use(mailbox, special_use))
    }

    fn record_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()> {
        lock(&self.remotes).record_unfetched(remote, uids)
    }

    fn unfetched(&self, remote: RemoteMailboxId) -> Result<UidSet> {
        lock(&self.remotes).unfetched(remote)
    }

    fn forget_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()> {
        lock(&self.remotes).forget_unfetched(remote, uids)
    }

    fn known_uids(&self, remote: RemoteMailboxId) -> Result<UidSet> {
        lock(&self.remotes).known_uids(remote)
    }

    fn record_imports(
        &self,
        remote: RemoteMailboxId,
        messages: Vec<RemoteMessage>,
    ) -> Result<Vec<ImportOutcome>> {
        let mut imports = Vec::with_capacity(messages.len());
        let outcomes = messages.into_iter().try_for_each(|message| {
            imports.push(self.prepare(message)?);
            Ok(())
        });
        let outcomes = outcomes.and_then(|()| self.import(remote, &imports));
        for (index, import) in imports.iter().enumerate() {
            let outcome = outcomes.as_ref().ok().and_then(|outcomes| outcomes.get(index));
            if !matches!(outcome, Some(ImportOutcome::Imported(_))) {
                self.storage().remove(import.content.id);
            }
        }
        outcomes
    }
}
