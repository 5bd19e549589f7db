//! Health and metrics over HTTP, if `--http` asks for them.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use mailserver::HostName;
use mailstore::Store;
use mailwire_http::{HttpServer, HttpServerHandle, Limits, Listening, Readiness, Sources};

use super::arguments::ServeArgs;
use super::certificate::Identity;
use super::ports::not_bound_because;
use crate::command_error::{CommandError, ExitCode};

/// An account that does not exist: looking for it shows that the store answers.
const NO_ACCOUNT: &str = "";

/// Binds the port of `--http`, if there is one.
///
/// # Errors
/// The port is not available.
pub(super) fn bind(arguments: &ServeArgs) -> Result<Option<TcpListener>, CommandError> {
    let Some(address) = arguments.http.0 else { return Ok(None) };
    TcpListener::bind(address)
        .map(Some)
        .map_err(|error| not_bound_because("http", address, error.kind(), &error))
}

/// The HTTP server.
pub(super) struct Http {
    pub(super) server: HttpServer,
    certificate_end: Arc<AtomicI64>,
    is_secure: bool,
}

/// Renews what the HTTP server knows of the certificate.
pub(super) struct HttpCertificate {
    handle: HttpServerHandle,
    end: Arc<AtomicI64>,
}

impl Http {
    /// Starts to answer.
    ///
    /// # Errors
    /// The operating system provides no thread.
    pub(super) fn start(
        listener: TcpListener,
        identity: &Identity,
        names: &[HostName],
        mail: &mailserver::Server,
        store: Arc<dyn Store>,
    ) -> Result<Self, CommandError> {
        let failed = |error: std::io::Error| {
            CommandError::new(ExitCode::Unavailable, format!("cannot serve HTTP: {error}"))
        };
        let is_secure = !listener.local_addr().map_err(failed)?.ip().is_loopback();
        let certificate_end = Arc::new(AtomicI64::new(identity.expiry()));
        let end = Arc::clone(&certificate_end);
        let listeners: Vec<_> = mail
            .addresses()
            .iter()
            .map(|(service, address)| Listening::new(service.name(), *address))
            .collect();
        let readiness = move || Readiness {
            store: store
                .account(NO_ACCOUNT)
                .inspect_err(|error| tracing::error!(%error, "the store does not answer"))
                .is_ok(),
            listeners: listeners.clone(),
            certificate_days_left: Some(super::certificate::days_until(end.load(Ordering::Relaxed))),
        };
        let figures = mail.handle();
        let sources = names
            .iter()
            .filter_map(HostName::host)
            .fold(Sources::new(move || figures.metrics(), readiness), |sources, name| sources.host(name));
        let tls = is_secure.then(|| identity.tls.clone());
        let server = HttpServer::start(listener, tls, Limits::default(), sources).map_err(failed)?;
        Ok(Self { server, certificate_end, is_secure })
    }

    /// Returns the scheme of its URLs.
    pub(super) const fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    pub(super) fn certificate(&self) -> HttpCertificate {
        HttpCertificate { handle: self.server.handle(), end: Arc::clone(&self.certificate_end) }
    }
}

impl HttpCertificate {
    /// Uses another certificate for new connections.
    pub(super) fn replace(&self, identity: &Identity) {
        self.end.store(identity.expiry(), Ordering::Relaxed);
        self.handle.set_tls(&identity.tls);
    }
}
