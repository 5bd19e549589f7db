//! Builds ENVELOPE from header fields: raw address lists (RFC 5322 §3.4, RFC 9051 §7.5.2).
//!
//! Parses addresses tolerantly, within the limits of an envelope. Encoded words are not decoded, because IMAP returns
//! them as sent.

use crate::field::{AddressField, Field, FieldKind};
use crate::header::{non_empty, skip_comment};
use crate::limits::{ADDRESS_LIMIT, ENVELOPE_ADDRESS_LIMIT, WORD_LIMIT};
use crate::record::{RecordWriter, text_size};
use crate::structure::Address;
use std::str::Chars;

/// The most bytes collected of the words, or of the `<…>`, of one address.
const COLLECTED_LIMIT: usize = 2 * WORD_LIMIT + 64;

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
    pub(crate) fn wants(&mut self, kind: FieldKind) -> bool {
        match kind {
            FieldKind::Addresses(field) => {
                let full = self.is_full(field);
                self.truncated |= full;
                !full
            }
            kind => single_field(kind).and_then(|(at, _)| self.seen.get(at)).is_some_and(|seen| !seen),
        }
    }

    /// Writes a field of the header.
    pub(crate) fn field(&mut self, field: &Field, record: &mut RecordWriter, room: RecordRoom) {
        match field.kind {
            FieldKind::Addresses(name) => self.addresses(name, field, record, room),
            kind => {
                let Some((at, mark)) = single_field(kind) else { return };
                self.truncated |= field.cut;
                let text = if field.cut { cut_at_element(kind, &field.text) } else { &field.text };
                if text.is_empty() {
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

    fn is_full(&self, field: AddressField) -> bool {
        let entries = self.entries.get(field as usize).copied().unwrap_or_default();
        entries >= ADDRESS_LIMIT || self.entries.iter().sum::<usize>() >= ENVELOPE_ADDRESS_LIMIT
    }

    fn addresses(&mut self, name: AddressField, field: &Field, record: &mut RecordWriter, room: RecordRoom) {
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
            entries_left: (ADDRESS_LIMIT - own.min(ADDRESS_LIMIT))
                .min(ENVELOPE_ADDRESS_LIMIT - others.min(ENVELOPE_ADDRESS_LIMIT)),
            bytes_end: record.len().saturating_add(room.bytes),
            texts_end: record.texts().saturating_add(room.texts),
            record,
            entries: 0,
            in_group: false,
        };
        let complete = read_addresses(&field.text, field.cut, &mut |entry| list.put(&entry));
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

/// An entry of an address list.
#[derive(Debug)]
enum Entry {
    Address(Address),
    GroupStart(String),
    GroupEnd,
}

/// Parses an address list from unfolded text. If the text was `cut`, the last address is dropped, because it may be
/// incomplete. Returns false if an entry was refused, dropped or shortened.
fn read_addresses(text: &str, cut: bool, sink: &mut dyn FnMut(Entry) -> bool) -> bool {
    let mut reader = AddressReader {
        sink,
        complete: true,
        words: BoundedText::default(),
        at: None,
        blank: false,
        comment: None,
        angle: None,
        in_group: false,
        full: false,
    };
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => reader.quoted(&mut chars),
            '(' => reader.comment(&mut chars),
            '<' => reader.angle(&mut chars),
            '[' => reader.literal(&mut chars),
            ',' => reader.end_address(),
            ':' => reader.start_group(),
            ';' => reader.end_group(),
            c if c.is_ascii_whitespace() => reader.blank = true,
            '@' => reader.at(),
            c => reader.push(c),
        }
        if reader.full {
            return false;
        }
    }
    if !cut {
        reader.end_group();
    }
    reader.complete && !reader.full && !cut
}

/// Text of bounded length.
#[derive(Debug, Default)]
struct BoundedText {
    text: String,
    over: bool,
}

impl BoundedText {
    fn push(&mut self, c: char) {
        if self.text.len() + c.len_utf8() <= COLLECTED_LIMIT {
            self.text.push(c);
        } else {
            self.over = true;
        }
    }
}

/// The state of parsing an address list.
struct AddressReader<'s> {
    sink: &'s mut dyn FnMut(Entry) -> bool,
    complete: bool,
    /// Whether the sink refused an entry.
    full: bool,
    /// The words so far, separated by blanks: a phrase, or an addr-spec without `<`.
    words: BoundedText,
    /// The index of the last unquoted `@` in `words`.
    at: Option<usize>,
    /// Whether a blank followed the last word.
    blank: bool,
    comment: Option<String>,
    angle: Option<BoundedText>,
    in_group: bool,
}

impl AddressReader<'_> {
    fn put(&mut self, entry: Entry) {
        if !self.full && !(self.sink)(entry) {
            self.full = true;
        }
    }

    fn space(&mut self) {
        if std::mem::take(&mut self.blank) && !self.words.text.is_empty() {
            self.words.push(' ');
        }
    }

    fn push(&mut self, c: char) {
        self.space();
        self.words.push(c);
    }

    fn at(&mut self) {
        self.push('@');
        if !self.words.over {
            self.at = Some(self.words.text.len() - 1);
        }
    }

    fn quoted(&mut self, chars: &mut Chars<'_>) {
        self.space();
        read_until(chars, '"', |c| self.words.push(c));
    }

    fn literal(&mut self, chars: &mut Chars<'_>) {
        self.push('[');
        read_until(chars, ']', |c| self.words.push(c));
        self.words.push(']');
    }

    fn comment(&mut self, chars: &mut Chars<'_>) {
        let before = chars.as_str();
        skip_comment(chars);
        let inner = before.get(..before.len() - chars.as_str().len()).unwrap_or_default();
        let (comment, whole) = clip(inner.strip_suffix(')').unwrap_or(inner).trim());
        self.complete &= whole;
        self.comment = Some(comment.to_owned());
        self.blank = true;
    }

    fn angle(&mut self, chars: &mut Chars<'_>) {
        let mut inner = BoundedText::default();
        while let Some(c) = chars.next() {
            match c {
                '>' => break,
                '(' => skip_comment(chars),
                '"' => {
                    // Keep the quoting until the local part is split off, because it may contain an `@`.
                    inner.push('"');
                    read_until(chars, '"', |c| {
                        if matches!(c, '"' | '\\') {
                            inner.push('\\');
                        }
                        inner.push(c);
                    });
                    inner.push('"');
                }
                c if c.is_ascii_whitespace() => {}
                c => inner.push(c),
            }
        }
        self.angle = Some(inner);
    }

    fn end_address(&mut self) {
        let words = std::mem::take(&mut self.words);
        let (at, comment) = (self.at.take(), self.comment.take().and_then(non_empty));
        self.blank = false;
        if let Some(angle) = self.angle.take() {
            let mut address = angle_address(&angle.text);
            let (name, whole) = clip(&words.text);
            self.complete &= whole;
            address.name = non_empty(name.to_owned()).or(comment);
            if address.mailbox.is_some() || address.name.is_some() {
                address.mailbox.get_or_insert_default();
                address.host.get_or_insert_default();
                self.put_address(address, angle.over);
            }
        } else if !words.text.is_empty() {
            let split = at.and_then(|at| words.text.split_at_checked(at));
            let (mailbox, host) = match split {
                Some((mailbox, host)) => (mailbox, host.get(1..).unwrap_or_default().replace(' ', "")),
                None => (words.text.as_str(), String::new()),
            };
            let mailbox = Some(mailbox.trim().to_owned());
            let address = Address { name: comment, adl: None, mailbox, host: Some(host) };
            self.put_address(address, words.over);
        }
    }

    /// Drops an address that is too long, because half an address is a different address.
    fn put_address(&mut self, address: Address, over: bool) {
        let parts = [&address.adl, &address.mailbox, &address.host];
        if over || parts.into_iter().flatten().any(|part| part.len() > WORD_LIMIT) {
            self.complete = false;
        } else {
            self.put(Entry::Address(address));
        }
    }

    fn start_group(&mut self) {
        if self.in_group {
            self.push(':');
            return;
        }
        let words = std::mem::take(&mut self.words);
        let (name, whole) = clip(&words.text);
        self.complete &= whole && !words.over;
        (self.at, self.comment, self.angle, self.blank) = (None, None, None, false);
        self.put(Entry::GroupStart(name.to_owned()));
        self.in_group = true;
    }

    fn end_group(&mut self) {
        self.end_address();
        if std::mem::take(&mut self.in_group) {
            self.put(Entry::GroupEnd);
        }
    }
}

