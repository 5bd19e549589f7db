//! The sync run over all folders: opening sessions, replacing lost ones, and ending the run.
//!
//! A refusal affects only the message or folder that was requested. After a lost connection the engine opens a new session
//! and isolates the message or folder that causes the loss. Lost connections are limited per folder, per run, and in a row
//! without progress.

use std::time::{Duration, Instant};

use io_mio::{ConnectionEvent, Connector};
use mailclient::blocking::StopCheck;
use mailclient::imap::{Identify, ImapChannel, ListFolders, Requesting, Session};
use mailclient::{ErrorKind, Folder, ServerReply, sync};
use mailstore::{AccountId, RemoteAccountId, SpecialUse, SqliteStore, SyncStore, UidSet};
use proto_imap::client::Event;
use proto_imap::types::{Command, FetchAttribute, FetchCommand, LazyList, Section, SequenceSet};
use proto_mail::Credentials;

use super::limits::Limits;
use super::plan::{Plan, count, difference, sequence_set};
use super::remote_folder::{self, Listed, Opened, RangeQueue};
use super::report::FolderReport;
use super::sink::Sink;
use crate::command_error::{CommandError, ExitCode};
use crate::endpoint::Endpoint;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The most connections to lose in one folder.
const MAX_FOLDER_LOSSES: u32 = 40;
/// The most connections to lose in a run.
const MAX_RUN_LOSSES: u32 = 200;
/// The most connections to lose in a row without receiving a message.
const MAX_LOSSES_WITHOUT_PROGRESS: u32 = 10;

/// How often to try to connect before the run ends.
const CONNECT_ATTEMPTS: u32 = 3;

/// How many messages that failed in an earlier run are requested again. Each may cost a session.
const MAX_RETRIED: usize = 5;

/// What to sync: the server and the local account.
pub(super) struct Job<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) connector: &'a Connector,
    pub(super) credentials: Credentials,
    pub(super) store: &'a SqliteStore,
    pub(super) account: AccountId,
    pub(super) remote: RemoteAccountId,
    /// The folders to sync; all if empty.
    pub(super) only: &'a [String],
    pub(super) output: Output,
    pub(super) interrupt: Interrupt,
}

/// A sync run.
pub(super) struct Engine<'a, C: ImapChannel> {
    job: Job<'a>,
    limits: Limits,
    session: Option<Session<C>>,
    /// Whether the session has not logged in yet.
    is_new: bool,
    /// Connections lost in this run.
    losses: u32,
    /// Connections lost since the last message.
    losses_without_progress: u32,
}

/// A failure to fetch something, by what it ends.
#[derive(Debug)]
enum FetchError {
    /// Only the request failed. The session continues.
    Request(CommandError),
    /// The session must end.
    Session(CommandError),
    /// The run must end.
    Run(CommandError),
}

impl From<CommandError> for FetchError {
    fn from(failure: CommandError) -> Self {
        let is_refusal = |reply: &ServerReply| matches!(reply.condition, Some("NO" | "BAD"));
        match failure.exit_code {
            ExitCode::Interrupted | ExitCode::Terminated => Self::Run(failure),
            _ if failure.server.as_deref().is_some_and(is_refusal) => Self::Request(failure),
            // An attacker may be on the connection.
            ExitCode::Refused => Self::Run(failure),
            _ => Self::Session(failure),
        }
    }
}

impl From<mailstore::Error> for FetchError {
    fn from(error: mailstore::Error) -> Self {
        Self::Run(error.into())
    }
}

impl<'a, C: ImapChannel> Engine<'a, C> {
    /// Prepares a run that begins with `session`.
    pub(super) fn new(job: Job<'a>, limits: Limits, session: Session<C>) -> Self {
        Self { job, limits, session: Some(session), is_new: true, losses: 0, losses_without_progress: 0 }
    }

