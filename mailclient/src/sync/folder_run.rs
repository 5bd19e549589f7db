//! The sync of one folder as a state machine: opens it, lists its messages, and fetches the missing ones.

use std::collections::VecDeque;
use std::sync::Arc;

use mailstore::{AccountId, RemoteAccountId, SpecialUse};
use proto_imap::client::{Client, Event};
use proto_mail::{Channel, SendBuffer};

use super::event::SyncEvent;
use super::fetching::Fetching;
use super::job::{Job, Outcome, Place, PrepareError, Prepared};
use super::limits::Limits;
use super::listing::{Examine, FetchUids, Listed, Opened, RangeQueue, SearchUids, uid_validity_changed};
use super::session_error::SessionError;
use super::strategy::Strategy;
use crate::endpoint::ClientId;
use crate::error::{Error, ErrorKind, SyncLimit};
use crate::folder::Folder;
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
    queue: RangeQueue,
    listed: Listed,
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
    Over,
}

/// The sync of one folder.
pub(super) struct FolderRun {
    folder: Folder,
    name: String,
    account: AccountId,
    remote_account: RemoteAccountId,
    /// The most messages of a folder.
    max: u64,
    pub(super) strategy: Arc<dyn Strategy>,
    pub(super) phase: Phase,
    pub(super) opened: Option<Opened>,
    pub(super) prepared: Option<Prepared>,
    /// How many messages were listed, and how many were removed during the listing.
    pub(super) listed: (u64, u64),
    pub(super) fetching: Option<Fetching>,
    pub(super) losses: u32,
    pub(super) job: Option<Job>,
    pub(super) events: VecDeque<SyncEvent>,
}

impl FolderRun {
    pub(super) fn new(
        folder: Folder,
        name: String,
        (account, remote_account): (AccountId, RemoteAccountId),
        max: u64,
        strategy: Arc<dyn Strategy>,
    ) -> Self {
        let phase = Phase::Examine {
            task: Requesting::new(Examine::new(folder.clone())),
            then: AfterOpen::Prepare,
            is_second: false,
        };
        Self {
            folder,
            name,
            account,
            remote_account,
            max,
            strategy,
            phase,
            opened: None,
            prepared: None,
            listed: (0, 0),
            fetching: None,
            losses: 0,
            job: None,
            events: VecDeque::new(),
        }
    }

