//! Why a searching command was rejected, and the check of its charset.

use proto_imap::search_query::SearchQueryError;
use proto_imap::types::{Condition, IString};

/// Why a searching command was rejected.
#[derive(Debug)]
pub(super) enum RejectedSearch {
    /// NO with the charsets that are supported; BAD if the command names a filter (RFC 5466 §3.1).
    Charset(Condition),
    /// BAD with LIMIT.
    Limit(SearchQueryError),
    /// NO with UNDEFINED-FILTER.
    UndefinedFilter(String),
    /// NO with LIMIT.
    TooManyFilters,
    /// BAD.
    Bad(String),
}

impl From<&'static str> for RejectedSearch {
    fn from(reason: &'static str) -> Self {
        Self::Bad(reason.to_owned())
    }
}

impl From<SearchQueryError> for RejectedSearch {
    fn from(error: SearchQueryError) -> Self {
        match error {
            SearchQueryError::TooLarge => Self::Limit(error),
            error => Self::Bad(error.to_string()),
        }
    }
}

/// Checks the charset of a searching command.
pub(super) fn check_charset(charset: IString<'_>) -> Result<(), RejectedSearch> {
    let known = [&b"UTF-8"[..], b"US-ASCII"];
    if known.iter().any(|one| charset.eq_ignore_ascii_case(one)) {
        Ok(())
    } else {
        Err(RejectedSearch::Charset(Condition::No))
    }
}
