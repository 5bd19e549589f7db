//! What a run has done, for people and for programs, and what of it may be stored.

use std::collections::BTreeSet;

use serde::Serialize;

use super::plan::ranges;
use crate::connect::Way;
use crate::failure::{Failure, Kind};
use crate::output::Output;

/// The most single failures of a folder that are listed; all are counted.
const LISTED: usize = 100;

/// How a run ended.
#[derive(Debug, Serialize)]
pub(super) struct SyncReport {
    url: String,
    last_sync_at: String,
    status: &'static str,
    error: Option<String>,
    pub(super) imported: u64,
    duplicates: u64,
    known: u64,
    failed: u64,
    folders: Vec<FolderReport>,
}

/// How it ended for one folder.
#[derive(Debug, Default, Serialize)]
pub(super) struct FolderReport {
    pub(super) name: String,
    /// Messages that are new here.
    pub(super) imported: u64,
    /// Messages whose very bytes were here already.
    pub(super) duplicates: u64,
    /// Messages that an earlier run has fetched.
    pub(super) known: u64,
    /// Messages that could not be fetched or read.
    pub(super) failed: u64,
    pub(super) error: Option<String>,
    /// The messages that could not be fetched, as far as their UIDs are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) failures: Vec<ItemFailure>,
    /// What may be stored of `error`.
    #[serde(skip)]
    kept: Option<String>,
    /// What kinds of failures there were.
    #[serde(skip)]
    pub(super) kinds: Vec<Kind>,
}

/// A message that could not be fetched.
#[derive(Debug, Serialize)]
pub(super) struct ItemFailure {
    uid: u32,
    why: String,
}

impl FolderReport {
    pub(super) fn of(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The folder could not be fetched, or not to its end.
    pub(super) fn refuse(&mut self, failure: &Failure) {
        self.kinds.push(failure.kind);
        self.add(&failure.what, &failure.to_keep());
    }

    /// So many messages failed, for this reason.
    pub(super) fn count_failed(&mut self, count: u64, kind: Kind, why: &str) {
        if count == 0 {
            return;
        }
        self.failed += count;
        self.kinds.push(kind);
        self.add(why, why);
    }

    /// One message failed.
    pub(super) fn blame(&mut self, uid: u32, failure: &Failure) {
        self.failed += 1;
        self.kinds.push(failure.kind);
        if self.failures.len() < LISTED {
            self.failures.push(ItemFailure { uid, why: failure.what.clone() });
        }
    }

    /// These messages were asked for and did not come. So many responses could not be read, and so many messages were
    /// removed meanwhile, which of them the server did not say.
    pub(super) fn miss(&mut self, absent: &BTreeSet<u32>, unread: u64, gone: u64) {
        let count = absent.len() as u64;
        if gone == 0 {
            let why = if unread > 0 {
                "it could not be read, or did not come"
            } else {
                "it did not come, though the server said OK"
            };
            let failure = Failure::new(Kind::Unavailable, why);
            absent.iter().for_each(|uid| self.blame(*uid, &failure));
            let other = unread.saturating_sub(count);
            self.count_failed(other, Kind::Unavailable, &format!("{other} messages could not be read"));
            return;
        }
        let left = count.saturating_sub(gone).max(unread);
        let listed: Vec<u32> = absent.iter().copied().take(LISTED).collect();
        let more = if listed.len() < absent.len() { " and others" } else { "" };
        let why = format!(
            "{left} of the messages with UID {}{more} could not be read or did not come; the others were removed \
             meanwhile",
            ranges(&listed)
        );
        self.count_failed(left, Kind::Unavailable, &why);
    }

    /// Puts what happened to single messages into words.
    pub(super) fn conclude(&mut self) {
        let Some(first) = self.failures.first() else { return };
        let (shown, kept) = match self.failures.len() {
            1 => (
                format!("the message with UID {} could not be fetched: {}", first.uid, first.why),
                format!("the message with UID {} could not be fetched", first.uid),
            ),
            LISTED.. => {
                let kept = format!("{LISTED} or more messages could not be fetched");
                (format!("{kept}, UID {} first: {}", first.uid, first.why), kept)
            }
            count => {
                let uids: Vec<String> = self.failures.iter().map(|one| one.uid.to_string()).collect();
                let kept = format!("{count} messages could not be fetched");
                (format!("{kept} (UID {}), the first one: {}", uids.join(", "), first.why), kept)
            }
        };
        self.add(&shown, &kept);
    }

    fn add(&mut self, shown: &str, kept: &str) {
        for (text, more) in [(&mut self.error, shown), (&mut self.kept, kept)] {
            match text {
                Some(text) => {
                    text.push_str("; ");
                    text.push_str(more);
                }
                None => *text = Some(more.to_owned()),
            }
        }
    }
}

impl SyncReport {
    /// Of these folders; `stopped` is what ended the run before its end.
    pub(super) fn new(
        way: &Way,
        at: jiff::Timestamp,
        folders: Vec<FolderReport>,
        stopped: Option<&Failure>,
    ) -> Self {
        let sum = |count: fn(&FolderReport) -> u64| folders.iter().map(count).sum();
        let has_any = folders.iter().any(|folder| folder.imported + folder.known + folder.duplicates > 0);
        let status = match stopped {
            Some(failure) if matches!(failure.kind, Kind::Interrupted | Kind::Terminated) => "interrupted",
            Some(_) if !has_any => "failed",
            Some(_) => "partial",
            None if folders.iter().any(|folder| folder.error.is_some()) => "partial",
            None => "success",
        };
        let error = stopped
            .map(|failure| failure.what.clone())
            .or_else(|| folders.iter().find_map(|folder| folder.error.clone()));
        Self {
            url: way.url.to_string(),
            last_sync_at: at.to_string(),
            status,
            error,
            imported: sum(|folder| folder.imported),
            duplicates: sum(|folder| folder.duplicates),
            known: sum(|folder| folder.known),
            failed: sum(|folder| folder.failed),
            folders,
        }
    }

