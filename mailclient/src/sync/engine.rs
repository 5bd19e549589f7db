//! The sync run over all folders as a state machine: sessions, replacing lost ones, and ending the run.
//!
//! A refusal affects only the message or folder that was requested. After a lost connection the engine opens a new session
//! and isolates the message or folder that causes the loss. Lost connections are limited per folder, per run, and in a row
//! without progress.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mailstore::{AccountId, RemoteAccountId};
use proto_imap::client::{Client, Event};
use proto_mail::{Credentials, SendBuffer};

use super::event::SyncEvent;
use super::folder_run::{FolderRun, FolderStep};
use super::job::{Job, Outcome, StoreJob, StoreOutcome};
use super::limits::{Limits, SyncLimits};
use super::session_error::{SessionError, classify};
use super::strategy::{FetchMissing, Strategy};
use crate::channel::ClientChannel;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Hint};
use crate::folder::Folder;
use crate::imap::{ListFolders, LogIn, Requesting};
use crate::login::Renewal;
use crate::task::{Task, TaskStep};

/// The most connections to lose in a run.
const MAX_RUN_LOSSES: u32 = 200;
/// The most connections to lose in a row without receiving a message.
const MAX_LOSSES_WITHOUT_PROGRESS: u32 = 10;
/// How often to try to connect before the run ends.
const CONNECT_ATTEMPTS: u32 = 3;

