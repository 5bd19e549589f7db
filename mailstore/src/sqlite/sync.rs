//! What is remembered of remote accounts, as [`SyncStore`].

use super::files::sync_directory;
use super::{SqliteStore, remote, remote_state, unfetched};
use crate::error::Result;
use crate::remote_types::*;
use crate::sync_store::SyncStore;
use crate::types::*;
use crate::upload_owner::StoreId;

impl SyncStore for SqliteStore {
    fn remote_account(&self, account: AccountId, url_key: &str) -> Result<RemoteAccount> {
        self.write(|tx, _| remote::account(tx, &self.quota(), account, url_key))
    }

    fn remote_accounts(&self, account: AccountId) -> Result<Vec<RemoteAccount>> {
        self.read(|tx| remote::accounts(tx, account))
    }

    fn record_sync(&self, remote: RemoteAccountId, at: i64, status: &str, error: Option<&str>) -> Result<()> {
        self.write(|tx, _| remote::record_sync(tx, remote, at, status, error))
    }

    fn remote_mailbox(
        &self,
        remote: RemoteAccountId,
        name: &str,
        mailbox: MailboxId,
        uid_validity: u32,
    ) -> Result<RemoteMailbox> {
        self.write(|tx, _| remote::mailbox(tx, remote, name, mailbox, uid_validity))
    }

    fn remote_mailboxes(&self, remote: RemoteAccountId) -> Result<Vec<(String, MailboxId)>> {
        self.read(|tx| remote::mailboxes(tx, remote))
    }

    fn remote_folders(&self, remote: RemoteAccountId) -> Result<Vec<RemoteFolder>> {
        self.read(|tx| remote_state::folders(tx, remote))
    }

    fn set_remote_state(&self, remote: RemoteMailboxId, state: &RemoteState) -> Result<()> {
        self.write(|tx, _| remote_state::set(tx, remote, state))
    }

    fn rename_remote_mailboxes(
        &self,
        remote: RemoteAccountId,
        names: &[(RemoteMailboxId, String)],
    ) -> Result<()> {
        self.write(|tx, _| remote_state::rename(tx, remote, names))
    }

    fn import_records(
        &self,
        remote: RemoteMailboxId,
        uids: &UidSet,
        limit: usize,
    ) -> Result<Vec<ImportRecord>> {
        self.read(|tx| remote_state::records(tx, remote, uids, limit))
    }

    fn earlier_import_records(&self, remote: RemoteMailboxId, limit: usize) -> Result<Vec<ImportRecord>> {
        self.read(|tx| remote_state::earlier_records(tx, remote, limit))
    }

    fn forget_imports(&self, remote: RemoteMailboxId, records: &[ImportRecord]) -> Result<()> {
        self.write(|tx, _| remote_state::forget(tx, remote, records))
    }

    fn mark_imports_removed(&self, remote: RemoteMailboxId, records: &[ImportRecord]) -> Result<()> {
        self.write(|tx, _| remote_state::mark_removed(tx, remote, records))
    }

    fn has_equal_message(&self, remote: RemoteMailboxId, record: &ImportRecord) -> Result<bool> {
        self.read(|tx| remote_state::has_equal(tx, remote, record))
    }

    fn set_special_use(&self, mailbox: MailboxId, special_use: Option<SpecialUse>) -> Result<()> {
        self.write(|tx, _| remote_state::set_special_use(tx, mailbox, special_use))
    }

    fn record_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()> {
        self.write(|tx, _| unfetched::record(tx, remote, uids))
    }

    fn unfetched(&self, remote: RemoteMailboxId) -> Result<UidSet> {
        self.read(|tx| unfetched::list(tx, remote))
    }

    fn forget_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()> {
        self.write(|tx, _| unfetched::remove(tx, remote, uids))
    }

    fn known_uids(&self, remote: RemoteMailboxId) -> Result<UidSet> {
        self.read(|tx| remote::known_uids(tx, remote))
    }

    fn record_imports(
        &self,
        remote: RemoteMailboxId,
        messages: Vec<RemoteMessage>,
    ) -> Result<Vec<ImportOutcome>> {
        if !messages.iter().all(|message| message.upload.is_of(self.id)) {
            return Err(StoreId::refusal());
        }
        let mut prepared = remote::prepare(messages)?;
        if prepared.iter().any(remote::PreparedImport::has_file) {
            sync_directory(&self.messages)?;
        }
        let imports = self
            .write(|tx, after_commit| remote::record(tx, after_commit, &self.quota(), remote, &prepared))?;
        for (message, import) in prepared.iter_mut().zip(&imports) {
            if matches!(import, ImportOutcome::Imported(_)) {
                message.keep();
            }
        }
        Ok(imports)
    }
}