    /// Fetches every folder. Returns the reports, and the failure that ended the run early.
    pub(super) fn run(mut self) -> (Vec<FolderReport>, Option<CommandError>) {
        let mut reports = Vec::new();
        let stopped = self.folders(&mut reports).err();
        // A stopped run closes the connection without LOGOUT, which would first have to read all pending responses.
        if let (Some(session), None) = (self.session.take(), &stopped) {
            session.log_out();
        }
        (reports, stopped)
    }

    fn folders(&mut self, reports: &mut Vec<FolderReport>) -> Result<(), CommandError> {
        let mut request = Requesting::new(ListFolders::default());
        let listed = self.session()?.run_task(&mut request);
        let folders = match &listed {
            Ok(folders) => folders.clone(),
            Err(_) => request.into_request().into_folders(),
        };
        if let Err(failure) = listed {
            match FetchError::from(CommandError::from(failure)) {
                // The server lists too many folders: fetch those that came.
                FetchError::Session(failure)
                    if failure.exit_code == ExitCode::Protocol && !folders.is_empty() =>
                {
                    let mut report = FolderReport::new("(the list of folders)");
                    report.folder_failed(&failure);
                    reports.push(report);
                    self.session_lost(&failure)?;
                }
                FetchError::Request(failure) | FetchError::Session(failure) | FetchError::Run(failure) => {
                    return Err(failure);
                }
            }
        }
        for wanted in self.job.only {
            if !folders.iter().any(|folder| folder.is_named(wanted)) {
                return Err(CommandError::new(ExitCode::Data, format!("there is no folder {wanted}"))
                    .advise("run mailwire folders to list the names"));
            }
        }
        let mut valid = Vec::new();
        for folder in folders.into_iter().filter(|folder| folder.selectable && self.is_wanted(folder)) {
            match folder.check_name() {
                Ok(()) => valid.push(folder),
                Err(failure) => {
                    let mut report = FolderReport::new(&folder.name);
                    report.folder_failed(&failure.into());
                    reports.push(report);
                }
            }
        }
        let names = sync::local_names(self.job.store, self.job.account, self.job.remote, &valid)?;
        for (folder, name) in valid.iter().zip(&names) {
            let mut report = FolderReport::new(&folder.name);
            let result = self.sync_folder(folder, name, &mut report);
            report.conclude();
            let stopped = match result {
                Ok(()) => Ok(()),
                Err(FetchError::Request(failure)) => {
                    report.folder_failed(&failure);
                    Ok(())
                }
                Err(FetchError::Session(failure)) => {
                    report.folder_failed(&failure);
                    self.session_lost(&failure)
                }
                Err(FetchError::Run(failure)) => {
                    report.folder_failed(&failure);
                    Err(failure)
                }
            };
            reports.push(report);
            stopped?;
        }
        Ok(())
    }

    fn is_wanted(&self, folder: &Folder) -> bool {
        self.job.only.is_empty() || self.job.only.iter().any(|name| folder.is_named(name))
    }

    /// Returns the session. Connects and logs in if there is none.
    fn session(&mut self) -> Result<&mut Session<C>, CommandError> {
        if self.session.is_none() {
            self.session = Some(self.connect()?);
            self.is_new = true;
        }
        let Some(session) = &mut self.session else {
            return Err(CommandError::new(ExitCode::Unavailable, "there is no session"));
        };
        if std::mem::replace(&mut self.is_new, false) {
            let interrupt = self.job.interrupt.clone();
            session.stop_with(&StopCheck::new(move || Ok(interrupt.check()?)));
            let endpoint = self.job.endpoint;
            session.log_in(&endpoint.inner, &endpoint.source(&self.job.credentials))?;
        }
        Ok(session)
    }

