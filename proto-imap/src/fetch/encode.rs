//! Writes FETCH responses.

use crate::annotation::{self, put_entries};
use crate::body_structure::encode::{Detail, body};
use crate::body_structure::encoded::EncodedBodyStructure;
use crate::body_structure::parse::NOTHING;
use crate::date_time::DateTime;
use crate::date_time::encode::date_time;
use crate::envelope::encode::envelope;
use crate::envelope::encoded::EncodedEnvelope;
use crate::fetch::FetchItem;
use crate::flags::encode::flag_list;
use crate::grammar::sink::{Sink, number, parenthesised};
use crate::grammar::string::IString;
use crate::grammar::string::encode::{is_atom, literal_header, nstring, string};
use crate::grammar::value::write_value;
use crate::section::{SectionItem, section_name, spec};

/// Writes a FETCH response: `* 12 FETCH (FLAGS (\Seen) UID 7)`.
///
/// ```
/// use proto_imap::encode::FetchWriter;
/// use proto_imap::types::{Flag, FetchItem, FlagList};
///
/// let mut out = Vec::new();
/// let mut fetch = FetchWriter::start(12, &mut out);
/// fetch.item(&FetchItem::Flags(FlagList::new(&[Flag::Seen])));
/// fetch.item(&FetchItem::Uid(7));
/// fetch.end();
/// assert_eq!(out, b"* 12 FETCH (FLAGS (\\Seen) UID 7)\r\n");
/// ```
#[must_use = "a FETCH response is to be ended"]
#[derive(Debug)]
pub struct FetchWriter<'o, S: Sink + ?Sized> {
    out: &'o mut S,
    first: bool,
}

impl<'o, S: Sink + ?Sized> FetchWriter<'o, S> {
    /// Starts the response for the message with this sequence number, which must not be 0. It needs at least one
    /// item.
    pub fn start(sequence: u32, out: &'o mut S) -> Self {
        out.put(b"* ");
        number(sequence.max(1).into(), out);
        out.put(b" FETCH (");
        Self { out, first: true }
    }

    /// Starts a UIDFETCH response (RFC 9586) for the message with this UID, which must not be 0. It needs at least one
    /// item.
    pub fn start_uid(uid: u32, out: &'o mut S) -> Self {
        out.put(b"* ");
        number(uid.max(1).into(), out);
        out.put(b" UIDFETCH (");
        Self { out, first: true }
    }

    /// Continues a response after the bytes of a literal.
    pub const fn resume(out: &'o mut S) -> Self {
        Self { out, first: false }
    }

    /// Writes an item. Skips an item that the grammar cannot express: a UID of 0, or an item that could not be
    /// parsed.
    ///
    /// After a [`FetchItem::SectionLiteral`] the caller must write the announced number of bytes, then call
    /// [`resume`](Self::resume).
    pub fn item(&mut self, item: &FetchItem<'_>) {
        if !can_be_written(item) {
            return;
        }
        self.separate();
        msg_att_item(item, self.out);
    }

    /// Writes an already encoded envelope.
    pub fn envelope(&mut self, envelope: &EncodedEnvelope) {
        self.separate();
        self.out.put(b"ENVELOPE ");
        self.out.put(envelope.wire());
    }

    /// Writes an already encoded body structure.
    pub fn body_structure(&mut self, body: &EncodedBodyStructure) {
        self.separate();
        self.out.put(b"BODYSTRUCTURE ");
        self.out.put(body.wire());
    }

    /// Ends the response.
    pub fn end(self) {
        self.out.put(b")\r\n");
    }

    /// Leaves the response open. Continue it with [`resume`](Self::resume) after the bytes of a literal.
    pub fn pause(self) {}

    fn separate(&mut self) {
        if !self.first {
            self.out.put(b" ");
        }
        self.first = false;
    }
}

pub(crate) fn can_be_written(item: &FetchItem<'_>) -> bool {
    match item {
        FetchItem::Uid(uid) => *uid > 0,
        FetchItem::InternalDate { date, .. } => date.is_some(),
        FetchItem::EmailId(id) | FetchItem::ThreadId(Some(id)) => is_atom(*id),
        FetchItem::Other { name, .. } => is_atom(*name),
        FetchItem::Envelope(envelope) => !envelope.is_none(),
        FetchItem::Body(structure) | FetchItem::BodyStructure(structure) => !structure.is_none(),
        FetchItem::Annotation(entries) => annotation::can_be_written(entries),
        FetchItem::Unparsed { .. } => false,
        _ => true,
    }
}

