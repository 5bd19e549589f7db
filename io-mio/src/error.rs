//! Why something could not be done: what happened, what was expected, what to try.
//!
//! This file sorts failures. It does not know how a program shows them, nor any exit code.

use std::{fmt, io, net::SocketAddr, time::Duration};

use proto_mail::WaitFor;

use crate::tls::{DetectedProtocol, TlsError};

/// What went wrong between here and the peer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The name could not be resolved; for now, if the source is [`io::ErrorKind::WouldBlock`].
    Lookup {
        /// The name that was asked for.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address of the host accepted a connection.
    Connect {
        /// The host that was tried.
        host: String,
        /// Each address, and why it failed.
        attempts: Vec<(SocketAddr, io::Error)>,
    },
    /// Something did not happen in time.
    TimedOut {
        /// What was awaited.
        stage: TimeoutStage,
        /// How long at most.
        after: Duration,
    },
    /// The port speaks TLS where none was expected, or the other way round.
    WrongTlsMode {
        /// What the first octets were.
        found: DetectedProtocol,
        /// What to try.
        hint: String,
    },
    /// TLS was not established, or broke.
    Tls(Box<TlsError>),
    /// The machine ended the session.
    Protocol(proto_mail::Error),
    /// The operating system refused something.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The session ended in order before what was wanted had happened.
    Closed,
    /// The server does not want to serve, and says so.
    ServiceRefused {
        /// The code of its reply (RFC 5321 §4.2): 4yz for now, 5yz for good.
        code: u16,
        /// The whole reply.
        reply: String,
    },
    /// What the server said first is no greeting.
    InvalidGreeting {
        /// The line, without its end; at most 1,000 bytes of it.
        line: String,
    },
    /// The server refused STARTTLS, or ended the session instead of answering it.
    StartTlsRefused {
        /// The last line that it sent, without its end; at most 1,000 bytes of it.
        reply: String,
        /// It ended the session, or refused with 4yz of SMTP.
        is_temporary: bool,
    },
    /// Who we are could not be proved.
    AuthenticationFailed {
        /// The code of the server's reply; none if nothing was asked of it, since no mechanism fits.
        code: Option<u16>,
        /// The whole reply, or why no mechanism fits. No secret is in it.
        reply: String,
    },
    /// No more work is taken on now.
    QueueFull,
    /// No more work is taken on now for this account or address.
    GroupQueueFull,
    /// A setting is wrong, or a file of it cannot be read.
    Config(String),
    /// A handler panicked; its session was closed.
    Panicked,
}

/// What was awaited when time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutStage {
    /// The name's addresses.
    Lookup,
    /// A connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// What the machine awaited.
    Wait(WaitFor),
    /// The next part of a message, at the least rate.
    MinimumRate,
    /// That the peer takes what is sent to it.
    Send,
    /// That the client logs in.
    Login,
    /// What the program wanted to see.
    Goal,
}

/// What kind of failure it is: what a program's exit code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such host.
    NoHost,
    /// The host or service cannot be reached or will not serve.
    Unavailable,
    /// It took too long.
    Timeout,
    /// The peer does not speak the protocol as it should.
    Protocol,
    /// Going on would have broken a promise about secrecy or integrity.
    Security,
    /// The settings are wrong.
    Config,
}

