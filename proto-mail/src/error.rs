//! Errors, sorted by who is to blame: the peer, a limit, or the program.
//!
//! NO, BAD, 4yz and 5yz replies to a command are results and not errors: they are not here. An [`Error`] ends its
//! session. The machine keeps it in place of its state and returns a clone of it from every later call, and what there
//! was to say to the peer (`* BYE`, `421`) is already in the send buffer.

use alloc::boxed::Box;
use core::fmt;

use crate::enhanced_code::EnhancedCode;
pub use crate::error_details::{ErrorCode, ErrorDetails};
use crate::proxy::InvalidHeader;
use crate::rejection::Rejection;
use crate::sasl::{NoMechanism, SaslError};

/// Why a session cannot continue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol, or did not do what this side requires.
    Peer(PeerError),
    /// The server refused the connection in its greeting, or ended the session (BYE, 421). The value has its words.
    Rejected(Rejection),
    /// A limit that protects this side was reached.
    Limit(Limit),
    /// The program made a call that is not allowed in this state. The peer cannot cause this.
    Misuse(Misuse),
}

/// What the peer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerError {
    /// The peer sent cleartext after STARTTLS, where only TLS may follow (RFC 3207 §4.2, RFC 9051 §6.2.1).
    PlaintextAfterStartTls,
    /// The peer sent something between COMPRESS and its reply, where it must wait (RFC 4978 §3).
    DataAfterCompress,
    /// The peer closed the connection in the middle of a session.
    UnexpectedEnd,
    /// The peer closed a TLS connection without a closing alert: the last bytes may be missing.
    Truncated,
    /// The first line is not a greeting of this protocol.
    InvalidGreeting,
    /// The first bytes are a TLS record: the port uses implicit TLS.
    TlsInCleartext,
    /// The client sent something before the greeting (RFC 5321 §4.3.1).
    EarlyTalker,
    /// The server replied to a command that was not sent, or not sent completely.
    UnexpectedReply,
    /// The server sent a tagged response whose tag no command in progress has.
    UnknownTag,
    /// The server sent a continuation request where nothing can be continued.
    UnexpectedContinuation,
    /// The server does not offer STARTTLS, and TLS is required.
    StartTlsNotOffered,
    /// The server refused STARTTLS, and TLS is required.
    StartTlsRefused,
    /// The server claims that the session is authenticated before TLS (RFC 9051 §7.1.4).
    PreauthOnCleartext,
    /// A line is not part of this protocol, and where it ends is unknown.
    Malformed,
    /// The lines of one reply have different codes (RFC 5321 §4.2.1).
    MixedReplyCodes,
    /// A line holds a bare CR, a bare LF or a NUL.
    ForbiddenByte,
    /// The server reported success before the mechanism had finished: the server is not authenticated.
    AuthenticationNotFinished,
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// A line is longer than [`Limits::line`](crate::Limits::line).
    Line,
    /// A literal is larger than [`Limits::literal`](crate::Limits::literal).
    Literal,
    /// A message is larger than [`Limits::message`](crate::Limits::message).
    Message,
    /// A command or response with its literals is larger than [`Limits::frame`](crate::Limits::frame).
    Frame,
    /// A reply has more lines than [`Limits::reply_lines`](crate::Limits::reply_lines).
    ReplyLines,
    /// The peer made as many errors as [`Limits::errors`](crate::Limits::errors).
    Errors,
    /// As many authentications failed as [`Limits::auth_attempts`](crate::Limits::auth_attempts).
    AuthAttempts,
    /// The client sent more commands than [`Limits::commands_before_auth`](crate::Limits::commands_before_auth) without
    /// authenticating.
    CommandsBeforeAuth,
    /// The client sent more commands in a row without progress than the server's settings allow.
    IdleCommands,
    /// The awaited event did not arrive in time.
    Timeout(crate::WaitFor),
}

