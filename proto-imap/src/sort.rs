//! `SORT` and `UID SORT`, with return options: the command (RFC 5256 §3, RFC 5267 §3, RFC 5957, RFC 6203 §5).

use crate::grammar::MAX_DEPTH;
use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{Element, LazyList, known_word, one_or_more};
use crate::grammar::owned::{owned_struct, plain};
use crate::grammar::primitive::{sp, word};
use crate::grammar::string::IString;
use crate::grammar::string::parse::astring;
use crate::grammar::{Context, Parsed};
use crate::search::SearchReturnOption;
use crate::search::parse::search_return_opts;
use crate::search_key::SearchKey;
use crate::search_key::parse::search_program;

/// `SORT` and `UID SORT`: a search whose results are in an order that the client chooses (RFC 5256 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortCommand<'i> {
    /// `RETURN`: the results to return as `ESEARCH` (RFC 5267 §3); an empty list means `ALL`. `None`: all messages, as
    /// `SORT`.
    pub returns: Option<LazyList<'i, SearchReturnOption>>,
    /// The order: by the first criterion, among equals by the second, and so on; then by sequence number. At least one
    /// is required.
    pub criteria: LazyList<'i, SortCriterion>,
    /// The charset of the texts in the keys.
    pub charset: IString<'i>,
    /// The search keys. A message must match all of them; at least one is required.
    pub keys: LazyList<'i, SearchKey<'i>>,
}

impl<'i> SortCommand<'i> {
    /// Creates a command that sorts the messages that match all of these keys. The texts of the keys are UTF-8.
    #[must_use]
    pub const fn new(criteria: &'i [SortCriterion], keys: &'i [SearchKey<'i>]) -> Self {
        Self {
            returns: None,
            criteria: LazyList::new(criteria),
            charset: IString::new(b"UTF-8"),
            keys: LazyList::new(keys),
        }
    }
}

/// One criterion of an order (RFC 5256 `sort-criterion`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortCriterion {
    /// The attribute of the messages that is compared.
    pub key: SortKey,
    /// Whether lower or higher values come first.
    pub direction: SortDirection,
}

impl SortCriterion {
    /// Creates a criterion: lower values of `key` come first.
    #[must_use]
    pub const fn new(key: SortKey) -> Self {
        Self { key, direction: SortDirection::Ascending }
    }

    /// Creates a criterion: higher values of `key` come first (`REVERSE`).
    #[must_use]
    pub const fn reverse(key: SortKey) -> Self {
        Self { key, direction: SortDirection::Reverse }
    }
}

/// The direction of a [`SortCriterion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortDirection {
    /// Lower values come first.
    Ascending,
    /// `REVERSE`: higher values come first.
    Reverse,
}

macro_rules! sort_keys {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The attribute of messages by which they are sorted (RFC 5256 `sort-key`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum SortKey {
            $($(#[$doc])* $name,)*
        }

        impl SortKey {
            /// All keys.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

sort_keys! {
    /// `ARRIVAL`: the internal date and time.
    Arrival = "ARRIVAL",
    /// `CC`: the mailbox (local part) of the first address of the Cc field.
    Cc = "CC",
    /// `DATE`: the sent date (RFC 5256 §2.2).
    Date = "DATE",
    /// `DISPLAYFROM`: the display name of the first address of the From field (RFC 5957).
    DisplayFrom = "DISPLAYFROM",
    /// `DISPLAYTO`: the display name of the first address of the To field (RFC 5957).
    DisplayTo = "DISPLAYTO",
    /// `FROM`: the mailbox (local part) of the first address of the From field.
    From = "FROM",
    /// `RELEVANCY`: how well the message matches (RFC 6203 §5). More relevant messages come first.
    Relevancy = "RELEVANCY",
    /// `SIZE`: the size in bytes.
    Size = "SIZE",
    /// `SUBJECT`: the base subject (RFC 5256 §2.1).
    Subject = "SUBJECT",
    /// `TO`: the mailbox (local part) of the first address of the To field.
    To = "TO",
}

/// `sort = "SORT" [search-return-opts] SP sort-criteria SP search-criteria`, after the word and the space
pub(crate) fn sort<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SortCommand<'i>> {
    let (rest, returns) = search_return_opts(i, cx)?;
    let (rest, criteria) = one_or_more(rest, cx, sort_criterion)?;
    let (rest, (charset, keys)) = search_criteria(sp(rest, cx)?.0, cx)?;
    Ok((rest, SortCommand { returns, criteria, charset, keys }))
}

/// The arguments that SORT and THREAD share: the charset and the keys.
pub(crate) type SearchCriteria<'i> = (IString<'i>, LazyList<'i, SearchKey<'i>>);

/// `search-criteria = charset 1*(SP search-key)`
pub(crate) fn search_criteria<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SearchCriteria<'i>> {
    let (rest, charset) = astring(i, cx)?;
    let (rest, keys) = search_program(sp(rest, cx)?.0, cx)?;
    Ok((rest, (charset, keys)))
}

/// `sort-criterion = ["REVERSE" SP] sort-key`
fn sort_criterion<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SortCriterion> {
    let (rest, direction) = match word(i, b"REVERSE", "") {
        Ok((rest, ())) => (sp(rest, cx)?.0, SortDirection::Reverse),
        Err(_) => (i, SortDirection::Ascending),
    };
    let find = |word: &[u8]| {
        SortKey::ALL.iter().copied().find(|key| word.eq_ignore_ascii_case(key.as_str().as_bytes()))
    };
    let (rest, key) = known_word(rest, find, "a sort key")?;
    Ok((rest, SortCriterion { key, direction }))
}

impl Sealed for SortCriterion {}

impl<'i> Element<'i> for SortCriterion {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        sort_criterion(i, cx).ok()
    }
}

impl<S: CommandSink> Writer<'_, S> {
    /// `[search-return-opts] SP sort-criteria SP search-criteria`, after the word and the space
    pub(crate) fn sort(&mut self, sort: &SortCommand<'_>) -> Written {
        self.search_return_opts(sort.returns)?;
        self.one_or_more("list of sort criteria", sort.criteria, |writer, criterion| {
            if criterion.direction == SortDirection::Reverse {
                writer.put(b"REVERSE ");
            }
            writer.put(criterion.key.as_str().as_bytes());
            Ok(())
        })?;
        self.put(b" ");
        self.search_criteria((sort.charset, sort.keys))
    }

    /// `search-criteria = charset 1*(SP search-key)`
    pub(crate) fn search_criteria(&mut self, (charset, keys): SearchCriteria<'_>) -> Written {
        self.charset_name(charset)?;
        self.put(b" ");
        if self.separated(keys, |writer, key| writer.search_key(key, MAX_DEPTH))? == 0 {
            return fault("list of search keys", ArgumentFault::Empty);
        }
        Ok(())
    }
}

plain!(SortCriterion);

owned_struct!(SortCommand { returns, criteria, charset, keys });