impl Error {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Lookup { source, .. } if source.kind() == io::ErrorKind::WouldBlock => ErrorKind::Timeout,
            Self::Lookup { .. } => ErrorKind::NoHost,
            Self::Connect { .. } | Self::Io { .. } | Self::Closed | Self::ServiceRefused { .. } => {
                ErrorKind::Unavailable
            }
            Self::QueueFull | Self::GroupQueueFull => ErrorKind::Unavailable,
            Self::TimedOut { .. } => ErrorKind::Timeout,
            Self::AuthenticationFailed { code: Some(400..=499), .. } => ErrorKind::Unavailable,
            Self::StartTlsRefused { .. } => ErrorKind::Security,
            Self::AuthenticationFailed { .. } => ErrorKind::Security,
            Self::Config(_) => ErrorKind::Config,
            Self::Tls(error) if error.is_retryable() => ErrorKind::Unavailable,
            Self::Tls(_) => ErrorKind::Security,
            Self::Protocol(proto_mail::Error::Limit(proto_mail::Limit::Timeout(_))) => ErrorKind::Timeout,
            Self::Protocol(error) if error.is_security() => ErrorKind::Security,
            Self::Protocol(_) | Self::InvalidGreeting { .. } | Self::WrongTlsMode { .. } | Self::Panicked => {
                ErrorKind::Protocol
            }
        }
    }

    /// Whether the same may well succeed later without anything being changed.
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

    /// What to try, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Lookup { .. } => "check the host name, and whether this machine's name server answers",
            Self::Connect { .. } => "check host and port, and whether a firewall is in between",
            Self::TimedOut { stage: TimeoutStage::Lookup, .. } => "check this machine's name server",
            Self::TimedOut { stage: TimeoutStage::Connect, .. } => {
                "check host and port: a firewall may be dropping packets silently"
            }
            Self::TimedOut { stage: TimeoutStage::Wait(WaitFor::Greeting), .. } => {
                "a server that waits for TLS says nothing: try implicit TLS, and check host and port"
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
            Self::AuthenticationFailed { .. } => {
                "check user and password, and which mechanisms the server offers"
            }
            Self::InvalidGreeting { .. } => {
                "check host and port: another service may be there, or the server does not want this client"
            }
            Self::ServiceRefused { .. } => "ask who runs the server: it wants no mail from here",
            Self::WrongTlsMode { hint, .. } => return Some(hint.clone()),
            Self::Tls(error) => return error.hint(),
            Self::Protocol(_) | Self::Io { .. } | Self::Config(_) | Self::Panicked => return None,
        };
        Some(text.into())
    }

    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup { host, source } => write!(f, "no address was found for {host}: {source}"),
            Self::Connect { host, attempts } => {
                write!(f, "no connection to {host}")?;
                for (address, why) in attempts {
                    write!(f, "; {address}: {why}")?;
                }
                Ok(())
            }
            Self::TimedOut { stage, after } => write!(f, "{stage} within {after:?}"),
            Self::WrongTlsMode { found, .. } => write!(f, "wrong TLS mode: {found}"),
            Self::Tls(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::Closed => f.write_str("the session ended before what was wanted had happened"),
            Self::ServiceRefused { reply, .. } => write!(f, "the server does not want to serve: {reply}"),
            Self::InvalidGreeting { line } => write!(f, "the server did not greet: {line}"),
            Self::StartTlsRefused { reply, .. } => {
                write!(f, "the server refused STARTTLS and an encrypted connection is required: {reply}")
            }
            Self::AuthenticationFailed { reply, .. } => write!(f, "logging in failed: {reply}"),
            Self::QueueFull => f.write_str("too much work waits already"),
            Self::GroupQueueFull => f.write_str("too much work of this account or address waits already"),
            Self::Config(what) => f.write_str(what),
            Self::Panicked => f.write_str("the handler of this session panicked"),
        }
    }
}

impl fmt::Display for TimeoutStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "the name server did not answer",
            Self::Connect => "no connection came about",
            Self::Tls | Self::Wait(WaitFor::TlsHandshake) => "the TLS handshake did not finish",
            Self::Wait(WaitFor::Greeting) => "no greeting came",
            Self::Wait(WaitFor::Command) => "no command came",
            Self::Wait(WaitFor::Reply) => "no answer came",
            Self::Wait(WaitFor::Remainder) => "the rest of a line did not come",
            Self::Wait(WaitFor::Data) => "the next part of a message did not come",
            Self::Wait(WaitFor::DataReply) => "no answer to the end of the message came",
            Self::Wait(_) => "what was awaited did not come",
            Self::MinimumRate => "too little of a message came",
            Self::Send => "the peer did not take what was sent",
            Self::Login => "the client did not log in",
            Self::Goal => "it did not happen",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lookup { source, .. } | Self::Io { source, .. } => Some(source),
            Self::Protocol(error) => Some(error),
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
