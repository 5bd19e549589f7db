//! The sync run over all folders as a state machine: sessions, replacing lost ones, and ending the run.
//!
//! A refusal affects only the message or folder that was requested. After a lost connection the engine opens a new session
//! and isolates the message or folder that causes the loss. Lost connections are limited per folder, per run, and in a row
//! without progress.

use std::collections::VecDeque;
use std::time::Duration;

use mailstore::RemoteFolder;
use proto_imap::client::{Client, CommandId};
use proto_mail::{Channel, Credentials};

use super::account_listing::ListAccount;
use super::action::{SyncAction, SyncEnd, SyncJob};
use super::event::SyncEvent;
use super::examine::EnableQResync;
use super::folder_plan::{Planned, PlannedFolder};
use super::folder_run::{FolderRun, FolderStep};
use super::gone_folders::GoneFolders;
use super::job::{Job, Outcome, StoreJob, StoreOutcome};
use super::limits::Limits;
use super::notified::{FolderStates, Notified};
use super::reconnect::reconnect_pause;
use super::session_error::{SessionError, classify};
use super::status_run::StatusRun;
use super::watching::{Seen, Watching};
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Hint};
use crate::folder::Folder;
use crate::imap::{LogIn, Requesting};
use crate::login::Renewal;
use crate::task::TaskStep;

/// The most connections to lose in a run.
const MAX_RUN_LOSSES: u32 = 200;
/// The most connections to lose in a row without receiving a message.
const MAX_LOSSES_WITHOUT_PROGRESS: u32 = 10;
/// How often to try to connect before the run ends.
const CONNECT_ATTEMPTS: u32 = 3;

/// The state of the session.
pub(super) enum SessionState {
    /// No session is open.
    None,
    /// It is connected and logs in.
    LoggingIn(Box<LogIn>),
    /// It is logged in, and asks for compression.
    Compressing(Option<CommandId>),
    /// It is logged in, and asks for QRESYNC.
    Enabling(Requesting<EnableQResync>),
    /// It is logged in.
    Ready,
}

/// The folder that is watched between two runs.
#[derive(Debug)]
pub(super) struct WatchedFolder {
    pub(super) folder: Folder,
    /// How the run has found it.
    pub(super) seen: Option<Seen>,
}

/// What the run does.
pub(super) enum State {
    /// Lists the folders.
    Listing(Box<ListAccount>),
    /// Requests the state of folders, which tells whether they are renamed ones.
    Status(Box<StatusRun>),
    /// Waits for the store to compare the folders with what it knows.
    Planning,
    /// Syncs a folder.
    Folder(Box<FolderRun>),
    /// The store concludes the folders that the server has deleted.
    Gone(Box<GoneFolders>),
    /// Waits for changes of one folder.
    Watching(Box<Watching>),
    /// Waits for changes of any folder.
    Notified(Box<Notified>),
    /// Is over.
    Over(SyncEnd),
}

/// A sync run as a state machine, without I/O and without a clock.
///
/// Do what [`next_action`](Self::next_action) says until it is [`SyncAction::Done`], and report what
/// [`take_event`](Self::take_event) returns.
pub struct SyncEngine {
    pub(super) endpoint: Endpoint,
    pub(super) job: SyncJob,
    pub(super) limits: Limits,
    pub(super) session: SessionState,
    /// Whether ID was sent in this session.
    pub(super) is_identified: bool,
    pub(super) state: State,
    /// The folders still to sync.
    pub(super) folders: VecDeque<PlannedFolder>,
    /// The folders that the server has deleted, with their local names.
    pub(super) gone: VecDeque<(RemoteFolder, String)>,
    /// Whether the server of this session has QRESYNC, and it was not enabled yet.
    pub(super) can_enable: bool,
    /// Whether a mailbox was selected in this session: QRESYNC can be enabled only before.
    pub(super) has_selected: bool,
    /// The folders that every run syncs, by name; all if empty.
    pub(super) wanted: Vec<String>,
    pub(super) watched: Option<WatchedFolder>,
    /// How the run has found the folders, while it watches.
    pub(super) seen: FolderStates,
    /// Whether the server of this session has NOTIFY, and has not refused it.
    pub(super) can_notify: bool,
    /// Whether this run began because of a change that was missed before the wait.
    pub(super) has_missed: bool,
    pub(super) store_job: Option<Job>,
    pub(super) pause: Option<Duration>,
    pub(super) events: VecDeque<SyncEvent>,
    /// How often connecting has failed in a row.
    pub(super) failed_attempts: u32,
    pub(super) has_connected: bool,
    pub(super) has_logged_in: bool,
    /// Whether an event said that messages are missing.
    pub(super) has_failures: bool,
    /// Connections lost in this run.
    pub(super) losses: u32,
    /// Connections lost since the last message.
    pub(super) losses_without_progress: u32,
}

