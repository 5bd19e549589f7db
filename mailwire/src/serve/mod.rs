//! `mailwire serve`: a submission and IMAP server on a local store.
//!
//! This module starts the server: data directory, store, certificate, accounts, listeners, signals. See [`smtp`] and
//! [`imap`] for the sessions. Neither blocks the event loop: every access to the store runs on a worker thread.

mod accounts;
mod announce;
mod answers;
mod arguments;
mod cert;
mod committer;
mod descriptors;
mod directory;
mod faults;
mod guesses;
mod hub;
mod imap;
mod listen;
mod login;
mod login_queue;
mod names;
mod pem;
mod settings;
mod signals;
mod smtp;
mod spool;
mod task;
#[cfg(test)]
mod tests;
mod upkeep;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use io_mio::{Reactor, WorkerLimits, Workers};
use mailstore::{Account, AccountId, ChangeSubscription, Quota, SqliteStore, Store};
use proto_mail::Limits;

use crate::failure::{Failure, Kind};
use crate::line_writer::LineWriter;
use crate::output::Output;
use crate::trace::Tracing;

pub(crate) use arguments::ServeArgs;

use accounts::{Accounts, MadeUp};
use announce::{Announcement, Service};
use cert::{Identity, Source};
use committer::Committer;
use directory::Directory;
use faults::Faults;
use guesses::Guesses;
use hub::ChangeNotifier;
use listen::Ports;
use login_queue::LoginQueue;
use names::HostName;
use settings::Settings;
use signals::Signals;
use upkeep::Upkeep;

/// The number of threads for the store.
const STORE_THREADS: usize = 4;

/// The maximum number of queued jobs: more than sessions can have, since each has at most two.
const STORE_QUEUE: usize = 8192;

/// How long the last lines of the log may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// State shared by all sessions.
pub(super) struct Site {
    store: Arc<dyn Store>,
    workers: Workers,
    logins: LoginQueue,
    guesses: Guesses,
    /// The account of `--any-login`, into which every log-in leads.
    any_login: Option<AccountId>,
    committer: Committer,
    hub: Arc<ChangeNotifier>,
    accounts: Accounts,
    /// The server's name in greetings and in Received.
    name: String,
    limits: RwLock<Arc<Limits>>,
    /// Whether a quota is set, so that a recipient may be rejected before the message.
    checks_quota: AtomicBool,
    /// Whether Return-Path and Received are added to messages.
    trace_fields: bool,
    faults: Faults,
    sessions: AtomicU64,
    _subscription: ChangeSubscription,
}

impl Site {
    /// `account` is the account of `--catch-all` and `--any-login`.
    fn new(
        store: Arc<dyn Store>,
        settings: &Settings,
        arguments: &ServeArgs,
        account: Option<&Account>,
    ) -> Result<Self, Failure> {
        let hub = Arc::new(ChangeNotifier::default());
        let told = Arc::clone(&hub);
        let subscription = store.subscribe_changes(Arc::new(move |change| told.changed(change)));
        let no_thread = |error: std::io::Error| {
            Failure::new(Kind::Unavailable, format!("cannot start a thread: {error}"))
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
            guesses: Guesses::new(settings.guesses.clone()),
            any_login: account.filter(|_| arguments.any_login).map(|account| account.id),
            committer,
            hub,
            name: host.map_or_else(accounts::machine_name, str::to_owned),
            limits: RwLock::new(Arc::new(settings.limits.clone())),
            checks_quota: AtomicBool::new(settings.quota != Quota::default()),
            trace_fields: arguments.trace_fields,
            faults: arguments.faults(),
            sessions: AtomicU64::new(1),
            store,
            _subscription: subscription,
        })
    }

    /// Returns the limits for new sessions.
    fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies new settings.
    fn apply(&self, settings: &Settings) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings.limits.clone());
        self.guesses.set_limits(settings.guesses.clone());
        self.store.set_quota(settings.quota);
        self.checks_quota.store(settings.quota != Quota::default(), Ordering::Relaxed);
    }

    /// Returns a number for a new session, which identifies it in the log.
    fn number(&self) -> u64 {
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

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("hub", &self.hub).finish_non_exhaustive()
    }
}

/// Runs the server until SIGTERM or SIGINT stops it.
pub(crate) fn run(arguments: &ServeArgs, output: Output) -> Result<(), Failure> {
    if let Some(change) = accounts::Change::asked(arguments) {
        return change.make(arguments, output);
    }
    let log = start_log(arguments.output)?;
    let (signals, reloads) = Signals::wait(&log)?;
    let mut server = Server::start(arguments, &log)?;
    signals.serving(server.reactor.handle());
    if let Some(upkeep) = server.upkeep.take() {
        upkeep.start(reloads)?;
    }
    server.announce(output);
    server.reactor.run()?;
    signals.finished();
    drop(server);
    log.flush(LAST_LINES);
    Ok(())
}

