//! Collects the results of a search, whether they arrive in one event or in pieces, up to a limit.

use alloc::vec::Vec;
use core::fmt;

use proto_mail::error::ErrorDetails;

use super::event::Event;
use crate::types::{NumberRange, Numbers, SearchPiece, SearchReturnData, ThreadItem, Threads, Untagged};

/// Collects the messages that a SEARCH, UID SEARCH, SORT, UID SORT or ESEARCH command finds.
///
/// ```
/// use proto_imap::client::{Event, SearchCollector};
/// use proto_imap::types::{NumberRange, Numbers, SearchPiece, SearchReturnData};
///
/// let mut found = SearchCollector::new(1_000_000);
/// for numbers in [[NumberRange::new(7, 7)], [NumberRange::new(8, 9)]] {
///     let piece = SearchPiece::Result(SearchReturnData::All(Numbers::new(&numbers)));
///     assert!(found.take(&Event::SearchPiece(piece))?);
/// }
/// // After Event::Completed:
/// assert_eq!(found.numbers().iter().collect::<Vec<_>>(), [7, 8, 9]);
/// # Ok::<(), proto_imap::client::TooManyResults>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchCollector {
    limit: usize,
    ranges: Vec<NumberRange>,
    min: Option<u32>,
    max: Option<u32>,
    count: Option<u32>,
    mod_sequence: Option<u64>,
}

/// A search has found more than the limit of its collector. What was collected before is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyResults {
    /// The limit.
    pub limit: usize,
}

impl fmt::Display for TooManyResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the search has more than {} results: search for fewer messages", self.limit)
    }
}

impl core::error::Error for TooManyResults {}

impl ErrorDetails for TooManyResults {}

impl SearchCollector {
    /// Creates a collector that stores at most this many ranges of numbers, of 8 bytes each. Consecutive numbers are one
    /// range.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, ranges: Vec::new(), min: None, max: None, count: None, mod_sequence: None }
    }

    /// Takes the results in an event. Returns whether it has some, or belongs to a response with some. ADDTO and
    /// REMOVEFROM, RELEVANCY and unknown results are not collected.
    ///
    /// # Errors
    /// [`TooManyResults`]: the event's numbers were collected up to the limit.
    pub fn take(&mut self, event: &Event<'_>) -> Result<bool, TooManyResults> {
        match event {
            Event::Data(Untagged::Search(found) | Untagged::Sort(found)) => {
                self.mod_sequence = found.mod_sequence.or(self.mod_sequence);
                self.add(found.numbers)?;
            }
            Event::Data(Untagged::Esearch(found)) => {
                let mut has_some = found.results.is_empty();
                for result in found.results {
                    has_some |= self.result(&result)?;
                }
                return Ok(has_some);
            }
            Event::SearchPiece(SearchPiece::Result(result)) => return self.result(result),
            Event::SearchStart(_) | Event::SearchEnd => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn result(&mut self, result: &SearchReturnData<'_>) -> Result<bool, TooManyResults> {
        match *result {
            SearchReturnData::Min(value) => self.min = Some(value),
            SearchReturnData::Max(value) => self.max = Some(value),
            SearchReturnData::Count(value) => self.count = Some(value),
            SearchReturnData::ModSeq(value) => self.mod_sequence = Some(value),
            SearchReturnData::All(numbers) | SearchReturnData::Partial { numbers, .. } => {
                self.add(numbers)?
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn add(&mut self, numbers: Numbers<'_>) -> Result<(), TooManyResults> {
        for range in numbers.ranges() {
            let is_full = self.ranges.len() >= self.limit;
            match self.ranges.last_mut() {
                Some(last) if last.last().checked_add(1) == Some(range.first()) => {
                    *last = NumberRange::new(last.first(), range.last());
                }
                _ if is_full => return Err(TooManyResults { limit: self.limit }),
                _ => self.ranges.push(range),
            }
        }
        Ok(())
    }

    /// Returns the numbers of ALL and PARTIAL, or of the SEARCH or SORT response, in the order of the result.
    #[must_use]
    pub fn numbers(&self) -> Numbers<'_> {
        Numbers::new(&self.ranges)
    }

    /// Returns MIN.
    #[must_use]
    pub const fn min(&self) -> Option<u32> {
        self.min
    }

    /// Returns MAX.
    #[must_use]
    pub const fn max(&self) -> Option<u32> {
        self.max
    }

    /// Returns COUNT.
    #[must_use]
    pub const fn count(&self) -> Option<u32> {
        self.count
    }

    /// Returns MODSEQ (RFC 7162).
    #[must_use]
    pub const fn mod_sequence(&self) -> Option<u64> {
        self.mod_sequence
    }
}

/// Collects the threads that a THREAD or UID THREAD command finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadCollector {
    limit: usize,
    items: Vec<ThreadItem>,
}

impl ThreadCollector {
    /// Creates a collector that stores at most this many items of 8 bytes each: messages, and beginnings and ends of
    /// lists.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, items: Vec::new() }
    }

    /// Takes the threads in an event. Returns whether it has some, or belongs to a response to a search.
    ///
    /// # Errors
    /// [`TooManyResults`]: the event's items were collected up to the limit.
    pub fn take(&mut self, event: &Event<'_>) -> Result<bool, TooManyResults> {
        let threads = match event {
            Event::Data(Untagged::Thread(found)) => found.threads,
            Event::SearchPiece(SearchPiece::Threads(threads)) => *threads,
            Event::SearchStart(_) | Event::SearchEnd => return Ok(true),
            _ => return Ok(false),
        };
        for item in threads.items() {
            if self.items.len() >= self.limit {
                return Err(TooManyResults { limit: self.limit });
            }
            self.items.push(item);
        }
        Ok(true)
    }

    /// Returns the threads.
    #[must_use]
    pub fn threads(&self) -> Threads<'_> {
        Threads::new(&self.items)
    }
}
