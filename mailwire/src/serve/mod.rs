//! `mailwire serve`: submission and IMAP over a local store.
//!
//! This file puts the pieces together: directory, store, certificate, accounts, listeners, signals. What a session
//! does is said in [`smtp`] and [`imap`]; neither blocks the loop: whatever touches the store runs on a worker.

mod accounts;
mod announce;
mod answers;
mod cert;
mod committer;
mod directory;
pub(crate) mod faults;
mod hub;
mod imap;
mod login;
mod settings;
mod signals;
mod smtp;
mod spool;
mod task;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use io_mio::{
    Handler, ImapServer, ListenerTls, Patience, Peer, Reactor, ServerProtocol, SmtpServer, TrustedProxies,
    WorkerLimits, Workers,
};
use mailstore::{ChangeSubscription, SqliteStore, Store};
use proto_core::Limits;
use proto_smtp::Dialect;

use crate::cli::ServeArgs;
use crate::failure::{Failure, Kind};
use crate::line_writer::LineWriter;
use crate::output::Output;
use crate::trace::Tracing;

use accounts::{Accounts, MadeUp};
use announce::{Announcement, Service};
use cert::Identity;
use committer::Committer;
use directory::Directory;
use faults::Faults;
use hub::Hub;
use settings::Settings;
use signals::Signals;

/// Threads for the store and for passwords (which cost much computing, so that they get threads of their own).
const STORE_THREADS: usize = 4;
const PASSWORD_THREADS: usize = 2;

/// More jobs than sessions can have at a time: each has two at most.
const STORE_QUEUE: usize = 8192;
const PASSWORD_QUEUE: usize = 256;

/// How long the last lines of the log have to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What all sessions share.
pub(super) struct Site {
    store: Arc<dyn Store>,
    workers: Workers,
    /// For passwords only.
    gatekeepers: Workers,
    committer: Committer,
    hub: Arc<Hub>,
    accounts: Accounts,
    /// What the server calls itself.
    name: String,
    limits: Limits,
    /// Whether messages get Return-Path and Received.
    trace_fields: bool,
    faults: Faults,
    sessions: AtomicU64,
    _subscription: ChangeSubscription,
}

impl Site {
    fn new(store: Arc<dyn Store>, limits: Limits, arguments: &ServeArgs) -> Result<Self, Failure> {
        let hub = Arc::new(Hub::default());
        let told = Arc::clone(&hub);
        let subscription = store.subscribe_changes(Arc::new(move |change| told.changed(change)));
        let committer = Committer::start(Arc::clone(&store)).map_err(|error| {
            Failure::new(Kind::Unavailable, format!("a thread could not be started: {error}"))
        })?;
        Ok(Self {
            accounts: Accounts::load(&*store)?,
            workers: Workers::new(workers(STORE_THREADS, STORE_THREADS - 1, STORE_QUEUE))?,
            gatekeepers: Workers::new(workers(PASSWORD_THREADS, PASSWORD_THREADS, PASSWORD_QUEUE))?,
            committer,
            hub,
            name: accounts::machine_name(),
            limits,
            trace_fields: arguments.trace_fields,
            faults: arguments.faults(),
            sessions: AtomicU64::new(1),
            store,
            _subscription: subscription,
        })
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
    let (signals, _hung_up) = Signals::wait(&log)?;
    let mut server = Server::start(arguments, &log)?;
    signals.serving(server.reactor.handle());
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
    /// Whose name the examples bear.
    user: String,
    /// Kept as long as anything may touch what is in it.
    _directory: Directory,
}

impl Server {
    fn start(arguments: &ServeArgs, log: &LineWriter) -> Result<Self, Failure> {
        let settings = Settings::read(arguments)?;
        let given = match (&arguments.cert, &arguments.key) {
            (Some(chain), Some(key)) => Some(cert::given(chain, key)?),
            _ => None,
        };
        let directory = Directory::open(arguments.dir.as_deref())?;
        let identity = match given {
            Some(identity) => identity,
            None => cert::self_made(&directory.tls())?,
        };
        let store: Arc<dyn Store> = Arc::new(open_store(directory.path())?);
        let made_up = accounts::prepare(&*store, arguments)?;
        let user = match (&arguments.user, store.accounts()?.into_iter().next()) {
            (Some(user), _) => user.clone(),
            (None, account) => account.map(|account| account.name).unwrap_or_default(),
        };
        let site = Arc::new(Site::new(store, settings.limits, arguments)?);
        let mut reactor = Reactor::new(settings.reactor)?;
        if let Some(trace) = Tracing::asked_of_server(&arguments.trace, log)? {
            reactor.trace(move || trace.begin());
        }
        let listening = listen(&mut reactor, &site, &identity, &settings.patience, arguments)?;
        Ok(Self { reactor, listening, identity, made_up, user, _directory: directory })
    }

