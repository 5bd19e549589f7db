//! The first half of a folder's sync: learns which messages the server has, and which of them have changed.
//!
//! With QRESYNC the response to EXAMINE tells it, with CONDSTORE a FETCH of the changed messages, and otherwise a FETCH of
//! all UIDs and flags. The changes count only if they explain the number of messages that the server has; otherwise the UIDs
//! are listed.

use mailstore::UidSet;

use super::examine::{Opened, ResyncMode};
use super::flag_changes::FlagBatch;
use super::folder_run::{AfterOpen, FolderRun, FolderStep, Phase, Ranges};
use super::job::{Job, Prepared};
use super::listing::{FetchUids, Listed, RangeQueue, SearchUids, Wanted};
use super::plan::{count, difference, union};
use super::session_error::SessionError;
use crate::error::{Error, ErrorKind, SyncLimit};
use crate::imap::Requesting;

impl FolderRun {
    // --- Listing: with one FETCH, then with SEARCH, then with FETCH in ranges of UIDs

    pub(super) fn prepared(&mut self, prepared: Prepared) -> FolderStep {
        let Some(opened) = self.opened.clone() else { return FolderStep::Act };
        let has_known = !prepared.known.is_empty();
        let resumed = self.resumed.take();
        self.prepared = Some(prepared);
        if opened.exists == 0 {
            return self.plan(&UidSet::default(), 0);
        }
        let max = self.settings.max;
        if u64::from(opened.exists) > max {
            let why = format!("the server counts {} messages, and the limit is {max}", opened.exists);
            let error = Error::new(ErrorKind::Unavailable, why).exceeding(SyncLimit::FolderMessages);
            return self.end(Some(SessionError::Request(error.remote())));
        }
        if let Some((vanished, changed)) = resumed.and_then(super::examine::Resumed::into_changes) {
            let uids: UidSet = changed.iter().map(|(uid, _)| *uid).collect();
            if let Some(present) = self.present(&opened, &uids, &vanished) {
                let mut flags = FlagBatch::default();
                changed.into_iter().for_each(|(uid, set)| flags.add(uid, set));
                self.flags = flags;
                return self.plan(&present, 0);
            }
        }
        let wanted = match self.recorded_mod_seq(&opened) {
            Some(mod_seq) => Wanted::FlagsSince(mod_seq),
            None if has_known => Wanted::Flags,
            None => Wanted::Uids,
        };
        let request = FetchUids::new(None, wanted, (opened, max), Listed::default());
        self.phase = Phase::FetchAll(Requesting::new(request));
        FolderStep::Act
    }

    /// Returns the mod-sequence up to which all changes are applied, if the server can tell what has changed since.
    fn recorded_mod_seq(&self, opened: &Opened) -> Option<u64> {
        let known = self.planned.known.as_ref()?;
        let recorded = known.state.highest_modseq;
        let is_valid = recorded != 0
            && opened.highest_mod_seq.is_some_and(|now| now >= recorded)
            && known.uid_validity == opened.uid_validity
            && self.settings.mode >= ResyncMode::CondStore;
        is_valid.then_some(recorded)
    }

    /// Returns the messages that the server has, by those that were known, those that have changed and those that were
    /// removed. `None` if they are not as many as the server counts.
    fn present(&self, opened: &Opened, changed: &UidSet, vanished: &UidSet) -> Option<UidSet> {
        let prepared = self.prepared.as_ref()?;
        let present = union(&union(&prepared.known, &prepared.unfetched), changed);
        let present = difference(&present, vanished);
        (count(&present) == u64::from(opened.exists)).then_some(present)
    }

    pub(super) fn listed_all(&mut self) -> FolderStep {
        let (Phase::FetchAll(task), Some(opened)) =
            (std::mem::replace(&mut self.phase, Phase::Over), self.opened.clone())
        else {
            return FolderStep::Waiting;
        };
        let FetchUids { wanted, listed, batch, .. } = task.into_request();
        self.flags = batch;
        let Listed { uids, expunged } = listed;
        let uids = uids.into_set();
        match wanted {
            Wanted::Uids | Wanted::Flags => self.plan(&uids, expunged),
            Wanted::FlagsSince(_) => match self.present(&opened, &uids, &UidSet::default()) {
                Some(present) => self.plan(&present, 0),
                // Some were removed: a listing shows which.
                None => {
                    self.search(opened, Listed::default());
                    FolderStep::Act
                }
            },
        }
    }