    fn connect(&self) -> Result<Session<C>, CommandError> {
        let mut attempts = 0;
        loop {
            self.job.interrupt.check()?;
            attempts += 1;
            match C::open(&self.job.endpoint.inner, self.job.connector).map_err(CommandError::from) {
                Err(failure)
                    if attempts < CONNECT_ATTEMPTS
                        && matches!(failure.exit_code, ExitCode::TryAgain | ExitCode::Unavailable) =>
                {
                    self.job.interrupt.sleep(Duration::from_millis(500) * attempts);
                }
                // The server was available before, so a retry may help.
                Err(failure) if self.losses > 0 && failure.exit_code == ExitCode::Unavailable => {
                    return Err(failure.with_exit_code(ExitCode::TryAgain));
                }
                outcome => return outcome,
            }
        }
    }

    /// Drops a lost session, and waits before the next one.
    ///
    /// # Errors
    /// Too many sessions were lost, or the user interrupted the command.
    fn session_lost(&mut self, failure: &CommandError) -> Result<(), CommandError> {
        self.session = None;
        self.losses += 1;
        self.losses_without_progress += 1;
        if self.losses > MAX_RUN_LOSSES || self.losses_without_progress > MAX_LOSSES_WITHOUT_PROGRESS {
            return Err(failure
                .clone()
                .with_exit_code(ExitCode::TryAgain)
                .append(" (repeatedly)")
                .advise("try again later"));
        }
        // The first losses cause no pause: a server that fails on one message is not overloaded.
        let pause = match self.losses_without_progress {
            0..=2 => 0,
            3..=4 => 200,
            more => 500 * u64::from(more - 4),
        };
        self.job.interrupt.sleep(Duration::from_millis(pause));
        self.job.interrupt.check()
    }

    fn sync_folder(
        &mut self,
        folder: &Folder,
        name: &str,
        report: &mut FolderReport,
    ) -> Result<(), FetchError> {
        let opened = self.examine(folder)?;
        let special_use = folder.special_use.as_deref().and_then(SpecialUse::from_attribute);
        let job = &self.job;
        let mailbox = match sync::find_or_create_mailbox(job.store, job.account, name, special_use) {
            Ok(mailbox) => mailbox,
            Err(error @ (mailstore::Error::Limit(_) | mailstore::Error::InvalidName(_))) => {
                return Err(FetchError::Request(error.into()));
            }
            Err(error) => return Err(error.into()),
        };
        let remote = job.store.remote_mailbox(job.remote, &folder.key(), mailbox, opened.uid_validity)?.id;
        let known = job.store.known_uids(remote)?;
        let remembered = job.store.unfetched(remote)?;
        let listed = self.list(folder, opened)?;
        let (listed_count, expunged) = (listed.uids.count as u64, listed.expunged);
        let uids = listed.uids.into_set();
        let missing = difference(&uids, &known);
        report.known = count(&uids) - count(&missing);
        let new = difference(&missing, &remembered);
        let failed_before = difference(&missing, &new);
        let bar = self.job.output.progress(count(&missing), &folder.name);
        let store = self.job.store;
        // The sink borrows the limits while the session borrows `self`.
        let mut limits = std::mem::replace(&mut self.limits, Limits::none());
        let mut sink = Sink::new(store, (remote, opened.uid_validity), report, bar, &mut limits);
        let fetched = self.fetch(folder, opened, (&new, &failed_before), &mut sink);
        let finished = sink.finish(&remembered).map_err(FetchError::Run);
        let (fatal, expunged) = (sink.fatal.take(), expunged + sink.expunged());
        self.limits = limits;
        // The server may have listed more messages than it counted, if it listed some twice.
        let unlisted = u64::from(opened.exists).saturating_sub(expunged + listed_count);
        let why = format!("{unlisted} messages did not come: the server counts them but does not list them");
        report.count_failed(unlisted, ExitCode::Unavailable, &why);
        if let Some(fatal) = fatal {
            return Err(FetchError::Run(fatal));
        }
        fetched.and(finished)
    }

