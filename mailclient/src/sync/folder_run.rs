//! The sync of one folder as a state machine: loads what is known of it, lists its messages, and fetches the missing ones.

use std::collections::VecDeque;
use std::sync::Arc;

use mailstore::{AccountId, RemoteAccountId, UidSet};
use proto_imap::client::{Client, Event};
use proto_imap::resync::{OpenedMailbox, Resync, ResyncError, ResyncedMailbox};
use proto_mail::{Channel, SendBuffer};

use super::event::SyncEvent;
use super::examine::{Examine, Opened, uid_validity_changed};
use super::fetching::Fetching;
use super::flag_changes::FlagBatch;
use super::folder_plan::PlannedFolder;
use super::job::{Job, KnownMessages, Outcome, PrepareError, Prepared};
use super::limits::Limits;
use super::removal::RemovalPolicy;
use super::session_error::SessionError;
use super::strategy::Strategy;
use crate::endpoint::ClientId;
use crate::error::{Error, ErrorKind};
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
    /// A new session: this one is lost.
    Lost { error: Error, had_progress: bool },
    /// Nothing: the folder is done.
    Ended(Option<SessionError>),
}

/// What follows after ID.
pub(super) enum AfterOpen {
    /// The folder is opened and listed.
    Resync(Box<Resync>),
    /// The folder is opened again, to fetch more messages.
    Fetch {
        /// Whether a session was lost in this attempt.
        is_second: bool,
    },
}

/// What the folder waits for.
pub(super) enum Phase {
    /// The store loads what is known of the folder.
    Loading,
    /// The folder is opened and listed. Meanwhile, the store prepares the mailbox.
    Resyncing {
        resync: Box<Resync>,
        is_started: bool,
    },
    /// The folder is opened again in a new session, to fetch more messages.
    Examine {
        task: Requesting<Examine>,
        is_second: bool,
    },
    Identify {
        task: Identify,
        then: AfterOpen,
    },
    /// The store prepares the mailbox.
    Preparing,
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
}

/// The sync of one folder.
pub(super) struct FolderRun {
    pub(super) planned: PlannedFolder,
    pub(super) settings: FolderSettings,
    pub(super) phase: Phase,
    /// The messages of an earlier sync, until the store prepares the mailbox.
    pub(super) known: KnownMessages,
    pub(super) opened: Option<OpenedMailbox>,
    /// Which messages the server has.
    pub(super) resynced: Option<Box<ResyncedMailbox>>,
    pub(super) prepared: Option<Prepared>,
    /// Whether something was listed since the last lost session.
    pub(super) has_progress: bool,
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
        let job = planned.recorded().map(|recorded| Job::Load { remote: recorded.id });
        let mut run = Self {
            planned,
            settings,
            phase: Phase::Loading,
            known: KnownMessages::default(),
            opened: None,
            resynced: None,
            prepared: None,
            has_progress: false,
            vanished: UidSet::default(),
            is_listed: false,
            flags: FlagBatch::default(),
            changes: (0, 0),
            fetching: None,
            losses: 0,
            job,
            events: VecDeque::new(),
        };
        if run.job.is_none() {
            run.resync(KnownMessages::default());
        }
        run
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
            Phase::Resyncing { resync, is_started } => {
                if !std::mem::replace(is_started, true) {
                    resync.start(client, tx).map_err(start_error)?;
                }
                FolderStep::Waiting
            }
            Phase::Examine { task, .. } => waiting(&task.ready(client, tx)?),
            Phase::Identify { task, .. } => waiting(&task.ready(client, tx)?),
            Phase::Fetch => return self.request(client, tx),
            Phase::Loading
            | Phase::Preparing
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
            Phase::Resyncing { .. } => self.resync_event(&event, client, tx),
            Phase::Examine { task, .. } => match task.event(event, client, tx)? {
                TaskStep::Done(opened) => Ok(self.examined(&opened)),
                step => Ok(waiting(&step)),
            },
            Phase::Identify { task, .. } => match task.event(event, client, tx)? {
                TaskStep::Done(()) => Ok(self.identified()),
                step => Ok(waiting(&step)),
            },
            Phase::Fetch => self.fetched(event, client, tx, limits),
            Phase::Loading
            | Phase::Preparing
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
            Phase::Resyncing { resync, .. } => self.resync_lost(resync, error, program),
            Phase::Examine { is_second, .. } => self.examine_failed(error, is_second, program),
            Phase::Fetch => self.fetch_failed(error),
            Phase::Identify { .. } => self.end(Some(error)),
            phase @ (Phase::Loading
            | Phase::Preparing
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
            Outcome::Loaded(Ok(known)) => {
                self.resync(known);
                FolderStep::Act
            }
            Outcome::Loaded(Err(error)) => self.end(Some(SessionError::Run(error))),
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

    // --- Opening again

    /// Opens the folder again in a new session, to fetch more messages.
    pub(super) fn reopen(&mut self) {
        self.examine(false);
    }

    fn examine(&mut self, is_second: bool) {
        let task = Requesting::new(Examine::new(self.planned.folder.clone()));
        self.phase = Phase::Examine { task, is_second };
    }

    fn examined(&mut self, opened: &Opened) -> FolderStep {
        if self.uid_validity() != Some(opened.uid_validity) {
            return self.end(Some(SessionError::Request(uid_validity_changed())));
        }
        self.phase = Phase::Fetch;
        FolderStep::Act
    }

    /// Retries once after ID, which some servers require, and once after a lost connection. `program` is what ID says; it
    /// is `None` if ID was sent.
    fn examine_failed(
        &mut self,
        error: SessionError,
        is_second: bool,
        program: Option<&ClientId>,
    ) -> FolderStep {
        match error {
            SessionError::Request(error) => match program.and_then(Identify::new) {
                Some(task) => {
                    self.phase = Phase::Identify { task, then: AfterOpen::Fetch { is_second } };
                    FolderStep::Identified
                }
                None => self.end(Some(SessionError::Request(error))),
            },
            SessionError::Session(error) if error.is_closed_connection() && !is_second => {
                self.examine(true);
                FolderStep::Lost { error, had_progress: false }
            }
            error => self.end(Some(error)),
        }
    }

    fn identified(&mut self) -> FolderStep {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Identify { then: AfterOpen::Resync(resync), .. } => {
                self.phase = Phase::Resyncing { resync, is_started: false };
            }
            Phase::Identify { then: AfterOpen::Fetch { is_second }, .. } => self.examine(is_second),
            phase => self.phase = phase,
        }
        FolderStep::Act
    }
}

fn start_error(error: ResyncError) -> Error {
    match error {
        ResyncError::Machine(error) => error.into(),
        other => Error::new(ErrorKind::Protocol, other.to_string()),
    }
}

fn waiting<T>(step: &TaskStep<T>) -> FolderStep {
    if matches!(step, TaskStep::Useful) { FolderStep::Useful } else { FolderStep::Waiting }
}
