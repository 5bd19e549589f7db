//! The answer to an IMAP command, and the results that are read from it.

use std::{fmt, num::NonZeroU32};

use proto_imap::{
    client::{CommandId, Event},
    types::{
        ListResponse, MailboxName, MailboxStatus, NameEncoding, Owned, PlainCode, ResponseCode, SearchHead,
        SearchReturnData, StatusResponse, Untagged,
    },
};
use proto_mail::printable;

use super::{
    error::ClientError,
    imap_state::{ImapState, accepted},
};

/// The server's answer to a command.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status with which the server completed the command: OK.
    pub status: Owned<StatusResponse<'static>>,
    /// The data that arrived before it, in the server's order. Changes of the mailbox may be among them. A response to a
    /// search that is longer than [`Limits::line`](proto_mail::Limits::line) gives several, which together are its result.
    pub data: Vec<Owned<Untagged<'static>>>,
}

/// Collects the answer to one command, up to a limit.
#[derive(Debug)]
pub struct AnswerCollector {
    id: CommandId,
    data: Vec<Owned<Untagged<'static>>>,
    /// The beginning of the response to a search whose pieces arrive.
    head: Option<Owned<SearchHead<'static>>>,
    /// The number of bytes that the connection had received at the beginning.
    begin: u64,
    limit: u64,
}

/// A part of an answer.
#[derive(Debug)]
pub enum AnswerPart {
    /// Data, or an untagged status.
    Data(Owned<Untagged<'static>>),
    /// The completion.
    Completed(Owned<StatusResponse<'static>>),
}

impl AnswerCollector {
    /// Returns the part of the answer that an event brings.
    ///
    /// # Errors
    /// [`ClientError::Imap`] for NO and BAD.
    pub fn part(&mut self, event: Event<'_>) -> Result<Option<AnswerPart>, ClientError> {
        match event {
            Event::Data(data) => Ok(Some(AnswerPart::Data(data.into_owned()))),
            Event::SearchStart(head) => {
                self.head = Some(head.into_owned());
                Ok(None)
            }
            Event::SearchPiece(piece) => Ok(self
                .head
                .as_ref()
                .map(|head| head.view().with_piece(piece, |data| AnswerPart::Data(data.into_owned())))),
            // The response codes of SELECT, and warnings.
            Event::Status(status) => Ok(Some(AnswerPart::Data(Untagged::Status(status).into_owned()))),
            Event::Completed { id, status } if id == self.id => {
                accepted(&status).map(|status| Some(AnswerPart::Completed(status)))
            }
            _ => Ok(None),
        }
    }

    /// Adds a part. Returns the answer once it is complete. `received` is the number of bytes that the connection has
    /// received by now.
    ///
    /// # Errors
    /// [`ClientError::TooLarge`] if the answer exceeds the limit. The rest of it is skipped before the next command.
    pub fn add(&mut self, part: AnswerPart, received: u64) -> Result<Option<Answer>, ClientError> {
        match part {
            AnswerPart::Completed(status) => {
                return Ok(Some(Answer { status, data: std::mem::take(&mut self.data) }));
            }
            AnswerPart::Data(data) => self.data.push(data),
        }
        if received.saturating_sub(self.begin) > self.limit {
            return Err(ClientError::TooLarge(self.limit));
        }
        Ok(None)
    }
}

/// A mailbox that was selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelectedMailbox {
    /// The number of messages.
    pub exists: u32,
    /// UIDVALIDITY; `None` if the server has no persistent UIDs.
    pub uid_validity: Option<u32>,
    /// The lowest UID that the next message can have.
    pub uid_next: Option<NonZeroU32>,
    /// The highest mod-sequence (RFC 7162).
    pub highest_mod_sequence: Option<u64>,
    /// MAILBOXID, which stays the same when the mailbox is renamed (RFC 8474); `None` if the server has none.
    pub mailbox_id: Option<String>,
    /// The mailbox cannot be changed.
    pub is_read_only: bool,
}

/// A mailbox that the server has listed. `Display` writes its name as one line that is safe to show.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListedMailbox {
    /// The decoded name, as the server sent it: it may hold control characters, and it is no safe file name. Bytes that
    /// cannot be decoded are replaced by U+FFFD; the name in `response` is exact.
    pub name: String,
    /// The server's response, with the delimiter and the attributes.
    pub response: Owned<ListResponse<'static>>,
}

