//! The search engine: finds the messages that match a set of keys (RFC 9051 §6.4.4, WITHIN of RFC 5032).
//!
//! A search runs on a worker thread, slice by slice. The [`SearchQuery`] tests one message; this module decides which
//! messages are read, and when. A [`Collector`] gets the matches of SORT and THREAD.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use io_common::Slice;
use mailstore::{Columns, ContentId, MailboxId, Message, Store, UidSet};
use proto_imap::search_query::{
    MessagePart, MessageSearch, NeededMatches, SearchMatch, SearchQuery, SearchResults,
};
use proto_imap::types::{NumberRange, RelevancyScore};

use super::scores::{NeededScores, Scores};
use super::sort_collector::{SortCollector, SortedMatches};
use super::stored_message::{EmailIds, MessageReader, StoredMessage};
use super::thread_collector::{NeededReferences, ThreadCollector, ThreadItemsLeft};
use super::translate::uid_set;
use super::uid_windows::{PendingUids, SPAN, intersection};
use crate::search_memory::Reservation;

/// The maximum number of messages in one page.
const PAGE: usize = 500;

/// A running search: its results so far, and the remaining messages.
pub(super) struct Search {
    mailbox: MailboxId,
    query: Arc<SearchQuery>,
    email_ids: EmailIds,
    /// The UIDs to search, until those that cannot match were left out.
    among: Option<UidSet>,
    /// The content that all matches have.
    content: Option<ContentId>,
    columns: Columns,
    need: NeededMatches,
    pending: PendingUids,
    /// Whether windows are taken from the end, and how many UIDs one spans.
    backwards: bool,
    span: u32,
    window: UidSet,
    /// The UIDs that the current page was read from.
    page_uids: UidSet,
    page: VecDeque<Message>,
    /// The message that is being tested.
    current: Option<Box<(StoredMessage, MessageSearch)>>,
    collector: Collector,
    matches: SearchResults,
    unread: Unread,
}

/// What is done with the matches, besides keeping them as a set.
#[derive(Debug)]
pub(super) enum Collector {
    /// Nothing: SEARCH.
    Set,
    /// Their scores are kept: SEARCH with RELEVANCY. Only a search for all matches finds them in the order of the mailbox.
    Scores(Box<Scores>),
    Sort(Box<SortCollector>),
    Thread(Box<ThreadCollector>),
}

/// The matching messages.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) matches: SearchResults,
    pub(super) collected: Collected,
    /// The messages that could not be read. They never match.
    pub(super) unread: Unread,
}

/// What a [`Collector`] has made of the matches, and the memory that is reserved for it.
#[derive(Debug)]
pub(super) enum Collected {
    Set,
    Scores(Box<Scores>),
    Sorted(SortedMatches, Reservation),
    Threads(Box<ThreadItemsLeft>, Reservation),
}

/// The messages that a search could not read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unread {
    pub(super) count: u32,
}

