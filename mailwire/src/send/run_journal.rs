//! The journal of a run: looks up messages before they are tried, and records them before their final bytes are sent and
//! when their result is known.
//!
//! This module decides what a key consists of; [`journal`] stores keys on disk.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mailclient::delivery::{DeliveryReport, DeliveryStage, DeliveryStatus, Diagnostic};

use super::journal::{self, Journal, Key, Known};
use crate::command_error::{CommandError, ExitCode};

/// The maximum number of keys to announce together.
const MAX_KEYS_AHEAD: usize = 1024;

/// What to do with a message that the server may or may not have accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UncertainPolicy {
    /// Skip it: it might be delivered twice.
    Skip,
    /// Send it again.
    Resend,
}

/// How long a journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JournalLifetime {
    /// The user named the journal, so it is never deleted.
    Permanent,
    /// Until the server has accepted every message.
    UntilComplete,
}

/// A journal with the state of this run.
#[derive(Debug)]
pub(super) struct RunJournal {
    journal: Mutex<Journal>,
    /// The server, which is part of the keys.
    host: String,
    uncertain: UncertainPolicy,
    lifetime: JournalLifetime,
    /// The keys of messages that were read and whose final bytes were not sent, in order.
    upcoming: Mutex<VecDeque<Vec<Key>>>,
    /// How many messages of this run the server has accepted.
    accepted: AtomicUsize,
    /// How often each message occurred. Identical messages in one run are different messages.
    seen: Mutex<HashMap<[u8; 32], u64>>,
}

impl RunJournal {
    pub(super) fn new(
        journal: Journal,
        host: &str,
        uncertain: UncertainPolicy,
        lifetime: JournalLifetime,
    ) -> Self {
        Self {
            journal: Mutex::new(journal),
            host: host.to_ascii_lowercase(),
            uncertain,
            lifetime,
            upcoming: Mutex::default(),
            accepted: AtomicUsize::new(0),
            seen: Mutex::default(),
        }
    }

    /// Returns the keys of the next message with this digest, one for each recipient.
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

    /// Returns the results of earlier runs: the recipient's number, its status and the text for the report.
    pub(super) fn recall(&self, keys: &[Key]) -> Vec<(usize, DeliveryStatus, Diagnostic)> {
        let journal = lock(&self.journal);
        let known = keys.iter().enumerate().filter_map(|(number, key)| {
            let (status, text) = match journal.known(*key)? {
                Known::Accepted => (DeliveryStatus::Success, "the server accepted it in an earlier run"),
                Known::Uncertain if self.uncertain == UncertainPolicy::Skip => (
                    DeliveryStatus::Uncertain,
                    "the server may have accepted it in an earlier run, but did not reply",
                ),
                Known::Uncertain => return None,
            };
            Some((number, status, Diagnostic::without_reply(DeliveryStage::Message, text)))
        });
        known.collect()
    }

    /// Records that the final bytes of a message are about to be sent, and announces the next messages. When this returns,
    /// the record survives the death of the process and of the machine.
    pub(super) fn ending(&self, keys: &[Key]) -> io::Result<()> {
        let ahead: Vec<Key> = {
            let mut upcoming = lock(&self.upcoming);
            upcoming.retain(|message| !message.iter().any(|key| keys.contains(key)));
            // A server that has accepted few messages may accept no more, so few are announced.
            let max = self.accepted.load(Ordering::Relaxed).min(journal::MAX_AHEAD);
            upcoming.iter().take(max).flatten().take(MAX_KEYS_AHEAD).copied().collect()
        };
        lock(&self.journal).ending(keys, &ahead)
    }

    /// Records the result of an attempt. If writing fails, accepted messages are uncertain for the next run, which also
    /// prevents sending them twice. [`write_failure`](Self::write_failure) reports the failure.
    pub(super) fn note(&self, keys: &[Key], report: &DeliveryReport) {
        lock(&self.upcoming).retain(|message| !message.iter().any(|key| keys.contains(key)));
        let mut journal = lock(&self.journal);
        for (recipient, key) in report.recipients.iter().zip(keys) {
            let _ = match recipient.status {
                DeliveryStatus::Success => journal.accepted(*key),
                DeliveryStatus::Uncertain => Ok(()),
                _ => journal.not_accepted(*key),
            };
        }
        if report.recipients.iter().all(|one| one.status == DeliveryStatus::Success) {
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes everything to disk at the end of the run.
    pub(super) fn close(&self) {
        // After a failure, the unwritten results are uncertain.
        let _ = lock(&self.journal).close();
    }

    /// Returns the failure that stops the run if writing to the journal has failed.
    pub(super) fn write_failure(&self) -> Option<CommandError> {
        lock(&self.journal).is_broken().then(|| {
            CommandError::new(ExitCode::Unavailable, "the journal cannot be written to").advise(
                "free some disk space and run the same command again: it continues where this run stopped",
            )
        })
    }

    /// Completes a run in which the server has accepted every message. Deletes an automatic journal.
    pub(super) fn complete(self) {
        if self.lifetime == JournalLifetime::Permanent {
            self.close();
        } else {
            // A leftover journal would be harmless.
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
    fn a_message_is_uncertain_from_its_final_bytes_until_its_result() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("j")).unwrap();
        let keys = [0, 1, 2, 3].map(|number| journal.key(&[&[number]]));
        let journal = RunJournal::new(journal, "h", UncertainPolicy::Skip, JournalLifetime::Permanent);
        let known = |journal: &RunJournal| {
            let known = journal.recall(&keys).into_iter();
            known.map(|(number, status, _)| (number, status)).collect::<Vec<_>>()
        };
        assert!(known(&journal).is_empty());
        journal.ending(&keys[..3]).unwrap();
        assert_eq!(known(&journal), [0, 1, 2].map(|number| (number, DeliveryStatus::Uncertain)));
        let mut report = DeliveryReport::new(None, ["a", "b", "c", "d"].map(str::to_owned));
        report.recipients[0].status = DeliveryStatus::Success;
        report.recipients[1].status = DeliveryStatus::Uncertain;
        journal.note(&keys, &report);
        assert_eq!(known(&journal), [(0, DeliveryStatus::Success), (1, DeliveryStatus::Uncertain)]);
        let journal = RunJournal { uncertain: UncertainPolicy::Resend, ..journal };
        assert_eq!(known(&journal), [(0, DeliveryStatus::Success)]);
    }

    #[test]
    fn a_journal_that_cannot_be_written_stops_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("j")).unwrap().unwritable();
        let key = journal.key(&[b"message"]);
        let journal = RunJournal::new(journal, "h", UncertainPolicy::Skip, JournalLifetime::Permanent);
        assert!(journal.write_failure().is_none());
        for _ in 0..2 {
            assert!(journal.ending(&[key]).is_err());
            assert!(journal.write_failure().is_some() && journal.recall(&[key]).is_empty());
        }
    }
}
