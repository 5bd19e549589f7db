//! The searches whose results a server keeps up to date at the client (RFC 5267 §4.3): what to send after a change.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::mem::{replace, take};

use proto_mail::error::ErrorDetails;

use crate::mailbox_view::UidBitmap;

/// The limits of the contexts of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContextLimits {
    /// The maximum number of contexts. The default is 16; RFC 5267 requires at least one.
    pub contexts: usize,
    /// The maximum number of messages in all sorted results together, of 4 bytes each. The default is 1,000,000. Results in
    /// mailbox order are compact and do not count.
    pub sorted: usize,
}

impl Default for ContextLimits {
    fn default() -> Self {
        Self { contexts: 16, sorted: 1_000_000 }
    }
}

/// Why the changes of a result are not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoContext {
    /// An earlier command with UPDATE has the same tag. The server answers BAD (RFC 5267 §4.3).
    TagInUse,
    /// A limit is reached. The server sends `NO [NOUPDATE "tag"]` and goes on (RFC 5267 §4.3.1).
    TooMany,
    /// There is no context with this tag.
    Unknown,
}

impl fmt::Display for NoContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TagInUse => "an earlier search has the same tag",
            Self::TooMany => "too many results are kept up to date: cancel one with CANCELUPDATE",
            Self::Unknown => "no search with this tag is kept up to date",
        })
    }
}

impl core::error::Error for NoContext {}

impl ErrorDetails for NoContext {}

/// The result of a search, as UIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextResult {
    /// In the order of the mailbox: SEARCH.
    MailboxOrder(UidBitmap),
    /// In another order: SORT. No UID occurs twice.
    Sorted(Vec<u32>),
}

impl ContextResult {
    const fn sorted_len(&self) -> usize {
        match self {
            Self::MailboxOrder(_) => 0,
            Self::Sorted(uids) => uids.len(),
        }
    }
}

/// Messages that are inserted into a result or removed from it together, in the order of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextRun {
    /// The position of the first one, from 1; 0 in results in mailbox order. See
    /// [`ContextChange`](crate::types::ContextChange).
    pub position: u32,
    /// Their UIDs.
    pub uids: Vec<u32>,
}

/// The difference between two results.
///
/// The server first sends `removed` as REMOVEFROM: for sequence numbers before the EXPUNGE responses, so that the numbers
/// are still valid. Then it sends `added` as ADDTO: for sequence numbers after EXISTS. Each list is in the order in which
/// the client applies it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContextDifference {
    /// The messages that are no longer in the result, or have another place.
    pub removed: Vec<ContextRun>,
    /// The messages that are new in the result, or have another place.
    pub added: Vec<ContextRun>,
}

impl ContextDifference {
    /// Returns whether nothing has changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }
}

/// The searches of one session with UPDATE, and the results that the client knows.
///
/// The server searches again after a change of the mailbox, and [`update`](Self::update) returns what to send. It clears the
/// contexts when the mailbox is closed.
///
/// ```
/// use proto_imap::search_query::{ContextLimits, ContextResult, SearchContexts};
/// let mut contexts = SearchContexts::new(ContextLimits::default());
/// contexts.open(b"B01", ContextResult::Sorted(vec![9, 4, 7]))?;
/// let change = contexts.update(b"B01", ContextResult::Sorted(vec![9, 12, 7]))?;
/// // REMOVEFROM (2 4), ADDTO (2 12)
/// assert_eq!((change.removed[0].position, &change.removed[0].uids[..]), (2, &[4][..]));
/// assert_eq!((change.added[0].position, &change.added[0].uids[..]), (2, &[12][..]));
/// # Ok::<(), proto_imap::search_query::NoContext>(())
/// ```
#[derive(Debug, Clone)]
pub struct SearchContexts {
    limits: ContextLimits,
    contexts: Vec<(Box<[u8]>, ContextResult)>,
}

impl SearchContexts {
    /// Creates an empty set.
    #[must_use]
    pub const fn new(limits: ContextLimits) -> Self {
        Self { limits, contexts: Vec::new() }
    }

    /// Checks whether a command with this tag may ask for UPDATE, before it is carried out.
    ///
    /// # Errors
    /// [`NoContext::TagInUse`]; [`NoContext::TooMany`] if there is no room for another context.
    pub fn check(&self, tag: &[u8]) -> Result<(), NoContext> {
        if self.position(tag).is_some() {
            return Err(NoContext::TagInUse);
        }
        if self.contexts.len() >= self.limits.contexts { Err(NoContext::TooMany) } else { Ok(()) }
    }

    /// Keeps the result that the client was sent.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`NoContext::TooMany`] also if the result is too large.
    pub fn open(&mut self, tag: &[u8], result: ContextResult) -> Result<(), NoContext> {
        self.check(tag)?;
        self.check_size(0, &result)?;
        self.contexts.push((tag.to_owned().into(), result));
        Ok(())
    }

    /// Ends the updates of this command (CANCELUPDATE). Returns whether there were any.
    pub fn cancel(&mut self, tag: &[u8]) -> bool {
        let position = self.position(tag);
        if let Some(position) = position {
            self.contexts.remove(position);
        }
        position.is_some()
    }

    /// Ends all updates: the mailbox is no longer selected.
    pub fn clear(&mut self) {
        self.contexts.clear();
    }

