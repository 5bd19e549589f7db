//! Errors, sorted by who is to blame. NO, BAD, 4xx and 5xx are outcomes and not errors: they are not here.
//!
//! An error here ends the session: the machine keeps it in the place of its state and returns it ever after, and
//! what there was to say to the peer (`* BYE`, `421`) is already in the send buffer.

use core::fmt;

use crate::sasl::NoMechanism;

/// Why a session cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The peer did what it must not do.
    Peer(PeerError),
    /// A limit was reached that protects us from the peer.
    Limit(Limit),
    /// The program called what it must not call in this state. Never caused by what a peer sends.
    Misuse(Misuse),
}

/// What a peer did that it must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerError {
    /// Octets came behind the STARTTLS command or its answer and before TLS (RFC 3207 §4.2, RFC 9051 §6.2.1).
    PlaintextAfterStartTls,
    /// The peer closed the connection where it must not, in the middle of something.
    UnexpectedEnd,
    /// The peer closed a TLS connection without saying so: what came last may have been cut.
    Truncated,
    /// The greeting is not one of this protocol.
    InvalidGreeting,
    /// What came in place of a greeting is a TLS record: the port speaks implicit TLS.
    TlsInCleartext,
    /// A client spoke before it was greeted (RFC 5321 §4.3.1).
    EarlyTalker,
    /// An answer came to a command that was not given, or not yet sent in full.
    UnexpectedReply,
    /// A tagged response bears a tag that no command in progress has.
    UnknownTag,
    /// A continuation request came with nothing to continue.
    UnexpectedContinuation,
    /// STARTTLS is not offered, and TLS is required.
    StartTlsNotOffered,
    /// STARTTLS was refused, and TLS is required.
    StartTlsRefused,
    /// The session claims to be authenticated before TLS (RFC 9051 §7.1.4).
    PreauthOnCleartext,
    /// A line cannot be read as anything of this protocol, and where it ends is in doubt.
    Malformed,
    /// The lines of one reply bear different codes (RFC 5321 §4.2.1).
    MixedReplyCodes,
    /// A bare CR, a bare LF or a NUL stands where none may.
    ForbiddenByte,
    /// The server said that authentication succeeded before the mechanism had finished: its identity is not proved.
    AuthenticationNotFinished,
    /// The server refused the connection in its greeting.
    Refused,
    /// The server says good-bye.
    ServerClosing,
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
    /// A command or response, with all its literals, is larger than [`Limits::frame`](crate::Limits::frame).
    Frame,
    /// A reply has more lines than [`Limits::reply_lines`](crate::Limits::reply_lines).
    ReplyLines,
    /// More errors than [`Limits::errors`](crate::Limits::errors).
    Errors,
    /// More failed authentications than [`Limits::auth_attempts`](crate::Limits::auth_attempts).
    AuthAttempts,
    /// More commands than [`Limits::commands_before_auth`](crate::Limits::commands_before_auth) without authentication.
    CommandsBeforeAuth,
    /// What was awaited did not come in time.
    Timeout(crate::WaitFor),
}

/// A call that the program must not make in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// The token answers nothing that is open now: it is of another session or was answered before.
    StaleToken,
    /// The command is not allowed in this state.
    WrongState,
    /// A payload is longer or shorter than was announced.
    WrongLength,
    /// The mechanism needs other credentials, or would reveal a password where it must not.
    WrongMechanism,
    /// No mechanism can be used for these credentials, with the reasons.
    NoMechanism(NoMechanism),
    /// The credentials hold what the mechanism cannot carry: a NUL, what SASLprep forbids (RFC 4013), or, where the
    /// feature `saslprep` is off, anything beyond ASCII in SCRAM.
    UnencodableCredentials,
    /// An argument holds an octet that would change the meaning of the line (CR, LF, NUL).
    ForbiddenByte,
    /// An argument cannot be written in the protocol's grammar.
    InvalidArgument,
    /// An argument belongs to an extension that the peer does not offer, or not on this channel.
    NotOffered,
    /// The session is over.
    Closed,
}

