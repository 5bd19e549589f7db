//! The report of a sync run, for people, for programs and for the store.

use std::collections::BTreeSet;

use mailclient::sync::sequence_set;
use serde::Serialize;

use crate::command_error::{CommandError, ExitCode};
use crate::endpoint::Endpoint;
use crate::output::Output;

/// The most failed messages that are listed for a folder. All are counted.
const MAX_LISTED: usize = 100;

/// Whether a run changed nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct DryRun(pub(super) bool);

/// The result of a run.
#[derive(Debug, Serialize)]
pub(super) struct SyncReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    url: String,
    last_sync_at: String,
    status: &'static str,
    error: Option<String>,
    pub(super) imported: u64,
    duplicates: u64,
    known: u64,
    failed: u64,
    /// Messages whose flags changed.
    changed: u64,
    /// Messages that the server has removed.
    removed: u64,
    /// Whether nothing was changed here.
    dry_run: bool,
    renamed: Vec<RenamedFolder>,
    folders: Vec<FolderReport>,
}

/// A folder that the server has renamed.
#[derive(Debug, Serialize)]
pub(super) struct RenamedFolder {
    pub(super) from: String,
    pub(super) to: String,
}

/// The result for one folder.
#[derive(Debug, Default, Serialize)]
pub(super) struct FolderReport {
    pub(super) name: String,
    /// New messages.
    pub(super) imported: u64,
    /// Messages whose bytes were in the store already.
    pub(super) duplicates: u64,
    /// Messages that an earlier run fetched.
    pub(super) known: u64,
    /// Messages that were not here when the folder began.
    pub(super) missing: u64,
    /// Messages whose flags or keywords changed.
    pub(super) changed: u64,
    /// Messages that the server has removed.
    pub(super) removed: u64,
    /// Whether the server has deleted the folder.
    #[serde(rename = "gone")]
    pub(super) is_gone: bool,
    /// Messages that could not be fetched or parsed.
    pub(super) failed: u64,
    pub(super) error: Option<String>,
    /// Messages that could not be fetched, if their UIDs are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) failures: Vec<FailedMessage>,
    /// The part of `error` that may be stored.
    #[serde(skip)]
    storable_error: Option<String>,
    /// The exit codes of all failures.
    #[serde(skip)]
    pub(super) exit_codes: Vec<ExitCode>,
}

/// A message that could not be fetched.
#[derive(Debug, Serialize)]
pub(super) struct FailedMessage {
    uid: u32,
    why: String,
}

impl FolderReport {
    /// Creates an empty report.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Records that the folder could not be fetched completely.
    pub(super) fn folder_failed(&mut self, failure: &CommandError) {
        self.exit_codes.push(failure.exit_code);
        self.add(&failure.what, &failure.storable());
    }

    /// Records that a number of messages failed for a reason.
    pub(super) fn count_failed(&mut self, count: u64, exit_code: ExitCode, why: &str) {
        if count == 0 {
            return;
        }
        self.failed += count;
        self.exit_codes.push(exit_code);
        self.add(why, why);
    }

    /// Records that one message failed.
    pub(super) fn message_failed(&mut self, uid: u32, failure: &CommandError) {
        self.failed += 1;
        self.exit_codes.push(failure.exit_code);
        if self.failures.len() < MAX_LISTED {
            self.failures.push(FailedMessage { uid, why: failure.what.clone() });
        }
    }

