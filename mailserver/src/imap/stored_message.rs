//! A message of the store, as a search reads it.
//!
//! Header fields and text parts are decoded first. Text parts are read in pieces, so that a slice may end within a
//! message.

use mailmime::{ByteRange, Part, TextDecoder, decode};
use mailstore::{Body, ContentId, Flags, Message, Store, TextSignatures};
use proto_imap::search_query::{
    MessagePart, ReadProgress, SearchDate, SearchTexts, SearchableMessage, TextScope, fold_text,
};
use proto_imap::types::Flag;

/// The maximum number of bytes searched in one text part. Text after them is not found.
const PART_LIMIT: u64 = 16 * 1024 * 1024;

/// The maximum number of bytes searched in a header.
const HEADER_LIMIT: u64 = 128 * 1024;

/// The number of bytes of a text part that are read and decoded at a time.
const CHUNK: u64 = 32 * 1024;

/// The EMAILIDs of a search, and the content that each stands for; `None` if no message can have it.
pub(super) type EmailIds = Vec<(String, Option<ContentId>)>;

/// A message that a search reads.
pub(super) struct StoredMessage {
    pub(super) message: Message,
    /// The open message file, if it is needed.
    body: Option<Body>,
    /// The remaining text parts, once the search reads them.
    parts: Option<TextParts>,
}

struct TextParts {
    rest: Vec<TextPart>,
    part: Option<TextPart>,
}

struct TextPart {
    range: ByteRange,
    decoder: TextDecoder,
}

/// A message together with what it takes to read it.
pub(super) struct MessageReader<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) email_ids: &'a EmailIds,
    pub(super) stored: &'a mut StoredMessage,
}

impl SearchableMessage for MessageReader<'_> {
    type Error = mailstore::Error;

    fn uid(&self) -> u32 {
        self.stored.message.uid
    }

    fn has_flag(&self, flag: Flag<'_>) -> bool {
        let flags = &self.stored.message.flags;
        match flag {
            Flag::Answered => flags.contains(Flags::ANSWERED),
            Flag::Flagged => flags.contains(Flags::FLAGGED),
            Flag::Deleted => flags.contains(Flags::DELETED),
            Flag::Seen => flags.contains(Flags::SEEN),
            Flag::Draft => flags.contains(Flags::DRAFT),
            Flag::Keyword(keyword) => flags.contains_keyword(&String::from_utf8_lossy(keyword.as_bytes())),
            Flag::Recent | Flag::Any | Flag::Extension(_) => false,
        }
    }

    fn size(&self) -> u64 {
        self.stored.message.size
    }

    fn internal_date(&self) -> SearchDate {
        let date = self.stored.message.internal_date;
        SearchDate { timestamp: date.seconds, zone: date.offset_minutes }
    }

    fn saved_date(&self) -> Option<SearchDate> {
        self.stored.message.saved_date.map(|timestamp| SearchDate { timestamp, zone: 0 })
    }

    fn mod_sequence(&self) -> u64 {
        self.stored.message.modseq
    }

    fn has_email_id(&self, id: &str) -> bool {
        let content = self.stored.message.content;
        self.email_ids.iter().any(|(known, of)| known == id && *of == Some(content))
    }

    fn sent_date(&self) -> Option<SearchDate> {
        let message = &self.stored.message;
        let date = message.envelope.as_ref().and_then(|envelope| envelope.date.as_deref());
        Some(SearchDate { timestamp: message.sent_date?, zone: utc_offset(date.unwrap_or_default()) })
    }

    fn read(&mut self, part: MessagePart, texts: &mut SearchTexts<'_>) -> mailstore::Result<ReadProgress> {
        match part {
            MessagePart::Attributes => Ok(ReadProgress::Complete),
            MessagePart::Envelope => {
                self.stored.read_envelope(texts);
                Ok(ReadProgress::Complete)
            }
            MessagePart::Header => {
                self.stored.read_header(self.store, texts)?;
                Ok(ReadProgress::Complete)
            }
            MessagePart::Text => self.stored.read_text(self.store, texts),
        }
    }
}

impl StoredMessage {
    pub(super) const fn new(message: Message) -> Self {
        Self { message, body: None, parts: None }
    }

    fn read_envelope(&self, texts: &mut SearchTexts<'_>) {
        let Some(envelope) = &self.message.envelope else { return };
        for (scope, addresses) in [
            (TextScope::From, &envelope.from),
            (TextScope::To, &envelope.to),
            (TextScope::Cc, &envelope.cc),
            (TextScope::Bcc, &envelope.bcc),
        ] {
            if texts.wants(scope) {
                addresses.iter().for_each(|address| texts.text(scope, &format_address(address)));
            }
        }
        if let Some(subject) = envelope.subject.as_deref().filter(|_| texts.wants(TextScope::Subject)) {
            texts.text(TextScope::Subject, &decode::encoded_words(subject.as_bytes()));
        }
    }

