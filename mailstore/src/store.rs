//! The interface of a mail store: what a server, a fetcher or a test may ask of it.
//!
//! Independent of how the store keeps its data.

use crate::callback::{ChangeCallback, ChangeSubscription};
use crate::content::{Body, Upload};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::types::*;
use std::ops::Range;
use std::sync::Arc;

/// A mail store. Blocking; see the crate's documentation for what every method promises.
///
/// Methods that take an identifier fail with `NotFound` where nothing has it (any more), and with `NoSelect` where a
/// mailbox only holds others. All of them may fail with `Busy`, `Full`, `Unavailable`, `Io` or `Corrupt`; those that add
/// something, with `OverQuota`.
pub trait Store: Send + Sync {
    /// Creates an account with INBOX and a subscribed mailbox for each [`SpecialUse`]. Only a verifier of the password
    /// (Argon2id) is kept, and what a [`KeyMaker`] derives from it. Names compare without regard to ASCII case.
    ///
    /// # Errors
    /// `Exists`, `InvalidName`.
    fn create_account(&self, name: &str, password: &[u8]) -> Result<Account>;

    /// All accounts, by name.
    fn accounts(&self) -> Result<Vec<Account>>;

    /// The account of that name.
    fn account(&self, name: &str) -> Result<Option<Account>>;

    /// Replaces the password of an account.
    fn set_password(&self, account: AccountId, password: &[u8]) -> Result<()>;

    /// The account, if the password is right. An unknown name takes as long as a wrong password; a repeated right one is
    /// quicker. Takes tens of milliseconds of computing otherwise.
    fn verify_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>>;

