//! Errors of the drivers: what failed, whether a retry may help, and what to try.

use std::{fmt, io, net::SocketAddr, time::Duration};

use proto_mail::WaitFor;

use crate::{
    proxy::handshake::ProxyError,
    tls::{
        client::ConnectTlsError,
        detect::DetectedProtocol,
        error::{TlsConfigError, TlsError},
    },
};

/// Why a connection or session failed.
///
/// `Debug` writes the message and the hint for people, because a `main` that returns an error shows that.
#[non_exhaustive]
pub enum Error {
    /// The name could not be resolved. The failure is temporary if the source is [`io::ErrorKind::WouldBlock`].
    Lookup {
        /// The name.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// No address of the host accepted a connection.
    Connect {
        /// The host.
        host: String,
        /// Each address with its error.
        attempts: Vec<(SocketAddr, io::Error)>,
    },
    /// The proxy did not open a tunnel.
    Proxy(ProxyError),
    /// A time limit passed.
    TimedOut {
        /// What did not happen in time.
        stage: TimeoutStage,
        /// The time limit.
        after: Duration,
    },
    /// The port speaks TLS where cleartext was expected, or the other way round.
    WrongTlsMode {
        /// The protocol that the port speaks.
        found: DetectedProtocol,
        /// What to try.
        hint: String,
    },
    /// The first line of the server is not a greeting.
    InvalidGreeting {
        /// The line, without its line end; at most 1,000 bytes.
        line: String,
    },
    /// TLS was not established, or broke.
    Tls(Box<TlsError>),
    /// The machine ended the session.
    Protocol(proto_mail::Error),
    /// An operation of the operating system failed.
    Io {
        /// The operation.
        doing: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
    /// The session ended in order before the operation was complete.
    Closed,
    /// The server refuses to serve, in its greeting or its reply to EHLO.
    ServiceRefused {
        /// The reply code (RFC 5321 §4.2): 4yz is temporary, 5yz is permanent.
        code: u16,
        /// The whole reply.
        reply: String,
    },
    /// The server refused STARTTLS, or ended the session instead of answering it.
    StartTlsRefused {
        /// The last line from the server, without its line end; at most 1,000 bytes.
        reply: String,
        /// Whether the server ended the session, or refused with 4yz of SMTP.
        is_temporary: bool,
    },
    /// Logging in failed.
    AuthenticationFailed {
        /// The reply code; `None` if the server was not asked because no mechanism fits.
        code: Option<u16>,
        /// The whole reply, or why no mechanism fits. It contains no secret.
        reply: String,
    },
    /// Too many jobs wait already.
    QueueFull,
    /// Too many jobs of this account or address wait already.
    GroupQueueFull,
    /// A setting is wrong, or a file of it cannot be read.
    Config(String),
    /// A handler or job panicked.
    Panicked,
}

/// What to try after a failed login.
pub(crate) const CHECK_CREDENTIALS: &str = "check user and password, and which mechanisms the server offers";

/// What did not happen in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutStage {
    /// Looking up the name.
    Lookup,
    /// Connecting.
    Connect,
    /// Opening a tunnel through a proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// What the machine waits for.
    Wait(WaitFor),
    /// The next part of a message, at the minimum rate.
    MinimumRate,
    /// The peer reading what is sent to it.
    Send,
    /// The client's login.
    Login,
    /// What the program waits for, after any number of events.
    Operation,
}

/// The kind of a failure, for a program's exit code for example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The host does not exist.
    NoHost,
    /// The host or service cannot be reached, or refuses to serve.
    Unavailable,
    /// A time limit passed.
    Timeout,
    /// The peer breaks the protocol.
    Protocol,
    /// Continuing would break a promise about secrecy or integrity.
    Security,
    /// The server does not accept the credentials, or no mechanism fits.
    Authentication,
    /// The settings are wrong, or the program asks for something that cannot be done.
    Config,
}

