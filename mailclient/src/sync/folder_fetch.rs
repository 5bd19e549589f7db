//! The second half of a folder's sync: fetches the messages that the strategy selects, and concludes.

use std::num::NonZeroU32;

use mailstore::{ImportOutcome, RemoteMailboxId, RemoteState, UidSet};
use proto_imap::client::{Client, Event};
use proto_imap::types::{Command, FetchAttribute, FetchCommand, LazyList, Section, SequenceSet};
use proto_mail::{Channel, SendBuffer};

use super::event::SyncEvent;
use super::fetching::Fetching;
use super::folder_run::{FolderRun, FolderStep, Phase};
use super::job::Job;
use super::limits::Limits;
use super::plan::{Plan, count, difference, sequence_set};
use super::removal::{Removal, RemovalPolicy, Removed};
use super::session_error::SessionError;
use super::strategy::{FolderView, Selection};
use crate::error::{Error, ErrorKind};

/// The most connections to lose in one folder.
const MAX_FOLDER_LOSSES: u32 = 40;

/// How many messages that failed in an earlier run are requested again. Each may cost a session.
const MAX_RETRIED: usize = 5;

impl FolderRun {
    // --- Fetching

    /// Plans the requests for the messages that the strategy selects.
    ///
    /// `uids` are those on the server.
    pub(super) fn plan(&mut self, uids: &UidSet) -> FolderStep {
        let uid_validity = self.uid_validity();
        self.is_listed = self.unlisted() == 0;
        let (Some(prepared), Some(opened)) = (&self.prepared, &self.opened) else { return FolderStep::Act };
        if self.is_listed {
            self.vanished = difference(&prepared.known, uids);
        }
        let view = FolderView::new(uids, &prepared.known, &prepared.unfetched, opened.highest_mod_sequence);
        let Selection { new, failed_before } = self.settings.strategy.select(&view);
        let missing = count(&new) + count(&failed_before);
        let known = count(uids).saturating_sub(missing);
        self.events.push_back(SyncEvent::Planned { missing, known });
        // Only a few of the messages that failed before are requested again; the others stay remembered and are reported.
        let retried: UidSet = failed_before.ranges().iter().cloned().flatten().take(MAX_RETRIED).collect();
        let plan = if self.settings.is_dry_run { Plan::default() } else { Plan::new(&new, &retried) };
        let is_done = plan.is_done();
        let place = (prepared.remote, prepared.mailbox);
        let mut fetching = Fetching::new(place, uid_validity.unwrap_or_default(), plan);
        let has_trash = self.settings.removal == RemovalPolicy::Trash;
        fetching.trash = has_trash.then_some(self.settings.account);
        fetching.skipped(&difference(&failed_before, &retried));
        self.fetching = Some(fetching);
        if is_done {
            return self.end(None);
        }
        self.phase = Phase::Fetch;
        FolderStep::Act
    }

    /// Sends FETCH commands for the plan. Ends the folder if nothing is left to request.
    pub(super) fn request<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<FolderStep, Error> {
        let Some(fetching) = &mut self.fetching else { return Ok(FolderStep::Act) };
        while fetching.open.len() < fetching.plan.max_open() {
            let Some(batch) = fetching.plan.next() else { break };
            let text = sequence_set(&batch);
            let set = SequenceSet::from_text(&text)
                .map_err(|_| Error::new(ErrorKind::Protocol, "the server's UIDs are not a valid set"))?;
            let attributes = [
                FetchAttribute::Uid,
                FetchAttribute::Flags,
                FetchAttribute::InternalDate,
                FetchAttribute::peek(Section::FULL),
            ];
            let fetch = FetchCommand::new(set, LazyList::new(&attributes));
            fetching.requested(client.send(&Command::UidFetch(fetch), tx)?, batch);
        }
        if fetching.open.is_empty() {
            return Ok(self.end(None));
        }
        Ok(FolderStep::Waiting)
    }

    pub(super) fn fetched<C: Channel>(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        limits: &mut Limits,
    ) -> Result<FolderStep, Error> {
        let Some(fetching) = &mut self.fetching else { return Ok(FolderStep::Act) };
        let is_useful = match event {
            Event::Completed { id, status } => {
                fetching.completed(id, &status);
                true
            }
            event => fetching.event(event, limits)?,
        };
        if fetching.has_job() {
            return Ok(FolderStep::Act);
        }
        match self.request(client, tx)? {
            FolderStep::Waiting if is_useful => Ok(FolderStep::Useful),
            step => Ok(step),
        }
    }

    /// Handles the loss of the session while messages were requested.
    pub(super) fn fetch_failed(&mut self, error: SessionError) -> FolderStep {
        let Some(fetching) = &mut self.fetching else { return self.end(Some(error)) };
        if fetching.fatal.is_some() {
            return self.end(None);
        }
        let error = match error {
            SessionError::Request(error) | SessionError::Session(error) => error,
            SessionError::Run(error) => return self.end(Some(SessionError::Run(error))),
        };
        match fetching.commit() {
            Some(job) => {
                self.job = Some(job);
                self.phase = Phase::Committing(error);
                FolderStep::Act
            }
            None => self.fetch_lost(error),
        }
    }

    /// Plans the requests again after a lost session, once everything that came is stored.
    pub(super) fn fetch_lost(&mut self, error: Error) -> FolderStep {
        let Some(fetching) = &mut self.fetching else { return FolderStep::Act };
        let had_progress = std::mem::take(&mut fetching.progress) > 0;
        if fetching.ends_folder {
            return self.end(Some(SessionError::Session(error)));
        }
        fetching.lost(&error);
        self.losses += 1;
        if self.losses > MAX_FOLDER_LOSSES {
            let count = fetching.plan.abandon();
            fetching.abandoned(count);
            return self.end(Some(SessionError::Session(error)));
        }
        // A job that the session has left behind is void: its message is requested again.
        let _ = fetching.take_job();
        if fetching.plan.is_done() {
            let _: FolderStep = self.end(None);
        } else {
            self.reopen();
        }
        FolderStep::Lost { error, had_progress }
    }

