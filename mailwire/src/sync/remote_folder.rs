//! Opens a remote folder and lists the UIDs of its messages.
//!
//! One FETCH requests all UIDs. If the server refuses it or fails on it, SEARCH requests them in windows of sequence
//! numbers whose responses fit in a line. If that fails too, FETCH requests ranges of UIDs, which are split until the
//! message that the server cannot list is isolated.

use std::collections::VecDeque;
use std::time::Instant;

use io_mio::ConnectionEvent;
use mailclient::imap::{ImapChannel, Session};
use mailclient::{Folder, imap_command_error};
use proto_imap::client::Event;
use proto_imap::types::{
    Command, Condition, FetchAttribute, FetchCommand, FetchItem, LazyList, ResponseCode, SearchCommand,
    SearchKey, SearchReturnData, SelectCommand, SequenceSet, Untagged,
};

use super::limits::MAX_UNREQUESTED;
use super::plan::UidRanges;
use crate::command_error::{CommandError, ExitCode};

/// How many messages one SEARCH covers: its response stays far below the longest line.
const SEARCH_WINDOW: u32 = 4000;

/// The most ranges to request, and the most sessions to lose, while listing in ranges of UIDs.
const MAX_RANGES_REQUESTED: u32 = 2000;
const MAX_LOST_SESSIONS: u32 = 12;

/// Into how many parts a range is split after a lost session.
const PARTS_AFTER_LOSS: u32 = 16;

/// The most UID ranges that are kept for a folder.
const MAX_UID_RANGES: usize = 1_000_000;

/// A folder opened for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) uid_validity: u32,
    pub(super) exists: u32,
    /// The lower bound for the next message's UID, if the server sent it.
    pub(super) uid_next: Option<u32>,
}

/// Sends a command and waits for its completion. `data` handles the events before that, and returns whether each was
/// useful.
fn run_command<C: ImapChannel>(
    session: &mut Session<C>,
    command: &Command<'_>,
    mut data: impl FnMut(Event<'_>) -> Result<bool, CommandError>,
) -> Result<(), CommandError> {
    let mut sent = None;
    let done = session.drive(|turn, client, tx, useful| match turn {
        ConnectionEvent::Machine(Event::Completed { id, status }) if sent == Some(id) => {
            if status.condition == Condition::Ok {
                return Ok(Some(()));
            }
            Err(imap_command_error(&status, &format!("the server refused {}", command.name())))
        }
        ConnectionEvent::Machine(event) => {
            if data(event)? {
                *useful = Instant::now();
            }
            Ok(None)
        }
        ConnectionEvent::Writable => {
            if sent.is_none() {
                sent = Some(client.send(command, tx)?);
            }
            Ok(None)
        }
    });
    Ok(done?)
}

/// Opens a folder for reading.
pub(super) fn examine<C: ImapChannel>(
    session: &mut Session<C>,
    folder: &Folder,
) -> Result<Opened, CommandError> {
    let (mut uid_validity, mut uid_next, mut exists) = (None, None, 0);
    run_command(session, &Command::Examine(SelectCommand::new(folder.mailbox())), |event| {
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
        CommandError::new(
            ExitCode::Unavailable,
            "the server sends no UIDVALIDITY, so messages cannot be identified",
        )
    })?;
    Ok(Opened { uid_validity, exists, uid_next })
}

/// The messages of the open folder.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) uids: UidRanges,
    /// How many messages were removed during the listing.
    pub(super) expunged: u64,
}

impl Listed {
    /// Whether all that the server said it has were named.
    pub(super) fn is_complete(&self, opened: Opened) -> bool {
        self.uids.count as u64 + self.expunged >= u64::from(opened.exists)
    }

    /// Adds a UID.
    ///
    /// # Errors
    /// [`ExitCode::Protocol`] if the server lists far more messages than it counted.
    fn add(&mut self, uid: u32, (opened, max): (Opened, u64)) -> Result<(), CommandError> {
        let max_by_count = u64::from(opened.exists).saturating_mul(2).saturating_add(MAX_UNREQUESTED as u64);
        if self.uids.count as u64 >= max_by_count.min(max) || self.uids.range_count() >= MAX_UID_RANGES {
            return Err(CommandError::new(
                ExitCode::Protocol,
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

/// Requests the UIDs in a range with FETCH, or all UIDs if there is no range.
pub(super) fn fetch_uids<C: ImapChannel>(
    session: &mut Session<C>,
    range: Option<(u32, u32)>,
    (opened, max): (Opened, u64),
    listed: &mut Listed,
) -> Result<(), CommandError> {
    let attributes = [FetchAttribute::Uid];
    let text = range.map(|(first, last)| format!("{first}:{last}"));
    let set = match &text {
        None => SequenceSet::ALL,
        Some(text) => SequenceSet::from_text(text)
            .map_err(|_| CommandError::new(ExitCode::Protocol, "the server's UIDs are not a valid set"))?,
    };
    let fetch = FetchCommand::new(set, LazyList::new(&attributes));
    run_command(session, &Command::UidFetch(fetch), |event| {
        check_uid_validity(&event, opened.uid_validity)?;
        listed.expunged += expunged(&event);
        let Event::FetchItem(FetchItem::Uid(uid)) = event else { return Ok(false) };
        listed.add(uid, (opened, max))?;
        Ok(true)
    })
}

/// Requests all UIDs with SEARCH.
pub(super) fn search_uids<C: ImapChannel>(
    session: &mut Session<C>,
    opened: Opened,
    max: u64,
    listed: &mut Listed,
) -> Result<(), CommandError> {
    let mut first = 1;
    while first <= opened.exists {
        let last = first.saturating_add(SEARCH_WINDOW - 1).min(opened.exists);
        let range = format!("{first}:{last}");
        let set = SequenceSet::from_text(&range).map_err(|_| {
            CommandError::new(ExitCode::Protocol, "the server's message count is not a valid number")
        })?;
        let keys = [SearchKey::Sequence(set)];
        run_command(session, &Command::UidSearch(SearchCommand::new(&keys)), |event| {
            check_uid_validity(&event, opened.uid_validity)?;
            listed.expunged += expunged(&event);
            match event {
                Event::Data(Untagged::Search(search)) => {
                    search.numbers.iter().try_for_each(|uid| listed.add(uid, (opened, max)))?;
                }
                Event::Data(Untagged::Esearch(search)) => {
                    for result in search.results.iter() {
                        if let SearchReturnData::All(numbers) = result {
                            numbers.iter().try_for_each(|uid| listed.add(uid, (opened, max)))?;
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
    pub(super) fn new(opened: Opened) -> Self {
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
pub(super) fn check_uid_validity(event: &Event<'_>, uid_validity: u32) -> Result<(), CommandError> {
    match event {
        Event::Status(status) if matches!(status.code, Some(ResponseCode::UidValidity(now)) if now != uid_validity) => {
            Err(uid_validity_changed())
        }
        _ => Ok(()),
    }
}

/// Returns the error for a change of UIDVALIDITY.
pub(super) fn uid_validity_changed() -> CommandError {
    CommandError::new(
        ExitCode::Unavailable,
        "the server changed the UIDs of all messages during the sync (UIDVALIDITY)",
    )
    .remote()
}

/// Returns how many messages the event reports as removed.
pub(super) fn expunged(event: &Event<'_>) -> u64 {
    match event {
        Event::Data(Untagged::Expunge(_)) => 1,
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
                let mut queue = RangeQueue::new(Opened { uid_validity: 7, exists: 450, uid_next });
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
