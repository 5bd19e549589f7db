//! FETCH: items as they arrive, and bodies as readers.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use proto_imap::{
    client::{CommandId, Event},
    types::{Command, FetchAttribute, FetchCommand, FetchItem, LazyList, Owned, Section, SequenceSet},
};
use proto_mail::{Channel, Secure};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use super::client::{ImapClient, accepted};
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
pub enum Fetched<'f, C: Channel = Secure> {
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

/// What the machine has to report of a FETCH.
enum Found {
    Message(u32),
    Item(Owned<FetchItem<'static>>),
    Body(BodyStart),
    End,
    Completed,
}

/// What the server announces of a body.
#[derive(Debug)]
struct BodyStart {
    section: Owned<Section<'static>>,
    origin: Option<u64>,
    size: Option<u64>,
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
        let id = self.start(|client, tx| client.send(command, tx)).await?;
        Ok(Fetch { client: self, id, is_over: false })
    }
}

impl<C: Channel> Fetch<'_, C> {
    /// Returns the next part; `None` when the server has completed the command.
    ///
    /// # Errors
    /// [`Error::Imap`] for NO and BAD; the connection or the session failed.
    pub async fn next(&mut self) -> Result<Option<Fetched<'_, C>>, Error> {
        Ok(match self.find(|_| true).await? {
            Found::Message(sequence) => Some(Fetched::Message(sequence)),
            Found::Item(item) => Some(Fetched::Item(item)),
            Found::Body(start) => Some(Fetched::Body(Body::new(self.client, start))),
            Found::End => Some(Fetched::End),
            Found::Completed => None,
        })
    }

    /// Skips everything up to the next body and returns it; `None` when the server has completed the command.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_body(&mut self) -> Result<Option<Body<'_, C>>, Error> {
        Ok(match self.find(|event| matches!(event, Event::BodyStart { .. })).await? {
            Found::Body(start) => Some(Body::new(self.client, start)),
            _ => None,
        })
    }

    /// Waits for an event that is wanted, or the completion.
    async fn find(&mut self, is_wanted: impl Fn(&Event<'_>) -> bool) -> Result<Found, Error> {
        if self.is_over {
            return Ok(Found::Completed);
        }
        let id = self.id;
        let found = self.client.until(|event, tracker| {
            Ok(match event {
                Event::Completed { id: completed, status } if completed == id => {
                    accepted(&status)?;
                    Some(Found::Completed)
                }
                Event::Data(data) => {
                    tracker.updates.add(&data);
                    None
                }
                event if !is_wanted(&event) => None,
                Event::FetchStart { sequence } => Some(Found::Message(sequence)),
                Event::FetchItem(item) => Some(Found::Item(item.into_owned())),
                Event::BodyStart { section, origin, size } => {
                    Some(Found::Body(BodyStart { section: section.into_owned(), origin, size }))
                }
                Event::FetchEnd => Some(Found::End),
                _ => None,
            })
        });
        let found = found.await;
        self.is_over = matches!(found, Ok(Found::Completed) | Err(_));
        found
    }
}

/// The contents of a section, as they arrive. As an [`AsyncBufRead`] it copies nothing: the bytes are those of the receive
/// buffer.
///
/// The server is not read from faster than the body is.
#[derive(Debug)]
pub struct Body<'f, C: Channel = Secure> {
    client: &'f mut ImapClient<C>,
    start: BodyStart,
    is_over: bool,
}

impl<'f, C: Channel> Body<'f, C> {
    const fn new(client: &'f mut ImapClient<C>, start: BodyStart) -> Self {
        let is_over = start.size.is_none();
        Self { client, start, is_over }
    }

    /// Returns the section.
    #[must_use]
    pub fn section(&self) -> Section<'_> {
        self.start.section.view()
    }

    /// Returns the offset of the contents in the section, in bytes, if only a part was requested.
    #[must_use]
    pub const fn origin(&self) -> Option<u64> {
        self.start.origin
    }

    /// Returns the size of the contents in bytes; `None` if the server has no such section.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.start.size
    }

    /// Waits until there are bytes to read, or the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.is_over || !self.client.tracker.chunk.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let chunk = ready!(self.client.poll_until(
            &mut |event, _| {
                Ok(match event {
                    Event::BodyChunk(bytes) => Some(Some((bytes.as_ptr().addr(), bytes.len()))),
                    Event::BodyEnd => Some(None),
                    _ => None,
                })
            },
            cx,
        ))?;
        match chunk {
            Some((address, length)) => {
                // The chunk is a part of the receive buffer, where it stays until the next event is taken.
                let offset = address.saturating_sub(self.client.connection.received().as_ptr().addr());
                self.client.tracker.chunk = offset..offset.saturating_add(length);
            }
            None => self.is_over = true,
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: Channel> AsyncBufRead for Body<'_, C> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_chunk(cx))?;
        let received = this.client.connection.received();
        Poll::Ready(Ok(received.get(this.client.tracker.chunk.clone()).unwrap_or_default()))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let chunk = &mut self.get_mut().client.tracker.chunk;
        chunk.start = chunk.start.saturating_add(amount).min(chunk.end);
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
