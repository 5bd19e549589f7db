//! Parses raw address lists (RFC 5322 §3.4), tolerantly, within the limits of an envelope.
//!
//! Encoded words are not decoded, because IMAP returns them as sent.

use crate::field_buffer::Field;
use crate::mime_fields::{non_empty, skip_comment};
use crate::structure::Address;
use std::str::Chars;

/// An entry of an address list.
#[derive(Debug)]
pub(crate) enum Entry {
    Address(Address),
    GroupStart(String),
    GroupEnd,
}

/// Parses the address list of a field, word by word of at most `word_limit` bytes. If the field was cut, the last address
/// is dropped, because it may be incomplete. Returns false if an entry was refused, dropped or shortened.
pub(crate) fn read_addresses(field: &Field, word_limit: usize, sink: &mut dyn FnMut(Entry) -> bool) -> bool {
    let mut reader = AddressReader {
        sink,
        word_limit,
        complete: true,
        words: BoundedText::default(),
        at: None,
        blank: false,
        comment: None,
        angle: None,
        in_group: false,
        full: false,
    };
    let mut chars = field.text.chars();
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
    if !field.cut {
        reader.end_group();
    }
    reader.complete && !reader.full && !field.cut
}

/// Text of bounded length.
#[derive(Debug, Default)]
struct BoundedText {
    text: String,
    over: bool,
}

impl BoundedText {
    /// Adds a character, as long as the text is not longer than two words and what separates them.
    fn push(&mut self, c: char, word_limit: usize) {
        if self.text.len() + c.len_utf8() <= 2 * word_limit + 64 {
            self.text.push(c);
        } else {
            self.over = true;
        }
    }
}

/// The state of parsing an address list.
struct AddressReader<'s> {
    sink: &'s mut dyn FnMut(Entry) -> bool,
    /// The most bytes of a name, local part, domain or route.
    word_limit: usize,
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
            self.words.push(' ', self.word_limit);
        }
    }

    fn push(&mut self, c: char) {
        self.space();
        self.words.push(c, self.word_limit);
    }

    fn at(&mut self) {
        self.push('@');
        if !self.words.over {
            self.at = Some(self.words.text.len() - 1);
        }
    }

    fn quoted(&mut self, chars: &mut Chars<'_>) {
        self.space();
        read_until(chars, '"', |c| self.words.push(c, self.word_limit));
    }

    fn literal(&mut self, chars: &mut Chars<'_>) {
        self.push('[');
        read_until(chars, ']', |c| self.words.push(c, self.word_limit));
        self.words.push(']', self.word_limit);
    }

    fn comment(&mut self, chars: &mut Chars<'_>) {
        let before = chars.as_str();
        skip_comment(chars);
        let inner = before.get(..before.len() - chars.as_str().len()).unwrap_or_default();
        let (comment, whole) = clip(inner.strip_suffix(')').unwrap_or(inner).trim(), self.word_limit);
        self.complete &= whole;
        self.comment = Some(comment.to_owned());
        self.blank = true;
    }

    fn angle(&mut self, chars: &mut Chars<'_>) {
        let (limit, mut inner) = (self.word_limit, BoundedText::default());
        while let Some(c) = chars.next() {
            match c {
                '>' => break,
                '(' => skip_comment(chars),
                '"' => {
                    // Keep the quoting until the local part is split off, because it may contain an `@`.
                    inner.push('"', limit);
                    read_until(chars, '"', |c| {
                        if matches!(c, '"' | '\\') {
                            inner.push('\\', limit);
                        }
                        inner.push(c, limit);
                    });
                    inner.push('"', limit);
                }
                c if c.is_ascii_whitespace() => {}
                c => inner.push(c, limit),
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
            let (name, whole) = clip(&words.text, self.word_limit);
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
        if over || parts.into_iter().flatten().any(|part| part.len() > self.word_limit) {
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
        let (name, whole) = clip(&words.text, self.word_limit);
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

/// Returns the start of a text, at most `limit` bytes, and whether that is all of it.
fn clip(text: &str, limit: usize) -> (&str, bool) {
    if text.len() <= limit {
        return (text, true);
    }
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
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
    use crate::field_buffer::{AddressField, FieldKind};
    use crate::limits::Limits;

    fn address_list(text: &str) -> Vec<Address> {
        let mut list = Vec::new();
        let kind = FieldKind::Addresses(AddressField::To);
        let field = Field { kind, text: text.to_owned(), cut: false };
        let complete = read_addresses(&field, Limits::default().word, &mut |entry| {
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
}
