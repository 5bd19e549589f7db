//! The interface of a mail store.
//!
//! A server, a sync run or a test uses a store through this trait, without knowing how it keeps its data.

use crate::callback::{ChangeCallback, ChangeSubscription};
use crate::content::{Body, Upload};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::types::*;
use std::ops::Range;
use std::sync::Arc;

/// A mail store. All methods block; see the [crate documentation](crate) for the guarantees.
///
/// Methods that take an identifier fail with `NotFound` if the item does not exist or no longer exists, and with
/// `NoSelect` if the mailbox is `\Noselect`. All methods may fail with `Busy`, `Full`, `Unavailable`, `Io`, `Corrupt`
/// or `Database`. Methods that add something may fail with `OverQuota`.
pub trait Store: Send + Sync {
    /// Creates an account with INBOX and a subscribed mailbox for each [`SpecialUse`]. The store keeps a verifier of
    /// the password (Argon2id) and the keys that a [`KeyMaker`](crate::KeyMaker) derives, never the password. Account
    /// names are compared without regard to ASCII case; they have 1 to 255 bytes. A password has at most 1,024 bytes.
    ///
    /// # Errors
    /// `Exists`, `InvalidName`; `Limit` for a name or password that is too long.
    fn create_account(&self, name: &str, password: &[u8]) -> Result<Account>;

    /// Returns all accounts, ordered by name.
    fn accounts(&self) -> Result<Vec<Account>>;

    /// Returns the account with this name, or `None`.
    fn account(&self, name: &str) -> Result<Option<Account>>;

    /// Replaces the password of an account, and the keys that were derived from the old one.
    ///
    /// # Errors
    /// `NotFound`; `Limit` for a password of more than 1,024 bytes.
    fn set_password(&self, account: AccountId, password: &[u8]) -> Result<()>;

    /// Returns the account if the password is correct, and `None` otherwise. An unknown name takes as long as a wrong
    /// password: tens of milliseconds of computation. A correct password that was verified before takes much less.
    fn verify_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>>;

