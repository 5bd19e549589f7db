//! The search engine: finds the messages that match a set of keys (RFC 9051 §6.4.4, WITHIN of RFC 5032).
//!
//! A search runs on a worker thread, slice by slice. This module knows neither IMAP's syntax nor sequence numbers:
//! messages are identified by UID. See [`candidate`](super::candidate) for how one message is tested.

use std::collections::VecDeque;

use io_mio::Slice;
use mailstore::{Columns, ContentId, MailboxId, Message, Store, UidSet};
use proto_imap::mailbox_view::UidBitmap;

use super::candidate::{Candidate, Condition};
use super::search_key::Key;
use super::search_terms::SearchTerms;
use super::uid_windows::{PendingUids, SPAN, intersection};

/// The maximum number of messages in one page.
const PAGE: usize = 500;

/// Which of the matches are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    All,
    First,
    Last,
    /// The first and the last.
    FirstAndLast,
}

/// A running search: its results so far, and the remaining messages.
pub(super) struct Search {
    mailbox: MailboxId,
    condition: Condition,
    terms: SearchTerms,
    /// The content that all matches have, and the UIDs to search; `None` once it was looked up.
    content: Option<(ContentId, UidSet)>,
    columns: Columns,
    need: Need,
    pending: PendingUids,
    /// Whether windows are taken from the end, and how many UIDs one spans.
    backwards: bool,
    span: u32,
    window: UidSet,
    /// The UIDs that the current page was read from.
    page_uids: UidSet,
    page: VecDeque<Message>,
    candidate: Option<Box<Candidate>>,
    found: Results,
}

/// The matching messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Results {
    pub(super) uids: UidBitmap,
    pub(super) first: Option<Match>,
    pub(super) last: Option<Match>,
    /// The highest mod-sequence of the matches.
    pub(super) highest_modseq: u64,
    /// The messages that could not be read. They never match.
    pub(super) unread: Unread,
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

/// A matching message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
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
        let mut terms = SearchTerms::default();
        let condition = Condition::new(key.cheap_first(), &mut terms);
        terms.build().map_err(|_| TooLarge)?;
        Ok(Self {
            mailbox,
            condition,
            terms,
            content,
            columns,
            need,
            pending: PendingUids::new(&among),
            backwards: need == Need::Last,
            span: SPAN,
            window: UidSet::default(),
            page_uids: UidSet::default(),
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
            self.pending = PendingUids::new(&intersection(&among, &having));
        }
        loop {
            if let Some(candidate) = &mut self.candidate {
                let matches = match candidate.test(store, &self.condition, &self.terms) {
                    Ok(matches) => matches,
                    // An unreadable message matches neither a key nor its negation.
                    Err(error) => self.found.unread.add(error).map(|()| Some(false))?,
                };
                if let Some(matches) = matches {
                    let found = Match { uid: candidate.message.uid, modseq: candidate.message.modseq };
                    self.candidate = None;
                    if matches {
                        self.add_match(found);
                    }
                }
            } else if let Some(message) = self.page.pop_front() {
                self.candidate = Some(Box::new(Candidate::new(message, &self.terms)));
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

    fn add_match(&mut self, found: Match) {
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
            Need::FirstAndLast if !self.backwards => {
                self.backwards = true;
                self.page.clear();
                self.window = UidSet::default();
                self.pending.give_back(&std::mem::take(&mut self.page_uids), found.uid.saturating_add(1));
            }
            Need::All | Need::Last | Need::FirstAndLast => {}
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
                Need::Last => self.found.last.is_some(),
                Need::FirstAndLast => self.backwards && self.found.uids.len() > 1,
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
        self.page_uids = std::mem::take(&mut self.window);
        self.window = page.next.map(|next| self.page_uids.starting_at(next)).unwrap_or_default();
        Ok(true)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use mailstore::{Delivery, Flags, InternalDate, SqliteStore, Target};

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
    fn searches_only_for_the_needed_messages() {
        let messages: Vec<_> = (0..9).map(|number| (FIRST, [0, Flags::SEEN][number % 2], 0)).collect();
        let store = TestStore::with(&messages);
        let found = |need| {
            let results = store.search(Key::Flag(Flags::SEEN), need);
            (results.first.map(|one| one.uid), results.last.map(|one| one.uid), results.uids.len())
        };
        assert_eq!(found(Need::All), (Some(2), Some(8), 4));
        assert_eq!(found(Need::First), (Some(2), Some(2), 1));
        let (_, last, _) = found(Need::Last);
        assert_eq!(last, Some(8));
        let (first, last, _) = found(Need::FirstAndLast);
        assert_eq!((first, last), (Some(2), Some(8)));
        let none = store.search(Key::Flag(Flags::DRAFT), Need::FirstAndLast);
        assert_eq!((none.first, none.last), (None, None));
    }
}
