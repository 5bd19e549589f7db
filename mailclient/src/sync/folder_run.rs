//! The sync of one folder as a state machine: opens it, lists its messages, and fetches the missing ones.

use std::collections::VecDeque;
use std::sync::Arc;

use mailstore::{AccountId, RemoteAccountId, UidSet};
use proto_imap::client::{Client, Event};
use proto_mail::{Channel, SendBuffer};

use super::event::SyncEvent;
use super::examine::{Examine, Opened, Resumed, ResyncMode};
use super::fetching::Fetching;
use super::flag_changes::FlagBatch;
use super::folder_plan::PlannedFolder;
use super::job::{Job, Outcome, Place, PrepareError, Prepared};
use super::limits::Limits;
use super::listing::{FetchUids, Listed, RangeQueue, SearchUids, uid_validity_changed};
use super::removal::RemovalPolicy;
use super::session_error::SessionError;
use super::strategy::Strategy;
use crate::endpoint::ClientId;
use crate::error::Error;
use crate::imap::{Identify, Requesting};
use crate::task::{Task, TaskStep};

/// What a folder needs next.
pub(super) enum FolderStep {
    /// The next event.
    Waiting,
    /// The next event; the last one was useful.
    Useful,
    /// What the engine says next: a job of the store, or the next phase.
    Act,
    /// As `Act`; ID is sent now.
    Identified,
    /// As `Act`; something was listed, so lost connections in a row are counted anew.
    Progress,
    /// A new session: this one is lost.
    Lost { error: Error, had_progress: bool },
    /// Nothing: the folder is done.
    Ended(Option<SessionError>),
}

/// What follows when the folder is open.
pub(super) enum AfterOpen {
    /// Nothing is known of the folder yet.
    Prepare,
    Search(Listed),
    Ranges(Ranges),
    Fetch,
}

/// The listing in ranges of UIDs.
pub(super) struct Ranges {
    pub(super) queue: RangeQueue,
    pub(super) listed: Listed,
}

/// What the folder waits for.
pub(super) enum Phase {
    Examine {
        task: Requesting<Examine>,
        then: AfterOpen,
        is_second: bool,
    },
    Identify {
        task: Identify,
        then: AfterOpen,
        is_second: bool,
    },
    /// The store prepares the mailbox.
    Preparing,
    FetchAll(Requesting<FetchUids>),
    Search(Requesting<SearchUids>),
    Ranges {
        task: Requesting<FetchUids>,
        queue: RangeQueue,
        range: (u32, u32),
    },
    Fetch,
    /// The store commits what came before the session failed.
    Committing(Error),
    /// The store commits the last messages, and then the records.
    Finishing {
        result: Option<SessionError>,
    },
    /// The store removes what the server has removed, and records the folder's state.
    Concluding,
    Over,
}

/// How the account is synced.
#[derive(Debug, Clone)]
pub(super) struct FolderSettings {
    pub(super) account: AccountId,
    pub(super) remote: RemoteAccountId,
    /// The most messages of a folder.
    pub(super) max: u64,
    pub(super) strategy: Arc<dyn Strategy>,
    pub(super) removal: RemovalPolicy,
    pub(super) is_dry_run: bool,
    pub(super) mode: ResyncMode,
    /// Whether the server has ESEARCH (RFC 4731).
    pub(super) has_esearch: bool,
}

/// The sync of one folder.
pub(super) struct FolderRun {
    pub(super) planned: PlannedFolder,
    pub(super) settings: FolderSettings,
    pub(super) phase: Phase,
    pub(super) opened: Option<Opened>,
    /// What QRESYNC told when the folder was opened.
    pub(super) resumed: Option<Resumed>,
    pub(super) prepared: Option<Prepared>,
    /// How many messages were listed, and how many were removed during the listing.
    pub(super) listed: (u64, u64),
    /// The messages that the server has removed.
    pub(super) vanished: UidSet,
    /// Whether all messages of the folder were listed, with their changes.
    pub(super) is_listed: bool,
    /// The flags to apply before anything else.
    pub(super) flags: FlagBatch,
    /// How many messages got other flags, and how many were removed.
    pub(super) changes: (u64, u64),
    pub(super) fetching: Option<Fetching>,
    pub(super) losses: u32,
    pub(super) job: Option<Job>,
    pub(super) events: VecDeque<SyncEvent>,
}

impl FolderRun {
    pub(super) fn new(planned: PlannedFolder, settings: FolderSettings) -> Self {
        let known = planned.known.as_ref().filter(|known| !known.state.is_gone);
        let since = known.map(|known| (known.uid_validity, known.state.highest_modseq));
        let phase = Phase::Examine {
            task: Requesting::new(Examine::new(planned.folder.clone(), settings.mode, since)),
            then: AfterOpen::Prepare,
            is_second: false,
        };
        Self {
            planned,
            settings,
            phase,
            opened: None,
            resumed: None,
            prepared: None,
            listed: (0, 0),
            vanished: UidSet::default(),
            is_listed: false,
            flags: FlagBatch::default(),
            changes: (0, 0),
            fetching: None,
            losses: 0,
            job: None,
            events: VecDeque::new(),
        }
    }