    /// Returns the tags of the commands whose results are kept, in their order.
    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.contexts.iter().map(|(tag, _)| &**tag)
    }

    /// Returns the result that the client knows.
    #[must_use]
    pub fn result(&self, tag: &[u8]) -> Option<&ContextResult> {
        self.contexts.get(self.position(tag)?).map(|(_, result)| result)
    }

    /// Replaces the result by a new one. Returns what to send to the client.
    ///
    /// # Errors
    /// [`NoContext::Unknown`]; [`NoContext::TooMany`] if the result is too large: the context was ended, and the server
    /// sends `NO [NOUPDATE "tag"]`.
    pub fn update(&mut self, tag: &[u8], result: ContextResult) -> Result<ContextDifference, NoContext> {
        let position = self.position(tag).ok_or(NoContext::Unknown)?;
        let before = self.contexts.get(position).map_or(0, |(_, result)| result.sorted_len());
        if let Err(error) = self.check_size(before, &result) {
            self.contexts.remove(position);
            return Err(error);
        }
        let Some((_, known)) = self.contexts.get_mut(position) else { return Err(NoContext::Unknown) };
        let difference = match (&*known, &result) {
            (ContextResult::MailboxOrder(old), ContextResult::MailboxOrder(new)) => unsorted(old, new),
            (ContextResult::Sorted(old), ContextResult::Sorted(new)) => sorted(old, new),
            // The order of a command does not change.
            _ => return Err(NoContext::Unknown),
        };
        *known = result;
        Ok(difference)
    }

    fn position(&self, tag: &[u8]) -> Option<usize> {
        self.contexts.iter().position(|(one, _)| **one == *tag)
    }

    /// Checks the size of a result that replaces one of `before` messages.
    fn check_size(&self, before: usize, result: &ContextResult) -> Result<(), NoContext> {
        let held: usize = self.contexts.iter().map(|(_, result)| result.sorted_len()).sum();
        let after = held.saturating_sub(before).saturating_add(result.sorted_len());
        if after > self.limits.sorted { Err(NoContext::TooMany) } else { Ok(()) }
    }
}

fn unsorted(old: &UidBitmap, new: &UidBitmap) -> ContextDifference {
    let run = |uids: UidBitmap| {
        let uids: Vec<u32> = uids.iter().collect();
        if uids.is_empty() { Vec::new() } else { Vec::from([ContextRun { position: 0, uids }]) }
    };
    ContextDifference { removed: run(old.difference(new)), added: run(new.difference(old)) }
}

/// Returns the fewest removals and insertions between two orders. Takes time in the order of n log n.
fn sorted(old: &[u32], new: &[u32]) -> ContextDifference {
    let mut places: Vec<(u32, usize)> = new.iter().enumerate().map(|(place, uid)| (*uid, place)).collect();
    places.sort_unstable();
    let place = |uid: u32| {
        let found = places.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
        places.get(found).map(|(_, place)| *place)
    };
    let kept = longest_rising(old.iter().map(|uid| place(*uid)));
    let mut is_kept_in_new = alloc::vec![false; new.len()];
    for (uid, kept) in old.iter().zip(&kept) {
        if let Some(slot) = place(*uid).filter(|_| *kept).and_then(|place| is_kept_in_new.get_mut(place)) {
            *slot = true;
        }
    }
    // The last ones go first, so that the positions before them stay the same.
    let mut removed = runs(old, &kept);
    removed.reverse();
    ContextDifference { removed, added: runs(new, &is_kept_in_new) }
}

/// Returns the runs of messages that are not kept.
fn runs(uids: &[u32], kept: &[bool]) -> Vec<ContextRun> {
    let (mut runs, mut run) = (Vec::new(), ContextRun { position: 0, uids: Vec::new() });
    for ((position, uid), kept) in (1_u32..).zip(uids).zip(kept) {
        if !kept {
            if run.uids.is_empty() {
                run.position = position;
            }
            run.uids.push(*uid);
        } else if !run.uids.is_empty() {
            runs.push(replace(&mut run, ContextRun { position: 0, uids: Vec::new() }));
        }
    }
    if !run.uids.is_empty() {
        runs.push(run);
    }
    runs
}

/// Returns which of the values belong to the longest subsequence that rises.
fn longest_rising(values: impl Iterator<Item = Option<usize>>) -> Vec<bool> {
    /// A value at the end of a subsequence, and the value before it, as indices.
    struct Link {
        value: usize,
        before: Option<usize>,
    }
    let mut links: Vec<Option<Link>> = Vec::new();
    // For each length, the index of the smallest value that ends a subsequence of that length.
    let mut ends: Vec<usize> = Vec::new();
    for (index, value) in values.enumerate() {
        let Some(value) = value else {
            links.push(None);
            continue;
        };
        let ends_below =
            |end: &usize| links.get(*end).and_then(Option::as_ref).is_some_and(|link| link.value < value);
        let length = ends.partition_point(ends_below);
        let before = length.checked_sub(1).and_then(|last| ends.get(last).copied());
        links.push(Some(Link { value, before }));
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut kept = alloc::vec![false; links.len()];
    let mut next = ends.last().copied();
    while let Some(index) = next {
        if let Some(slot) = kept.get_mut(index) {
            *slot = true;
        }
        next = links.get_mut(index).and_then(take).and_then(|link| link.before);
    }
    kept
}