    /// Whether a folder was looked at.
    pub(super) const fn has_folders(&self) -> bool {
        !self.folders.is_empty()
    }

    /// How the run ended, in a word.
    pub(super) const fn status(&self) -> &'static str {
        self.status
    }

    /// What may be stored of the error: nothing that a server said.
    pub(super) fn kept_error(&self, stopped: Option<&Failure>) -> Option<String> {
        stopped.map(Failure::to_keep).or_else(|| self.folders.iter().find_map(|folder| folder.kept.clone()))
    }

    /// What ends the command where single items failed: 75 if trying again may help with all of them, 76 if the server
    /// broke the protocol in all of them, else 69.
    pub(super) fn failure(&self) -> Option<Failure> {
        let mut kinds = self.folders.iter().flat_map(|folder| folder.kinds.iter().copied());
        let first = kinds.next()?;
        let kind = match first {
            Kind::TryAgain | Kind::Protocol if kinds.all(|kind| kind == first) => first,
            _ => Kind::Unavailable,
        };
        let failure = Failure::new(kind, "some folders or messages could not be fetched");
        Some(
            failure
                .advise("run it again: nothing is fetched twice, and what failed is tried again at the end"),
        )
    }

    pub(super) fn show(&self, output: Output) {
        output.json(self);
        for folder in &self.folders {
            output.line(format!(
                "{}: {} new, {} known{}",
                folder.name,
                folder.imported,
                folder.known + folder.duplicates,
                folder.error.as_ref().map(|error| format!("; {error}")).unwrap_or_default(),
            ));
        }
        output.line(format!(
            "{}: {} new messages in {} folders",
            self.status,
            self.imported,
            self.folders.len()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(absent: &[u32], unread: u64, gone: u64) -> FolderReport {
        let mut report = FolderReport::of("INBOX");
        report.miss(&absent.iter().copied().collect(), unread, gone);
        report.conclude();
        report
    }

    #[test]
    fn names_the_uids_of_messages_that_did_not_come() {
        let report = missed(&[4, 9], 0, 0);
        assert_eq!(report.failed, 2);
        assert_eq!(report.failures.iter().map(|one| one.uid).collect::<Vec<_>>(), [4, 9]);
        let error = report.error.unwrap();
        assert!(
            error.contains("(UID 4, 9)") && error.contains("it did not come, though the server said OK"),
            "{error}"
        );
        let json = serde_json::to_string(&report.failures).unwrap();
        assert!(json.starts_with("[{\"uid\":4,\"why\":"), "{json}");
    }

    #[test]
    fn counts_messages_that_were_removed_meanwhile_as_no_failure() {
        assert_eq!(missed(&[4, 9], 0, 2).error, None);
        let report = missed(&[4, 5, 9], 0, 2);
        assert_eq!((report.failed, report.failures.len()), (1, 0));
        assert!(report.error.unwrap().starts_with("1 of the messages with UID 4:5,9 could not be read"));
    }

    #[test]
    fn counts_responses_that_could_not_be_read() {
        let report = missed(&[7], 3, 0);
        assert_eq!((report.failed, report.failures.len()), (3, 1));
        assert!(missed(&[7], 1, 0).error.unwrap().contains("UID 7"));
    }
}
