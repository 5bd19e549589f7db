//! Writes FETCH responses item by item (RFC 9051 §7.5.2).
//!
//! This module checks the order of a response's parts and counts the bytes of a body. [`encode`](crate::encode)
//! encodes the parts. [`data`](super::data) decides which messages may be named.

use bytes::Bytes;
use proto_mail::{Error, Misuse, SendBuffer};

use super::commands::UID_ONLY;
use super::session::Session;
use super::unfinished::Unfinished;
use crate::encode;
use crate::fetch::encode::can_be_written;
use crate::types::{EncodedBodyStructure, EncodedEnvelope, FetchItem, Section};

/// Writes a FETCH response item by item.
///
/// A response needs at least one item. If there is none, nothing is written and [`finish`](Self::finish) returns an
/// error.
///
/// [`stream_body`](Self::stream_body) starts a body that is not in memory. Write its bytes with
/// [`Server::write_body`](super::Server::write_body) when `tx` has room, then continue the response with
/// [`Server::resume_fetch`](super::Server::resume_fetch).
#[derive(Debug)]
#[must_use = "finish the response"]
pub struct FetchWriter<'a> {
    pub(super) session: &'a mut Session,
    pub(super) tx: &'a mut SendBuffer,
}

impl FetchWriter<'_> {
    /// Writes an item. Skips an item that the grammar cannot express, such as a UID of 0 or an item that could not be
    /// parsed. Also skips the announcement of a section's contents: use [`body`](Self::body) or
    /// [`stream_body`](Self::stream_body) for them.
    pub fn item(&mut self, item: &FetchItem<'_>) -> &mut Self {
        if !matches!(item, FetchItem::SectionLiteral { .. }) && can_be_written(item) {
            self.write(|writer| writer.item(item));
        }
        self
    }

    /// Writes an already encoded envelope.
    pub fn envelope(&mut self, envelope: &EncodedEnvelope) -> &mut Self {
        self.write(|writer| writer.envelope(envelope));
        self
    }

    /// Writes an already encoded body structure.
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

    /// Announces `size` bytes of a section. The application must write these bytes before anything else.
    pub fn stream_body(mut self, section: Section<'_>, origin: Option<u64>, size: u64) {
        self.announce(section, origin, size);
        self.session.unfinished = Unfinished::Body(size);
    }

    /// Ends the response.
    ///
    /// # Errors
    /// [`Misuse::InvalidArgument`] if no item was written, because a FETCH response cannot be empty. Nothing is sent
    /// then.
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

    /// Writes an item; before the first item it writes the start of the response.
    fn write(&mut self, write: impl FnOnce(&mut encode::FetchWriter<'_, SendBuffer>)) {
        let mut writer = match self.session.unfinished {
            Unfinished::FetchBegun(sequence) => encode::FetchWriter::start(sequence, self.tx),
            Unfinished::UidFetchBegun(uid) => encode::FetchWriter::start_uid(uid, self.tx),
            _ => encode::FetchWriter::resume(self.tx),
        };
        write(&mut writer);
        writer.pause();
        self.session.unfinished = Unfinished::FetchItems;
    }
}

impl Session {
    /// Starts a FETCH response.
    pub(super) fn begin_fetch(&mut self, sequence: u32) -> Result<(), Error> {
        self.may_write()?;
        if self.is_enabled(UID_ONLY) {
            return Err(Misuse::WrongState.into());
        }
        self.check_sequence(sequence)?;
        self.unfinished = Unfinished::FetchBegun(sequence);
        Ok(())
    }

    /// Starts a UIDFETCH response.
    pub(super) fn begin_uid_fetch(&mut self, uid: u32) -> Result<(), Error> {
        self.may_write()?;
        self.check_uid(uid)?;
        self.unfinished = Unfinished::UidFetchBegun(uid);
        Ok(())
    }

    /// Continues a response whose writer was dropped after an item, or after a complete body.
    pub(super) fn resume_fetch(&mut self) -> Result<(), Error> {
        match self.unfinished {
            Unfinished::Body(0) => {
                self.unfinished = Unfinished::FetchItems;
                Ok(())
            }
            Unfinished::FetchBegun(_) | Unfinished::UidFetchBegun(_) | Unfinished::FetchItems => Ok(()),
            Unfinished::Body(_) => Err(Misuse::WrongLength.into()),
            Unfinished::Nothing
            | Unfinished::UrlData(_)
            | Unfinished::UrlMetadata(_)
            | Unfinished::Search(_)
            | Unfinished::Thread(_) => Err(Misuse::WrongState.into()),
        }
    }

    /// Writes the next bytes of the announced body.
    pub(super) fn write_body(&mut self, contents: Bytes, tx: &mut SendBuffer) -> Result<u64, Error> {
        let (Unfinished::Body(left) | Unfinished::UrlData(left) | Unfinished::UrlMetadata(left)) =
            &mut self.unfinished
        else {
            return Err(Misuse::WrongState.into());
        };
        *left = left.checked_sub(contents.len() as u64).ok_or(Misuse::WrongLength)?;
        let left = *left;
        tx.put_payload(contents);
        Ok(left)
    }

    /// Checks that no response is unfinished.
    pub(super) const fn may_write(&self) -> Result<(), Error> {
        match self.unfinished {
            Unfinished::Nothing => Ok(()),
            Unfinished::FetchBegun(_)
            | Unfinished::UidFetchBegun(_)
            | Unfinished::FetchItems
            | Unfinished::Body(_)
            | Unfinished::UrlData(_)
            | Unfinished::UrlMetadata(_)
            | Unfinished::Search(_)
            | Unfinished::Thread(_) => Err(Error::Misuse(Misuse::WrongLength)),
        }
    }
}
