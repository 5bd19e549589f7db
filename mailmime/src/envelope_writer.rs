//! Writes the record of an ENVELOPE from header fields, within its limits (RFC 9051 §7.5.2).

use crate::address_list::{Entry, read_addresses};
use crate::field_buffer::{AddressField, Field, FieldKind};
use crate::limits::Limits;
use crate::record::{RecordWriter, text_size};

/// Writes one envelope, field by field.
#[derive(Debug, Default)]
pub(crate) struct EnvelopeWriter {
    /// Whether Date, Subject, In-Reply-To and Message-ID were read: the first of each counts.
    seen: [bool; 4],
    /// The number of entries of each address field.
    entries: [usize; 6],
    truncated: bool,
}

/// How far a record may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordRoom {
    pub(crate) bytes: usize,
    pub(crate) texts: usize,
}

impl EnvelopeWriter {
    /// Returns whether the value of a field is needed.
    pub(crate) fn wants(&mut self, kind: FieldKind, limits: &Limits) -> bool {
        match kind {
            FieldKind::Addresses(field) => {
                let full = self.is_full(field, limits);
                self.truncated |= full;
                !full
            }
            kind => single_field(kind).and_then(|(at, _)| self.seen.get(at)).is_some_and(|seen| !seen),
        }
    }

    /// Writes a field of the header.
    pub(crate) fn field(
        &mut self,
        field: &Field,
        record: &mut RecordWriter,
        room: RecordRoom,
        limits: &Limits,
    ) {
        match field.kind {
            FieldKind::Addresses(name) => self.addresses(name, field, record, room, limits),
            kind => {
                let Some((at, mark)) = single_field(kind) else { return };
                self.truncated |= field.cut;
                let text = if field.cut { cut_at_element(kind, &field.text) } else { &field.text };
                // A field that is present but empty is an empty text (RFC 9051 §7.5.2), unless nothing of it was kept.
                if text.is_empty() && field.cut {
                    return;
                }
                if let Some(seen) = self.seen.get_mut(at) {
                    *seen = true;
                }
                if room.texts < 1 || room.bytes < 1 + text_size(text) {
                    self.truncated = true;
                    return;
                }
                record.mark(mark);
                record.text(text);
            }
        }
    }

    /// Ends the envelope.
    pub(crate) fn end(self, record: &mut RecordWriter) {
        if self.truncated {
            record.mark(b'T');
        }
        record.mark(b'.');
    }

    fn is_full(&self, field: AddressField, limits: &Limits) -> bool {
        let entries = self.entries.get(field as usize).copied().unwrap_or_default();
        entries >= limits.addresses || self.entries.iter().sum::<usize>() >= limits.envelope_addresses
    }

    fn addresses(
        &mut self,
        name: AddressField,
        field: &Field,
        record: &mut RecordWriter,
        room: RecordRoom,
        limits: &Limits,
    ) {
        let others = self.entries.iter().sum::<usize>();
        let own = self.entries.get(name as usize).copied().unwrap_or_default();
        let mut list = ListWriter {
            mark: match name {
                AddressField::From => b'f',
                AddressField::Sender => b'n',
                AddressField::ReplyTo => b'r',
                AddressField::To => b't',
                AddressField::Cc => b'c',
                AddressField::Bcc => b'b',
            },
            entries_left: limits
                .addresses
                .saturating_sub(own)
                .min(limits.envelope_addresses.saturating_sub(others)),
            bytes_end: record.len().saturating_add(room.bytes),
            texts_end: record.texts().saturating_add(room.texts),
            record,
            entries: 0,
            in_group: false,
        };
        let complete = read_addresses(field, limits.word, &mut |entry| list.put(&entry));
        let entries = list.end();
        self.truncated |= !complete || field.cut;
        if let Some(count) = self.entries.get_mut(name as usize) {
            *count += entries;
        }
    }
}

/// The index in `seen` and the mark of a field that counts once.
fn single_field(kind: FieldKind) -> Option<(usize, u8)> {
    match kind {
        FieldKind::Date => Some((0, b'd')),
        FieldKind::Subject => Some((1, b's')),
        FieldKind::InReplyTo => Some((2, b'i')),
        FieldKind::MessageId => Some((3, b'm')),
        _ => None,
    }
}

