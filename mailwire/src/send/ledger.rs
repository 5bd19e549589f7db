//! The journal as a run uses it: what is known of a message before it is tried, what is written before its last octet
//! leaves, and what when its fate is known.
//!
//! It knows what a key is made of. How it is kept, `journal` knows.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use io_mio::delivery::{DeliveryReport, DeliveryStage, DeliveryStatus, Diagnostic};

use super::journal::{self, Journal, Key, Known};
use crate::failure::{Failure, Kind};

/// The most keys that are announced together.
const KEYS_AHEAD: usize = 1024;

/// What to do with a message of which nobody knows whether the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uncertain {
    /// It is not sent again: that may deliver it twice.
    Leave,
    /// It is sent again.
    Resend,
}

/// How long the journal is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It is somebody's own.
    Always,
    /// Until everything was taken.
    UntilComplete,
}

/// A journal, and which messages of this run have been looked up in it.
#[derive(Debug)]
pub(super) struct Ledger {
    journal: Mutex<Journal>,
    /// Where the mail goes: the same message to another server is another one.
    host: String,
    uncertain: Uncertain,
    keep: Keep,
    /// The messages of this run that were read and have not ended, in order: their keys.
    upcoming: Mutex<VecDeque<Vec<Key>>>,
    /// How many messages of this run were taken.
    taken: AtomicUsize,
    /// How often each message came. The second of two that are alike is not the first.
    seen: Mutex<HashMap<[u8; 32], u64>>,
}

impl Ledger {
    pub(super) fn new(journal: Journal, host: &str, uncertain: Uncertain, keep: Keep) -> Self {
        Self {
            journal: Mutex::new(journal),
            host: host.to_ascii_lowercase(),
            uncertain,
            keep,
            upcoming: Mutex::default(),
            taken: AtomicUsize::new(0),
            seen: Mutex::default(),
        }
    }

    /// The keys of the next message with these bytes, one for each recipient.
    pub(super) fn keys(&self, sender: &str, recipients: &[String], digest: [u8; 32]) -> Vec<Key> {
        let mut seen = lock(&self.seen);
        let seen = seen.entry(digest).or_default();
        *seen += 1;
        let (host, from, seen) = (self.host.as_bytes(), sender.as_bytes(), seen.to_be_bytes());
        let journal = lock(&self.journal);
        let key = |to: &String| journal.key(&[host, from, to.as_bytes(), &digest, &seen]);
        let keys: Vec<Key> = recipients.iter().map(key).collect();
        let unsent = keys.iter().filter(|key| journal.known(**key).is_none()).copied().collect::<Vec<_>>();
        if !unsent.is_empty() {
            lock(&self.upcoming).push_back(unsent);
        }
        keys
    }

    /// What an earlier run has come to, for those of whom it has: their numbers, and what stands in the report.
    pub(super) fn recall(&self, keys: &[Key]) -> Vec<(usize, DeliveryStatus, Diagnostic)> {
        let journal = lock(&self.journal);
        let known = keys.iter().enumerate().filter_map(|(number, key)| {
            let (status, text) = match journal.known(*key)? {
                Known::Taken => (DeliveryStatus::Success, "the server took it in an earlier run"),
                Known::Uncertain if self.uncertain == Uncertain::Leave => (
                    DeliveryStatus::Uncertain,
                    "it may have been taken in an earlier run, whose answer is not known",
                ),
                Known::Uncertain => return None,
            };
            Some((number, status, Diagnostic::without_reply(DeliveryStage::Message, text)))
        });
        known.collect()
    }

    /// Writes that the last bytes are about to leave for these: a journal that outlives the process, and with the next
    /// messages announced on disk, the machine, when this returns.
    pub(super) fn ending(&self, keys: &[Key]) -> io::Result<()> {
        let ahead: Vec<Key> = {
            let mut upcoming = lock(&self.upcoming);
            upcoming.retain(|message| !message.iter().any(|key| keys.contains(key)));
            // A server that has taken few messages may take no more: few are announced for it.
            let most = self.taken.load(Ordering::Relaxed).min(journal::AHEAD);
            upcoming.iter().take(most).flatten().take(KEYS_AHEAD).copied().collect()
        };
        lock(&self.journal).ending(keys, &ahead)
    }

    /// Writes what a try has come to. If that fails, what was taken counts as uncertain in the next run, which sends
    /// nothing twice either, and [`halt`](Self::halt) tells.
    pub(super) fn note(&self, keys: &[Key], report: &DeliveryReport) {
        lock(&self.upcoming).retain(|message| !message.iter().any(|key| keys.contains(key)));
        let mut journal = lock(&self.journal);
        for (recipient, key) in report.recipients.iter().zip(keys) {
            let _ = match recipient.status {
                DeliveryStatus::Success => journal.taken(*key),
                DeliveryStatus::Uncertain => Ok(()),
                _ => journal.open_again(*key),
            };
        }
        if report.recipients.iter().all(|one| one.status == DeliveryStatus::Success) {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The run is over: everything is on disk.
    pub(super) fn close(&self) {
        // What is not there counts as uncertain.
        let _ = lock(&self.journal).close();
    }

    /// Why nothing may be sent any more: the journal cannot be written to.
    pub(super) fn halt(&self) -> Option<Failure> {
        lock(&self.journal).is_broken().then(|| {
            Failure::new(Kind::Unavailable, "the journal cannot be written to")
                .advise("make room for it, and run the same command again: it goes on where this one stopped")
        })
    }

    /// Everything was taken: a journal that was not asked for has no use any more.
    pub(super) fn complete(self) {
        if self.keep == Keep::Always {
            self.close();
        } else {
            // Left behind it would only say that everything was taken.
            let _ = lock(&self.journal).remove();
        }
    }
}

fn lock<T>(inner: &Mutex<T>) -> MutexGuard<'_, T> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_left_is_known_to_the_next_run_until_it_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("j")).unwrap();
        let keys = [0, 1, 2, 3].map(|number| journal.key(&[&[number]]));
        let ledger = Ledger::new(journal, "h", Uncertain::Leave, Keep::Always);
        let known = |ledger: &Ledger| {
            let known = ledger.recall(&keys).into_iter();
            known.map(|(number, status, _)| (number, status)).collect::<Vec<_>>()
        };
        assert!(known(&ledger).is_empty());
        ledger.ending(&keys[..3]).unwrap();
        assert_eq!(known(&ledger), [0, 1, 2].map(|number| (number, DeliveryStatus::Uncertain)));
        let mut report = DeliveryReport::new(None, ["a", "b", "c", "d"].map(str::to_owned));
        report.recipients[0].status = DeliveryStatus::Success;
        report.recipients[1].status = DeliveryStatus::Uncertain;
        ledger.note(&keys, &report);
        assert_eq!(known(&ledger), [(0, DeliveryStatus::Success), (1, DeliveryStatus::Uncertain)]);
        let ledger = Ledger { uncertain: Uncertain::Resend, ..ledger };
        assert_eq!(known(&ledger), [(0, DeliveryStatus::Success)]);
    }

    #[test]
    fn a_journal_that_cannot_be_written_halts_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("j")).unwrap().unwritable();
        let key = journal.key(&[b"message"]);
        let ledger = Ledger::new(journal, "h", Uncertain::Leave, Keep::Always);
        assert!(ledger.halt().is_none());
        for _ in 0..2 {
            assert!(ledger.ending(&[key]).is_err());
            assert!(ledger.halt().is_some() && ledger.recall(&[key]).is_empty());
        }
    }
}
