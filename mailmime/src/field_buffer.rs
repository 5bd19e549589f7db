//! Collects one header field at a time while the lines of a header arrive: its kind, and its unfolded value.
//!
//! Only the fields of envelopes and parts are collected, up to a limit each. Their values are parsed elsewhere.

use crate::limits::{DATE_LIMIT, Limits};
use memchr::memchr;

/// The longest name of a collected field, in bytes, including blanks before the colon.
const NAME_LIMIT: usize = 40;

/// The address fields of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressField {
    From,
    Sender,
    ReplyTo,
    To,
    Cc,
    Bcc,
}

/// The kind of a collected field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    Date,
    Subject,
    InReplyTo,
    MessageId,
    Addresses(AddressField),
    Type,
    TransferEncoding,
    Disposition,
    Id,
    Description,
    Md5,
    Location,
    Language,
}

impl FieldKind {
    fn of(name: &[u8]) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"date" => Self::Date,
            b"subject" => Self::Subject,
            b"in-reply-to" => Self::InReplyTo,
            b"message-id" => Self::MessageId,
            b"from" => Self::Addresses(AddressField::From),
            b"sender" => Self::Addresses(AddressField::Sender),
            b"reply-to" => Self::Addresses(AddressField::ReplyTo),
            b"to" => Self::Addresses(AddressField::To),
            b"cc" => Self::Addresses(AddressField::Cc),
            b"bcc" => Self::Addresses(AddressField::Bcc),
            b"content-type" => Self::Type,
            b"content-transfer-encoding" => Self::TransferEncoding,
            b"content-disposition" => Self::Disposition,
            b"content-id" => Self::Id,
            b"content-description" => Self::Description,
            b"content-md5" => Self::Md5,
            b"content-location" => Self::Location,
            b"content-language" => Self::Language,
            _ => return None,
        })
    }

    /// Returns whether the field belongs to an envelope, not to a part.
    pub(crate) fn is_envelope_field(self) -> bool {
        matches!(self, Self::Date | Self::Subject | Self::InReplyTo | Self::MessageId | Self::Addresses(_))
    }

    fn limit(self, limits: &Limits) -> usize {
        match self {
            Self::Addresses(_) => limits.address_field,
            Self::Date => DATE_LIMIT,
            Self::MessageId | Self::Id | Self::Md5 | Self::TransferEncoding => limits.word,
            _ => limits.field,
        }
    }
}

/// A complete field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) kind: FieldKind,
    pub(crate) text: String,
    /// Whether the value was longer than its limit.
    pub(crate) cut: bool,
}

/// The field that is being read.
#[derive(Debug, Default)]
pub(crate) struct FieldBuffer {
    state: State,
    name: Vec<u8>,
    value: Vec<u8>,
    cut: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Skip,
    Name,
    Value(FieldKind),
}

impl FieldBuffer {
    /// Starts a field and discards the previous one.
    pub(crate) fn begin(&mut self) {
        self.state = State::Name;
        self.name.clear();
        self.value = Vec::new();
        self.cut = false;
    }

    /// Adds text to the field. Skips a field for which `wanted` returns false.
    pub(crate) fn extend(&mut self, text: &[u8], limits: &Limits, wanted: impl FnOnce(FieldKind) -> bool) {
        match self.state {
            State::Skip => {}
            State::Value(kind) => self.extend_value(text, kind.limit(limits)),
            State::Name => {
                let colon = memchr(b':', text);
                let name = text.get(..colon.unwrap_or(text.len())).unwrap_or(text);
                if self.name.len() + name.len() > NAME_LIMIT {
                    self.state = State::Skip;
                    return;
                }
                self.name.extend_from_slice(name);
                let Some(colon) = colon else { return };
                match FieldKind::of(self.name.trim_ascii_end()).filter(|kind| wanted(*kind)) {
                    None => self.state = State::Skip,
                    Some(kind) => {
                        self.state = State::Value(kind);
                        self.extend_value(text.get(colon + 1..).unwrap_or_default(), kind.limit(limits));
                    }
                }
            }
        }
    }

    /// Ends a line. A line without a colon is not a field.
    pub(crate) fn end_line(&mut self) {
        if matches!(self.state, State::Name) {
            self.state = State::Skip;
        }
    }

