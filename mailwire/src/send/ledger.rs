//! The journal as a run uses it: what is known of a message before it is tried, what is written before its last octet
//! leaves, and what when its fate is known.
//!
//! It knows what a key is made of. How it is kept, `journal` knows.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use io_mio::delivery::{Answer, DeliveryReport, Stage, Status};

use super::envelope::Envelope;
use super::journal::{Journal, Key, Known};
use crate::failure::{Failure, Kind};

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
    journal: Arc<Mutex<Journal>>,
    /// Where the mail goes: the same message to another server is another one.
    host: String,
    uncertain: Uncertain,
    keep: Keep,
    /// How often each message came. The second of two that are alike is not the first.
    seen: HashMap<[u8; 32], u64>,
}

impl Ledger {
    pub(super) fn new(journal: Journal, host: &str, uncertain: Uncertain, keep: Keep) -> Self {
        let journal = Arc::new(Mutex::new(journal));
        Self { journal, host: host.to_ascii_lowercase(), uncertain, keep, seen: HashMap::new() }
    }

    /// The keys of the next message with these octets, one for each recipient.
    pub(super) fn keys(&mut self, envelope: &Envelope, digest: [u8; 32]) -> Vec<Key> {
        let seen = self.seen.entry(digest).or_default();
        *seen += 1;
        let (host, from, seen) = (self.host.as_bytes(), envelope.sender().as_bytes(), seen.to_be_bytes());
        let journal = lock(&self.journal);
        let key = |to: &String| journal.key(&[host, from, to.as_bytes(), &digest, &seen]);
        envelope.recipients.iter().map(key).collect()
    }

    /// Puts what an earlier run has come to into a report.
    pub(super) fn recall(&self, keys: &[Key], report: &mut DeliveryReport) {
        let journal = lock(&self.journal);
        for (recipient, key) in report.recipients.iter_mut().zip(keys) {
            let (status, text) = match journal.known(*key) {
                Some(Known::Taken) => (Status::Success, "the server took it in an earlier run"),
                Some(Known::Uncertain) if self.uncertain == Uncertain::Leave => {
                    (Status::Uncertain, "it may have been taken in an earlier run, whose answer is not known")
                }
                _ => continue,
            };
            recipient.status = status;
            recipient.answer =
                Some(Answer { stage: Stage::Message, code: None, enhanced: None, text: text.to_owned() });
        }
    }

    /// Writes what a try has come to. If that fails, what was taken counts as uncertain in the next run, which sends
    /// nothing twice either, and [`halt`](Self::halt) tells.
    pub(super) fn note(&mut self, keys: &[Key], report: &DeliveryReport) {
        let mut journal = lock(&self.journal);
        for (recipient, key) in report.recipients.iter().zip(keys) {
            let _ = match recipient.status {
                Status::Success => journal.taken(*key),
                Status::Uncertain => Ok(()),
                _ => journal.open_again(*key),
            };
        }
    }

    /// The octets of a message that goes to these.
    pub(super) fn seal(&self, file: File, octets: u64, keys: Vec<Key>) -> Octets {
        let seal = Seal { journal: Arc::clone(&self.journal), keys };
        Octets { file, octets, at: 0, seal: Some(seal) }
    }

    /// Why nothing may be sent any more: the journal cannot be written to.
    pub(super) fn halt(&self) -> Option<Failure> {
        lock(&self.journal).is_broken().then(|| {
            Failure::new(Kind::Unavailable, "the journal cannot be written to")
                .advise("make room for it, and run the same command again: it goes on where this one stopped")
        })
    }

    /// Everything was taken: a journal that nobody asked for has no use any more.
    pub(super) fn complete(self) {
        if self.keep == Keep::UntilComplete {
            // Left behind it would only say that everything was taken.
            let _ = lock(&self.journal).remove();
        }
    }
}

/// The octets of a message. Before the last of them is given away the journal says so, on disk.
#[derive(Debug)]
pub(super) struct Octets {
    file: File,
    octets: u64,
    at: u64,
    /// What is still to be written.
    seal: Option<Seal>,
}

#[derive(Debug)]
struct Seal {
    journal: Arc<Mutex<Journal>>,
    keys: Vec<Key>,
}

impl Octets {
    /// Octets that no journal is kept of.
    pub(super) const fn unrecorded(file: File, octets: u64) -> Self {
        Self { file, octets, at: 0, seal: None }
    }
}

impl Read for Octets {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.at = self.at.saturating_add(count as u64);
        if self.at >= self.octets
            && let Some(seal) = self.seal.take()
        {
            // An error keeps the last octets back: the server has no message then.
            let ended = lock(&seal.journal).ending(&seal.keys);
            ended.inspect_err(|_| self.seal = Some(seal))?;
        }
        Ok(count)
    }
}

impl Seek for Octets {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_journal_is_written_before_the_last_octet_is_given_away() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("j")).unwrap();
        let key = journal.key(&[b"message"]);
        let ledger = Ledger::new(journal, "h", Uncertain::Leave, Keep::Always);
        let known = || lock(&ledger.journal).known(key);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut octets = ledger.seal(file, 10, vec![key]);
        octets.seek(SeekFrom::End(0)).unwrap();
        octets.seek(SeekFrom::Start(0)).unwrap();
        let mut nine = [0; 9];
        octets.read_exact(&mut nine).unwrap();
        assert_eq!(known(), None);
        let mut last = [0; 1];
        octets.read_exact(&mut last).unwrap();
        assert_eq!(known(), Some(Known::Uncertain));
    }

    #[test]
    fn a_journal_that_cannot_be_written_keeps_the_last_octets_back() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("j")).unwrap().unwritable();
        let key = journal.key(&[b"message"]);
        let ledger = Ledger::new(journal, "h", Uncertain::Leave, Keep::Always);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut octets = ledger.seal(file, 10, vec![key]);
        for _ in 0..2 {
            octets.seek(SeekFrom::Start(0)).unwrap();
            let mut got = Vec::new();
            assert!(octets.read_to_end(&mut got).is_err());
            assert!(got.len() < 10 && ledger.halt().is_some(), "{got:?}");
        }
    }
}
