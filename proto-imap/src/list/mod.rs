//! `LIST` and `LSUB`: the commands and their responses (RFC 9051 §6.3.9, §7.3.1; RFC 5258, 6154, 8457).
//!
//! Mailbox names in responses are strings as received; see [`MailboxName`](crate::types::MailboxName) for their
//! encoding.

pub(crate) mod encode;
pub(crate) mod parse;
pub(crate) mod pattern;

use crate::flags::Keyword;
use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::string::IString;
use crate::grammar::value::ExtendedItem;
use crate::grammar::words::words;
use crate::list::pattern::ListPattern;
use crate::mailbox_name::MailboxName;
use crate::status::StatusAttribute;
use core::fmt;

/// `LIST` (RFC 9051 §6.3.9, RFC 5258).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListCommand<'i> {
    /// The mailboxes to select. If empty, all that exist.
    pub selection: LazyList<'i, ListSelection>,
    /// The reference name, to which the patterns are relative.
    pub reference: MailboxName<'i>,
    /// The patterns, at least one.
    pub patterns: LazyList<'i, ListPattern<'i>>,
    /// The data to return for each mailbox.
    pub returns: LazyList<'i, ListReturn<'i>>,
}

/// The mailboxes that a LIST selects (RFC 5258 `list-select-opt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListSelection {
    /// `SUBSCRIBED`: subscribed mailboxes.
    Subscribed,
    /// `REMOTE`: also mailboxes on other servers.
    Remote,
    /// `RECURSIVEMATCH`: also mailboxes with selected descendants. Only together with another option.
    RecursiveMatch,
    /// `SPECIAL-USE`: mailboxes with a special use (RFC 6154).
    SpecialUse,
}

/// The data that a LIST returns for each mailbox (RFC 5258 `return-option`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListReturn<'i> {
    /// `SUBSCRIBED`: whether the mailbox is subscribed.
    Subscribed,
    /// `CHILDREN`: whether the mailbox has children.
    Children,
    /// `SPECIAL-USE`: the mailbox's special use (RFC 6154).
    SpecialUse,
    /// `STATUS`: some attributes of the mailbox (RFC 5819).
    Status(LazyList<'i, StatusAttribute>),
    /// `METADATA`: the values of these entries (RFC 9590).
    Metadata(LazyList<'i, IString<'i>>),
    /// `MYRIGHTS`: the user's rights (RFC 8440).
    MyRights,
}

/// `LSUB` (RFC 3501 §6.3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LsubCommand<'i> {
    /// The reference name, to which the pattern is relative.
    pub reference: MailboxName<'i>,
    /// The pattern.
    pub pattern: ListPattern<'i>,
}

impl<'i> ListCommand<'i> {
    /// Creates a LIST of the mailboxes that match these patterns.
    #[must_use]
    pub const fn new(patterns: &'i [ListPattern<'i>]) -> Self {
        Self {
            selection: LazyList::EMPTY,
            reference: MailboxName::new(""),
            patterns: LazyList::new(patterns),
            returns: LazyList::EMPTY,
        }
    }
}

words! { ListSelection {
    Subscribed = "SUBSCRIBED",
    Remote = "REMOTE",
    RecursiveMatch = "RECURSIVEMATCH",
    SpecialUse = "SPECIAL-USE",
} }

impl Sealed for ListSelection {}

impl Sealed for ListReturn<'_> {}

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
    /// `\NonExistent`: does not exist, but is subscribed or has children.
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
    /// `\Flagged`: all messages with this flag.
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

    /// Returns the attribute with this name, which includes the backslash. The grammar has checked its characters.
    pub(crate) fn from_wire(name: &'i [u8]) -> Self {
        let name = name.strip_prefix(b"\\").unwrap_or(name);
        let known = Self::KNOWN.into_iter().find(|known| known.name().eq_ignore_ascii_case(name));
        known.unwrap_or(Self::Other(Keyword::checked(name)))
    }

    /// Returns the name without its backslash.
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

    /// Returns whether the attribute is a special use (RFC 6154, RFC 8457).
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
    /// Returns whether `attribute` is in the list.
    #[must_use]
    pub fn contains(&self, attribute: MailboxAttribute<'_>) -> bool {
        self.iter().any(|one| one.name().eq_ignore_ascii_case(attribute.name()))
    }

    /// Returns each attribute once, even if the server repeats it.
    pub fn distinct(&self) -> impl Iterator<Item = MailboxAttribute<'i>> + use<'i> {
        let all = *self;
        self.iter()
            .enumerate()
            .filter(move |(index, one)| !all.iter().take(*index).any(|earlier| earlier == *one))
            .map(|(_, one)| one)
    }

    /// Returns the mailbox's special use, if the server lists one.
    #[must_use]
    pub fn special_use(&self) -> Option<MailboxAttribute<'i>> {
        self.iter().find(MailboxAttribute::is_special_use)
    }
}

/// A mailbox listed by `LIST`, `LSUB` or `XLIST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListResponse<'i> {
    /// The mailbox's attributes.
    pub attributes: LazyList<'i, MailboxAttribute<'i>>,
    /// The delimiter of the levels of its name; `None` if the name has no levels.
    pub delimiter: Option<char>,
    /// Its name, as received.
    pub mailbox: IString<'i>,
    /// Further data (RFC 5258 `mbox-list-extended`): `CHILDINFO`, `OLDNAME` and others.
    pub extended: LazyList<'i, ExtendedItem<'i>>,
}

impl Sealed for MailboxAttribute<'_> {}

plain!(ListSelection);

owned_struct!(ListCommand { selection, reference, patterns, returns });

owned_enum!(ListReturn { Subscribed, Children, SpecialUse, Status(a), Metadata(a), MyRights });

owned_struct!(LsubCommand { reference, pattern });

owned_enum!(MailboxAttribute { NoInferiors, NoSelect, HasChildren, HasNoChildren, Marked, Unmarked, NonExistent, Subscribed, Remote, All, Archive, Drafts, Flagged, Important, Junk, Sent, Trash, Other(a) });

owned_struct!(ListResponse { attributes, delimiter, mailbox, extended });
