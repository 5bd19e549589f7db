//! Turns the events of a sync run into the reports of its folders, and shows the progress.

use indicatif::ProgressBar;
use mailclient::sync::SyncEvent;

use super::report::FolderReport;
use crate::interrupt::{Graceful, Interrupt};
use crate::output::Output;

/// The reports of the folders so far.
pub(super) struct Progress {
    output: Output,
    interrupt: Interrupt,
    /// Held once the first session is open: from then on, a signal stops the run cleanly.
    graceful: Option<Graceful>,
    reports: Vec<FolderReport>,
    /// The folder being synced, and its progress bar.
    current: FolderReport,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(output: Output, interrupt: &Interrupt) -> Self {
        let (reports, current) = (Vec::new(), FolderReport::default());
        Self { output, interrupt: interrupt.clone(), graceful: None, reports, current, bar: None }
    }

    /// Records an event.
    pub(super) fn record(&mut self, event: SyncEvent) {
        let report = &mut self.current;
        match event {
            SyncEvent::Connected => self.graceful = Some(self.interrupt.graceful()),
            SyncEvent::FolderStarted { name } => self.current = FolderReport::new(&name),
            SyncEvent::Planned { missing, known } => {
                report.known = known;
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

    /// Returns the reports of all folders that have begun.
    pub(super) fn into_reports(self) -> Vec<FolderReport> {
        self.reports
    }
}
