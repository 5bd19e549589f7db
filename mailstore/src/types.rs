//! The words of the store: identifiers, mailboxes, messages, sets of UIDs, and what operations return.
//!
//! Knows IMAP's terms (RFC 9051 §2.3, RFC 7162). Does not know how any of it is kept.

use crate::content::Upload;
use crate::flags::Flags;
use crate::mime::{Envelope, Part};
pub use crate::uid_set::UidSet;
use std::sync::Arc;

macro_rules! identifier {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);
    )*};
}

identifier! {
    /// An account; never reused.
    AccountId;
    /// A mailbox; never reused, kept by a rename.
    MailboxId;
    /// The content of a message, shared by its copies; never reused. See [`Store::email_id`](crate::Store::email_id) for
    /// what EMAILID shows.
    ContentId;
    /// A remote account that mail is fetched from.
    RemoteAccountId;
    /// A mailbox of a remote account.
    RemoteMailboxId;
}

/// An account: who may log in and owns mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its identifier.
    pub id: AccountId,
    /// The login name.
    pub name: String,
}

/// What a [`KeyMaker`](crate::KeyMaker) derived from a password. `Debug` shows the kind only.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginKeys {
    /// Which keys these are, by the name of the mechanism.
    pub kind: &'static str,
    /// The keys, in whatever form their maker reads.
    pub text: String,
}

impl std::fmt::Debug for LoginKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginKeys").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What a mailbox is for (RFC 6154).
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
    /// All of them.
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

    /// The name of the mailbox that a new account has for it.
    pub fn mailbox_name(self) -> &'static str {
        self.attribute().trim_start_matches('\\')
    }

    /// Reads an attribute.
    pub fn from_attribute(attribute: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.attribute().eq_ignore_ascii_case(attribute))
    }
}

/// How much of everything one account may have. What is beyond is refused with
/// [`Error::OverQuota`](crate::Error::OverQuota); what is there already stays, and can always be deleted or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// Messages in all mailboxes together.
    pub messages: u64,
    /// Bytes of those messages; each copy counts.
    pub bytes: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Different keywords that were ever used in one mailbox; never more than
    /// [`MAILBOX_KEYWORD_LIMIT`](crate::MAILBOX_KEYWORD_LIMIT).
    pub keywords: u64,
    /// Remote accounts that mail is fetched from.
    pub remote_accounts: u64,
}

impl Quota {
    /// No limit at all.
    pub const UNLIMITED: Self = Self {
        messages: u64::MAX,
        bytes: u64::MAX,
        mailboxes: u64::MAX,
        subscriptions: u64::MAX,
        keywords: u64::MAX,
        remote_accounts: u64::MAX,
    };
}

impl Default for Quota {
    /// Ten million messages, any number of bytes, 10,000 mailboxes and subscriptions, 1,000 keywords in a mailbox, and
    /// 1,000 remote accounts.
    fn default() -> Self {
        Self {
            messages: 10_000_000,
            bytes: u64::MAX,
            mailboxes: 10_000,
            subscriptions: 10_000,
            keywords: 1_000,
            remote_accounts: 1_000,
        }
    }
}

/// What an account has of that which a [`Quota`] limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Messages in all mailboxes together.
    pub messages: u64,
    /// Bytes of those messages; each copy counts.
    pub bytes: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Remote accounts.
    pub remote_accounts: u64,
}

/// A mailbox as LIST shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Its identifier.
    pub id: MailboxId,
    /// Its full name, `/` between levels.
    pub name: String,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// `\Noselect`: it only holds others.
    pub no_select: bool,
    /// `\HasChildren`.
    pub has_children: bool,
    /// `\Subscribed`.
    pub subscribed: bool,
}

/// A name subscribed to (RFC 9051 §6.3.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The name.
    pub name: String,
    /// The mailbox of that name, if there is one.
    pub mailbox: Option<Mailbox>,
}

/// The names that a LIST selects by its selection options (RFC 5258 §3.1, RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSelection {
    /// Those subscribed to.
    Subscribed,
    /// Mailboxes with a special use.
    SpecialUse,
    /// Mailboxes with a special use, if subscribed to.
    SubscribedSpecialUse,
}

