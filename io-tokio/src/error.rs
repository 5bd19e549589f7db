//! Why a session or a command failed.

use std::{fmt, io};

use io_common::ErrorKind;
use proto_imap::types::{Condition, Owned, PlainCode, ResponseCode, StatusResponse};
use proto_mail::ErrorDetails;
use proto_smtp::types::Response;

/// Why a connection, a session or a command failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The connection or the session failed. The session is over, unless the cause is
    /// [`Misuse`](proto_mail::Error::Misuse).
    Session(io_common::Error),
    /// An IMAP server rejected the command (NO, BAD). The session goes on.
    Imap(Box<Owned<StatusResponse<'static>>>),
    /// An SMTP server rejected the command (4yz, 5yz). The session goes on.
    Smtp(Box<Response<'static>>),
    /// The future that sent a message was dropped before the message was complete. The server discards what it has
    /// received of it, and the session is over.
    Interrupted,
    /// The answer exceeds this limit, in bytes. The rest of it is skipped, and the session goes on.
    TooLarge(u64),
    /// A value cannot be used: an address, for example. Nothing was sent.
    Invalid(String),
}

impl Error {
    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Session(error) => error.kind(),
            Self::Imap(_) | Self::Smtp(_) | Self::Interrupted => ErrorKind::Unavailable,
            Self::TooLarge(_) => ErrorKind::Protocol,
            Self::Invalid(_) => ErrorKind::Config,
        }
    }

    /// Returns whether the same attempt may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Session(error) => error.is_retryable(),
            Self::Imap(status) => matches!(
                status.view().code,
                Some(ResponseCode::Plain(PlainCode::Unavailable | PlainCode::InUse | PlainCode::TempFail))
            ),
            Self::Smtp(response) => response.is_transient(),
            Self::Interrupted => true,
            Self::TooLarge(_) | Self::Invalid(_) => false,
        }
    }

    /// Returns the SMTP reply code of the server, if its reply caused the error.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Session(error) => error.code(),
            Self::Smtp(response) => Some(response.code().get()),
            _ => None,
        }
    }

    /// Returns the enhanced status code (RFC 3463) in the server's reply, such as `5.7.8`.
    #[must_use]
    pub fn enhanced_code(&self) -> Option<String> {
        match self {
            Self::Session(error) => error.enhanced_code().map(str::to_owned),
            Self::Smtp(response) => response.enhanced().map(|code| code.to_string()),
            _ => None,
        }
    }

    /// Returns the server's text, if its response caused the error.
    #[must_use]
    pub fn server_text(&self) -> Option<String> {
        match self {
            Self::Session(io_common::Error::Protocol(error)) => error.server_text().map(str::to_owned),
            Self::Session(error) => error.server_text().map(str::to_owned),
            Self::Imap(status) => Some(status.view().text.to_string()),
            Self::Smtp(response) => Some(response.text()),
            _ => None,
        }
    }

    /// Returns what to try, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Session(error) => error.hint(),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => error.fmt(f),
            Self::Imap(status) => {
                let status = status.view();
                let what = if status.condition == Condition::Bad { "does not accept" } else { "rejected" };
                write!(f, "the server {what} the command: {} {}", status.condition.as_str(), status.text)
            }
            Self::Smtp(response) => write!(f, "the server rejected the command: {response}"),
            Self::Interrupted => f.write_str(
                "the session is over: a message was not sent completely, because its future was dropped",
            ),
            Self::TooLarge(limit) => write!(f, "the server's answer exceeds {limit} bytes"),
            Self::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Session(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io_common::Error> for Error {
    fn from(error: io_common::Error) -> Self {
        Self::Session(error)
    }
}

impl From<io_common::tls::TlsConfigError> for Error {
    fn from(error: io_common::tls::TlsConfigError) -> Self {
        Self::Session(error.into())
    }
}

impl From<proto_mail::Error> for Error {
    fn from(error: proto_mail::Error) -> Self {
        Self::Session(error.into())
    }
}

/// An error of a reader or writer of this crate becomes what it was before.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) => io_common::Error::io("reading or writing")(error).into(),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Session(io_common::Error::Io { source, .. }) => source,
            error => Self::other(error),
        }
    }
}
