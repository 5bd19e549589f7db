//! The interface for programs that fetch mail from other servers into a store.

use crate::error::Result;
use crate::remote_types::*;
use crate::store::Store;
use crate::types::*;

/// A store that remembers what was fetched from remote accounts. A server does not need it.
///
/// Methods that take an identifier fail with `NotFound` if the item does not exist. All methods may fail with the errors
/// of [`Store`].
pub trait SyncStore: Store {
    /// Returns the remote account with this key (a URL without a password), and creates it at its first use.
    fn remote_account(&self, account: AccountId, url_key: &str) -> Result<RemoteAccount>;

    /// Returns all remote accounts of an account, ordered by key.
    fn remote_accounts(&self, account: AccountId) -> Result<Vec<RemoteAccount>>;

    /// Records how a sync ended. `at` is in seconds since 1970. The texts must not contain a password.
    fn record_sync(&self, remote: RemoteAccountId, at: i64, status: &str, error: Option<&str>) -> Result<()>;

    /// Returns the remote mailbox with this name, whose messages go to `mailbox`. If `uid_validity` or `mailbox`
    /// differs from the previous call, none of its messages is known any more; but see [`ImportOutcome::Duplicate`].
    fn remote_mailbox(
        &self,
        remote: RemoteAccountId,
        name: &str,
        mailbox: MailboxId,
        uid_validity: u32,
    ) -> Result<RemoteMailbox>;

    /// Returns the names of an account's remote mailboxes, and the local mailboxes that their messages go to. A local
    /// mailbox may have been deleted.
    fn remote_mailboxes(&self, remote: RemoteAccountId) -> Result<Vec<(String, MailboxId)>>;

    /// Returns the remote mailboxes of an account and what is recorded of each, ordered by name. Names that start with NUL
    /// and a digit are of mailboxes that lost their name to another one.
    fn remote_folders(&self, remote: RemoteAccountId) -> Result<Vec<RemoteFolder>>;

    /// Records the state of a remote mailbox after all of its changes were applied. Another UIDVALIDITY or local mailbox
    /// ([`remote_mailbox`](Self::remote_mailbox)) resets the mod-sequence to 0.
    fn set_remote_state(&self, remote: RemoteMailboxId, state: &RemoteState) -> Result<()>;

    /// Changes the names of remote mailboxes, all or none; two may swap their names. A mailbox that has one of the new
    /// names and is not renamed itself loses it, and is gone.
    fn rename_remote_mailboxes(
        &self,
        remote: RemoteAccountId,
        names: &[(RemoteMailboxId, String)],
    ) -> Result<()>;

    /// Returns at most `limit` records of these remote UIDs under the current UIDVALIDITY, ordered by UID, without those
    /// marked as removed. Continue after the last one.
    fn import_records(
        &self,
        remote: RemoteMailboxId,
        uids: &UidSet,
        limit: usize,
    ) -> Result<Vec<ImportRecord>>;

    /// Returns at most `limit` records under other UIDVALIDITY values, without those marked as removed. No message of the
    /// current UIDVALIDITY has taken their place ([`ImportOutcome::Duplicate`]).
    fn earlier_import_records(&self, remote: RemoteMailboxId, limit: usize) -> Result<Vec<ImportRecord>>;

    /// Forgets records: their messages would be imported again. Ignores records that do not exist.
    fn forget_imports(&self, remote: RemoteMailboxId, records: &[ImportRecord]) -> Result<()>;

    /// Marks records: the remote server has removed these messages, and the local ones stay. Their UIDs are no longer
    /// [known](Self::known_uids). If the message is imported again, the mark goes and the outcome is
    /// [`ImportOutcome::Known`].
    fn mark_imports_removed(&self, remote: RemoteMailboxId, records: &[ImportRecord]) -> Result<()>;

    /// Returns whether a message of the same bytes, which another remote mailbox of the account has, is stored: the remote
    /// server may have moved the message there. At most 100 equal messages of a mailbox are examined. The default knows of
    /// none.
    fn has_equal_message(&self, _remote: RemoteMailboxId, _record: &ImportRecord) -> Result<bool> {
        Ok(false)
    }

    /// Sets the special use of a local mailbox.
    fn set_special_use(&self, mailbox: MailboxId, special_use: Option<SpecialUse>) -> Result<()>;

    /// Records messages that could not be fetched, under the current UIDVALIDITY; at most 10,000 per mailbox.
    fn record_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()>;

    /// Returns the messages that an earlier sync could not fetch, under the current UIDVALIDITY.
    fn unfetched(&self, remote: RemoteMailboxId) -> Result<UidSet>;

    /// Removes the records of these unfetched messages, once they were fetched or are gone.
    fn forget_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()>;

    /// Returns the remote UIDs that are recorded under the current UIDVALIDITY and not marked as removed.
    fn known_uids(&self, remote: RemoteMailboxId) -> Result<UidSet>;

    /// Appends fetched messages and records their origin in one transaction. A sync that is interrupted continues
    /// after the last batch, and no message is fetched or stored twice.
    fn record_imports(
        &self,
        remote: RemoteMailboxId,
        messages: Vec<RemoteMessage>,
    ) -> Result<Vec<ImportOutcome>>;
}
