//! SEARCH: which messages match (RFC 9051 §6.4.4, WITHIN of RFC 5032).
//!
//! This file knows the search keys and how a message is held against them, page by page, on a worker thread. It knows
//! neither the wire nor sequence numbers: a set of messages is a set of UIDs here. Text compares without regard to
//! case, header fields and text parts being decoded first.

use mailstore::mime::{self, decode};
use mailstore::{Body, Columns, Flags, MailboxId, Message, Store, UidSet};

/// The most octets of one part that are searched: what is behind them in a larger part is not found.
const PART_LIMIT: u64 = 16 * 1024 * 1024;

/// The most messages of one page.
const PAGE: usize = 500;

const DAY: i64 = 86_400;

/// What a message is held against. Texts are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// All of these. None: every message.
    All(Vec<Self>),
    Or(Box<(Self, Self)>),
    Not(Box<Self>),
    Uids(UidSet),
    /// A system flag, as its bit.
    Flag(u8),
    Keyword(String),
    Larger(u64),
    Smaller(u64),
    /// INTERNALDATE by day since 1970, as the message's own zone calls it.
    Internal(Days),
    /// INTERNALDATE at or after this second.
    InternalSince(i64),
    /// The Date field by day, as its own zone calls it.
    Sent(Days),
    ModSeq(u64),
    EmailId(i64),
    Address(AddressField, String),
    Subject(String),
    /// A header field with this text in it; with the empty text, one that exists.
    Header(String, String),
    Body(String),
    Text(String),
    /// Nothing: a keyword or identifier that no message can have.
    Never,
}

/// A condition on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Days {
    Before(i64),
    On(i64),
    Since(i64),
}

/// The fields of the envelope that hold addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressField {
    From,
    To,
    Cc,
    Bcc,
}

/// What a key needs to look at, from cheap to dear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Row,
    Envelope,
    Header,
    Body,
}

impl Days {
    const fn holds(self, day: i64) -> bool {
        match self {
            Self::Before(limit) => day < limit,
            Self::On(limit) => day == limit,
            Self::Since(limit) => day >= limit,
        }
    }
}

impl Key {
    fn cost(&self) -> Cost {
        match self {
            Self::All(keys) => keys.iter().map(Self::cost).max().unwrap_or(Cost::Row),
            Self::Or(keys) => keys.0.cost().max(keys.1.cost()),
            Self::Not(key) => key.cost(),
            Self::Sent(_) | Self::Address(..) | Self::Subject(_) => Cost::Envelope,
            Self::Header(..) => Cost::Header,
            Self::Body(_) | Self::Text(_) => Cost::Body,
            _ => Cost::Row,
        }
    }

    /// The same with cheap keys first, so that dear ones are looked at only where they decide.
    pub(super) fn cheap_first(self) -> Self {
        match self {
            Self::All(keys) => {
                let mut keys: Vec<Self> = keys.into_iter().map(Self::cheap_first).collect();
                keys.sort_by_key(Self::cost);
                Self::All(keys)
            }
            Self::Or(keys) => {
                let (a, b) = (keys.0.cheap_first(), keys.1.cheap_first());
                Self::Or(Box::new(if a.cost() <= b.cost() { (a, b) } else { (b, a) }))
            }
            Self::Not(key) => Self::Not(Box::new(key.cheap_first())),
            other => other,
        }
    }

    /// Whether the answer tells mod-sequences (RFC 7162 §3.1.5).
    pub(super) fn has_modseq(&self) -> bool {
        match self {
            Self::All(keys) => keys.iter().any(Self::has_modseq),
            Self::Or(keys) => keys.0.has_modseq() || keys.1.has_modseq(),
            Self::Not(key) => key.has_modseq(),
            Self::ModSeq(_) => true,
            _ => false,
        }
    }

    fn columns(&self) -> Columns {
        let columns = Columns::summary();
        match self.cost() {
            Cost::Row => columns,
            Cost::Envelope => columns.with_envelope(),
            Cost::Header | Cost::Body => columns.with_envelope().with_structure().with_small_bodies(),
        }
    }
}

/// A search on its way: what was found, and what is still to be looked at.
#[derive(Debug, Clone)]
pub(super) struct Search {
    mailbox: MailboxId,
    key: Key,
    rest: UidSet,
    pub(super) found: Vec<Found>,
}

/// A message that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) uid: u32,
    pub(super) modseq: u64,
}

impl Search {
    /// A search among these messages.
    pub(super) fn new(mailbox: MailboxId, among: UidSet, key: Key) -> Self {
        Self { mailbox, key: key.cheap_first(), rest: among, found: Vec::new() }
    }