/// What STATUS tells (RFC 9051 §6.3.11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// MESSAGES
    pub messages: u32,
    /// RECENT: messages that no read-write selection has seen yet.
    pub recent: u32,
    /// UNSEEN
    pub unseen: u32,
    /// DELETED
    pub deleted: u32,
    /// SIZE, in octets.
    pub size: u64,
    /// UIDNEXT
    pub uid_next: u32,
    /// UIDVALIDITY
    pub uid_validity: u32,
    /// HIGHESTMODSEQ
    pub highest_modseq: u64,
}

/// How a mailbox is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// EXAMINE: recent messages stay recent.
    ReadOnly,
    /// SELECT: this session sees the recent messages, later ones don't.
    ReadWrite,
}

/// A mailbox at the time of SELECT. Its messages are those below UIDNEXT: read them page by page with
/// [`uid_page`](crate::Store::uid_page), and what changes meanwhile with
/// [`changes_since`](crate::Store::changes_since).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its numbers.
    pub status: Status,
    /// Messages from this UID on are `\Recent` in this session.
    pub first_recent_uid: u32,
    /// The keywords in use.
    pub keywords: KeywordsInUse,
}

impl Selection {
    /// The place from which [`changes_since`](crate::Store::changes_since) tells what this does not show.
    pub fn cursor(&self) -> ChangeCursor {
        let modseq = self.status.highest_modseq;
        ChangeCursor {
            uid_next: self.status.uid_next,
            flags: (modseq, u32::MAX),
            expunged: (modseq, u32::MAX),
        }
    }
}

/// All keywords that were used in a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeywordsInUse {
    /// In the order of their first use.
    pub names: Vec<Arc<str>>,
    /// The highest number of them; see [`Flags::newest_keyword`].
    pub newest: u32,
    /// The mailbox takes no further keyword.
    pub full: bool,
}

impl KeywordsInUse {
    /// Whether the mailbox takes no further keyword.
    pub fn is_full(&self) -> bool {
        self.full
    }
}

/// Some of the UIDs of a mailbox, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidPage {
    /// The UIDs.
    pub uids: Vec<u32>,
    /// The first of them without `\Seen`.
    pub first_unseen: Option<u32>,
    /// Where the next page starts; `None` after the last one.
    pub next: Option<u32>,
}

/// A time with its offset, as INTERNALDATE shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct InternalDate {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub seconds: i64,
    /// The offset from UTC in minutes, east positive.
    pub offset_minutes: i16,
}

/// One place where an upload goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The flags of the new message.
    pub flags: Flags,
    /// Its internal date.
    pub internal_date: InternalDate,
}

/// One upload and all the mailboxes that it goes to. The octets are kept once.
#[derive(Debug)]
pub struct Delivery {
    /// The complete message.
    pub upload: Upload,
    /// Where it goes; several for several recipients.
    pub targets: Vec<Target>,
}

/// What APPENDUID tells (RFC 9051 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// The new message's UID.
    pub uid: u32,
    /// The new message's octets.
    pub content: ContentId,
}

/// Which columns [`fetch_page`](crate::Store::fetch_page) reads beside the cheap ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub(crate) envelope: bool,
    pub(crate) structure: bool,
    pub(crate) body: bool,
    pub(crate) email_id: bool,
}

impl Columns {
    /// UID, flags, dates and size only.
    pub fn summary() -> Self {
        Self::default()
    }

    /// The envelope too.
    #[must_use]
    pub fn with_envelope(self) -> Self {
        Self { envelope: true, ..self }
    }

    /// The tree of parts too.
    #[must_use]
    pub fn with_structure(self) -> Self {
        Self { structure: true, ..self }
    }

    /// The EMAILID too.
    #[must_use]
    pub fn with_email_id(self) -> Self {
        Self { email_id: true, ..self }
    }

    /// The content of small messages too.
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
    /// The time of its Date field, in seconds since 1970, where that is a date.
    pub sent_date: Option<i64>,
    /// RFC822.SIZE, in octets.
    pub size: u64,
    /// Where its octets are: [`open`](crate::Store::open_content) them.
    pub content: ContentId,
    /// Its EMAILID, where asked for; see [`Store::email_id`](crate::Store::email_id).
    pub email_id: Option<String>,
    /// Its envelope, where asked for.
    pub envelope: Option<Envelope>,
    /// Its tree of parts, where asked for.
    pub structure: Option<Part>,
    /// Its octets, where asked for and small.
    pub body: Option<Vec<u8>>,
}

/// A page of messages, in order of UID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Message>,
    /// Where the next page starts ([`UidSet::starting_at`]); `None` after the last one.
    pub next: Option<u32>,
}

