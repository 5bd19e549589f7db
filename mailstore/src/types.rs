//! The types of the store's interface: identifiers, mailboxes, messages, and the results of operations.
//!
//! They follow IMAP's terms (RFC 9051 §2.3, RFC 7162) and do not depend on how the data is stored.

use crate::content::Upload;
use crate::flags::Flags;
pub use crate::uid_set::UidSet;
use mailmime::{Envelope, Part};
use std::borrow::Cow;
use std::sync::Arc;

macro_rules! identifier {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);
    )*};
}

identifier! {
    /// Identifies an account. Never reused.
    AccountId;
    /// Identifies a mailbox. Never reused; a rename keeps it.
    MailboxId;
    /// Identifies the content of a message, which its copies share. Never reused.
    /// [`Store::email_id`](crate::Store::email_id) turns it into an EMAILID.
    ContentId;
    /// Identifies a remote account that mail is fetched from.
    RemoteAccountId;
    /// Identifies a mailbox of a remote account.
    RemoteMailboxId;
    /// Identifies an account of a mail client. Never reused.
    ClientAccountId;
}

/// An account: a login name and its mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its identifier.
    pub id: AccountId,
    /// The login name.
    pub name: String,
}

/// Keys that a [`KeyMaker`](crate::KeyMaker) derived from a password. `Debug` shows the kind only.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginKeys {
    /// The kind of keys: the name of the mechanism.
    pub kind: Cow<'static, str>,
    /// The keys, in a format of the caller's choice.
    pub text: String,
}

impl std::fmt::Debug for LoginKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginKeys").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The special use of a mailbox (RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialUse {
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// All special uses.
    pub const ALL: [Self; 5] = [Self::Drafts, Self::Sent, Self::Junk, Self::Trash, Self::Archive];

    /// The attribute, as in `\Drafts`.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }

    /// The name of the mailbox that a new account gets for this use.
    pub fn mailbox_name(self) -> &'static str {
        self.attribute().trim_start_matches('\\')
    }

    /// Parses an attribute, without regard to ASCII case.
    pub fn from_attribute(attribute: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.attribute().eq_ignore_ascii_case(attribute))
    }
}

/// The limits of one account. A store rejects what exceeds them with [`Error::OverQuota`](crate::Error::OverQuota).
/// What is already stored stays, and can be deleted or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// Messages in all mailboxes together.
    pub messages: u64,
    /// Bytes of those messages; each copy counts. The names and values of metadata count as well.
    pub bytes: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Entries of metadata: those of all mailboxes and of the server.
    pub metadata: u64,
    /// Distinct keywords that were ever used in one mailbox; never more than
    /// [`MAILBOX_KEYWORD_LIMIT`](crate::MAILBOX_KEYWORD_LIMIT).
    pub keywords: u64,
    /// Remote accounts that mail is fetched from.
    pub remote_accounts: u64,
}

impl Quota {
    /// No limits.
    pub const UNLIMITED: Self = Self {
        messages: u64::MAX,
        bytes: u64::MAX,
        mailboxes: u64::MAX,
        subscriptions: u64::MAX,
        metadata: u64::MAX,
        keywords: u64::MAX,
        remote_accounts: u64::MAX,
    };
}

impl Default for Quota {
    /// The default limits: 10,000,000 messages, unlimited bytes, 10,000 mailboxes, 10,000 subscriptions,
    /// 10,000 entries of metadata, 1,000 keywords per mailbox, 1,000 remote accounts.
    fn default() -> Self {
        Self {
            messages: 10_000_000,
            bytes: u64::MAX,
            mailboxes: 10_000,
            subscriptions: 10_000,
            metadata: 10_000,
            keywords: 1_000,
            remote_accounts: 1_000,
        }
    }
}

/// How much an account uses of what a [`Quota`] limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Messages in all mailboxes together.
    pub messages: u64,
    /// Bytes of those messages; each copy counts. The names and values of metadata count as well.
    pub bytes: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Entries of metadata.
    pub metadata: u64,
    /// Remote accounts.
    pub remote_accounts: u64,
}

/// A mailbox as LIST shows it (RFC 9051 §6.3.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Its identifier.
    pub id: MailboxId,
    /// Its full name, `/` between levels.
    pub name: String,
    /// Its special use.
    pub special_use: Option<SpecialUse>,
    /// `\Noselect`: it has no messages, only children.
    pub no_select: bool,
    /// `\HasChildren`.
    pub has_children: bool,
    /// `\Subscribed`.
    pub subscribed: bool,
}

/// A subscription (RFC 9051 §6.3.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The name.
    pub name: String,
    /// The mailbox of that name, if there is one.
    pub mailbox: Option<Mailbox>,
}

/// The names that LIST selection options select (RFC 5258 §3.1, RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSelection {
    /// Subscribed names.
    Subscribed,
    /// Mailboxes with a special use.
    SpecialUse,
    /// Subscribed mailboxes with a special use.
    SubscribedSpecialUse,
}

