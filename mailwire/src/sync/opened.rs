//! Opening a remote folder and listing its messages.
//!
//! UIDs are asked for with one FETCH. A server that refuses it, or breaks on it, because of one message is asked with
//! SEARCH, in windows of sequence numbers whose answers fit in a line.

use proto_core::Channel;
use proto_imap::client::{Client, Event};
use proto_imap::types::{
    Code, Command, FetchAttribute, FetchItem, List, SearchKey, SearchResult, SequenceSet, Untagged, arguments,
};

use super::plan::Runs;
use super::sink::ARRIVALS;
use crate::failure::{Failure, Kind};
use crate::imap::{Authenticate, Folder, Session};

/// How many messages one SEARCH asks about: its answer stays far below the longest line.
const WINDOW: u32 = 4000;

/// The most ranges of UIDs that are kept of a folder.
const RANGES: usize = 1_000_000;

/// A folder that is open for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) uid_validity: u32,
    pub(super) exists: u32,
}

/// Opens a folder for reading, by the name that LIST gave.
pub(super) fn examine<C: Channel>(session: &mut Session<C>, folder: &Folder) -> Result<Opened, Failure>
where
    Client<C>: Authenticate,
{
    let (mut uid_validity, mut exists) = (None, 0);
    session.ask(&Command::Examine(arguments::Select::new(folder.mailbox())), |event| {
        match event {
            Event::Status(status) => {
                if let Some(Code::UidValidity(value)) = status.code {
                    uid_validity = Some(value);
                }
            }
            Event::Data(Untagged::Exists(count)) => exists = count,
            _ => {}
        }
        Ok(false)
    })?;
    let uid_validity = uid_validity.ok_or_else(|| {
        Failure::new(Kind::Unavailable, "the server gives no UIDVALIDITY: messages cannot be told apart")
    })?;
    Ok(Opened { uid_validity, exists })
}

/// The messages of the open folder.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) uids: Runs,
    /// How many went away meanwhile.
    pub(super) gone: u64,
}

impl Listed {
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

/// Asks for every UID with FETCH; what comes before a failure stays in `listed`.
pub(super) fn fetch_uids<C: Channel>(
    session: &mut Session<C>,
    opened: Opened,
    most: u64,
    listed: &mut Listed,
) -> Result<(), Failure>
where
    Client<C>: Authenticate,
{
    let attributes = [FetchAttribute::Uid];
    let fetch = arguments::Fetch::new(SequenceSet::ALL, List::new(&attributes));
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
        session.ask(&Command::UidSearch(arguments::Search::new(&keys)), |event| {
            same_validity(&event, opened.uid_validity)?;
            listed.gone += gone(&event);
            match event {
                Event::Data(Untagged::Search(search)) => {
                    search.numbers.iter().try_for_each(|uid| listed.add(uid, (opened, most)))?;
                }
                Event::Data(Untagged::Esearch(search)) => {
                    for result in search.results.iter() {
                        if let SearchResult::All(numbers) = result {
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

/// UIDs mean what they meant when the folder was opened.
pub(super) fn same_validity(event: &Event<'_>, uid_validity: u32) -> Result<(), Failure> {
    match event {
        Event::Status(status) if matches!(status.code, Some(Code::UidValidity(now)) if now != uid_validity) => {
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
