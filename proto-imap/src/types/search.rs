//! Results of searches: SEARCH and ESEARCH (RFC 9051 §7.3.4, RFC 4731, 5267, 7162, 7377, 9394).

use super::number::{NumberRange, Numbers};
use super::string::IString;
use super::view::{LazyList, sealed::Sealed};

/// `SEARCH`: the numbers of the messages found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchResponse<'i> {
    /// Sequence numbers or UIDs, as was asked for.
    pub numbers: Numbers<'i>,
    /// The greatest mod-sequence of the messages found (RFC 7162).
    pub mod_sequence: Option<u64>,
}

/// `ESEARCH`: what was asked for about the messages found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EsearchResponse<'i> {
    /// The tag of the command that this answers.
    pub tag: Option<IString<'i>>,
    /// The mailbox that was searched, if a command searches several (RFC 7377 §2.1).
    pub mailbox: Option<IString<'i>>,
    /// The UIDVALIDITY of that mailbox.
    pub uid_validity: Option<u32>,
    /// What the numbers are.
    pub number_kind: NumberKind,
    /// The results.
    pub results: LazyList<'i, SearchReturnData<'i>>,
}

/// What the numbers of a search's result are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberKind {
    /// Sequence numbers.
    SequenceNumbers,
    /// UIDs.
    Uids,
}

/// One result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchReturnData<'i> {
    /// `MIN`: the least number.
    Min(u32),
    /// `MAX`: the greatest number.
    Max(u32),
    /// `ALL`: the numbers.
    All(Numbers<'i>),
    /// `COUNT`: how many were found.
    Count(u32),
    /// `MODSEQ`: the greatest mod-sequence (RFC 7162).
    ModSeq(u64),
    /// `PARTIAL`: a page of the result (RFC 9394).
    Partial {
        /// Which page.
        page: PartialRange,
        /// The numbers in it.
        numbers: Numbers<'i>,
    },
    /// Any other, its value as it came.
    Other {
        /// The result's name.
        name: IString<'i>,
        /// Its value.
        value: IString<'i>,
    },
}

/// A page of a search's result (RFC 9394 `partial-range`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartialRange {
    /// `1:500`: counted from the first result.
    FromFirst(NumberRange),
    /// `-1:-500`: counted from the last result.
    FromLast(NumberRange),
}

impl Sealed for SearchReturnData<'_> {}
