//! SEARCH: which messages match (RFC 9051 §6.4.4, WITHIN of RFC 5032).
//!
//! This file knows the search keys, and which messages are held against them, slice by slice, on a worker thread. It
//! knows neither the wire nor sequence numbers: a set of messages is a set of UIDs here. See [`candidate`](super::candidate)
//! for how one message is held against the keys.

use std::collections::VecDeque;

use io_mio::Slice;
use mailstore::{Columns, ContentId, Flags, MailboxId, Message, Store, UidSet};
use roaring::RoaringBitmap;

use super::candidate::{Candidate, Condition, Cost};
use super::needles::{Needles, Scope};
use super::paging::{Pending, SPAN, intersection, union};

/// The most messages of one page.
const PAGE: usize = 500;

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
    /// The messages that could not be read: they match nothing.
    pub(super) unread: Unread,
}

/// The messages of a search that could not be read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unread {
    pub(super) count: u32,
    /// Whether one of them will not be readable later either.
    pub(super) is_permanent: bool,
}

impl Unread {
    /// Counts a message that could not be read for this reason.
    ///
    /// # Errors
    /// The reason, if it is not one of this message.
    fn add(&mut self, error: mailstore::Error) -> mailstore::Result<()> {
        use mailstore::Error;
        if !matches!(error, Error::Corrupt(_) | Error::Io(_) | Error::Unavailable(_)) {
            return Err(error);
        }
        if self.count == 0 {
            tracing::warn!(%error, "a message cannot be searched");
        }
        self.count = self.count.saturating_add(1);
        self.is_permanent |= !error.is_retryable();
        Ok(())
    }
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
                let matches = match candidate.look(store, &self.condition, &self.needles) {
                    Ok(matches) => matches,
                    // Neither a key nor its opposite is known to hold.
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

/// The bit of a system flag.
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
            // As little as possible at a time.
            while !search.run(&self.store, &Slice::lasting(Duration::ZERO)).unwrap() {}
            search.into_results()
        }
    }

    pub(in super::super) const FIRST: &str = "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.test>\nTo: ann@example.test\n\
        Subject: =?iso-8859-1?q?caf=E9?=\nDate: Mon, 1 Jan 2024 00:30:00 +0100\nX-Odd: one\n two\n\n\
        Plain Text\n";
    #[test]
    fn cheap_keys_come_first() {
        let key = Key::All(vec![Key::Text("x".into()), Key::Subject("y".into()), Key::Flag(1)]);
        let Key::All(keys) = key.cheap_first() else { panic!() };
        assert_eq!(keys, [Key::Flag(1), Key::Subject("y".into()), Key::Text("x".into())]);
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
