//! What the store does about the folders that the server has deleted, after all others are synced.

use std::collections::VecDeque;

use mailstore::{RemoteFolder, UidSet};

use super::event::SyncEvent;
use super::folder_run::FolderSettings;
use super::job::{Job, Outcome};
use super::removal::{Removal, Removed};
use crate::error::Error;

/// The deleted folders, one after the other.
pub(super) struct GoneFolders {
    settings: FolderSettings,
    /// Each with the name of its local mailbox.
    folders: VecDeque<(RemoteFolder, String)>,
    removed: u64,
    job: Option<Job>,
}

impl GoneFolders {
    pub(super) const fn new(settings: FolderSettings, folders: VecDeque<(RemoteFolder, String)>) -> Self {
        Self { settings, folders, removed: 0, job: None }
    }

    /// Begins the next folder. Returns whether there is one.
    pub(super) fn begin(&mut self, events: &mut VecDeque<SyncEvent>) -> bool {
        let Some((folder, name)) = self.folders.front() else { return false };
        events.extend([SyncEvent::FolderStarted { name: name.clone() }, SyncEvent::FolderGone]);
        self.removed = 0;
        self.job = Some(Job::Remove(Removal {
            account: self.settings.account,
            remote: folder.id,
            mailbox: folder.mailbox,
            uids: UidSet::all(),
            with_earlier: true,
            policy: self.settings.removal,
            is_dry_run: self.settings.is_dry_run,
        }));
        true
    }

    pub(super) fn take_job(&mut self) -> Option<Job> {
        self.job.take()
    }

    /// Continues with the result of a job. Returns whether another folder or job follows.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn stored(
        &mut self,
        outcome: Outcome,
        events: &mut VecDeque<SyncEvent>,
    ) -> Result<bool, Error> {
        match outcome {
            Outcome::Removed(removed) => {
                let Removed { count, rest } = removed?;
                self.removed += count;
                if let Some(rest) = rest {
                    self.job = Some(Job::Remove(rest));
                    return Ok(true);
                }
                let Some((folder, name)) = self.folders.pop_front() else { return Ok(false) };
                events.push_back(SyncEvent::Changed { flags: 0, removed: self.removed });
                if self.settings.is_dry_run {
                    return Ok(self.end(events));
                }
                let (account, policy) = (self.settings.account, self.settings.removal);
                self.job = Some(Job::Gone { account, folder, name, policy });
                Ok(true)
            }
            Outcome::Concluded(concluded) => {
                concluded?;
                Ok(self.end(events))
            }
            _ => Ok(true),
        }
    }

    fn end(&mut self, events: &mut VecDeque<SyncEvent>) -> bool {
        events.extend([SyncEvent::FolderCounted, SyncEvent::FolderDone]);
        self.begin(events)
    }
}