/// Returns the start of a text, at most [`WORD_LIMIT`] bytes, and whether that is all of it.
fn clip(text: &str) -> (&str, bool) {
    if text.len() <= WORD_LIMIT {
        return (text, true);
    }
    let end = (0..=WORD_LIMIT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    (text.get(..end).unwrap_or_default(), false)
}

/// Parses `[@route,@route:]local@domain`.
fn angle_address(inner: &str) -> Address {
    let (adl, spec) = match inner.strip_prefix('@').and_then(|_| inner.split_once(':')) {
        Some((route, spec)) => (non_empty(route.to_owned()), spec),
        None => (None, inner),
    };
    let mut mailbox = String::new();
    let mut host = None;
    let mut chars = spec.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => read_until(&mut chars, '"', |c| mailbox.push(c)),
            '@' => {
                let rest = chars.as_str();
                // The last `@` is the separator. Earlier ones belong to the local part.
                let (more, domain) = rest.rsplit_once('@').map_or((None, rest), |(a, b)| (Some(a), b));
                if let Some(more) = more {
                    mailbox.push('@');
                    mailbox.push_str(more);
                }
                host = Some(domain.to_owned());
                break;
            }
            c => mailbox.push(c),
        }
    }
    Address { name: None, adl, mailbox: (!spec.is_empty()).then_some(mailbox), host }
}

