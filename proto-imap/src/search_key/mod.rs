//! Search keys: the conditions of a SEARCH (RFC 9051 §6.4.4, RFC 5032, 6203, 7162, 8474, 8514).
//!
//! Keys that contain keys are views: a client gives references to its own, a server parses them out of the frame when it
//! iterates. Nothing here knows how to search.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::date_time::Date;
use crate::flags::Keyword;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{LazyList, LazyValue};
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::string::IString;
use crate::sequence_set::SequenceSet;

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
    /// `HEADER`: this text in that field of the header; an empty text: that field is there.
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
    /// `BEFORE`: the internal date is earlier than that day.
    Before(Date),
    /// `ON`: the internal date is that day.
    On(Date),
    /// `SINCE`: the internal date is that day or later.
    Since(Date),
    /// `SENTBEFORE`: the `Date:` field is earlier than that day.
    SentBefore(Date),
    /// `SENTON`: the `Date:` field is that day.
    SentOn(Date),
    /// `SENTSINCE`: the `Date:` field is that day or later.
    SentSince(Date),
    /// `SAVEDBEFORE`: came into the mailbox before that day (RFC 8514).
    SavedBefore(Date),
    /// `SAVEDON`: came into the mailbox on that day.
    SavedOn(Date),
    /// `SAVEDSINCE`: came into the mailbox on that day or later.
    SavedSince(Date),
    /// `SAVEDATESUPPORTED`: all messages, if the mailbox knows when they came.
    SaveDateSupported,
    /// `OLDER`: the internal date is at least this number of seconds ago (RFC 5032).
    Older(u32),
    /// `YOUNGER`: the internal date is less than this number of seconds ago.
    Younger(u32),
    /// `LARGER`: more bytes than that.
    Larger(u64),
    /// `SMALLER`: fewer bytes than that.
    Smaller(u64),
    /// `MODSEQ`: a mod-sequence of at least that (RFC 7162).
    ModSeq {
        /// Of this metadata item alone.
        entry: Option<ModSeqEntry<'i>>,
        /// The mod-sequence; below 2⁶³, may be 0.
        mod_sequence: u64,
    },
    /// `EMAILID` (RFC 8474)
    EmailId(IString<'i>),
    /// `THREADID` (RFC 8474)
    ThreadId(IString<'i>),
    /// `X-GM-RAW`: in the server's own words.
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
    /// `NOT`: does not meet this.
    Not(LazyValue<'i, Self>),
    /// `OR`: meets one of the two, or both.
    Or(LazyValue<'i, Self>, LazyValue<'i, Self>),
    /// `(…)`: meets all of these.
    And(LazyList<'i, Self>),
    /// `FUZZY`: meets this more or less (RFC 6203).
    Fuzzy(LazyValue<'i, Self>),
}

impl<'i> SearchKey<'i> {
    /// What does not meet `key`.
    #[must_use]
    pub const fn not(key: &'i Self) -> Self {
        Self::Not(LazyValue::new(key))
    }

    /// What meets one of the two, or both.
    #[must_use]
    pub const fn or(one: &'i Self, other: &'i Self) -> Self {
        Self::Or(LazyValue::new(one), LazyValue::new(other))
    }

    /// What meets all of these. Without any, it cannot be written.
    #[must_use]
    pub const fn and(keys: &'i [Self]) -> Self {
        Self::And(LazyList::new(keys))
    }
}

/// Whose mod-sequence is compared (RFC 7162 §3.1.5 `search-modseq-ext`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModSeqEntry<'i> {
    /// The metadata item: `/flags/\Seen`.
    pub name: IString<'i>,
    /// Which of its values.
    pub kind: EntryKind,
}

/// Which value of a metadata item (RFC 7162 `entry-type-req`).
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

owned_enum!(SearchKey { All, Answered, Deleted, Draft, Flagged, Seen, Recent, Unanswered, Undeleted, Undraft, Unflagged, Unseen, New, Old, Keyword(a), Unkeyword(a), Bcc(a), Cc(a), From(a), To(a), Subject(a), Header { name, text }, Body(a), Text(a), Before(a), On(a), Since(a), SentBefore(a), SentOn(a), SentSince(a), SavedBefore(a), SavedOn(a), SavedSince(a), SaveDateSupported, Older(a), Younger(a), Larger(a), Smaller(a), ModSeq { entry, mod_sequence }, EmailId(a), ThreadId(a), GmailRaw(a), GmailLabel(a), GmailMessageId(a), GmailThreadId(a), Sequence(a), Uid(a), Not(a), Or(a, b), And(a), Fuzzy(a) });

owned_struct!(ModSeqEntry { name, kind });
