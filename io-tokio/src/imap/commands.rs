//! The usual commands, with the data that answer them.

use io_common::client::{ListedMailbox, SelectedMailbox};
use proto_imap::types::{
    Command, CopyCommand, CreateCommand, FlagList, LazyList, ListCommand, ListPattern, MailboxName,
    MailboxStatus, Owned, SearchCommand, SearchKey, SelectCommand, SequenceSet, StatusAttribute,
    StatusCommand, StatusResponse, StoreAction, StoreCommand, StoreResponse,
};
use proto_mail::Channel;

use super::client::ImapClient;
use crate::error::Error;

impl<C: Channel> ImapClient<C> {
    /// Selects a mailbox.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn select(&mut self, mailbox: &str) -> Result<SelectedMailbox, Error> {
        Ok(self.run(&Command::Select(SelectCommand::new(MailboxName::new(mailbox)))).await?.into())
    }

    /// Selects a mailbox that is not to be changed (EXAMINE).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn examine(&mut self, mailbox: &str) -> Result<SelectedMailbox, Error> {
        Ok(self.run(&Command::Examine(SelectCommand::new(MailboxName::new(mailbox)))).await?.into())
    }

    /// Lists the mailboxes that match the pattern: `*` for all.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn list(&mut self, pattern: &str) -> Result<Vec<ListedMailbox>, Error> {
        let answer = self.run(&Command::List(ListCommand::new(&[ListPattern::new(pattern)]))).await?;
        let encoding = self.machine().name_encoding();
        Ok(self.session.state.listed(answer, encoding))
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
        let answer = self.run(&command).await?;
        Ok(self.session.state.mailbox_status(answer))
    }

    /// Returns the UIDs of the messages that match all of these keys.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn uid_search(&mut self, keys: &[SearchKey<'_>]) -> Result<Vec<u32>, Error> {
        let answer = self.run(&Command::UidSearch(SearchCommand::new(keys))).await?;
        Ok(self.session.state.found(answer))
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
        self.complete(&Command::UidStore(store)).await.map(drop)
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
        self.complete(&Command::UidCopy(copy)).await
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
        self.complete(&Command::UidMove(copy)).await
    }

    /// Removes the messages with the flag `\Deleted`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn expunge(&mut self) -> Result<(), Error> {
        self.complete(&Command::Expunge).await.map(drop)
    }

    /// Creates a mailbox.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn create(&mut self, mailbox: &str) -> Result<(), Error> {
        self.complete(&Command::Create(CreateCommand::new(MailboxName::new(mailbox)))).await.map(drop)
    }

    /// Deletes a mailbox.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn delete(&mut self, mailbox: &str) -> Result<(), Error> {
        self.complete(&Command::Delete(MailboxName::new(mailbox))).await.map(drop)
    }

    /// Does nothing, but gives the server an opportunity to report changes; see [`take_updates`](Self::take_updates).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn noop(&mut self) -> Result<(), Error> {
        self.complete(&Command::Noop).await.map(drop)
    }
}
