//! Lists the UIDs of an open remote folder, and the flags of known messages.
//!
//! One FETCH requests all UIDs, or those that have changed since a mod-sequence (RFC 7162). If the server refuses it or fails on it, SEARCH requests them in windows of sequence
//! numbers whose responses fit in a line. If that fails too, FETCH requests ranges of UIDs, which are split until the
//! message that the server cannot list is isolated.

use std::collections::VecDeque;

use mailstore::Flags;
use proto_imap::client::Event;
use proto_imap::types::{
    Command, FetchAttribute, FetchCommand, FetchItem, FetchModifier, LazyList, ResponseCode, SearchCommand,
    SearchKey, SearchPiece, SearchReturnData, SearchReturnOption, SequenceSet, Untagged, VanishedWhen,
};

use super::examine::Opened;
use super::flag_changes::{FlagBatch, local_flags};
use super::limits::MAX_UNREQUESTED;
use super::plan::UidRanges;
use crate::error::{Error, ErrorKind};
use crate::imap::Request;

/// How many messages one SEARCH covers: its response stays far below the longest line.
const SEARCH_WINDOW: u32 = 4000;

/// The most ranges to request, and the most sessions to lose, while listing in ranges of UIDs.
const MAX_RANGES_REQUESTED: u32 = 2000;
const MAX_LOST_SESSIONS: u32 = 12;

/// Into how many parts a range is split after a lost session.
const PARTS_AFTER_LOSS: u32 = 16;

/// The most UID ranges that are kept for a folder.
const MAX_UID_RANGES: usize = 1_000_000;

/// The messages of the open folder.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) uids: UidRanges,
    /// How many messages were removed during the listing.
    pub(super) expunged: u64,
}

impl Listed {
    /// Whether all that the server said it has were named.
    pub(super) fn is_complete(&self, opened: &Opened) -> bool {
        self.uids.count as u64 + self.expunged >= u64::from(opened.exists)
    }

    /// Adds a UID.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the server lists far more messages than it counted.
    fn add(&mut self, uid: u32, (opened, max): (&Opened, u64)) -> Result<(), Error> {
        let max_by_count = u64::from(opened.exists).saturating_mul(2).saturating_add(MAX_UNREQUESTED as u64);
        if self.uids.count as u64 >= max_by_count.min(max) || self.uids.range_count() >= MAX_UID_RANGES {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!(
                    "the server counts {} messages but lists more than {}",
                    opened.exists,
                    max_by_count.min(max)
                ),
            )
            .remote());
        }
        // 0 is not a valid UID.
        if uid != 0 {
            self.uids.add(uid);
        }
        Ok(())
    }
}

/// What FETCH requests of each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The UIDs.
    Uids,
    /// The UIDs and flags.
    Flags,
    /// The UIDs and flags of the messages that have changed since this mod-sequence.
    FlagsSince(u64),
}

/// Requests the UIDs in a range with FETCH, or all UIDs if there is no range.
#[derive(Debug)]
pub(super) struct FetchUids {
    pub(super) range: Option<(u32, u32)>,
    pub(super) wanted: Wanted,
    pub(super) opened: Opened,
    /// The most messages of a folder.
    pub(super) max: u64,
    pub(super) listed: Listed,
    /// The flags that came, which the caller takes when the batch is full.
    pub(super) batch: FlagBatch,
    message: (Option<u32>, Option<Flags>),
}

impl FetchUids {
    pub(super) fn new(
        range: Option<(u32, u32)>,
        wanted: Wanted,
        (opened, max): (Opened, u64),
        listed: Listed,
    ) -> Self {
        let (batch, message) = (FlagBatch::default(), (None, None));
        Self { range, wanted, opened, max, listed, batch, message }
    }
}

impl Request for FetchUids {
    type Output = ();

