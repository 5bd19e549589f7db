//! SEARCH: which messages match (RFC 9051 §6.4.4, WITHIN of RFC 5032).
//!
//! This file knows the search keys and how a message is held against them, slice by slice, on a worker thread. It knows
//! neither the wire nor sequence numbers: a set of messages is a set of UIDs here. Text compares without regard to
//! case, header fields and text parts being decoded first. What is looked at in a message goes from cheap to costly, and
//! ends as soon as the answer is certain.

use std::collections::VecDeque;

use io_mio::Slice;
use mailstore::mime::{self, ByteRange, Part, TextDecoder, decode};
use mailstore::{Body, Columns, ContentId, Flags, MailboxId, Message, Store, UidSet};
use roaring::RoaringBitmap;

use super::needles::{self, Fact, Needles, Reading, Scope};
use super::paging::{Pending, SPAN, intersection, union};

/// The most bytes of one text part that are searched: what is behind them in a larger part is not found.
const PART_LIMIT: u64 = 16 * 1024 * 1024;

/// The most bytes of a header that are searched.
const HEADER_LIMIT: u64 = 128 * 1024;

/// What is read and decoded of a text part at a time, in bytes.
const CHUNK: u64 = 32 * 1024;

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

    /// UIDs outside of which no message matches; `None`: any may.
    fn bounds(&self) -> Option<UidSet> {
        match self {
            Self::Uids(uids) => Some(uids.clone()),
            Self::Never => Some(UidSet::default()),
            Self::All(keys) => {
                keys.iter().filter_map(Self::bounds).reduce(|one, other| intersection(&one, &other))
            }
            Self::Or(keys) => Some(union(&keys.0.bounds()?, &keys.1.bounds()?)),
            _ => None,
        }
    }

    /// The content that every message that matches has; `None`: it may have any.
    fn content(&self) -> Option<ContentId> {
        match self {
            Self::EmailId(id) => Some(ContentId(*id)),
            Self::All(keys) => keys.iter().find_map(Self::content),
            _ => None,
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

/// A key whose texts are facts to be found.
#[derive(Debug)]
enum Condition {
    All(Vec<Self>),
    Or(Box<(Self, Self)>),
    Not(Box<Self>),
    /// Decided by the message's row, or its envelope.
    Row(Key),
    /// Decided by what is found in texts of that cost.
    Fact(Cost, Fact),
}

impl Condition {
    fn of(key: Key, needles: &mut Needles) -> Self {
        let mut fact = |cost, scope, text: &str| Self::Fact(cost, needles.add(scope, text));
        match key {
            Key::All(keys) => Self::All(keys.into_iter().map(|key| Self::of(key, needles)).collect()),
            Key::Or(keys) => {
                let (one, other) = *keys;
                Self::Or(Box::new((Self::of(one, needles), Self::of(other, needles))))
            }
            Key::Not(key) => Self::Not(Box::new(Self::of(*key, needles))),
            Key::Address(field, text) => fact(Cost::Envelope, field.scope(), &text),
            Key::Subject(text) => fact(Cost::Envelope, Scope::Subject, &text),
            Key::Header(name, text) => fact(Cost::Header, Scope::Field(name.to_ascii_lowercase()), &text),
            Key::Body(text) => fact(Cost::Body, Scope::Body, &text),
            Key::Text(text) => {
                let header = fact(Cost::Header, Scope::Header, &text);
                Self::Or(Box::new((header, fact(Cost::Body, Scope::Body, &text))))
            }
            key => Self::Row(key),
        }
    }

    /// Whether the message matches, as far as that is certain when so much was looked at.
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
            Self::Fact(_, fact) if candidate.found.contains(*fact) => Some(true),
            Self::Fact(cost, _) => (candidate.done >= *cost).then_some(false),
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

/// Which of the messages that match are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    All,
    First,
    Last,
    /// The first and the last.
    Ends,
}

/// A search on its way: what was found, and what is still to be looked at.
pub(super) struct Search {
    mailbox: MailboxId,
    condition: Condition,
    needles: Needles,
    /// The content that all of them have, not looked up yet, and among which messages.
    content: Option<(ContentId, UidSet)>,
    columns: Columns,
    need: Need,
    pending: Pending,
    /// Whether the windows come from the back, and how many UIDs they span.
    backwards: bool,
    span: u32,
    window: UidSet,
    /// What the page was asked for.
    asked: UidSet,
    page: VecDeque<Message>,
    candidate: Option<Box<Candidate>>,
    found: Results,
}

/// The messages that match.
#[derive(Debug, Clone, Default)]
pub(super) struct Results {
    pub(super) uids: RoaringBitmap,
    pub(super) first: Option<Found>,
    pub(super) last: Option<Found>,
    /// The highest mod-sequence of them.
    pub(super) highest_modseq: u64,
}

/// A message that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) uid: u32,
    pub(super) modseq: u64,
}

/// The texts looked for are more than one search may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Search {
    /// A search among these messages.
    pub(super) fn new(mailbox: MailboxId, among: &UidSet, key: Key, need: Need) -> Result<Self, TooLarge> {
        let among = key.bounds().map_or_else(|| among.clone(), |bounds| intersection(among, &bounds));
        let columns = key.columns();
        let content = key.content().map(|content| (content, among.clone()));
        let mut needles = Needles::default();
        let condition = Condition::of(key.cheap_first(), &mut needles);
        needles.build().map_err(|_| TooLarge)?;
        Ok(Self {
            mailbox,
            condition,
            needles,
            content,
            columns,
            need,
            pending: Pending::new(&among),
            backwards: need == Need::Last,
            span: SPAN,
            window: UidSet::default(),
            asked: UidSet::default(),
            page: VecDeque::new(),
            candidate: None,
            found: Results::default(),
        })
    }

    /// What was found.
    pub(super) fn into_results(self) -> Results {
        self.found
    }

    /// Goes on for a slice. True: the search is complete.
    pub(super) fn run(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<bool> {
        if let Some((content, among)) = self.content.take() {
            let having = store.uids_of_content(self.mailbox, content)?;
            self.pending = Pending::new(&intersection(&among, &having));
        }
        loop {
            if let Some(candidate) = &mut self.candidate {
                let matches = candidate.look(store, &self.condition, &self.needles)?;
                if let Some(matches) = matches {
                    let found = Found { uid: candidate.message.uid, modseq: candidate.message.modseq };
                    self.candidate = None;
                    if matches {
                        self.note(found);
                    }
                }
            } else if let Some(message) = self.page.pop_front() {
                self.candidate = Some(Box::new(Candidate::new(message, &self.needles)));
                // Nothing was looked at.
                continue;
            } else if !self.read_page(store)? {
                return Ok(true);
            }
            if slice.is_over() {
                return Ok(false);
            }
        }
    }

    fn note(&mut self, found: Found) {
        self.found.uids.insert(found.uid);
        self.found.highest_modseq = self.found.highest_modseq.max(found.modseq);
        if self.found.first.is_none_or(|first| found.uid < first.uid) {
            self.found.first = Some(found);
        }
        if self.found.last.is_none_or(|last| found.uid > last.uid) {
            self.found.last = Some(found);
        }
        match self.need {
            Need::First => self.stop(),
            // The first is there: the last is looked for from the back, behind it.
            Need::Ends if !self.backwards => {
                self.backwards = true;
                self.page.clear();
                self.window = UidSet::default();
                self.pending.give_back(&std::mem::take(&mut self.asked), found.uid.saturating_add(1));
            }
            Need::All | Need::Last | Need::Ends => {}
        }
    }

    fn stop(&mut self) {
        (self.pending, self.window) = (Pending::default(), UidSet::default());
        self.page.clear();
    }

    /// Reads the next messages. False: there are none.
    fn read_page(&mut self, store: &dyn Store) -> mailstore::Result<bool> {
        if self.window.is_empty() {
            // In a window from the back the last message counts, and those before it need not be looked at.
            let is_found = match self.need {
                Need::Last => self.found.last.is_some(),
                Need::Ends => self.backwards && self.found.uids.len() > 1,
                Need::All | Need::First => false,
            };
            if is_found || self.pending.is_empty() {
                return Ok(false);
            }
            self.window =
                if self.backwards { self.pending.take_last(self.span) } else { self.pending.take_first() };
        }
        let page = store.fetch_page(self.mailbox, &self.window, self.columns, PAGE)?;
        self.page = page.messages.into();
        if self.page.is_empty() {
            // UIDs may be far apart.
            self.span = self.span.saturating_mul(4);
        }
        self.asked = std::mem::take(&mut self.window);
        self.window = page.next.map(|next| self.asked.starting_at(next)).unwrap_or_default();
        Ok(true)
    }
}

/// A message that is held against the keys.
struct Candidate {
    message: Message,
    found: needles::Found,
    /// What was looked at.
    done: Cost,
    /// Opened when it is first asked for.
    body: Option<Body>,
    parts: Option<Parts>,
}

/// The text parts of a message, and how far they were searched.
struct Parts {
    rest: Vec<TextPart>,
    part: Option<TextPart>,
    reading: Reading,
}

struct TextPart {
    range: ByteRange,
    decoder: TextDecoder,
}

impl Candidate {
    fn new(message: Message, needles: &Needles) -> Self {
        Self { message, found: needles.none_found(), done: Cost::Row, body: None, parts: None }
    }

    /// Looks at a little more of the message. Whether it matches, if that is certain now.
    fn look(
        &mut self,
        store: &dyn Store,
        condition: &Condition,
        needles: &Needles,
    ) -> mailstore::Result<Option<bool>> {
        let news = match (&self.parts, self.done) {
            (Some(_), _) => self.look_at_parts(store, needles)?,
            (None, _) => true,
        };
        if news && let Some(holds) = condition.holds(self) {
            return Ok(Some(holds));
        }
        match self.done {
            _ if self.parts.is_some() => {}
            Cost::Row => {
                self.look_at_envelope(needles);
                self.done = Cost::Envelope;
            }
            Cost::Envelope => {
                if needles.has_fields() {
                    self.look_at_header(store, needles)?;
                }
                self.done = Cost::Header;
            }
            Cost::Header if needles.has(&Scope::Body) => self.parts = Some(self.text_parts()),
            // Everything was looked at.
            Cost::Header | Cost::Body => return Ok(Some(false)),
        }
        Ok(None)
    }

    fn look_at_envelope(&mut self, needles: &Needles) {
        let Some(envelope) = &self.message.envelope else { return };
        for field in [AddressField::From, AddressField::To, AddressField::Cc, AddressField::Bcc] {
            let scope = field.scope();
            if !needles.has(&scope) {
                continue;
            }
            let addresses = match field {
                AddressField::From => &envelope.from,
                AddressField::To => &envelope.to,
                AddressField::Cc => &envelope.cc,
                AddressField::Bcc => &envelope.bcc,
            };
            for address in addresses {
                needles.read_all(&scope, &written(address), &mut self.found);
            }
        }
        if let Some(subject) = envelope.subject.as_deref().filter(|_| needles.has(&Scope::Subject)) {
            let subject = decode::header_text(subject.as_bytes());
            needles.read_all(&Scope::Subject, &subject, &mut self.found);
        }
    }

    fn look_at_header(&mut self, store: &dyn Store, needles: &Needles) -> mailstore::Result<()> {
        let Some(range) = self.message.structure.as_ref().map(|root| root.header) else { return Ok(()) };
        let header = self.read(store, range, HEADER_LIMIT)?;
        for field in mime::Fields::new(&header) {
            let name = String::from_utf8_lossy(field.name);
            let scope = Scope::Field(name.to_ascii_lowercase());
            let (by_name, by_text) = (needles.has(&scope), needles.has(&Scope::Header));
            if !by_name && !by_text {
                continue;
            }
            let value = decode::header_text(field.value);
            if by_name {
                needles.read_all(&scope, &value, &mut self.found);
            }
            if by_text {
                needles.read_all(&Scope::Header, &format!("{name}: {value}"), &mut self.found);
            }
        }
        Ok(())
    }

    /// The text parts, also those in attached messages.
    fn text_parts(&self) -> Parts {
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
                let decoder = TextDecoder::new(&part.encoding, part.parameter("charset"));
                rest.push(TextPart { range, decoder });
            }
        }
        Parts { rest, part: None, reading: Reading::default() }
    }

    /// Searches the next piece of the text parts. True: something was found, or everything was searched.
    fn look_at_parts(&mut self, store: &dyn Store, needles: &Needles) -> mailstore::Result<bool> {
        let Some(mut parts) = self.parts.take() else { return Ok(true) };
        let Some(mut part) = parts.part.take().or_else(|| parts.rest.pop()) else {
            self.done = Cost::Body;
            return Ok(true);
        };
        needles.note_text(&Scope::Body, &mut self.found);
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
        let news = needles.read(&Scope::Body, &text, &mut parts.reading, &mut self.found);
        if is_complete {
            parts.reading.restart();
        }
        self.parts = Some(parts);
        Ok(news || is_complete)
    }

    /// The bytes at the start of a range, at most `limit` of them.
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
                // It was expunged meanwhile.
                Err(mailstore::Error::NotFound(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        self.body.as_ref().map_or_else(|| Ok(Vec::new()), |body| body.read(range.start, length))
    }
}

