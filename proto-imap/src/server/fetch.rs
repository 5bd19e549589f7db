//! What a server says of its own: data of a mailbox and of messages (RFC 9051 §7.2 to §7.5).
//!
//! This file knows in which order parts of a FETCH response may be written, and counts the octets of a body. How each
//! part is written is said in [`encode`](crate::encode).

use bytes::Bytes;
use proto_mail::{Error, Misuse, SendBuffer};

use super::session::{Expunge, Session, Turn};
use crate::encode;
use crate::types::{EncodedBodyStructure, EncodedEnvelope, FetchItem, Response, Section, Untagged};

/// How far a FETCH response was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// Every response is complete.
    Nothing,
    /// The next item is the first.
    First,
    /// The next item is another one.
    Later,
    /// So many octets of a body are missing.
    Body(u64),
    /// The numbers of a SEARCH or ESEARCH response are being written.
    Search(super::search::Listing),
}

/// Writes one FETCH response, item by item.
///
/// A body whose octets are not at hand is begun with [`stream_body`](Self::stream_body); they are given with
/// [`Server::body`](super::Server::body), now or in later rounds of the loop, as `tx` has room, and the response goes on
/// with [`Server::resume_fetch`](super::Server::resume_fetch).
#[derive(Debug)]
#[must_use = "finish the response"]
pub struct FetchWriter<'a> {
    pub(super) session: &'a mut Session,
    pub(super) tx: &'a mut SendBuffer,
}

impl FetchWriter<'_> {
    /// Writes an item; nothing, if the grammar has no words for it. The contents of a section go out by
    /// [`body`](Self::body) and [`stream_body`](Self::stream_body): of an announcement alone, nothing is written here.
    pub fn item(&mut self, item: &FetchItem<'_>) -> &mut Self {
        if matches!(item, FetchItem::SectionLiteral { .. }) {
            return self;
        }
        self.write(|writer| writer.item(item));
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

    /// Writes the contents of a section, all of them.
    pub fn body(&mut self, section: Section<'_>, origin: Option<u64>, contents: Bytes) -> &mut Self {
        self.announce(section, origin, contents.len() as u64);
        self.tx.put_payload(contents);
        self
    }

    /// Announces the contents of a section, `size` octets of them. Nothing else can be written before they are.
    pub fn stream_body(mut self, section: Section<'_>, origin: Option<u64>, size: u64) {
        self.announce(section, origin, size);
        self.session.unfinished = Unfinished::Body(size);
    }

    /// Ends the response.
    pub fn finish(self) {
        self.tx.put(b")\r\n");
        self.session.unfinished = Unfinished::Nothing;
    }

    fn announce(&mut self, section: Section<'_>, origin: Option<u64>, size: u64) {
        let item = FetchItem::SectionLiteral { section, origin, size };
        self.write(|writer| writer.item(&item));
    }

    fn write(&mut self, write: impl FnOnce(&mut encode::FetchWriter<'_, SendBuffer>)) {
        let before = self.tx.queued_total();
        let mut writer = match self.session.unfinished {
            Unfinished::First => encode::FetchWriter::begun(self.tx),
            _ => encode::FetchWriter::resume(self.tx),
        };
        write(&mut writer);
        writer.pause();
        if self.tx.queued_total() > before {
            self.session.unfinished = Unfinished::Later;
        }
    }
}

impl Session {
    /// Begins a FETCH response.
    pub(super) fn begin_fetch(&mut self, sequence: u32, tx: &mut SendBuffer) -> Result<(), Error> {
        self.may_write()?;
        if sequence == 0 || !self.state.is_selected() {
            return Err(Misuse::WrongState.into());
        }
        encode::FetchWriter::start(sequence, tx).pause();
        self.unfinished = Unfinished::First;
        Ok(())
    }

    /// A response whose writer was dropped goes on: behind an item, or behind a body that is complete.
    pub(super) fn resume_fetch(&mut self) -> Result<(), Error> {
        match self.unfinished {
            Unfinished::Body(0) => {
                self.unfinished = Unfinished::Later;
                Ok(())
            }
            Unfinished::First | Unfinished::Later => Ok(()),
            Unfinished::Body(_) => Err(Misuse::WrongLength.into()),
            Unfinished::Nothing | Unfinished::Search(_) => Err(Misuse::WrongState.into()),
        }
    }

    /// The next octets of the body that was announced.
    pub(super) fn body(&mut self, contents: Bytes, tx: &mut SendBuffer) -> Result<u64, Error> {
        let Unfinished::Body(left) = self.unfinished else { return Err(Misuse::WrongState.into()) };
        let left = left.checked_sub(contents.len() as u64).ok_or(Misuse::WrongLength)?;
        self.unfinished = Unfinished::Body(left);
        tx.put_payload(contents);
        Ok(left)
    }

    /// Writes untagged data.
    pub(super) fn data(&mut self, data: &Untagged<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.may_write()?;
        if matches!(data, Untagged::Expunge(_) | Untagged::Vanished { .. }) && !self.may_expunge() {
            return Err(Misuse::WrongState.into());
        }
        encode::response(&Response::Untagged(*data), tx);
        Ok(())
    }

    /// Sequence numbers may change only while a command is in progress that does not use them (RFC 9051 §7.5.1).
    fn may_expunge(&self) -> bool {
        matches!(self.turn, Turn::Reply { expunge: Expunge::Allowed, .. } | Turn::Idling | Turn::IdleReply)
    }

    pub(super) fn may_write(&self) -> Result<(), Error> {
        match self.unfinished {
            Unfinished::Nothing => Ok(()),
            Unfinished::First | Unfinished::Later | Unfinished::Body(_) | Unfinished::Search(_) => {
                Err(Misuse::WrongLength.into())
            }
        }
    }
}