    /// Returns the work for the store that must be done before anything else.
    pub(super) fn take_job(&mut self) -> Option<Job> {
        self.job.take().or_else(|| self.fetching.as_mut().and_then(Fetching::take_job))
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
            Phase::Preparing | Phase::Committing(_) | Phase::Finishing { .. } | Phase::Over => {
                FolderStep::Act
            }
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
                step => Ok(waiting(&step)),
            },
            Phase::Search(task) => match task.event(event, client, tx)? {
                TaskStep::Done(()) => Ok(self.searched()),
                step => Ok(waiting(&step)),
            },
            Phase::Ranges { task, .. } => match task.event(event, client, tx)? {
                TaskStep::Done(()) => Ok(self.range_ended(None)),
                step => Ok(waiting(&step)),
            },
            Phase::Fetch => self.fetched(event, client, tx, limits),
            Phase::Preparing | Phase::Committing(_) | Phase::Finishing { .. } | Phase::Over => {
                Ok(FolderStep::Waiting)
            }
        }
    }

    /// Decides what follows after the session failed, or a request in it.
    ///
    /// `program` is what ID says; it is `None` if ID was sent in this session.
    pub(super) fn failed(&mut self, error: SessionError, program: Option<&ClientId>) -> FolderStep {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Examine { then, is_second, .. } => self.examine_failed(error, then, is_second, program),
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
            phase @ (Phase::Preparing | Phase::Committing(_) | Phase::Finishing { .. } | Phase::Over) => {
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
            Outcome::Names(_) => FolderStep::Act,
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

    fn examine(&mut self, then: AfterOpen, is_second: bool) {
        let task = Requesting::new(Examine::new(self.folder.clone()));
        self.phase = Phase::Examine { task, then, is_second };
    }

    fn examined(&mut self, opened: Opened) -> FolderStep {
        let Phase::Examine { then, .. } = std::mem::replace(&mut self.phase, Phase::Over) else {
            return FolderStep::Waiting;
        };
        if let Some(before) = self.opened
            && before.uid_validity != opened.uid_validity
        {
            return self.end(Some(SessionError::Request(uid_validity_changed())));
        }
        let opened = *self.opened.get_or_insert(opened);
        match then {
            AfterOpen::Prepare => {
                let place = Place {
                    account: self.account,
                    remote: self.remote_account,
                    key: self.folder.key(),
                    name: self.name.clone(),
                    special_use: self.folder.special_use.as_deref().and_then(SpecialUse::from_attribute),
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

    // --- Listing: with one FETCH, then with SEARCH, then with FETCH in ranges of UIDs

    fn prepared(&mut self, prepared: Prepared) -> FolderStep {
        let Some(opened) = self.opened else { return FolderStep::Act };
        self.prepared = Some(prepared);
        if opened.exists == 0 {
            return self.plan(Listed::default());
        }
        if u64::from(opened.exists) > self.max {
            let why = format!("the server counts {} messages, and the limit is {}", opened.exists, self.max);
            let error = Error::new(ErrorKind::Unavailable, why).exceeding(SyncLimit::FolderMessages);
            return self.end(Some(SessionError::Request(error.remote())));
        }
        let request = FetchUids { range: None, opened, max: self.max, listed: Listed::default() };
        self.phase = Phase::FetchAll(Requesting::new(request));
        FolderStep::Act
    }

    fn listed_all(&mut self) -> FolderStep {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::FetchAll(task) => self.plan(task.into_request().listed),
            _ => FolderStep::Waiting,
        }
    }

    fn search(&mut self, opened: Opened, listed: Listed) {
        let request = SearchUids { first: 1, opened, max: self.max, listed };
        self.phase = Phase::Search(Requesting::new(request));
    }

    fn searched(&mut self) -> FolderStep {
        let (Phase::Search(task), Some(opened)) =
            (std::mem::replace(&mut self.phase, Phase::Over), self.opened)
        else {
            return FolderStep::Waiting;
        };
        match task.into_request().next() {
            Ok(next) => {
                self.phase = Phase::Search(Requesting::new(next));
                FolderStep::Act
            }
            Err(listed) if listed.is_complete(opened) => self.plan(listed),
            Err(listed) => {
                let ranges = self.ranges(listed.expunged);
                self.next_range(ranges)
            }
        }
    }

    fn ranges(&self, expunged: u64) -> Ranges {
        let listed = Listed { expunged, ..Listed::default() };
        let opened = self.opened.unwrap_or(Opened::EMPTY);
        Ranges { queue: RangeQueue::new(opened), listed }
    }

    /// Tries another way to list after a refusal, and after a lost connection.
    fn list_failed(&mut self, error: SessionError, then: AfterOpen) -> FolderStep {
        match (error, then, self.opened) {
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
    fn next_range(&mut self, ranges: Ranges) -> FolderStep {
        let Ranges { mut queue, listed } = ranges;
        let (Some(range), Some(opened)) = (queue.next(), self.opened) else { return self.plan(listed) };
        let request = FetchUids { range: Some(range), opened, max: self.max, listed };
        self.phase = Phase::Ranges { task: Requesting::new(request), queue, range };
        FolderStep::Act
    }

    /// Adds the UID that could not be listed, if there is one, and goes on.
    fn range_ended(&mut self, bad_uid: Option<u32>) -> FolderStep {
        let Phase::Ranges { task, queue, .. } = std::mem::replace(&mut self.phase, Phase::Over) else {
            return FolderStep::Waiting;
        };
        let mut listed = task.into_request().listed;
        if let Some(uid) = bad_uid {
            listed.uids.add(uid);
        }
        match self.next_range(Ranges { queue, listed }) {
            FolderStep::Act => FolderStep::Progress,
            step => step,
        }
    }

    fn range_failed(
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

fn waiting<T>(step: &TaskStep<T>) -> FolderStep {
    if matches!(step, TaskStep::Useful) { FolderStep::Useful } else { FolderStep::Waiting }
}
