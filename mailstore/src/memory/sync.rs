//! Which remote messages are in a store in memory.
//!
//! Only this store has it: in another [`IndexedStore`](crate::IndexedStore), messages may outlast the process, and these
//! records would not.

use super::MemoryStore;
use crate::error::Result;
use crate::indexed::Storage;
use crate::indexed::remote::{self, Import};
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
}

impl SyncStore for MemoryStore {
    fn remote_account(&self, account: AccountId, url_key: &str) -> Result<RemoteAccount> {
        self.change(|state| remote::account(state, &self.quota(), account, url_key))
    }

    fn remote_accounts(&self, account: AccountId) -> Result<Vec<RemoteAccount>> {
        self.read(|state| Ok(state.remotes.list(account)))
    }

    fn record_sync(&self, remote: RemoteAccountId, at: i64, status: &str, error: Option<&str>) -> Result<()> {
        self.change(|state| state.remotes.record_sync(remote, at, status, error))
    }

    fn remote_mailbox(
        &self,
        remote: RemoteAccountId,
        name: &str,
        mailbox: MailboxId,
        uid_validity: u32,
    ) -> Result<RemoteMailbox> {
        self.change(|state| remote::mailbox(state, remote, name, mailbox, uid_validity))
    }

    fn remote_mailboxes(&self, remote: RemoteAccountId) -> Result<Vec<(String, MailboxId)>> {
        self.read(|state| Ok(state.remotes.mailboxes(remote)))
    }

    fn record_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()> {
        self.change(|state| state.remotes.record_unfetched(remote, uids))
    }

    fn unfetched(&self, remote: RemoteMailboxId) -> Result<UidSet> {
        self.read(|state| state.remotes.unfetched(remote))
    }

    fn forget_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()> {
        self.change(|state| state.remotes.forget_unfetched(remote, uids))
    }

    fn known_uids(&self, remote: RemoteMailboxId) -> Result<UidSet> {
        self.read(|state| state.remotes.known_uids(remote))
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
        let outcomes =
            outcomes.and_then(|()| self.write(|tx| remote::import(tx, &self.quota(), remote, &imports)));
        for (index, import) in imports.iter().enumerate() {
            let outcome = outcomes.as_ref().ok().and_then(|outcomes| outcomes.get(index));
            if !matches!(outcome, Some(ImportOutcome::Imported(_))) {
                self.storage().remove(import.content.id);
            }
        }
        outcomes
    }
}
