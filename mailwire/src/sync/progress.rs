//! Turns the events of a sync run into the reports of its folders, and shows the progress.

use indicatif::ProgressBar;
use mailclient::sync::SyncEvent;

use super::report::{FolderReport, RenamedFolder};
use crate::interrupt::{Graceful, Interrupt};
use crate::output::Output;

/// The reports of the folders so far.
pub(super) struct Progress {
    output: Output,
    interrupt: Interrupt,
    /// Held once the first session is open: from then on, a signal stops the run cleanly.
    graceful: Option<Graceful>,
    reports: Vec<FolderReport>,
    /// The folders that the server has renamed.
    renamed: Vec<RenamedFolder>,
    /// The folder being synced, and its progress bar.
    current: FolderReport,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(output: Output, interrupt: &Interrupt) -> Self {
        Self {
            output,
            interrupt: interrupt.clone(),
            graceful: None,
            reports: Vec::new(),
            renamed: Vec::new(),
            current: FolderReport::default(),
            bar: None,
        }
    }

    /// Records an event.
    pub(super) fn record(&mut self, event: SyncEvent) {
        let report = &mut self.current;
        match event {
            SyncEvent::Connected => self.graceful = Some(self.interrupt.graceful()),
            SyncEvent::FolderStarted { name } => self.current = FolderReport::new(&name),
            SyncEvent::Planned { missing, known } => {
                (report.missing, report.known) = (missing, known);
                self.bar = Some(self.output.progress(missing, &report.name));
            }
            SyncEvent::Received => {
                if let Some(bar) = &self.bar {
                    bar.inc(1);
                }
            }
            SyncEvent::Stored { imported, duplicates, known } => {
                report.imported += imported;
                report.duplicates += duplicates;
                report.known += known;
            }
            SyncEvent::Changed { flags, removed } => {
                report.changed += flags;
                report.removed += removed;
            }
            SyncEvent::FolderRenamed { from, to } => self.renamed.push(RenamedFolder { from, to }),
            SyncEvent::FolderGone => report.is_gone = true,
            SyncEvent::MessageFailed { uid, error } => report.message_failed(uid, &error.into()),
            SyncEvent::MessagesFailed { count, kind, why } => report.count_failed(count, kind.into(), &why),
            SyncEvent::Absent { uids, unparsed, expunged } => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                report.messages_absent(&uids, unparsed, expunged);
            }
            SyncEvent::FolderCounted => report.conclude(),
            SyncEvent::FolderFailed(error) => report.folder_failed(&error.into()),
            SyncEvent::FolderDone => self.reports.push(std::mem::take(&mut self.current)),
            _ => {}
        }
    }

    /// Takes the reports of all folders that have begun, and the renamed folders.
    pub(super) fn take_reports(&mut self) -> (Vec<FolderReport>, Vec<RenamedFolder>) {
        (std::mem::take(&mut self.reports), std::mem::take(&mut self.renamed))
    }
}
