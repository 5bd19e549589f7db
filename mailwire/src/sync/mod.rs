//! `sync`: fetches every message of an account once into a local store.
//!
//! Each batch of messages is committed together with their remote UIDs, so that an interrupted run continues after the
//! last batch. Bodies are streamed to the store: a message may be larger than memory.
//!
//! A message that the server refuses, fails on or never sends does not stop the others; [`plan`] isolates it. The store
//! remembers it, and the next run requests it alone, after all others.

mod arguments;
mod engine;
mod limits;
mod lock;
mod plan;
mod remote_folder;
mod report;
mod sink;

use io_mio::StageReport;
use mailclient::imap::{ImapChannel, Session, SessionTask};
use mailclient::sync::{local_account, remote_account_key};
use mailstore::{SqliteStore, SyncStore};

pub(crate) use arguments::SyncArgs;

use crate::command_error::{CommandError, ExitCode, store_error};
use crate::endpoint::Endpoint;
use crate::imap_url::{missing_user, require_imap};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::store_directory;
use engine::{Engine, Job};
use limits::Limits;
use report::{FolderReport, SyncReport};

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
    let job = Job {
        endpoint: &endpoint,
        connector: &connector,
        credentials,
        store: &store,
        account,
        remote,
        only: &arguments.folder,
        output,
        interrupt: interrupt.clone(),
    };
    let limits = Limits::new(arguments);
    let (folders, stopped) = endpoint
        .with_imap_session(&connector, Sync { job, limits })
        .unwrap_or_else(|failure| (Vec::new(), Some(failure)));
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

/// The run, which begins with the first session.
struct Sync<'a> {
    job: Job<'a>,
    limits: Limits,
}

impl SessionTask for Sync<'_> {
    type Output = (Vec<FolderReport>, Option<CommandError>);
    type Error = CommandError;

    fn run<C: ImapChannel>(self, session: Session<C>) -> Result<Self::Output, CommandError> {
        // From here on, a signal stops the run cleanly: the messages received are stored.
        let _graceful = self.job.interrupt.graceful();
        Ok(Engine::new(self.job, self.limits, session).run())
    }
}
