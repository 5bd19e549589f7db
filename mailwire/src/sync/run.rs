//! Syncs one account with the engine of [`mailclient::sync`], and records the result in the store.

use std::path::Path;
use std::sync::Arc;

use io_mio::StageReport;
use mailclient::blocking::StopCheck;
use mailclient::sync::{
    self, SyncEnd, SyncEvent, SyncJob, SyncLimits, local_account, local_account_name, remote_account_key,
};
use mailstore::{AccountId, Accounts, MemoryStore, RemoteAccountId, SqliteStore, SyncStore};

use super::arguments::SyncArgs;
use super::lock;
use super::progress::Progress;
use super::report::{DryRun, SyncReport};
use crate::command_error::{CommandError, ExitCode, store_error};
use crate::endpoint::Endpoint;
use crate::imap_url::missing_user;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::store_directory;

/// Receives the report of each run that changed something here, and its error text that may be stored.
pub(super) type OnReport<'r> = dyn FnMut(&SyncReport, Option<&str>) -> Result<(), CommandError> + 'r;

/// Syncs one account.
pub(super) fn sync_one(
    arguments: &SyncArgs,
    directory: &Path,
    endpoint: &Endpoint,
    on_report: &mut OnReport<'_>,
) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    store_directory::check_not_served(directory)?;
    let credentials = endpoint.credentials()?.ok_or_else(missing_user)?;
    let interrupt = Interrupt::install()?;
    let local = LocalAccount::open(arguments, directory, endpoint)?;
    let store = &*local.store;
    let _lock = match arguments.dry_run {
        // It changes nothing that another run could meet.
        true => None,
        false => Some(lock::lock_account(directory, local.account, &interrupt, output)?),
    };
    let connector = endpoint.connector(|_: &StageReport| {});
    let mut job = SyncJob::new(local.account, local.remote);
    job.folders.clone_from(&arguments.folder);
    job.limits = limits(arguments, directory);
    job.removal = arguments.delete.into();
    job.dry_run = arguments.dry_run;
    job.watch = arguments.watch;
    job.compress = arguments.compress;
    let (checked, source) = (interrupt.clone(), endpoint.source(&credentials));
    let stop = StopCheck::new(move || Ok(checked.check()?));
    let mut cycles = Cycles {
        progress: Progress::new(output, &interrupt),
        endpoint,
        on_report,
        local: &local,
        output,
        is_dry_run: arguments.dry_run,
        is_watching: false,
        count: 0,
        failure: None,
    };
    endpoint.is_cleartext()?;
    let mut record = |event| cycles.record(event);
    let stopped = match sync::run(&endpoint.inner, &connector, &source, store, job, &stop, &mut record) {
        SyncEnd::Stopped(error) => Some(CommandError::from(error)),
        // The report says what is missing.
        _ => None,
    };
    if let Some(failure) = cycles.failure.take() {
        return Err(failure);
    }
    // The signal decides the exit code.
    let stopped = stopped.map(|failure| match failure.exit_code {
        ExitCode::Interrupted => interrupt.check().err().unwrap_or(failure),
        _ => failure,
    });
    let stopped = stopped.map(|failure| failure.at(&endpoint.url));
    let is_signal =
        |failure: &CommandError| matches!(failure.exit_code, ExitCode::Interrupted | ExitCode::Terminated);
    if cycles.is_watching && stopped.as_ref().is_some_and(is_signal) {
        // Everything is stored, and nothing was going on.
        output.hint("stopped watching");
        return Ok(());
    }
    let report = cycles.report(stopped.as_ref())?;
    if report.has_folders() || stopped.is_none() {
        report.show(output);
    }
    match stopped.or_else(|| report.failure()) {
        None => Ok(()),
        Some(failure) if is_signal(&failure) => {
            let done = format!(": {} new messages are stored", report.imported);
            Err(failure.append(&done).advise("run the same command again: it continues where it stopped"))
        }
        Some(failure) => Err(failure),
    }
}

/// The runs of one command: one, or with `--watch` one after each change.
struct Cycles<'c> {
    progress: Progress,
    endpoint: &'c Endpoint,
    local: &'c LocalAccount,
    on_report: &'c mut OnReport<'c>,
    output: Output,
    is_dry_run: bool,
    /// Whether the last run is over, and the command waits for changes.
    is_watching: bool,
    /// How many runs are over.
    count: u64,
    /// Why the store could not record a run.
    failure: Option<CommandError>,
}

impl Cycles<'_> {
    fn record(&mut self, event: SyncEvent) {
        self.is_watching = event == SyncEvent::Watching;
        if !self.is_watching {
            return self.progress.record(event);
        }
        match self.report(None) {
            Ok(report) => {
                if self.count == 0 || report.has_changes() {
                    report.show(self.output);
                }
                self.count += 1;
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// Sums up a run, and records it in the store. `stopped` is what ended it early.
    fn report(&mut self, stopped: Option<&CommandError>) -> Result<SyncReport, CommandError> {
        let now = jiff::Timestamp::now();
        let reports = self.progress.take_reports();
        let report = SyncReport::new(self.endpoint, now, reports, DryRun(self.is_dry_run), stopped);
        let error = report.storable_error(stopped);
        if !self.is_dry_run {
            let (remote, at) = (self.local.remote, now.as_second());
            self.local.store.record_sync(remote, at, report.status(), error.as_deref())?;
            (self.on_report)(&report, error.as_deref())?;
        }
        Ok(report)
    }
}

/// The store, and the account in it.
struct LocalAccount {
    store: Box<dyn SyncStore>,
    account: AccountId,
    remote: RemoteAccountId,
}

impl LocalAccount {
    /// Opens the store and creates what is missing. A dry run creates nothing: if there is no store or no such account, it
    /// compares with an empty one in memory.
    fn open(arguments: &SyncArgs, directory: &Path, endpoint: &Endpoint) -> Result<Self, CommandError> {
        let key = remote_account_key(&endpoint.url);
        let store: Box<dyn SyncStore> = if arguments.dry_run && !is_known(directory, endpoint)? {
            Box::new(MemoryStore::new()?)
        } else {
            Box::new(SqliteStore::open(directory).map_err(|error| store_error(directory, &error))?)
        };
        let account = local_account(&*store, &endpoint.url)?;
        let remote = store.remote_account(account, &key)?.id;
        Ok(Self { store, account, remote })
    }
}

/// Returns whether the store in this directory has synced the account before.
fn is_known(directory: &Path, endpoint: &Endpoint) -> Result<bool, CommandError> {
    if !store_directory::has_store(directory) {
        return Ok(false);
    }
    let store = SqliteStore::open(directory).map_err(|error| store_error(directory, &error))?;
    let Some(account) = store.account(&local_account_name(&endpoint.url))? else { return Ok(false) };
    let key = remote_account_key(&endpoint.url);
    Ok(store.remote_accounts(account.id)?.iter().any(|remote| remote.url_key == key))
}

/// Returns the limits that the command line sets.
fn limits(arguments: &SyncArgs, directory: &Path) -> SyncLimits {
    let directory = directory.to_owned();
    let mut limits = SyncLimits::default();
    limits.message_bytes = arguments.max_message;
    limits.folder_messages = arguments.max_messages;
    limits.total_bytes = arguments.max_total;
    limits.keep_free = arguments.keep_free;
    limits.free_space = Some(Arc::new(move || free(&directory)));
    limits
}

/// Returns the free disk space for this user, in bytes.
fn free(directory: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(directory).ok()?;
    Some(status.f_bavail.saturating_mul(status.f_frsize))
}