/// What a sync needs next.
#[derive(Debug)]
pub enum SyncAction {
    /// A new session: connect, read the credentials, and call [`SyncEngine::connected`] or
    /// [`SyncEngine::connect_failed`]. The session before it is lost; drop it.
    Connect,
    /// Drive the session with the engine as the [`Task`], until it is done. If that fails, call
    /// [`SyncEngine::session_failed`].
    Drive,
    /// The store's work: run the job, and call [`SyncEngine::stored`].
    Store(StoreJob),
    /// Wait for this time.
    Wait(Duration),
    /// The run is over.
    Done(SyncEnd),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEnd {
    /// All messages of all folders were fetched. Log out.
    Complete,
    /// All folders were handled, but not all messages were fetched. An event said which ones, and why: see
    /// [`SyncEvent::is_failure`]. Log out.
    Incomplete,
    /// An error ended the run early. Close the connection without LOGOUT, which would first have to read all pending
    /// responses. What was received is stored.
    Stopped(Error),
}

/// Which account to sync, and how.
#[derive(Debug)]
pub struct SyncJob {
    /// The local account that gets the messages.
    pub account: AccountId,
    /// The remote account in the store.
    pub remote: RemoteAccountId,
    /// The folders to sync, by name; all if empty.
    pub folders: Vec<String>,
    /// The limits.
    pub limits: SyncLimits,
    /// Which messages to request.
    pub strategy: Arc<dyn Strategy>,
}

impl SyncJob {
    /// Syncs all folders: every message that the store does not have.
    #[must_use]
    pub fn new(account: AccountId, remote: RemoteAccountId) -> Self {
        let (folders, limits) = (Vec::new(), SyncLimits::default());
        Self { account, remote, folders, limits, strategy: Arc::new(FetchMissing) }
    }
}

/// The state of the session.
enum SessionState {
    /// No session is open.
    None,
    /// It is connected and logs in.
    LoggingIn(Box<LogIn>),
    /// It is logged in.
    Ready,
}

/// What the run does.
enum State {
    /// Lists the folders.
    Listing(Requesting<ListFolders>),
    /// Waits for the store to name the folders.
    Naming(Vec<Folder>),
    /// Syncs a folder.
    Folder(Box<FolderRun>),
    /// Is over.
    Over(SyncEnd),
}

/// A sync run as a state machine, without I/O and without a clock.
///
/// Do what [`next_action`](Self::next_action) says until it is [`SyncAction::Done`], and report what
/// [`take_event`](Self::take_event) returns.
pub struct SyncEngine {
    endpoint: Endpoint,
    job: SyncJob,
    limits: Limits,
    session: SessionState,
    /// Whether ID was sent in this session.
    is_identified: bool,
    state: State,
    /// The folders still to sync, with their local names.
    folders: VecDeque<(Folder, String)>,
    store_job: Option<Job>,
    pause: Option<Duration>,
    events: VecDeque<SyncEvent>,
    /// How often connecting has failed in a row.
    failed_attempts: u32,
    has_connected: bool,
    /// Whether an event said that messages are missing.
    has_failures: bool,
    /// Connections lost in this run.
    losses: u32,
    /// Connections lost since the last message.
    losses_without_progress: u32,
}

impl SyncEngine {
    /// A run that has not begun.
    #[must_use]
    pub fn new(endpoint: &Endpoint, job: SyncJob) -> Self {
        let limits = Limits::new(job.limits.clone());
        Self {
            endpoint: endpoint.clone(),
            job,
            limits,
            session: SessionState::None,
            is_identified: false,
            state: State::Listing(Requesting::new(ListFolders::default())),
            folders: VecDeque::new(),
            store_job: None,
            pause: None,
            events: VecDeque::new(),
            failed_attempts: 0,
            has_connected: false,
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
            SessionState::LoggingIn(_) | SessionState::Ready => SyncAction::Drive,
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
        let login = LogIn::new(&self.endpoint, credentials, Renewal::Possible);
        self.session = SessionState::LoggingIn(Box::new(login));
    }

    /// Continues without a connection. After the first session of the run, connecting is tried three times.
    pub fn connect_failed(&mut self, error: Error) {
        self.failed_attempts += 1;
        let may_pass = matches!(error.kind(), ErrorKind::Temporary | ErrorKind::Unavailable);
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
        if let SessionState::LoggingIn(_) = self.session {
            return self.run_failed(error);
        }
        match &mut self.state {
            State::Listing(_) => self.listing_failed(error),
            State::Folder(folder) => {
                let program = (!self.is_identified).then(|| self.endpoint.program());
                let step = folder.failed(classify(error), program);
                let _: TaskStep<()> = self.folder_step(step);
            }
            State::Naming(_) | State::Over(_) => {}
        }
    }

    /// Continues with the result of a [`StoreJob`].
    pub fn stored(&mut self, outcome: StoreOutcome) {
        match (outcome.0, &mut self.state) {
            (Outcome::Names(names), State::Naming(folders)) => {
                let folders = std::mem::take(folders);
                match names {
                    Ok(names) => {
                        self.folders = folders.into_iter().zip(names).collect();
                        self.next_folder();
                    }
                    Err(error) => self.run_failed(error),
                }
            }
            (outcome, State::Folder(folder)) => {
                let step = folder.stored(outcome);
                let _: TaskStep<()> = self.folder_step(step);
            }
            _ => {}
        }
    }

    fn logging_in(&mut self, step: TaskStep<crate::imap::ImapLogin>) -> TaskStep<()> {
        step.map(|login| {
            self.is_identified = login.identified;
            self.session = SessionState::Ready;
        })
    }

    fn listing(&mut self, step: TaskStep<Vec<Folder>>) -> TaskStep<()> {
        step.map(|folders| self.name_folders(folders))
    }

    fn listing_failed(&mut self, error: Error) {
        let State::Listing(list) =
            std::mem::replace(&mut self.state, State::Listing(Requesting::new(ListFolders::default())))
        else {
            return;
        };
        let folders = list.into_request().into_folders();
        match classify(error) {
            // The server lists too many folders: fetch those that came.
            SessionError::Session(error) if error.kind() == ErrorKind::Protocol && !folders.is_empty() => {
                self.report_folder("(the list of folders)", error.clone());
                match self.session_lost(&error) {
                    Ok(()) => self.name_folders(folders),
                    Err(error) => self.run_failed(error),
                }
            }
            SessionError::Request(error) | SessionError::Session(error) | SessionError::Run(error) => {
                self.run_failed(error);
            }
        }
    }

    /// Asks the store for the local names of the folders that are wanted and valid.
    fn name_folders(&mut self, folders: Vec<Folder>) {
        for wanted in &self.job.folders {
            if !folders.iter().any(|folder| folder.is_named(wanted)) {
                let error = Error::new(ErrorKind::InvalidInput, format!("there is no folder {wanted}"));
                return self.run_failed(error.with_hint(Hint::ListFolders));
            }
        }
        let only = std::mem::take(&mut self.job.folders);
        let is_wanted = |folder: &Folder| only.is_empty() || only.iter().any(|name| folder.is_named(name));
        let mut valid = Vec::new();
        for folder in folders.into_iter().filter(|folder| folder.selectable && is_wanted(folder)) {
            match folder.check_name() {
                Ok(()) => valid.push(folder),
                Err(error) => self.report_folder(&folder.name, error),
            }
        }
        let (account, remote) = (self.job.account, self.job.remote);
        self.store_job = Some(Job::Names { account, remote, folders: valid.clone() });
        self.state = State::Naming(valid);
    }

    fn report_folder(&mut self, name: &str, error: Error) {
        let started = SyncEvent::FolderStarted { name: name.to_owned() };
        self.events.extend([started, SyncEvent::FolderFailed(error), SyncEvent::FolderDone]);
    }

    fn next_folder(&mut self) {
        self.state = match self.folders.pop_front() {
            Some((folder, name)) => {
                self.events.push_back(SyncEvent::FolderStarted { name: folder.name.clone() });
                let (place, strategy) = ((self.job.account, self.job.remote), Arc::clone(&self.job.strategy));
                let max = self.limits.settings.folder_messages;
                State::Folder(Box::new(FolderRun::new(folder, name, place, max, strategy)))
            }
            None => State::Over(SyncEnd::Complete),
        };
    }

    /// Moves the folder's job for the store, so that it is done before anything else.
    fn collect_job(&mut self) {
        if self.store_job.is_none()
            && let State::Folder(folder) = &mut self.state
        {
            self.store_job = folder.take_job();
        }
    }

    fn folder_step(&mut self, step: FolderStep) -> TaskStep<()> {
        match step {
            FolderStep::Waiting => TaskStep::Waiting,
            FolderStep::Useful => TaskStep::Useful,
            FolderStep::Act => TaskStep::Done(()),
            FolderStep::Identified => {
                self.is_identified = true;
                TaskStep::Done(())
            }
            FolderStep::Progress => {
                self.losses_without_progress = 0;
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
    fn session_lost(&mut self, error: &Error) -> Result<(), Error> {
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
    fn run_failed(&mut self, error: Error) {
        match &mut self.state {
            State::Folder(folder) => {
                let step = folder.end(Some(SessionError::Run(error)));
                let _: TaskStep<()> = self.folder_step(step);
            }
            State::Over(_) => {}
            State::Listing(_) | State::Naming(_) => self.state = State::Over(SyncEnd::Stopped(error)),
        }
    }
}

/// One [`Drive`](SyncAction::Drive): done when the engine needs something else. If a method fails, the session must end:
/// pass the error to [`SyncEngine::session_failed`].
impl<C: ClientChannel> Task<Client<C>> for SyncEngine {
    type Output = ();

    fn ready(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<TaskStep<()>, Error> {
        match (&mut self.session, &mut self.state) {
            (SessionState::LoggingIn(login), _) => {
                let step = login.ready(client, tx)?;
                Ok(self.logging_in(step))
            }
            (_, State::Listing(list)) => {
                let step = list.ready(client, tx)?;
                Ok(self.listing(step))
            }
            (_, State::Folder(folder)) => {
                let step = folder.ready(client, tx)?;
                Ok(self.folder_step(step))
            }
            (_, State::Naming(_) | State::Over(_)) => Ok(TaskStep::Done(())),
        }
    }

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<()>, Error> {
        match (&mut self.session, &mut self.state) {
            (SessionState::LoggingIn(login), _) => {
                let step = login.event(event, client, tx)?;
                Ok(self.logging_in(step))
            }
            (_, State::Listing(list)) => {
                let step = list.event(event, client, tx)?;
                Ok(self.listing(step))
            }
            (_, State::Folder(folder)) => {
                let step = folder.event(event, client, tx, &mut self.limits)?;
                Ok(self.folder_step(step))
            }
            (_, State::Naming(_) | State::Over(_)) => Ok(TaskStep::Waiting),
        }
    }

    fn renewed(
        &mut self,
        credentials: Option<Credentials>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<()>, Error> {
        let SessionState::LoggingIn(login) = &mut self.session else { return Ok(TaskStep::Waiting) };
        let step = login.renewed(credentials, client, tx)?;
        Ok(self.logging_in(step))
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
