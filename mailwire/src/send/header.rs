//! The beginning of a message that comes whole: what is left out of it, and what is read in it.
//!
//! In front of the first field, empty lines, a byte order mark and `From ` lines (mbox, `git format-patch`) are no part
//! of a message. Bcc and Resent-Bcc are left out wherever they stand in the header (RFC 5322 §3.6.3). A message that
//! begins with text gets the empty line that says so.

use super::separator::field_name;
use crate::compose::addresses_in;

/// How much of a line is looked at to find a field's name, in bytes.
const NAME: usize = 256;
/// How much of the recipients' fields is read for their addresses, in bytes.
const RECIPIENTS: usize = 1 << 20;
/// How much of a header is searched for the Message-ID, in bytes.
const HEADER: usize = 64 * 1024;

const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a header line by line, in pieces.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    state: Line,
    /// The beginning of the current line, as long as its field is not known.
    pending: Vec<u8>,
    /// A field or text has come.
    has_begun: bool,
    /// The field that the current line belongs to.
    field: Field,
    /// The value of From, of Message-ID and of the recipients' fields.
    from: Vec<u8>,
    message_id: Vec<u8>,
    recipients: Vec<u8>,
    resent: Vec<u8>,
    is_too_long: bool,
    has_date: bool,
}

/// What is known of the current line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Line {
    #[default]
    Unknown,
    Kept,
    LeftOut,
}

/// The fields that mean something here.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Field {
    #[default]
    Other,
    From,
    Date,
    MessageId,
    /// To and Cc.
    Recipients,
    Bcc,
    ResentRecipients,
    ResentBcc,
}

/// What a piece of a line comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept<'l> {
    /// Nothing yet, or nothing at all.
    Nothing,
    /// These bytes, and all that follow in this line.
    Bytes(&'l [u8]),
    /// The header is over before this line: [`take_text`](HeaderReader::take_text) has what there is of it.
    Text,
}

/// How a line of a header ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was left out.
    LeftOut,
    /// It is part of the header.
    Kept,
    /// It was empty: the header is over.
    OfHeader,
}

/// What was read in a header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    /// The Message-ID without its brackets.
    pub(crate) message_id: Option<String>,
    /// The first address of From.
    pub(crate) from: Option<String>,
    pub(crate) has_date: bool,
    /// The addresses of To, Cc and Bcc; of Resent-To, Resent-Cc and Resent-Bcc where there are some. As written.
    pub(crate) recipients: Vec<String>,
    /// The fields of the recipients are longer than what is read.
    pub(crate) has_too_many: bool,
}

impl HeaderReader {
    /// Takes a piece of a line. What it returns goes before the rest of the piece was looked at: it includes all of it.
    pub(super) fn text<'l>(&'l mut self, text: &'l [u8]) -> Kept<'l> {
        match self.state {
            Line::LeftOut => {
                self.note(text);
                Kept::Nothing
            }
            Line::Kept => {
                self.note(text);
                Kept::Bytes(text)
            }
            Line::Unknown => {
                self.pending.extend_from_slice(text);
                self.look(false)
            }
        }
    }

