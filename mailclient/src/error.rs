//! The error of the client: what happened, what kind of failure it is, and what to try.

use std::borrow::Cow;
use std::fmt;

use io_common::Fingerprint;

use crate::endpoint::Url;
use crate::refusal::known_code;
use crate::server_reply::ServerReply;

/// The kind of a failure, for a program's exit code for example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's settings contradict each other.
    Usage,
    /// What the caller gave cannot be used, such as the name of a folder that does not exist.
    InvalidInput,
    /// The host name does not exist.
    NoHost,
    /// A service or resource is unavailable, or the server refused for good.
    Unavailable,
    /// A retry may succeed later.
    Temporary,
    /// The server violated the protocol.
    Protocol,
    /// Authentication failed, or to go on would break a promise about secrecy or integrity.
    Refused,
    /// A setting or a file of it is wrong.
    Configuration,
    /// The caller stopped the work.
    Stopped,
}

/// What to try after a failure. `Display` gives a sentence for people; a program with options of its own may match the
/// variants and name its options instead.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Check the user name and the password.
    CheckPassword,
    /// Sign in again for a new access token.
    RenewToken,
    /// The server accepts no login without TLS.
    NeedsTls,
    /// Log in with TLS, or allow a login without it.
    AllowCleartextLogin,
    /// Choose another mechanism: the server refused the one that keeps the password secret.
    ChooseMechanism,
    /// Choose another mechanism: the server does not understand the login.
    ChooseOtherMechanism,
    /// Compare the mechanisms that the server offers with the allowed ones.
    CompareMechanisms,
    /// Trust the authority of the server's certificate, or the certificate itself.
    TrustCertificate(Fingerprint),
    /// Use STARTTLS or no TLS, but not both implicit TLS and no TLS.
    UseStartTlsScheme,
    /// List the folders to learn their names.
    ListFolders,
    /// Anything else.
    Text(Cow<'static, str>),
}

impl Hint {
    /// The hint to try again later.
    pub const TRY_LATER: Self = Self::Text(Cow::Borrowed("try again later"));
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CheckPassword => {
                "check the user name and the password; many providers require an app password or an OAuth token"
            }
            Self::RenewToken => {
                "sign in again for a new token; the token must be for this user and allow mail access"
            }
            Self::NeedsTls => "use TLS",
            Self::AllowCleartextLogin => "use TLS, or allow a login without it",
            Self::ChooseMechanism => {
                "choose another mechanism; PLAIN and LOGIN reveal the password to the server"
            }
            Self::ChooseOtherMechanism => "choose another mechanism",
            Self::CompareMechanisms => {
                "compare what the server offers with the allowed mechanisms; use a token if the server requires OAuth"
            }
            Self::TrustCertificate(fingerprint) => {
                return write!(
                    f,
                    "if this is your own server: trust its authority's certificate, or compare the fingerprint with the \
                     one on the server and pin {fingerprint}"
                );
            }
            Self::UseStartTlsScheme => "use imap:// or smtp://",
            Self::ListFolders => "list the folders to learn their names",
            Self::Text(text) => text,
        })
    }
}

/// A limit of a sync that the caller can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyncLimit {
    /// The bytes of one message.
    MessageBytes,
    /// The messages of one folder.
    FolderMessages,
    /// The bytes of one run.
    TotalBytes,
    /// The disk space to leave free.
    FreeSpace,
}

/// Why an operation of the client failed.
///
/// It holds no password or token. The server's text in [`message`](Self::message) and [`reply`](Self::reply) may hold a
/// user name: store and log only [`storable`](Self::storable).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<Hint>,
    reply: Option<Box<ServerReply>>,
    /// What happened without the server's text, if that is in `message`.
    own_text: Option<Box<str>>,
    origin: Origin,
    /// The host and port of the server involved.
    host_port: Option<Box<(String, u16)>>,
    limit: Option<SyncLimit>,
    code: Option<&'static str>,
    is_retryable: bool,
    /// Whether the connection closed unexpectedly.
    is_closed: bool,
}

/// Where an error comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Local,
    Remote,
}