/// A call that is not allowed in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// The token does not answer the open question: it belongs to another session, or was answered before.
    StaleToken,
    /// The command is not allowed in this state.
    WrongState,
    /// A payload is longer or shorter than announced.
    WrongLength,
    /// The mechanism needs other credentials, or would reveal a password where that is not allowed.
    WrongMechanism,
    /// No mechanism can be used with these credentials. The value has the reasons.
    NoMechanism(NoMechanism),
    /// The mechanism cannot transmit the credentials. They hold a NUL, or something that SASLprep forbids (RFC 4013); or,
    /// without the feature `saslprep`, they are not ASCII and the mechanism is SCRAM.
    UnencodableCredentials,
    /// An argument holds a byte that would change the meaning of the line: CR, LF or NUL.
    ForbiddenByte,
    /// A message holds a NUL, or a CR or LF that is not part of a CRLF (RFC 5321 §2.3.8).
    InvalidMessage,
    /// An argument cannot be written in the protocol's grammar.
    InvalidArgument,
    /// The command or an argument belongs to an extension that the peer does not offer, or does not offer on this channel.
    NotOffered,
    /// The message is larger than the peer accepts, as it has announced.
    TooLarge,
    /// The session is over.
    Closed,
}

/// Where a syntax error is, and what was there.
///
/// A parser adds this to its errors. Where the input may hold credentials, it uses [`redacted`](Self::redacted).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxLocation {
    offset: usize,
    excerpt: Option<Box<[u8]>>,
}

impl SyntaxLocation {
    /// The most bytes of the input that are kept.
    pub const MAX_EXCERPT: usize = 64;

    /// Creates the location at `offset` of `input`, with up to 64 bytes of the input from there.
    #[must_use]
    pub fn new(input: &[u8], offset: usize) -> Self {
        let rest = input.get(offset..).unwrap_or_default();
        let excerpt = rest.get(..Self::MAX_EXCERPT).unwrap_or(rest);
        Self { offset, excerpt: Some(excerpt.into()) }
    }

    /// Creates the location at `offset` with these bytes of the input from there, of which up to 64 are kept; `None` if
    /// they may hold credentials.
    #[must_use]
    pub fn excerpted(offset: usize, excerpt: Option<&[u8]>) -> Self {
        let excerpt = excerpt.map(|bytes| bytes.get(..Self::MAX_EXCERPT).unwrap_or(bytes).into());
        Self { offset, excerpt }
    }

    /// Creates a location without the input: it may hold credentials.
    #[must_use]
    pub const fn redacted(offset: usize) -> Self {
        Self { offset, excerpt: None }
    }

    /// Returns the offset of the error in the command or response, in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Returns up to 64 bytes of the input from the offset; `None` if they are redacted.
    #[must_use]
    pub fn excerpt(&self) -> Option<&[u8]> {
        self.excerpt.as_deref()
    }
}

impl fmt::Display for SyntaxLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}", self.offset)?;
        match self.excerpt() {
            None => f.write_str(": [redacted]"),
            Some([]) => f.write_str(": the end"),
            Some(excerpt) => write!(f, ": \"{}\"", excerpt.escape_ascii()),
        }
    }
}

impl Error {
    /// Returns true if a new connection may succeed, without anything being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Limit(Limit::Timeout(_)) | Self::Peer(PeerError::UnexpectedEnd | PeerError::Truncated) => {
                true
            }
            Self::Rejected(rejection) => rejection.is_retryable(),
            Self::Limit(_) | Self::Peer(_) | Self::Misuse(_) => false,
        }
    }

    const fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Peer(_) | Self::Limit(_) | Self::Misuse(_) => None,
        }
    }

    /// Returns true if continuing would have broken a promise about secrecy or integrity.
    #[must_use]
    pub const fn is_security(&self) -> bool {
        matches!(
            self,
            Self::Peer(
                PeerError::PlaintextAfterStartTls
                    | PeerError::Truncated
                    | PeerError::StartTlsNotOffered
                    | PeerError::StartTlsRefused
                    | PeerError::PreauthOnCleartext
                    | PeerError::UnexpectedReply
                    | PeerError::UnknownTag
                    | PeerError::UnexpectedContinuation
                    | PeerError::AuthenticationNotFinished
            )
        )
    }
}

