//! Adds new messages to the text index of the store, in the background.
//!
//! A delivery does not wait for the index: a message that it does not contain yet is found by reading it. Messages are added
//! in batches, either because there are many or because their mailbox has not changed for a while.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mailstore::{Change, Columns, Error, MailboxId, Message, Store, TextIndex, TextSignatures, UidSet};

use super::imap::text_signatures;

/// The number of messages in a batch.
const BATCH: usize = 256;

/// The most batches of one mailbox that are added before the other mailboxes have their turn.
const BATCHES: usize = 16;

/// The fewest messages that are added when their mailbox has not changed for [`QUIET`]. So many are read quickly.
const FEWEST: usize = 16;

/// How long a mailbox must not change until fewer messages than a batch are added.
const QUIET: Duration = Duration::from_secs(2);

/// The time between two looks at the mailboxes that have changed.
const INTERVAL: Duration = Duration::from_millis(500);

/// The time between two searches for what can be removed from the index.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3_600);

/// The most mailboxes that wait. Beyond it, all mailboxes are looked at.
const WAITING: usize = 10_000;

/// The thread that adds messages. Dropping the value ends it after the current batch.
pub(super) struct TextIndexer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    work: Mutex<Work>,
    wake: Condvar,
}

struct Work {
    /// The mailboxes that may have new messages, with the time of their last change.
    changed: BTreeMap<MailboxId, Instant>,
    /// Whether to look at all mailboxes.
    all: bool,
    /// When to prune the index.
    prune_at: Instant,
    stops: bool,
}

impl TextIndexer {
    /// Starts the thread, if the store has an index.
    pub(super) fn start(store: &Arc<dyn Store>) -> std::io::Result<Option<Self>> {
        if store.text_index().is_none() {
            return Ok(None);
        }
        let work = Work { changed: BTreeMap::new(), all: true, prune_at: Instant::now(), stops: false };
        let shared = Arc::new(Shared { work: Mutex::new(work), wake: Condvar::new() });
        let (of_thread, store) = (Arc::clone(&shared), Arc::clone(store));
        let thread = std::thread::Builder::new()
            .name("text-indexer".to_owned())
            .spawn(move || of_thread.run(&*store))?;
        Ok(Some(Self { shared, thread: Some(thread) }))
    }

    /// Returns a function that records a change of the store.
    pub(super) fn watcher(&self) -> impl Fn(Change) + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move |change| shared.changed(change)
    }
}

/// What the thread is to do.
struct Due {
    changed: Vec<(MailboxId, Instant)>,
    all: bool,
    prunes: bool,
}

