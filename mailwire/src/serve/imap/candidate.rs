//! Tests one message against the keys of a SEARCH.
//!
//! The parts of a message are tested from cheap to costly, until the result is certain: database row, envelope,
//! header, text parts. Header fields and text parts are decoded first, and text is compared without regard to case.
//! Text parts are read in pieces, so that a slice may end within a message.

use mailmime::{ByteRange, Part, TextDecoder, decode};
use mailstore::{Body, Message, Store};

use super::search_key::{AddressField, Cost, Key};
use super::search_terms::{self, Scope, SearchTerms, TermId, TextProgress};

/// The maximum number of bytes searched in one text part. Text after them is not found.
const PART_LIMIT: u64 = 16 * 1024 * 1024;

/// The maximum number of bytes searched in a header.
const HEADER_LIMIT: u64 = 128 * 1024;

/// The number of bytes of a text part that are read and decoded at a time.
const CHUNK: u64 = 32 * 1024;

const DAY: i64 = 86_400;

/// A key whose texts are replaced by search terms.
#[derive(Debug)]
pub(super) enum Condition {
    All(Vec<Self>),
    Or(Box<(Self, Self)>),
    Not(Box<Self>),
    /// Decided by the message's row or envelope.
    Row(Key),
    /// Decided by a term that occurs in the part with this cost.
    Term(Cost, TermId),
}

impl Condition {
    pub(super) fn new(key: Key, terms: &mut SearchTerms) -> Self {
        let mut term = |cost, scope, text: &str| Self::Term(cost, terms.add(scope, text));
        match key {
            Key::All(keys) => Self::All(keys.into_iter().map(|key| Self::new(key, terms)).collect()),
            Key::Or(keys) => {
                let (one, other) = *keys;
                Self::Or(Box::new((Self::new(one, terms), Self::new(other, terms))))
            }
            Key::Not(key) => Self::Not(Box::new(Self::new(*key, terms))),
            Key::Address(field, text) => term(Cost::Envelope, field.scope(), &text),
            Key::Subject(text) => term(Cost::Envelope, Scope::Subject, &text),
            Key::Header(name, text) => term(Cost::Header, Scope::Field(name.to_ascii_lowercase()), &text),
            Key::Body(text) => term(Cost::Body, Scope::Body, &text),
            Key::Text(text) => {
                let header = term(Cost::Header, Scope::Header, &text);
                Self::Or(Box::new((header, term(Cost::Body, Scope::Body, &text))))
            }
            key => Self::Row(key),
        }
    }

    /// Returns whether the message matches, or `None` if the parts tested so far do not decide it.
    fn holds(&self, candidate: &Candidate) -> Option<bool> {
        match self {
            Self::All(conditions) => {
                let mut all = Some(true);
                for condition in conditions {
                    match condition.holds(candidate) {
                        Some(true) => {}
                        Some(false) => return Some(false),
                        None => all = None,
                    }
                }
                all
            }
            Self::Or(conditions) => match (conditions.0.holds(candidate), conditions.1.holds(candidate)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(condition) => condition.holds(candidate).map(|holds| !holds),
            Self::Row(key) if key.cost() > candidate.done => None,
            Self::Row(key) => Some(row_matches(key, &candidate.message)),
            Self::Term(_, term) if candidate.found.contains(*term) => Some(true),
            Self::Term(cost, _) => (candidate.done >= *cost).then_some(false),
        }
    }
}

fn row_matches(key: &Key, message: &Message) -> bool {
    match key {
        Key::Uids(uids) => uids.contains(message.uid),
        Key::Flag(bit) => message.flags.contains(*bit),
        Key::Keyword(keyword) => message.flags.contains_keyword(keyword),
        Key::Larger(size) => message.size > *size,
        Key::Smaller(size) => message.size < *size,
        Key::Internal(days) => days.holds(internal_day(message)),
        Key::InternalSince(second) => message.internal_date.seconds >= *second,
        Key::Sent(days) => sent_day(message).is_some_and(|day| days.holds(day)),
        Key::ModSeq(least) => message.modseq >= *least,
        Key::EmailId(id) => message.content.0 == *id,
        _ => false,
    }
}

/// A message that is tested against the keys.
pub(super) struct Candidate {
    pub(super) message: Message,
    found: search_terms::FoundTerms,
    /// The costliest part that was tested.
    done: Cost,
    /// The open message file, if it is needed.
    body: Option<Body>,
    parts: Option<TextParts>,
}

/// The text parts of a message, and the progress of searching them.
struct TextParts {
    rest: Vec<TextPart>,
    part: Option<TextPart>,
    progress: TextProgress,
}

struct TextPart {
    range: ByteRange,
    decoder: TextDecoder,
}

impl Candidate {
    pub(super) fn new(message: Message, terms: &SearchTerms) -> Self {
        Self { message, found: terms.none_found(), done: Cost::Row, body: None, parts: None }
    }