    fn read_header(&mut self, store: &dyn Store, texts: &mut SearchTexts<'_>) -> mailstore::Result<()> {
        let Some(range) = self.message.structure.as_ref().map(|root| root.header) else { return Ok(()) };
        let header = self.read_range(store, range, HEADER_LIMIT)?;
        for field in mailmime::HeaderFields::new(&header) {
            let name = String::from_utf8_lossy(field.name);
            texts.header_field(&name, || field.text());
        }
        Ok(())
    }

    /// Returns the unfolded value of the first header field with this name. It is empty if the header has no such field.
    pub(super) fn header_field(&mut self, store: &dyn Store, name: &[u8]) -> mailstore::Result<String> {
        let Some(range) = self.message.structure.as_ref().map(|root| root.header) else {
            return Ok(String::new());
        };
        let header = self.read_range(store, range, HEADER_LIMIT)?;
        let mut fields = mailmime::HeaderFields::new(&header);
        let found = fields.find(|field| field.name.eq_ignore_ascii_case(name));
        Ok(found.map(|field| field.unfolded()).unwrap_or_default())
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
        TextParts { rest, part: None }
    }

    /// Reads the next piece of the text parts.
    fn read_text(
        &mut self,
        store: &dyn Store,
        texts: &mut SearchTexts<'_>,
    ) -> mailstore::Result<ReadProgress> {
        let mut parts = self.parts.take().unwrap_or_else(|| self.text_parts());
        let Some(mut part) = parts.part.take().or_else(|| parts.rest.pop()) else {
            return Ok(ReadProgress::Complete);
        };
        let piece = self.read_range(store, part.range, CHUNK)?;
        part.range.start += piece.len() as u64;
        let mut text = String::new();
        part.decoder.push(&piece, &mut text);
        let is_complete = piece.is_empty() || part.range.is_empty();
        if is_complete {
            part.decoder.finish(&mut text);
        } else {
            parts.part = Some(part);
        }
        texts.body_piece(&text);
        if is_complete {
            texts.end_body_part();
        }
        self.parts = Some(parts);
        Ok(ReadProgress::More)
    }