    /// Opens the folder. Retries once after ID, which some servers require, and once after a lost connection.
    fn examine(&mut self, folder: &Folder) -> Result<Opened, FetchError> {
        let mut is_second = false;
        loop {
            let session = self.session().map_err(FetchError::Run)?;
            let error = match remote_folder::examine(session, folder) {
                Ok(opened) => return Ok(opened),
                Err(failure) => FetchError::from(failure),
            };
            match error {
                FetchError::Request(failure) if !self.job.endpoint.options.no_id => {
                    let identify = Identify::new(self.job.endpoint.inner.program());
                    let session = self.session().map_err(FetchError::Run)?;
                    let Some(mut identify) = identify.filter(|_| !session.is_identified()) else {
                        return Err(FetchError::Request(failure));
                    };
                    session.identify(&mut identify).map_err(CommandError::from)?;
                }
                FetchError::Session(failure) if failure.is_closed_connection() && !is_second => {
                    is_second = true;
                    self.session_lost(&failure).map_err(FetchError::Run)?;
                }
                error => return Err(error),
            }
        }
    }

    /// Lists the messages of the open folder: with one FETCH, then with SEARCH, then with FETCH in ranges of UIDs.
    fn list(&mut self, folder: &Folder, opened: Opened) -> Result<Listed, FetchError> {
        let mut listed = Listed::default();
        if opened.exists == 0 {
            return Ok(listed);
        }
        let max = self.limits.folder_messages;
        if u64::from(opened.exists) > max {
            return Err(FetchError::Request(
                CommandError::new(
                    ExitCode::Unavailable,
                    format!(
                        "the server counts {} messages, and the limit is {max} (--max-messages)",
                        opened.exists
                    ),
                )
                .remote(),
            ));
        }
        let session = self.session().map_err(FetchError::Run)?;
        match remote_folder::fetch_uids(session, None, (opened, max), &mut listed).map_err(FetchError::from) {
            Ok(()) => return Ok(listed),
            Err(FetchError::Request(_)) => {}
            Err(FetchError::Session(failure)) if failure.exit_code == ExitCode::TryAgain => {
                self.session_lost(&failure).map_err(FetchError::Run)?;
                self.reopen(folder, opened)?;
            }
            Err(error) => return Err(error),
        }
        let mut searched = Listed { expunged: listed.expunged, ..Listed::default() };
        let session = self.session().map_err(FetchError::Run)?;
        match remote_folder::search_uids(session, opened, max, &mut searched).map_err(FetchError::from) {
            Ok(()) if searched.is_complete(opened) => return Ok(searched),
            Ok(()) | Err(FetchError::Request(_)) => {}
            Err(FetchError::Session(failure)) if failure.exit_code == ExitCode::TryAgain => {
                self.session_lost(&failure).map_err(FetchError::Run)?;
                self.reopen(folder, opened)?;
            }
            Err(error) => return Err(error),
        }
        self.list_in_ranges(folder, opened, searched.expunged)
    }

    /// Lists the messages in ranges of UIDs, and splits a range that the server refuses or fails on. A UID that cannot be
    /// listed alone counts as listed: the fetch shows whether it exists.
    fn list_in_ranges(
        &mut self,
        folder: &Folder,
        opened: Opened,
        expunged: u64,
    ) -> Result<Listed, FetchError> {
        let max = self.limits.folder_messages;
        let mut listed = Listed { expunged, ..Listed::default() };
        let mut queue = RangeQueue::new(opened);
        while let Some(range) = queue.next() {
            let session = self.session().map_err(FetchError::Run)?;
            let bad_uid = match remote_folder::fetch_uids(session, Some(range), (opened, max), &mut listed)
                .map_err(FetchError::from)
            {
                Ok(()) => None,
                Err(FetchError::Request(_)) => queue.refused(range),
                Err(FetchError::Session(failure)) if failure.exit_code == ExitCode::TryAgain => {
                    let Some(bad_uid) = queue.lost(range) else { return Err(FetchError::Session(failure)) };
                    self.session_lost(&failure).map_err(FetchError::Run)?;
                    self.reopen(folder, opened)?;
                    bad_uid
                }
                Err(error) => return Err(error),
            };
            if let Some(uid) = bad_uid {
                listed.uids.add(uid);
            }
            self.losses_without_progress = 0;
        }
        Ok(listed)
    }

