//! What a server says about mailboxes: LIST, STATUS, NAMESPACE, QUOTA (RFC 9051 §7.3, RFC 2342, 5258, 6154, 9208).
//!
//! Mailbox names are strings here, as they came; what they mean in which encoding is said elsewhere.

use core::fmt;
use core::num::NonZeroU32;

use super::flag::Keyword;
use super::string::IString;
use super::view::{LazyList, sealed::Sealed};

/// An attribute of a mailbox (RFC 9051 §7.3.1, RFC 6154, RFC 8457).
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailboxAttribute<'i> {
    /// `\NoInferiors`: cannot have children.
    NoInferiors,
    /// `\NoSelect`: cannot be selected.
    NoSelect,
    /// `\HasChildren`
    HasChildren,
    /// `\HasNoChildren`
    HasNoChildren,
    /// `\Marked`: there may be new messages.
    Marked,
    /// `\Unmarked`: there are no new messages.
    Unmarked,
    /// `\NonExistent`: does not exist, but is subscribed to or has children.
    NonExistent,
    /// `\Subscribed`
    Subscribed,
    /// `\Remote`: on another server.
    Remote,
    /// `\All`: all messages.
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`: all messages with that flag.
    Flagged,
    /// `\Important`
    Important,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
    /// Any other, without its backslash.
    Other(Keyword<'i>),
}

impl<'i> MailboxAttribute<'i> {
    const KNOWN: [MailboxAttribute<'static>; 17] = [
        MailboxAttribute::NoInferiors,
        MailboxAttribute::NoSelect,
        MailboxAttribute::HasChildren,
        MailboxAttribute::HasNoChildren,
        MailboxAttribute::Marked,
        MailboxAttribute::Unmarked,
        MailboxAttribute::NonExistent,
        MailboxAttribute::Subscribed,
        MailboxAttribute::Remote,
        MailboxAttribute::All,
        MailboxAttribute::Archive,
        MailboxAttribute::Drafts,
        MailboxAttribute::Flagged,
        MailboxAttribute::Important,
        MailboxAttribute::Junk,
        MailboxAttribute::Sent,
        MailboxAttribute::Trash,
    ];

    /// `name` has its backslash; its characters were checked.
    pub(crate) fn from_wire(name: &'i [u8]) -> Self {
        let name = name.strip_prefix(b"\\").unwrap_or(name);
        let known = Self::KNOWN.into_iter().find(|known| known.name().eq_ignore_ascii_case(name));
        known.unwrap_or(Self::Other(Keyword::checked(name)))
    }

    /// The name without its backslash.
    #[must_use]
    pub const fn name(&self) -> &'i [u8] {
        match self {
            Self::NoInferiors => b"NoInferiors",
            Self::NoSelect => b"NoSelect",
            Self::HasChildren => b"HasChildren",
            Self::HasNoChildren => b"HasNoChildren",
            Self::Marked => b"Marked",
            Self::Unmarked => b"Unmarked",
            Self::NonExistent => b"NonExistent",
            Self::Subscribed => b"Subscribed",
            Self::Remote => b"Remote",
            Self::All => b"All",
            Self::Archive => b"Archive",
            Self::Drafts => b"Drafts",
            Self::Flagged => b"Flagged",
            Self::Important => b"Important",
            Self::Junk => b"Junk",
            Self::Sent => b"Sent",
            Self::Trash => b"Trash",
            Self::Other(name) => name.as_bytes(),
        }
    }

    /// Whether it says what the mailbox is for (RFC 6154, RFC 8457).
    #[must_use]
    pub const fn is_special_use(&self) -> bool {
        matches!(
            self,
            Self::All
                | Self::Archive
                | Self::Drafts
                | Self::Flagged
                | Self::Important
                | Self::Junk
                | Self::Sent
                | Self::Trash
        )
    }
}

impl fmt::Debug for MailboxAttribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\\{}", Keyword::checked(self.name()))
    }
}

impl<'i> LazyList<'i, MailboxAttribute<'i>> {
    /// Whether `attribute` is in the list.
    #[must_use]
    pub fn contains(&self, attribute: MailboxAttribute<'_>) -> bool {
        self.iter().any(|one| one.name().eq_ignore_ascii_case(attribute.name()))
    }

    /// The attributes, each but once, whatever the server repeats.
    pub fn distinct(&self) -> impl Iterator<Item = MailboxAttribute<'i>> + use<'i> {
        let all = *self;
        self.iter()
            .enumerate()
            .filter(move |(index, one)| !all.iter().take(*index).any(|earlier| earlier == *one))
            .map(|(_, one)| one)
    }

    /// What the mailbox is for, if the server says so.
    #[must_use]
    pub fn special_use(&self) -> Option<MailboxAttribute<'i>> {
        self.iter().find(MailboxAttribute::is_special_use)
    }
}

/// `LIST`, `LSUB`, `XLIST`: a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListResponse<'i> {
    /// What is special about it.
    pub attributes: LazyList<'i, MailboxAttribute<'i>>,
    /// What separates the levels of its name; `None`: the name has no levels.
    pub delimiter: Option<char>,
    /// Its name, as it came.
    pub mailbox: IString<'i>,
    /// Further data (RFC 5258 `mbox-list-extended`): `CHILDINFO`, `OLDNAME` and others.
    pub extended: LazyList<'i, ExtendedItem<'i>>,
}

/// An item of a LIST response's or a namespace's extended data, its value as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedItem<'i> {
    /// The name of the item.
    pub name: IString<'i>,
    /// Its value: a string, a number, a sequence set, or a list in parentheses.
    pub value: IString<'i>,
}

/// `STATUS`: some figures of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxStatus<'i> {
    /// The mailbox's name, as it came.
    pub mailbox: IString<'i>,
    /// The figures.
    pub items: LazyList<'i, StatusItem<'i>>,
}

/// One figure of a `STATUS` response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusItem<'i> {
    /// How many messages.
    Messages(u32),
    /// How many are recent (RFC 3501).
    Recent(u32),
    /// The least UID that the next message can have; `None` if the server said 0.
    UidNext(Option<NonZeroU32>),
    /// UIDVALIDITY. A tolerantly read 0 stands for "unknown".
    UidValidity(u32),
    /// How many have no `\Seen`.
    Unseen(u32),
    /// How many have `\Deleted`.
    Deleted(u32),
    /// The size of all messages, in octets.
    Size(u64),
    /// The greatest mod-sequence (RFC 7162); 0: there are none.
    HighestModSeq(u64),
    /// The greatest message that can be appended, in octets; `None`: no limit (RFC 7889).
    AppendLimit(Option<u64>),
    /// The octets that expunging would free (RFC 9208).
    DeletedStorage(u64),
    /// The mailbox's identity (RFC 8474).
    MailboxId(IString<'i>),
    /// Any other, its value as it came.
    Other {
        /// The item's name.
        name: IString<'i>,
        /// Its value.
        value: IString<'i>,
    },
}

/// `NAMESPACE` (RFC 2342): where mailboxes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces<'i> {
    /// The user's own.
    pub personal: LazyList<'i, Namespace<'i>>,
    /// Those of other users.
    pub other_users: LazyList<'i, Namespace<'i>>,
    /// Those that belong to nobody.
    pub shared: LazyList<'i, Namespace<'i>>,
}

/// One namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace<'i> {
    /// How the names of its mailboxes begin.
    pub prefix: IString<'i>,
    /// What separates the levels of names in it; `None`: there are no levels.
    pub delimiter: Option<char>,
    /// Further data, as they came.
    pub extensions: IString<'i>,
}

/// `QUOTA` (RFC 9208): what a quota root holds and may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota<'i> {
    /// The quota root's name.
    pub root: IString<'i>,
    /// Its resources.
    pub resources: LazyList<'i, QuotaResource<'i>>,
}

/// One resource of a quota root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaResource<'i> {
    /// `STORAGE` (in units of 1024 octets), `MESSAGE`, `MAILBOX`, or another.
    pub name: IString<'i>,
    /// What is used.
    pub usage: u64,
    /// What may be used.
    pub limit: u64,
}

/// `QUOTAROOT` (RFC 9208): the quota roots that a mailbox counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaRoot<'i> {
    /// The mailbox's name, as it came.
    pub mailbox: IString<'i>,
    /// The quota roots.
    pub roots: LazyList<'i, IString<'i>>,
}

impl Sealed for MailboxAttribute<'_> {}
impl Sealed for ExtendedItem<'_> {}
impl Sealed for StatusItem<'_> {}
impl Sealed for Namespace<'_> {}
impl Sealed for QuotaResource<'_> {}
impl Sealed for IString<'_> {}
