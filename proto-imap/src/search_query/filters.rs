//! Searches that the user has stored under names: FILTER (RFC 5466).

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::types::{InvalidSearchKeys, LazyList, SearchKey};

/// The stored searches that a command names, directly or in one of them.
///
/// ```
/// use proto_imap::search_query::SearchFilters;
/// use proto_imap::types::SearchKey;
///
/// let keys = SearchKey::parse_list("UNSEEN FILTER work")?;
/// let mut filters = SearchFilters::default();
/// while let Some(name) = filters.next_undefined(keys)? {
///     // A server reads the entry /private/filters/values/work.
///     assert_eq!(name, "work");
///     filters.define(&name, "OR FROM boss SUBJECT work")?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchFilters(BTreeMap<String, String>);

/// A search names filters that cannot be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterError {
    /// This filter is nested deeper than [`SearchFilters::PASSES`], or in itself. The server answers as if it did not exist:
    /// `NO [UNDEFINED-FILTER name]`.
    TooDeep(String),
    /// There are more than [`SearchFilters::MAX_FILTERS`] filters, or more than [`SearchFilters::MAX_KEYS`] keys in them. The
    /// server answers NO with `LIMIT`.
    TooMany,
}

impl core::fmt::Display for FilterError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooDeep(name) => write!(f, "the filter {name} is nested too deeply"),
            Self::TooMany => f.write_str("too many filters"),
        }
    }
}

impl core::error::Error for FilterError {}

impl SearchFilters {
    /// The number of times that a filter is inserted into another one. The RFC demands 3.
    pub const PASSES: usize = 4;

    /// The most filters of one search.
    pub const MAX_FILTERS: usize = 16;

    /// The most keys of one search, with those of its filters.
    pub const MAX_KEYS: usize = 1_000;

    /// Returns whether a key is FILTER.
    #[must_use]
    pub fn are_used(keys: LazyList<'_, SearchKey<'_>>) -> bool {
        matches!(Self::default().next_undefined(keys), Ok(Some(_)))
    }

    /// Returns the name of the next filter that a search needs, in lower case; `None` once all of them are defined.
    ///
    /// # Errors
    /// [`FilterError`]
    pub fn next_undefined(&self, keys: LazyList<'_, SearchKey<'_>>) -> Result<Option<String>, FilterError> {
        let mut left = Self::MAX_KEYS;
        self.find(keys, 0, &mut left)
    }

    /// Defines a filter. Its name has no differences of case.
    ///
    /// # Errors
    /// The text is not a list of search keys, so the filter is not usable.
    pub fn define(&mut self, name: &str, criteria: &str) -> Result<(), InvalidSearchKeys> {
        SearchKey::parse_list(criteria)?;
        self.0.insert(name.to_ascii_lowercase(), criteria.to_owned());
        Ok(())
    }

    /// Returns the keys of a filter.
    #[must_use]
    pub fn keys(&self, name: &str) -> Option<LazyList<'_, SearchKey<'_>>> {
        SearchKey::parse_list(self.0.get(&name.to_ascii_lowercase())?).ok()
    }

    fn find(
        &self,
        keys: LazyList<'_, SearchKey<'_>>,
        depth: usize,
        left: &mut usize,
    ) -> Result<Option<String>, FilterError> {
        for key in keys.iter() {
            if let Some(name) = self.find_in(key, depth, left)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// The parser limits how deep keys are nested.
    fn find_in(
        &self,
        key: SearchKey<'_>,
        depth: usize,
        left: &mut usize,
    ) -> Result<Option<String>, FilterError> {
        *left = left.checked_sub(1).ok_or(FilterError::TooMany)?;
        let mut inner = |key: Option<SearchKey<'_>>| match key {
            Some(key) => self.find_in(key, depth, left),
            None => Ok(None),
        };
        match key {
            SearchKey::Not(key) | SearchKey::Fuzzy(key) => inner(key.view()),
            SearchKey::Or(one, other) => match inner(one.view())? {
                None => inner(other.view()),
                found => Ok(found),
            },
            SearchKey::And(keys) => self.find(keys, depth, left),
            SearchKey::Filter(name) => {
                let name = name.to_str_lossy().to_ascii_lowercase();
                match self.keys(&name) {
                    _ if depth >= Self::PASSES => Err(FilterError::TooDeep(name)),
                    Some(keys) => self.find(keys, depth + 1, left),
                    None if self.0.len() >= Self::MAX_FILTERS => Err(FilterError::TooMany),
                    None => Ok(Some(name)),
                }
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    /// Defines what a search needs from these filters.
    fn load(search: &str, stored: &[(&str, &str)]) -> Result<SearchFilters, FilterError> {
        let keys = SearchKey::parse_list(search).unwrap();
        let mut filters = SearchFilters::default();
        while let Some(name) = filters.next_undefined(keys)? {
            let (_, criteria) = stored.iter().find(|(one, _)| *one == name).unwrap();
            filters.define(&name, criteria).unwrap();
        }
        Ok(filters)
    }

    #[test]
    fn inserts_filters_into_filters() {
        let stored =
            [("a", "NOT FILTER b"), ("b", "OR FILTER c SEEN"), ("c", "(FUZZY FILTER d)"), ("d", "DRAFT")];
        let filters = load("FLAGGED FILTER A FILTER d", &stored).unwrap();
        assert_eq!(filters.0.len(), 4);
        assert!(filters.keys("D").is_some() && filters.keys("e").is_none());
        let deeper =
            [("a", "FILTER b"), ("b", "FILTER c"), ("c", "FILTER d"), ("d", "FILTER e"), ("e", "ALL")];
        assert_eq!(load("FILTER a", &deeper), Err(FilterError::TooDeep("e".to_owned())));
        assert!(load("FILTER b", &deeper).is_ok());
    }

    #[test]
    fn refuses_loops_and_filters_that_grow() {
        let too_deep = |name: &str| Err(FilterError::TooDeep(name.to_owned()));
        assert_eq!(load("FILTER a", &[("a", "SEEN FILTER a")]), too_deep("a"));
        assert_eq!(load("FILTER a", &[("a", "FILTER b"), ("b", "FILTER a")]), too_deep("a"));
        let tenfold = |name: &str| format!("FILTER {name} ").repeat(10).trim().to_owned();
        let stored = [("a", &*tenfold("b")), ("b", &*tenfold("c")), ("c", &*tenfold("d")), ("d", "ALL")];
        assert_eq!(load("FILTER a", &stored), Err(FilterError::TooMany));
        let many: Vec<String> = (0..17).map(|number| format!("f{number}")).collect();
        let stored: Vec<(&str, &str)> = many.iter().map(|name| (&**name, "ALL")).collect();
        let search = format!("FILTER {}", many.join(" FILTER "));
        assert_eq!(load(&search, &stored), Err(FilterError::TooMany));
        assert!(SearchFilters::default().define("a", "OR SMALLER").is_err());
    }
}
