//! `mailwire serve`: submission and IMAP over a local store.
//!
//! This file puts the pieces together: directory, store, certificate, accounts, listeners, signals. What a session
//! does is said in [`smtp`] and [`imap`]; neither blocks the loop: whatever touches the store runs on a worker.

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
use hub::Hub;
use listen::Ports;
use login_queue::LoginQueue;
use names::HostName;
use settings::Settings;
use signals::Signals;
use upkeep::Upkeep;

/// Threads for the store.
const STORE_THREADS: usize = 4;

/// More jobs than sessions can have at a time: each has two at most.
const STORE_QUEUE: usize = 8192;

/// How long the last lines of the log have to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What all sessions share.
pub(super) struct Site {
    store: Arc<dyn Store>,
    workers: Workers,
    logins: LoginQueue,
    guesses: Guesses,
    /// The account of `--any-login`, which every log-in leads to.
    any_login: Option<AccountId>,
    committer: Committer,
    hub: Arc<Hub>,
    accounts: Accounts,
    /// What the server calls itself.
    name: String,
    limits: RwLock<Arc<Limits>>,
    /// Whether a quota is set that a recipient is refused for, before its message comes.
    checks_quota: AtomicBool,
    /// Whether messages get Return-Path and Received.
    trace_fields: bool,
    faults: Faults,
    sessions: AtomicU64,
    _subscription: ChangeSubscription,
}

impl Site {
    /// `account` is the one that `--catch-all` and `--any-login` mean.
    fn new(
        store: Arc<dyn Store>,
        settings: &Settings,
        arguments: &ServeArgs,
        account: Option<&Account>,
    ) -> Result<Self, Failure> {
        let hub = Arc::new(Hub::default());
        let told = Arc::clone(&hub);
        let subscription = store.subscribe_changes(Arc::new(move |change| told.changed(change)));
        let no_thread = |error: std::io::Error| {
            Failure::new(Kind::Unavailable, format!("a thread could not be started: {error}"))
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

    /// The limits of the sessions that begin now.
    fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses other settings from now on.
    fn apply(&self, settings: &Settings) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings.limits.clone());
        self.guesses.set_limits(settings.guesses.clone());
        self.store.set_quota(settings.quota);
        self.checks_quota.store(settings.quota != Quota::default(), Ordering::Relaxed);
    }

    /// A number for a new session: all that a log says of it.
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

/// Serves until it is told to stop by SIGTERM or SIGINT.
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

/// A server that listens.
struct Server {
    reactor: Reactor,
    listening: Vec<(Service, SocketAddr)>,
    identity: Identity,
    made_up: Option<MadeUp>,
    warnings: Vec<String>,
    /// What goes on beside serving, until that begins.
    upkeep: Option<Upkeep>,
    /// Whose name the examples bear.
    user: String,
    /// Kept as long as anything may touch what is in it.
    _directory: Directory,
}

impl Server {
    /// Binds every port first: what cannot listen creates nothing.
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
        // This process has the directory for itself, and no session copies anything yet.
        let undone = store.undo_unfinished_copies()?;
        if undone > 0 {
            tracing::warn!(messages = undone, "copies of a COPY that was cut short are removed");
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
        // Shown once, and not kept.
        self.made_up = None;
    }
}

/// Logs and returns the warnings about options that weaken the protection of the server.
fn warnings(arguments: &ServeArgs) -> Vec<String> {
    let said = [
        (
            arguments.danger_plaintext,
            "--danger-plaintext: without TLS, everything can be read and changed on the way",
        ),
        (arguments.danger_plaintext, "--danger-plaintext: SMTP takes mail from every program without log-in"),
        (arguments.any_login, "--any-login: every name and every password is let in, to one account"),
        (arguments.catch_all, "--catch-all: every message goes to one account, for any recipient"),
    ];
    let said: Vec<_> =
        said.into_iter().filter(|(given, _)| *given).map(|(_, text)| text.to_owned()).collect();
    said.iter().for_each(|text| tracing::warn!("{text}"));
    said
}

fn open_store(path: &Path) -> Result<SqliteStore, Failure> {
    Ok(SqliteStore::open(path)?.deriving_keys(Arc::new(login::keys)))
}

/// Logs go to standard error: numbers of sessions, counts and failures, never who or what. A log that cannot be written
/// is lost, and the server goes on.
fn start_log(output: crate::options::OutputOptions) -> Result<LineWriter, Failure> {
    let log = LineWriter::standard_error().map_err(|error| {
        Failure::new(Kind::Unavailable, format!("a thread for the log could not be started: {error}"))
    })?;
    let level = if output.quiet { tracing::Level::WARN } else { tracing::Level::INFO };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(log.clone())
        .log_internal_errors(false)
        .with_ansi(false);
    // A second server in one process finds it set already.
    let _ = subscriber.try_init();
    // The usual hook writes to standard error by itself, and would wait for its reader.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
    Ok(log)
}
