//! Reads the header of a complete message: which lines to remove, and the fields that sending needs.
//!
//! Before the first field, empty lines, a byte order mark and `From ` lines (mbox, `git format-patch`) are removed. Bcc and
//! Resent-Bcc are removed anywhere in the header (RFC 5322 §3.6.3). A message that begins with text gets an empty line
//! before it.

use super::separator::field_name;
use crate::compose::addresses_in;

/// The longest field name, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// The maximum number of bytes of recipient fields.
const MAX_RECIPIENT_BYTES: usize = 1 << 20;
/// The maximum number of bytes of the From field, and of the Message-ID field.
const MAX_FIELD_BYTES: usize = 64 * 1024;

/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a header line by line. A line may come in several parts.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    state: LineState,
    /// The beginning of the current line, until its field is known.
    pending: Vec<u8>,
    /// Whether a field or text has begun.
    has_begun: bool,
    /// The field that the current line belongs to.
    field: Field,
    /// The values of From, Message-ID and the recipient fields.
    from: Vec<u8>,
    message_id: Vec<u8>,
    recipients: Vec<u8>,
    resent: Vec<u8>,
    /// Whether the recipient fields exceed [`MAX_RECIPIENT_BYTES`].
    has_too_many_recipients: bool,
    has_date: bool,
}

/// What to do with the current line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LineState {
    #[default]
    Unknown,
    Keep,
    Remove,
}

/// The fields that sending uses.
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

/// The result of reading a part of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LinePart<'l> {
    /// Nothing to write, at least not yet.
    Nothing,
    /// Write these bytes.
    Bytes(&'l [u8]),
    /// The line is body text. [`take_text`](HeaderReader::take_text) returns its beginning.
    Text,
}

/// The result of reading a whole line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// The line is removed.
    Removed,
    /// The line is part of the header.
    Kept,
    /// The line is empty and ends the header.
    HeaderEnd,
}

/// The fields of a header that sending uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    /// The Message-ID without its brackets.
    pub(crate) message_id: Option<String>,
    /// The first address of From.
    pub(crate) from: Option<String>,
    pub(crate) has_date: bool,
    /// The addresses in To, Cc and Bcc, or in Resent-To, Resent-Cc and Resent-Bcc if there are any. They are kept as
    /// written.
    pub(crate) recipients: Vec<String>,
    /// Whether the recipient fields are longer than the limit.
    pub(crate) has_too_many_recipients: bool,
}

impl HeaderReader {
    /// Reads a part of a line.
    pub(super) fn push<'l>(&'l mut self, text: &'l [u8]) -> LinePart<'l> {
        match self.state {
            LineState::Remove => {
                self.record(text);
                LinePart::Nothing
            }
            LineState::Keep => {
                self.record(text);
                LinePart::Bytes(text)
            }
            LineState::Unknown => {
                self.pending.extend_from_slice(text);
                self.classify(false)
            }
        }
    }