    /// Reads up to `limit` bytes from the start of a range.
    fn read_range(&mut self, store: &dyn Store, range: ByteRange, limit: u64) -> mailstore::Result<Vec<u8>> {
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

/// Returns the signatures of everything in a message that a search can find.
pub(crate) fn text_signatures(store: &dyn Store, message: Message) -> mailstore::Result<TextSignatures> {
    let mut signatures = TextSignatures::default();
    let mut stored = StoredMessage::new(message);
    let mut reader = MessageReader { store, email_ids: &Vec::new(), stored: &mut stored };
    for part in [MessagePart::Envelope, MessagePart::Header, MessagePart::Text] {
        loop {
            let mut collect = |text: &str| signatures.add(&fold_text(text));
            let progress = reader.read(part, &mut SearchTexts::collecting(&mut collect))?;
            if signatures.is_full() {
                return Ok(signatures);
            }
            if progress == ReadProgress::Complete {
                break;
            }
        }
    }
    Ok(signatures)
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

/// Returns the UTC offset in a date, in minutes; 0 if there is no valid one.
fn utc_offset(date: &str) -> i16 {
    let offset = date.split_ascii_whitespace().skip(1).find_map(|word| {
        let (sign, digits) = match word.split_at_checked(1)? {
            ("+", digits) => (1, digits),
            ("-", digits) => (-1, digits),
            _ => return None,
        };
        if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let number: i16 = digits.parse().ok()?;
        Some(sign * (number / 100 * 60 + number % 100))
    });
    offset.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use io_common::Slice;
    use mailstore::UidSet;
    use proto_imap::search_query::NeededMatches;
    use proto_imap::types::{Date, IString, LazyList, LazyValue, SearchKey};

    use super::super::search::tests::{FIRST, TestStore, query};
    use super::super::search::{Collector, Search};
    use super::*;

    const DAY: i64 = 86_400;

    fn body(text: &str) -> SearchKey<'_> {
        SearchKey::Body(IString::from(text))
    }

    fn subject(text: &str) -> SearchKey<'_> {
        SearchKey::Subject(IString::from(text))
    }

    fn day(days: i64) -> Date {
        Date::from_days_since_epoch(days).unwrap()
    }

    const SECOND: &str = "From: bob@example.test\nSubject: second\nDate: Tue, 2 Jan 2024 23:30:00 -0500\n\
        Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZQ==\n";

    fn store() -> TestStore {
        TestStore::with(&[(FIRST, Flags::SEEN, DAY * 10), (SECOND, Flags::FLAGGED, DAY * 11 - 1800)])
    }

    #[test]
    fn decodes_text_and_ignores_case() {
        let store = store();
        let text = IString::from;
        let header = |name, needle| SearchKey::Header { name: text(name), text: text(needle) };
        for (key, found) in [
            (subject("café"), &[1][..]),
            (SearchKey::From(text("jörg <joerg@")), &[1]),
            (SearchKey::From(text("example.test")), &[1, 2]),
            (SearchKey::Cc(text("")), &[]),
            (header("x-odd", "one two"), &[1]),
            (header("X-Odd", ""), &[1]),
            (header("subject", "second"), &[2]),
            (body("grüße"), &[2]),
            (body("plain text"), &[1]),
            (body("bob"), &[]),
            (SearchKey::Text(text("bob")), &[2]),
            (SearchKey::Text(text("subject: café")), &[1]),
        ] {
            assert_eq!(store.find(key), found, "{key:?}");
        }
    }

    #[test]
    fn tests_flags_sizes_and_days() {
        let store = store();
        let both = [body("text"), SearchKey::Flagged];
        for (key, found) in [
            (SearchKey::All, &[1, 2][..]),
            (SearchKey::Seen, &[1]),
            (SearchKey::Unseen, &[2]),
            (SearchKey::Uid(2.into()), &[2]),
            (SearchKey::Or(LazyValue::new(&SearchKey::Seen), LazyValue::new(&SearchKey::Flagged)), &[1, 2]),
            (SearchKey::And(LazyList::new(&both)), &[]),
            (SearchKey::Larger(1), &[1, 2]),
            (SearchKey::Smaller(1), &[]),
            (SearchKey::EmailId(IString::from("none")), &[]),
            // Both arrived on the same day in UTC; in their time zones the second arrived a day later.
            (SearchKey::On(day(10)), &[1]),
            (SearchKey::Since(day(11)), &[2]),
            (SearchKey::Before(day(11)), &[1]),
            (SearchKey::Younger(10 * 86_400 - 1), &[2]),
            // In UTC the first was sent in 2023, and the second on the 3rd.
            (SearchKey::SentOn(day(19_723)), &[1]),
            (SearchKey::SentOn(day(19_724)), &[2]),
        ] {
            assert_eq!(store.find(key), found, "{key:?}");
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
        assert_eq!(store.find(body("needle")), [1]);
        let header = SearchKey::Header { name: IString::from("subject"), text: IString::from("large") };
        assert_eq!(store.find(header), [1]);
    }

    #[test]
    fn finds_text_across_pieces() {
        let needle = "Nadel im Heuhaufen, größer als ein Stück";
        for offset in [0, 32_700, 32_750, 32_768, 65_500, 98_304] {
            let text = format!("Subject: x\n\n{}{needle}{}", "h".repeat(offset), "u".repeat(100_000));
            let store = TestStore::with(&[(&text, 0, 0)]);
            assert_eq!(store.find(body(&needle.to_lowercase())), [1], "{offset}");
            assert!(store.find(body("nadel im stroh")).is_empty(), "{offset}");
        }
    }

    #[test]
    fn finds_hundreds_of_texts_in_one_pass() {
        let text = format!("Subject: x\n\n{}needle 7 \n", "hay and straw\n".repeat(80_000));
        let store = TestStore::with(&[(&text, 0, 0)]);
        let texts: Vec<_> = (0..400).map(|number| format!("needle {number} ")).collect();
        let all: Vec<_> = texts.iter().map(|text| body(text)).collect();
        let none: Vec<_> = all.iter().map(SearchKey::not).collect();
        let start = std::time::Instant::now();
        assert_eq!(store.find(SearchKey::not(&SearchKey::And(LazyList::new(&none)))), [1]);
        assert!(store.find(SearchKey::And(LazyList::new(&all))).is_empty());
        // Two passes over 1 MiB; eight hundred of them would take a minute.
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_slice_can_end_within_a_message() {
        let text = format!("Subject: x\n\n{}", "hay\n".repeat(250_000));
        let store = TestStore::with(&[(&text, 0, 0)]);
        let query = query(body("needle"));
        let mut search =
            Search::new(store.mailbox, &UidSet::all(), query, Vec::new(), NeededMatches::All, Collector::Set);
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
            let in_subject = format!("Subject: =?{charset}?B?{base64}?=\n\nnothing\n");
            let in_body = format!(
                "Subject: x\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: base64\n\n\
                 {base64}\n"
            );
            let store = TestStore::with(&[(&in_subject, 0, 0), (&in_body, 0, 0)]);
            assert_eq!(store.find(subject(word)), [1], "{charset}");
            assert_eq!(store.find(body(word)), [2], "{charset}");
            assert_eq!(store.find(SearchKey::Text(IString::from(word))), [1, 2], "{charset}");
        }
    }
}