/// The counters of a mailbox that STATUS returns (RFC 9051 §6.3.11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// MESSAGES
    pub messages: u32,
    /// RECENT: messages that were not yet reported to a read-write session.
    pub recent: u32,
    /// UNSEEN
    pub unseen: u32,
    /// DELETED
    pub deleted: u32,
    /// DELETED-STORAGE: the bytes of the messages with `\Deleted` (RFC 9208 §4.1.4).
    pub deleted_size: u64,
    /// SIZE, in bytes.
    pub size: u64,
    /// UIDNEXT
    pub uid_next: u32,
    /// UIDVALIDITY
    pub uid_validity: u32,
    /// HIGHESTMODSEQ
    pub highest_modseq: u64,
}

/// The access with which a mailbox is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// EXAMINE: recent messages stay recent for other sessions.
    ReadOnly,
    /// SELECT: recent messages are recent in this session only.
    ReadWrite,
}

/// The state of a mailbox at the time of SELECT. Its messages are those below UIDNEXT. Read them with
/// [`uid_page`](crate::Store::uid_page), and later changes with [`changes_since`](crate::Store::changes_since).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its counters.
    pub status: Status,
    /// Messages with this UID or a higher one are `\Recent` in this session.
    pub first_recent_uid: u32,
    /// The keywords in use.
    pub keywords: KeywordsInUse,
}

impl Selection {
    /// Returns the cursor for the first call of [`changes_since`](crate::Store::changes_since) after this selection.
    pub fn cursor(&self) -> ChangeCursor {
        let modseq = self.status.highest_modseq;
        ChangeCursor {
            uid_next: self.status.uid_next,
            flags: (modseq, u32::MAX),
            expunged: (modseq, u32::MAX),
        }
    }
}

/// The keywords that were ever used in a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeywordsInUse {
    /// The keywords, in the order of their first use.
    pub names: Vec<Arc<str>>,
    /// The highest keyword number; see [`Flags::newest_keyword`].
    pub newest: u32,
    /// Whether the mailbox accepts no new keyword.
    pub full: bool,
}

impl KeywordsInUse {
    /// Returns whether the mailbox accepts no new keyword.
    pub fn is_full(&self) -> bool {
        self.full
    }
}

/// A page of the UIDs of a mailbox, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidPage {
    /// The UIDs.
    pub uids: Vec<u32>,
    /// The first of them without `\Seen`.
    pub first_unseen: Option<u32>,
    /// Where the next page starts; `None` after the last one.
    pub next: Option<u32>,
}

/// A time and its offset from UTC, as INTERNALDATE shows it (RFC 9051 §2.3.3). New messages usually have
/// [`now`](Self::now). The default is the start of 1970, for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct InternalDate {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub seconds: i64,
    /// The offset from UTC in minutes, east positive.
    pub offset_minutes: i16,
}

impl InternalDate {
    /// Returns the current time, in UTC.
    #[must_use]
    pub fn now() -> Self {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = since_1970.map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX));
        Self { seconds, offset_minutes: 0 }
    }
}

/// A mailbox that a delivery appends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The flags of the new message.
    pub flags: Flags,
    /// Its internal date.
    pub internal_date: InternalDate,
}

/// One upload and all mailboxes that it is appended to. The store keeps its bytes once.
#[derive(Debug)]
pub struct Delivery {
    /// The complete message.
    pub upload: Upload,
    /// The mailboxes to append to, one per recipient.
    pub targets: Vec<Target>,
}

/// The mailbox and UID of an appended message: the data of APPENDUID (RFC 9051 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// The new message's UID.
    pub uid: u32,
    /// The new message's content.
    pub content: ContentId,
}

/// The columns that [`fetch_page`](crate::Store::fetch_page) reads in addition to the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub(crate) envelope: bool,
    pub(crate) structure: bool,
    pub(crate) body: bool,
    pub(crate) email_id: bool,
    pub(crate) preview: bool,
}

impl Columns {
    /// Selects the summary only: UID, mod-sequence, flags, dates and size.
    pub fn summary() -> Self {
        Self::default()
    }

    /// Adds the envelope.
    #[must_use]
    pub fn with_envelope(self) -> Self {
        Self { envelope: true, ..self }
    }

    /// Adds the tree of parts.
    #[must_use]
    pub fn with_structure(self) -> Self {
        Self { structure: true, ..self }
    }

    /// Adds the EMAILID.
    #[must_use]
    pub fn with_email_id(self) -> Self {
        Self { email_id: true, ..self }
    }

    /// Adds the preview, if one is kept.
    #[must_use]
    pub fn with_preview(self) -> Self {
        Self { preview: true, ..self }
    }

