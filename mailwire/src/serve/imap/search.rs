//! The search engine: finds the messages that match a set of keys (RFC 9051 §6.4.4, WITHIN of RFC 5032).
//!
//! A search runs on a worker thread, slice by slice. This module knows neither IMAP's syntax nor sequence numbers:
//! messages are identified by UID. See [`candidate`](super::candidate) for how one message is tested.

use std::collections::VecDeque;

use io_mio::Slice;
use mailstore::{Columns, ContentId, Flags, MailboxId, Message, Store, UidSet};
use roaring::RoaringBitmap;

use super::candidate::{Candidate, Condition, Cost};
use super::needles::{Needles, Scope};
use super::paging::{Pending, SPAN, intersection, union};

/// The maximum number of messages in one page.
const PAGE: usize = 500;

/// A search key. Texts are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// Matches if all of these match. An empty list matches every message.
    All(Vec<Self>),
    Or(Box<(Self, Self)>),
    Not(Box<Self>),
    Uids(UidSet),
    /// A system flag, by its bit.
    Flag(u8),
    Keyword(String),
    Larger(u64),
    Smaller(u64),
    /// INTERNALDATE by day since 1970, in the time zone stored with the message.
    Internal(Days),
    /// INTERNALDATE at or after this second.
    InternalSince(i64),
    /// The Date field by day, in its own time zone.
    Sent(Days),
    ModSeq(u64),
    EmailId(i64),
    Address(AddressField, String),
    Subject(String),
    /// A header field, by name, that contains this text. An empty text matches any field of that name.
    Header(String, String),
    Body(String),
    Text(String),
    /// Matches nothing: a keyword or identifier that no message can have.
    Never,
}

/// A condition on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Days {
    Before(i64),
    On(i64),
    Since(i64),
}

/// The envelope fields that contain addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressField {
    From,
    To,
    Cc,
    Bcc,
}

impl Days {
    pub(super) const fn holds(self, day: i64) -> bool {
        match self {
            Self::Before(limit) => day < limit,
            Self::On(limit) => day == limit,
            Self::Since(limit) => day >= limit,
        }
    }
}

impl Key {
    pub(super) fn cost(&self) -> Cost {
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

    /// Returns UIDs that contain every match; `None` if any message may match.
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

    /// Returns the content that every match has; `None` if matches may have any content.
    fn content(&self) -> Option<ContentId> {
        match self {
            Self::EmailId(id) => Some(ContentId(*id)),
            Self::All(keys) => keys.iter().find_map(Self::content),
            _ => None,
        }
    }

    /// Sorts the keys by cost, so that costly keys are tested only if the cheap ones do not decide.
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

    /// Returns whether the response includes mod-sequences (RFC 7162 §3.1.5).
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

/// Which of the matches are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    All,
    First,
    Last,
    /// The first and the last.
    Ends,
}

/// A running search: its results so far, and the remaining messages.
pub(super) struct Search {
    mailbox: MailboxId,
    condition: Condition,
    needles: Needles,
    /// The content that all matches have, and the UIDs to search; `None` once it was looked up.
    content: Option<(ContentId, UidSet)>,
    columns: Columns,
    need: Need,
    pending: Pending,
    /// Whether windows are taken from the end, and how many UIDs one spans.
    backwards: bool,
    span: u32,
    window: UidSet,
    /// The UIDs that the current page was read from.
    asked: UidSet,
    page: VecDeque<Message>,
    candidate: Option<Box<Candidate>>,
    found: Results,
}

/// The matching messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Results {
    pub(super) uids: RoaringBitmap,
    pub(super) first: Option<Found>,
    pub(super) last: Option<Found>,
    /// The highest mod-sequence of the matches.
    pub(super) highest_modseq: u64,
    /// The messages that could not be read. They never match.
    pub(super) unread: Unread,
}

/// The messages that a search could not read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unread {
    pub(super) count: u32,
    /// Whether at least one of them is permanently unreadable.
    pub(super) is_permanent: bool,
}