impl Error {
    /// Creates a local error without a hint.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            reply: None,
            own_text: None,
            origin: Origin::Local,
            host_port: None,
            limit: None,
            code: None,
            is_retryable: matches!(kind, ErrorKind::Temporary),
            is_closed: false,
        }
    }

    /// Creates the error for a server's refusal: `what` says what it refused, and the server's text follows.
    #[must_use]
    pub fn refused(kind: ErrorKind, what: &str, reply: ServerReply) -> Self {
        Self {
            own_text: Some(what.into()),
            origin: Origin::Remote,
            ..Self { reply: Some(Box::new(reply.clone())), ..Self::new(kind, format!("{what}: {reply}")) }
        }
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns what happened, with the server's text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns what to try.
    #[must_use]
    pub const fn hint(&self) -> Option<&Hint> {
        self.hint.as_ref()
    }

    /// Returns the reply with which the server refused.
    #[must_use]
    pub fn reply(&self) -> Option<&ServerReply> {
        self.reply.as_deref()
    }

    /// Returns what happened without the server's text, if [`message`](Self::message) holds it.
    #[must_use]
    pub fn own_text(&self) -> Option<&str> {
        self.own_text.as_deref()
    }

    /// Returns the host and port of the server involved, if [`at`](Self::at) has named it.
    #[must_use]
    pub fn host_port(&self) -> Option<(&str, u16)> {
        self.host_port.as_deref().map(|(host, port)| (host.as_str(), *port))
    }

    /// Adds the name of the server, if one was involved.
    #[must_use]
    pub fn at(mut self, url: &Url) -> Self {
        if self.is_remote() && self.host_port.is_none() {
            if !self.message.contains(&url.authority()) {
                self.message = format!("{}: {}", url.authority(), self.message);
            }
            self.host_port = Some(Box::new((url.host.clone(), url.port)));
        }
        self
    }

    /// Returns the limit of a sync that was exceeded.
    #[must_use]
    pub const fn limit(&self) -> Option<SyncLimit> {
        self.limit
    }

    /// Names the limit of a sync that was exceeded.
    #[must_use]
    pub(crate) const fn exceeding(mut self, limit: SyncLimit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Returns a code for programs that says more than the kind, such as `email_encryption_key_missing`, if there is one.
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// Sets the code.
    #[must_use]
    pub const fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Returns whether a server or the network was involved.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.origin == Origin::Remote
    }

    /// Returns whether the same attempt may succeed later without any change.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.is_retryable
    }

    /// Returns whether the connection closed unexpectedly. A timeout does not count.
    #[must_use]
    pub const fn is_closed_connection(&self) -> bool {
        self.is_closed
    }

    /// Returns whether the server refused one command with NO or BAD, so that the session can continue.
    #[must_use]
    pub fn is_command_refusal(&self) -> bool {
        self.reply().is_some_and(|reply| matches!(reply.condition, Some("NO" | "BAD")))
    }

    /// Returns the text that may be stored and logged: it holds no server text but known codes.
    #[must_use]
    pub fn storable(&self) -> String {
        let Some(own) = &self.own_text else { return self.message.clone() };
        match self.reply().and_then(known_code) {
            Some(code) => format!("{own} ({code})"),
            None => own.clone().into(),
        }
    }

    /// Marks an error in which a server or the network was involved.
    #[must_use]
    pub const fn remote(mut self) -> Self {
        self.origin = Origin::Remote;
        self
    }

    /// Replaces the kind, and with it whether a retry may help.
    #[must_use]
    pub const fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self.is_retryable = matches!(kind, ErrorKind::Temporary);
        self
    }

    /// Takes from a driver's error whether a retry may help, whatever the kind says.
    #[must_use]
    pub(crate) fn retryable_like(mut self, error: &io_common::Error) -> Self {
        self.is_retryable = error.is_retryable();
        self
    }

    /// Marks that the connection closed unexpectedly.
    #[must_use]
    pub(crate) const fn closed(mut self) -> Self {
        self.is_closed = true;
        self
    }

    /// Appends to what happened.
    #[must_use]
    pub fn append(mut self, more: &str) -> Self {
        self.message.push_str(more);
        self
    }

    /// Sets what to try.
    #[must_use]
    pub fn with_hint(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Sets what to try, as text.
    #[must_use]
    pub fn advise(self, text: impl Into<Cow<'static, str>>) -> Self {
        self.with_hint(Hint::Text(text.into()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  try: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<mailstore::Error> for Error {
    fn from(error: mailstore::Error) -> Self {
        Self::new(ErrorKind::Unavailable, format!("the store: {error}"))
    }
}
