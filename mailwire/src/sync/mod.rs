//! `sync`: fetches every message of an account once into a local store.
//!
//! Each batch of messages is committed together with where they came from, so that a run that is cut short goes on
//! behind the last batch. Bodies go straight to the store: a message may be larger than memory.
//!
//! What a server refuses, breaks on or never sends costs itself only: see [`plan`] for how it is found. A message that
//! could not be fetched is remembered in the store, and the next run tries it alone, behind all others.

mod engine;
mod limits;
mod lock;
mod opened;
mod plan;
mod report;
mod sink;

use io_mio::StageReport;
use mailstore::{SqliteStore, Store};
use proto_imap::client::Client;

pub(crate) use limits::{FOLDER_MESSAGES, KEEP_FREE, MESSAGE_BYTES};
pub(crate) use lock::not_served;

use crate::cli::SyncArgs;
use crate::connect::Way;
use crate::failure::{Failure, Kind, store_failure};
use crate::folders::{imap_only, no_user};
use crate::imap::{Authenticate, Reach, Session, Task, with_session};
use crate::interrupt::Interrupt;
use crate::local;
use crate::output::Output;
use engine::{Engine, Place};
use limits::Limits;
use report::{FolderReport, SyncReport};

/// Runs the command.
pub(crate) fn run(arguments: &SyncArgs) -> Result<(), Failure> {
    imap_only(&arguments.url)?;
    let output = Output::from(arguments.output);
    let way = Way::new(&arguments.url, &arguments.connection)?;
    not_served(&arguments.into)?;
    let credentials = way.credentials()?.ok_or_else(no_user)?;
    let interrupt = Interrupt::install()?;
    let store = SqliteStore::open(&arguments.into).map_err(|error| store_failure(&arguments.into, &error))?;
    let account = local::account(&store, &way.url)?;
    let _lock = lock::account(&arguments.into, account, &interrupt, output)?;
    let remote = store.remote_account(account, &local::key(&way.url))?.id;
    let connector = way.connector(|_: &StageReport| {});
    let place = Place {
        way: &way,
        connector: &connector,
        credentials,
        store: &store,
        account,
        remote,
        only: &arguments.folder,
        output,
        interrupt,
    };
    let limits = Limits::of(arguments);
    let (folders, stopped) = with_session(&way, &connector, Sync { place, limits })
        .unwrap_or_else(|failure| (Vec::new(), Some(failure)));
    let stopped = stopped.map(|failure| failure.at(&way.url));
    let now = jiff::Timestamp::now();
    let report = SyncReport::new(&way, now, folders, stopped.as_ref());
    let kept = report.kept_error(stopped.as_ref());
    store.record_sync(remote, now.as_second(), report.status(), kept.as_deref())?;
    if report.has_folders() || stopped.is_none() {
        report.show(output);
    }
    match stopped.or_else(|| report.failure()) {
        None => Ok(()),
        Some(failure) if matches!(failure.kind, Kind::Interrupted | Kind::Terminated) => {
            let done = format!(": {} new messages are stored", report.imported);
            Err(failure.adding(&done).advise("run the same command again: it goes on where it stopped"))
        }
        Some(failure) => Err(failure),
    }
}

/// What is done with the first session.
struct Sync<'a> {
    place: Place<'a>,
    limits: Limits,
}

impl Task for Sync<'_> {
    type Output = (Vec<FolderReport>, Option<Failure>);
    type Error = Failure;

    fn run<C: Reach>(self, session: Session<C>) -> Result<Self::Output, Failure>
    where
        Client<C>: Authenticate,
    {
        // From here on a signal stops cleanly: what has come is stored.
        let _graceful = self.place.interrupt.graceful();
        Ok(Engine::new(self.place, self.limits, session).run())
    }
}