/// Reads to an unescaped `end` and removes the backslashes.
fn read_until(chars: &mut Chars<'_>, end: char, mut push: impl FnMut(char)) {
    while let Some(c) = chars.next() {
        match c {
            c if c == end => break,
            '\\' => chars.next().into_iter().for_each(&mut push),
            c => push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Structure;

    fn address_list(text: &str) -> Vec<Address> {
        let mut list = Vec::new();
        let complete = read_addresses(text, false, &mut |entry| {
            list.push(match entry {
                Entry::Address(address) => address,
                Entry::GroupStart(name) => Address { mailbox: Some(name), ..Address::default() },
                Entry::GroupEnd => Address::default(),
            });
            true
        });
        assert!(complete);
        list
    }

    fn address(name: Option<&str>, mailbox: &str, host: &str) -> Address {
        Address {
            name: name.map(str::to_owned),
            adl: None,
            mailbox: Some(mailbox.to_owned()),
            host: Some(host.to_owned()),
        }
    }

    #[test]
    fn parses_common_address_forms() {
        assert_eq!(
            address_list(
                r#"a@b.c, Ann Lee <ann@x.org>, "Doe, J. \"Q\"" <j@d>, =?utf-8?q?J=C3=B6rg?= <j@e>, x@y (Old Name)"#
            ),
            [
                address(None, "a", "b.c"),
                address(Some("Ann Lee"), "ann", "x.org"),
                address(Some("Doe, J. \"Q\""), "j", "d"),
                address(Some("=?utf-8?q?J=C3=B6rg?="), "j", "e"),
                address(Some("Old Name"), "x", "y"),
            ]
        );
    }

    #[test]
    fn marks_start_and_end_of_groups() {
        let list = address_list("Team: a@b, C <c@d>; e@f");
        assert_eq!(list[0], Address { mailbox: Some("Team".into()), ..Address::default() });
        assert_eq!(list[1..3], [address(None, "a", "b"), address(Some("C"), "c", "d")]);
        assert_eq!(list[3], Address::default());
        assert_eq!(list[4], address(None, "e", "f"));
        assert_eq!(address_list("undisclosed-recipients:;").len(), 2);
        assert_eq!(address_list("open: a@b").len(), 3, "an open group is closed");
    }

    #[test]
    fn parses_unusual_addresses() {
        assert_eq!(address_list("root"), [address(None, "root", "")]);
        assert_eq!(address_list("<\"a@b\"@c>"), [address(None, "a@b", "c")]);
        assert_eq!(address_list("\"a b\"@c"), [address(None, "a b", "c")]);
        assert_eq!(address_list("<a@[127.0.0.1]>, b@[::1]")[1], address(None, "b", "[::1]"));
        let routed = &address_list("<@r1,@r2:u@h>")[0];
        assert_eq!((routed.adl.as_deref(), routed.mailbox.as_deref()), (Some("@r1,@r2"), Some("u")));
        assert!(address_list(" , ,, <> ").is_empty());
        assert!(address_list("").is_empty());
    }

    #[test]
    fn sender_and_reply_to_repeat_from() {
        let header = b"From: a@b\r\nSubject: =?utf-8?q?x?=\r\n y\r\nTo:\r\n\r\n";
        let envelope = Structure::of(header).envelope;
        assert_eq!(envelope.sender, envelope.from);
        assert_eq!(envelope.reply_to, envelope.from);
        assert_eq!(envelope.subject.as_deref(), Some("=?utf-8?q?x?= y"));
        assert!(envelope.to.is_empty() && envelope.date.is_none());
    }
}