impl Drop for TextIndexer {
    fn drop(&mut self) {
        self.shared.lock().stops = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for TextIndexer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextIndexer")
            .field("waiting", &self.shared.lock().changed.len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, change: Change) {
        let mut work = self.lock();
        let was_idle = work.changed.is_empty();
        if change.modseq == 0 {
            // The mailbox was deleted.
            work.changed.remove(&change.mailbox);
            work.prune_at = work.prune_at.min(Instant::now() + QUIET);
        } else if work.changed.len() < WAITING || work.changed.contains_key(&change.mailbox) {
            work.changed.insert(change.mailbox, Instant::now());
        } else {
            work.all = true;
        }
        drop(work);
        if was_idle {
            self.wake.notify_one();
        }
    }

    fn run(&self, store: &dyn Store) {
        let Some(index) = store.text_index() else { return };
        loop {
            let Some(due) = self.wait() else { return };
            if due.all {
                self.read_mailboxes(store, index);
            }
            for (mailbox, last_change) in due.changed {
                if !self.add_messages(store, index, mailbox, last_change) {
                    return;
                }
            }
            if due.prunes {
                self.prune(index);
            }
            if !self.pause(INTERVAL) {
                return;
            }
        }
    }

    /// Waits for something to do. Returns `None` when the thread is to end.
    fn wait(&self) -> Option<Due> {
        let mut work = self.lock();
        loop {
            if work.stops {
                return None;
            }
            let now = Instant::now();
            let prunes = now >= work.prune_at;
            if prunes {
                work.prune_at = now + PRUNE_INTERVAL;
            }
            if prunes || work.all || !work.changed.is_empty() {
                let all = std::mem::take(&mut work.all);
                let changed: Vec<_> = work.changed.iter().map(|(mailbox, time)| (*mailbox, *time)).collect();
                drop(work);
                return Some(Due { changed, all, prunes });
            }
            let until = work.prune_at.saturating_duration_since(now);
            work = self.wake.wait_timeout(work, until).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Pauses, so that sessions have their turn. Returns false when the thread is to end.
    fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut work = self.lock();
        while !work.stops {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            work = self.wake.wait_timeout(work, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Notes all mailboxes with messages that are not in the index.
    fn read_mailboxes(&self, store: &dyn Store, index: &dyn TextIndex) {
        let accounts = store.accounts().unwrap_or_default();
        for account in accounts {
            for mailbox in store.list(account.id).unwrap_or_default() {
                let below = index.indexed_below(mailbox.id).unwrap_or(u32::MAX);
                let has_more = store.status(mailbox.id).is_ok_and(|status| status.uid_next > below);
                if has_more && !mailbox.no_select {
                    self.lock().changed.entry(mailbox.id).or_insert_with(Instant::now);
                }
            }
            if self.lock().stops {
                return;
            }
        }
    }

    /// Adds messages of a mailbox, up to [`BATCHES`] batches. Returns false when the thread is to end.
    fn add_messages(
        &self,
        store: &dyn Store,
        index: &dyn TextIndex,
        mailbox: MailboxId,
        last_change: Instant,
    ) -> bool {
        let is_quiet = last_change.elapsed() >= QUIET;
        let fewest = if is_quiet { FEWEST } else { BATCH };
        let mut is_complete = false;
        for _ in 0..BATCHES {
            let begin = Instant::now();
            match add_batch(store, index, mailbox, fewest) {
                // Sessions come first: the thread works half of the time at most.
                Ok(Added::Batch) if !self.pause(begin.elapsed()) => return false,
                Ok(Added::Batch) => continue,
                Ok(Added::Nothing) => is_complete = is_quiet,
                Err(Error::NotFound(_) | Error::NoSelect) => is_complete = true,
                Err(error) => tracing::info!(%error, "cannot index messages yet"),
            }
            break;
        }
        let mut work = self.lock();
        if is_complete && work.changed.get(&mailbox) == Some(&last_change) {
            work.changed.remove(&mailbox);
        }
        !work.stops
    }

    fn prune(&self, index: &dyn TextIndex) {
        let mut after = None;
        loop {
            match index.prune(after) {
                Ok(Some(next)) if self.pause(Duration::from_millis(20)) => after = Some(next),
                Ok(_) => return,
                Err(error) => {
                    tracing::info!(%error, "cannot remove old entries of the text index");
                    return;
                }
            }
        }
    }
}

/// Whether a batch was added.
enum Added {
    Batch,
    /// There are too few messages, or none.
    Nothing,
}

/// Adds the next messages of a mailbox, if there are at least `fewest`.
fn add_batch(
    store: &dyn Store,
    index: &dyn TextIndex,
    mailbox: MailboxId,
    fewest: usize,
) -> mailstore::Result<Added> {
    let below = index.indexed_below(mailbox)?;
    let uids = store.uid_page(mailbox, below, u32::MAX, BATCH)?.uids;
    let (true, Some(first), Some(last)) = (uids.len() >= fewest, uids.first(), uids.last()) else {
        return Ok(Added::Nothing);
    };
    let columns = Columns::summary().with_envelope().with_structure().with_small_bodies();
    let mut rest: UidSet = [*first..=*last].into_iter().collect();
    let mut texts = Vec::with_capacity(uids.len());
    while !rest.is_empty() {
        let page = store.fetch_page(mailbox, &rest, columns, BATCH)?;
        for message in page.messages {
            texts.push((message.uid, signatures(store, message)?));
        }
        rest = page.next.map_or_else(UidSet::default, |next| rest.starting_at(next));
    }
    index.add(mailbox, below..last.saturating_add(1), &texts)?;
    Ok(Added::Batch)
}

/// Returns the signatures of a message. One that cannot be read is found by every text.
fn signatures(store: &dyn Store, message: Message) -> mailstore::Result<TextSignatures> {
    match text_signatures(store, message) {
        Err(Error::Corrupt(_) | Error::Io(_) | Error::NotFound(_)) => Ok(TextSignatures::of_unknown_text()),
        signatures => signatures,
    }
}
