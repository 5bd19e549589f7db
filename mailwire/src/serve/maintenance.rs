//! Background tasks of a running server: it renews its generated certificate, warns about an expiring one, and reloads
//! settings and certificates on SIGHUP.
//!
//! New settings and certificates apply to new sessions. If they cannot be read or used, the error is logged and the
//! previous ones stay in use.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use mailserver::{ServerHandle, Settings};

use super::arguments::ServeArgs;
use super::certificate::{CertificateSource, Identity};
use super::http::HttpCertificate;
use super::settings;
use crate::command_error::{CommandError, ExitCode};

/// How often the tasks are checked. The check is cheap, and the clock may be set at any time.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// How often the log warns about an expiring certificate.
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// What the background tasks need.
pub(super) struct Maintenance {
    pub(super) arguments: ServeArgs,
    pub(super) source: CertificateSource,
    pub(super) identity: Identity,
    pub(super) settings: Settings,
    pub(super) server: ServerHandle,
    pub(super) warned: Option<Instant>,
    pub(super) http: Option<HttpCertificate>,
}

impl Maintenance {
    /// Starts the thread of the background tasks. Each item in `reloads` requests a reload; the thread ends when the
    /// sender is dropped.
    ///
    /// # Errors
    /// The operating system cannot start a thread.
    pub(super) fn start(mut self, reloads: Receiver<()>) -> Result<(), CommandError> {
        self.warn();
        let work = move || {
            loop {
                match reloads.recv_timeout(CHECK_INTERVAL) {
                    Ok(()) => self.reload(),
                    Err(RecvTimeoutError::Timeout) => self.check(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let started = std::thread::Builder::new().name("maintenance".to_owned()).spawn(work);
        started.map(|_| ()).map_err(|error| {
            CommandError::new(ExitCode::Unavailable, format!("cannot start a thread: {error}"))
        })
    }

    fn warn(&mut self) {
        if self.warned.is_some_and(|at| at.elapsed() < WARNING_INTERVAL) {
            return;
        }
        if let Some(warning) = self.source.warning(&self.identity) {
            tracing::warn!("{warning}");
            self.warned = Some(Instant::now());
        }
    }

    /// Does what is due.
    pub(super) fn check(&mut self) {
        if self.source.needs_reload(&self.identity) {
            self.load_certificate();
            self.apply();
        }
        self.warn();
    }

    fn reload(&mut self) {
        match settings::read(&self.arguments) {
            Ok(settings) => self.settings = settings,
            Err(failure) => tracing::error!("keeping the previous settings: {}", one_line(&failure)),
        }
        self.load_certificate();
        self.apply();
        self.warned = None;
        self.warn();
        tracing::info!(certificate = %self.identity.certificate.fingerprint, "reloaded");
    }

    fn load_certificate(&mut self) {
        match self.source.load() {
            Ok(identity) => self.identity = identity,
            Err(failure) => tracing::error!("keeping the previous certificate: {}", one_line(&failure)),
        }
    }

    fn apply(&self) {
        self.server.reload(&self.settings, &self.identity.tls);
        if let Some(http) = &self.http {
            http.replace(&self.identity);
        }
    }
}

fn one_line(failure: &CommandError) -> String {
    match &failure.advice {
        Some(advice) => format!("{}; try: {advice}", failure.what),
        None => failure.what.clone(),
    }
}