impl Unread {
    /// Counts a message that could not be read.
    ///
    /// # Errors
    /// Returns `error` if it does not concern only this message.
    fn add(&mut self, error: mailstore::Error) -> mailstore::Result<()> {
        use mailstore::Error;
        if !matches!(error, Error::Corrupt(_) | Error::Io(_) | Error::Unavailable(_)) {
            return Err(error);
        }
        if self.count == 0 {
            tracing::warn!(%error, "cannot search a message");
        }
        self.count = self.count.saturating_add(1);
        self.is_permanent |= !error.is_retryable();
        Ok(())
    }
}

/// A matching message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) uid: u32,
    pub(super) modseq: u64,
}

/// The search terms exceed what one search can handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Search {
    /// Prepares a search of these messages.
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

    /// Returns the results.
    pub(super) fn into_results(self) -> Results {
        self.found
    }

    /// Searches until the slice is over. Returns true once the search is complete.
    pub(super) fn run(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<bool> {
        if let Some((content, among)) = self.content.take() {
            let having = store.uids_of_content(self.mailbox, content)?;
            self.pending = Pending::new(&intersection(&among, &having));
        }
        loop {
            if let Some(candidate) = &mut self.candidate {
                let matches = match candidate.look(store, &self.condition, &self.needles) {
                    Ok(matches) => matches,
                    // An unreadable message matches neither a key nor its negation.
                    Err(error) => self.found.unread.add(error).map(|()| Some(false))?,
                };
                if let Some(matches) = matches {
                    let found = Found { uid: candidate.message.uid, modseq: candidate.message.modseq };
                    self.candidate = None;
                    if matches {
                        self.note(found);
                    }
                }
            } else if let Some(message) = self.page.pop_front() {
                self.candidate = Some(Box::new(Candidate::new(message, &self.needles)));
                // This took no time: no need to check the slice.
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
            // The first match is known. Find the last one from the end, down to the first.
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

    /// Reads the next page of messages. Returns false if there are none.
    fn read_page(&mut self, store: &dyn Store) -> mailstore::Result<bool> {
        if self.window.is_empty() {
            // Within a window from the end, the last match is the result; earlier windows need not be searched.
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
            // The UIDs may be sparse: use a larger window.
            self.span = self.span.saturating_mul(4);
        }
        self.asked = std::mem::take(&mut self.window);
        self.window = page.next.map(|next| self.asked.starting_at(next)).unwrap_or_default();
        Ok(true)
    }
}

impl AddressField {
    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::From => Scope::From,
            Self::To => Scope::To,
            Self::Cc => Scope::Cc,
            Self::Bcc => Scope::Bcc,
        }
    }
}

/// Returns the bit of a system flag.
pub(super) fn flag_bit(name: &str) -> Option<u8> {
    let flags = Flags::parse([name]).ok()?;
    (flags.system_bits() != 0).then(|| flags.system_bits())
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use mailstore::{Delivery, InternalDate, SqliteStore, Target};

    use super::*;

    pub(in super::super) struct Shelf {
        _directory: tempfile::TempDir,
        pub(in super::super) store: SqliteStore,
        pub(in super::super) mailbox: MailboxId,
    }

    impl Shelf {
        pub(in super::super) fn with(messages: &[(&str, u8, i64)]) -> Self {
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

        pub(in super::super) fn find(&self, key: Key) -> Vec<u32> {
            self.search(key, Need::All).uids.iter().collect()
        }

        fn search(&self, key: Key, need: Need) -> Results {
            let mut search = Search::new(self.mailbox, &UidSet::all(), key, need).unwrap();
            // Slices as short as possible.
            while !search.run(&self.store, &Slice::lasting(Duration::ZERO)).unwrap() {}
            search.into_results()
        }
    }

    pub(in super::super) const FIRST: &str = "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.test>\nTo: ann@example.test\n\
        Subject: =?iso-8859-1?q?caf=E9?=\nDate: Mon, 1 Jan 2024 00:30:00 +0100\nX-Odd: one\n two\n\n\
        Plain Text\n";
    #[test]
    fn sorts_keys_by_cost() {
        let key = Key::All(vec![Key::Text("x".into()), Key::Subject("y".into()), Key::Flag(1)]);
        let Key::All(keys) = key.cheap_first() else { panic!() };
        assert_eq!(keys, [Key::Flag(1), Key::Subject("y".into()), Key::Text("x".into())]);
    }

    #[test]
    fn searches_only_for_the_needed_messages() {
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
    fn a_search_by_uid_reads_only_its_range() {
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