fn msg_att_item<S: Sink + ?Sized>(item: &FetchItem<'_>, out: &mut S) {
    match item {
        FetchItem::Flags(flags) => {
            out.put(b"FLAGS ");
            flag_list(*flags, out);
        }
        FetchItem::Uid(uid) => named_number(b"UID ", (*uid).into(), out),
        FetchItem::Size(size) => named_number(b"RFC822.SIZE ", *size, out),
        FetchItem::InternalDate { date, .. } => {
            out.put(b"INTERNALDATE ");
            optional_date(*date, out);
        }
        FetchItem::Envelope(value) => {
            out.put(b"ENVELOPE ");
            envelope(&value.view().unwrap_or_default(), out);
        }
        FetchItem::Body(structure) => {
            out.put(b"BODY ");
            body(&structure.view().unwrap_or(NOTHING), Detail::Body, out);
        }
        FetchItem::BodyStructure(structure) => {
            out.put(b"BODYSTRUCTURE ");
            body(&structure.view().unwrap_or(NOTHING), Detail::BodyStructure, out);
        }
        FetchItem::Section { section, origin, value } => {
            section_name(section, *origin, out);
            match value {
                Some(value) if section.item() == SectionItem::Binary => literal8(*value, out),
                value => nstring(*value, out),
            }
        }
        FetchItem::SectionLiteral { section, origin, size } => {
            section_name(section, *origin, out);
            if section.item() == SectionItem::Binary {
                out.put(b"~");
            }
            literal_header(*size, out);
        }
        FetchItem::BinarySize { section, size } => {
            out.put(b"BINARY.SIZE[");
            spec(section, out);
            named_number(b"] ", *size, out);
        }
        _ => extension_item(item, out),
    }
}

fn extension_item<S: Sink + ?Sized>(item: &FetchItem<'_>, out: &mut S) {
    let object_id = |name: &[u8], id: IString<'_>, out: &mut S| {
        out.put(name);
        out.put(b"(");
        out.put(id.raw());
        out.put(b")");
    };
    match item {
        FetchItem::ModSeq(value) => {
            named_number(b"MODSEQ (", *value, out);
            out.put(b")");
        }
        FetchItem::EmailId(id) => object_id(b"EMAILID ", *id, out),
        FetchItem::ThreadId(Some(id)) => object_id(b"THREADID ", *id, out),
        FetchItem::ThreadId(None) => out.put(b"THREADID NIL"),
        FetchItem::Preview(preview) => {
            out.put(b"PREVIEW ");
            nstring(*preview, out);
        }
        FetchItem::SaveDate(date) => {
            out.put(b"SAVEDATE ");
            optional_date(*date, out);
        }
        FetchItem::Annotation(entries) => {
            out.put(b"ANNOTATION ");
            put_entries(entries, out);
        }
        FetchItem::GmailMessageId(id) => named_number(b"X-GM-MSGID ", *id, out),
        FetchItem::GmailThreadId(id) => named_number(b"X-GM-THRID ", *id, out),
        FetchItem::GmailLabels(labels) => {
            out.put(b"X-GM-LABELS ");
            parenthesised(*labels, out, |label, out| string(label, out));
        }
        FetchItem::Other { name, value: raw } => {
            out.put(name.raw());
            out.put(b" ");
            write_value(*raw, out);
        }
        _ => {}
    }
}

fn optional_date(date: Option<DateTime>, out: &mut (impl Sink + ?Sized)) {
    match date {
        Some(date) => date_time(date, out),
        None => out.put(b"NIL"),
    }
}

fn named_number(name: &[u8], value: u64, out: &mut (impl Sink + ?Sized)) {
    out.put(name);
    number(value, out);
}

fn literal8(contents: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b"~");
    literal_header(contents.iter().count() as u64, out);
    out.put(&contents.as_bytes());
}