/// A server that is listening.
struct Server {
    reactor: Reactor,
    listening: Vec<(Service, SocketAddr)>,
    identity: Identity,
    made_up: Option<MadeUp>,
    warnings: Vec<String>,
    /// The background tasks, until they are started.
    upkeep: Option<Upkeep>,
    /// The account name in the examples.
    user: String,
    /// Keeps the data directory locked while the server runs.
    _directory: Directory,
}

impl Server {
    /// Binds all ports first, so that a server that cannot listen creates no files.
    fn start(arguments: &ServeArgs, log: &LineWriter) -> Result<Self, Failure> {
        let settings = Settings::read(arguments)?;
        let ports = Ports::bind(arguments)?;
        let path = Directory::locate(arguments.dir.as_deref())?;
        let given = match (&arguments.cert, &arguments.key) {
            (Some(chain), Some(key)) => {
                let source = Source::Given { chain: chain.clone(), key: key.clone() };
                let identity = source.load()?;
                Some((source, identity))
            }
            _ => None,
        };
        let password = accounts::password_of_first(&path, arguments)?;
        let directory = Directory::open(arguments.dir.as_deref())?;
        let (source, identity) = match given {
            Some(given) => given,
            None => {
                let source = Source::SelfMade { directory: directory.tls(), names: arguments.name.clone() };
                let identity = source.load()?;
                (source, identity)
            }
        };
        let store: Arc<dyn Store> = Arc::new(open_store(directory.path())?);
        store.set_quota(settings.quota);
        // The directory is locked, and no session is copying yet.
        let undone = store.undo_unfinished_copies()?;
        if undone > 0 {
            tracing::warn!(messages = undone, "removed the copies of an interrupted COPY");
        }
        let made_up = accounts::prepare(&*store, arguments, password)?;
        let account = match &arguments.user {
            Some(user) => store.account(user)?,
            None => store.accounts()?.into_iter().min_by_key(|account| account.id),
        };
        let site = Arc::new(Site::new(store, &settings, arguments, account.as_ref())?);
        let mut reactor = Reactor::new(settings.reactor.clone())?;
        if let Some(trace) = Tracing::for_server(&arguments.trace, log)? {
            reactor.trace(move || trace.begin());
        }
        let listening = ports.listen(&mut reactor, &site, &settings, &identity.tls, arguments)?;
        let (listening, replace) = (listening.addresses, listening.replace);
        let server = reactor.handle();
        let (warned, copy) = (None, identity.clone());
        let arguments = arguments.clone();
        let warnings = warnings(&arguments);
        let user = account.map(|account| account.name).unwrap_or_default();
        let upkeep = Upkeep { arguments, source, identity: copy, settings, site, replace, server, warned };
        let upkeep = Some(upkeep);
        Ok(Self { reactor, listening, identity, made_up, warnings, upkeep, user, _directory: directory })
    }

    fn announce(&mut self, output: Output) {
        let announcement = Announcement {
            listening: &self.listening,
            authority: self.identity.authority.as_deref(),
            made_up: self.made_up.as_ref(),
            warnings: &self.warnings,
            user: &self.user,
        };
        announcement.print(output);
        // The password is shown once and then discarded.
        self.made_up = None;
    }
}

/// Logs and returns warnings about options that weaken the server's protection.
fn warnings(arguments: &ServeArgs) -> Vec<String> {
    let said = [
        (
            arguments.danger_plaintext,
            "--danger-plaintext: without TLS, everything can be read and modified in transit",
        ),
        (arguments.danger_plaintext, "--danger-plaintext: SMTP accepts mail without a log-in"),
        (arguments.any_login, "--any-login: every name and password is accepted, for one account"),
        (arguments.catch_all, "--catch-all: every message is delivered to one account, for any recipient"),
    ];
    let said: Vec<_> =
        said.into_iter().filter(|(given, _)| *given).map(|(_, text)| text.to_owned()).collect();
    said.iter().for_each(|text| tracing::warn!("{text}"));
    said
}

fn open_store(path: &Path) -> Result<SqliteStore, Failure> {
    Ok(SqliteStore::open(path)?.with_key_maker(Arc::new(login::keys)))
}

/// Starts the log on standard error. It contains session numbers, counts and errors, but no names and no content. If
/// the log cannot be written, its lines are lost and the server continues.
fn start_log(output: crate::options::OutputOptions) -> Result<LineWriter, Failure> {
    let log = LineWriter::standard_error().map_err(|error| {
        Failure::new(Kind::Unavailable, format!("cannot start a thread for the log: {error}"))
    })?;
    let level = if output.quiet { tracing::Level::WARN } else { tracing::Level::INFO };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(log.clone())
        .log_internal_errors(false)
        .with_ansi(false);
    // Fails for a second server in the same process, which then uses the same log.
    let _ = subscriber.try_init();
    // The default hook writes to standard error directly, and would block if that is not read.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
    Ok(log)
}
