//! The usual commands, with the data that answer them.

use io_common::client::{ClientError, ListedMailbox, SelectedMailbox};
use proto_imap::types::{
    Command, CopyCommand, CreateCommand, FlagList, LazyList, ListCommand, ListPattern, MailboxName,
    MailboxStatus, Owned, SearchCommand, SearchKey, SelectCommand, SequenceSet, StatusAttribute,
    StatusCommand, StatusResponse, StoreAction, StoreCommand, StoreResponse,
};
use proto_mail::Channel;

use super::client::ImapClient;

impl<C: Channel> ImapClient<C> {
    /// Selects a mailbox.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn select(&mut self, mailbox: &str) -> Result<SelectedMailbox, ClientError> {
        Ok(self.run(&Command::Select(SelectCommand::new(MailboxName::new(mailbox))))?.into())
    }

    /// Selects a mailbox that is not to be changed (EXAMINE).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn examine(&mut self, mailbox: &str) -> Result<SelectedMailbox, ClientError> {
        Ok(self.run(&Command::Examine(SelectCommand::new(MailboxName::new(mailbox))))?.into())
    }

    /// Lists the mailboxes that match the pattern: `*` for all.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn list(&mut self, pattern: &str) -> Result<Vec<ListedMailbox>, ClientError> {
        let answer = self.run(&Command::List(ListCommand::new(&[ListPattern::new(pattern)])))?;
        let encoding = self.machine().name_encoding();
        Ok(self.session.state.listed(answer, encoding))
    }

    /// Returns these attributes of a mailbox, without selecting it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn status(
        &mut self,
        mailbox: &str,
        attributes: &[StatusAttribute],
    ) -> Result<Option<Owned<MailboxStatus<'static>>>, ClientError> {
        let attributes = LazyList::new(attributes);
        let command = Command::Status(StatusCommand { mailbox: MailboxName::new(mailbox), attributes });
        let answer = self.run(&command)?;
        Ok(self.session.state.mailbox_status(answer))
    }

    /// Returns the UIDs of the messages that match all of these keys.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn uid_search(&mut self, keys: &[SearchKey<'_>]) -> Result<Vec<u32>, ClientError> {
        let answer = self.run(&Command::UidSearch(SearchCommand::new(keys)))?;
        Ok(self.session.state.found(answer))
    }

    /// Changes flags of the messages with these UIDs. The server does not report the new flags.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn uid_store<'a>(
        &mut self,
        uids: impl Into<SequenceSet<'a>>,
        action: StoreAction,
        flags: FlagList<'_>,
    ) -> Result<(), ClientError> {
        let mut store = StoreCommand::new(uids.into(), action, flags);
        store.answer = StoreResponse::Silent;
        self.complete(&Command::UidStore(store)).map(drop)
    }

    /// Copies the messages with these UIDs to a mailbox. The status has the new UIDs, if the server supports UIDPLUS.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn uid_copy<'a>(
        &mut self,
        uids: impl Into<SequenceSet<'a>>,
        mailbox: &str,
    ) -> Result<Owned<StatusResponse<'static>>, ClientError> {
        let copy = CopyCommand { messages: uids.into(), mailbox: MailboxName::new(mailbox) };
        self.complete(&Command::UidCopy(copy))
    }

    /// Moves the messages with these UIDs to a mailbox (RFC 6851).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn uid_move<'a>(
        &mut self,
        uids: impl Into<SequenceSet<'a>>,
        mailbox: &str,
    ) -> Result<Owned<StatusResponse<'static>>, ClientError> {
        let copy = CopyCommand { messages: uids.into(), mailbox: MailboxName::new(mailbox) };
        self.complete(&Command::UidMove(copy))
    }

    /// Removes the messages with the flag `\Deleted`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn expunge(&mut self) -> Result<(), ClientError> {
        self.complete(&Command::Expunge).map(drop)
    }

    /// Creates a mailbox.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn create(&mut self, mailbox: &str) -> Result<(), ClientError> {
        self.complete(&Command::Create(CreateCommand::new(MailboxName::new(mailbox)))).map(drop)
    }

    /// Deletes a mailbox.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn delete(&mut self, mailbox: &str) -> Result<(), ClientError> {
        self.complete(&Command::Delete(MailboxName::new(mailbox))).map(drop)
    }

    /// Does nothing, but gives the server an opportunity to report changes; see [`take_updates`](Self::take_updates).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn noop(&mut self) -> Result<(), ClientError> {
        self.complete(&Command::Noop).map(drop)
    }
}