impl AddressField {
    const fn scope(self) -> Scope {
        match self {
            Self::From => Scope::From,
            Self::To => Scope::To,
            Self::Cc => Scope::Cc,
            Self::Bcc => Scope::Bcc,
        }
    }
}

/// An address as it is written in a header field.
fn written(address: &mime::Address) -> String {
    let name = address.name.as_deref().map(|name| decode::header_text(name.as_bytes()));
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
    use std::time::Duration;

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
            self.search(key, Need::All).uids.iter().collect()
        }

        fn search(&self, key: Key, need: Need) -> Results {
            let mut search = Search::new(self.mailbox, &UidSet::all(), key, need).unwrap();
            // As little as possible at a time.
            while !search.run(&self.store, &Slice::lasting(Duration::ZERO)).unwrap() {}
            search.into_results()
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

    #[test]
    fn a_text_is_found_across_the_pieces_that_are_read() {
        let needle = "Nadel im Heuhaufen, größer als ein Stück";
        for offset in [0, 32_700, 32_750, 32_768, 65_500, 98_304] {
            let text = format!("Subject: x\n\n{}{needle}{}", "h".repeat(offset), "u".repeat(100_000));
            let shelf = Shelf::with(&[(&text, 0, 0)]);
            assert_eq!(shelf.find(Key::Body(needle.to_lowercase())), [1], "{offset}");
            assert!(shelf.find(Key::Body("nadel im stroh".into())).is_empty(), "{offset}");
        }
    }

    #[test]
    fn a_thousand_texts_cost_one_pass() {
        let text = format!("Subject: x\n\n{}needle 7 \n", "hay and straw\n".repeat(80_000));
        let shelf = Shelf::with(&[(&text, 0, 0)]);
        let keys: Vec<_> = (0..1_000).map(|number| Key::Body(format!("needle {number} "))).collect();
        let start = std::time::Instant::now();
        let any = keys.iter().cloned().reduce(|one, other| Key::Or(Box::new((one, other)))).unwrap();
        assert_eq!(shelf.find(any), [1]);
        assert!(shelf.find(Key::All(keys)).is_empty());
        // Two passes over 1 MiB; two thousand of them would take minutes.
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_slice_ends_within_a_message() {
        let text = format!("Subject: x\n\n{}", "hay\n".repeat(250_000));
        let shelf = Shelf::with(&[(&text, 0, 0)]);
        let key = Key::Body("needle".into());
        let mut search = Search::new(shelf.mailbox, &UidSet::all(), key, Need::All).unwrap();
        let mut slices = 1;
        while !search.run(&shelf.store, &Slice::lasting(Duration::ZERO)).unwrap() {
            slices += 1;
        }
        assert!(slices > 1_000_000 / 32_768, "{slices}");
    }

    #[test]
    fn charsets_of_east_asia_are_decoded() {
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
            let shelf = Shelf::with(&[(&subject, 0, 0), (&body, 0, 0)]);
            assert_eq!(shelf.find(Key::Subject(word.into())), [1], "{charset}");
            assert_eq!(shelf.find(Key::Body(word.into())), [2], "{charset}");
            assert_eq!(shelf.find(Key::Text(word.into())), [1, 2], "{charset}");
        }
    }

    #[test]
    fn only_the_messages_that_are_needed_are_looked_for() {
        let messages: Vec<_> = (0..9).map(|number| (FIRST, [0, Flags::SEEN][number % 2], 0)).collect();
        let shelf = Shelf::with(&messages);
        let found = |need| {
            let results = shelf.search(Key::Flag(Flags::SEEN), need);
            (results.first.map(|one| one.uid), results.last.map(|one| one.uid), results.uids.len())
        };
        assert_eq!(found(Need::All), (Some(2), Some(8), 4));
        assert_eq!(found(Need::First), (Some(2), Some(2), 1));
        let (_, last, _) = found(Need::Last);
        assert_eq!(last, Some(8));
        let (first, last, _) = found(Need::Ends);
        assert_eq!((first, last), (Some(2), Some(8)));
        let none = shelf.search(Key::Flag(Flags::DRAFT), Need::Ends);
        assert_eq!((none.first, none.last), (None, None));
    }

    #[test]
    fn a_search_by_uid_looks_at_its_range_only() {
        let uids = |first, last| Key::Uids(std::iter::once(first..=last).collect());
        let bounds = |key: Key| key.bounds().map(|bounds| bounds.ranges().to_vec());
        assert_eq!(bounds(uids(1, 10)), Some(vec![1..=10]));
        let nested = Key::All(vec![Key::Flag(1), Key::All(vec![uids(1, 10), uids(5, 20)])]);
        assert_eq!(bounds(nested), Some(vec![5..=10]));
        let either = Key::Or(Box::new((uids(1, 3), uids(8, 9))));
        assert_eq!(bounds(either), Some(vec![1..=3, 8..=9]));
        assert_eq!(bounds(Key::Or(Box::new((uids(1, 3), Key::Flag(1))))), None);
        assert_eq!(bounds(Key::Not(Box::new(uids(1, 3)))), None);
    }
}