    /// Opens the folder in a new session, and checks that UIDVALIDITY has not changed.
    fn reopen(&mut self, folder: &Folder, opened: Opened) -> Result<(), FetchError> {
        let reopened = self.examine(folder)?;
        if reopened.uid_validity == opened.uid_validity {
            return Ok(());
        }
        Err(FetchError::Request(remote_folder::uid_validity_changed()))
    }

    /// Fetches the missing messages, in as many sessions as needed.
    fn fetch(
        &mut self,
        folder: &Folder,
        opened: Opened,
        (new, failed_before): (&UidSet, &UidSet),
        sink: &mut Sink<'_>,
    ) -> Result<(), FetchError> {
        // Only a few of the messages that failed before are requested again; the others stay remembered and are reported.
        let retried: UidSet = failed_before.ranges().iter().cloned().flatten().take(MAX_RETRIED).collect();
        sink.skipped(&difference(failed_before, &retried));
        let mut plan = Plan::new(new, &retried);
        let mut losses = 0;
        while !plan.is_done() {
            let session = self.session().map_err(FetchError::Run)?;
            let failure = match fetch_planned(session, &mut plan, sink) {
                Ok(()) => return Ok(()),
                Err(_) if sink.fatal.is_some() => return Ok(()),
                Err(failure) => match FetchError::from(failure) {
                    FetchError::Request(failure) | FetchError::Session(failure) => failure,
                    FetchError::Run(failure) => return Err(FetchError::Run(failure)),
                },
            };
            if std::mem::take(&mut sink.progress) > 0 {
                self.losses_without_progress = 0;
            }
            sink.commit().map_err(FetchError::Run)?;
            if sink.ends_folder {
                return Err(FetchError::Session(failure));
            }
            sink.lost(&failure, &mut plan);
            losses += 1;
            if losses > MAX_FOLDER_LOSSES {
                sink.abandoned(plan.abandon());
                return Err(FetchError::Session(failure));
            }
            self.session_lost(&failure).map_err(FetchError::Run)?;
            if !plan.is_done() {
                self.reopen(folder, opened)?;
            }
        }
        Ok(())
    }
}

/// Sends FETCH commands for the plan and handles their responses, until the plan is done or the session fails.
fn fetch_planned<C: ImapChannel>(
    session: &mut Session<C>,
    plan: &mut Plan,
    sink: &mut Sink<'_>,
) -> Result<(), CommandError> {
    let done = session.drive(|turn, client, tx, useful| {
        match turn {
            ConnectionEvent::Machine(Event::Completed { id, status }) => {
                sink.completed(id, &status, plan);
                *useful = Instant::now();
            }
            ConnectionEvent::Machine(event) => {
                if sink.event(event)? {
                    *useful = Instant::now();
                }
            }
            ConnectionEvent::Writable => {}
        }
        while sink.open.len() < plan.max_open() {
            let Some(batch) = plan.next() else { break };
            let text = sequence_set(&batch);
            let set = SequenceSet::from_text(&text).map_err(|_| {
                mailclient::Error::new(ErrorKind::Protocol, "the server's UIDs are not a valid set")
            })?;
            let attributes = [
                FetchAttribute::Uid,
                FetchAttribute::Flags,
                FetchAttribute::InternalDate,
                FetchAttribute::peek(Section::FULL),
            ];
            let fetch = FetchCommand::new(set, LazyList::new(&attributes));
            sink.requested(client.send(&Command::UidFetch(fetch), tx)?, batch);
        }
        Ok(sink.open.is_empty().then_some(()))
    });
    Ok(done?)
}
