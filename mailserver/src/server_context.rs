//! The state that all sessions of a server share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use io_common::{WorkerLimits, Workers};
use mailstore::{AccountChange, AccountChangeSubscription, AccountId, ChangeSubscription, Quota, Store};
use proto_mail::Limits;

use super::account_notifier::AccountNotifier;
use super::change_notifier::ChangeNotifier;
use super::committer::Committer;
use super::compressed_sessions::CompressedSessions;
use super::copies_to_undo::CopiesToUndo;
use super::dialect::Dialect;
use super::failed_logins::FailedLogins;
use super::faults::Faults;
use super::host_name::HostName;
use super::login_queue::LoginQueue;
use super::metrics::{Counters, Metrics};
use super::recipients::{self, Recipients};
use super::search_memory::SearchMemory;
use super::settings::{MessageCallback, Options, Settings, TokenCheck};
use super::text_indexer::TextIndexer;
use crate::error::Error;

/// The maximum number of queued jobs: more than sessions can have, since each has at most two.
const STORE_QUEUE: usize = 8192;

/// State shared by all sessions.
pub struct ServerContext {
    pub(super) store: Arc<dyn Store>,
    pub(super) workers: Workers,
    pub(super) logins: LoginQueue,
    pub(super) failed_logins: FailedLogins,
    /// The account of `--any-login`, into which every login leads.
    pub(super) any_login: Option<AccountId>,
    pub(super) token_check: Option<TokenCheck>,
    pub(super) committer: Committer,
    pub(super) notifier: Arc<ChangeNotifier>,
    pub(super) account_notifier: Arc<AccountNotifier>,
    pub(super) recipients: Recipients,
    pub(super) search_memory: Arc<SearchMemory>,
    pub(super) _indexer: Option<TextIndexer>,
    /// The server's name in greetings and in Received.
    pub(super) name: String,
    pub(super) limits: RwLock<Arc<Limits>>,
    /// Whether a quota is set, so that a recipient may be rejected before the message.
    pub(super) checks_quota: AtomicBool,
    /// Whether Return-Path and Received are added to messages.
    pub(super) trace_fields: bool,
    pub(super) faults: Faults,
    /// The server that IMAP sessions imitate.
    pub(super) dialect: Option<Dialect>,
    pub(super) on_message: Option<MessageCallback>,
    /// Whether the log has the addresses of clients.
    pub(super) logs_peers: bool,
    pub(super) sessions: AtomicU64,
    pub(super) counters: Counters,
    pub(super) compressed_sessions: Arc<CompressedSessions>,
    /// Interrupted copies that no worker could undo.
    pub(super) copies_to_undo: Arc<CopiesToUndo>,
    pub(super) _subscription: ChangeSubscription,
    pub(super) _account_subscription: AccountChangeSubscription,
}

impl ServerContext {
    /// Starts the threads of a server on this store.
    ///
    /// # Errors
    /// The store failed, or the operating system provides no thread.
    pub fn new(store: Arc<dyn Store>, settings: &Settings, options: Options) -> Result<Arc<Self>, Error> {
        store.set_quota(settings.quota);
        let notifier = Arc::new(ChangeNotifier::default());
        let told = Arc::clone(&notifier);
        let indexer =
            if options.search_index { TextIndexer::start(&store).map_err(Error::Thread)? } else { None };
        let watcher = indexer.as_ref().map(TextIndexer::watcher);
        let subscription = store.subscribe_changes(Arc::new(move |change| {
            told.changed(change);
            if let Some(watcher) = &watcher {
                watcher(change);
            }
        }));
        let account_notifier = Arc::new(AccountNotifier::default());
        let told = Arc::clone(&account_notifier);
        let account_subscription =
            store.subscribe_account_changes(Arc::new(move |account, change: &AccountChange| {
                told.changed(account, change)
            }));
        let copies_to_undo = Arc::new(CopiesToUndo::new(Arc::clone(&store)));
        let committer =
            Committer::start(Arc::clone(&store), Arc::clone(&copies_to_undo)).map_err(Error::Thread)?;
        let catch_all = match options.catch_all {
            Some(account) => Some(store.mailbox(account, "INBOX")?.id),
            None => None,
        };
        let domains = options.names.iter().filter_map(HostName::domain).map(str::to_owned);
        let host = options.names.iter().find_map(HostName::host);
        Ok(Arc::new(Self {
            recipients: Recipients::load(&*store)?.with_domains(domains).catching_all(catch_all),
            workers: Workers::new(workers(options.worker_threads.max(1)))?,
            logins: LoginQueue::start().map_err(Error::Thread)?,
            failed_logins: FailedLogins::new(settings.failed_logins.clone()),
            any_login: options.any_login,
            token_check: options.token_check,
            committer,
            notifier,
            search_memory: Arc::default(),
            account_notifier,
            _indexer: indexer,
            name: host.map_or_else(recipients::machine_name, str::to_owned),
            limits: RwLock::new(Arc::new(settings.limits.clone())),
            checks_quota: AtomicBool::new(settings.quota != Quota::default()),
            trace_fields: options.trace_fields,
            faults: options.faults,
            dialect: options.behave_like,
            on_message: options.on_message,
            logs_peers: options.log_peers,
            sessions: AtomicU64::new(1),
            counters: Counters::default(),
            compressed_sessions: Arc::new(CompressedSessions::new(settings.compressed_sessions)),
            copies_to_undo,
            store,
            _subscription: subscription,
            _account_subscription: account_subscription,
        }))
    }

    /// Returns the limits for new sessions.
    pub(super) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies new settings to the server, but not to its connection limits, which the driver has, nor to its listeners.
    pub fn apply(&self, settings: &Settings) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings.limits.clone());
        self.compressed_sessions.set_limit(settings.compressed_sessions);
        self.failed_logins.set_limits(settings.failed_logins.clone());
        self.store.set_quota(settings.quota);
        self.checks_quota.store(settings.quota != Quota::default(), Ordering::Relaxed);
    }

    /// Returns what the server has done since it started.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.counters.read(self.workers.statistics())
    }

    /// Returns a number for a new session, which identifies it in the log.
    pub(super) fn number(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}

fn workers(threads: usize) -> WorkerLimits {
    let mut limits = WorkerLimits::default();
    limits.threads = threads;
    limits.threads_per_group = (threads - 1).max(1);
    limits.queue = STORE_QUEUE;
    limits
}

impl std::fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerContext").field("notifier", &self.notifier).finish_non_exhaustive()
    }
}
