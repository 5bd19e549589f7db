//! What follows a run: its end, or the wait for changes, and new connections while it waits.

use std::time::Duration;

use super::account_listing::canonical;
use super::action::SyncEnd;
use super::engine::{SessionState, State, SyncEngine, WatchedFolder};
use super::event::SyncEvent;
use super::folder_plan::PlannedFolder;
use super::notified::{FolderStates, Notified};
use super::reconnect::reconnect_pause;
use super::session_error::{SessionError, classify};
use super::watching::{Seen, WatchEnd, Watching};
use crate::error::Error;
use crate::task::TaskStep;

/// The time between two runs that watch an account whose server has no IDLE.
const POLL_INTERVAL: Duration = Duration::from_secs(60);

impl SyncEngine {
    /// Ends the run, or waits for changes before the next one.
    pub(super) fn run_complete(&mut self) {
        let watched = self.watched.as_mut().filter(|_| self.job.watch && !self.job.dry_run);
        let Some(watched) = watched else {
            self.state = State::Over(SyncEnd::Complete);
            return;
        };
        let watching = Watching::new(watched.folder.clone(), watched.seen.take());
        self.events.push_back(SyncEvent::Watching);
        (self.losses, self.losses_without_progress) = (0, 0);
        // One folder is watched at once by IDLE.
        if self.can_notify && self.wanted.len() != 1 {
            self.state = State::Notified(Box::new(Notified::new(std::mem::take(&mut self.seen))));
            return;
        }
        self.select_next();
        self.state = State::Watching(Box::new(watching));
    }

    pub(super) fn watched(&mut self, step: TaskStep<WatchEnd>) -> TaskStep<()> {
        step.map(|end| {
            match end {
                WatchEnd::NoIdle => self.pause = Some(POLL_INTERVAL),
                WatchEnd::NoNotify => {
                    self.can_notify = false;
                    return self.run_complete();
                }
                WatchEnd::Sync | WatchEnd::Missed => {}
            }
            self.has_missed = end == WatchEnd::Missed;
            self.state = State::Listing(Box::default());
        })
    }

    /// Starts the next run after a pause. A refusal of EXAMINE or IDLE does not end the session.
    pub(super) fn watch_failed(&mut self, error: Error) {
        match classify(error) {
            SessionError::Request(_) => self.pause = Some(POLL_INTERVAL),
            SessionError::Session(_) => {
                self.session = SessionState::None;
                self.pause = Some(reconnect_pause(1));
            }
            SessionError::Run(error) => return self.run_failed(error),
        }
        self.state = State::Listing(Box::default());
    }

    /// Notes how the folders are, and chooses the one to watch without NOTIFY: INBOX, or the only one that is synced.
    pub(super) fn choose_watched(&mut self, folders: &[PlannedFolder]) {
        let states = folders.iter().filter_map(|planned| {
            let status = planned.status.clone().filter(|_| !self.has_missed)?;
            Some((canonical(&planned.folder.wire_name), status))
        });
        self.seen = if self.job.watch { states.collect() } else { FolderStates::new() };
        let chosen = match folders {
            [only] => Some(only),
            all => all.iter().find(|planned| planned.folder.is_inbox()).or_else(|| all.first()),
        };
        self.watched = chosen.map(|planned| {
            // A server whose numbers never agree starts one more run, and not one after the other.
            let status = planned.status.as_ref().filter(|_| !self.has_missed);
            let seen = status.map(|status| Seen {
                exists: status.messages,
                uid_next: Some(status.uid_next).filter(|next| *next != 0),
            });
            WatchedFolder { folder: planned.folder.clone(), seen }
        });
    }
}