impl Error {
    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Lookup { source, .. } if source.kind() == io::ErrorKind::WouldBlock => ErrorKind::Timeout,
            Self::Lookup { .. } => ErrorKind::NoHost,
            Self::Connect { .. } | Self::Io { .. } | Self::Closed | Self::ServiceRefused { .. } => {
                ErrorKind::Unavailable
            }
            Self::QueueFull | Self::GroupQueueFull => ErrorKind::Unavailable,
            Self::Proxy(ProxyError::AuthenticationRequired | ProxyError::AuthenticationFailed) => {
                ErrorKind::Config
            }
            Self::Proxy(_) => ErrorKind::Unavailable,
            Self::TimedOut { .. } => ErrorKind::Timeout,
            Self::AuthenticationFailed { code: Some(400..=499), .. } => ErrorKind::Unavailable,
            Self::StartTlsRefused { .. } => ErrorKind::Security,
            Self::AuthenticationFailed { .. } => ErrorKind::Authentication,
            Self::Config(_) | Self::Protocol(proto_mail::Error::Misuse(_)) => ErrorKind::Config,
            Self::Tls(error) if error.is_retryable() => ErrorKind::Unavailable,
            Self::Tls(_) => ErrorKind::Security,
            Self::Protocol(proto_mail::Error::Limit(proto_mail::Limit::Timeout(_))) => ErrorKind::Timeout,
            Self::Protocol(error) if error.is_security() => ErrorKind::Security,
            Self::Protocol(_) | Self::InvalidGreeting { .. } | Self::WrongTlsMode { .. } | Self::Panicked => {
                ErrorKind::Protocol
            }
        }
    }

    /// Returns whether the same attempt may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::TimedOut { .. }
            | Self::Closed
            | Self::QueueFull
            | Self::GroupQueueFull => true,
            Self::Io { source, .. } => {
                use io::ErrorKind as K;
                matches!(
                    source.kind(),
                    K::ConnectionReset
                        | K::ConnectionAborted
                        | K::BrokenPipe
                        | K::UnexpectedEof
                        | K::TimedOut
                        | K::NetworkUnreachable
                        | K::HostUnreachable
                        | K::NotConnected
                )
            }
            Self::Proxy(error) => error.is_retryable(),
            Self::ServiceRefused { code, .. } => *code < 500,
            Self::StartTlsRefused { is_temporary, .. } => *is_temporary,
            Self::AuthenticationFailed { code, .. } => matches!(code, Some(400..=499)),
            Self::Protocol(error) => error.is_retryable(),
            Self::Tls(error) => error.is_retryable(),
            Self::Lookup { source, .. } => source.kind() == io::ErrorKind::WouldBlock,
            Self::InvalidGreeting { .. } | Self::WrongTlsMode { .. } | Self::Config(_) | Self::Panicked => {
                false
            }
        }
    }

    /// Returns the SMTP reply code of the server, if its reply caused the error.
    #[must_use]
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::ServiceRefused { code, .. } => Some(*code),
            Self::AuthenticationFailed { code, .. } => *code,
            _ => None,
        }
    }

    /// Returns the enhanced status code (RFC 3463) in the server's reply, such as `5.7.8`.
    #[must_use]
    pub fn enhanced_code(&self) -> Option<&str> {
        self.code()?;
        // The reply code is followed by a space, or by a hyphen in all lines but the last.
        let (_, rest) = self.server_text()?.split_once([' ', '-'])?;
        let word = rest.split_whitespace().next()?;
        let mut parts = word.split('.');
        let is_code = parts.by_ref().take(3).filter(|part| part.parse::<u16>().is_ok()).count() == 3;
        (is_code && parts.next().is_none() && matches!(word.as_bytes(), [b'2' | b'4' | b'5', b'.', ..]))
            .then_some(word)
    }

    /// Returns the server's text, if its reply caused the error.
    #[must_use]
    pub fn server_text(&self) -> Option<&str> {
        match self {
            Self::ServiceRefused { reply, .. }
            | Self::StartTlsRefused { reply, .. }
            | Self::AuthenticationFailed { reply, code: Some(_) } => Some(reply),
            _ => None,
        }
    }

    /// Returns what to try, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Lookup { .. } => "check the host name, and whether this machine's name server answers",
            Self::Connect { .. } => "check host and port, and whether a firewall is in between",
            Self::Proxy(ProxyError::AuthenticationRequired | ProxyError::AuthenticationFailed) => {
                "check user and password of the proxy"
            }
            Self::Proxy(_) => "check host and port of proxy and server, and what the proxy allows",
            Self::TimedOut { stage: TimeoutStage::Lookup, .. } => "check this machine's name server",
            Self::TimedOut { stage: TimeoutStage::Connect, .. } => {
                "check host and port: a firewall may be dropping packets silently"
            }
            Self::TimedOut { stage: TimeoutStage::Wait(WaitFor::Greeting), .. } => {
                "a server that waits for TLS sends no greeting: try implicit TLS, and check host and port"
            }
            Self::TimedOut { stage: TimeoutStage::Tls, .. } => {
                "a server that does not speak TLS on this port may wait for a command: try STARTTLS"
            }
            Self::TimedOut { .. } | Self::QueueFull | Self::GroupQueueFull | Self::Closed => {
                "try again later"
            }
            Self::ServiceRefused { code, .. } if *code < 500 => "try again later",
            Self::StartTlsRefused { is_temporary: true, .. } => "try again later",
            Self::StartTlsRefused { .. } => "try implicit TLS (993 for IMAP, 465 for SMTP), or later",
            Self::AuthenticationFailed { code: Some(400..=499), .. } => "try again later",
            Self::AuthenticationFailed { .. } => CHECK_CREDENTIALS,
            Self::ServiceRefused { .. } => "ask the server's operator: it accepts no mail from here",
            Self::InvalidGreeting { .. } => {
                "check host and port: another service may be there, or the server refuses this client"
            }
            Self::WrongTlsMode { hint, .. } => return Some(hint.clone()),
            Self::Tls(error) => return error.hint(),
            Self::Protocol(_) | Self::Io { .. } | Self::Config(_) | Self::Panicked => return None,
        };
        Some(text.into())
    }

    /// Wraps an error of the operating system. `doing` is the operation: "receiving", "polling".
    pub fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_hint(f, self, self.hint())
    }
}