    /// Tests a little more of the message. Returns whether it matches, or `None` if that is not certain yet.
    pub(super) fn test(
        &mut self,
        store: &dyn Store,
        condition: &Condition,
        terms: &SearchTerms,
    ) -> mailstore::Result<Option<bool>> {
        let has_new_terms = match (&self.parts, self.done) {
            (Some(_), _) => self.search_parts(store, terms)?,
            (None, _) => true,
        };
        if has_new_terms && let Some(holds) = condition.holds(self) {
            return Ok(Some(holds));
        }
        match self.done {
            _ if self.parts.is_some() => {}
            Cost::Row => {
                self.search_envelope(terms);
                self.done = Cost::Envelope;
            }
            Cost::Envelope => {
                if terms.has_fields() {
                    self.search_header(store, terms)?;
                }
                self.done = Cost::Header;
            }
            Cost::Header if terms.has(&Scope::Body) => self.parts = Some(self.text_parts()),
            // Everything was tested.
            Cost::Header | Cost::Body => return Ok(Some(false)),
        }
        Ok(None)
    }

    fn search_envelope(&mut self, terms: &SearchTerms) {
        let Some(envelope) = &self.message.envelope else { return };
        for field in [AddressField::From, AddressField::To, AddressField::Cc, AddressField::Bcc] {
            let scope = field.scope();
            if !terms.has(&scope) {
                continue;
            }
            let addresses = match field {
                AddressField::From => &envelope.from,
                AddressField::To => &envelope.to,
                AddressField::Cc => &envelope.cc,
                AddressField::Bcc => &envelope.bcc,
            };
            for address in addresses {
                terms.read_all(&scope, &format_address(address), &mut self.found);
            }
        }
        if let Some(subject) = envelope.subject.as_deref().filter(|_| terms.has(&Scope::Subject)) {
            let subject = decode::encoded_words(subject.as_bytes());
            terms.read_all(&Scope::Subject, &subject, &mut self.found);
        }
    }

    fn search_header(&mut self, store: &dyn Store, terms: &SearchTerms) -> mailstore::Result<()> {
        let Some(range) = self.message.structure.as_ref().map(|root| root.header) else { return Ok(()) };
        let header = self.read(store, range, HEADER_LIMIT)?;
        for field in mailmime::HeaderFields::new(&header) {
            let name = String::from_utf8_lossy(field.name);
            let scope = Scope::Field(name.to_ascii_lowercase());
            let (by_name, by_text) = (terms.has(&scope), terms.has(&Scope::Header));
            if !by_name && !by_text {
                continue;
            }
            let value = field.text();
            if by_name {
                terms.read_all(&scope, &value, &mut self.found);
            }
            if by_text {
                terms.read_all(&Scope::Header, &format!("{name}: {value}"), &mut self.found);
            }
        }
        Ok(())
    }

    /// Returns the text parts, including those of attached messages.
    fn text_parts(&self) -> TextParts {
        let mut rest = Vec::new();
        let mut parts: Vec<&Part> = self.message.structure.iter().collect();
        while let Some(part) = parts.pop() {
            parts.extend(&part.children);
            parts.extend(part.message.as_ref().map(|attached| &attached.root));
            if part.media_type == "text" {
                let range = ByteRange {
                    start: part.body.start,
                    end: part.body.start + part.body.len().min(PART_LIMIT),
                };
                let decoder = part.text_decoder();
                rest.push(TextPart { range, decoder });
            }
        }
        TextParts { rest, part: None, progress: TextProgress::default() }
    }

    /// Searches the next piece of the text parts. Returns true if a term was found or a part is complete.
    fn search_parts(&mut self, store: &dyn Store, terms: &SearchTerms) -> mailstore::Result<bool> {
        let Some(mut parts) = self.parts.take() else { return Ok(true) };
        let Some(mut part) = parts.part.take().or_else(|| parts.rest.pop()) else {
            self.done = Cost::Body;
            return Ok(true);
        };
        terms.record_text(&Scope::Body, &mut self.found);
        let piece = self.read(store, part.range, CHUNK)?;
        part.range.start += piece.len() as u64;
        let mut text = String::new();
        part.decoder.push(&piece, &mut text);
        let is_complete = piece.is_empty() || part.range.is_empty();
        if is_complete {
            part.decoder.finish(&mut text);
        } else {
            parts.part = Some(part);
        }
        let has_new_terms = terms.read(&Scope::Body, &text, &mut parts.progress, &mut self.found);
        if is_complete {
            parts.progress.restart();
        }
        self.parts = Some(parts);
        Ok(has_new_terms || is_complete)
    }

