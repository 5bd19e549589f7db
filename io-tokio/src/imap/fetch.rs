//! FETCH: items as they arrive, and bodies as readers.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use io_common::client::{BodyInfo, BodyReader, FetchFilter, FetchStep};
use proto_imap::{
    client::{CommandId, Event},
    types::{Command, FetchAttribute, FetchCommand, FetchItem, LazyList, Owned, Section, SequenceSet},
};
use proto_mail::{Channel, Secure};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use super::client::ImapClient;
use crate::error::Error;

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
    pub async fn fetch(
        &mut self,
        messages: impl Into<SequenceSet<'_>>,
        attributes: &[FetchAttribute<'_>],
    ) -> Result<Fetch<'_, C>, Error> {
        self.fetch_by(&Command::Fetch(FetchCommand::new(messages.into(), LazyList::new(attributes)))).await
    }

    /// Fetches these attributes of the messages with these UIDs.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn uid_fetch(
        &mut self,
        uids: impl Into<SequenceSet<'_>>,
        attributes: &[FetchAttribute<'_>],
    ) -> Result<Fetch<'_, C>, Error> {
        self.fetch_by(&Command::UidFetch(FetchCommand::new(uids.into(), LazyList::new(attributes)))).await
    }

    async fn fetch_by(&mut self, command: &Command<'_>) -> Result<Fetch<'_, C>, Error> {
        let id = self.send(command).await?;
        Ok(Fetch { client: self, id, is_over: false })
    }
}

impl<C: Channel> Fetch<'_, C> {
    /// Returns the next part; `None` when the server has completed the command.
    ///
    /// # Errors
    /// [`Error::Imap`] for NO and BAD; the connection or the session failed.
    pub async fn next(&mut self) -> Result<Option<FetchPart<'_, C>>, Error> {
        Ok(match self.step(FetchFilter::Everything).await? {
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
    pub async fn next_body(&mut self) -> Result<Option<Body<'_, C>>, Error> {
        Ok(match self.step(FetchFilter::Bodies).await? {
            FetchStep::Body(info) => Some(Body::new(self.client, info)),
            _ => None,
        })
    }

    async fn step(&mut self, filter: FetchFilter) -> Result<FetchStep, Error> {
        if self.is_over {
            return Ok(FetchStep::Completed);
        }
        let id = self.id;
        let step = self.client.session.until(|event, state, _, _| state.fetch_step(id, filter, event)).await;
        self.is_over = matches!(step, Ok(FetchStep::Completed) | Err(_));
        step
    }
}

/// The contents of a section, as they arrive. As an [`AsyncBufRead`] it copies nothing: the bytes are those of the receive
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
}

impl<C: Channel> AsyncBufRead for Body<'_, C> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self { client, reader } = self.get_mut();
        let session = &mut client.session;
        while reader.needs_event() {
            let step =
                &mut |event: Event<'_>, _: &mut _, _: &mut _, _: &mut _| Ok(BodyReader::position(&event));
            let position = ready!(session.poll_until(step, cx))?;
            reader.continue_at(position, session.connection.received());
        }
        Poll::Ready(Ok(reader.bytes(session.connection.received())))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().reader.consume(amount);
    }
}

impl<C: Channel> AsyncRead for Body<'_, C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = bytes.len().min(buffer.remaining());
        buffer.put_slice(bytes.get(..count).unwrap_or_default());
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}
