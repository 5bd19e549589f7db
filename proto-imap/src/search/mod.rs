//! `SEARCH`: the command, and the SEARCH, SORT and ESEARCH responses (RFC 9051 §6.4.4, §7.3.4; RFC 4731, 5182, 5267, 6203, 7162, 7377, 9394).

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::string::IString;
use crate::numbers::Numbers;
use crate::partial_range::PartialRange;
use crate::search_key::SearchKey;

/// `SEARCH` and `UID SEARCH` (RFC 9051 §6.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchCommand<'i> {
    /// `RETURN`: what to return, as `ESEARCH`; if the list is empty, all. `None`: all, and the server chooses how.
    pub returns: Option<LazyList<'i, SearchReturnOption>>,
    /// The charset of the texts. `None`: US-ASCII, or UTF-8 where that is enabled.
    pub charset: Option<IString<'i>>,
    /// What a message must meet: all of these. At least one.
    pub keys: LazyList<'i, SearchKey<'i>>,
}

impl<'i> SearchCommand<'i> {
    /// The messages that meet all of these.
    #[must_use]
    pub const fn new(keys: &'i [SearchKey<'i>]) -> Self {
        Self { returns: None, charset: None, keys: LazyList::new(keys) }
    }
}

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

impl Sealed for SearchReturnData<'_> {}

/// What a SEARCH returns (RFC 9051 `search-return-opt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchReturnOption {
    /// `MIN`: the least number.
    Min,
    /// `MAX`: the greatest number.
    Max,
    /// `ALL`: all numbers.
    All,
    /// `COUNT`: how many.
    Count,
    /// `SAVE`: keep the result as `$` (RFC 5182).
    Save,
    /// `PARTIAL`: a page of the result (RFC 9394).
    Partial(PartialRange),
    /// `UPDATE`: tell of changes (RFC 5267).
    Update,
    /// `CONTEXT`: more like this will follow (RFC 5267).
    Context,
    /// `RELEVANCY`: how well each message fits (RFC 6203).
    Relevancy,
}

impl SearchReturnOption {
    /// The one that is a single word, and written so in any case.
    pub(crate) fn from_wire(word: &[u8]) -> Option<Self> {
        let all = [
            Self::Min,
            Self::Max,
            Self::All,
            Self::Count,
            Self::Save,
            Self::Update,
            Self::Context,
            Self::Relevancy,
        ];
        all.into_iter().find(|one| word.eq_ignore_ascii_case(one.as_str().as_bytes()))
    }

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::All => "ALL",
            Self::Count => "COUNT",
            Self::Save => "SAVE",
            Self::Partial(_) => "PARTIAL",
            Self::Update => "UPDATE",
            Self::Context => "CONTEXT",
            Self::Relevancy => "RELEVANCY",
        }
    }
}

impl Sealed for SearchReturnOption {}

plain!(NumberKind, SearchReturnOption);

owned_struct!(SearchCommand { returns, charset, keys });

owned_struct!(SearchResponse { numbers, mod_sequence });

owned_struct!(EsearchResponse { tag, mailbox, uid_validity, number_kind, results });

owned_enum!(SearchReturnData { Min(a), Max(a), All(a), Count(a), ModSeq(a), Partial { page, numbers }, Other { name, value } });