    /// Whose password this is, if it was verified before and is still right; `None` says nothing. Costs next to nothing:
    /// an account's owner is let in however many guesses wait to be verified.
    fn verify_cached_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        let _ = (name, password);
        Ok(None)
    }

    /// The keys of that kind that were derived from the account's password. They let nobody in, but who has them can
    /// guess at the password, and pose as this server.
    fn login_keys(&self, name: &str, kind: &str) -> Result<Option<String>>;

    /// 32 random octets that are the store's own and never change: for answers about accounts that do not exist, which
    /// must be the same each time.
    fn store_secret(&self) -> Result<Vec<u8>>;

    /// What an account has of that which a [`Quota`] limits. Takes the same time whatever that is.
    fn usage(&self, account: AccountId) -> Result<Usage>;

    /// Limits what each account may have from now on.
    fn set_quota(&self, quota: Quota);

    /// Whether the account of a mailbox may have one more message of so many bytes: to be asked before the message
    /// comes. What was allowed now may still be refused when it is appended.
    ///
    /// # Errors
    /// `OverQuota`.
    fn check_quota(&self, mailbox: MailboxId, bytes: u64) -> Result<()>;

    /// All mailboxes of an account, by name.
    fn list(&self, account: AccountId) -> Result<Vec<Mailbox>>;

    /// At most `limit` mailboxes of an account, by name, from the first one whose name is behind `after` on. An empty
    /// `after` begins at the first; fewer than `limit` are the last.
    fn list_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Mailbox>>;

    /// The mailbox of that name; `INBOX` in any case.
    fn mailbox(&self, account: AccountId, name: &str) -> Result<Mailbox>;

    /// Creates a mailbox and those above it that are missing. A `/` at the end is ignored (RFC 9051 §6.3.4).
    ///
    /// # Errors
    /// `Exists`, `InvalidName`.
    fn create_mailbox(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId>;

    /// Deletes a mailbox with its messages. One that holds others stays as `\Noselect` (RFC 9051 §6.3.5). Of a large
    /// mailbox the messages are removed by [`purge_deleted`](Self::purge_deleted); until then no call finds them, and
    /// they take space.
    ///
    /// # Errors
    /// `Refused` for INBOX, and for a `\Noselect` one that still holds others.
    fn delete_mailbox(&self, account: AccountId, name: &str) -> Result<()>;

    /// Removes at most [`WRITE_SLICE`] messages that deleted mailboxes left behind. Call again while it returns true.
    fn purge_deleted(&self, account: AccountId) -> Result<bool>;

    /// Renames a mailbox and all below it. Renaming INBOX moves its messages to a new mailbox (RFC 9051 §6.3.6).
    ///
    /// # Errors
    /// `Exists`, `InvalidName`, `Refused` for a place below itself.
    fn rename_mailbox(&self, account: AccountId, from: &str, to: &str) -> Result<()>;

    /// Adds a name to the subscriptions; there need be no such mailbox.
    fn subscribe(&self, account: AccountId, name: &str) -> Result<()>;

    /// Removes a name from the subscriptions; no error where it isn't there.
    fn unsubscribe(&self, account: AccountId, name: &str) -> Result<()>;

    /// At most `limit` subscriptions of an account, by name, from the first one whose name is behind `after` on. An
    /// empty `after` begins at the first; fewer than `limit` are the last.
    fn subscriptions_page(&self, account: AccountId, after: &str, limit: usize) -> Result<Vec<Subscription>>;

    /// Whether `selection` selects a name in the range. Names are ordered by their bytes.
    fn has_selected_name(
        &self,
        account: AccountId,
        selection: NameSelection,
        names: Range<&str>,
    ) -> Result<bool>;

    /// The numbers of a mailbox; quick whatever its size.
    fn status(&self, mailbox: MailboxId) -> Result<Status>;

    /// A mailbox at the time of SELECT; quick whatever its size.
    fn select(&self, mailbox: MailboxId, access: Access) -> Result<Selection>;

    /// Returns the UID from which on messages are recent. With read-write access the caller tells its client of the
    /// messages below `below`: from now on they are recent for no other session. Not durable: after a loss of power
    /// they may be recent once more.
    fn claim_recent(&self, mailbox: MailboxId, below: u32, access: Access) -> Result<u32>;

    /// The keywords that were used in a mailbox.
    fn keywords(&self, mailbox: MailboxId) -> Result<KeywordsInUse>;

    /// At most `limit` UIDs of a mailbox (at least one), of those from `from` on that are below `below`.
    fn uid_page(&self, mailbox: MailboxId, from: u32, below: u32, limit: usize) -> Result<UidPage>;

    /// Starts a message on its way in.
    fn upload(&self) -> Result<Upload>;

    /// Appends one message to one or several mailboxes; the answers are in the order of the targets.
    fn append(&self, delivery: Delivery) -> Result<Vec<Appended>> {
        self.append_batch(vec![delivery])?.pop().unwrap_or(Err(Error::NotFound("delivery")))
    }

    /// Appends many messages with one sync of the disk. Each delivery has its own outcome (its mailbox may be gone)
    /// and happens whole or not at all; the outer error means that none happened.
    fn append_batch(&self, deliveries: Vec<Delivery>) -> Result<Vec<Result<Vec<Appended>>>>;

    /// The messages of a set, at most `limit` of them, and where the next page starts. A page also ends once what it
    /// holds takes about half a mebibyte, or after many ranges without a message: then it may be empty though `next` is
    /// set.
    fn fetch_page(&self, mailbox: MailboxId, uids: &UidSet, columns: Columns, limit: usize) -> Result<Page>;

    /// Opens the octets of a message. Once open they can be read though the message be expunged.
    ///
    /// # Errors
    /// `NotFound` where the message was expunged, `Corrupt` where its file is missing or damaged, `Unavailable` where
    /// there is no descriptor left for it, `Io` where its file can't be opened for another reason.
    fn open_content(&self, content: ContentId) -> Result<Body>;

    /// The EMAILID (RFC 8474) of a message of an account: the same for all copies in the account, different in every
    /// account, and made with a key of the store, so that it does not count anything.
    fn email_id(&self, account: AccountId, content: ContentId) -> String;

    /// The message that has this EMAILID in an account, if it can be one. Does not touch the disk: there may be no such
    /// message (any more).
    fn find_email_id(&self, account: AccountId, id: &str) -> Option<ContentId>;

    /// The messages of a mailbox that have this content.
    fn uids_of_content(&self, mailbox: MailboxId, content: ContentId) -> Result<UidSet>;

    /// Changes flags of at most `limit` messages of the set; [`Stored::next`] says where to go on. With
    /// `unchanged_since`, messages of a later mod-sequence are left alone (RFC 7162 §3.1.3).
    ///
    /// # Errors
    /// `Limit` where a message or the mailbox would have too many keywords.
    fn store_flags(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        mode: StoreMode,
        flags: &Flags,
        unchanged_since: Option<u64>,
        limit: usize,
    ) -> Result<Stored>;

    /// Copies at most `limit` messages of the set with flags and dates; the content is shared. [`Copied::next`] says
    /// where to go on. Those are copied all or none.
    fn copy(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied>;

    /// Copies a part as [`copy`](Self::copy) does. The parts of one copy stay only together: give
    /// [`Copied::unfinished`] of the first part to the next ones. After a crash,
    /// [`undo_unfinished_copies`](Self::undo_unfinished_copies) removes what was copied, unless the last part was: the
    /// one that has no [`Copied::next`].
    fn copy_part(
        &self,
        from: MailboxId,
        uids: &UidSet,
        to: MailboxId,
        limit: usize,
        part_of: Option<CopyId>,
    ) -> Result<Copied>;

    /// The parts of a copy were removed again, or stay.
    fn forget_copy(&self, copy: CopyId) -> Result<()>;

    /// Removes the messages of copies that did not end, and returns how many there were. For the start of a program that
    /// has the store for itself: copies that another one is making would be removed as well.
    fn undo_unfinished_copies(&self) -> Result<u64>;

    /// Moves at most `limit` messages of the set (RFC 6851), all of them or none.
    fn move_messages(&self, from: MailboxId, uids: &UidSet, to: MailboxId, limit: usize) -> Result<Copied>;

    /// Removes at most `limit` messages for good. Content that no message refers to is freed. [`Expunged::next`] may
    /// say where to go on though fewer were removed: a call looks at so many messages only.
    fn expunge(&self, mailbox: MailboxId, which: &Expunge, limit: usize) -> Result<Expunged>;

    /// A page of what changed since a cursor: for NOOP, IDLE, and other sessions. At most `limit` messages each that
    /// went, came, or have other flags.
    fn changes_since(&self, mailbox: MailboxId, since: &ChangeCursor, limit: usize) -> Result<Changes>;

    /// Has `callback` called after every change of any mailbox by this very `Store`. Changes that another process makes
    /// are not told.
    fn subscribe_changes(&self, callback: Arc<ChangeCallback>) -> ChangeSubscription;

    /// The remote account of that key (a URL without password), remembered from its first use on.
    fn remote_account(&self, account: AccountId, url_key: &str) -> Result<RemoteAccount>;

    /// All remote accounts of an account.
    fn remote_accounts(&self, account: AccountId) -> Result<Vec<RemoteAccount>>;

    /// Notes how a run of fetching ended. `at` is in seconds since 1970; no password may be in the texts.
    fn record_sync(&self, remote: RemoteAccountId, at: i64, status: &str, error: Option<&str>) -> Result<()>;

    /// The remote mailbox of that name, its messages going to `mailbox`. Another `uid_validity` than the last time
    /// makes all its messages unknown, but see [`ImportOutcome::Duplicate`]; so does another local mailbox.
    fn remote_mailbox(
        &self,
        remote: RemoteAccountId,
        name: &str,
        mailbox: MailboxId,
        uid_validity: u32,
    ) -> Result<RemoteMailbox>;

    /// The names of the remote mailboxes of an account, and the local mailboxes that their messages went to. A local
    /// mailbox may be gone.
    fn remote_mailboxes(&self, remote: RemoteAccountId) -> Result<Vec<(String, MailboxId)>>;

    /// Remembers messages that could not be fetched, under the UIDVALIDITY in force; at most 10,000 of a mailbox.
    fn record_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()>;

    /// The messages that an earlier run could not fetch, under the UIDVALIDITY in force.
    fn unfetched(&self, remote: RemoteMailboxId) -> Result<UidSet>;

    /// Forgets that these could not be fetched: they were, or are gone.
    fn forget_unfetched(&self, remote: RemoteMailboxId, uids: &UidSet) -> Result<()>;

    /// The remote UIDs that are recorded under the UIDVALIDITY in force.
    fn known_uids(&self, remote: RemoteMailboxId) -> Result<UidSet>;

    /// Appends fetched messages and remembers where they came from, in one transaction: a run that is cut short goes
    /// on behind the last batch, and no message is fetched or kept twice.
    fn record_imports(
        &self,
        remote: RemoteMailboxId,
        messages: Vec<RemoteMessage>,
    ) -> Result<Vec<ImportOutcome>>;
}
