//! FETCH: items as they arrive, and bodies as readers.

use std::io::{self, BufRead, Read, Write};

use io_common::client::{BodyInfo, BodyReader, ClientError, FetchFilter, FetchStep};
use proto_imap::{
    client::CommandId,
    types::{Command, FetchAttribute, FetchCommand, FetchItem, LazyList, Owned, Section, SequenceSet},
};
use proto_mail::{Channel, Secure};

use super::client::ImapClient;

/// A FETCH in progress.
///
/// Dropping it before the end skips the rest at the next command.
#[derive(Debug)]
#[must_use = "call `next` until it returns `None`"]
pub struct Fetch<'c, C: Channel = Secure> {
    client: &'c mut ImapClient<C>,
    id: CommandId,
    is_over: bool,
}

/// A part of what a FETCH returns. A message's parts arrive as one [`Message`](Self::Message), items and bodies in the
/// server's order, and [`End`](Self::End).
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchPart<'f, C: Channel = Secure> {
    /// The data of the message with this sequence number follow. The server may also report messages that were not asked
    /// for.
    Message(u32),
    /// One item of the message's data.
    Item(Owned<FetchItem<'static>>),
    /// The contents of a section. What is not read is skipped.
    Body(Body<'f, C>),
    /// The message's data are complete.
    End,
}

impl<C: Channel> ImapClient<C> {
    /// Fetches these attributes of the messages with these sequence numbers.
    ///
    /// # Errors
    /// Those of [`Client::send`](proto_imap::client::Client::send); the connection or the session failed. NO and BAD are
    /// reported by [`Fetch::next`].
    pub fn fetch<'a>(
        &mut self,
        messages: impl Into<SequenceSet<'a>>,
        attributes: &[FetchAttribute<'_>],
    ) -> Result<Fetch<'_, C>, ClientError> {
        self.fetch_by(&Command::Fetch(FetchCommand::new(messages.into(), LazyList::new(attributes))))
    }

    /// Fetches these attributes of the messages with these UIDs.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub fn uid_fetch<'a>(
        &mut self,
        uids: impl Into<SequenceSet<'a>>,
        attributes: &[FetchAttribute<'_>],
    ) -> Result<Fetch<'_, C>, ClientError> {
        self.fetch_by(&Command::UidFetch(FetchCommand::new(uids.into(), LazyList::new(attributes))))
    }

    fn fetch_by(&mut self, command: &Command<'_>) -> Result<Fetch<'_, C>, ClientError> {
        let id = self.send(command)?;
        Ok(Fetch { client: self, id, is_over: false })
    }
}

impl<C: Channel> Fetch<'_, C> {
    /// Waits for the next part and returns it; `None` when the server has completed the command.
    ///
    /// # Errors
    /// [`ClientError::Imap`] for NO and BAD; the connection or the session failed.
    #[expect(
        clippy::should_implement_trait,
        reason = "a part borrows the fetch: it cannot be an iterator's item"
    )]
    pub fn next(&mut self) -> Result<Option<FetchPart<'_, C>>, ClientError> {
        Ok(match self.step(FetchFilter::Everything)? {
            FetchStep::Message(sequence) => Some(FetchPart::Message(sequence)),
            FetchStep::Item(item) => Some(FetchPart::Item(item)),
            FetchStep::Body(info) => Some(FetchPart::Body(Body::new(self.client, info))),
            FetchStep::End => Some(FetchPart::End),
            FetchStep::Completed => None,
        })
    }

    /// Skips everything up to the next body and returns it; `None` when the server has completed the command.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_body(&mut self) -> Result<Option<Body<'_, C>>, ClientError> {
        Ok(match self.step(FetchFilter::Bodies)? {
            FetchStep::Body(info) => Some(Body::new(self.client, info)),
            _ => None,
        })
    }

    fn step(&mut self, filter: FetchFilter) -> Result<FetchStep, ClientError> {
        if self.is_over {
            return Ok(FetchStep::Completed);
        }
        let id = self.id;
        let step = self.client.session.until(|event, state, _, _| state.fetch_step(id, filter, event));
        self.is_over = matches!(step, Ok(FetchStep::Completed) | Err(_));
        step
    }
}

/// The contents of a section, as they arrive. As a [`BufRead`] it copies nothing: the bytes are those of the receive
/// buffer.
///
/// The server is not read from faster than the body is.
#[derive(Debug)]
pub struct Body<'f, C: Channel = Secure> {
    client: &'f mut ImapClient<C>,
    reader: BodyReader,
}

impl<'f, C: Channel> Body<'f, C> {
    const fn new(client: &'f mut ImapClient<C>, info: BodyInfo) -> Self {
        Self { client, reader: BodyReader::new(info) }
    }

    /// Returns the section.
    #[must_use]
    pub fn section(&self) -> Section<'_> {
        self.reader.info().section.view()
    }

    /// Returns the offset of the contents in the section, in bytes, if only a part was requested.
    #[must_use]
    pub const fn origin(&self) -> Option<u64> {
        self.reader.info().origin
    }

    /// Returns the size of the contents in bytes; `None` if the server has no such section.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.reader.info().size
    }

    /// Writes the rest of the body to `writer`, straight from the receive buffer. Returns its length in bytes.
    ///
    /// # Errors
    /// Those of `writer`; the connection or the session failed.
    pub fn copy_to(&mut self, writer: &mut (impl Write + ?Sized)) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let bytes = self.fill_buf()?;
            if bytes.is_empty() {
                return Ok(total);
            }
            writer.write_all(bytes)?;
            let count = bytes.len();
            self.consume(count);
            total += count as u64;
        }
    }
}

impl<C: Channel> BufRead for Body<'_, C> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Self { client, reader } = self;
        let session = &mut client.session;
        while reader.needs_event() {
            let position = session.until(|event, _, _, _| Ok(BodyReader::position(&event)))?;
            reader.continue_at(position, session.connection.received());
        }
        Ok(reader.bytes(session.connection.received()))
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

impl<C: Channel> Read for Body<'_, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