    /// Reads up to `limit` bytes from the start of a range.
    fn read(&mut self, store: &dyn Store, range: ByteRange, limit: u64) -> mailstore::Result<Vec<u8>> {
        let length = usize::try_from(range.len().min(limit)).unwrap_or(usize::MAX);
        if let Some(bytes) = &self.message.body {
            let start = usize::try_from(range.start).unwrap_or(usize::MAX);
            let end = start.saturating_add(length).min(bytes.len());
            return Ok(bytes.get(start..end).unwrap_or_default().to_vec());
        }
        if self.body.is_none() {
            match store.open_content(self.message.content) {
                Ok(body) => self.body = Some(body),
                // The message was expunged in the meantime.
                Err(mailstore::Error::NotFound(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        self.body.as_ref().map_or_else(|| Ok(Vec::new()), |body| body.read(range.start, length))
    }
}

/// Formats an address as in a header field.
fn format_address(address: &mailmime::Address) -> String {
    let name = address.decoded_name();
    let name = name.unwrap_or_default();
    let mailbox = address.mailbox.as_deref().unwrap_or_default();
    match address.host.as_deref() {
        Some(host) if name.is_empty() => format!("{mailbox}@{host}"),
        Some(host) => format!("{name} <{mailbox}@{host}>"),
        None => mailbox.to_owned(),
    }
}

fn internal_day(message: &Message) -> i64 {
    let date = message.internal_date;
    (date.seconds + i64::from(date.offset_minutes) * 60).div_euclid(DAY)
}

/// Returns the day of the Date field, in the field's own time zone.
fn sent_day(message: &Message) -> Option<i64> {
    let seconds = message.sent_date?;
    let date = message.envelope.as_ref().and_then(|envelope| envelope.date.as_deref()).unwrap_or_default();
    Some((seconds + utc_offset(date) * 60).div_euclid(DAY))
}

/// Returns the UTC offset in a date, in minutes; 0 if there is no valid one.
fn utc_offset(date: &str) -> i64 {
    let offset = date.split_ascii_whitespace().skip(1).find_map(|word| {
        let (sign, digits) = match word.split_at_checked(1)? {
            ("+", digits) => (1, digits),
            ("-", digits) => (-1, digits),
            _ => return None,
        };
        if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let number: i64 = digits.parse().ok()?;
        Some(sign * (number / 100 * 60 + number % 100))
    });
    offset.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use io_mio::Slice;
    use mailstore::{Flags, UidSet};

    use super::super::search::tests::{FIRST, TestStore};
    use super::super::search::{Need, Search};
    use super::super::search_key::Days;
    use super::*;

    const SECOND: &str = "From: bob@example.test\nSubject: second\nDate: Tue, 2 Jan 2024 23:30:00 -0500\n\
        Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZQ==\n";

    fn store() -> TestStore {
        TestStore::with(&[(FIRST, Flags::SEEN, DAY * 10), (SECOND, Flags::FLAGGED, DAY * 11 - 1800)])
    }

    #[test]
    fn decodes_text_and_ignores_case() {
        let store = store();
        for (key, found) in [
            (Key::Subject("café".into()), &[1][..]),
            (Key::Address(AddressField::From, "jörg <joerg@".into()), &[1]),
            (Key::Address(AddressField::From, "example.test".into()), &[1, 2]),
            (Key::Address(AddressField::Cc, "".into()), &[]),
            (Key::Header("x-odd".into(), "one two".into()), &[1]),
            (Key::Header("X-Odd".into(), "".into()), &[1]),
            (Key::Header("subject".into(), "second".into()), &[2]),
            (Key::Body("grüße".into()), &[2]),
            (Key::Body("plain text".into()), &[1]),
            (Key::Body("bob".into()), &[]),
            (Key::Text("bob".into()), &[2]),
            (Key::Text("subject: café".into()), &[1]),
        ] {
            assert_eq!(store.find(key.clone()), found, "{key:?}");
        }
    }

    #[test]
    fn tests_flags_sizes_and_days() {
        let store = store();
        let not = |key| Key::Not(Box::new(key));
        for (key, found) in [
            (Key::All(vec![]), &[1, 2][..]),
            (Key::Flag(Flags::SEEN), &[1]),
            (not(Key::Flag(Flags::SEEN)), &[2]),
            (Key::Uids(UidSet::one(2)), &[2]),
            (Key::Or(Box::new((Key::Flag(Flags::SEEN), Key::Flag(Flags::FLAGGED)))), &[1, 2]),
            (Key::All(vec![Key::Body("text".into()), Key::Flag(Flags::FLAGGED)]), &[]),
            (Key::Larger(1), &[1, 2]),
            (Key::Smaller(1), &[]),
            (Key::Never, &[]),
            // Both arrived on the same day in UTC; in their time zones the second arrived a day later.
            (Key::Internal(Days::On(10)), &[1]),
            (Key::Internal(Days::Since(11)), &[2]),
            (Key::Internal(Days::Before(11)), &[1]),
            (Key::InternalSince(DAY * 10 + 1), &[2]),
            // In UTC the first was sent in 2023, and the second on the 3rd.
            (Key::Sent(Days::On(19_723)), &[1]),
            (Key::Sent(Days::On(19_724)), &[2]),
        ] {
            assert_eq!(store.find(key.clone()), found, "{key:?}");
        }
    }

    #[test]
    fn reads_the_utc_offset_of_a_date() {
        assert_eq!(utc_offset("Mon, 7 Feb 1994 21:52:25 -0800 (PST)"), -480);
        assert_eq!(utc_offset("7 Feb 1994 21:52:25 +0530"), 330);
        assert_eq!(utc_offset("7 Feb 1994 21:52:25 GMT"), 0);
        assert_eq!(utc_offset("-0800"), 0);
    }

    #[test]
    fn searches_large_messages() {
        let text = format!("Subject: large\n\n{}needle\n", "hay\n".repeat(40_000));
        let store = TestStore::with(&[(&text, 0, 0)]);
        assert_eq!(store.find(Key::Body("needle".into())), [1]);
        assert_eq!(store.find(Key::Header("subject".into(), "large".into())), [1]);
    }

    #[test]
    fn finds_text_across_pieces() {
        let needle = "Nadel im Heuhaufen, größer als ein Stück";
        for offset in [0, 32_700, 32_750, 32_768, 65_500, 98_304] {
            let text = format!("Subject: x\n\n{}{needle}{}", "h".repeat(offset), "u".repeat(100_000));
            let store = TestStore::with(&[(&text, 0, 0)]);
            assert_eq!(store.find(Key::Body(needle.to_lowercase())), [1], "{offset}");
            assert!(store.find(Key::Body("nadel im stroh".into())).is_empty(), "{offset}");
        }
    }

    #[test]
    fn finds_a_thousand_texts_in_one_pass() {
        let text = format!("Subject: x\n\n{}needle 7 \n", "hay and straw\n".repeat(80_000));
        let store = TestStore::with(&[(&text, 0, 0)]);
        let keys: Vec<_> = (0..1_000).map(|number| Key::Body(format!("needle {number} "))).collect();
        let start = std::time::Instant::now();
        let any = keys.iter().cloned().reduce(|one, other| Key::Or(Box::new((one, other)))).unwrap();
        assert_eq!(store.find(any), [1]);
        assert!(store.find(Key::All(keys)).is_empty());
        // Two passes over 1 MiB; two thousand of them would take minutes.
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_slice_can_end_within_a_message() {
        let text = format!("Subject: x\n\n{}", "hay\n".repeat(250_000));
        let store = TestStore::with(&[(&text, 0, 0)]);
        let key = Key::Body("needle".into());
        let mut search = Search::new(store.mailbox, &UidSet::all(), key, Need::All).unwrap();
        let mut slices = 1;
        while !search.run(&store.store, &Slice::lasting(Duration::ZERO)).unwrap() {
            slices += 1;
        }
        assert!(slices > 1_000_000 / 32_768, "{slices}");
    }

    #[test]
    fn decodes_east_asian_charsets() {
        for (charset, word, base64) in [
            ("gb2312", "新年快乐祝福", "0MLE6r/swNbXo7ij"),
            ("gb18030", "新年快乐㐀", "0MLE6r/swNaBOe45"),
            ("big5", "訂單確認通知", "rXGz5r1Uu3uzcaq+"),
            ("shift_jis", "ご注文の確認", "grKSjZW2gsyKbZRG"),
            ("iso-2022-jp", "ご注文の確認", "GyRCJDRDbUo4JE4zTkcnGyhC"),
            ("euc-kr", "주문 확인", "wda5riDIrsDO"),
            ("windows-874", "ใบสั่งซื้อ", "47rK0einq9fpzQ=="),
        ] {
            let subject = format!("Subject: =?{charset}?B?{base64}?=\n\nnothing\n");
            let body = format!(
                "Subject: x\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: base64\n\n\
                 {base64}\n"
            );
            let store = TestStore::with(&[(&subject, 0, 0), (&body, 0, 0)]);
            assert_eq!(store.find(Key::Subject(word.into())), [1], "{charset}");
            assert_eq!(store.find(Key::Body(word.into())), [2], "{charset}");
            assert_eq!(store.find(Key::Text(word.into())), [1, 2], "{charset}");
        }
    }
}