    /// Records requested messages that did not arrive. `unparsed` responses could not be parsed, and `expunged` messages
    /// were removed during the run; the server did not say which ones.
    pub(super) fn messages_absent(&mut self, absent: &BTreeSet<u32>, unparsed: u64, expunged: u64) {
        let count = absent.len() as u64;
        if expunged == 0 {
            let why = if unparsed > 0 {
                "it could not be parsed or did not arrive"
            } else {
                "it did not arrive, although the server answered OK"
            };
            let failure = CommandError::new(ExitCode::Unavailable, why);
            absent.iter().for_each(|uid| self.message_failed(*uid, &failure));
            let other = unparsed.saturating_sub(count);
            self.count_failed(other, ExitCode::Unavailable, &format!("{other} messages could not be parsed"));
            return;
        }
        let failed = count.saturating_sub(expunged).max(unparsed);
        let listed: Vec<u32> = absent.iter().copied().take(MAX_LISTED).collect();
        let more = if listed.len() < absent.len() { " and others" } else { "" };
        let why = format!(
            "{failed} of the messages with UID {}{more} could not be parsed or did not arrive; the server removed \
             the others",
            sequence_set(&listed)
        );
        self.count_failed(failed, ExitCode::Unavailable, &why);
    }

    /// Adds the failed messages to the error text.
    pub(super) fn conclude(&mut self) {
        let Some(first) = self.failures.first() else { return };
        let (shown, storable) = match self.failures.len() {
            1 => (
                format!("the message with UID {} could not be fetched: {}", first.uid, first.why),
                format!("the message with UID {} could not be fetched", first.uid),
            ),
            MAX_LISTED.. => {
                let storable = format!("{MAX_LISTED} or more messages could not be fetched");
                (format!("{storable}, UID {} first: {}", first.uid, first.why), storable)
            }
            count => {
                let uids: Vec<String> = self.failures.iter().map(|one| one.uid.to_string()).collect();
                let storable = format!("{count} messages could not be fetched");
                (format!("{storable} (UID {}), the first one: {}", uids.join(", "), first.why), storable)
            }
        };
        self.add(&shown, &storable);
    }

