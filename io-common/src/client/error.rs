//! Why a command of a typed client failed.

use std::{fmt, io};

use proto_imap::types::{Condition, Owned, PlainCode, ResponseCode, StatusResponse};
use proto_mail::{ErrorDetails, printable};
use proto_smtp::{client::Recipient, types::Response};

use crate::{
    error::{CHECK_CREDENTIALS, Error, ErrorKind, write_with_hint},
    tls::error::TlsConfigError,
};

/// Why a connection, a session or a command of a typed client failed.
///
/// `Debug` writes the message and the hint for people, because a `main` that returns an error shows that.
#[non_exhaustive]
pub enum ClientError {
    /// The connection or the session failed. The session is over, unless the cause is
    /// [`Misuse`](proto_mail::Error::Misuse).
    Session(Error),
    /// An IMAP server rejected the command (NO, BAD). The session goes on.
    Imap(Box<Owned<StatusResponse<'static>>>),
    /// An IMAP server rejected the login (NO, BAD). The session goes on. SMTP has
    /// [`Error::AuthenticationFailed`] for this.
    ImapLogin(Box<Owned<StatusResponse<'static>>>),
    /// An SMTP server rejected the command (4yz, 5yz). The session goes on.
    Smtp(Box<Response<'static>>),
    /// The program stopped in the middle, and the session is over. It dropped the writer of a message, or the future that
    /// sends one, before the message was complete; the server discards what it has received of it. Or it dropped a FETCH,
    /// and more was due than is skipped.
    Interrupted,
    /// The answer exceeds this limit, in bytes. The rest of it is skipped, and the session goes on.
    TooLarge(u64),
    /// A mailbox has more messages than this limit, or the server says so. The session goes on.
    TooManyMessages(u32),
    /// A value cannot be used: an address, for example. Nothing was sent.
    Invalid(String),
    /// A message was not delivered to every recipient.
    NotDelivered(Box<Undelivered>),
}

/// A message that was not delivered to every recipient.
#[derive(Debug)]
#[non_exhaustive]
pub struct Undelivered {
    /// The recipients that do not have the message, or may not have it, each with its outcome.
    pub recipients: Vec<Recipient>,
    /// The number of all recipients.
    pub of: usize,
    /// The error that ended the session, if one did.
    pub error: Option<ClientError>,
}

/// How many recipients an error names.
const SHOWN: usize = 3;

impl ClientError {
    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Session(error) => error.kind(),
            Self::ImapLogin(_) => ErrorKind::Authentication,
            Self::NotDelivered(undelivered) => match &undelivered.error {
                Some(error) => error.kind(),
                None => ErrorKind::Unavailable,
            },
            Self::Imap(_) | Self::Smtp(_) | Self::Interrupted => ErrorKind::Unavailable,
            Self::TooLarge(_) | Self::TooManyMessages(_) => ErrorKind::Protocol,
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
            Self::NotDelivered(undelivered) => {
                let recipients = &undelivered.recipients;
                !recipients.is_empty() && recipients.iter().all(|one| one.outcome().is_retryable())
            }
            Self::TooLarge(_) | Self::TooManyMessages(_) | Self::Invalid(_) | Self::ImapLogin(_) => false,
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
            Self::Session(Error::Protocol(error)) => error.server_text().map(str::to_owned),
            Self::Session(error) => error.server_text().map(str::to_owned),
            Self::Imap(status) | Self::ImapLogin(status) => Some(status.view().text.to_string()),
            Self::Smtp(response) => Some(response.text()),
            _ => None,
        }
    }

    /// Returns what to try, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Session(error) => error.hint(),
            Self::ImapLogin(_) => Some(CHECK_CREDENTIALS.to_owned()),
            Self::NotDelivered(undelivered) => undelivered.error.as_ref().and_then(Self::hint),
            _ => None,
        }
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_hint(f, self, self.hint())
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => error.fmt(f),
            Self::Imap(status) => {
                let status = status.view();
                let what = if status.condition == Condition::Bad { "does not accept" } else { "rejected" };
                let text = printable(&status.text.to_string());
                write!(f, "the server {what} the command: {} {text}", status.condition.as_str())
            }
            Self::ImapLogin(status) => {
                let status = status.view();
                let text = printable(&status.text.to_string());
                write!(f, "logging in failed: {} {text}", status.condition.as_str())
            }
            Self::Smtp(response) => write!(f, "the server rejected the command: {response}"),
            Self::Interrupted => f.write_str(
                "the session is over: the program stopped in the middle of a message or of a large answer",
            ),
            Self::TooLarge(limit) => write!(f, "the server's answer exceeds {limit} bytes"),
            Self::TooManyMessages(limit) => write!(f, "the mailbox has more than {limit} messages"),
            Self::Invalid(what) => f.write_str(what),
            Self::NotDelivered(undelivered) => undelivered.fmt(f),
        }
    }
}

/// Names the first recipients.
impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, of) = (self.recipients.len(), self.of);
        write!(f, "the message was not delivered to {count} of {of} recipients")?;
        for one in self.recipients.iter().take(SHOWN) {
            write!(f, "; {}", printable(&one.to_string()))?;
        }
        match &self.error {
            Some(error) => write!(f, "; {error}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Session(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for ClientError {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

impl From<TlsConfigError> for ClientError {
    fn from(error: TlsConfigError) -> Self {
        Self::Session(error.into())
    }
}

impl From<proto_mail::Error> for ClientError {
    fn from(error: proto_mail::Error) -> Self {
        Self::Session(error.into())
    }
}

/// An error of a body or writer of a typed client becomes what it was before.
impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) => Error::io("reading or writing")(error).into(),
        }
    }
}

impl From<ClientError> for io::Error {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Session(Error::Io { source, .. }) => source,
            error => Self::other(error),
        }
    }
}
