//! The run over an account: lists the folders, lets the store compare them with what it knows, and syncs them one after
//! the other.

use std::sync::Arc;

use super::account_listing::AccountListing;
use super::engine::{SessionState, State, SyncEngine};
use super::event::SyncEvent;
use super::examine::EnableQResync;
use super::folder_plan::{FolderPlan, FoldersRequest};
use super::folder_run::{FolderRun, FolderSettings};
use super::gone_folders::GoneFolders;
use super::job::Job;
use super::reconnect::reconnect_pause;
use super::session_error::{SessionError, classify};
use crate::error::{Error, ErrorKind};
use crate::imap::Requesting;
use crate::task::TaskStep;

impl SyncEngine {
    pub(super) fn listed(&mut self, step: TaskStep<()>) -> TaskStep<()> {
        step.map(|()| {
            if let State::Listing(list) = std::mem::replace(&mut self.state, State::Planning) {
                self.plan_folders(list.into_listing());
            }
        })
    }

    pub(super) fn listing_failed(&mut self, error: Error) {
        let State::Listing(list) = std::mem::replace(&mut self.state, State::Listing(Box::default())) else {
            return;
        };
        let listing = list.into_listing();
        match classify(error) {
            // The server lists too many folders: fetch those that came.
            SessionError::Session(error)
                if error.kind() == ErrorKind::Protocol && !listing.folders.is_empty() =>
            {
                self.report_folder("(the list of folders)", error.clone());
                match self.session_lost(&error) {
                    Ok(()) => self.plan_folders(AccountListing { is_complete: false, ..listing }),
                    Err(error) => self.run_failed(error),
                }
            }
            SessionError::Session(error) if self.job.watch && self.has_failed_listing(&error) => {}
            SessionError::Request(error) | SessionError::Session(error) | SessionError::Run(error) => {
                self.run_failed(error);
            }
        }
    }

    /// Plans another session after the list of folders was lost while the engine watches. Returns false if the error is
    /// not that of a lost connection.
    pub(super) fn has_failed_listing(&mut self, error: &Error) -> bool {
        let may_pass = error.kind() == ErrorKind::Temporary && self.watched.is_some();
        if may_pass {
            self.session = SessionState::None;
            self.losses_without_progress += 1;
            self.pause = Some(reconnect_pause(self.losses_without_progress));
        }
        may_pass
    }

    /// Asks the store to compare the folders with what it knows.
    pub(super) fn plan_folders(&mut self, listing: AccountListing) {
        self.state = State::Planning;
        self.store_job = Some(Job::Folders(FoldersRequest {
            account: self.job.account,
            remote: self.job.remote,
            listing,
            wanted: self.wanted.clone(),
            is_dry_run: self.job.dry_run,
            has_requested_status: false,
        }));
    }

    pub(super) fn status_known(&mut self, step: TaskStep<()>) -> TaskStep<()> {
        step.map(|()| {
            if let State::Status(run) = std::mem::replace(&mut self.state, State::Planning) {
                self.store_job = Some(Job::Folders(run.into_request()));
            }
        })
    }

    /// Goes on without the state of the folder that the server refused, or of all if the session is lost.
    pub(super) fn status_failed(&mut self, error: Error) {
        let State::Status(run) = &mut self.state else { return };
        match classify(error) {
            SessionError::Request(_) => run.refused(),
            SessionError::Session(error) => {
                run.abandon();
                if let Err(error) = self.session_lost(&error) {
                    self.run_failed(error);
                }
            }
            SessionError::Run(error) => self.run_failed(error),
        }
    }

    pub(super) fn planned(&mut self, plan: FolderPlan) {
        let FolderPlan { folders, gone, renamed, failed } = plan;
        self.events.extend(renamed.into_iter().map(|(from, to)| SyncEvent::FolderRenamed { from, to }));
        for (name, error) in failed {
            self.report_folder(&name, error);
        }
        self.choose_watched(&folders);
        (self.folders, self.gone) = (folders.into(), gone.into());
        self.next_folder();
    }

    pub(super) fn folder_settings(&self) -> FolderSettings {
        FolderSettings {
            account: self.job.account,
            remote: self.job.remote,
            max: self.limits.settings.folder_messages,
            strategy: Arc::clone(&self.job.strategy),
            removal: self.job.removal,
            is_dry_run: self.job.dry_run,
        }
    }

    pub(super) fn report_folder(&mut self, name: &str, error: Error) {
        let started = SyncEvent::FolderStarted { name: name.to_owned() };
        self.events.extend([started, SyncEvent::FolderFailed(error), SyncEvent::FolderDone]);
    }

    pub(super) fn next_folder(&mut self) {
        while let Some(planned) = self.folders.pop_front() {
            self.events.push_back(SyncEvent::FolderStarted { name: planned.folder.name.clone() });
            if planned.is_unchanged {
                let known = planned.status.map_or(0, |status| u64::from(status.messages));
                self.events.extend([
                    SyncEvent::Planned { missing: 0, known },
                    SyncEvent::FolderCounted,
                    SyncEvent::FolderDone,
                ]);
                continue;
            }
            self.select_next();
            self.state = State::Folder(Box::new(FolderRun::new(planned, self.folder_settings())));
            return;
        }
        let mut gone = GoneFolders::new(self.folder_settings(), std::mem::take(&mut self.gone));
        self.state = if gone.begin(&mut self.events) {
            State::Gone(Box::new(gone))
        } else {
            return self.run_complete();
        };
    }

    /// Notes that a mailbox is selected next. Asks for QRESYNC before the first one of the session.
    pub(super) fn select_next(&mut self) {
        let is_first = !std::mem::replace(&mut self.has_selected, true);
        if std::mem::take(&mut self.can_enable) && is_first && matches!(self.session, SessionState::Ready) {
            self.session = SessionState::Enabling(Requesting::new(EnableQResync));
        }
    }
}