    fn add(&mut self, shown: &str, storable: &str) {
        for (text, more) in [(&mut self.error, shown), (&mut self.storable_error, storable)] {
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
    /// Sums up the folders. `stopped` is the failure that ended the run early.
    pub(super) fn new(
        endpoint: &Endpoint,
        at: jiff::Timestamp,
        (folders, renamed): (Vec<FolderReport>, Vec<RenamedFolder>),
        dry_run: DryRun,
        stopped: Option<&CommandError>,
    ) -> Self {
        let sum = |count: fn(&FolderReport) -> u64| folders.iter().map(count).sum();
        let has_any = folders.iter().any(|folder| folder.imported + folder.known + folder.duplicates > 0);
        let status = match stopped {
            Some(failure) if matches!(failure.exit_code, ExitCode::Interrupted | ExitCode::Terminated) => {
                "interrupted"
            }
            Some(_) if !has_any => "failed",
            Some(_) => "partial",
            None if folders.iter().any(|folder| folder.error.is_some()) => "partial",
            None => "success",
        };
        let error = stopped
            .map(|failure| failure.what.clone())
            .or_else(|| folders.iter().find_map(|folder| folder.error.clone()));
        Self {
            account: endpoint.account_name().map(str::to_owned),
            url: endpoint.url.to_string(),
            last_sync_at: at.to_string(),
            status,
            error,
            imported: sum(|folder| folder.imported),
            duplicates: sum(|folder| folder.duplicates),
            known: sum(|folder| folder.known),
            failed: sum(|folder| folder.failed),
            changed: sum(|folder| folder.changed),
            removed: sum(|folder| folder.removed),
            dry_run: dry_run.0,
            renamed,
            folders,
        }
    }

    /// Returns whether the run began with any folder.
    pub(super) const fn has_folders(&self) -> bool {
        !self.folders.is_empty()
    }

    /// Returns whether something changed or failed.
    pub(super) fn has_changes(&self) -> bool {
        let folder_changed = |folder: &FolderReport| folder.is_gone || folder.error.is_some();
        self.imported + self.duplicates + self.changed + self.removed + self.failed > 0
            || !self.renamed.is_empty()
            || self.folders.iter().any(folder_changed)
    }

    /// Returns the status of the run, as one word.
    pub(super) const fn status(&self) -> &'static str {
        self.status
    }

    /// Returns the number of messages that were in the store already.
    pub(super) const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Returns the error text that may be stored, which holds no server text.
    pub(super) fn storable_error(&self, stopped: Option<&CommandError>) -> Option<String> {
        stopped
            .map(CommandError::storable)
            .or_else(|| self.folders.iter().find_map(|folder| folder.storable_error.clone()))
    }

    /// Returns the failure of the command if folders or messages failed: [`ExitCode::TryAgain`] if a retry may help with all
    /// of them, [`ExitCode::Protocol`] if all of them are protocol errors, and [`ExitCode::Unavailable`] otherwise.
    pub(super) fn failure(&self) -> Option<CommandError> {
        let mut exit_codes = self.folders.iter().flat_map(|folder| folder.exit_codes.iter().copied());
        let first = exit_codes.next()?;
        let exit_code = match first {
            ExitCode::TryAgain | ExitCode::Protocol if exit_codes.all(|exit_code| exit_code == first) => {
                first
            }
            _ => ExitCode::Unavailable,
        };
        let failure = CommandError::new(exit_code, "some folders or messages could not be fetched");
        Some(failure.advise(
            "run the command again: it fetches nothing twice, and retries failed messages at the end",
        ))
    }

    /// Prints the report.
    pub(super) fn show(&self, output: Output) {
        output.json(self);
        for RenamedFolder { from, to } in &self.renamed {
            output.line(format!("{from} is now {to}"));
        }
        for folder in &self.folders {
            let new = if self.dry_run { folder.missing } else { folder.imported };
            let mut line = format!("{}: {new} new, {} known", folder.name, folder.known + folder.duplicates);
            if folder.changed > 0 {
                line.push_str(&format!(", {} with new flags", folder.changed));
            }
            if folder.removed > 0 {
                line.push_str(&format!(", {} removed by the server", folder.removed));
            }
            if folder.is_gone {
                line.push_str(" (the server has deleted the folder)");
            }
            if let Some(error) = &folder.error {
                line.push_str(&format!("; {error}"));
            }
            output.line(line);
        }
        let new =
            if self.dry_run { self.folders.iter().map(|folder| folder.missing).sum() } else { self.imported };
        let folders = self.folders.len();
        if self.dry_run {
            output
                .line(format!("dry run: {new} messages to fetch in {folders} folders; nothing was changed"));
        } else {
            output.line(format!("{}: {new} new messages in {folders} folders", self.status));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report_absent(absent: &[u32], unparsed: u64, expunged: u64) -> FolderReport {
        let mut report = FolderReport::new("INBOX");
        report.messages_absent(&absent.iter().copied().collect(), unparsed, expunged);
        report.conclude();
        report
    }

    #[test]
    fn lists_the_uids_of_absent_messages() {
        let report = report_absent(&[4, 9], 0, 0);
        assert_eq!(report.failed, 2);
        assert_eq!(report.failures.iter().map(|one| one.uid).collect::<Vec<_>>(), [4, 9]);
        let error = report.error.unwrap();
        assert!(
            error.contains("(UID 4, 9)")
                && error.contains("it did not arrive, although the server answered OK"),
            "{error}"
        );
        let json = serde_json::to_string(&report.failures).unwrap();
        assert!(json.starts_with("[{\"uid\":4,\"why\":"), "{json}");
    }

    #[test]
    fn removed_messages_are_not_failures() {
        assert_eq!(report_absent(&[4, 9], 0, 2).error, None);
        let report = report_absent(&[4, 5, 9], 0, 2);
        assert_eq!((report.failed, report.failures.len()), (1, 0));
        assert!(report.error.unwrap().starts_with("1 of the messages with UID 4:5,9 could not be parsed"));
    }

    #[test]
    fn counts_unparsed_responses() {
        let report = report_absent(&[7], 3, 0);
        assert_eq!((report.failed, report.failures.len()), (3, 1));
        assert!(report_absent(&[7], 1, 0).error.unwrap().contains("UID 7"));
    }
}
