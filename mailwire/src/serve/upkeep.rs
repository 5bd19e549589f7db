//! What a server does while it runs, beside serving: it renews its own certificate, warns of one that ends, and reloads
//! settings and certificates at SIGHUP.
//!
//! New settings and certificates are for the sessions that begin from then on. What cannot be read or used is logged, and
//! what was there before stays.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use io_mio::ReactorHandle;

use super::Site;
use super::arguments::ServeArgs;
use super::cert::{Identity, Source};
use super::listen::Replace;
use super::settings::Settings;
use crate::failure::{Failure, Kind};

/// How often the validity of the certificate is checked. It costs next to nothing, and a clock may be set at any time.
const CHECK: Duration = Duration::from_secs(60);

/// How often the log warns of a certificate that ends.
const WARN: Duration = Duration::from_secs(24 * 3600);

/// Everything that changes while a server runs.
pub(super) struct Upkeep {
    pub(super) arguments: ServeArgs,
    pub(super) source: Source,
    pub(super) identity: Identity,
    pub(super) settings: Settings,
    pub(super) site: Arc<Site>,
    pub(super) replace: Vec<Replace>,
    pub(super) server: ReactorHandle,
    pub(super) warned: Option<Instant>,
}

impl Upkeep {
    /// Works on a thread of its own, until nothing can be put into the receiver any more. Each item in it asks for a
    /// reload.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn start(mut self, reloads: Receiver<()>) -> Result<(), Failure> {
        self.warn();
        let work = move || {
            loop {
                match reloads.recv_timeout(CHECK) {
                    Ok(()) => self.reload(),
                    Err(RecvTimeoutError::Timeout) => self.check(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let started = std::thread::Builder::new().name("upkeep".to_owned()).spawn(work);
        started.map(|_| ()).map_err(|error| {
            Failure::new(Kind::Unavailable, format!("a thread could not be started: {error}"))
        })
    }

    fn warn(&mut self) {
        if self.warned.is_some_and(|at| at.elapsed() < WARN) {
            return;
        }
        if let Some(warning) = self.source.warning(&self.identity) {
            tracing::warn!("{warning}");
            self.warned = Some(Instant::now());
        }
    }

    fn check(&mut self) {
        if self.source.is_due(&self.identity) {
            self.load_certificate();
            self.apply();
        }
        self.warn();
    }

    fn reload(&mut self) {
        match Settings::read(&self.arguments) {
            Ok(settings) => self.settings = settings,
            Err(failure) => tracing::error!("the settings stay as they were: {}", one_line(&failure)),
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
            Err(failure) => tracing::error!("the certificate stays as it was: {}", one_line(&failure)),
        }
    }

    fn apply(&self) {
        for replace in &self.replace {
            replace(&self.settings, &self.identity.tls);
        }
        self.site.apply(&self.settings);
        self.server.set_limits(self.settings.reactor.clone());
    }
}

fn one_line(failure: &Failure) -> String {
    match &failure.advice {
        Some(advice) => format!("{}; try: {advice}", failure.what),
        None => failure.what.clone(),
    }
}
