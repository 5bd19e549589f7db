//! An endpoint: everything needed to connect to one server and log in. Also converts connection errors to failures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use io_mio::{
    Connector, Deadlines, ErrorKind as IoKind, Fingerprint, Security, StageReport, Target, TlsClientConfig,
    TlsErrorKind,
};
use proto_mail::{Credentials, Mechanism};

use crate::command_error::{CommandError, ExitCode};
use crate::config;
use crate::credentials::CredentialSource;
use crate::options::ConnectionOptions;
use crate::refusal_reason::parse_refusal_line;
use crate::server_reply::ServerReply;
use crate::trace::Tracing;
use crate::url::{TlsMode, Url};

/// One server with the options to connect to it.
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    pub(crate) options: ConnectionOptions,
    tls: TlsClientConfig,
    trace: Option<Tracing>,
    /// The allowed mechanisms, best first.
    mechanisms: Vec<Mechanism>,
    /// Whether a session has used the token that was read at the start.
    has_used_token: AtomicBool,
}

impl Endpoint {
    /// Reads the configuration, the certificates and the pin. Does not connect.
    pub(crate) fn new(url: &Url, given: &ConnectionOptions) -> Result<Self, CommandError> {
        let options = config::complete(given.clone(), &url.host)?;
        let tls = tls_config(&options)?;
        let trace = Tracing::from_options(&options.trace)?;
        let mechanisms =
            options.mechanism.as_deref().map_or_else(|| Ok(Mechanism::ALL.into()), parse_mechanisms)?;
        Ok(Self { url: url.clone(), options, tls, trace, mechanisms, has_used_token: AtomicBool::new(false) })
    }

    /// Returns a connector that reports each stage to `observer`.
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

    /// Returns the SMTP client configuration, with the host name for EHLO if one was given.
    pub(crate) fn smtp_config(&self) -> proto_smtp::Config {
        let config = proto_smtp::Config::default();
        match &self.options.helo {
            Some(name) => config.name(name.clone()),
            None => config,
        }
    }

    /// Returns the host, the port and the TLS mode.
    pub(crate) fn target(&self) -> Target {
        let security = match self.url.tls {
            TlsMode::Implicit => Security::ImplicitTls,
            TlsMode::StartTls => Security::StartTls,
        };
        Target::new(&self.url.host, self.url.port, security)
    }