    pub(super) fn search(&mut self, opened: Opened, listed: Listed) {
        let (max, has_esearch) = (self.settings.max, self.settings.has_esearch);
        let request = SearchUids { first: 1, has_esearch, opened, max, listed };
        self.phase = Phase::Search(Requesting::new(request));
    }

    /// Returns the job that applies the flags that came.
    pub(super) fn flags_job(&mut self) -> Option<Job> {
        let prepared = self.prepared.as_ref()?;
        if self.flags.is_empty() {
            return None;
        }
        let batch = std::mem::take(&mut self.flags);
        let (remote, mailbox) = (prepared.remote, prepared.mailbox);
        Some(Job::Flags { remote, mailbox, batch, is_dry_run: self.settings.is_dry_run })
    }

    pub(super) fn searched(&mut self) -> FolderStep {
        let (Phase::Search(task), Some(opened)) =
            (std::mem::replace(&mut self.phase, Phase::Over), self.opened.clone())
        else {
            return FolderStep::Waiting;
        };
        match task.into_request().next() {
            Ok(next) => {
                self.phase = Phase::Search(Requesting::new(next));
                FolderStep::Act
            }
            Err(listed) if listed.is_complete(&opened) => self.plan(&listed.uids.into_set(), listed.expunged),
            Err(listed) => {
                let ranges = self.ranges(listed.expunged);
                self.next_range(ranges)
            }
        }
    }

    pub(super) fn ranges(&self, expunged: u64) -> Ranges {
        let listed = Listed { expunged, ..Listed::default() };
        let opened = self.opened.clone().unwrap_or_default();
        Ranges { queue: RangeQueue::new(&opened), listed }
    }

    /// Tries another way to list after a refusal, and after a lost connection.
    pub(super) fn list_failed(&mut self, error: SessionError, then: AfterOpen) -> FolderStep {
        match (error, then, self.opened.clone()) {
            (SessionError::Request(_), AfterOpen::Search(listed), Some(opened)) => {
                self.search(opened, listed);
                FolderStep::Act
            }
            (SessionError::Request(_), AfterOpen::Ranges(ranges), _) => self.next_range(ranges),
            (SessionError::Session(error), then, _) if error.kind() == ErrorKind::Temporary => {
                self.examine(then, false);
                FolderStep::Lost { error, had_progress: false }
            }
            (error, ..) => self.end(Some(error)),
        }
    }

    /// Requests the next range. A UID that cannot be listed alone counts as listed: the fetch shows whether it exists.
    pub(super) fn next_range(&mut self, ranges: Ranges) -> FolderStep {
        let Ranges { mut queue, listed } = ranges;
        let (Some(range), Some(opened)) = (queue.next(), self.opened.clone()) else {
            return self.plan(&listed.uids.into_set(), listed.expunged);
        };
        let request = FetchUids::new(Some(range), Wanted::Flags, (opened, self.settings.max), listed);
        self.phase = Phase::Ranges { task: Requesting::new(request), queue, range };
        FolderStep::Act
    }

    /// Adds the UID that could not be listed, if there is one, and goes on.
    pub(super) fn range_ended(&mut self, bad_uid: Option<u32>) -> FolderStep {
        let Phase::Ranges { task, queue, .. } = std::mem::replace(&mut self.phase, Phase::Over) else {
            return FolderStep::Waiting;
        };
        let FetchUids { mut listed, batch, .. } = task.into_request();
        self.flags = batch;
        if let Some(uid) = bad_uid {
            listed.uids.add(uid);
        }
        match self.next_range(Ranges { queue, listed }) {
            FolderStep::Act => FolderStep::Progress,
            step => step,
        }
    }

    pub(super) fn range_failed(
        &mut self,
        error: SessionError,
        task: Requesting<FetchUids>,
        mut queue: RangeQueue,
        range: (u32, u32),
    ) -> FolderStep {
        match error {
            SessionError::Request(_) => {
                let bad_uid = queue.refused(range);
                self.phase = Phase::Ranges { task, queue, range };
                self.range_ended(bad_uid)
            }
            SessionError::Session(error) if error.kind() == ErrorKind::Temporary => {
                let Some(bad_uid) = queue.lost(range) else {
                    return self.end(Some(SessionError::Session(error)));
                };
                let mut listed = task.into_request().listed;
                if let Some(uid) = bad_uid {
                    listed.uids.add(uid);
                }
                self.examine(AfterOpen::Ranges(Ranges { queue, listed }), false);
                FolderStep::Lost { error, had_progress: true }
            }
            error => self.end(Some(error)),
        }
    }
}