impl fmt::Display for ListedMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.name))
    }
}

impl From<Answer> for SelectedMailbox {
    /// Reads the answer to SELECT or EXAMINE.
    fn from(answer: Answer) -> Self {
        let mut mailbox = Self::default();
        for data in &answer.data {
            match data.view() {
                Untagged::Exists(count) => mailbox.exists = count,
                Untagged::Status(status) => match status.code {
                    Some(ResponseCode::UidValidity(value)) => mailbox.uid_validity = Some(value),
                    Some(ResponseCode::UidNext(value)) => mailbox.uid_next = value,
                    Some(ResponseCode::HighestModSeq(value)) => mailbox.highest_mod_sequence = Some(value),
                    Some(ResponseCode::MailboxId(id)) => {
                        mailbox.mailbox_id = Some(id.to_str_lossy().into_owned())
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        let code = answer.status.view().code;
        mailbox.is_read_only = code == Some(ResponseCode::Plain(PlainCode::ReadOnly));
        mailbox
    }
}

/// The answers to single commands, and what they hold. Other data in them are changes of the mailbox, and are kept as such.
impl ImapState {
    /// Begins to collect the answer to a command. `received` is the number of bytes that the connection has received.
    #[must_use]
    pub const fn collect(&self, id: CommandId, received: u64) -> AnswerCollector {
        AnswerCollector { id, data: Vec::new(), head: None, begin: received, limit: self.answer_limit() }
    }

    /// Returns the mailboxes in an answer to LIST.
    pub fn listed(&mut self, answer: Answer, encoding: NameEncoding) -> Vec<ListedMailbox> {
        self.claim(answer, |data| match data {
            Untagged::List(response) => Some(ListedMailbox {
                name: MailboxName::from(response.mailbox).to_str_lossy(encoding).into_owned(),
                response: response.into_owned(),
            }),
            _ => None,
        })
    }

    /// Returns the attributes in an answer to STATUS.
    pub fn mailbox_status(&mut self, answer: Answer) -> Option<Owned<MailboxStatus<'static>>> {
        let found = self.claim(answer, |data| match data {
            Untagged::MailboxStatus(status) => Some(status.into_owned()),
            _ => None,
        });
        found.into_iter().next()
    }

    /// Returns the numbers in an answer to SEARCH: SEARCH and ESEARCH responses.
    pub fn found(&mut self, answer: Answer) -> Vec<u32> {
        let found = self.claim(answer, |data| match data {
            Untagged::Search(found) => Some(found.numbers.iter().collect()),
            Untagged::Esearch(found) => Some(found.results.iter().flat_map(all_found).collect()),
            _ => None,
        });
        found.into_iter().flat_map(|numbers: Vec<u32>| numbers).collect()
    }

    /// Returns the wanted data. The others are changes of the mailbox.
    fn claim<T>(&mut self, answer: Answer, mut wanted: impl FnMut(Untagged<'_>) -> Option<T>) -> Vec<T> {
        let mut claimed = Vec::new();
        for one in answer.data {
            match wanted(one.view()) {
                Some(one) => claimed.push(one),
                None if matches!(one.view(), Untagged::Status(_)) => {}
                None => self.add_update(&one.view()),
            }
        }
        claimed
    }
}

/// The numbers in one result of an ESEARCH response.
fn all_found(result: SearchReturnData<'_>) -> Vec<u32> {
    match result {
        SearchReturnData::All(numbers) => numbers.iter().collect(),
        _ => Vec::new(),
    }
}
