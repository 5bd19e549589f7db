//! `sync`: fetches every message of an account once into a local store, with the engine of [`mailclient::sync`].

mod arguments;
mod lock;
mod progress;
mod report;

use std::path::Path;
use std::sync::Arc;

use io_mio::StageReport;
use mailclient::blocking::StopCheck;
use mailclient::sync::{self, SyncEnd, SyncJob, SyncLimits, local_account, remote_account_key};
use mailstore::{SqliteStore, SyncStore};

pub(crate) use arguments::SyncArgs;

use crate::command_error::{CommandError, ExitCode, store_error};
use crate::endpoint::Endpoint;
use crate::imap_url::{missing_user, require_imap};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::store_directory;
use progress::Progress;
use report::SyncReport;

/// Runs the command.
pub(crate) fn run(arguments: &SyncArgs) -> Result<(), CommandError> {
    require_imap(&arguments.url)?;
    let output = Output::from(arguments.output);
    let endpoint = Endpoint::new(&arguments.url, &arguments.connection)?;
    store_directory::check_not_served(&arguments.into)?;
    let credentials = endpoint.credentials()?.ok_or_else(missing_user)?;
    let interrupt = Interrupt::install()?;
    let store = SqliteStore::open(&arguments.into).map_err(|error| store_error(&arguments.into, &error))?;
    let account = local_account(&store, &endpoint.url)?;
    let _lock = lock::lock_account(&arguments.into, account, &interrupt, output)?;
    let remote = store.remote_account(account, &remote_account_key(&endpoint.url))?.id;
    let connector = endpoint.connector(|_: &StageReport| {});
    let mut job = SyncJob::new(account, remote);
    job.folders.clone_from(&arguments.folder);
    job.limits = limits(arguments);
    let (checked, source) = (interrupt.clone(), endpoint.source(&credentials));
    let stop = StopCheck::new(move || Ok(checked.check()?));
    let mut progress = Progress::new(output, &interrupt);
    let stopped: Option<CommandError> = match endpoint.is_cleartext() {
        Err(failure) => Some(failure),
        Ok(_) => {
            let mut record = |event| progress.record(event);
            match sync::run(&endpoint.inner, &connector, &source, &store, job, &stop, &mut record) {
                SyncEnd::Stopped(error) => Some(error.into()),
                // The report says what is missing.
                _ => None,
            }
        }
    };
    let folders = progress.into_reports();
    // The signal decides the exit code.
    let stopped = stopped.map(|failure| match failure.exit_code {
        ExitCode::Interrupted => interrupt.check().err().unwrap_or(failure),
        _ => failure,
    });
    let stopped = stopped.map(|failure| failure.at(&endpoint.url));
    let now = jiff::Timestamp::now();
    let report = SyncReport::new(&endpoint, now, folders, stopped.as_ref());
    let error = report.storable_error(stopped.as_ref());
    store.record_sync(remote, now.as_second(), report.status(), error.as_deref())?;
    if report.has_folders() || stopped.is_none() {
        report.show(output);
    }
    match stopped.or_else(|| report.failure()) {
        None => Ok(()),
        Some(failure) if matches!(failure.exit_code, ExitCode::Interrupted | ExitCode::Terminated) => {
            let done = format!(": {} new messages are stored", report.imported);
            Err(failure.append(&done).advise("run the same command again: it continues where it stopped"))
        }
        Some(failure) => Err(failure),
    }
}

/// Returns the limits that the command line sets.
fn limits(arguments: &SyncArgs) -> SyncLimits {
    let directory = arguments.into.clone();
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