impl SyncEngine {
    /// A run that has not begun.
    #[must_use]
    pub fn new(endpoint: &Endpoint, job: SyncJob) -> Self {
        let (limits, wanted) = (Limits::new(job.limits.clone()), job.folders.clone());
        Self {
            endpoint: endpoint.clone(),
            job,
            limits,
            session: SessionState::None,
            is_identified: false,
            state: State::Listing(Box::default()),
            folders: VecDeque::new(),
            gone: VecDeque::new(),
            can_enable: false,
            has_selected: false,
            wanted,
            watched: None,
            seen: FolderStates::new(),
            can_notify: false,
            has_missed: false,
            store_job: None,
            pause: None,
            events: VecDeque::new(),
            failed_attempts: 0,
            has_connected: false,
            has_logged_in: false,
            has_failures: false,
            losses: 0,
            losses_without_progress: 0,
        }
    }

    /// Returns what to do next.
    pub fn next_action(&mut self) -> SyncAction {
        self.collect_job();
        if let Some(job) = self.store_job.take() {
            return SyncAction::Store(StoreJob(job));
        }
        if let State::Over(end) = &self.state {
            return SyncAction::Done(match end {
                SyncEnd::Complete if self.is_incomplete() => SyncEnd::Incomplete,
                end => end.clone(),
            });
        }
        if let Some(pause) = self.pause.take() {
            return SyncAction::Wait(pause);
        }
        match self.session {
            SessionState::None => SyncAction::Connect,
            SessionState::LoggingIn(_)
            | SessionState::Compressing(_)
            | SessionState::Enabling(_)
            | SessionState::Ready => SyncAction::Drive,
        }
    }

    /// Returns what to report next.
    pub fn take_event(&mut self) -> Option<SyncEvent> {
        let event = match &mut self.state {
            State::Folder(folder) if self.events.is_empty() => folder.take_event(),
            _ => self.events.pop_front(),
        };
        self.has_failures |= event.as_ref().is_some_and(SyncEvent::is_failure);
        event
    }

    fn is_incomplete(&self) -> bool {
        self.has_failures || self.events.iter().any(SyncEvent::is_failure)
    }

    /// Continues with a new connection.
    pub fn connected(&mut self, credentials: Credentials) {
        if !std::mem::replace(&mut self.has_connected, true) {
            self.events.push_back(SyncEvent::Connected);
        }
        (self.failed_attempts, self.is_identified) = (0, false);
        (self.can_enable, self.has_selected) = (false, false);
        let login = LogIn::new(&self.endpoint, credentials, Renewal::Possible);
        self.session = SessionState::LoggingIn(Box::new(login));
    }

    /// Continues without a connection. After the first session of the run, connecting is tried three times.
    pub fn connect_failed(&mut self, error: Error) {
        self.failed_attempts += 1;
        let may_pass = matches!(error.kind(), ErrorKind::Temporary | ErrorKind::Unavailable);
        if self.has_connected && may_pass && self.job.watch {
            self.pause = Some(reconnect_pause(self.failed_attempts));
            return;
        }
        if self.has_connected && may_pass && self.failed_attempts < CONNECT_ATTEMPTS {
            self.pause = Some(Duration::from_millis(500) * self.failed_attempts);
            return;
        }
        // The server was available before, so a retry may help.
        let error = if self.losses > 0 && error.kind() == ErrorKind::Unavailable {
            error.with_kind(ErrorKind::Temporary)
        } else {
            error
        };
        self.run_failed(error);
    }