impl Error {
    /// Whether a new connection may well succeed without anything being changed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Limit(Limit::Timeout(_))
                | Self::Peer(PeerError::UnexpectedEnd | PeerError::Truncated | PeerError::ServerClosing)
        )
    }

    /// Whether going on would have broken a promise about secrecy or integrity.
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

impl PeerError {
    const fn text(self) -> &'static str {
        match self {
            Self::PlaintextAfterStartTls => {
                "octets came in cleartext behind STARTTLS, where only TLS may follow: somebody may be injecting \
                 commands or responses; do not use this connection or network"
            }
            Self::UnexpectedEnd => "the connection was closed in the middle of a conversation: try again",
            Self::Truncated => {
                "TLS ended without its closing alert: what came last may have been cut; try again"
            }
            Self::InvalidGreeting => "what came first is no greeting of this protocol: check host and port",
            Self::TlsInCleartext => {
                "the port speaks TLS from the first byte: try implicit TLS (993 for IMAP, 465 for SMTP)"
            }
            Self::EarlyTalker => "the client spoke before it was greeted",
            Self::UnexpectedReply => {
                "an answer came to a command that was not given: the connection is out of step"
            }
            Self::UnknownTag => {
                "a response bears a tag that no command in progress has: the connection is out of step"
            }
            Self::UnexpectedContinuation => "the server asks to continue where nothing is to be continued",
            Self::StartTlsNotOffered => {
                "the server does not offer STARTTLS and an encrypted connection is required: try implicit TLS \
                 (993 for IMAP, 465 for SMTP)"
            }
            Self::StartTlsRefused => {
                "the server refused STARTTLS and an encrypted connection is required: try implicit TLS (993 for \
                 IMAP, 465 for SMTP), or later"
            }
            Self::PreauthOnCleartext => {
                "the server says the session is authenticated before TLS: that would skip encryption; the \
                 connection was closed"
            }
            Self::Malformed => "a line cannot be read as anything of this protocol",
            Self::MixedReplyCodes => "the lines of one reply bear different codes",
            Self::ForbiddenByte => "a bare CR, a bare LF or a NUL stands where none may",
            Self::AuthenticationNotFinished => {
                "the server claims success before the authentication was finished: its identity is not proved"
            }
            Self::Refused => "the server refuses the connection: try later",
            Self::ServerClosing => "the server closes the session: try later",
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
            Self::Errors => "there were too many errors",
            Self::AuthAttempts => "there were too many failed authentications",
            Self::CommandsBeforeAuth => "there were too many commands before authentication",
            Self::Timeout(wait) => wait.timeout_text(),
        }
    }
}

impl Misuse {
    const fn text(self) -> &'static str {
        match self {
            Self::StaleToken => {
                "the token answers nothing that is open now: answer each token once, on its own session"
            }
            Self::WrongState => "the command is not allowed in this state: see the state's documentation",
            Self::WrongLength => "the payload's length is not the announced one",
            Self::WrongMechanism => {
                "the mechanism does not fit the credentials or the channel: choose another"
            }
            Self::NoMechanism(_) => "no mechanism can be used for these credentials",
            Self::UnencodableCredentials => {
                "the user name or password holds what the mechanism cannot carry: try another mechanism"
            }
            Self::ForbiddenByte => "an argument holds CR, LF or NUL: remove it",
            Self::InvalidArgument => {
                "an argument cannot be written: it is empty, out of range, nested too deeply, or no atom where \
                 only an atom can stand"
            }
            Self::NotOffered => {
                "an argument belongs to an extension that is not offered here: leave it out, or use another server"
            }
            Self::Closed => "the session is over: open a new one",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Misuse(Misuse::NoMechanism(reasons)) = self {
            return reasons.fmt(f);
        }
        f.write_str(match self {
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
