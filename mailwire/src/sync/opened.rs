//! Opening a remote folder and listing its messages.
//!
//! UIDs are asked for with one FETCH. A server that refuses it, or breaks on it, because of one message is asked with
//! SEARCH, in windows of sequence numbers whose answers fit in a line; and one that does not search, with FETCH in ranges
//! that are divided until the message that it cannot list stands alone.

use std::collections::VecDeque;

use proto_imap::client::{Client, Event};
use proto_imap::types::{
    Command, FetchAttribute, FetchCommand, FetchItem, LazyList, ResponseCode, SearchCommand, SearchKey,
    SearchReturnData, SelectCommand, SequenceSet, Untagged,
};
use proto_mail::Channel;

use super::plan::Runs;
use super::sink::ARRIVALS;
use crate::failure::{Failure, Kind};
use crate::imap::{Authenticate, Folder, Session};

/// How many messages one SEARCH asks about: its answer stays far below the longest line.
const WINDOW: u32 = 4000;

/// How many ranges are asked for at most where a server does not list all at once, and how many sessions may be lost.
const WINDOWS: u32 = 2000;
const WINDOW_LOSSES: u32 = 12;

/// Into how many parts a range is divided with which a session was lost.
const PARTS: u32 = 16;

/// The most ranges of UIDs that are kept of a folder.
const RANGES: usize = 1_000_000;

/// A folder that is open for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) uid_validity: u32,
    pub(super) exists: u32,
    /// The least UID that the next message can have, if the server says it.
    pub(super) uid_next: Option<u32>,
}

/// Opens a folder for reading, by the name that LIST gave.
pub(super) fn examine<C: Channel>(session: &mut Session<C>, folder: &Folder) -> Result<Opened, Failure>
where
    Client<C>: Authenticate,
{
    let (mut uid_validity, mut uid_next, mut exists) = (None, None, 0);
    session.ask(&Command::Examine(SelectCommand::new(folder.mailbox())), |event| {
        match event {
            Event::Status(status) => match status.code {
                Some(ResponseCode::UidValidity(value)) => uid_validity = Some(value),
                Some(ResponseCode::UidNext(value)) => uid_next = value.map(std::num::NonZeroU32::get),
                _ => {}
            },
            Event::Data(Untagged::Exists(count)) => exists = count,
            _ => {}
        }
        Ok(false)
    })?;
    let uid_validity = uid_validity.ok_or_else(|| {
        Failure::new(Kind::Unavailable, "the server gives no UIDVALIDITY: messages cannot be told apart")
    })?;
    Ok(Opened { uid_validity, exists, uid_next })
}

/// The messages of the open folder.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) uids: Runs,
    /// How many went away meanwhile.
    pub(super) gone: u64,
}

impl Listed {
    /// Whether all that the server said it has were named.
    pub(super) fn is_complete(&self, opened: Opened) -> bool {
        self.uids.count as u64 + self.gone >= u64::from(opened.exists)
    }

    /// A server that names more than it says it has, and than can have arrived meanwhile, has no end.
    fn add(&mut self, uid: u32, (opened, most): (Opened, u64)) -> Result<(), Failure> {
        let by_count = u64::from(opened.exists).saturating_mul(2).saturating_add(ARRIVALS as u64);
        if self.uids.count as u64 >= by_count.min(most) || self.uids.ranges() >= RANGES {
            return Err(Failure::new(
                Kind::Protocol,
                format!(
                    "the server said that it has {} messages, and names more than {}",
                    opened.exists,
                    by_count.min(most)
                ),
            )
            .remote());
        }
        // No message has 0.
        if uid != 0 {
            self.uids.add(uid);
        }
        Ok(())
    }
}

/// Asks for the UIDs of a range with FETCH, or without one for every UID.
pub(super) fn fetch_uids<C: Channel>(
    session: &mut Session<C>,
    range: Option<(u32, u32)>,
    (opened, most): (Opened, u64),
    listed: &mut Listed,
) -> Result<(), Failure>
where
    Client<C>: Authenticate,
{
    let attributes = [FetchAttribute::Uid];
    let text = range.map(|(first, last)| format!("{first}:{last}"));
    let set = match &text {
        None => SequenceSet::ALL,
        Some(text) => SequenceSet::from_text(text)
            .map_err(|_| Failure::new(Kind::Protocol, "the server's UIDs are no set"))?,
    };
    let fetch = FetchCommand::new(set, LazyList::new(&attributes));
    session.ask(&Command::UidFetch(fetch), |event| {
        same_validity(&event, opened.uid_validity)?;
        listed.gone += gone(&event);
        let Event::FetchItem(FetchItem::Uid(uid)) = event else { return Ok(false) };
        listed.add(uid, (opened, most))?;
        Ok(true)
    })
}

