//! The interface of a place where messages are kept, for [`IndexedStore`](crate::IndexedStore).

use crate::content::{Body, Upload};
use crate::error::Result;
use crate::flags::Flags;
use crate::metadata::Annotated;
use crate::rights::AclEntry;
use crate::types::{Account, AccountId, ContentId, InternalDate, LoginKeys, MailboxId, SpecialUse};
use std::sync::Arc;

/// A place where messages are kept. [`IndexedStore`](crate::IndexedStore) makes a [`Store`](crate::Store) of it.
///
/// Three methods are required: they keep the bytes of messages. With them alone, mailboxes and flags last as long as the
/// process. To keep these too, implement [`record`](Self::record) and the methods that read them at the start:
/// [`mailboxes`](Self::mailboxes), [`messages`](Self::messages), [`subscriptions`](Self::subscriptions), [`metadata`](Self::metadata), and
/// [`accounts`](Self::accounts) if the accounts and their passwords are to be kept as well.
pub trait Storage: Send + Sync {
    /// Keeps a message and returns an identifier, which the storage chooses and never reuses.
    ///
    /// # Errors
    /// `Full`, `Io` or another error, which the caller of the append gets.
    fn put(&self, upload: Upload) -> Result<ContentId>;

    /// Opens the bytes of a message. They never change, and an open body stays readable after `remove`.
    ///
    /// # Errors
    /// `NotFound` after `remove`, `Io` or another error.
    fn open(&self, content: ContentId) -> Result<Body>;

    /// Frees the bytes of a message that is in no mailbox any more. An error must be handled here: the message is gone
    /// for all clients.
    fn remove(&self, content: ContentId);

    /// Starts the upload of a message. By default a large one becomes a file in the directory for temporary files.
    fn upload(&self) -> Upload {
        Upload::new(&std::env::temp_dir())
    }

    /// Records all changes of one call, or none. When this returns `Ok`, the client is told that its command succeeded;
    /// after an error, nothing has changed. The changes of one account come one call at a time, in order; those of different
    /// accounts may come at the same time. The default keeps nothing.
    ///
    /// # Errors
    /// `Full`, `Io` or another error, which the caller gets.
    fn record(&self, changes: &[StorageChange]) -> Result<()> {
        let _ = changes;
        Ok(())
    }

    /// Returns the accounts that the store has at the start. By default there are none, and the program creates them at
    /// each start.
    fn accounts(&self) -> Result<Vec<StoredAccount>> {
        Ok(Vec::new())
    }

    /// Returns the mailboxes that an account has at the start. If there are none, the account gets INBOX and a mailbox
    /// for each [`SpecialUse`].
    fn mailboxes(&self, account: &Account) -> Result<Vec<StoredMailbox>> {
        let _ = account;
        Ok(Vec::new())
    }

    /// Returns the messages that a mailbox has at the start, in any order.
    fn messages(&self, mailbox: MailboxId) -> Result<Vec<StoredMessage>> {
        let _ = mailbox;
        Ok(Vec::new())
    }

    /// Returns the subscriptions that an account has at the start. By default these are all of its mailboxes.
    fn subscriptions(&self, account: &Account) -> Result<Vec<String>> {
        Ok(self.mailboxes(account)?.into_iter().map(|mailbox| mailbox.name).collect())
    }

    /// Returns the metadata that an account has at the start. By default there is none.
    fn metadata(&self, account: &Account) -> Result<Vec<StoredMetadata>> {
        let _ = account;
        Ok(Vec::new())
    }
}

/// An account and how it logs in. `Debug` shows only the account.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredAccount {
    /// Its identifier, which no other account ever had, and its name.
    pub account: Account,
    /// The verifier of its password: an Argon2 hash in PHC format.
    pub verifier: String,
    /// The keys that a [`KeyMaker`](crate::KeyMaker) derived from its password.
    pub keys: Vec<LoginKeys>,
}

impl StoredAccount {
    /// Creates a description of an account without derived keys.
    pub fn new(account: Account, verifier: impl Into<String>) -> Self {
        Self { account, verifier: verifier.into(), keys: Vec::new() }
    }
}

impl std::fmt::Debug for StoredAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredAccount").field("account", &self.account).finish_non_exhaustive()
    }
}