    /// The current line has no more pieces: what of it was held back. Before [`end`](Self::end).
    pub(super) fn rest(&mut self) -> Kept<'_> {
        if self.state == Line::Unknown && !self.pending.is_empty() { self.look(true) } else { Kept::Nothing }
    }

    /// The line has ended.
    pub(super) fn end(&mut self) -> End {
        let state = std::mem::take(&mut self.state);
        let is_empty = self.pending.is_empty();
        self.pending.clear();
        match state {
            Line::Kept => End::Kept,
            Line::LeftOut => End::LeftOut,
            Line::Unknown if is_empty && self.has_begun => End::OfHeader,
            Line::Unknown => End::LeftOut,
        }
    }

    /// Decides what the line is, if that is known by now; a whole line always is.
    fn look(&mut self, is_whole: bool) -> Kept<'_> {
        if !self.has_begun && !self.begin(is_whole) {
            return Kept::Nothing;
        }
        let Some(first) = self.pending.first() else { return Kept::Nothing };
        if !self.has_begun && matches!(first, b' ' | b'\t') {
            return Kept::Text;
        }
        if matches!(first, b' ' | b'\t') {
            // A folded line shares the fate of its field.
            return self.decide(self.field);
        }
        match self.pending.iter().position(|byte| *byte == b':') {
            Some(at) => {
                let name = field_name(&self.pending);
                if name.is_none() && !self.has_begun {
                    return Kept::Text;
                }
                let field = name.map_or(Field::Other, Field::of);
                let value = self.pending.get(at + 1..).unwrap_or_default().to_vec();
                self.start(field, &value);
                self.decide_after_start()
            }
            None if is_whole || self.pending.len() > NAME || self.is_no_name() => {
                if !self.has_begun {
                    return Kept::Text;
                }
                self.field = Field::Other;
                self.decide(Field::Other)
            }
            None => Kept::Nothing,
        }
    }

    /// Leaves out what stands in front of a message. Returns whether the line is part of it.
    fn begin(&mut self, is_whole: bool) -> bool {
        if self.pending.starts_with(MARK) {
            self.pending.drain(..MARK.len());
        }
        let line = &self.pending;
        let begins = |text: &[u8]| text.starts_with(line);
        if !is_whole
            && (begins(MARK) || begins(b"From ") || begins(b">From ") || line.trim_ascii().is_empty())
        {
            return false;
        }
        if line.trim_ascii().is_empty() {
            return false;
        }
        if line.starts_with(b"From ") || line.starts_with(b">From ") {
            self.state = Line::LeftOut;
            self.pending.clear();
            return false;
        }
        true
    }

    /// Whether what there is of the line cannot be the beginning of a field's name.
    fn is_no_name(&self) -> bool {
        let name = self.pending.trim_ascii_end();
        !name.iter().all(u8::is_ascii_graphic)
    }

    /// The text that begins a message without a header.
    pub(super) fn take_text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// A field begins.
    fn start(&mut self, field: Field, value: &[u8]) {
        self.has_begun = true;
        self.field = field;
        self.has_date |= field == Field::Date;
        // Two fields of one kind are two lists.
        self.note(b",");
        self.note(value);
    }

    fn decide(&mut self, field: Field) -> Kept<'_> {
        self.has_begun = true;
        let text = std::mem::take(&mut self.pending);
        self.note(&text);
        self.pending = text;
        self.field = field;
        self.decide_after_start()
    }

    fn decide_after_start(&mut self) -> Kept<'_> {
        if matches!(self.field, Field::Bcc | Field::ResentBcc) {
            self.state = Line::LeftOut;
            return Kept::Nothing;
        }
        self.state = Line::Kept;
        Kept::Bytes(&self.pending)
    }

    /// Keeps a part of a value that means something.
    fn note(&mut self, text: &[u8]) {
        let (value, most) = match self.field {
            Field::From => (&mut self.from, HEADER),
            Field::MessageId => (&mut self.message_id, HEADER),
            Field::Recipients | Field::Bcc => (&mut self.recipients, RECIPIENTS),
            Field::ResentRecipients | Field::ResentBcc => (&mut self.resent, RECIPIENTS),
            Field::Other | Field::Date => return,
        };
        if value.len() + text.len() > most {
            self.is_too_long |= most == RECIPIENTS;
        } else {
            value.extend_from_slice(text);
        }
    }

    /// Whether a field has begun.
    pub(super) const fn is_empty(&self) -> bool {
        !self.has_begun
    }

    /// What was read.
    pub(super) fn finish(self) -> Headers {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let resent = addresses_in(&text(&self.resent));
        let id = text(&self.message_id);
        let id = id.split(',').map(str::trim).find(|id| !id.is_empty()).unwrap_or_default();
        let id = id.trim_start_matches('<').trim_end_matches('>');
        Headers {
            message_id: Some(id.to_owned()).filter(|id| !id.is_empty()),
            from: addresses_in(&text(&self.from)).into_iter().next(),
            has_date: self.has_date,
            recipients: if resent.is_empty() { addresses_in(&text(&self.recipients)) } else { resent },
            has_too_many: self.is_too_long,
        }
    }
}

impl Field {
    fn of(name: &[u8]) -> Self {
        const FIELDS: [(&[u8], Field); 9] = [
            (b"from", Field::From),
            (b"date", Field::Date),
            (b"message-id", Field::MessageId),
            (b"to", Field::Recipients),
            (b"cc", Field::Recipients),
            (b"bcc", Field::Bcc),
            (b"resent-to", Field::ResentRecipients),
            (b"resent-cc", Field::ResentRecipients),
            (b"resent-bcc", Field::ResentBcc),
        ];
        let is = |(known, _): &&(&[u8], Self)| known.eq_ignore_ascii_case(name);
        FIELDS.iter().find(is).map_or(Self::Other, |(_, field)| *field)
    }
}