    /// Returns the collected field, unless it was skipped.
    pub(crate) fn take(&mut self, limits: &Limits) -> Option<Field> {
        let State::Value(kind) = std::mem::take(&mut self.state) else { return None };
        let value = std::mem::take(&mut self.value);
        let (text, cut) = to_text(value, kind.limit(limits), self.cut);
        Some(Field { kind, text, cut })
    }

    fn extend_value(&mut self, text: &[u8], limit: usize) {
        for piece in text.split(|byte| matches!(byte, b'\r' | 0)) {
            let piece = if self.value.is_empty() { piece.trim_ascii_start() } else { piece };
            let room = limit - self.value.len().min(limit);
            if piece.len() > room {
                // Trailing blanks are not part of the value.
                self.cut |= !piece.get(room..).unwrap_or_default().trim_ascii().is_empty();
            }
            let piece = piece.get(..room.min(piece.len())).unwrap_or_default();
            let capacity = self.value.capacity();
            if self.value.len() + piece.len() > capacity {
                let wanted = (2 * capacity).clamp(self.value.len() + piece.len(), limit.max(1));
                self.value.reserve_exact(wanted - self.value.len());
            }
            self.value.extend_from_slice(piece);
        }
    }
}

/// Converts a value to text, at most `limit` bytes. Bytes that are not UTF-8 are read as ISO 8859-1.
fn to_text(mut value: Vec<u8>, limit: usize, mut cut: bool) -> (String, bool) {
    if let Err(error) = std::str::from_utf8(&value) {
        let valid = error.valid_up_to();
        if cut && error.error_len().is_none() {
            // The limit split a character.
            value.truncate(valid);
        } else {
            cut |= latin1_to_utf8(&mut value, limit);
        }
    }
    let trimmed = value.trim_ascii_end().len();
    value.truncate(trimmed);
    (String::from_utf8(value).unwrap_or_default(), cut)
}

/// Converts ISO 8859-1 to UTF-8 in place. Returns whether some of it did not fit.
fn latin1_to_utf8(value: &mut Vec<u8>, limit: usize) -> bool {
    let mut total = 0;
    let whole = value.len();
    let kept = value.iter().take_while(|byte| {
        total += 1 + usize::from(!byte.is_ascii());
        total <= limit
    });
    let kept = kept.count();
    value.truncate(kept);
    let high = value.iter().filter(|byte| !byte.is_ascii()).count();
    value.resize(kept + high, 0);
    let mut to = value.len();
    for from in (0..kept).rev() {
        let byte = value.get(from).copied().unwrap_or_default();
        let mut buffer = [0; 2];
        let encoded = char::from(byte).encode_utf8(&mut buffer).as_bytes();
        to -= encoded.len();
        if let Some(place) = value.get_mut(to..to + encoded.len()) {
            place.copy_from_slice(encoded);
        }
    }
    kept < whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&[u8]]) -> Option<(FieldKind, String, bool)> {
        let mut buffer = FieldBuffer::default();
        buffer.begin();
        for line in lines {
            buffer.extend(line, &Limits::default(), |_| true);
            buffer.end_line();
        }
        buffer.take(&Limits::default()).map(|field| (field.kind, field.text, field.cut))
    }

    #[test]
    fn unfolds_and_limits_values() {
        assert_eq!(
            read(&[b"Subject : a\r", b" b\0c \r"]).unwrap(),
            (FieldKind::Subject, "a bc".into(), false)
        );
        assert_eq!(read(&[b"Subject: caf\xe9"]).unwrap().1, "café");
        assert_eq!(read(&[b"Subject", b" : x"]), None, "the colon is on the first line");
        assert_eq!(read(&[b"X-Other: x"]), None);
        let (_, text, cut) = read(&[b"Date: ", &[b'x'; 1_000]]).unwrap();
        assert_eq!((text.len(), cut), (DATE_LIMIT, true));
        let (_, text, cut) = read(&[b"Date: ", "ü".repeat(200).as_bytes()]).unwrap();
        assert_eq!((text, cut), ("ü".repeat(128), true));
        let (_, text, cut) = read(&[b"Date: x", "ü".repeat(200).as_bytes()]).unwrap();
        assert_eq!((text.len(), cut), (255, true));
        let (_, text, cut) = read(&[b"Date: ", &[0xfc; 300]]).unwrap();
        assert_eq!((text, cut), ("ü".repeat(128), true));
        let (_, text, cut) = read(&[b"Date: x", &[b' '; 300]]).unwrap();
        assert_eq!((text.as_str(), cut), ("x", false));
    }
}