    /// Returns the work for the store that must be done before anything else.
    pub(super) fn take_job(&mut self) -> Option<Job> {
        let flags = self.flags_job();
        flags.or_else(|| self.job.take()).or_else(|| self.fetching.as_mut().and_then(Fetching::take_job))
    }

    /// Returns what to report next.
    pub(super) fn take_event(&mut self) -> Option<SyncEvent> {
        self.events.pop_front().or_else(|| self.fetching.as_mut().and_then(|all| all.events.pop_front()))
    }

    /// Sends what can be sent now.
    pub(super) fn ready<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<FolderStep, Error> {
        Ok(match &mut self.phase {
            Phase::Examine { task, .. } => waiting(&task.ready(client, tx)?),
            Phase::Identify { task, .. } => waiting(&task.ready(client, tx)?),
            Phase::FetchAll(task) => waiting(&task.ready(client, tx)?),
            Phase::Search(task) => waiting(&task.ready(client, tx)?),
            Phase::Ranges { task, .. } => waiting(&task.ready(client, tx)?),
            Phase::Fetch => return self.request(client, tx),
            Phase::Preparing
            | Phase::Committing(_)
            | Phase::Finishing { .. }
            | Phase::Concluding
            | Phase::Over => FolderStep::Act,
        })
    }

    /// Handles an event of the session.
    pub(super) fn event<C: Channel>(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        limits: &mut Limits,
    ) -> Result<FolderStep, Error> {
        match &mut self.phase {
            Phase::Examine { task, .. } => match task.event(event, client, tx)? {
                TaskStep::Done(opened) => Ok(self.examined(opened)),
                step => Ok(waiting(&step)),
            },
            Phase::Identify { task, .. } => match task.event(event, client, tx)? {
                TaskStep::Done(()) => Ok(self.identified()),
                step => Ok(waiting(&step)),
            },
            Phase::FetchAll(task) => match task.event(event, client, tx)? {
                TaskStep::Done(()) => Ok(self.listed_all()),
                step => Ok(take_flags(task.request_mut(), &mut self.flags, &step)),
            },
            Phase::Search(task) => match task.event(event, client, tx)? {
                TaskStep::Done(()) => Ok(self.searched()),
                step => Ok(waiting(&step)),
            },
            Phase::Ranges { task, .. } => match task.event(event, client, tx)? {
                TaskStep::Done(()) => Ok(self.range_ended(None)),
                step => Ok(take_flags(task.request_mut(), &mut self.flags, &step)),
            },
            Phase::Fetch => self.fetched(event, client, tx, limits),
            Phase::Preparing
            | Phase::Committing(_)
            | Phase::Finishing { .. }
            | Phase::Concluding
            | Phase::Over => Ok(FolderStep::Waiting),
        }
    }