    /// Reads the user's credentials. Returns `None` if the URL names no user.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, CommandError> {
        let source = CredentialSource {
            password_command: self.options.password_command.as_deref(),
            token_command: self.options.token_command.as_deref(),
            timeout: self.options.secret_command_timeout.map(Duration::from_secs),
        };
        self.url.user.as_deref().map(|user| source.credentials(user)).transpose()
    }

    /// Returns the credentials for another session. A token is read from `--token-command` again for each session but
    /// the first, since it may have expired.
    pub(crate) fn session_credentials(&self, given: &Credentials) -> Result<Credentials, CommandError> {
        if self.options.token_command.is_some() && self.has_used_token.swap(true, Ordering::SeqCst) {
            return Ok(self.renewed_token()?.unwrap_or_else(|| given.duplicate()));
        }
        Ok(given.duplicate())
    }

    /// Reads a new token from `--token-command`. Returns `None` without that option.
    pub(crate) fn renewed_token(&self) -> Result<Option<Credentials>, CommandError> {
        if self.options.token_command.is_some() { self.credentials() } else { Ok(None) }
    }

    /// Returns the allowed mechanisms, best first: those of `--mechanism`, or all.
    pub(crate) fn mechanisms(&self) -> &[Mechanism] {
        &self.mechanisms
    }

    /// Returns whether to connect without TLS: only with `--danger-cleartext`, and only on a STARTTLS port.
    pub(crate) fn is_cleartext(&self) -> Result<bool, CommandError> {
        if self.options.danger_cleartext && self.url.tls == TlsMode::Implicit {
            return Err(CommandError::new(
                ExitCode::Usage,
                "--danger-cleartext cannot be used with implicit TLS",
            )
            .advise("use imap:// or smtp://"));
        }
        Ok(self.options.danger_cleartext)
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Parses the value of `--mechanism`.
fn parse_mechanisms(names: &str) -> Result<Vec<Mechanism>, CommandError> {
    let known = |name: &str| {
        Mechanism::from_name(name.trim().as_bytes()).ok_or_else(|| {
            let known: Vec<_> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
            CommandError::new(ExitCode::Usage, format!("--mechanism: unknown mechanism {name:?}"))
                .advise(format!("use one of {}", known.join(", ")))
        })
    };
    names.split(',').map(known).collect()
}

fn tls_config(options: &ConnectionOptions) -> Result<TlsClientConfig, CommandError> {
    let tls = if options.danger_accept_any_certificate {
        TlsClientConfig::danger_accept_any_certificate()
    } else if let Some(pin) = &options.pin {
        let pin: Fingerprint = pin.parse().map_err(|_| {
            CommandError::new(ExitCode::Usage, "--pin is not a fingerprint")
                .advise("use sha256: and 64 hexadecimal digits")
        })?;
        TlsClientConfig::pinned([pin])
    } else if let Some(ca) = &options.ca {
        TlsClientConfig::authorities([ca])
    } else {
        TlsClientConfig::platform()
    };
    tls.map_err(|error| CommandError::new(ExitCode::Configuration, error.to_string()))
}

impl From<io_mio::Error> for CommandError {
    fn from(error: io_mio::Error) -> Self {
        match &error {
            io_mio::Error::ServiceRefused { reply, code } => {
                let exit_code = if *code < 500 { ExitCode::TryAgain } else { ExitCode::Unavailable };
                let reply = ServerReply::from_smtp_text(reply);
                return with_advice(
                    Self::refused(exit_code, "the server refuses to serve", reply),
                    error.hint(),
                );
            }
            io_mio::Error::StartTlsRefused { reply, is_temporary } => {
                let (reply, is_retryable) = parse_refusal_line(reply);
                let exit_code =
                    if *is_temporary || is_retryable { ExitCode::TryAgain } else { ExitCode::Refused };
                let what = "the server refused STARTTLS and an encrypted connection is required";
                let advice = match exit_code {
                    ExitCode::TryAgain => Some("try again later".to_owned()),
                    _ => error.hint(),
                };
                return with_advice(Self::refused(exit_code, what, reply), advice);
            }
            io_mio::Error::InvalidGreeting { line } => {
                let (reply, is_retryable) = parse_refusal_line(line);
                let exit_code = if is_retryable { ExitCode::TryAgain } else { ExitCode::Protocol };
                return Self::refused(exit_code, "the server's greeting is invalid", reply).advise(
                    "check the port: it may belong to another service; or the server refuses this client",
                );
            }
            io_mio::Error::AuthenticationFailed { reply, code: Some(code) } => {
                let exit_code = if *code < 500 { ExitCode::TryAgain } else { ExitCode::Refused };
                let reply = ServerReply::from_smtp_text(reply);
                return Self::refused(exit_code, "the server refused the login", reply);
            }
            _ => {}
        }
        let exit_code = match (&error, error.kind()) {
            (io_mio::Error::WrongTlsMode { .. }, _) => ExitCode::Protocol,
            // The connection closed unexpectedly: a retry may succeed.
            (error, _) if is_lost(error) => ExitCode::TryAgain,
            (_, IoKind::NoHost) => ExitCode::NoHost,
            (_, IoKind::Timeout) => ExitCode::TryAgain,
            (_, IoKind::Protocol) => ExitCode::Protocol,
            (_, IoKind::Security) => ExitCode::Refused,
            (_, IoKind::Config) => ExitCode::Configuration,
            _ => ExitCode::Unavailable,
        };
        let mut failure = Self::new(exit_code, error.to_string());
        failure.is_transient = error.is_retryable();
        let is_local = matches!(error.kind(), IoKind::Config);
        let failure = if is_local { failure } else { failure.remote() };
        let timed_out = error.kind() == IoKind::Timeout;
        let failure = if is_lost(&error) && !timed_out { failure.closed() } else { failure };
        let advice = untrusted_advice(&error).or_else(|| error.hint());
        with_advice(
            failure,
            advice.or_else(|| (exit_code == ExitCode::TryAgain).then(|| "try again later".to_owned())),
        )
    }
}

fn with_advice(failure: CommandError, advice: Option<String>) -> CommandError {
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

/// Returns whether an established connection was lost.
fn is_lost(error: &io_mio::Error) -> bool {
    match error {
        io_mio::Error::Connect { .. } | io_mio::Error::QueueFull => false,
        io_mio::Error::Protocol(proto_mail::Error::Rejected(_)) => true,
        error => error.is_retryable(),
    }
}

/// Returns advice for a certificate that no trusted authority signed: the options, with the fingerprint to copy.
fn untrusted_advice(error: &io_mio::Error) -> Option<String> {
    let io_mio::Error::Tls(tls) = error else { return None };
    let causes = [TlsErrorKind::UnknownIssuer, TlsErrorKind::SelfSigned, TlsErrorKind::CaUsedAsEndEntity];
    let seen = tls.certificate.as_ref().filter(|_| causes.contains(&tls.kind))?;
    Some(format!(
        "if this is your own server: use --ca FILE with its authority's certificate, or compare the fingerprint with \
         the one on the server and use --pin {}",
        seen.fingerprint
    ))
}

impl From<proto_mail::Error> for CommandError {
    fn from(error: proto_mail::Error) -> Self {
        io_mio::Error::from(error).into()
    }
}