    /// Ends the run, because the caller stops it.
    pub fn stop(&mut self, error: Error) {
        self.run_failed(error);
    }

    /// Decides what follows after the session failed, or a request in it.
    pub fn session_failed(&mut self, error: Error) {
        match (&self.session, classify(error.clone())) {
            (SessionState::LoggingIn(_), _) => return self.login_failed(error),
            (SessionState::Compressing(_), SessionError::Request(_)) => return self.logged_in(),
            // Without QRESYNC.
            (SessionState::Enabling(_), SessionError::Request(_)) => {
                self.session = SessionState::Ready;
                return;
            }
            _ => {}
        }
        match &mut self.state {
            State::Listing(_) => self.listing_failed(error),
            State::Status(_) => self.status_failed(error),
            State::Folder(folder) => {
                let program = (!self.is_identified).then(|| self.endpoint.program());
                let step = folder.failed(classify(error), program);
                let _: TaskStep<()> = self.folder_step(step);
            }
            State::Watching(_) | State::Notified(_) => self.watch_failed(error),
            State::Planning | State::Gone(_) | State::Over(_) => {}
        }
    }

    /// Continues with the result of a [`StoreJob`].
    pub fn stored(&mut self, outcome: StoreOutcome) {
        match (outcome.0, &mut self.state) {
            (Outcome::Folders(planned), State::Planning) => match planned {
                Ok(Planned::Plan(plan)) => self.planned(plan),
                Ok(Planned::NeedsStatus(request, folders)) => {
                    self.state = State::Status(Box::new(StatusRun::new(request, folders)));
                }
                Err(error) => self.run_failed(error),
            },
            (outcome, State::Gone(gone)) => match gone.stored(outcome, &mut self.events) {
                Ok(true) => {}
                Ok(false) => self.run_complete(),
                Err(error) => self.run_failed(error),
            },
            (outcome, State::Folder(folder)) => {
                let step = folder.stored(outcome);
                let _: TaskStep<()> = self.folder_step(step);
            }
            _ => {}
        }
    }

    pub(super) fn logging_in<C: Channel>(
        &mut self,
        step: TaskStep<crate::imap::ImapLogin>,
        client: &Client<C>,
    ) -> TaskStep<()> {
        step.map(|login| {
            self.is_identified = login.identified;
            self.has_logged_in = true;
            let has = |name: &str| client.capabilities().is_some_and(|known| known.has(name));
            self.can_notify = Notified::is_possible(client);
            self.can_enable = has("QRESYNC") && (has("ENABLE") || has("IMAP4rev2"));
            if self.job.compress && has("COMPRESS=DEFLATE") {
                self.session = SessionState::Compressing(None);
            } else {
                self.logged_in();
            }
        })
    }

    /// Goes on where the last session was lost.
    pub(super) fn logged_in(&mut self) {
        self.session = SessionState::Ready;
        if matches!(self.state, State::Folder(_)) {
            self.select_next();
        }
    }

    /// Tries again while it watches; a wrong password ends it.
    pub(super) fn login_failed(&mut self, error: Error) {
        let may_pass = matches!(error.kind(), ErrorKind::Temporary | ErrorKind::Unavailable);
        if self.job.watch && self.has_logged_in && may_pass {
            self.session = SessionState::None;
            self.failed_attempts += 1;
            self.pause = Some(reconnect_pause(self.failed_attempts));
        } else {
            self.run_failed(error);
        }
    }

    pub(super) fn enabled(&mut self, step: TaskStep<()>) -> TaskStep<()> {
        step.map(|()| self.session = SessionState::Ready)
    }