/// The flags of a message after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFlags {
    /// Its UID.
    pub uid: u32,
    /// Its mod-sequence.
    pub modseq: u64,
    /// Its flags.
    pub flags: Flags,
}

/// How STORE changes flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
    /// `FLAGS`
    Replace,
}

/// What a STORE did, as far as it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Messages whose flags are other than before.
    pub changed: Vec<MessageFlags>,
    /// Messages that were there and already had those flags.
    pub unchanged: Vec<MessageFlags>,
    /// Messages that changed since `unchanged_since` and were left alone (MODIFIED of RFC 7162).
    pub modified: Vec<u32>,
    /// The mod-sequence of the changed messages: no other message has it.
    pub modseq: Option<u64>,
    /// Where to go on ([`UidSet::starting_at`]); `None` when all were looked at.
    pub next: Option<u32>,
}

/// What a COPY or MOVE did, as far as it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the destination.
    pub uid_validity: u32,
    /// The UID in the source and in the destination, in order.
    pub pairs: Vec<(u32, u32)>,
    /// Where to go on ([`UidSet::starting_at`]); `None` when all were looked at.
    pub next: Option<u32>,
    /// The copy that further parts belong to, while there are any; see
    /// [`Store::copy_part`](crate::Store::copy_part).
    pub unfinished: Option<CopyId>,
}

/// A COPY in several parts that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyId(pub(crate) i64);

/// What an EXPUNGE did, as far as it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expunged {
    /// The messages that are gone, in order.
    pub uids: Vec<u32>,
    /// Where to go on ([`UidSet::starting_at`]); `None` when all were looked at.
    pub next: Option<u32>,
}

/// Which messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expunge {
    /// EXPUNGE: all that are `\Deleted`.
    Deleted,
    /// UID EXPUNGE: those of the set that are `\Deleted`.
    DeletedAmong(UidSet),
    /// All of the set, whatever their flags.
    Exactly(UidSet),
}

/// Up to where a session knows the changes of a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCursor {
    /// Messages from this UID on are unknown.
    pub uid_next: u32,
    /// Changes of flags are known up to and with this mod-sequence and UID.
    pub flags: (u64, u32),
    /// Removals are known up to and with this mod-sequence and UID.
    pub expunged: (u64, u32),
}

/// A page of what changed in a mailbox since a cursor. Several changes of one message are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Pass it the next time.
    pub cursor: ChangeCursor,
    /// Whether there is another page.
    pub more: bool,
    /// The highest mod-sequence of the mailbox now.
    pub highest_modseq: u64,
    /// Messages that went.
    pub vanished: Vec<u32>,
    /// Messages that came, in order of UID.
    pub new: Vec<u32>,
    /// Messages that were known and have other flags.
    pub changed: Vec<MessageFlags>,
}

/// Tells that a mailbox changed; ask [`changes_since`](crate::Store::changes_since) how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its highest mod-sequence; 0 if it was deleted.
    pub modseq: u64,
}

/// A message that was fetched from a remote mailbox.
#[derive(Debug)]
pub struct RemoteMessage {
    /// Its UID there.
    pub uid: u32,
    /// The complete message.
    pub upload: Upload,
    /// Its flags there.
    pub flags: Flags,
    /// Its internal date there.
    pub internal_date: InternalDate,
}

/// What became of a [`RemoteMessage`]; the number is the local UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It is new here.
    Imported(u32),
    /// The same octets came under an earlier UIDVALIDITY and are still here.
    Duplicate(u32),
    /// This UID was recorded before.
    Known(u32),
}

/// How a remote account stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAccount {
    /// Its identifier.
    pub id: RemoteAccountId,
    /// What tells it apart: a URL without a password.
    pub url_key: String,
    /// When a run last ended, in seconds since 1970.
    pub last_sync_at: Option<i64>,
    /// How that run ended: a word of the caller's.
    pub status: Option<String>,
    /// Why it failed: a text of the caller's.
    pub error: Option<String>,
}

/// A remote mailbox and the local one that its messages go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteMailbox {
    /// Its identifier.
    pub id: RemoteMailboxId,
    /// The local mailbox.
    pub mailbox: MailboxId,
    /// The UIDVALIDITY that is in force.
    pub uid_validity: u32,
    /// How many messages are recorded under it.
    pub known: u32,
}