    /// Looks at one page. True: there is more.
    pub(super) fn step(&mut self, store: &dyn Store) -> mailstore::Result<bool> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        let page = store.fetch_page(self.mailbox, &self.rest, self.key.columns(), PAGE)?;
        for message in &page.messages {
            let mut candidate = Candidate { store, message, body: None };
            if candidate.matches(&self.key)? {
                self.found.push(Found { uid: message.uid, modseq: message.modseq });
            }
        }
        self.rest = match page.next {
            Some(next) => self.rest.starting_at(next),
            None => UidSet::default(),
        };
        Ok(!self.rest.is_empty())
    }
}

struct Candidate<'s> {
    store: &'s dyn Store,
    message: &'s Message,
    /// Opened when it is first asked for. A message that was expunged meanwhile has none.
    body: Option<Body>,
}

impl Candidate<'_> {
    fn matches(&mut self, key: &Key) -> mailstore::Result<bool> {
        let message = self.message;
        Ok(match key {
            Key::All(keys) => {
                for key in keys {
                    if !self.matches(key)? {
                        return Ok(false);
                    }
                }
                true
            }
            Key::Or(keys) => self.matches(&keys.0)? || self.matches(&keys.1)?,
            Key::Not(key) => !self.matches(key)?,
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
            Key::Address(field, needle) => self.has_address(*field, needle),
            Key::Subject(needle) => message
                .envelope
                .as_ref()
                .and_then(|envelope| envelope.subject.as_deref())
                .is_some_and(|subject| contains(&decode::header_text(subject.as_bytes()), needle)),
            Key::Header(name, needle) => self.has_field(name, needle)?,
            Key::Body(needle) => self.has_text(needle)?,
            Key::Text(needle) => self.has_field_text(needle)? || self.has_text(needle)?,
            Key::Never => false,
        })
    }

    fn has_address(&self, field: AddressField, needle: &str) -> bool {
        let Some(envelope) = &self.message.envelope else { return false };
        let addresses = match field {
            AddressField::From => &envelope.from,
            AddressField::To => &envelope.to,
            AddressField::Cc => &envelope.cc,
            AddressField::Bcc => &envelope.bcc,
        };
        addresses.iter().any(|address| {
            let name = address.name.as_deref().map(|name| decode::header_text(name.as_bytes()));
            let name = name.unwrap_or_default();
            let mailbox = address.mailbox.as_deref().unwrap_or_default();
            let written = match address.host.as_deref() {
                Some(host) if name.is_empty() => format!("{mailbox}@{host}"),
                Some(host) => format!("{name} <{mailbox}@{host}>"),
                None => mailbox.to_owned(),
            };
            contains(&written, needle)
        })
    }

    fn has_field(&mut self, name: &str, needle: &str) -> mailstore::Result<bool> {
        let header = self.header()?;
        Ok(mime::Fields::new(&header)
            .filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
            .any(|field| needle.is_empty() || contains(&decode::header_text(field.value), needle)))
    }

    fn has_field_text(&mut self, needle: &str) -> mailstore::Result<bool> {
        let header = self.header()?;
        Ok(mime::Fields::new(&header).any(|field| {
            let name = String::from_utf8_lossy(field.name);
            contains(&format!("{name}: {}", decode::header_text(field.value)), needle)
        }))
    }

    /// The message's header.
    fn header(&mut self) -> mailstore::Result<Vec<u8>> {
        match &self.message.structure {
            Some(root) => self.read(root.header),
            None => Ok(Vec::new()),
        }
    }

    /// Whether a text part, or one in an attached message, has the text in it.
    fn has_text(&mut self, needle: &str) -> mailstore::Result<bool> {
        let Some(root) = &self.message.structure else { return Ok(false) };
        let mut parts = vec![root];
        while let Some(part) = parts.pop() {
            parts.extend(&part.children);
            if let Some(attached) = &part.message {
                parts.push(&attached.root);
            }
            if part.media_type == "text" {
                let octets = self.read(part.body)?;
                if contains(&decode::text(part, &octets), needle) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn read(&mut self, range: mime::ByteRange) -> mailstore::Result<Vec<u8>> {
        let length = usize::try_from(range.len().min(PART_LIMIT)).unwrap_or(usize::MAX);
        if let Some(octets) = &self.message.body {
            let start = usize::try_from(range.start).unwrap_or(usize::MAX);
            return Ok(octets.get(start..start.saturating_add(length)).unwrap_or_default().to_vec());
        }
        if self.body.is_none() {
            match self.store.open_content(self.message.content) {
                Ok(body) => self.body = Some(body),
                Err(mailstore::Error::NotFound(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        match &self.body {
            Some(body) => body.read(range.start, length),
            None => Ok(Vec::new()),
        }
    }
}

fn contains(text: &str, needle: &str) -> bool {
    needle.is_empty() || text.to_lowercase().contains(needle)
}

fn internal_day(message: &Message) -> i64 {
    let date = message.internal_date;
    (date.seconds + i64::from(date.offset_minutes) * 60).div_euclid(DAY)
}

/// The day of the Date field, as the field itself calls it.
fn sent_day(message: &Message) -> Option<i64> {
    let seconds = message.sent_date?;
    let date = message.envelope.as_ref().and_then(|envelope| envelope.date.as_deref()).unwrap_or_default();
    Some((seconds + zone(date) * 60).div_euclid(DAY))
}

/// The offset in a date, in minutes; 0 where there is none that counts.
fn zone(date: &str) -> i64 {
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

/// The bit of a system flag.
pub(super) fn flag_bit(name: &str) -> Option<u8> {
    let flags = Flags::parse([name]).ok()?;
    (flags.system_bits() != 0).then(|| flags.system_bits())
}

#[cfg(test)]
mod tests {
    use mailstore::{Delivery, InternalDate, SqliteStore, Target};

    use super::*;

    struct Shelf {
        _directory: tempfile::TempDir,
        store: SqliteStore,
        mailbox: MailboxId,
    }

    impl Shelf {
        fn with(messages: &[(&str, u8, i64)]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(directory.path()).unwrap();
            let account = store.create_account("ann", b"a password").unwrap();
            let mailbox = store.mailbox(account.id, "INBOX").unwrap().id;
            for (text, flags, seconds) in messages {
                let mut upload = store.upload().unwrap();
                upload.write(text.replace('\n', "\r\n").as_bytes()).unwrap();
                let internal_date = InternalDate { seconds: *seconds, offset_minutes: 60 };
                let targets = vec![Target { mailbox, flags: Flags::system(*flags), internal_date }];
                store.append(Delivery { upload, targets }).unwrap();
            }
            Self { _directory: directory, store, mailbox }
        }

        fn find(&self, key: Key) -> Vec<u32> {
            let mut search = Search::new(self.mailbox, UidSet::all(), key);
            while search.step(&self.store).unwrap() {}
            search.found.iter().map(|found| found.uid).collect()
        }
    }

    const FIRST: &str = "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.test>\nTo: ann@example.test\n\
        Subject: =?iso-8859-1?q?caf=E9?=\nDate: Mon, 1 Jan 2024 00:30:00 +0100\nX-Odd: one\n two\n\n\
        Plain Text\n";
    const SECOND: &str = "From: bob@example.test\nSubject: second\nDate: Tue, 2 Jan 2024 23:30:00 -0500\n\
        Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZQ==\n";

    fn shelf() -> Shelf {
        Shelf::with(&[(FIRST, Flags::SEEN, DAY * 10), (SECOND, Flags::FLAGGED, DAY * 11 - 1800)])
    }

    #[test]
    fn text_is_decoded_and_compares_without_case() {
        let shelf = shelf();
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
            assert_eq!(shelf.find(key.clone()), found, "{key:?}");
        }
    }

    #[test]
    fn rows_are_held_against_flags_sizes_and_days() {
        let shelf = shelf();
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
            // Both came on the same day of UTC; with their zone the second came a day later.
            (Key::Internal(Days::On(10)), &[1]),
            (Key::Internal(Days::Since(11)), &[2]),
            (Key::Internal(Days::Before(11)), &[1]),
            (Key::InternalSince(DAY * 10 + 1), &[2]),
            // In UTC the first was sent in 2023 and the second on the 3rd.
            (Key::Sent(Days::On(19_723)), &[1]),
            (Key::Sent(Days::On(19_724)), &[2]),
        ] {
            assert_eq!(shelf.find(key.clone()), found, "{key:?}");
        }
    }

    #[test]
    fn cheap_keys_come_first() {
        let key = Key::All(vec![Key::Text("x".into()), Key::Subject("y".into()), Key::Flag(1)]);
        let Key::All(keys) = key.cheap_first() else { panic!() };
        assert_eq!(keys, [Key::Flag(1), Key::Subject("y".into()), Key::Text("x".into())]);
    }

    #[test]
    fn zones_are_read_from_dates() {
        assert_eq!(zone("Mon, 7 Feb 1994 21:52:25 -0800 (PST)"), -480);
        assert_eq!(zone("7 Feb 1994 21:52:25 +0530"), 330);
        assert_eq!(zone("7 Feb 1994 21:52:25 GMT"), 0);
        assert_eq!(zone("-0800"), 0);
    }

    #[test]
    fn large_messages_are_searched_too() {
        let text = format!("Subject: large\n\n{}needle\n", "hay\n".repeat(40_000));
        let shelf = Shelf::with(&[(&text, 0, 0)]);
        assert_eq!(shelf.find(Key::Body("needle".into())), [1]);
        assert_eq!(shelf.find(Key::Header("subject".into(), "large".into())), [1]);
    }
}