impl Unread {
    /// Counts a message that could not be read.
    ///
    /// # Errors
    /// Returns `error` if it does not concern only this message.
    fn add(&mut self, error: mailstore::Error) -> mailstore::Result<()> {
        use mailstore::Error;
        // `Unavailable` concerns the process: without file descriptors, no message can be read.
        if !matches!(error, Error::Corrupt(_) | Error::Io(_)) {
            return Err(error);
        }
        if self.count == 0 {
            tracing::warn!(%error, "cannot search a message");
        }
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

impl Search {
    /// Prepares a search of these messages.
    pub(super) fn new(
        mailbox: MailboxId,
        among: &UidSet,
        query: Arc<SearchQuery>,
        email_ids: EmailIds,
        need: NeededMatches,
        collector: Collector,
    ) -> Self {
        let mut among = match query.uids() {
            Some(uids) => intersection(among, &uid_set(uids)),
            None => among.clone(),
        };
        let mut content = None;
        if let Some(id) = query.email_id() {
            match email_ids.iter().find(|(known, _)| known == id) {
                Some((_, Some(found))) => content = Some(*found),
                // No message can have this identifier.
                _ => among = UidSet::default(),
            }
        }
        Self {
            mailbox,
            columns: collector.columns(columns(&query)),
            query,
            email_ids,
            content,
            need,
            among: Some(among),
            pending: PendingUids::default(),
            backwards: need == NeededMatches::Last,
            span: SPAN,
            window: UidSet::default(),
            page_uids: UidSet::default(),
            page: VecDeque::new(),
            current: None,
            collector,
            matches: SearchResults::default(),
            unread: Unread::default(),
        }
    }

    /// Returns the results.
    pub(super) fn into_results(self) -> Results {
        let collected = match self.collector {
            Collector::Set => Collected::Set,
            Collector::Scores(scores) => Collected::Scores(scores),
            Collector::Sort(sort) => {
                let (sorted, memory) = sort.into_sorted();
                Collected::Sorted(sorted, memory)
            }
            Collector::Thread(thread) => {
                let (items, memory) = thread.into_threads();
                Collected::Threads(Box::new(items), memory)
            }
        };
        Results { matches: self.matches, collected, unread: self.unread }
    }

    /// Searches until the slice is over. Returns true once the search is complete.
    pub(super) fn run(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<bool> {
        if let Some(among) = self.among.take() {
            self.pending = PendingUids::new(&self.narrow(store, among)?);
        }
        loop {
            if let Some(current) = &mut self.current {
                let (stored, search) = &mut **current;
                let found = SearchMatch { uid: stored.message.uid, mod_sequence: stored.message.modseq };
                let mut reader = MessageReader { store, email_ids: &self.email_ids, stored };
                let matches = match search.step(&self.query, &mut reader) {
                    Ok(matches) => matches,
                    // An unreadable message matches neither a key nor its negation.
                    Err(error) => self.unread.add(error).map(|()| Some(false))?,
                };
                if let Some(matches) = matches {
                    if matches {
                        let score = search.relevancy(&self.query, &reader);
                        self.collector.add(store, stored, score)?;
                        self.add_match(found);
                    }
                    self.current = None;
                }
            } else if let Some(message) = self.page.pop_front() {
                self.current = Some(Box::new((StoredMessage::new(message), MessageSearch::new(&self.query))));
                // This took no time: no need to check the slice.
                continue;
            } else if !self.read_page(store)? {
                return Ok(self.collector.finish(slice));
            }
            if slice.is_over() {
                return Ok(false);
            }
        }
    }

    /// Leaves out messages that cannot match.
    fn narrow(&self, store: &dyn Store, among: UidSet) -> mailstore::Result<UidSet> {
        if let Some(content) = self.content {
            return Ok(intersection(&among, &store.uids_of_content(self.mailbox, content)?));
        }
        let Some(index) = store.text_index().filter(|_| !among.is_empty()) else { return Ok(among) };
        // TEXT is two keys with one text.
        let mut known: HashMap<String, Option<Vec<NumberRange>>> = HashMap::new();
        let candidates = self.query.candidates(&mut |text| {
            if let Some(uids) = known.get(text) {
                return Ok(uids.clone());
            }
            let uids = index.find(self.mailbox, text)?;
            let ranges = uids.map(|uids| uids.ranges().iter().cloned().map(NumberRange::from).collect());
            known.insert(text.to_owned(), Option::clone(&ranges));
            Ok(ranges)
        });
        match candidates {
            Ok(Some(candidates)) => Ok(intersection(&among, &uid_set(candidates))),
            Ok(None) => Ok(among),
            // The messages themselves are there.
            Err(mailstore::Error::Corrupt(what)) => {
                tracing::warn!(what, "cannot use the text index");
                Ok(among)
            }
            Err(error) => Err(error),
        }
    }

    fn add_match(&mut self, found: SearchMatch) {
        self.matches.add(found);
        match self.need {
            NeededMatches::First => self.stop(),
            // The first match is known. Find the last one from the end, down to the first.
            NeededMatches::FirstAndLast if !self.backwards => {
                self.backwards = true;
                self.page.clear();
                self.window = UidSet::default();
                self.pending.give_back(&std::mem::take(&mut self.page_uids), found.uid.saturating_add(1));
            }
            NeededMatches::All | NeededMatches::Last | NeededMatches::FirstAndLast => {}
        }
    }

    fn stop(&mut self) {
        (self.pending, self.window) = (PendingUids::default(), UidSet::default());
        self.page.clear();
    }

    /// Reads the next page of messages. Returns false if there are none.
    fn read_page(&mut self, store: &dyn Store) -> mailstore::Result<bool> {
        if self.window.is_empty() {
            // Within a window from the end, the last match is the result; earlier windows need not be searched.
            let is_found = match self.need {
                NeededMatches::Last => self.matches.last().is_some(),
                NeededMatches::FirstAndLast => self.backwards && self.matches.uids().len() > 1,
                NeededMatches::All | NeededMatches::First => false,
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
        self.page_uids = std::mem::take(&mut self.window);
        self.window = page.next.map(|next| self.page_uids.starting_at(next)).unwrap_or_default();
        Ok(true)
    }
}

impl Collector {
    /// Returns the collector of a SEARCH.
    pub(super) fn for_search(scores: NeededScores, memory: impl FnOnce() -> Reservation) -> Self {
        match scores {
            NeededScores::No => Self::Set,
            NeededScores::Yes => Self::Scores(Box::new(Scores::new(memory()))),
        }
    }

    /// Adds the columns that the collector needs.
    fn columns(&self, columns: Columns) -> Columns {
        match self {
            Self::Set | Self::Scores(_) => columns,
            Self::Sort(sort) if !sort.needs_envelope() => columns,
            Self::Sort(_) => columns.with_envelope(),
            Self::Thread(thread) => match thread.references() {
                NeededReferences::Yes => columns.with_envelope().with_structure().with_small_bodies(),
                NeededReferences::No => columns.with_envelope(),
            },
        }
    }

    /// Adds a match.
    fn add(
        &mut self,
        store: &dyn Store,
        stored: &mut StoredMessage,
        score: RelevancyScore,
    ) -> mailstore::Result<()> {
        match self {
            Self::Set => Ok(()),
            Self::Scores(scores) => scores.add(score),
            Self::Sort(sort) => sort.add(&stored.message, score),
            Self::Thread(thread) => {
                let references = match thread.references() {
                    // Without a readable header, the other fields decide.
                    NeededReferences::Yes => stored.header_field(store, b"References").unwrap_or_default(),
                    NeededReferences::No => String::new(),
                };
                thread.add(&stored.message, &references)
            }
        }
    }

    /// Completes the result until the slice is over. Returns true once it is complete.
    fn finish(&mut self, slice: &Slice) -> bool {
        match self {
            Self::Set | Self::Scores(_) => true,
            Self::Sort(sort) => sort.finish(slice),
            Self::Thread(thread) => thread.finish(slice),
        }
    }
}

/// Returns the columns that a query needs.
fn columns(query: &SearchQuery) -> Columns {
    let columns = Columns::summary();
    match query.cost() {
        MessagePart::Attributes => columns,
        MessagePart::Envelope => columns.with_envelope(),
        MessagePart::Header | MessagePart::Text => {
            columns.with_envelope().with_structure().with_small_bodies()
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests prepare the store")]
pub(super) mod tests {
    use std::time::Duration;

    use mailstore::{Accounts, Delivery, Flags, InternalDate, SqliteStore, Target};
    use proto_imap::mailbox_view::{MailboxView, UidBitmap};
    use proto_imap::search_query::SearchLimits;
    use proto_imap::types::{LazyList, SearchKey};

    use super::*;

    pub(in super::super) struct TestStore {
        _directory: tempfile::TempDir,
        pub(in super::super) store: SqliteStore,
        pub(in super::super) mailbox: MailboxId,
    }

    impl TestStore {
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

        pub(in super::super) fn find(&self, key: SearchKey<'_>) -> Vec<u32> {
            self.search(key, NeededMatches::All).uids().iter().collect()
        }

        fn search(&self, key: SearchKey<'_>, need: NeededMatches) -> SearchResults {
            let mut search =
                Search::new(self.mailbox, &UidSet::all(), query(key), Vec::new(), need, Collector::Set);
            // Slices as short as possible.
            while !search.run(&self.store, &Slice::lasting(Duration::ZERO)).unwrap() {}
            search.into_results().matches
        }
    }

    /// Prepares a search of a mailbox with the UIDs 1 to 100, on day 20 since 1970.
    pub(in super::super) fn query(key: SearchKey<'_>) -> Arc<SearchQuery> {
        let view = MailboxView::new((1..=100).collect::<UidBitmap>());
        let limits = SearchLimits::default();
        Arc::new(SearchQuery::new(LazyList::new(&[key]), &view, 20 * 86_400, &limits).unwrap())
    }

    pub(in super::super) const FIRST: &str = "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.test>\nTo: ann@example.test\n\
        Subject: =?iso-8859-1?q?caf=E9?=\nDate: Mon, 1 Jan 2024 00:30:00 +0100\nX-Odd: one\n two\n\n\
        Plain Text\n";

    #[test]
    fn searches_only_for_the_needed_messages() {
        let messages: Vec<_> = (0..9).map(|number| (FIRST, [0, Flags::SEEN][number % 2], 0)).collect();
        let store = TestStore::with(&messages);
        let found = |need| {
            let results = store.search(SearchKey::Seen, need);
            (results.first().map(|one| one.uid), results.last().map(|one| one.uid), results.uids().len())
        };
        assert_eq!(found(NeededMatches::All), (Some(2), Some(8), 4));
        assert_eq!(found(NeededMatches::First), (Some(2), Some(2), 1));
        let (_, last, _) = found(NeededMatches::Last);
        assert_eq!(last, Some(8));
        let (first, last, _) = found(NeededMatches::FirstAndLast);
        assert_eq!((first, last), (Some(2), Some(8)));
        let none = store.search(SearchKey::Draft, NeededMatches::FirstAndLast);
        assert_eq!((none.first(), none.last()), (None, None));
    }
}