/// Only [`Error::Rejected`] has words of the server.
impl ErrorDetails for Error {
    fn code(&self) -> Option<ErrorCode<'_>> {
        self.rejection()?.code()
    }

    fn enhanced_code(&self) -> Option<EnhancedCode> {
        self.rejection()?.enhanced_code()
    }

    fn server_text(&self) -> Option<&str> {
        self.rejection()?.server_text()
    }

    fn is_retryable(&self) -> bool {
        self.is_retryable()
    }
}

impl ErrorDetails for SaslError {}

impl ErrorDetails for NoMechanism {}

impl ErrorDetails for InvalidHeader {}

impl PeerError {
    const fn text(self) -> &'static str {
        match self {
            Self::PlaintextAfterStartTls => {
                "the peer sent cleartext after STARTTLS, where only TLS may follow: an attacker may be injecting \
                 commands or responses; do not use this connection or network"
            }
            Self::DataAfterCompress => "the client sent bytes behind COMPRESS before the server had answered",
            Self::UnexpectedEnd => "the peer closed the connection in the middle of a session: try again",
            Self::Truncated => {
                "the TLS connection ended without a closing alert: the last data may be incomplete; try again"
            }
            Self::InvalidGreeting => {
                "the server's first line is not a greeting of this protocol: check host and port"
            }
            Self::TlsInCleartext => {
                "the port uses TLS from the first byte: try implicit TLS (993 for IMAP, 465 for SMTP)"
            }
            Self::EarlyTalker => "the client sent a command before the greeting",
            Self::UnexpectedReply => {
                "the server replied to a command that was not sent: the connection is out of step"
            }
            Self::UnknownTag => {
                "the server used a tag that no command in progress has: the connection is out of step"
            }
            Self::UnexpectedContinuation => {
                "the server sent a continuation request where nothing can be continued"
            }
            Self::StartTlsNotOffered => {
                "the server does not offer STARTTLS and an encrypted connection is required: try implicit TLS \
                 (993 for IMAP, 465 for SMTP)"
            }
            Self::StartTlsRefused => {
                "the server refused STARTTLS and an encrypted connection is required: try implicit TLS (993 for \
                 IMAP, 465 for SMTP), or try later"
            }
            Self::PreauthOnCleartext => {
                "the server claims that the session is authenticated before TLS, which would skip encryption: the \
                 connection was closed"
            }
            Self::Malformed => "a line is not part of this protocol",
            Self::MixedReplyCodes => "the lines of one reply have different codes",
            Self::ForbiddenByte => "a line holds a bare CR, a bare LF or a NUL",
            Self::AuthenticationNotFinished => {
                "the server reported success before the authentication had finished: the server is not authenticated"
            }
        }
    }
}

impl Limit {
    const fn text(self) -> &'static str {
        match self {
            Self::Line => "a line is longer than the limit",
            Self::Literal => "a literal is larger than the limit",
            Self::Message => "a message is larger than the limit",
            Self::Frame => "a command or response is larger than the limit",
            Self::ReplyLines => "a reply has more lines than the limit",
            Self::Errors => "the peer made too many errors",
            Self::AuthAttempts => "too many authentications failed",
            Self::CommandsBeforeAuth => "the client sent too many commands before authentication",
            Self::IdleCommands => "the client sent too many commands without progress",
            Self::Timeout(awaited) => awaited.timeout_text(),
        }
    }
}