    pub(super) fn imported(&mut self, imports: Result<Vec<ImportOutcome>, Error>) -> FolderStep {
        let imported = self.fetching.as_mut().map_or(Ok(()), |fetching| fetching.imported(imports));
        match (std::mem::replace(&mut self.phase, Phase::Over), imported) {
            (Phase::Committing(error), Ok(())) => self.fetch_lost(error),
            (Phase::Finishing { result, .. }, Ok(())) => {
                self.phase = Phase::Finishing { result };
                self.record()
            }
            (Phase::Finishing { result, .. }, Err(_)) => self.conclude(result),
            (phase, Ok(())) => {
                self.phase = phase;
                FolderStep::Act
            }
            (phase, Err(error)) => {
                self.phase = phase;
                self.end(Some(SessionError::Run(error)))
            }
        }
    }

    // --- The end

    /// Asks the store to record which messages could not be fetched.
    pub(super) fn record(&mut self) -> FolderStep {
        let (Some(fetching), Some(prepared)) = (&mut self.fetching, &self.prepared) else {
            return FolderStep::Act;
        };
        let job = fetching.finish(&prepared.unfetched);
        if self.settings.is_dry_run {
            return self.recorded(Ok(()));
        }
        self.job = Some(job);
        FolderStep::Act
    }

    pub(super) fn recorded(&mut self, recorded: Result<(), Error>) -> FolderStep {
        let Phase::Finishing { result, .. } = std::mem::replace(&mut self.phase, Phase::Over) else {
            return FolderStep::Act;
        };
        if let (Err(error), Some(fetching)) = (recorded, &mut self.fetching) {
            fetching.fatal = Some(error);
        }
        let has_failed = self.fetching.as_ref().is_none_or(|fetching| fetching.fatal.is_some());
        if result.is_some() || has_failed || !self.is_listed {
            return self.conclude(result);
        }
        self.remove_vanished()
    }

    // --- What the server has removed, and the folder's state

    fn remove_vanished(&mut self) -> FolderStep {
        let (Some(fetching), Some(prepared)) = (&self.fetching, &self.prepared) else {
            return self.conclude(None);
        };
        // A dry run has no record of a new folder.
        if prepared.is_new() {
            return self.conclude(None);
        }
        let removal = Removal {
            account: self.settings.account,
            remote: prepared.remote,
            mailbox: prepared.mailbox,
            uids: std::mem::take(&mut self.vanished),
            // A message that did not come may be one of them.
            with_earlier: fetching.is_complete,
            policy: self.settings.removal,
            is_dry_run: self.settings.is_dry_run,
        };
        self.phase = Phase::Concluding;
        self.job = Some(Job::Remove(removal));
        FolderStep::Act
    }

    pub(super) fn removed(&mut self, removed: Result<Removed, Error>) -> FolderStep {
        let Removed { count, rest } = match removed {
            Ok(removed) => removed,
            Err(error) => return self.concluded(Err(error)),
        };
        self.changes.1 += count;
        self.job = match (rest, self.state_to_record()) {
            (Some(rest), _) => Some(Job::Remove(rest)),
            (None, Some((remote, state))) => Some(Job::Record { remote, state }),
            (None, None) => return self.concluded(Ok(())),
        };
        FolderStep::Act
    }

    /// Returns the folder's state. Its mod-sequence is 0 if a message did not come: the next run lists all.
    fn state_to_record(&self) -> Option<(RemoteMailboxId, RemoteState)> {
        let (fetching, prepared) = (self.fetching.as_ref()?, self.prepared.as_ref()?);
        let (opened, done) = (self.opened.as_ref()?, self.resynced.as_ref()?);
        if self.settings.is_dry_run {
            return None;
        }
        let mod_seq = done.mailbox.highest_mod_sequence.filter(|_| fetching.is_complete);
        let status = self.planned.status.as_ref();
        let listed_id = status.and_then(|status| status.object_id.clone());
        let state = RemoteState {
            object_id: listed_id.or_else(|| opened.mailbox_id.clone()),
            highest_modseq: mod_seq.unwrap_or_default(),
            uid_next: done.mailbox.uid_next.map_or(0, NonZeroU32::get),
            messages: opened.exists,
            is_gone: false,
        };
        Some((prepared.remote, state))
    }

    pub(super) fn concluded(&mut self, concluded: Result<(), Error>) -> FolderStep {
        self.phase = Phase::Over;
        self.conclude(concluded.err().map(SessionError::Run))
    }

    pub(super) fn conclude(&mut self, result: Option<SessionError>) -> FolderStep {
        let (flags, removed) = self.changes;
        if flags + removed > 0 {
            self.events.push_back(SyncEvent::Changed { flags, removed });
        }
        let unlisted = self.unlisted();
        let Some(fetching) = &mut self.fetching else { return FolderStep::Ended(result) };
        let unlisted = unlisted.saturating_sub(fetching.expunged);
        let fatal = fetching.fatal.take();
        let why =
            format!("{unlisted} messages did not arrive: the server counts them but does not list them");
        fetching.count_failed(unlisted, ErrorKind::Unavailable, &why);
        FolderStep::Ended(fatal.map(SessionError::Run).or(result))
    }
}