    /// Returns the account if this password was verified before and is still correct. `None` says nothing about the
    /// password: call [`verify_password`](Self::verify_password) then. This costs almost nothing, so a server can log
    /// an account's owner in while many guesses wait to be verified.
    fn verify_cached_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        let _ = (name, password);
        Ok(None)
    }

    /// Returns the keys of this kind that were derived from the account's password, or `None`. They do not suffice to
    /// log in, but they let an attacker guess the password offline and impersonate this server.
    fn login_keys(&self, name: &str, kind: &str) -> Result<Option<String>>;

    /// Returns 32 random bytes that this store created once and never changes. A server derives its answers about
    /// accounts that do not exist from them, so that these answers stay the same.
    fn store_secret(&self) -> Result<Vec<u8>>;

    /// Returns how much the account uses of everything that a [`Quota`] limits. Takes the same time for any amount.
    fn usage(&self, account: AccountId) -> Result<Usage>;

    /// Sets the quota of every account from now on.
    fn set_quota(&self, quota: Quota);

    /// Checks whether the mailbox's account may store one more message of `bytes` bytes. Call it before the client
    /// sends the message. The append may still fail if other messages arrive in between.
    ///
    /// # Errors
    /// `OverQuota`.
    fn check_quota(&self, mailbox: MailboxId, bytes: u64) -> Result<()>;

    /// Returns all mailboxes of an account, ordered by name.
    fn list(&self, account: AccountId) -> Result<Vec<Mailbox>>;

    /// Returns at most `limit` mailboxes of an account, ordered by name, starting after the name `after`. An empty
    /// `after` starts at the first mailbox. Fewer than `limit` mailboxes mean that this was the last page.
    fn list_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Mailbox>>;

    /// Returns the mailbox with this name. `INBOX` matches in any case.
    fn mailbox(&self, account: AccountId, name: &str) -> Result<Mailbox>;

    /// Creates a mailbox, and its missing parents. A trailing `/` is ignored (RFC 9051 §6.3.4). Names have at most
    /// [`NAME_LIMIT`](crate::NAME_LIMIT) bytes and [`LEVEL_LIMIT`](crate::LEVEL_LIMIT) levels.
    ///
    /// # Errors
    /// `Exists`, `InvalidName`; `Limit` for a name that is too long or has too many levels.
    fn create_mailbox(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId>;

    /// Deletes a mailbox and its messages. A mailbox that has children stays as `\Noselect` (RFC 9051 §6.3.5). This
    /// call removes at most [`WRITE_SLICE`](crate::WRITE_SLICE) messages. [`purge_deleted`](Self::purge_deleted)
    /// removes the others; until then no call returns them, but they take space and count for the quota.
    ///
    /// # Errors
    /// `Refused` for INBOX, and for a `\Noselect` mailbox that has children.
    fn delete_mailbox(&self, account: AccountId, name: &str) -> Result<()>;

    /// Removes at most [`WRITE_SLICE`](crate::WRITE_SLICE) messages of deleted mailboxes. Returns whether to call it
    /// again.
    fn purge_deleted(&self, account: AccountId) -> Result<bool>;

    /// Renames a mailbox and its children. Renaming INBOX moves its messages to a new mailbox (RFC 9051 §6.3.6).
    ///
    /// # Errors
    /// `Exists`, `InvalidName`, `Limit`; `Refused` if `to` is below `from`.
    fn rename_mailbox(&self, account: AccountId, from: &str, to: &str) -> Result<()>;

    /// Subscribes to a name. No mailbox of that name needs to exist (RFC 9051 §6.3.7).
    fn subscribe(&self, account: AccountId, name: &str) -> Result<()>;

    /// Removes a subscription. Succeeds if the name is not subscribed.
    fn unsubscribe(&self, account: AccountId, name: &str) -> Result<()>;

    /// Returns at most `limit` subscriptions of an account, ordered by name, starting after the name `after`. An empty
    /// `after` starts at the first one. Fewer than `limit` mean that this was the last page.
    fn subscriptions_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Subscription>>;

    /// Returns whether `selection` selects at least one name in the range. Names are ordered by their bytes.
    fn has_selected_name(
        &self,
        account: AccountId,
        selection: NameSelection,
        names: Range<&str>,
    ) -> Result<bool>;

    /// Returns the counters of a mailbox (RFC 9051 §6.3.11). Takes the same time for any size.
    fn status(&self, mailbox: MailboxId) -> Result<Status>;

    /// Selects a mailbox and returns its state. Takes the same time for any size, except that the keywords are read.
    /// With read-write access, its recent messages are recent for no later session.
    fn select(&self, mailbox: MailboxId, access: Access) -> Result<Selection>;

    /// Returns the first recent UID. With read-write access, messages below `below` are no longer recent for other
    /// sessions: the caller reports them to its client. This is not synced: after a loss of power the messages may be
    /// recent once more.
    fn claim_recent(&self, mailbox: MailboxId, below: u32, access: Access) -> Result<u32>;

    /// Returns the keywords that were ever used in a mailbox.
    fn keywords(&self, mailbox: MailboxId) -> Result<KeywordsInUse>;

    /// Returns at most `limit` UIDs (at least one) of the messages with `from` <= UID < `below`.
    fn uid_page(&self, mailbox: MailboxId, from: u32, below: u32, limit: usize) -> Result<UidPage>;

    /// Starts the upload of a message.
    fn upload(&self) -> Result<Upload>;

    /// Appends one message to one or several mailboxes. Returns one entry per target, in the same order.
    fn append(&self, delivery: Delivery) -> Result<Vec<Appended>> {
        self.append_batch(vec![delivery])?.pop().unwrap_or(Err(Error::NotFound("delivery")))
    }

    /// Appends many messages with one sync of the disk. Each delivery has its own result (its mailbox may be gone),
    /// and is appended to all of its targets or to none. If the outer result is an error, no delivery was made.
    fn append_batch(&self, deliveries: Vec<Delivery>) -> Result<Vec<Result<Vec<Appended>>>>;

    /// Returns at most `limit` messages of the set, and where the next page starts. A page also ends when it holds
    /// about 512 KiB, or after 4,000 ranges. In the last case it may be empty although `next` is set.
    fn fetch_page(&self, mailbox: MailboxId, uids: &UidSet, columns: Columns, limit: usize) -> Result<Page>;

    /// Opens the bytes of a message. An open body stays readable after the message is expunged.
    ///
    /// # Errors
    /// `NotFound` if the message was expunged, `Corrupt` if its file is missing or damaged, `Unavailable` if no file
    /// descriptor is left, `Io` if its file can't be opened for another reason.
    fn open_content(&self, content: ContentId) -> Result<Body>;

    /// Returns the EMAILID (RFC 8474 §4) of a message. Copies in one account share it, and it differs between
    /// accounts. It is encrypted with a key of the store, so that it does not show how many messages the store has.
    fn email_id(&self, account: AccountId, content: ContentId) -> String;

    /// Decodes an EMAILID of this account, or returns `None` if it is not valid. Does not read the disk: the message
    /// may not exist any more.
    fn find_email_id(&self, account: AccountId, id: &str) -> Option<ContentId>;

    /// Returns the UIDs of a mailbox's messages that have this content.
    fn uids_of_content(&self, mailbox: MailboxId, content: ContentId) -> Result<UidSet>;

    /// Changes flags of at most `limit` messages of the set. Continue at [`Stored::next`]. With `unchanged_since`,
    /// messages with a later mod-sequence are not changed (RFC 7162 §3.1.3).
    ///
    /// # Errors
    /// `Limit` if a message or the mailbox would have too many keywords.
    fn store_flags(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        mode: StoreMode,
        flags: &Flags,
        unchanged_since: Option<u64>,
        limit: usize,
    ) -> Result<Stored>;

    /// Copies at most `limit` messages of the set, with their flags and dates. All of them are copied or none. Copies
    /// share the content. Continue at [`Copied::next`].
    fn copy(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied>;

    /// Makes one part of a copy that is kept only if all of its parts are made. The first call has `part_of: None`;
    /// pass its [`Copied::unfinished`] to the following ones. The last part is the one without [`Copied::next`]. If
    /// the process dies before that, [`undo_unfinished_copies`](Self::undo_unfinished_copies) removes what was copied.
    fn copy_part(
        &self,
        from: MailboxId,
        uids: &UidSet,
        to: MailboxId,
        limit: usize,
        part_of: Option<CopyId>,
    ) -> Result<Copied>;

    /// Forgets an unfinished copy: the caller removed its messages, or keeps them.
    fn forget_copy(&self, copy: CopyId) -> Result<()>;

    /// Removes the messages of one unfinished copy and returns their number. The copy must not be continued.
    fn undo_copy(&self, copy: CopyId) -> Result<u64>;

    /// Removes the messages of unfinished copies and returns their number. Call it at startup, when no other process
    /// uses the store: it also removes copies that another process is making.
    fn undo_unfinished_copies(&self) -> Result<u64>;

    /// Moves at most `limit` messages of the set, all of them or none (RFC 6851). Continue at [`Copied::next`].
    fn move_messages(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied>;

    /// Removes at most `limit` messages permanently, and frees content that no message refers to. Continue at
    /// [`Expunged::next`]. One call examines a bounded number of messages, so it may remove fewer than `limit` and
    /// still set `next`.
    fn expunge(&self, mailbox: MailboxId, which: &Expunge, limit: usize) -> Result<Expunged>;

    /// Returns a page of the changes since a cursor, for NOOP, IDLE and other sessions. It has at most `limit`
    /// removed, `limit` new and `limit` changed messages.
    fn changes_since(&self, mailbox: MailboxId, since: &ChangeCursor, limit: usize) -> Result<Changes>;

    /// Calls `callback` after every change that this `Store` makes to any mailbox. Changes by another process are not
    /// reported.
    fn subscribe_changes(&self, callback: Arc<ChangeCallback>) -> ChangeSubscription;

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

    /// Records messages that could not be fetched, under the current UIDVALIDITY; at most 10,000 per mailbox.
    fn record_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()>;

    /// Returns the messages that an earlier sync could not fetch, under the current UIDVALIDITY.
    fn unfetched(&self, remote: RemoteMailboxId) -> Result<UidSet>;

    /// Removes the records of these unfetched messages, once they were fetched or are gone.
    fn forget_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()>;

    /// Returns the remote UIDs that are recorded under the current UIDVALIDITY.
    fn known_uids(&self, remote: RemoteMailboxId) -> Result<UidSet>;

    /// Appends fetched messages and records their origin in one transaction. A sync that is interrupted continues
    /// after the last batch, and no message is fetched or stored twice.
    fn record_imports(
        &self,
        remote: RemoteMailboxId,
        messages: Vec<RemoteMessage>,
    ) -> Result<Vec<ImportOutcome>>;
}
