//! FETCH responses that the server writes item by item (RFC 9051 §7.5.2).
//!
//! The parts of a response may be written in one order only, and the bytes of a body are counted. How each part is
//! encoded is in [`encode`](crate::encode). Which messages may be named is in [`data`](super::data).

use bytes::Bytes;
use proto_mail::{Error, Misuse, SendBuffer};

use super::session::Session;
use crate::encode;
use crate::fetch::encode::can_be_written;
use crate::types::{EncodedBodyStructure, EncodedEnvelope, FetchItem, Section};

/// The response that is written in parts, and how far it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// Every response is complete.
    Nothing,
    /// A FETCH response for this message, of which nothing was written.
    FetchBegun(u32),
    /// A FETCH response, after an item.
    FetchItems,
    /// A body in a FETCH response, of which so many bytes are missing.
    Body(u64),
    /// The numbers of a SEARCH or ESEARCH response.
    Search(super::search::Listing),
}

/// Writes one FETCH response, item by item.
///
/// A response needs at least one item: without any, nothing is written, and [`finish`](Self::finish) returns an error.
///
/// [`stream_body`](Self::stream_body) begins a body whose bytes are not at hand. They are given with
/// [`Server::write_body`](super::Server::write_body), now or later, as `tx` has room, and
/// [`Server::resume_fetch`](super::Server::resume_fetch) goes on with the response.
#[derive(Debug)]
#[must_use = "finish the response"]
pub struct FetchWriter<'a> {
    pub(super) session: &'a mut Session,
    pub(super) tx: &'a mut SendBuffer,
}

impl FetchWriter<'_> {
    /// Writes an item. An item that the grammar cannot express (a UID of 0, one that could not be parsed) is left out.
    /// The contents of a section are written by [`body`](Self::body) and [`stream_body`](Self::stream_body): their
    /// announcement alone is left out too.
    pub fn item(&mut self, item: &FetchItem<'_>) -> &mut Self {
        if !matches!(item, FetchItem::SectionLiteral { .. }) && can_be_written(item) {
            self.write(|writer| writer.item(item));
        }
        self
    }

    /// Writes an envelope that was encoded before.
    pub fn envelope(&mut self, envelope: &EncodedEnvelope) -> &mut Self {
        self.write(|writer| writer.envelope(envelope));
        self
    }

    /// Writes a body structure that was encoded before.
    pub fn body_structure(&mut self, body: &EncodedBodyStructure) -> &mut Self {
        self.write(|writer| writer.body_structure(body));
        self
    }

    /// Writes the contents of a section.
    pub fn body(&mut self, section: Section<'_>, origin: Option<u64>, contents: Bytes) -> &mut Self {
        self.announce(section, origin, contents.len() as u64);
        self.tx.put_payload(contents);
        self
    }

    /// Announces `size` bytes of a section. Nothing else can be written before they are.
    pub fn stream_body(mut self, section: Section<'_>, origin: Option<u64>, size: u64) {
        self.announce(section, origin, size);
        self.session.unfinished = Unfinished::Body(size);
    }

    /// Ends the response.
    ///
    /// # Errors
    /// [`Misuse::InvalidArgument`] if no item was written: a FETCH response cannot be empty. Nothing was written then.
    pub fn finish(self) -> Result<(), Error> {
        let begun = matches!(self.session.unfinished, Unfinished::FetchItems);
        self.session.unfinished = Unfinished::Nothing;
        if !begun {
            return Err(Misuse::InvalidArgument.into());
        }
        self.tx.put(b")\r\n");
        Ok(())
    }

    fn announce(&mut self, section: Section<'_>, origin: Option<u64>, size: u64) {
        let item = FetchItem::SectionLiteral { section, origin, size };
        self.write(|writer| writer.item(&item));
    }

    /// Writes an item, and before the first one what the response begins with.
    fn write(&mut self, write: impl FnOnce(&mut encode::FetchWriter<'_, SendBuffer>)) {
        let mut writer = match self.session.unfinished {
            Unfinished::FetchBegun(sequence) => encode::FetchWriter::start(sequence, self.tx),
            _ => encode::FetchWriter::resume(self.tx),
        };
        write(&mut writer);
        writer.pause();
        self.session.unfinished = Unfinished::FetchItems;
    }
}

impl Session {
    /// Begins a FETCH response.
    pub(super) fn begin_fetch(&mut self, sequence: u32) -> Result<(), Error> {
        self.may_write()?;
        self.check_sequence(sequence)?;
        self.unfinished = Unfinished::FetchBegun(sequence);
        Ok(())
    }

    /// Goes on with a response whose writer was dropped: after an item, or after a body that is complete.
    pub(super) fn resume_fetch(&mut self) -> Result<(), Error> {
        match self.unfinished {
            Unfinished::Body(0) => {
                self.unfinished = Unfinished::FetchItems;
                Ok(())
            }
            Unfinished::FetchBegun(_) | Unfinished::FetchItems => Ok(()),
            Unfinished::Body(_) => Err(Misuse::WrongLength.into()),
            Unfinished::Nothing | Unfinished::Search(_) => Err(Misuse::WrongState.into()),
        }
    }

    /// Writes the next bytes of the body that was announced.
    pub(super) fn write_body(&mut self, contents: Bytes, tx: &mut SendBuffer) -> Result<u64, Error> {
        let Unfinished::Body(left) = self.unfinished else { return Err(Misuse::WrongState.into()) };
        let left = left.checked_sub(contents.len() as u64).ok_or(Misuse::WrongLength)?;
        self.unfinished = Unfinished::Body(left);
        tx.put_payload(contents);
        Ok(left)
    }

    /// Checks that no response is half written.
    pub(super) const fn may_write(&self) -> Result<(), Error> {
        match self.unfinished {
            Unfinished::Nothing => Ok(()),
            Unfinished::FetchBegun(_)
            | Unfinished::FetchItems
            | Unfinished::Body(_)
            | Unfinished::Search(_) => Err(Error::Misuse(Misuse::WrongLength)),
        }
    }
}
