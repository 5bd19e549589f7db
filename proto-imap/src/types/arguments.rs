//! What the commands take (RFC 9051 §6 "Arguments"): one type for each command that takes more than one thing.
//!
//! `Uid…` commands take the same as those without; only what the numbers mean differs. Fields are public: build them
//! with the constructors, then set what is optional. This file doesn't know how they are written.

use core::num::NonZeroU32;

use super::date::DateTime;
use super::fetch_attribute::FetchAttribute;
use super::flag::FlagList;
use super::mailbox::{ListPattern, MailboxName};
use super::mailbox_data::MailboxAttribute;
use super::search::PartialRange;
use super::search_key::{SearchKey, SearchReturnOption};
use super::sequence::SequenceSet;
use super::string::IString;
use super::view::{self, sealed::Sealed};

/// `SELECT` and `EXAMINE` (RFC 9051 §6.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectCommand<'i> {
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// What else is wanted.
    pub parameters: view::LazyList<'i, SelectParameter<'i>>,
}

/// A parameter of SELECT (RFC 4466 `select-param`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SelectParameter<'i> {
    /// `CONDSTORE`: tell of mod-sequences from now on (RFC 7162 §3.1.8).
    CondStore,
    /// `QRESYNC`: tell what has changed since then (RFC 7162 §3.2.5).
    QResync(QResync<'i>),
}

/// What a client knows of a mailbox from an earlier session (RFC 7162 §3.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QResync<'i> {
    /// UIDVALIDITY.
    pub uid_validity: NonZeroU32,
    /// The greatest mod-sequence. Not 0, below 2⁶³.
    pub mod_sequence: u64,
    /// The UIDs that it knows, without `*`; `None`: all that are possible.
    pub known_uids: Option<SequenceSet<'i>>,
    /// Some sequence numbers, and the UIDs that they belonged to, without `*`.
    pub known_pairs: Option<(SequenceSet<'i>, SequenceSet<'i>)>,
}

/// `CREATE` (RFC 9051 §6.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateCommand<'i> {
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// What it is for (`USE`, RFC 6154 §3).
    pub special_use: view::LazyList<'i, MailboxAttribute<'i>>,
}

/// `RENAME` (RFC 9051 §6.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenameCommand<'i> {
    /// The name that the mailbox has.
    pub from: MailboxName<'i>,
    /// The name that it shall have.
    pub to: MailboxName<'i>,
}

/// `LIST` (RFC 9051 §6.3.9, RFC 5258).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListCommand<'i> {
    /// Which mailboxes. Without any: those that there are.
    pub selection: view::LazyList<'i, ListSelection>,
    /// Where patterns begin.
    pub reference: MailboxName<'i>,
    /// What names they have. At least one.
    pub patterns: view::LazyList<'i, ListPattern<'i>>,
    /// What to tell of each.
    pub returns: view::LazyList<'i, ListReturn<'i>>,
}

/// Which mailboxes a LIST selects (RFC 5258 `list-select-opt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListSelection {
    /// `SUBSCRIBED`: those subscribed to.
    Subscribed,
    /// `REMOTE`: also those on other servers.
    Remote,
    /// `RECURSIVEMATCH`: also those whose descendants are selected. Only with another one.
    RecursiveMatch,
    /// `SPECIAL-USE`: those that have a use (RFC 6154).
    SpecialUse,
}

/// What a LIST returns (RFC 5258 `return-option`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListReturn<'i> {
    /// `SUBSCRIBED`: whether it is subscribed to.
    Subscribed,
    /// `CHILDREN`: whether it has children.
    Children,
    /// `SPECIAL-USE`: what it is for (RFC 6154).
    SpecialUse,
    /// `STATUS`: some figures of it (RFC 5819).
    Status(view::LazyList<'i, StatusAttribute>),
    /// `MYRIGHTS`: what the user may do (RFC 8440).
    MyRights,
}

/// `LSUB` (RFC 3501 §6.3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LsubCommand<'i> {
    /// Where the pattern begins.
    pub reference: MailboxName<'i>,
    /// What names they have.
    pub pattern: ListPattern<'i>,
}

/// `STATUS` (RFC 9051 §6.3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusCommand<'i> {
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// Which figures. At least one.
    pub attributes: view::LazyList<'i, StatusAttribute>,
}

/// A figure of a mailbox. Each is answered by the [`StatusItem`](super::StatusItem) of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusAttribute {
    /// `MESSAGES`
    Messages,
    /// `RECENT` (RFC 3501)
    Recent,
    /// `UIDNEXT`
    UidNext,
    /// `UIDVALIDITY`
    UidValidity,
    /// `UNSEEN`
    Unseen,
    /// `DELETED`
    Deleted,
    /// `SIZE`
    Size,
    /// `HIGHESTMODSEQ` (RFC 7162)
    HighestModSeq,
    /// `APPENDLIMIT` (RFC 7889)
    AppendLimit,
    /// `DELETED-STORAGE` (RFC 9208)
    DeletedStorage,
    /// `MAILBOXID` (RFC 8474)
    MailboxId,
}

/// `APPEND` (RFC 9051 §6.3.12): what stands before the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendCommand<'i> {
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// The message's flags.
    pub flags: FlagList<'i>,
    /// The message's internal date; `None`: now.
    pub date: Option<DateTime>,
}

/// `SEARCH` and `UID SEARCH` (RFC 9051 §6.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchCommand<'i> {
    /// `RETURN`: what to return, as `ESEARCH`; if the list is empty, all. `None`: all, and the server chooses how.
    pub returns: Option<view::LazyList<'i, SearchReturnOption>>,
    /// The charset of the texts. `None`: US-ASCII, or UTF-8 where that is enabled.
    pub charset: Option<IString<'i>>,
    /// What a message must meet: all of these. At least one.
    pub keys: view::LazyList<'i, SearchKey<'i>>,
}