    /// Returns the pending part of the current line, which is complete. Call [`end_line`](Self::end_line) next.
    pub(super) fn finish_line(&mut self) -> LinePart<'_> {
        if self.state == LineState::Unknown && !self.pending.is_empty() {
            self.classify(true)
        } else {
            LinePart::Nothing
        }
    }

    /// Ends the current line.
    pub(super) fn end_line(&mut self) -> LineEnd {
        let state = std::mem::take(&mut self.state);
        let is_empty = self.pending.is_empty();
        self.pending.clear();
        match state {
            LineState::Keep => LineEnd::Kept,
            LineState::Remove => LineEnd::Removed,
            LineState::Unknown if is_empty && self.has_begun => LineEnd::HeaderEnd,
            LineState::Unknown => LineEnd::Removed,
        }
    }

    /// Decides what the line is, if enough of it is known. A whole line always is.
    fn classify(&mut self, is_whole: bool) -> LinePart<'_> {
        if !self.has_begun && !self.skip_preamble(is_whole) {
            return LinePart::Nothing;
        }
        let Some(first) = self.pending.first() else { return LinePart::Nothing };
        if !self.has_begun && matches!(first, b' ' | b'\t') {
            return LinePart::Text;
        }
        if matches!(first, b' ' | b'\t') {
            // A folded line belongs to its field.
            return self.continue_field(self.field);
        }
        match self.pending.iter().position(|byte| *byte == b':') {
            Some(at) => {
                let name = field_name(&self.pending);
                if name.is_none() && !self.has_begun {
                    return LinePart::Text;
                }
                let field = name.map_or(Field::Other, Field::new);
                let value = self.pending.get(at + 1..).unwrap_or_default().to_vec();
                self.begin_field(field, &value);
                self.keep_or_remove()
            }
            None if is_whole || self.pending.len() > MAX_NAME_BYTES || self.is_not_a_name() => {
                if !self.has_begun {
                    return LinePart::Text;
                }
                self.field = Field::Other;
                self.continue_field(Field::Other)
            }
            None => LinePart::Nothing,
        }
    }

    /// Skips what precedes a message. Returns whether the line is part of the message.
    fn skip_preamble(&mut self, is_whole: bool) -> bool {
        if self.pending.starts_with(BYTE_ORDER_MARK) {
            self.pending.drain(..BYTE_ORDER_MARK.len());
        }
        let line = &self.pending;
        let begins = |text: &[u8]| text.starts_with(line);
        if !is_whole
            && (begins(BYTE_ORDER_MARK)
                || begins(b"From ")
                || begins(b">From ")
                || line.trim_ascii().is_empty())
        {
            return false;
        }
        if line.trim_ascii().is_empty() {
            return false;
        }
        if line.starts_with(b"From ") || line.starts_with(b">From ") {
            self.state = LineState::Remove;
            self.pending.clear();
            return false;
        }
        true
    }

    /// Returns whether the line cannot be the beginning of a field name.
    fn is_not_a_name(&self) -> bool {
        let name = self.pending.trim_ascii_end();
        !name.iter().all(u8::is_ascii_graphic)
    }

    /// Returns the beginning of the text of a message without a header.
    pub(super) fn take_text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// Begins a field.
    fn begin_field(&mut self, field: Field, value: &[u8]) {
        self.has_begun = true;
        self.field = field;
        self.has_date |= field == Field::Date;
        // Separate the values of two fields of the same kind.
        self.record(b",");
        self.record(value);
    }

    /// Continues a field, or an invalid line, with the pending text.
    fn continue_field(&mut self, field: Field) -> LinePart<'_> {
        self.has_begun = true;
        let text = std::mem::take(&mut self.pending);
        self.record(&text);
        self.pending = text;
        self.field = field;
        self.keep_or_remove()
    }

    fn keep_or_remove(&mut self) -> LinePart<'_> {
        if matches!(self.field, Field::Bcc | Field::ResentBcc) {
            self.state = LineState::Remove;
            return LinePart::Nothing;
        }
        self.state = LineState::Keep;
        LinePart::Bytes(&self.pending)
    }

    /// Records a part of the current field's value, if sending uses it.
    fn record(&mut self, text: &[u8]) {
        let (value, max) = match self.field {
            Field::From => (&mut self.from, MAX_FIELD_BYTES),
            Field::MessageId => (&mut self.message_id, MAX_FIELD_BYTES),
            Field::Recipients | Field::Bcc => (&mut self.recipients, MAX_RECIPIENT_BYTES),
            Field::ResentRecipients | Field::ResentBcc => (&mut self.resent, MAX_RECIPIENT_BYTES),
            Field::Other | Field::Date => return,
        };
        if value.len() + text.len() > max {
            self.has_too_many_recipients |= max == MAX_RECIPIENT_BYTES;
        } else {
            value.extend_from_slice(text);
        }
    }

    /// Returns whether no field has begun.
    pub(super) const fn is_empty(&self) -> bool {
        !self.has_begun
    }

    /// Returns the fields.
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
            has_too_many_recipients: self.has_too_many_recipients,
        }
    }
}

impl Field {
    fn new(name: &[u8]) -> Self {
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