impl Misuse {
    const fn text(self) -> &'static str {
        match self {
            Self::StaleToken => {
                "the token does not answer the open question: answer each token once, on its own session"
            }
            Self::WrongState => {
                "the command is not allowed in this state: log in, select a mailbox, or finish the message or command \
                 before it"
            }
            Self::WrongLength => "the payload's length is not the announced one",
            Self::WrongMechanism => {
                "the mechanism does not fit the credentials or the channel: choose another one"
            }
            Self::NoMechanism(_) => "no mechanism can be used for these credentials",
            Self::UnencodableCredentials => {
                "the mechanism cannot transmit this user name or password: try another mechanism"
            }
            Self::ForbiddenByte => "an argument holds CR, LF or NUL: remove it",
            Self::InvalidMessage => {
                "the message holds a NUL, or a CR or LF that is not part of a CRLF: end each line with CRLF, or let the \
                 configuration normalize line endings"
            }
            Self::InvalidArgument => {
                "an argument cannot be written: it is empty, out of range, nested too deeply, or not an atom where \
                 an atom is required"
            }
            Self::TooLarge => "the message is larger than the peer accepts: make it smaller",
            Self::NotOffered => {
                "the command or an argument belongs to an extension that the peer does not offer: omit it, or use another \
                 server"
            }
            Self::Closed => "the session is over: open a new one",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misuse(Misuse::NoMechanism(reasons)) => return reasons.fmt(f),
            Self::Rejected(rejection) => return rejection.fmt(f),
            Self::Peer(error) => error.text(),
            Self::Limit(error) => error.text(),
            Self::Misuse(error) => error.text(),
        })
    }
}

impl core::error::Error for Error {}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<Limit> for Error {
    fn from(error: Limit) -> Self {
        Self::Limit(error)
    }
}

impl From<Misuse> for Error {
    fn from(error: Misuse) -> Self {
        Self::Misuse(error)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::rejection::RejectionKind;

    #[test]
    fn a_syntax_location_keeps_64_bytes_of_the_input() {
        let input = [b'x'; 200];
        let location = SyntaxLocation::new(&input, 100);
        assert_eq!((location.offset(), location.excerpt()), (100, Some(&input[..64])));
        assert_eq!(SyntaxLocation::new(&input, 190).excerpt(), Some(&input[..10]));
        assert_eq!(SyntaxLocation::new(&input, 201).excerpt(), Some(&[][..]));
        assert_eq!(SyntaxLocation::new(b"a \xff\r\n", 2).to_string(), r#"at byte 2: "\xff\r\n""#);
        assert_eq!(SyntaxLocation::new(b"a", 1).to_string(), "at byte 1: the end");
    }

    #[test]
    fn a_redacted_location_holds_nothing_of_the_input() {
        let location = SyntaxLocation::redacted(8);
        assert_eq!((location.offset(), location.excerpt()), (8, None));
        assert_eq!(location.to_string(), "at byte 8: [redacted]");
    }

    #[test]
    fn every_error_can_be_used_as_details() {
        let late = Error::from(Limit::Timeout(crate::WaitFor::Reply));
        let details: &dyn ErrorDetails = &late;
        assert!(details.is_retryable());
        assert_eq!((details.code(), details.enhanced_code(), details.server_text()), (None, None, None));
        assert!(!ErrorDetails::is_retryable(&Error::from(Misuse::Closed)));
    }

    #[test]
    fn a_rejection_is_an_error_with_the_words_of_the_server() {
        let enhanced = EnhancedCode::new(4, 3, 2);
        let code = Some(ErrorCode::Smtp(421));
        let error = Error::from(Rejection::new(RejectionKind::Session, code, enhanced, "shutting down"));
        let details: &dyn ErrorDetails = &error;
        assert_eq!((details.code(), details.enhanced_code()), (code, enhanced));
        assert_eq!(details.server_text(), Some("shutting down"));
        assert!(details.is_retryable());
        assert_eq!(error.to_string(), "the server is closing the session (421 4.3.2): try later");
    }

    #[test]
    fn an_error_is_small() {
        // It is part of the result of every call of a machine.
        assert!(size_of::<Error>() <= 24, "{}", size_of::<Error>());
    }

    #[test]
    fn errors_without_a_reply_have_no_details_and_cannot_be_retried() {
        let none = crate::sasl::choose_mechanism(
            &[],
            crate::Mechanisms::NONE,
            crate::Mechanisms::NONE,
            &crate::sasl::SaslContext::cleartext(),
            &crate::Credentials::password("u", &b"p"[..]),
        );
        let none = none.into_result().unwrap_err();
        let errors: [&dyn ErrorDetails; 3] = [&SaslError::TooLong, &none, &InvalidHeader];
        for error in errors {
            assert_eq!((error.code(), error.enhanced_code(), error.server_text()), (None, None, None));
            assert!(!error.is_retryable() && !error.to_string().is_empty());
        }
    }
}
