//! Converts the errors of drivers and machines.

use io_common::{ErrorKind as IoKind, Fingerprint, TlsErrorKind};

use crate::error::{Error, ErrorKind, Hint};
use crate::refusal::parse_refusal_line;
use crate::server_reply::ServerReply;
#[cfg(feature = "tokio")]
use crate::{
    refusal::RefusedStep,
    refusal_error::{imap_command_error, smtp_reply_error},
};

impl From<io_common::Error> for Error {
    fn from(error: io_common::Error) -> Self {
        match &error {
            io_common::Error::ServiceRefused { reply, code } => {
                let kind = if *code < 500 { ErrorKind::Temporary } else { ErrorKind::Unavailable };
                let reply = ServerReply::from_smtp_text(reply);
                return with_advice(Self::refused(kind, "the server refuses to serve", reply), error.hint());
            }
            io_common::Error::StartTlsRefused { reply, is_temporary } => {
                let (reply, is_retryable) = parse_refusal_line(reply);
                let kind =
                    if *is_temporary || is_retryable { ErrorKind::Temporary } else { ErrorKind::Refused };
                let what = "the server refused STARTTLS and an encrypted connection is required";
                let advice = match kind {
                    ErrorKind::Temporary => Some("try again later".to_owned()),
                    _ => error.hint(),
                };
                return with_advice(Self::refused(kind, what, reply), advice);
            }
            io_common::Error::InvalidGreeting { line } => {
                let (reply, is_retryable) = parse_refusal_line(line);
                let kind = if is_retryable { ErrorKind::Temporary } else { ErrorKind::Protocol };
                return Self::refused(kind, "the server's greeting is invalid", reply).advise(
                    "check the port: it may belong to another service; or the server refuses this client",
                );
            }
            io_common::Error::AuthenticationFailed { reply, code: Some(code) } => {
                let kind = if *code < 500 { ErrorKind::Temporary } else { ErrorKind::Refused };
                let reply = ServerReply::from_smtp_text(reply);
                return Self::refused(kind, "the server refused the login", reply);
            }
            _ => {}
        }
        let kind = match (&error, error.kind()) {
            (io_common::Error::WrongTlsMode { .. }, _) => ErrorKind::Protocol,
            // The connection closed unexpectedly: a retry may succeed.
            (error, _) if is_lost(error) => ErrorKind::Temporary,
            (_, IoKind::NoHost) => ErrorKind::NoHost,
            (_, IoKind::Timeout) => ErrorKind::Temporary,
            (_, IoKind::Protocol) => ErrorKind::Protocol,
            (_, IoKind::Security) => ErrorKind::Refused,
            (_, IoKind::Config) => ErrorKind::Configuration,
            _ => ErrorKind::Unavailable,
        };
        let failure = Self::new(kind, error.to_string()).retryable_like(&error);
        let is_local = matches!(error.kind(), IoKind::Config);
        let failure = if is_local { failure } else { failure.remote() };
        let timed_out = error.kind() == IoKind::Timeout;
        let failure = if is_lost(&error) && !timed_out { failure.closed() } else { failure };
        if let Some(fingerprint) = untrusted_certificate(&error) {
            return failure.with_hint(Hint::TrustCertificate(fingerprint));
        }
        let later = || (kind == ErrorKind::Temporary).then(|| "try again later".to_owned());
        with_advice(failure, error.hint().or_else(later))
    }
}

fn with_advice(failure: Error, advice: Option<String>) -> Error {
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

/// Returns whether an established connection was lost.
fn is_lost(error: &io_common::Error) -> bool {
    match error {
        io_common::Error::Connect { .. } | io_common::Error::QueueFull => false,
        io_common::Error::Protocol(proto_mail::Error::Rejected(_)) => true,
        error => error.is_retryable(),
    }
}

/// Returns the fingerprint of a certificate that no trusted authority signed.
fn untrusted_certificate(error: &io_common::Error) -> Option<Fingerprint> {
    let io_common::Error::Tls(tls) = error else { return None };
    let causes = [TlsErrorKind::UnknownIssuer, TlsErrorKind::SelfSigned, TlsErrorKind::CaUsedAsEndEntity];
    let seen = tls.certificate.as_ref().filter(|_| causes.contains(&tls.kind))?;
    Some(seen.fingerprint)
}

impl From<proto_mail::Error> for Error {
    fn from(error: proto_mail::Error) -> Self {
        io_common::Error::from(error).into()
    }
}

#[cfg(feature = "tokio")]
impl From<io_tokio::Error> for Error {
    fn from(error: io_tokio::Error) -> Self {
        match error {
            io_tokio::Error::Session(error) => error.into(),
            io_tokio::Error::Imap(status) => {
                imap_command_error(&status.view(), "the server refused a command")
            }
            io_tokio::Error::Smtp(response) => {
                smtp_reply_error(&response, RefusedStep::Command, "the server refused a command")
            }
            error => {
                let kind = match error.kind() {
                    IoKind::Config => ErrorKind::InvalidInput,
                    IoKind::Protocol => ErrorKind::Protocol,
                    _ => ErrorKind::Unavailable,
                };
                Self::new(kind, error.to_string())
            }
        }
    }
}