/// A mailbox without its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMailbox {
    /// Its identifier, which no other mailbox of any account has.
    pub id: MailboxId,
    /// Its full name, `/` between levels.
    pub name: String,
    /// Its special use.
    pub special_use: Option<SpecialUse>,
    /// `\Noselect`: it has no messages, only children.
    pub no_select: bool,
    /// Its UIDVALIDITY. 0 at the start means that UIDs were not kept: the mailbox gets a new value, and clients fetch
    /// its messages again.
    pub uid_validity: u32,
    /// Its UIDNEXT. A value that is too low at the start is raised above the UIDs of the messages.
    pub uid_next: u32,
    /// Its HIGHESTMODSEQ. 0 at the start means that mod-sequences were not kept: they continue at the time in
    /// microseconds, which is higher than any value before.
    pub highest_modseq: u64,
    /// Messages with this UID or a higher one are `\Recent`: they were not reported to any session. At the start, 0 means
    /// that the storage does not keep this, and then no message is recent.
    pub first_recent_uid: u32,
    /// Its access control list (RFC 4314), ordered by identifier.
    pub acl: Vec<AclEntry>,
}

impl StoredMailbox {
    /// Creates a description of a mailbox whose UIDs and mod-sequences were not kept.
    pub fn new(id: MailboxId, name: impl Into<String>) -> Self {
        Self {
            id,
            name: name.into(),
            special_use: None,
            no_select: false,
            uid_validity: 0,
            uid_next: 1,
            highest_modseq: 0,
            first_recent_uid: 0,
            acl: Vec::new(),
        }
    }
}

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMessage {
    /// Its UID, from 1.
    pub uid: u32,
    /// Its mod-sequence. One above the mailbox's HIGHESTMODSEQ is lowered to it.
    pub modseq: u64,
    /// Its flags.
    pub flags: Flags,
    /// INTERNALDATE
    pub internal_date: InternalDate,
    /// SAVEDATE, in seconds since 1970; `None` if it was not kept.
    pub saved_date: Option<i64>,
    /// The number of its bytes.
    pub size: u64,
    /// Its bytes, as [`Storage::put`] named them.
    pub content: ContentId,
}

impl StoredMessage {
    /// Creates a description of a message without flags, whose SAVEDATE was not kept.
    pub fn new(uid: u32, content: ContentId, size: u64, internal_date: InternalDate) -> Self {
        Self { uid, modseq: u64::MAX, flags: Flags::new(), internal_date, saved_date: None, size, content }
    }
}

/// An entry of metadata (RFC 5464).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMetadata {
    /// What it belongs to.
    pub of: Annotated,
    /// Its name in lower case.
    pub name: String,
    /// Its value.
    pub value: Arc<[u8]>,
}

impl StoredMetadata {
    /// Creates a description of an entry.
    pub fn new(of: Annotated, name: impl Into<String>, value: impl Into<Arc<[u8]>>) -> Self {
        Self { of, name: name.into(), value: value.into() }
    }
}

/// A change of what a [`Storage`] keeps besides the bytes of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageChange {
    /// An account was created, or has another password or other keys.
    AccountSet(StoredAccount),
    /// A mailbox was created or renamed, is selectable again or no longer, or has another special use or access control
    /// list.
    MailboxSet(AccountId, StoredMailbox),
    /// A mailbox and its messages were removed.
    MailboxRemoved(MailboxId),
    /// A name was subscribed to.
    Subscribed(AccountId, String),
    /// A subscription was removed.
    Unsubscribed(AccountId, String),
    /// An entry of metadata was set, or removed if it has no value. Those of a mailbox are removed before the mailbox.
    MetadataSet(AccountId, Annotated, String, Option<Arc<[u8]>>),
    /// A message was added.
    MessageAdded(MailboxId, StoredMessage),
    /// The flags of the message with this UID were replaced, at this mod-sequence.
    FlagsSet(MailboxId, u32, Flags, u64),
    /// The message with this UID was removed, at this mod-sequence.
    MessageRemoved(MailboxId, u32, u64),
    /// The messages below this UID were reported to a session, and are `\Recent` in no later session. It is the only
    /// change in its record, and an error of the storage is ignored.
    RecentClaimed(MailboxId, u32),
}
