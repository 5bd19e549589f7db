//! FETCH: its items and bodies, as the machine reports them.

use std::ops::Range;

use proto_imap::{
    client::{CommandId, Event},
    types::{FetchItem, Owned, Section},
};

use super::{
    error::ClientError,
    imap_state::{ImapState, accepted},
};

/// What a FETCH has brought.
#[derive(Debug)]
pub enum FetchStep {
    /// The data of the message with this sequence number follow.
    Message(u32),
    /// One item of the message's data.
    Item(Owned<FetchItem<'static>>),
    /// The contents of a section follow.
    Body(BodyInfo),
    /// The message's data are complete.
    End,
    /// The server has completed the command.
    Completed,
}

/// What a program wants to know of a FETCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchFilter {
    /// All that arrives.
    Everything,
    /// Bodies only.
    Bodies,
}

/// What the server announces of a body.
#[derive(Debug)]
#[non_exhaustive]
pub struct BodyInfo {
    /// The section.
    pub section: Owned<Section<'static>>,
    /// The offset of the contents in the section, in bytes, if only a part was requested.
    pub origin: Option<u64>,
    /// The size of the contents in bytes; `None` if the server has no such section.
    pub size: Option<u64>,
}

impl ImapState {
    /// Returns what an event brings for this FETCH.
    ///
    /// # Errors
    /// [`ClientError::Imap`] for NO and BAD.
    pub fn fetch_step(
        &mut self,
        id: CommandId,
        filter: FetchFilter,
        event: Event<'_>,
    ) -> Result<Option<FetchStep>, ClientError> {
        Ok(match event {
            Event::Completed { id: completed, status } if completed == id => {
                accepted(&status)?;
                Some(FetchStep::Completed)
            }
            Event::Data(data) => {
                self.add_update(&data);
                None
            }
            Event::BodyStart { section, origin, size } => {
                Some(FetchStep::Body(BodyInfo { section: section.into_owned(), origin, size }))
            }
            _ if filter == FetchFilter::Bodies => None,
            Event::FetchStart { sequence } => Some(FetchStep::Message(sequence)),
            Event::FetchItem(item) => Some(FetchStep::Item(item.into_owned())),
            Event::FetchEnd => Some(FetchStep::End),
            _ => None,
        })
    }
}

/// Reads a body in place: its bytes stay in the receive buffer.
#[derive(Debug)]
pub struct BodyReader {
    info: BodyInfo,
    is_over: bool,
    /// The rest of the chunk that is being read: its range in the receive buffer. It is valid until the machine is asked
    /// for its next event.
    chunk: Range<usize>,
}

impl BodyReader {
    /// A reader at the beginning of a body.
    #[must_use]
    pub const fn new(info: BodyInfo) -> Self {
        let is_over = info.size.is_none();
        Self { info, is_over, chunk: 0..0 }
    }

    /// Returns what the server has announced.
    #[must_use]
    pub const fn info(&self) -> &BodyInfo {
        &self.info
    }

    /// Returns whether the next event is needed to read on. False at the end.
    #[must_use]
    pub fn needs_event(&self) -> bool {
        !self.is_over && self.chunk.is_empty()
    }

    /// Returns where an event's chunk is in memory, and its length in bytes; `Some(None)` at the end of the body.
    #[must_use]
    pub fn position(event: &Event<'_>) -> Option<Option<(usize, usize)>> {
        match event {
            Event::BodyChunk(bytes) => Some(Some((bytes.as_ptr().addr(), bytes.len()))),
            Event::BodyEnd => Some(None),
            _ => None,
        }
    }

    /// Continues with the chunk at this [`position`](Self::position). `received` is what the receive buffer holds.
    pub fn continue_at(&mut self, position: Option<(usize, usize)>, received: &[u8]) {
        let Some((address, length)) = position else {
            self.is_over = true;
            return;
        };
        // The chunk is a part of the receive buffer, where it stays until the next event is taken.
        let offset = address.saturating_sub(received.as_ptr().addr());
        self.chunk = offset..offset.saturating_add(length);
    }

    /// Returns the bytes that can be read now.
    #[must_use]
    pub fn bytes<'r>(&self, received: &'r [u8]) -> &'r [u8] {
        received.get(self.chunk.clone()).unwrap_or_default()
    }

    /// Marks bytes as read.
    pub fn consume(&mut self, amount: usize) {
        self.chunk.start = self.chunk.start.saturating_add(amount).min(self.chunk.end);
    }
}