    /// Decides what follows after the session failed, or a request in it.
    ///
    /// `program` is what ID says; it is `None` if ID was sent in this session.
    pub(super) fn failed(&mut self, error: SessionError, program: Option<&ClientId>) -> FolderStep {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Examine { task, then, is_second } => {
                if task.into_request().resumes() && matches!(error, SessionError::Request(_)) {
                    // Without QRESYNC.
                    self.settings.mode = ResyncMode::Full;
                    self.examine(then, is_second);
                    return FolderStep::Act;
                }
                self.examine_failed(error, then, is_second, program)
            }
            Phase::FetchAll(task) => {
                let request = task.into_request();
                let listed = Listed { expunged: request.listed.expunged, ..Listed::default() };
                self.list_failed(error, AfterOpen::Search(listed))
            }
            Phase::Search(task) => {
                let listed = task.into_request().listed;
                let ranges = self.ranges(listed.expunged);
                self.list_failed(error, AfterOpen::Ranges(ranges))
            }
            Phase::Ranges { task, queue, range } => self.range_failed(error, task, queue, range),
            Phase::Fetch => self.fetch_failed(error),
            Phase::Identify { .. } => self.end(Some(error)),
            phase @ (Phase::Preparing
            | Phase::Committing(_)
            | Phase::Finishing { .. }
            | Phase::Concluding
            | Phase::Over) => {
                self.phase = phase;
                FolderStep::Act
            }
        }
    }

    /// Ends the folder. What it has received is stored first.
    pub(super) fn end(&mut self, result: Option<SessionError>) -> FolderStep {
        if let Phase::Finishing { result: first } = &mut self.phase {
            // The jobs of the end go on.
            *first = first.take().or(result);
            return FolderStep::Act;
        }
        if self.fetching.is_none() {
            self.phase = Phase::Over;
            return FolderStep::Ended(result);
        }
        self.phase = Phase::Finishing { result };
        match self.fetching.as_mut().and_then(Fetching::commit) {
            Some(job) => {
                self.job = Some(job);
                FolderStep::Act
            }
            None => self.record(),
        }
    }

    /// Continues with the result of a job.
    pub(super) fn stored(&mut self, outcome: Outcome) -> FolderStep {
        match outcome {
            Outcome::Prepared(Ok(prepared)) => self.prepared(prepared),
            Outcome::Prepared(Err(PrepareError::Folder(error))) => {
                self.end(Some(SessionError::Request(error)))
            }
            Outcome::Prepared(Err(PrepareError::Store(error))) => self.end(Some(SessionError::Run(error))),
            Outcome::Written(upload) => {
                let written = self.fetching.as_mut().map_or(Ok(()), |fetching| fetching.written(upload));
                self.continue_or_end(written)
            }
            Outcome::Imported(imports) => self.imported(imports),
            Outcome::Recorded(recorded) => self.recorded(recorded),
            Outcome::Flagged(flagged) => match flagged {
                Ok(count) => {
                    self.changes.0 += count;
                    FolderStep::Act
                }
                Err(error) => self.end(Some(SessionError::Run(error))),
            },
            Outcome::Removed(removed) => self.removed(removed),
            Outcome::Concluded(concluded) => self.concluded(concluded),
            Outcome::Folders(_) => FolderStep::Act,
        }
    }

    fn continue_or_end(&mut self, result: Result<(), Error>) -> FolderStep {
        match result {
            Ok(()) => FolderStep::Act,
            Err(error) => self.end(Some(SessionError::Run(error))),
        }
    }

    // --- Opening

    /// Opens the folder again, in a new session.
    pub(super) fn reopen(&mut self, then: AfterOpen) {
        self.examine(then, false);
    }

    pub(super) fn examine(&mut self, then: AfterOpen, is_second: bool) {
        let task = Requesting::new(Examine::new(self.planned.folder.clone(), self.settings.mode, None));
        self.phase = Phase::Examine { task, then, is_second };
    }

    fn examined(&mut self, (opened, resumed): (Opened, Option<Resumed>)) -> FolderStep {
        let Phase::Examine { then, .. } = std::mem::replace(&mut self.phase, Phase::Over) else {
            return FolderStep::Waiting;
        };
        if let Some(before) = &self.opened
            && before.uid_validity != opened.uid_validity
        {
            return self.end(Some(SessionError::Request(uid_validity_changed())));
        }
        let opened = self.opened.get_or_insert(opened).clone();
        match then {
            AfterOpen::Prepare => {
                self.resumed = resumed;
                let place = Place {
                    account: self.settings.account,
                    remote: self.settings.remote,
                    key: self.planned.folder.key(),
                    name: self.planned.name.clone(),
                    special_use: self.planned.special_use,
                    subscribed: self.planned.subscribed,
                    recorded: self.planned.known.clone(),
                    is_dry_run: self.settings.is_dry_run,
                };
                self.job = Some(Job::Prepare { place, uid_validity: opened.uid_validity });
                self.phase = Phase::Preparing;
            }
            AfterOpen::Search(listed) => self.search(opened, listed),
            AfterOpen::Ranges(ranges) => return self.next_range(ranges),
            AfterOpen::Fetch => self.phase = Phase::Fetch,
        }
        FolderStep::Act
    }

    /// Retries once after ID, which some servers require, and once after a lost connection. `program` is what ID says; it
    /// is `None` if ID was sent.
    fn examine_failed(
        &mut self,
        error: SessionError,
        then: AfterOpen,
        is_second: bool,
        program: Option<&ClientId>,
    ) -> FolderStep {
        match error {
            SessionError::Request(error) => match program.and_then(Identify::new) {
                Some(task) => {
                    self.phase = Phase::Identify { task, then, is_second };
                    FolderStep::Identified
                }
                None => self.end(Some(SessionError::Request(error))),
            },
            SessionError::Session(error) if error.is_closed_connection() && !is_second => {
                self.examine(then, true);
                FolderStep::Lost { error, had_progress: false }
            }
            error => self.end(Some(error)),
        }
    }

    fn identified(&mut self) -> FolderStep {
        if let Phase::Identify { then, is_second, .. } = std::mem::replace(&mut self.phase, Phase::Over) {
            self.examine(then, is_second);
        }
        FolderStep::Act
    }
}

fn waiting<T>(step: &TaskStep<T>) -> FolderStep {
    if matches!(step, TaskStep::Useful) { FolderStep::Useful } else { FolderStep::Waiting }
}

/// Takes the flags that came, once they are a full batch.
fn take_flags<T>(request: &mut FetchUids, flags: &mut FlagBatch, step: &TaskStep<T>) -> FolderStep {
    if request.batch.is_full() {
        *flags = std::mem::take(&mut request.batch);
        return FolderStep::Act;
    }
    waiting(step)
}