/// `FETCH` and `UID FETCH` (RFC 9051 §6.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchCommand<'i> {
    /// Of which messages.
    pub messages: SequenceSet<'i>,
    /// What. At least one. Of a macro, what it stands for.
    pub attributes: view::LazyList<'i, FetchAttribute<'i>>,
    /// How.
    pub modifiers: view::LazyList<'i, FetchModifier>,
}

/// How to fetch (RFC 4466 `fetch-modifier`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchModifier {
    /// `CHANGEDSINCE`: only messages with a greater mod-sequence (RFC 7162 §3.1.4.1). Not 0, below 2⁶³.
    ChangedSince(u64),
    /// `VANISHED`: tell also which have gone since; only in UID FETCH with `CHANGEDSINCE` (RFC 7162 §3.2.6).
    Vanished,
    /// `PARTIAL`: only a page of them (RFC 9394).
    Partial(PartialRange),
}

/// `STORE` and `UID STORE` (RFC 9051 §6.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreCommand<'i> {
    /// Of which messages.
    pub messages: SequenceSet<'i>,
    /// Only where the mod-sequence is not greater (RFC 7162 §3.1.3). Below 2⁶³.
    pub unchanged_since: Option<u64>,
    /// What to do with the flags.
    pub action: StoreAction,
    /// Whether to tell the new flags.
    pub answer: StoreResponse,
    /// The flags.
    pub flags: FlagList<'i>,
}

/// What STORE does with the flags that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreAction {
    /// `FLAGS`: the message shall have these.
    Replace,
    /// `+FLAGS`: it shall have these too.
    Add,
    /// `-FLAGS`: it shall not have these.
    Remove,
}

/// Whether STORE tells what flags the messages have then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreResponse {
    /// It tells.
    Flags,
    /// `.SILENT`: it does not.
    Silent,
}

/// `COPY`, `UID COPY`, `MOVE` and `UID MOVE` (RFC 9051 §6.4.7, §6.4.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyCommand<'i> {
    /// Which messages.
    pub messages: SequenceSet<'i>,
    /// Where to.
    pub mailbox: MailboxName<'i>,
}

impl<'i> SelectCommand<'i> {
    /// A mailbox, and nothing else.
    #[must_use]
    pub const fn new(mailbox: MailboxName<'i>) -> Self {
        Self { mailbox, parameters: view::LazyList::EMPTY }
    }
}

impl<'i> CreateCommand<'i> {
    /// A mailbox for no special use.
    #[must_use]
    pub const fn new(mailbox: MailboxName<'i>) -> Self {
        Self { mailbox, special_use: view::LazyList::EMPTY }
    }
}

impl<'i> ListCommand<'i> {
    /// The mailboxes whose names are so.
    #[must_use]
    pub const fn new(patterns: &'i [ListPattern<'i>]) -> Self {
        Self {
            selection: view::LazyList::EMPTY,
            reference: MailboxName::new(""),
            patterns: view::LazyList::new(patterns),
            returns: view::LazyList::EMPTY,
        }
    }
}

impl<'i> AppendCommand<'i> {
    /// A message without flags, of now.
    #[must_use]
    pub const fn new(mailbox: MailboxName<'i>) -> Self {
        Self { mailbox, flags: FlagList::EMPTY, date: None }
    }
}

impl<'i> SearchCommand<'i> {
    /// The messages that meet all of these.
    #[must_use]
    pub const fn new(keys: &'i [SearchKey<'i>]) -> Self {
        Self { returns: None, charset: None, keys: view::LazyList::new(keys) }
    }
}

impl<'i> FetchCommand<'i> {
    /// These things of these messages.
    #[must_use]
    pub const fn new(messages: SequenceSet<'i>, attributes: view::LazyList<'i, FetchAttribute<'i>>) -> Self {
        Self { messages, attributes, modifiers: view::LazyList::EMPTY }
    }
}

impl<'i> StoreCommand<'i> {
    /// Does this with these flags, whatever the mod-sequence, and wants to be told.
    #[must_use]
    pub const fn new(messages: SequenceSet<'i>, action: StoreAction, flags: FlagList<'i>) -> Self {
        Self { messages, unchanged_since: None, action, answer: StoreResponse::Flags, flags }
    }
}

macro_rules! words {
    ($type:ty { $($name:ident = $text:literal,)* }) => {
        impl $type {
            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The one that is written so, in any case.
            pub(crate) fn from_wire(word: &[u8]) -> Option<Self> {
                $(if word.eq_ignore_ascii_case($text.as_bytes()) {
                    return Some(Self::$name);
                })*
                None
            }
        }
    };
}

words! { ListSelection {
    Subscribed = "SUBSCRIBED",
    Remote = "REMOTE",
    RecursiveMatch = "RECURSIVEMATCH",
    SpecialUse = "SPECIAL-USE",
} }

words! { StatusAttribute {
    Messages = "MESSAGES",
    Recent = "RECENT",
    UidNext = "UIDNEXT",
    UidValidity = "UIDVALIDITY",
    Unseen = "UNSEEN",
    Deleted = "DELETED",
    Size = "SIZE",
    HighestModSeq = "HIGHESTMODSEQ",
    AppendLimit = "APPENDLIMIT",
    DeletedStorage = "DELETED-STORAGE",
    MailboxId = "MAILBOXID",
} }

impl Sealed for SelectParameter<'_> {}
impl Sealed for ListSelection {}
impl Sealed for ListReturn<'_> {}
impl Sealed for ListPattern<'_> {}
impl Sealed for StatusAttribute {}
impl Sealed for FetchModifier {}