    /// Adds the bytes of messages of at most [`SMALL_LIMIT`](crate::SMALL_LIMIT) bytes.
    #[must_use]
    pub fn with_small_bodies(self) -> Self {
        Self { body: true, ..self }
    }
}

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its UID.
    pub uid: u32,
    /// Its mod-sequence.
    pub modseq: u64,
    /// Its flags.
    pub flags: Flags,
    /// INTERNALDATE
    pub internal_date: InternalDate,
    /// The time of its Date field, in seconds since 1970; `None` if the field is missing or invalid.
    pub sent_date: Option<i64>,
    /// SAVEDATE: when it was saved in this mailbox, in seconds since 1970 (RFC 8514); `None` if that was not recorded.
    pub saved_date: Option<i64>,
    /// RFC822.SIZE, in bytes.
    pub size: u64,
    /// Its content: open it with [`open_content`](crate::Store::open_content).
    pub content: ContentId,
    /// Its EMAILID, if requested; see [`Store::email_id`](crate::Store::email_id).
    pub email_id: Option<String>,
    /// Its preview, if requested and kept; see [`Store::keep_previews`](crate::Store::keep_previews).
    pub preview: Option<String>,
    /// Its envelope, if requested.
    pub envelope: Option<Envelope>,
    /// Its tree of parts, if requested.
    pub structure: Option<Part>,
    /// Its bytes, if requested and the message is small.
    pub body: Option<Vec<u8>>,
}

/// A page of messages, in ascending order of UID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Message>,
    /// Where the next page starts ([`UidSet::starting_at`]); `None` after the last one.
    pub next: Option<u32>,
}

/// The flags of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFlags {
    /// Its UID.
    pub uid: u32,
    /// Its mod-sequence.
    pub modseq: u64,
    /// Its flags.
    pub flags: Flags,
}

/// The flags of a message that a STORE changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFlags {
    /// Its UID.
    pub uid: u32,
    /// The mod-sequence of the change.
    pub modseq: u64,
    /// The mod-sequence before the change. If a session has not reported that change yet, another session made it,
    /// and the flags must be reported, even after a STORE with `.SILENT` (RFC 9051 §6.4.6).
    pub previous_modseq: u64,
    /// Its flags after the change.
    pub flags: Flags,
}

/// The operation of a STORE (RFC 9051 §6.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
    /// `FLAGS`
    Replace,
}

/// The result of a STORE, as far as it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Messages whose flags changed.
    pub changed: Vec<ChangedFlags>,
    /// Messages that already had the requested flags.
    pub unchanged: Vec<MessageFlags>,
    /// Messages that were not changed because their mod-sequence is later than `unchanged_since` (MODIFIED, RFC 7162
    /// §3.1.3).
    pub modified: Vec<u32>,
    /// The mod-sequence of the changed messages, which no other message has.
    pub modseq: Option<u64>,
    /// Where to continue (see [`UidSet::starting_at`]); `None` when the whole set was examined.
    pub next: Option<u32>,
}

/// The result of a COPY or MOVE, as far as it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the destination.
    pub uid_validity: u32,
    /// The UIDs of each message in the source and in the destination, in order.
    pub pairs: Vec<(u32, u32)>,
    /// Where to continue (see [`UidSet::starting_at`]); `None` when the whole set was examined.
    pub next: Option<u32>,
    /// Identifies the copy if more parts follow; see [`Store::copy_part`](crate::Store::copy_part).
    pub unfinished: Option<CopyId>,
}

/// Identifies an unfinished COPY of several parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyId(pub(crate) i64);

/// The result of an EXPUNGE, as far as it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expunged {
    /// The UIDs of the removed messages, in ascending order.
    pub uids: Vec<u32>,
    /// Where to continue (see [`UidSet::starting_at`]); `None` when the whole set was examined.
    pub next: Option<u32>,
}

/// The messages to expunge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expunge {
    /// EXPUNGE: all messages with `\Deleted`.
    Deleted,
    /// UID EXPUNGE: the messages of the set with `\Deleted` (RFC 9051 §6.4.9).
    DeletedAmong(UidSet),
    /// All messages of the set, with any flags.
    Exactly(UidSet),
}

/// How far a session knows the changes of a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCursor {
    /// Messages with this UID or a higher one are unknown.
    pub uid_next: u32,
    /// Flag changes are known up to and including this mod-sequence and UID.
    pub flags: (u64, u32),
    /// Removals are known up to and including this mod-sequence and UID.
    pub expunged: (u64, u32),
}

/// A page of the changes of a mailbox since a cursor. Several changes of one message are merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The cursor for the next call.
    pub cursor: ChangeCursor,
    /// Whether there is another page.
    pub more: bool,
    /// The highest mod-sequence of the mailbox now.
    pub highest_modseq: u64,
    /// The UIDs of removed messages.
    pub vanished: Vec<u32>,
    /// The UIDs of new messages, in ascending order.
    pub new: Vec<u32>,
    /// Known messages whose flags changed.
    pub changed: Vec<MessageFlags>,
}

/// A page of the messages that were removed from a mailbox after a mod-sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// Their UIDs, in the order of their removal.
    pub uids: Vec<u32>,
    /// Where to continue; `None` after the last page.
    pub next: Option<(u64, u32)>,
}

/// Notifies of a change of a mailbox; [`changes_since`](crate::Store::changes_since) returns its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its highest mod-sequence; 0 if it was deleted.
    pub modseq: u64,
}
