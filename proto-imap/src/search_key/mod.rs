//! Search keys: the conditions of a SEARCH (RFC 9051 §6.4.4, RFC 5032, 5466, 6203, 7162, 8474, 8514).
//!
//! Keys that contain keys are views. A client provides references to its own keys; a server parses them from the
//! frame when it iterates. This module does not execute searches.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::date_time::Date;
use crate::flags::Keyword;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{LazyList, LazyValue};
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::string::IString;
use crate::sequence_set::SequenceSet;

/// A text that is not a list of search keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSearchKeys {
    /// The offset in bytes where the text stops being one.
    pub offset: usize,
}

impl core::fmt::Display for InvalidSearchKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "not a search key at byte {}", self.offset)
    }
}

impl core::error::Error for InvalidSearchKeys {}

/// One condition that a message must meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchKey<'i> {
    /// `ALL`: every message.
    All,
    /// `ANSWERED`: with this flag.
    Answered,
    /// `DELETED`: with this flag.
    Deleted,
    /// `DRAFT`: with this flag.
    Draft,
    /// `FLAGGED`: with this flag.
    Flagged,
    /// `SEEN`: with this flag.
    Seen,
    /// `RECENT`: with this flag (RFC 3501).
    Recent,
    /// `UNANSWERED`: without this flag.
    Unanswered,
    /// `UNDELETED`: without this flag.
    Undeleted,
    /// `UNDRAFT`: without this flag.
    Undraft,
    /// `UNFLAGGED`: without this flag.
    Unflagged,
    /// `UNSEEN`: without this flag.
    Unseen,
    /// `NEW`: recent and not seen (RFC 3501).
    New,
    /// `OLD`: not recent (RFC 3501).
    Old,
    /// `KEYWORD`: with this keyword.
    Keyword(Keyword<'i>),
    /// `UNKEYWORD`: without this keyword.
    Unkeyword(Keyword<'i>),
    /// `BCC`: this text in the envelope's field.
    Bcc(IString<'i>),
    /// `CC`: this text in the envelope's field.
    Cc(IString<'i>),
    /// `FROM`: this text in the envelope's field.
    From(IString<'i>),
    /// `TO`: this text in the envelope's field.
    To(IString<'i>),
    /// `SUBJECT`: this text in the envelope's field.
    Subject(IString<'i>),
    /// `HEADER`: the header field contains this text. An empty text matches if the field exists.
    Header {
        /// The field's name.
        name: IString<'i>,
        /// The text.
        text: IString<'i>,
    },
    /// `BODY`: this text in the body.
    Body(IString<'i>),
    /// `TEXT`: this text in the header or the body.
    Text(IString<'i>),
    /// `BEFORE`: the internal date is earlier than this day.
    Before(Date),
    /// `ON`: the internal date is this day.
    On(Date),
    /// `SINCE`: the internal date is this day or later.
    Since(Date),
    /// `SENTBEFORE`: the `Date:` field is earlier than this day.
    SentBefore(Date),
    /// `SENTON`: the `Date:` field is this day.
    SentOn(Date),
    /// `SENTSINCE`: the `Date:` field is this day or later.
    SentSince(Date),
    /// `SAVEDBEFORE`: saved in the mailbox before this day (RFC 8514).
    SavedBefore(Date),
    /// `SAVEDON`: saved in the mailbox on this day.
    SavedOn(Date),
    /// `SAVEDSINCE`: saved in the mailbox on this day or later.
    SavedSince(Date),
    /// `SAVEDATESUPPORTED`: all messages, if the mailbox stores save dates.
    SaveDateSupported,
    /// `OLDER`: the internal date is at least this number of seconds ago (RFC 5032).
    Older(u32),
    /// `YOUNGER`: the internal date is less than this number of seconds ago.
    Younger(u32),
    /// `LARGER`: more bytes than this.
    Larger(u64),
    /// `SMALLER`: fewer bytes than this.
    Smaller(u64),
    /// `MODSEQ`: a mod-sequence of at least this value (RFC 7162).
    ModSeq {
        /// The metadata item; `None` means any.
        entry: Option<ModSeqEntry<'i>>,
        /// The mod-sequence; below 2⁶³, may be 0.
        mod_sequence: u64,
    },
    /// `EMAILID` (RFC 8474)
    EmailId(IString<'i>),
    /// `THREADID` (RFC 8474)
    ThreadId(IString<'i>),
    /// `X-GM-RAW`: a search in Gmail's own syntax.
    GmailRaw(IString<'i>),
    /// `X-GM-LABELS`: with this label.
    GmailLabel(IString<'i>),
    /// `X-GM-MSGID`
    GmailMessageId(u64),
    /// `X-GM-THRID`
    GmailThreadId(u64),
    /// A sequence set: these sequence numbers, even in a UID SEARCH.
    Sequence(SequenceSet<'i>),
    /// `UID`: these UIDs.
    Uid(SequenceSet<'i>),
    /// `NOT`: does not match this key.
    Not(LazyValue<'i, Self>),
    /// `OR`: matches one of the two keys, or both.
    Or(LazyValue<'i, Self>, LazyValue<'i, Self>),
    /// `(…)`: matches all of these keys.
    And(LazyList<'i, Self>),
    /// `FUZZY`: matches this key approximately (RFC 6203).
    Fuzzy(LazyValue<'i, Self>),
    /// `FILTER`: matches the stored filter of this name (RFC 5466): an atom without `/`.
    Filter(IString<'i>),
}

impl<'i> SearchKey<'i> {
    /// Creates a key for the messages that do not match `key`.
    #[must_use]
    pub const fn not(key: &'i Self) -> Self {
        Self::Not(LazyValue::new(key))
    }

    /// Creates a key for the messages that match one of the two keys, or both.
    #[must_use]
    pub const fn or(one: &'i Self, other: &'i Self) -> Self {
        Self::Or(LazyValue::new(one), LazyValue::new(other))
    }

    /// Creates a key for the messages that match all of these keys. Without any key, it cannot be written.
    #[must_use]
    pub const fn and(keys: &'i [Self]) -> Self {
        Self::And(LazyList::new(keys))
    }
}

/// The metadata item whose mod-sequence is compared (RFC 7162 §3.1.5 `search-modseq-ext`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModSeqEntry<'i> {
    /// The item's name: `/flags/\Seen`.
    pub name: IString<'i>,
    /// The value of the item.
    pub kind: EntryKind,
}

/// A value of a metadata item (RFC 7162 `entry-type-req`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// `priv`
    Private,
    /// `shared`
    Shared,
    /// `all`
    All,
}

impl Sealed for SearchKey<'_> {}

plain!(EntryKind);

owned_enum!(SearchKey { All, Answered, Deleted, Draft, Flagged, Seen, Recent, Unanswered, Undeleted, Undraft, Unflagged, Unseen, New, Old, Keyword(a), Unkeyword(a), Bcc(a), Cc(a), From(a), To(a), Subject(a), Header { name, text }, Body(a), Text(a), Before(a), On(a), Since(a), SentBefore(a), SentOn(a), SentSince(a), SavedBefore(a), SavedOn(a), SavedSince(a), SaveDateSupported, Older(a), Younger(a), Larger(a), Smaller(a), ModSeq { entry, mod_sequence }, EmailId(a), ThreadId(a), GmailRaw(a), GmailLabel(a), GmailMessageId(a), GmailThreadId(a), Sequence(a), Uid(a), Not(a), Or(a, b), And(a), Fuzzy(a), Filter(a) });

owned_struct!(ModSeqEntry { name, kind });
