//! `mailwire serve`: a submission and IMAP server on a local store.
//!
//! This module starts the server: data directory, store, certificate, accounts, ports, signals. The server itself is the
//! library `mailserver`.

mod accounts;
mod arguments;
mod certificate;
mod certificate_files;
mod data_directory;
mod file_descriptors;
mod http;
mod maintenance;
mod ports;
mod settings;
mod signals;
mod startup_report;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use mailserver::Encryption;
use mailstore::Store;

use crate::command_error::{CommandError, ExitCode};
use crate::line_writer::LineWriter;
use crate::output::Output;
use crate::trace::Tracing;

use arguments::LogForm;
pub(crate) use arguments::ServeArgs;

use accounts::GeneratedAccount;
use certificate::{CertificateSource, Identity};
use data_directory::{DataDirectory, memory_store, open_store};
use http::Http;
use maintenance::Maintenance;
use ports::BoundPorts;
use signals::Signals;
use startup_report::StartupReport;

/// How long the last lines of the log may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Runs the server until SIGTERM or SIGINT stops it.
pub(crate) fn run(arguments: &ServeArgs, output: Output) -> Result<(), CommandError> {
    if let Some(change) = accounts::AccountChange::from_arguments(arguments) {
        return change.apply(arguments, output);
    }
    let log = start_log(arguments.output, arguments.log_form)?;
    let (signals, reloads) = Signals::listen(&log)?;
    let mut server = Server::start(arguments, &log)?;
    signals.serving(server.mail.handle());
    if let Some(maintenance) = server.maintenance.take() {
        maintenance.start(reloads)?;
    }
    server.announce(output);
    let Server { mail, http, _directory, .. } = server;
    mail.wait()?;
    drop(http);
    signals.finished();
    drop(_directory);
    log.wait_until_written(LAST_LINES);
    Ok(())
}

/// A server that is listening.
struct Server {
    mail: mailserver::Server,
    http: Option<Http>,
    identity: Identity,
    generated_account: Option<GeneratedAccount>,
    warnings: Vec<String>,
    /// The background tasks, until they are started.
    maintenance: Option<Maintenance>,
    /// The account name in the examples.
    user: String,
    /// Keeps the data directory locked while the server runs.
    _directory: DataDirectory,
}

impl Server {
    /// Binds all ports first, so that a server that cannot listen creates no files.
    fn start(arguments: &ServeArgs, log: &LineWriter) -> Result<Self, CommandError> {
        let settings = settings::read(arguments)?;
        let ports = BoundPorts::bind(arguments)?;
        let http = http::bind(arguments)?;
        let path = DataDirectory::locate(arguments.dir.as_deref())?;
        let given = match (&arguments.cert, &arguments.key) {
            (Some(chain), Some(key)) => {
                let source = CertificateSource::Configured { chain: chain.clone(), key: key.clone() };
                let identity = source.load()?;
                Some((source, identity))
            }
            _ => None,
        };
        let password = accounts::ask_password_of_new_account(&path, arguments)?;
        let directory = DataDirectory::open(arguments.dir.as_deref())?;
        let (source, identity) = match given {
            Some(given) => given,
            None => {
                let source = CertificateSource::Generated {
                    directory: directory.tls(),
                    names: arguments.name.clone(),
                };
                let identity = source.load()?;
                (source, identity)
            }
        };
        let store: Arc<dyn Store> = match arguments.in_memory {
            true => Arc::new(memory_store()?),
            false => Arc::new(open_store(directory.path())?),
        };
        // The directory is locked, and no session is copying yet.
        let undone = store.undo_unfinished_copies()?;
        if undone > 0 {
            tracing::warn!(messages = undone, "removed the copies of an interrupted COPY");
        }
        let generated_account = accounts::create_initial_accounts(&*store, arguments, password)?;
        let account = match arguments.user.first() {
            Some(user) => store.account(user)?,
            None => store.accounts()?.into_iter().min_by_key(|account| account.id),
        };
        let encryption =
            if arguments.danger_cleartext { Encryption::DangerCleartext } else { Encryption::Tls };
        let mut builder = mailserver::Server::builder(Arc::clone(&store), encryption(identity.tls.clone()))
            .settings(settings.clone())
            .options(arguments.server_options(account.as_ref()));
        for network in &arguments.proxy_from {
            builder = builder.proxies(network);
        }
        if let Some(trace) = Tracing::for_server(&arguments.trace, log)? {
            builder = builder.trace(move || trace.begin());
        }
        let warnings = warnings(arguments);
        let mail = ports.listen(builder).start()?;
        let http = http
            .map(|listener| Http::start(listener, &identity, &arguments.name, &mail, store))
            .transpose()?;
        let maintenance = Maintenance {
            arguments: arguments.clone(),
            source,
            identity: identity.clone(),
            settings,
            server: mail.handle(),
            warned: None,
            http: http.as_ref().map(Http::certificate),
        };
        Ok(Self {
            mail,
            http,
            identity,
            generated_account,
            warnings,
            maintenance: Some(maintenance),
            user: account.map(|account| account.name).unwrap_or_default(),
            _directory: directory,
        })
    }

    fn announce(&mut self, output: Output) {
        let report = StartupReport {
            listening: self.mail.addresses(),
            http: self.http.as_ref().map(|http| (http.scheme(), http.server.address())),
            authority: self.identity.authority.as_deref(),
            generated_account: self.generated_account.as_ref(),
            warnings: &self.warnings,
            user: &self.user,
        };
        report.print(output);
        // The password is shown once and then discarded.
        self.generated_account = None;
    }
}

/// Logs and returns warnings about options that weaken the server's protection.
fn warnings(arguments: &ServeArgs) -> Vec<String> {
    let said = [
        (
            arguments.danger_cleartext,
            "--danger-cleartext: without TLS, everything can be read and modified in transit",
        ),
        (arguments.danger_cleartext, "--danger-cleartext: SMTP accepts mail without a login"),
        (arguments.any_login, "--any-login: every name and password is accepted, for one account"),
        (arguments.catch_all, "--catch-all: every message is delivered to one account, for any recipient"),
    ];
    let said: Vec<_> =
        said.into_iter().filter(|(given, _)| *given).map(|(_, text)| text.to_owned()).collect();
    said.iter().for_each(|text| tracing::warn!("{text}"));
    said
}

/// Starts the log on standard error. It contains session numbers, counts and errors, but no names and no content, and
/// addresses of clients only if asked for. If the log cannot be written, its lines are lost and the server continues.
fn start_log(output: crate::options::OutputOptions, form: LogForm) -> Result<LineWriter, CommandError> {
    let log = LineWriter::standard_error().map_err(|error| {
        CommandError::new(ExitCode::Unavailable, format!("cannot start a thread for the log: {error}"))
    })?;
    let level = if output.quiet { tracing::Level::WARN } else { tracing::Level::INFO };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(log.clone())
        .log_internal_errors(false)
        .with_ansi(false);
    // Fails for a second server in the same process, which then uses the same log.
    let _ = match form {
        LogForm::Text => subscriber.try_init(),
        LogForm::Json => subscriber.json().flatten_event(true).try_init(),
    };
    // The default hook writes to standard error directly, and would block if that is not read.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked")));
    Ok(log)
}
