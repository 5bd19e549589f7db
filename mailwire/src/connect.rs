//! From options to a connector: whom to trust, how long to wait, what to trace, and how failures are told.

use std::time::Duration;

use io_mio::{Connector, Fingerprint, Kind as IoKind, Patience, Report, Security, Target, TlsClient};
use proto_core::{Credentials, Mechanism};

use crate::cli;
use crate::config;
use crate::credentials::Source;
use crate::failure::{Failure, Kind};
use crate::trace::Tracing;
use crate::url::{TlsMode, Url};

/// Everything that reaching one server needs.
pub(crate) struct Way {
    pub(crate) url: Url,
    pub(crate) options: cli::Connection,
    tls: TlsClient,
    trace: Option<Tracing>,
    /// The mechanisms that may be used, the best first.
    order: Vec<Mechanism>,
}

impl Way {
    /// Reads the configuration, the certificates and the pin; touches no network.
    pub(crate) fn new(url: &Url, given: &cli::Connection) -> Result<Self, Failure> {
        let options = config::complete(given.clone(), &url.host)?;
        let tls = trust(&options)?;
        let trace = Tracing::asked(&options.trace)?;
        let order = options.mechanism.as_deref().map_or_else(|| Ok(Mechanism::ALL.into()), order)?;
        Ok(Self { url: url.clone(), options, tls, trace, order })
    }

    /// A connector that reports each stage to `observer`.
    pub(crate) fn connector(&self, observer: impl Fn(&Report) + Send + Sync + 'static) -> Connector {
        let mut connector = Connector::new(self.tls.clone()).observer(observer);
        if let Some(seconds) = self.options.timeout {
            connector = connector.patience(Patience::of(Duration::from_secs(seconds)));
        }
        if let Some(trace) = &self.trace {
            let trace = trace.clone();
            connector = connector.trace(move || trace.begin());
        }
        connector
    }

    /// Where to, and how TLS begins.
    pub(crate) fn target(&self) -> Target {
        let security = match self.url.tls {
            TlsMode::Implicit => Security::ImplicitTls,
            TlsMode::StartTls => Security::StartTls,
        };
        Target::new(&self.url.host, self.url.port, security)
    }

    /// The user's credentials, if the URL names a user.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        let source = Source {
            password_command: self.options.password_command.as_deref(),
            token_command: self.options.token_command.as_deref(),
        };
        self.url.user.as_deref().map(|user| source.credentials(user)).transpose()
    }

    /// The mechanisms that may be used, the best first: what the user named, or all of them.
    pub(crate) fn order(&self) -> &[Mechanism] {
        &self.order
    }

    /// Whether to speak without TLS at all: only where the user wrote so, and only on a STARTTLS port.
    pub(crate) fn is_cleartext(&self) -> Result<bool, Failure> {
        if self.options.danger_cleartext && self.url.tls == TlsMode::Implicit {
            return Err(Failure::new(Kind::Usage, "--danger-cleartext makes no sense with implicit TLS")
                .advise("imap:// or smtp://"));
        }
        Ok(self.options.danger_cleartext)
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Reads `--mechanism`.
fn order(names: &str) -> Result<Vec<Mechanism>, Failure> {
    let known = |name: &str| {
        Mechanism::from_name(name.trim().as_bytes()).ok_or_else(|| {
            let known: Vec<_> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
            Failure::new(Kind::Usage, format!("--mechanism {name} is not known"))
                .advise(format!("one of {}", known.join(", ")))
        })
    };
    names.split(',').map(known).collect()
}

fn trust(options: &cli::Connection) -> Result<TlsClient, Failure> {
    let tls = if options.danger_accept_any_certificate {
        TlsClient::danger_accept_any_certificate()
    } else if let Some(pin) = &options.pin {
        let pin: Fingerprint = pin.parse().map_err(|_| {
            Failure::new(Kind::Usage, "--pin is no fingerprint").advise("sha256: and 64 hexadecimal digits")
        })?;
        TlsClient::pinned([pin])
    } else if let Some(ca) = &options.ca {
        TlsClient::authorities([ca])
    } else {
        TlsClient::platform()
    };
    tls.map_err(|error| Failure::new(Kind::Configuration, error.to_string()))
}

impl From<io_mio::Error> for Failure {
    fn from(error: io_mio::Error) -> Self {
        let kind = match (&error, error.kind()) {
            (io_mio::Error::WrongTlsMode { .. }, _) => Kind::Protocol,
            (_, IoKind::NoHost) => Kind::NoHost,
            (_, IoKind::Timeout) => Kind::TryAgain,
            (_, IoKind::Protocol) => Kind::Protocol,
            (_, IoKind::Security) => Kind::Refused,
            (_, IoKind::Config) => Kind::Configuration,
            _ => Kind::Unavailable,
        };
        let failure = Self::new(kind, error.to_string());
        match error.advice() {
            Some(advice) => failure.advise(advice),
            None => failure,
        }
    }
}

impl From<proto_core::Error> for Failure {
    fn from(error: proto_core::Error) -> Self {
        io_mio::Error::from(error).into()
    }
}