    fn with_command<T>(&self, send: impl FnOnce(&Command<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let attributes = [FetchAttribute::Uid, FetchAttribute::Flags];
        let attributes = match self.wanted {
            Wanted::Uids => attributes.split_at(1).0,
            Wanted::Flags | Wanted::FlagsSince(_) => &attributes,
        };
        let modifiers = match self.wanted {
            Wanted::FlagsSince(mod_seq) => Some(FetchModifier::ChangedSince(mod_seq)),
            Wanted::Uids | Wanted::Flags => None,
        };
        let text = self.range.map(|(first, last)| format!("{first}:{last}"));
        let set = match &text {
            None => SequenceSet::ALL,
            Some(text) => SequenceSet::from_text(text)
                .map_err(|_| Error::new(ErrorKind::Protocol, "the server's UIDs are not a valid set"))?,
        };
        let mut fetch = FetchCommand::new(set, LazyList::new(attributes));
        fetch.modifiers = LazyList::new(modifiers.as_slice());
        send(&Command::UidFetch(fetch))
    }

    fn data(&mut self, event: Event<'_>) -> Result<bool, Error> {
        check_uid_validity(&event, self.opened.uid_validity)?;
        self.listed.expunged += expunged(&event);
        match event {
            Event::FetchStart { .. } => self.message = (None, None),
            Event::FetchItem(FetchItem::Uid(uid)) => self.message.0 = Some(uid),
            Event::FetchItem(FetchItem::Flags(flags)) if self.wanted != Wanted::Uids => {
                self.message.1 = Some(local_flags(&flags));
            }
            Event::FetchEnd => {
                let (Some(uid), flags) = std::mem::take(&mut self.message) else { return Ok(false) };
                self.listed.add(uid, (&self.opened, self.max))?;
                if let Some(flags) = flags {
                    self.batch.add(uid, flags);
                }
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Requests the UIDs of a window of sequence numbers with SEARCH.
#[derive(Debug)]
pub(super) struct SearchUids {
    pub(super) first: u32,
    /// Whether the server has ESEARCH, whose response is short: then one search covers all messages.
    pub(super) has_esearch: bool,
    pub(super) opened: Opened,
    /// The most messages of a folder.
    pub(super) max: u64,
    pub(super) listed: Listed,
}

impl SearchUids {
    fn last(&self) -> u32 {
        if self.has_esearch {
            return self.opened.exists;
        }
        self.first.saturating_add(SEARCH_WINDOW - 1).min(self.opened.exists)
    }

    /// Returns the request for the next window, if there is one.
    pub(super) fn next(self) -> Result<Self, Listed> {
        let last = self.last();
        if last >= self.opened.exists || last == u32::MAX {
            return Err(self.listed);
        }
        Ok(Self { first: last + 1, ..self })
    }
}

impl Request for SearchUids {
    type Output = ();

    fn with_command<T>(&self, send: impl FnOnce(&Command<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let range = format!("{}:{}", self.first, self.last());
        let set = SequenceSet::from_text(&range).map_err(|_| {
            Error::new(ErrorKind::Protocol, "the server's message count is not a valid number")
        })?;
        let keys = [if self.has_esearch { SearchKey::All } else { SearchKey::Sequence(set) }];
        let mut search = SearchCommand::new(&keys);
        let returns = [SearchReturnOption::All];
        if self.has_esearch {
            search.returns = Some(LazyList::new(&returns));
        }
        send(&Command::UidSearch(search))
    }

    fn data(&mut self, event: Event<'_>) -> Result<bool, Error> {
        check_uid_validity(&event, self.opened.uid_validity)?;
        self.listed.expunged += expunged(&event);
        let limits = (&self.opened, self.max);
        match event {
            Event::Data(Untagged::Search(search)) => {
                search.numbers.iter().try_for_each(|uid| self.listed.add(uid, limits))?;
            }
            Event::Data(Untagged::Esearch(search)) => {
                for result in search.results.iter() {
                    if let SearchReturnData::All(numbers) = result {
                        numbers.iter().try_for_each(|uid| self.listed.add(uid, limits))?;
                    }
                }
            }
            Event::SearchPiece(SearchPiece::Result(SearchReturnData::All(numbers))) => {
                numbers.iter().try_for_each(|uid| self.listed.add(uid, limits))?;
            }
            Event::SearchStart(_) | Event::SearchPiece(_) | Event::SearchEnd => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// The UID ranges still to list.
#[derive(Debug)]
pub(super) struct RangeQueue {
    ranges: VecDeque<(u32, u32)>,
    /// How many more ranges may be requested.
    requests_left: u32,
    /// How many more sessions may be lost.
    losses_left: u32,
}

impl RangeQueue {
    /// Covers all UIDs up to UIDNEXT, or up to the largest UID if the server sent no UIDNEXT.
    pub(super) fn new(opened: &Opened) -> Self {
        let last = opened.uid_next.map_or(u32::MAX, |next| next.saturating_sub(1).max(1));
        Self {
            ranges: VecDeque::from([(1, last)]),
            requests_left: MAX_RANGES_REQUESTED,
            losses_left: MAX_LOST_SESSIONS,
        }
    }

    /// Returns the next range, or `None` when all are listed or too many were requested.
    pub(super) fn next(&mut self) -> Option<(u32, u32)> {
        self.requests_left = self.requests_left.checked_sub(1)?;
        self.ranges.pop_front()
    }

    /// Splits a range that the server refused. Returns the bad UID, once it is isolated.
    pub(super) fn refused(&mut self, range: (u32, u32)) -> Option<u32> {
        self.split(range, 2)
    }

    /// Splits a range that lost the connection. Returns the bad UID, once it is isolated, and `None` if too many
    /// connections were lost.
    pub(super) fn lost(&mut self, range: (u32, u32)) -> Option<Option<u32>> {
        self.losses_left = self.losses_left.checked_sub(1)?;
        Some(self.split(range, PARTS_AFTER_LOSS))
    }

    fn split(&mut self, (first, last): (u32, u32), parts: u32) -> Option<u32> {
        if first >= last {
            return Some(first);
        }
        // The range has at least two UIDs, and `first` is at least 1, so the size does not overflow.
        let size = (last - first + 1).div_ceil(parts);
        let mut end = last;
        // The first part goes to the front last, so that it is requested next.
        loop {
            let start = if end - first < size { first } else { end - size + 1 };
            self.ranges.push_front((start, end));
            if start == first {
                return None;
            }
            end = start - 1;
        }
    }
}

/// Checks that UIDVALIDITY has not changed since the folder was opened.
pub(super) fn check_uid_validity(event: &Event<'_>, uid_validity: u32) -> Result<(), Error> {
    match event {
        Event::Status(status) if matches!(status.code, Some(ResponseCode::UidValidity(now)) if now != uid_validity) => {
            Err(uid_validity_changed())
        }
        _ => Ok(()),
    }
}

/// Returns the error for a change of UIDVALIDITY.
pub(super) fn uid_validity_changed() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the server changed the UIDs of all messages during the sync (UIDVALIDITY)",
    )
    .remote()
}

/// Returns how many messages the event reports as removed.
pub(super) fn expunged(event: &Event<'_>) -> u64 {
    match event {
        Event::Data(Untagged::Expunge(_)) => 1,
        Event::Data(Untagged::Vanished { when: VanishedWhen::Now, uids }) => {
            uids.ranges().map(|range| u64::from(range.last() - range.first()) + 1).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolates_the_uid_that_cannot_be_listed() {
        for (uid_next, bad) in [(Some(451), 5), (Some(451), 450), (None, 5), (Some(2), 1)] {
            for by_loss in [false, true] {
                let opened = Opened { uid_validity: 7, exists: 450, uid_next, ..Opened::default() };
                let mut queue = RangeQueue::new(&opened);
                let (mut reported, mut failed, mut covered) = (Vec::new(), 0, 0_u64);
                while let Some(range) = queue.next() {
                    if !(range.0..=range.1).contains(&bad) {
                        covered += u64::from(range.1 - range.0) + 1;
                        continue;
                    }
                    failed += 1;
                    reported.extend(if by_loss { queue.lost(range).unwrap() } else { queue.refused(range) });
                }
                assert_eq!(reported, [bad]);
                assert_eq!(covered, u64::from(uid_next.map_or(u32::MAX, |next| next - 1)) - 1);
                assert!(failed <= if by_loss { 10 } else { 34 }, "{failed}");
            }
        }
    }
}
