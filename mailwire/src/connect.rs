//! From options to a connector: whom to trust, how long to wait, what to trace, and how failures are told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use io_mio::{
    Connector, Deadlines, ErrorKind as IoKind, Fingerprint, Security, StageReport, Target, TlsClientConfig,
    TlsErrorKind,
};
use proto_mail::{Credentials, Mechanism, PeerError};

use crate::classify::ServerReply;
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
    tls: TlsClientConfig,
    trace: Option<Tracing>,
    /// The mechanisms that may be used, the best first.
    order: Vec<Mechanism>,
    /// Whether a session has used the token that was asked for at the start.
    has_used_token: AtomicBool,
}

impl Way {
    /// Reads the configuration, the certificates and the pin; touches no network.
    pub(crate) fn new(url: &Url, given: &cli::Connection) -> Result<Self, Failure> {
        let options = config::complete(given.clone(), &url.host)?;
        let tls = trust(&options)?;
        let trace = Tracing::asked(&options.trace)?;
        let order = options.mechanism.as_deref().map_or_else(|| Ok(Mechanism::ALL.into()), order)?;
        Ok(Self { url: url.clone(), options, tls, trace, order, has_used_token: AtomicBool::new(false) })
    }

    /// A connector that reports each stage to `observer`.
    pub(crate) fn connector(&self, observer: impl Fn(&StageReport) + Send + Sync + 'static) -> Connector {
        let mut connector = Connector::new(self.tls.clone()).observer(observer);
        if let Some(seconds) = self.options.timeout {
            connector = connector.deadlines(Deadlines::uniform(Duration::from_secs(seconds)));
        }
        if let Some(trace) = &self.trace {
            let trace = trace.clone();
            connector = connector.trace(move || trace.begin());
        }
        connector
    }

    /// How SMTP is spoken: with the name of this machine, where one was given.
    pub(crate) fn smtp_config(&self) -> proto_smtp::Config {
        let config = proto_smtp::Config::default();
        match &self.options.helo {
            Some(name) => config.name(name.clone()),
            None => config,
        }
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
            timeout: self.options.secret_command_timeout.map(Duration::from_secs),
        };
        self.url.user.as_deref().map(|user| source.credentials(user)).transpose()
    }

    /// The credentials for one more session: a password as it is, a token from `--token-command` anew for each session
    /// but the first, since it may have expired.
    pub(crate) fn session_credentials(&self, given: &Credentials) -> Result<Credentials, Failure> {
        if self.options.token_command.is_some() && self.has_used_token.swap(true, Ordering::SeqCst) {
            return Ok(self.renewed_token()?.unwrap_or_else(|| given.duplicate()));
        }
        Ok(given.duplicate())
    }

    /// Another token from `--token-command`, if tokens come from there.
    pub(crate) fn renewed_token(&self) -> Result<Option<Credentials>, Failure> {
        if self.options.token_command.is_some() { self.credentials() } else { Ok(None) }
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

fn trust(options: &cli::Connection) -> Result<TlsClientConfig, Failure> {
    let tls = if options.danger_accept_any_certificate {
        TlsClientConfig::danger_accept_any_certificate()
    } else if let Some(pin) = &options.pin {
        let pin: Fingerprint = pin.parse().map_err(|_| {
            Failure::new(Kind::Usage, "--pin is no fingerprint").advise("sha256: and 64 hexadecimal digits")
        })?;
        TlsClientConfig::pinned([pin])
    } else if let Some(ca) = &options.ca {
        TlsClientConfig::authorities([ca])
    } else {
        TlsClientConfig::platform()
    };
    tls.map_err(|error| Failure::new(Kind::Configuration, error.to_string()))
}

impl From<io_mio::Error> for Failure {
    fn from(error: io_mio::Error) -> Self {
        match &error {
            io_mio::Error::ServiceRefused { reply, code } => {
                let kind = if *code < 500 { Kind::TryAgain } else { Kind::Unavailable };
                let reply = ServerReply::from_smtp_text(reply);
                return advised(Self::said(kind, "the server refuses to serve", reply), error.hint());
            }
            io_mio::Error::StartTlsRefused { reply, is_temporary } => {
                let (reply, says_later) = ServerReply::from_line(reply);
                let kind = if *is_temporary || says_later { Kind::TryAgain } else { Kind::Refused };
                let what = "the server refused STARTTLS and an encrypted connection is required";
                let advice = match kind {
                    Kind::TryAgain => Some("try again later".to_owned()),
                    _ => error.hint(),
                };
                return advised(Self::said(kind, what, reply), advice);
            }
            io_mio::Error::InvalidGreeting { line } => {
                let (reply, says_later) = ServerReply::from_line(line);
                let kind = if says_later { Kind::TryAgain } else { Kind::Protocol };
                return Self::said(kind, "the server does not greet as it should", reply).advise(
                    "look at the port: another service may be there; or the server refuses this client",
                );
            }
            io_mio::Error::AuthenticationFailed { reply, code: Some(code) } => {
                let kind = if *code < 500 { Kind::TryAgain } else { Kind::Refused };
                let reply = ServerReply::from_smtp_text(reply);
                return Self::said(kind, "the server refused the log-in", reply);
            }
            _ => {}
        }
        let kind = match (&error, error.kind()) {
            (io_mio::Error::WrongTlsMode { .. }, _) => Kind::Protocol,
            // A connection that ends where it must not, at whatever point: trying again may help.
            (error, _) if is_lost(error) => Kind::TryAgain,
            (_, IoKind::NoHost) => Kind::NoHost,
            (_, IoKind::Timeout) => Kind::TryAgain,
            (_, IoKind::Protocol) => Kind::Protocol,
            (_, IoKind::Security) => Kind::Refused,
            (_, IoKind::Config) => Kind::Configuration,
            _ => Kind::Unavailable,
        };
        let failure = Self::new(kind, error.to_string()).transient(error.is_retryable());
        let is_local = matches!(error.kind(), IoKind::Config);
        let failure = if is_local { failure } else { failure.remote() };
        let timed_out = error.kind() == IoKind::Timeout;
        let failure = if is_lost(&error) && !timed_out { failure.closed() } else { failure };
        let advice = untrusted(&error).or_else(|| error.hint());
        advised(failure, advice.or_else(|| (kind == Kind::TryAgain).then(|| "try again later".to_owned())))
    }
}

fn advised(failure: Failure, advice: Option<String>) -> Failure {
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

/// Whether the connection was there and was lost.
fn is_lost(error: &io_mio::Error) -> bool {
    match error {
        io_mio::Error::Connect { .. } | io_mio::Error::QueueFull => false,
        io_mio::Error::Protocol(proto_mail::Error::Peer(PeerError::Refused)) => true,
        error => error.is_retryable(),
    }
}

/// What to try where nothing vouches for the server's certificate: the options, with the fingerprint to copy.
fn untrusted(error: &io_mio::Error) -> Option<String> {
    let io_mio::Error::Tls(tls) = error else { return None };
    let causes = [TlsErrorKind::UnknownIssuer, TlsErrorKind::SelfSigned, TlsErrorKind::CaUsedAsEndEntity];
    let seen = tls.certificate.as_ref().filter(|_| causes.contains(&tls.kind))?;
    Some(format!(
        "if this is your own server: --ca FILE with the certificate of its authority, or, once the fingerprint is \
         compared with the one there, --pin {}",
        seen.fingerprint
    ))
}

impl From<proto_mail::Error> for Failure {
    fn from(error: proto_mail::Error) -> Self {
        io_mio::Error::from(error).into()
    }
}