/// Returns a cut text up to its last complete identifier or encoded word.
fn cut_at_element(kind: FieldKind, text: &str) -> &str {
    match kind {
        FieldKind::InReplyTo | FieldKind::MessageId => {
            text.rfind('>').and_then(|end| text.get(..=end)).unwrap_or_default()
        }
        _ => {
            // Only the last word can be incomplete, and it is short (RFC 2047 §2).
            let ends = |word: &str| {
                let last = word.match_indices('?').nth(3);
                last.is_some_and(|(at, _)| word.as_bytes().get(at + 1) == Some(&b'='))
            };
            let open = text
                .rfind("=?")
                .filter(|open| text.len() - open < 200 && text.get(*open..).is_some_and(|word| !ends(word)));
            open.and_then(|open| text.get(..open)).unwrap_or(text).trim_end()
        }
    }
}

/// Writes the entries of an address list while there is room. A group that has started is always ended.
struct ListWriter<'r> {
    record: &'r mut RecordWriter,
    mark: u8,
    entries_left: usize,
    bytes_end: usize,
    texts_end: usize,
    entries: usize,
    in_group: bool,
}

impl ListWriter<'_> {
    /// Writes an entry, or returns false if there is no room for it.
    fn put(&mut self, entry: &Entry) -> bool {
        let optional = |text: &Option<String>| text.as_deref().map_or(1, text_size);
        let (size, closing) = match entry {
            Entry::GroupEnd => {
                self.end_group();
                return true;
            }
            Entry::GroupStart(name) => (1 + text_size(name), 1),
            Entry::Address(one) => {
                let size =
                    optional(&one.name) + optional(&one.adl) + optional(&one.mailbox) + optional(&one.host);
                (1 + size, usize::from(self.in_group))
            }
        };
        // In addition to the entry: the marks of the list, and the end of the group.
        let fits = self.entries + 1 + closing <= self.entries_left
            && self.record.len() + size + 3 <= self.bytes_end
            && self.record.texts() + 4 <= self.texts_end;
        if !fits {
            return false;
        }
        if self.entries == 0 {
            self.record.mark(self.mark);
        }
        match entry {
            Entry::GroupStart(name) => {
                self.record.mark(b'g');
                self.record.text(name);
                self.in_group = true;
            }
            Entry::Address(one) => {
                self.record.mark(b'a');
                for text in [&one.name, &one.adl, &one.mailbox, &one.host] {
                    self.record.optional(text.as_deref());
                }
            }
            Entry::GroupEnd => {}
        }
        self.entries += 1;
        true
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.record.mark(b'e');
            self.entries += 1;
        }
    }

    /// Ends the list and returns the number of its entries.
    fn end(mut self) -> usize {
        self.end_group();
        if self.entries > 0 {
            self.record.mark(b'.');
        }
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use crate::structure::Structure;

    #[test]
    fn sender_and_reply_to_repeat_from() {
        let header = b"From: a@b\r\nSubject: =?utf-8?q?x?=\r\n y\r\nTo:\r\n\r\n";
        let envelope = Structure::parse(header).envelope;
        assert_eq!(envelope.sender, envelope.from);
        assert_eq!(envelope.reply_to, envelope.from);
        assert_eq!(envelope.subject.as_deref(), Some("=?utf-8?q?x?= y"));
        assert!(envelope.to.is_empty() && envelope.date.is_none());
    }

    #[test]
    fn fields_that_are_present_but_empty_are_empty_texts() {
        let header = b"Subject:\r\nDate: \r\nMessage-ID:\r\n \r\nFrom:\r\n\r\n";
        let envelope = Structure::parse(header).envelope;
        assert_eq!((envelope.subject.as_deref(), envelope.date.as_deref()), (Some(""), Some("")));
        assert_eq!((envelope.message_id.as_deref(), envelope.in_reply_to.as_deref()), (Some(""), None));
        assert!(envelope.from.is_empty() && !envelope.truncated);
    }
}