/// Asks for every UID with SEARCH.
pub(super) fn search_uids<C: Channel>(
    session: &mut Session<C>,
    opened: Opened,
    most: u64,
    listed: &mut Listed,
) -> Result<(), Failure>
where
    Client<C>: Authenticate,
{
    let mut first = 1;
    while first <= opened.exists {
        let last = first.saturating_add(WINDOW - 1).min(opened.exists);
        let range = format!("{first}:{last}");
        let set = SequenceSet::from_text(&range)
            .map_err(|_| Failure::new(Kind::Protocol, "the server's count of messages is no number"))?;
        let keys = [SearchKey::Sequence(set)];
        session.ask(&Command::UidSearch(SearchCommand::new(&keys)), |event| {
            same_validity(&event, opened.uid_validity)?;
            listed.gone += gone(&event);
            match event {
                Event::Data(Untagged::Search(search)) => {
                    search.numbers.iter().try_for_each(|uid| listed.add(uid, (opened, most)))?;
                }
                Event::Data(Untagged::Esearch(search)) => {
                    for result in search.results.iter() {
                        if let SearchReturnData::All(numbers) = result {
                            numbers.iter().try_for_each(|uid| listed.add(uid, (opened, most)))?;
                        }
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        first = last.saturating_add(1);
        if last == u32::MAX {
            break;
        }
    }
    Ok(())
}

/// The ranges of UIDs that are still to be listed, where a server does not list all at once.
#[derive(Debug)]
pub(super) struct Windows {
    ranges: VecDeque<(u32, u32)>,
    /// How many more may be asked for, and how many sessions may be lost with it.
    asks: u32,
    losses: u32,
}

impl Windows {
    /// Up to the last UID; where the server did not say which that is, up to the greatest there can be.
    pub(super) fn new(opened: Opened) -> Self {
        let last = opened.uid_next.map_or(u32::MAX, |next| next.saturating_sub(1).max(1));
        Self { ranges: VecDeque::from([(1, last)]), asks: WINDOWS, losses: WINDOW_LOSSES }
    }

    /// The next range. `None`: all are listed, or it takes too many.
    pub(super) fn next(&mut self) -> Option<(u32, u32)> {
        self.asks = self.asks.checked_sub(1)?;
        self.ranges.pop_front()
    }

    /// The range was refused. Returns the UID that is to blame, once it stands alone.
    pub(super) fn refused(&mut self, range: (u32, u32)) -> Option<u32> {
        self.divide(range, 2)
    }

    /// The connection was lost with it. Fails once that has happened too often.
    pub(super) fn lost(&mut self, range: (u32, u32)) -> Option<Option<u32>> {
        self.losses = self.losses.checked_sub(1)?;
        Some(self.divide(range, PARTS))
    }

    fn divide(&mut self, (first, last): (u32, u32), parts: u32) -> Option<u32> {
        if first >= last {
            return Some(first);
        }
        // At least two are left here, and `first` is at least 1, so that their number fits.
        let size = (last - first + 1).div_ceil(parts);
        let mut end = last;
        // From the last one on, so that the first one is asked for next.
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

/// UIDs mean what they meant when the folder was opened.
pub(super) fn same_validity(event: &Event<'_>, uid_validity: u32) -> Result<(), Failure> {
    match event {
        Event::Status(status) if matches!(status.code, Some(ResponseCode::UidValidity(now)) if now != uid_validity) => {
            Err(renumbered())
        }
        _ => Ok(()),
    }
}

/// The server gave its messages other UIDs while they were fetched.
pub(super) fn renumbered() -> Failure {
    Failure::new(Kind::Unavailable, "the server numbered the messages anew meanwhile (UIDVALIDITY)").remote()
}

/// How many messages are said to have gone.
pub(super) fn gone(event: &Event<'_>) -> u64 {
    match event {
        Event::Data(Untagged::Expunge(_)) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_uid_that_cannot_be_listed_is_found() {
        for (uid_next, bad) in [(Some(451), 5), (Some(451), 450), (None, 5), (Some(2), 1)] {
            for by_loss in [false, true] {
                let mut windows = Windows::new(Opened { uid_validity: 7, exists: 450, uid_next });
                let (mut blamed, mut failed, mut covered) = (Vec::new(), 0, 0_u64);
                while let Some(range) = windows.next() {
                    if !(range.0..=range.1).contains(&bad) {
                        covered += u64::from(range.1 - range.0) + 1;
                        continue;
                    }
                    failed += 1;
                    blamed.extend(if by_loss {
                        windows.lost(range).unwrap()
                    } else {
                        windows.refused(range)
                    });
                }
                assert_eq!(blamed, [bad]);
                assert_eq!(covered, u64::from(uid_next.map_or(u32::MAX, |next| next - 1)) - 1);
                assert!(failed <= if by_loss { 10 } else { 34 }, "{failed}");
            }
        }
    }
}
