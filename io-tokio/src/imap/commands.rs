//! The usual commands, with the data that answer them.

use std::num::NonZeroU32;

use proto_imap::types::{
    Command, CopyCommand, CreateCommand, FlagList, LazyList, ListCommand, ListPattern, ListResponse,
    MailboxName, MailboxStatus, Owned, PlainCode, ResponseCode, SearchCommand, SearchKey, SearchReturnData,
    SelectCommand, SequenceSet, StatusAttribute, StatusCommand, StatusResponse, StoreAction, StoreCommand,
    StoreResponse, Untagged,
};
use proto_mail::Channel;

use super::client::{Answer, ImapClient};
use crate::error::Error;

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
    /// The mailbox cannot be changed.
    pub is_read_only: bool,
}

/// A mailbox that the server has listed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListedMailbox {
    /// The decoded name. Bytes that cannot be decoded are replaced by U+FFFD; the name in `response` is exact.
    pub name: String,
    /// The server's response, with the delimiter and the attributes.
    pub response: Owned<ListResponse<'static>>,
}

impl<C: Channel> ImapClient<C> {
    /// Selects a mailbox.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn select(&mut self, mailbox: &str) -> Result<SelectedMailbox, Error> {
        let answer = self.run(&Command::Select(SelectCommand::new(MailboxName::new(mailbox)))).await?;
        Ok(selected(&answer))
    }

    /// Selects a mailbox that is not to be changed (EXAMINE).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn examine(&mut self, mailbox: &str) -> Result<SelectedMailbox, Error> {
        let answer = self.run(&Command::Examine(SelectCommand::new(MailboxName::new(mailbox)))).await?;
        Ok(selected(&answer))
    }

    /// Lists the mailboxes that match the pattern: `*` for all.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn list(&mut self, pattern: &str) -> Result<Vec<ListedMailbox>, Error> {
        let patterns = [ListPattern::new(pattern)];
        let data = self.run(&Command::List(ListCommand::new(&patterns))).await?.data;
        let encoding = self.machine().name_encoding();
        let listed = self.claim(data, |data| match data {
            Untagged::List(response) => Some(ListedMailbox {
                name: MailboxName::from(response.mailbox).to_str_lossy(encoding).into_owned(),
                response: response.into_owned(),
            }),
            _ => None,
        });
        Ok(listed)
    }

    /// Returns these attributes of a mailbox, without selecting it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn status(
        &mut self,
        mailbox: &str,
        attributes: &[StatusAttribute],
    ) -> Result<Option<Owned<MailboxStatus<'static>>>, Error> {
        let attributes = LazyList::new(attributes);
        let command = Command::Status(StatusCommand { mailbox: MailboxName::new(mailbox), attributes });
        let data = self.run(&command).await?.data;
        let found = self.claim(data, |data| match data {
            Untagged::MailboxStatus(status) => Some(status.into_owned()),
            _ => None,
        });
        Ok(found.into_iter().next())
    }

    /// Returns the UIDs of the messages that match all of these keys.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn uid_search(&mut self, keys: &[SearchKey<'_>]) -> Result<Vec<u32>, Error> {
        let data = self.run(&Command::UidSearch(SearchCommand::new(keys))).await?.data;
        let found = self.claim(data, |data| match data {
            Untagged::Search(found) => Some(found.numbers.iter().collect()),
            Untagged::Esearch(found) => Some(found.results.iter().flat_map(all_found).collect()),
            _ => None,
        });
        Ok(found.into_iter().flat_map(|numbers: Vec<u32>| numbers).collect())
    }

    /// Changes flags of the messages with these UIDs. The server does not report the new flags.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn uid_store(
        &mut self,
        uids: impl Into<SequenceSet<'_>>,
        action: StoreAction,
        flags: FlagList<'_>,
    ) -> Result<(), Error> {
        let mut store = StoreCommand::new(uids.into(), action, flags);
        store.answer = StoreResponse::Silent;
        self.done(&Command::UidStore(store)).await.map(drop)
    }

    /// Copies the messages with these UIDs to a mailbox. The status has the new UIDs, if the server supports UIDPLUS.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn uid_copy(
        &mut self,
        uids: impl Into<SequenceSet<'_>>,
        mailbox: &str,
    ) -> Result<Owned<StatusResponse<'static>>, Error> {
        let copy = CopyCommand { messages: uids.into(), mailbox: MailboxName::new(mailbox) };
        self.done(&Command::UidCopy(copy)).await
    }

    /// Moves the messages with these UIDs to a mailbox (RFC 6851).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn uid_move(
        &mut self,
        uids: impl Into<SequenceSet<'_>>,
        mailbox: &str,
    ) -> Result<Owned<StatusResponse<'static>>, Error> {
        let copy = CopyCommand { messages: uids.into(), mailbox: MailboxName::new(mailbox) };
        self.done(&Command::UidMove(copy)).await
    }

    /// Removes the messages with the flag `\Deleted`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn expunge(&mut self) -> Result<(), Error> {
        self.done(&Command::Expunge).await.map(drop)
    }

    /// Creates a mailbox.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn create(&mut self, mailbox: &str) -> Result<(), Error> {
        self.done(&Command::Create(CreateCommand::new(MailboxName::new(mailbox)))).await.map(drop)
    }

    /// Deletes a mailbox.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn delete(&mut self, mailbox: &str) -> Result<(), Error> {
        self.done(&Command::Delete(MailboxName::new(mailbox))).await.map(drop)
    }

    /// Does nothing, but gives the server an opportunity to report changes; see [`take_updates`](Self::take_updates).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn noop(&mut self) -> Result<(), Error> {
        self.done(&Command::Noop).await.map(drop)
    }

    /// Runs a command that no data answer. What arrives are changes of the mailbox.
    async fn done(&mut self, command: &Command<'_>) -> Result<Owned<StatusResponse<'static>>, Error> {
        let id = self.start(|client, tx| client.send(command, tx)).await?;
        self.complete(id).await
    }

    /// Keeps the data that answer a command. The others are changes of the mailbox.
    fn claim<T>(
        &mut self,
        data: Vec<Owned<Untagged<'static>>>,
        mut wanted: impl FnMut(Untagged<'_>) -> Option<T>,
    ) -> Vec<T> {
        let mut claimed = Vec::new();
        for one in data {
            match wanted(one.view()) {
                Some(one) => claimed.push(one),
                None if matches!(one.view(), Untagged::Status(_)) => {}
                None => self.tracker.updates.add(&one.view()),
            }
        }
        claimed
    }
}

fn selected(answer: &Answer) -> SelectedMailbox {
    let mut mailbox = SelectedMailbox::default();
    for data in &answer.data {
        match data.view() {
            Untagged::Exists(count) => mailbox.exists = count,
            Untagged::Status(status) => match status.code {
                Some(ResponseCode::UidValidity(value)) => mailbox.uid_validity = Some(value),
                Some(ResponseCode::UidNext(value)) => mailbox.uid_next = value,
                Some(ResponseCode::HighestModSeq(value)) => mailbox.highest_mod_sequence = Some(value),
                _ => {}
            },
            _ => {}
        }
    }
    let code = answer.status.view().code;
    mailbox.is_read_only = code == Some(ResponseCode::Plain(PlainCode::ReadOnly));
    mailbox
}

/// The numbers in one result of an ESEARCH response.
fn all_found(result: SearchReturnData<'_>) -> Vec<u32> {
    match result {
        SearchReturnData::All(numbers) => numbers.iter().collect(),
        _ => Vec::new(),
    }
}