/// Writes an error and what to try.
pub(crate) fn write_with_hint(
    f: &mut fmt::Formatter<'_>,
    error: &dyn fmt::Display,
    hint: Option<String>,
) -> fmt::Result {
    match hint {
        Some(hint) => write!(f, "{error} (try: {hint})"),
        None => write!(f, "{error}"),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup { host, source } => write!(f, "no address was found for {host}: {source}"),
            Self::Connect { host, attempts } => {
                write!(f, "no connection to {host}")?;
                for (address, error) in attempts {
                    write!(f, "; {address}: {error}")?;
                }
                Ok(())
            }
            Self::Proxy(error) => error.fmt(f),
            Self::TimedOut { stage, after } => write!(f, "{stage} within {after:?}"),
            Self::WrongTlsMode { found, .. } => write!(f, "wrong TLS mode: {found}"),
            Self::InvalidGreeting { line } => write!(f, "the server did not greet: {line}"),
            Self::Tls(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::Closed => f.write_str("the session ended before the operation was complete"),
            Self::ServiceRefused { reply, .. } => write!(f, "the server refuses to serve: {reply}"),
            Self::StartTlsRefused { reply, .. } => {
                write!(f, "the server refused STARTTLS and an encrypted connection is required: {reply}")
            }
            Self::AuthenticationFailed { reply, .. } => {
                write!(f, "logging in failed: {}", proto_mail::printable(reply))
            }
            Self::QueueFull => f.write_str("too many jobs wait already"),
            Self::GroupQueueFull => f.write_str("too many jobs of this account or address wait already"),
            Self::Config(what) => f.write_str(what),
            Self::Panicked => f.write_str("a handler or job panicked"),
        }
    }
}

impl fmt::Display for TimeoutStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "the name server did not answer",
            Self::Connect => "no connection was established",
            Self::Proxy => "the proxy opened no tunnel",
            Self::Tls | Self::Wait(WaitFor::TlsHandshake) => "the TLS handshake did not finish",
            Self::Wait(WaitFor::Greeting) => "no greeting arrived",
            Self::Wait(WaitFor::Command) => "no command arrived",
            Self::Wait(WaitFor::Reply) => "no reply arrived",
            Self::Wait(WaitFor::Remainder) => "the rest of a line did not arrive",
            Self::Wait(WaitFor::Data) => "the next part of a message did not arrive",
            Self::Wait(WaitFor::DataReply) => "no reply to the end of the message arrived",
            Self::Wait(_) => "the peer was silent",
            Self::MinimumRate => "too little of a message arrived",
            Self::Send => "the peer did not read what was sent",
            Self::Login => "the client did not log in",
            Self::Operation => "the operation did not finish",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lookup { source, .. } | Self::Io { source, .. } => Some(source),
            Self::Protocol(error) => Some(error),
            Self::Proxy(error) => Some(error),
            Self::Tls(error) => Some(error),
            _ => None,
        }
    }
}

impl From<proto_mail::Error> for Error {
    fn from(error: proto_mail::Error) -> Self {
        Self::Protocol(error)
    }
}

impl From<proto_mail::PeerError> for Error {
    fn from(error: proto_mail::PeerError) -> Self {
        Self::Protocol(error.into())
    }
}

impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Self::Tls(Box::new(error))
    }
}

impl From<TlsConfigError> for Error {
    fn from(error: TlsConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<ConnectTlsError> for Error {
    fn from(error: ConnectTlsError) -> Self {
        match error {
            ConnectTlsError::Config(error) => error.into(),
            ConnectTlsError::Tls(error) => error.into(),
        }
    }
}

impl From<ProxyError> for Error {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_servers_code_and_text() {
        let refused = |code, reply: &str| Error::ServiceRefused { code, reply: reply.into() };
        let error = refused(554, "554 5.7.1 no service for you");
        assert_eq!((error.code(), error.enhanced_code()), (Some(554), Some("5.7.1")));
        assert_eq!(error.server_text(), Some("554 5.7.1 no service for you"));
        assert_eq!(refused(421, "421-4.3.2 busy").enhanced_code(), Some("4.3.2"));
        assert_eq!(refused(554, "554 mx1.example no service").enhanced_code(), None);
        let unasked = Error::AuthenticationFailed { code: None, reply: "no mechanism fits".into() };
        assert_eq!((unasked.code(), unasked.enhanced_code(), unasked.server_text()), (None, None, None));
    }
}