    fn announce(&mut self, output: Output) {
        let announcement = Announcement {
            listening: &self.listening,
            authority: self.identity.authority.as_deref(),
            made_up: self.made_up.as_ref(),
            user: &self.user,
        };
        announcement.print(output);
        // Shown once, and not kept.
        self.made_up = None;
    }
}

fn open_store(path: &Path) -> Result<SqliteStore, Failure> {
    Ok(SqliteStore::open(path)?.deriving_keys(Arc::new(login::keys)))
}

/// Logs go to standard error: numbers of sessions, counts and failures, never who or what. A log that cannot be written
/// is lost, and the server goes on.
fn start_log(output: crate::cli::Output) -> Result<LineWriter, Failure> {
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

fn listen(
    reactor: &mut Reactor,
    site: &Arc<Site>,
    identity: &Identity,
    patience: &Patience,
    arguments: &ServeArgs,
) -> Result<Vec<(Service, SocketAddr)>, Failure> {
    let mut listening = Vec::new();
    let (mut proxies, none) = (TrustedProxies::default(), TrustedProxies::default());
    arguments.proxy_from.iter().for_each(|network| proxies.add(network));
    for service in Service::ALL {
        let wanted = match service {
            Service::Smtp => arguments.smtp,
            Service::Smtps => arguments.smtps,
            Service::Lmtp => arguments.lmtp,
            Service::Imap => arguments.imap,
            Service::Imaps => arguments.imaps,
        };
        let Some(address) = wanted.0 else { continue };
        if service == Service::Lmtp {
            lmtp_is_local(address)?;
        }
        let tls = match service {
            Service::Lmtp => ListenerTls::TrustedLocal,
            Service::Smtp | Service::Imap => ListenerTls::StartTls(identity.tls.clone()),
            Service::Smtps | Service::Imaps => ListenerTls::Implicit(identity.tls.clone()),
        };
        // LMTP comes from programs on this machine, and no proxy stands before those.
        let proxies = if service == Service::Lmtp { &none } else { &proxies };
        let site = Arc::clone(site);
        let bound = match service {
            Service::Smtp | Service::Smtps | Service::Lmtp => {
                let dialect = if service == Service::Lmtp { Dialect::Lmtp } else { Dialect::Smtp };
                let config = smtp::config(&site, dialect);
                let make = move |_: &Peer| smtp::Session::new(Arc::clone(&site), dialect);
                bind::<SmtpServer, _>(reactor, proxies, patience, address, tls, config, make)
            }
            Service::Imap | Service::Imaps => {
                let config = imap::config(&site);
                let make = move |_: &Peer| imap::Session::new(Arc::clone(&site));
                bind::<ImapServer, _>(reactor, proxies, patience, address, tls, config, make)
            }
        };
        listening.push((service, bound.map_err(|error| not_bound(service, address, &error))?));
    }
    if listening.is_empty() {
        return Err(Failure::new(Kind::Usage, "nothing to listen on: every service is off"));
    }
    Ok(listening)
}

/// Listens for everybody, or for proxies only.
fn bind<P: ServerProtocol, H: Handler<P>>(
    reactor: &mut Reactor,
    proxies: &TrustedProxies,
    patience: &Patience,
    address: SocketAddr,
    tls: ListenerTls,
    config: P::Config,
    make: impl Fn(&Peer) -> H + Send + Sync + 'static,
) -> Result<SocketAddr, io_mio::Error> {
    if proxies.is_empty() {
        return reactor.listen::<P, H>(address, tls, config, patience.clone(), make);
    }
    reactor.listen_behind::<P, H>(proxies.clone(), address, tls, config, patience.clone(), make)
}

/// LMTP has no TLS and asks nobody who they are: only programs on this machine may speak it, and not where SMTP is
/// expected (RFC 2033 §3).
fn lmtp_is_local(address: SocketAddr) -> Result<(), Failure> {
    let failure = |why: &str| Failure::new(Kind::Usage, format!("--lmtp {address}: {why}"));
    if !address.ip().is_loopback() {
        return Err(failure("LMTP is for programs on this machine").advise("--lmtp 127.0.0.1:1024"));
    }
    if address.port() == 25 {
        return Err(failure("port 25 is SMTP's").advise("--lmtp 127.0.0.1:1024"));
    }
    Ok(())
}

fn not_bound(service: Service, address: SocketAddr, error: &io_mio::Error) -> Failure {
    let name = service.name();
    let kind = match error {
        io_mio::Error::Io { source, .. } => source.kind(),
        _ => std::io::ErrorKind::Other,
    };
    let (why, advice) = match kind {
        std::io::ErrorKind::AddrInUse => (
            "another program has that port".to_owned(),
            format!("--{name} {}:0 for any free port, or --{name} off", address.ip()),
        ),
        std::io::ErrorKind::PermissionDenied => (
            "ports below 1024 need a privilege".to_owned(),
            format!("--{name} {}:{}", address.ip(), u32::from(address.port()) + 1000),
        ),
        std::io::ErrorKind::AddrNotAvailable => {
            ("this machine has no such address".to_owned(), format!("--{name} 127.0.0.1:{}", address.port()))
        }
        _ => (error.to_string(), format!("another address with --{name} ADDR")),
    };
    Failure::new(Kind::Unavailable, format!("{name} cannot listen on {address}: {why}")).advise(advice)
}
