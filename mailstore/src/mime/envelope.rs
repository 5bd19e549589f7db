//! ENVELOPE from a header: address lists in raw form (RFC 5322 §3.4, RFC 9051 §7.5.2).
//!
//! Knows address syntax, read tolerantly. Does not decode encoded words: IMAP hands them out as they came.

use super::header::{Fields, filled, skip_comment, unfold};
use super::{Address, Envelope};

/// Reads the envelope out of a header block.
pub(super) fn read_envelope(header: &[u8]) -> Envelope {
    let mut envelope = Envelope::default();
    for field in Fields::new(header) {
        match field.name.to_ascii_lowercase().as_slice() {
            b"date" => once(&mut envelope.date, field.value),
            b"subject" => once(&mut envelope.subject, field.value),
            b"in-reply-to" => once(&mut envelope.in_reply_to, field.value),
            b"message-id" => once(&mut envelope.message_id, field.value),
            b"from" => envelope.from.extend(address_list(&unfold(field.value))),
            b"sender" => envelope.sender.extend(address_list(&unfold(field.value))),
            b"reply-to" => envelope.reply_to.extend(address_list(&unfold(field.value))),
            b"to" => envelope.to.extend(address_list(&unfold(field.value))),
            b"cc" => envelope.cc.extend(address_list(&unfold(field.value))),
            b"bcc" => envelope.bcc.extend(address_list(&unfold(field.value))),
            _ => {}
        }
    }
    for repeated in [&mut envelope.sender, &mut envelope.reply_to] {
        if repeated.is_empty() {
            repeated.clone_from(&envelope.from);
        }
    }
    envelope
}

/// Reads an address list; unfolded text in, one entry per mailbox and two per group out.
pub(super) fn address_list(text: &str) -> Vec<Address> {
    let mut reader = Reader::default();
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
    }
    reader.end_group_or_list()
}

fn once(slot: &mut Option<String>, value: &[u8]) {
    if slot.is_none() {
        *slot = filled(unfold(value));
    }
}

/// The state of one pass over an address list.
#[derive(Default)]
struct Reader {
    addresses: Vec<Address>,
    /// Words so far, a blank between them: a phrase, or an addr-spec without `<`.
    words: String,
    /// Where the last unquoted `@` stands in `words`.
    at: Option<usize>,
    /// A blank was read behind the last word.
    blank: bool,
    comment: Option<String>,
    angle: Option<String>,
    in_group: bool,
}

impl Reader {
    fn push(&mut self, c: char) {
        if std::mem::take(&mut self.blank) && !self.words.is_empty() {
            self.words.push(' ');
        }
        self.words.push(c);
    }

    fn at(&mut self) {
        self.push('@');
        self.at = Some(self.words.len() - 1);
    }

    fn quoted(&mut self, chars: &mut std::str::Chars<'_>) {
        if std::mem::take(&mut self.blank) && !self.words.is_empty() {
            self.words.push(' ');
        }
        self.words.push_str(&read_until(chars, '"'));
    }

    fn literal(&mut self, chars: &mut std::str::Chars<'_>) {
        self.push('[');
        let inner = read_until(chars, ']');
        self.words.push_str(&inner);
        self.words.push(']');
    }

    fn comment(&mut self, chars: &mut std::str::Chars<'_>) {
        let before = chars.as_str();
        skip_comment(chars);
        let inner = before.get(..before.len() - chars.as_str().len()).unwrap_or_default();
        self.comment = Some(inner.strip_suffix(')').unwrap_or(inner).trim().to_owned());
        self.blank = true;
    }

    fn angle(&mut self, chars: &mut std::str::Chars<'_>) {
        let mut inner = String::new();
        while let Some(c) = chars.next() {
            match c {
                '>' => break,
                '(' => skip_comment(chars),
                '"' => {
                    // Quoting stays until the local part is split off: it may hold an `@`.
                    inner.push('"');
                    for c in read_until(chars, '"').chars() {
                        if matches!(c, '"' | '\\') {
                            inner.push('\\');
                        }
                        inner.push(c);
                    }
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
        let (at, comment) = (self.at.take(), self.comment.take().and_then(filled));
        self.blank = false;
        if let Some(angle) = self.angle.take() {
            let mut address = angle_address(&angle);
            address.name = filled(words).or(comment);
            if address.mailbox.is_some() || address.name.is_some() {
                address.mailbox.get_or_insert_default();
                address.host.get_or_insert_default();
                self.addresses.push(address);
            }
        } else if !words.is_empty() {
            let (mailbox, host) = match at {
                Some(at) => (words[..at].to_owned(), words[at + 1..].replace(' ', "")),
                None => (words, String::new()),
            };
            let mailbox = mailbox.trim().to_owned();
            self.addresses.push(Address {
                name: comment,
                adl: None,
                mailbox: Some(mailbox),
                host: Some(host),
            });
        }
    }

    fn start_group(&mut self) {
        if self.in_group {
            self.push(':');
            return;
        }
        let name = std::mem::take(&mut self.words);
        (self.at, self.comment, self.angle, self.blank) = (None, None, None, false);
        self.addresses.push(Address { mailbox: Some(name), ..Address::default() });
        self.in_group = true;
    }

    fn end_group(&mut self) {
        self.end_address();
        if std::mem::take(&mut self.in_group) {
            self.addresses.push(Address::default());
        }
    }

    fn end_group_or_list(mut self) -> Vec<Address> {
        self.end_group();
        self.addresses
    }
}

/// Reads `[@route,@route:]local@domain`.
fn angle_address(inner: &str) -> Address {
    let (adl, spec) = match inner.strip_prefix('@').and_then(|_| inner.split_once(':')) {
        Some((route, spec)) => (filled(route.to_owned()), spec),
        None => (None, inner),
    };
    let mut mailbox = String::new();
    let mut host = None;
    let mut chars = spec.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => mailbox.push_str(&read_until(&mut chars, '"')),
            '@' => {
                let rest = chars.as_str();
                // The last `@` divides; what stands before it belongs to the local part.
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

/// Reads to an unescaped `end`, undoing backslashes.
fn read_until(chars: &mut std::str::Chars<'_>, end: char) -> String {
    let mut out = String::new();
    while let Some(c) = chars.next() {
        match c {
            c if c == end => break,
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(name: Option<&str>, mailbox: &str, host: &str) -> Address {
        Address {
            name: name.map(str::to_owned),
            adl: None,
            mailbox: Some(mailbox.to_owned()),
            host: Some(host.to_owned()),
        }
    }

    #[test]
    fn the_usual_forms() {
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
    fn groups_have_a_start_and_an_end() {
        let list = address_list("Team: a@b, C <c@d>; e@f");
        assert_eq!(list[0], Address { mailbox: Some("Team".into()), ..Address::default() });
        assert_eq!(list[1..3], [address(None, "a", "b"), address(Some("C"), "c", "d")]);
        assert_eq!(list[3], Address::default());
        assert_eq!(list[4], address(None, "e", "f"));
        assert_eq!(address_list("undisclosed-recipients:;").len(), 2);
        assert_eq!(address_list("open: a@b").len(), 3, "an open group is closed");
    }

    #[test]
    fn odd_addresses() {
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
        let envelope = read_envelope(b"From: a@b\r\nSubject: =?utf-8?q?x?=\r\n y\r\nTo:\r\n\r\n");
        assert_eq!(envelope.sender, envelope.from);
        assert_eq!(envelope.reply_to, envelope.from);
        assert_eq!(envelope.subject.as_deref(), Some("=?utf-8?q?x?= y"));
        assert!(envelope.to.is_empty() && envelope.date.is_none());
    }
}