    /// Moves the folder's job for the store, so that it is done before anything else.
    fn collect_job(&mut self) {
        if self.store_job.is_none() {
            self.store_job = match &mut self.state {
                State::Folder(folder) => folder.take_job(),
                State::Gone(gone) => gone.take_job(),
                _ => None,
            };
        }
    }

    pub(super) fn folder_step(&mut self, step: FolderStep) -> TaskStep<()> {
        match step {
            FolderStep::Waiting => TaskStep::Waiting,
            FolderStep::Useful => TaskStep::Useful,
            FolderStep::Act => TaskStep::Done(()),
            FolderStep::Identified => {
                self.is_identified = true;
                TaskStep::Done(())
            }
            FolderStep::Lost { error, had_progress } => {
                if had_progress {
                    self.losses_without_progress = 0;
                }
                if let Err(error) = self.session_lost(&error)
                    && let State::Folder(folder) = &mut self.state
                {
                    let step = folder.end(Some(SessionError::Run(error)));
                    return self.folder_step(step);
                }
                TaskStep::Done(())
            }
            FolderStep::Ended(result) => {
                self.folder_ended(result);
                TaskStep::Done(())
            }
        }
    }

    /// Reports the end of a folder, and begins the next one.
    fn folder_ended(&mut self, result: Option<SessionError>) {
        if let State::Folder(folder) = &mut self.state {
            while let Some(event) = folder.take_event() {
                self.events.push_back(event);
            }
        }
        self.events.push_back(SyncEvent::FolderCounted);
        let stopped = match result {
            None => None,
            Some(SessionError::Request(error)) => {
                self.events.push_back(SyncEvent::FolderFailed(error));
                None
            }
            Some(SessionError::Session(error)) => {
                self.events.push_back(SyncEvent::FolderFailed(error.clone()));
                self.session_lost(&error).err()
            }
            Some(SessionError::Run(error)) => {
                self.events.push_back(SyncEvent::FolderFailed(error.clone()));
                Some(error)
            }
        };
        self.events.push_back(SyncEvent::FolderDone);
        match stopped {
            None => self.next_folder(),
            Some(error) => self.state = State::Over(SyncEnd::Stopped(error)),
        }
    }

    /// Drops a lost session, and plans the pause before the next one.
    ///
    /// # Errors
    /// Too many sessions were lost.
    pub(super) fn session_lost(&mut self, error: &Error) -> Result<(), Error> {
        self.session = SessionState::None;
        self.losses += 1;
        self.losses_without_progress += 1;
        if self.losses > MAX_RUN_LOSSES || self.losses_without_progress > MAX_LOSSES_WITHOUT_PROGRESS {
            return Err(error
                .clone()
                .with_kind(ErrorKind::Temporary)
                .append(" (repeatedly)")
                .with_hint(Hint::TRY_LATER));
        }
        // The first losses cause no pause: a server that fails on one message is not overloaded.
        self.pause = match self.losses_without_progress {
            0..=2 => None,
            3..=4 => Some(Duration::from_millis(200)),
            more => Some(Duration::from_millis(500) * (more - 4)),
        };
        Ok(())
    }

    /// Ends the run. A folder that has begun is concluded first: what it has received is stored.
    pub(super) fn run_failed(&mut self, error: Error) {
        match &mut self.state {
            State::Folder(folder) => {
                let step = folder.end(Some(SessionError::Run(error)));
                let _: TaskStep<()> = self.folder_step(step);
            }
            State::Over(_) => {}
            State::Listing(_)
            | State::Status(_)
            | State::Planning
            | State::Gone(_)
            | State::Watching(_)
            | State::Notified(_) => {
                self.state = State::Over(SyncEnd::Stopped(error));
            }
        }
    }
}

impl std::fmt::Debug for SyncEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncEngine")
            .field("job", &self.job)
            .field("losses", &self.losses)
            .finish_non_exhaustive()
    }
}
