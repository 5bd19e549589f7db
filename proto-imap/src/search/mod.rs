//! `SEARCH`: the command, and the SEARCH, SORT and ESEARCH responses (RFC 9051 §6.4.4, §7.3.4; RFC 4731, 5182, 5256,
//! 5267, 6203, 7162, 7377, 9394).

pub(crate) mod encode;
pub(crate) mod parse;
pub(crate) mod pieces;

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
    /// `RETURN`: the results to return as `ESEARCH`; an empty list means `ALL`. `None`: all messages, in a form that
    /// the server chooses.
    pub returns: Option<LazyList<'i, SearchReturnOption>>,
    /// The charset of the texts; `None` means US-ASCII, or UTF-8 if it is enabled.
    pub charset: Option<IString<'i>>,
    /// The search keys. A message must match all of them; at least one is required.
    pub keys: LazyList<'i, SearchKey<'i>>,
}

impl<'i> SearchCommand<'i> {
    /// Creates a search for the messages that match all of these keys.
    #[must_use]
    pub const fn new(keys: &'i [SearchKey<'i>]) -> Self {
        Self { returns: None, charset: None, keys: LazyList::new(keys) }
    }
}

/// `SEARCH` and `SORT`: the numbers of the messages found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchResponse<'i> {
    /// Sequence numbers or UIDs, depending on the command.
    pub numbers: Numbers<'i>,
    /// The greatest mod-sequence of the messages found (RFC 7162).
    pub mod_sequence: Option<u64>,
}

/// `ESEARCH`: the requested results of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EsearchResponse<'i> {
    /// The tag of the SEARCH command.
    pub tag: Option<IString<'i>>,
    /// The mailbox that was searched, if a command searches several (RFC 7377 §2.1).
    pub mailbox: Option<IString<'i>>,
    /// The UIDVALIDITY of that mailbox.
    pub uid_validity: Option<u32>,
    /// The kind of the numbers.
    pub number_kind: NumberKind,
    /// The results.
    pub results: LazyList<'i, SearchReturnData<'i>>,
}

/// The kind of numbers in a search's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberKind {
    /// Sequence numbers.
    SequenceNumbers,
    /// UIDs.
    Uids,
}

/// A result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchReturnData<'i> {
    /// `MIN`: the smallest number.
    Min(u32),
    /// `MAX`: the largest number.
    Max(u32),
    /// `ALL`: all numbers.
    All(Numbers<'i>),
    /// `COUNT`: the number of messages found.
    Count(u32),
    /// `MODSEQ`: the greatest mod-sequence (RFC 7162).
    ModSeq(u64),
    /// `PARTIAL`: a page of the result (RFC 9394).
    Partial {
        /// The page.
        page: PartialRange,
        /// The numbers on the page.
        numbers: Numbers<'i>,
    },
    /// `ADDTO`: these messages are new in the result of an earlier command with UPDATE (RFC 5267 §4.3.3). Apply the
    /// changes in order.
    AddTo(LazyList<'i, ContextChange<'i>>),
    /// `REMOVEFROM`: these messages are no longer in the result of an earlier command with UPDATE (RFC 5267 §4.3.4). Apply
    /// the changes in order.
    RemoveFrom(LazyList<'i, ContextChange<'i>>),
    /// `RELEVANCY`: how well each message of ALL or PARTIAL matches, in the same order (RFC 6203 §4).
    Relevancy(LazyList<'i, RelevancyScore>),
    /// Any other result. Its value is kept as received.
    Other {
        /// The result's name.
        name: IString<'i>,
        /// Its value.
        value: IString<'i>,
    },
}

impl Sealed for SearchReturnData<'_> {}

/// A change of a result: messages that are inserted or removed together (RFC 5267 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextChange<'i> {
    /// The position of the first message in the result, from 1: after the insertion, or before the removal. 0, which only
    /// results in mailbox order have: the messages are inserted in that order, or removed wherever they are.
    pub position: u32,
    /// The messages, in the order of the result.
    pub numbers: Numbers<'i>,
}

/// How well a message matches a search: from 1, the lowest, to 100 (RFC 6203 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelevancyScore(u8);

impl RelevancyScore {
    /// The highest score.
    pub const BEST: Self = Self(100);

    /// Creates a score; `None` if it is not between 1 and 100.
    #[must_use]
    pub const fn new(score: u8) -> Option<Self> {
        if matches!(score, 1..=100) { Some(Self(score)) } else { None }
    }

    /// Returns the score: 1 to 100.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl Sealed for ContextChange<'_> {}

impl Sealed for RelevancyScore {}

/// A result that a SEARCH returns (RFC 9051 `search-return-opt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchReturnOption {
    /// `MIN`: the smallest number.
    Min,
    /// `MAX`: the largest number.
    Max,
    /// `ALL`: all numbers.
    All,
    /// `COUNT`: the number of messages found.
    Count,
    /// `SAVE`: store the result as `$` (RFC 5182).
    Save,
    /// `PARTIAL`: a page of the result (RFC 9394).
    Partial(PartialRange),
    /// `UPDATE`: report changes of the result as ADDTO and REMOVEFROM, until CANCELUPDATE (RFC 5267 §4.3).
    Update,
    /// `CONTEXT`: similar searches will follow (RFC 5267).
    Context,
    /// `RELEVANCY`: how well each message matches (RFC 6203).
    Relevancy,
}

impl SearchReturnOption {
    /// Returns the option with this name, if it is a single word. Case is ignored.
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

    /// Returns the word on the wire.
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

plain!(NumberKind, SearchReturnOption, RelevancyScore);

owned_struct!(ContextChange { position, numbers });

owned_struct!(SearchCommand { returns, charset, keys });

owned_struct!(SearchResponse { numbers, mod_sequence });

owned_struct!(EsearchResponse { tag, mailbox, uid_validity, number_kind, results });

owned_enum!(SearchReturnData { Min(a), Max(a), All(a), Count(a), ModSeq(a), Partial { page, numbers }, AddTo(a), RemoveFrom(a), Relevancy(a), Other { name, value } });
