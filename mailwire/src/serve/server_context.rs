//! The state that all sessions of a server share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use io_mio::{WorkerLimits, Workers};
use mailstore::{Account, AccountId, ChangeSubscription, CopyId, Quota, Store};
use proto_mail::Limits;

use super::accounts::{self, Accounts};
use super::arguments::ServeArgs;
use super::change_notifier::ChangeNotifier;
use super::committer::Committer;
use super::failed_logins::FailedLogins;
use super::faults::Faults;
use super::host_name::HostName;
use super::login_queue::LoginQueue;
use super::settings::Settings;
use crate::command_error::{CommandError, ExitCode};

/// The number of threads for the store.
const STORE_THREADS: usize = 4;

/// The maximum number of queued jobs: more than sessions can have, since each has at most two.
const STORE_QUEUE: usize = 8192;

/// The maximum number of copies that wait to be undone.
const MAX_COPIES_TO_UNDO: usize = 10_000;

/// State shared by all sessions.
pub(super) struct ServerContext {
    pub(super) store: Arc<dyn Store>,
    pub(super) workers: Workers,
    pub(super) logins: LoginQueue,
    pub(super) failed_logins: FailedLogins,
    /// The account of `--any-login`, into which every login leads.
    pub(super) any_login: Option<AccountId>,
    pub(super) committer: Committer,
    pub(super) notifier: Arc<ChangeNotifier>,
    pub(super) accounts: Accounts,
    /// The server's name in greetings and in Received.
    pub(super) name: String,
    pub(super) limits: RwLock<Arc<Limits>>,
    /// Whether a quota is set, so that a recipient may be rejected before the message.
    pub(super) checks_quota: AtomicBool,
    /// Whether Return-Path and Received are added to messages.
    pub(super) trace_fields: bool,
    pub(super) faults: Faults,
    pub(super) sessions: AtomicU64,
    /// Interrupted copies that no worker could undo.
    copies_to_undo: Mutex<Vec<CopyId>>,
    pub(super) _subscription: ChangeSubscription,
}

impl ServerContext {
    /// `account` is the account of `--catch-all` and `--any-login`.
    pub(super) fn new(
        store: Arc<dyn Store>,
        settings: &Settings,
        arguments: &ServeArgs,
        account: Option<&Account>,
    ) -> Result<Self, CommandError> {
        let notifier = Arc::new(ChangeNotifier::default());
        let told = Arc::clone(&notifier);
        let subscription = store.subscribe_changes(Arc::new(move |change| told.changed(change)));
        let no_thread = |error: std::io::Error| {
            CommandError::new(ExitCode::Unavailable, format!("cannot start a thread: {error}"))
        };
        let committer = Committer::start(Arc::clone(&store)).map_err(no_thread)?;
        let catch_all = match account.filter(|_| arguments.catch_all) {
            Some(account) => Some(store.mailbox(account.id, "INBOX")?.id),
            None => None,
        };
        let domains = arguments.name.iter().filter_map(HostName::domain).map(str::to_owned);
        let host = arguments.name.iter().find_map(HostName::host);
        Ok(Self {
            accounts: Accounts::load(&*store)?.with_domains(domains).catching_all(catch_all),
            workers: Workers::new(workers(STORE_THREADS, STORE_THREADS - 1, STORE_QUEUE))?,
            logins: LoginQueue::start().map_err(no_thread)?,
            failed_logins: FailedLogins::new(settings.failed_logins.clone()),
            any_login: account.filter(|_| arguments.any_login).map(|account| account.id),
            committer,
            notifier,
            name: host.map_or_else(accounts::machine_name, str::to_owned),
            limits: RwLock::new(Arc::new(settings.limits.clone())),
            checks_quota: AtomicBool::new(settings.quota != Quota::default()),
            trace_fields: arguments.trace_fields,
            faults: arguments.faults(),
            sessions: AtomicU64::new(1),
            copies_to_undo: Mutex::default(),
            store,
            _subscription: subscription,
        })
    }

    /// Returns the limits for new sessions.
    pub(super) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies new settings.
    pub(super) fn apply(&self, settings: &Settings) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings.limits.clone());
        self.failed_logins.set_limits(settings.failed_logins.clone());
        self.store.set_quota(settings.quota);
        self.checks_quota.store(settings.quota != Quota::default(), Ordering::Relaxed);
    }

    /// Records an interrupted copy, which [`undo_copies`](Self::undo_copies) undoes. If too many are waiting, the next
    /// start of the server undoes it.
    pub(super) fn undo_later(&self, copy: CopyId) {
        let mut copies = self.copies_to_undo.lock().unwrap_or_else(PoisonError::into_inner);
        if copies.len() < MAX_COPIES_TO_UNDO {
            copies.push(copy);
        }
    }

    /// Undoes the recorded copies. Keeps those that fail for the next call. Blocks.
    pub(super) fn undo_copies(&self) {
        let copies = std::mem::take(&mut *self.copies_to_undo.lock().unwrap_or_else(PoisonError::into_inner));
        for copy in copies {
            if let Err(error) = self.store.undo_copy(copy) {
                tracing::warn!(%error, "cannot remove the copies of an interrupted COPY yet");
                self.undo_later(copy);
            }
        }
    }

    /// Returns a number for a new session, which identifies it in the log.
    pub(super) fn number(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}

fn workers(threads: usize, threads_per_group: usize, queue: usize) -> WorkerLimits {
    let mut limits = WorkerLimits::default();
    limits.threads = threads;
    limits.threads_per_group = threads_per_group;
    limits.queue = queue;
    limits
}

impl std::fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerContext").field("notifier", &self.notifier).finish_non_exhaustive()
    }
}
