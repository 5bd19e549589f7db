//! Failures as a user sees them: what happened, what to try, and an exit code that a script can tell apart.

use std::fmt;

use crate::classify::ServerReply;
use crate::url::Url;

/// Why the command failed. The exit codes are those of `sysexits.h`, and 128 plus the signal after a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The command line makes no sense.
    Usage = 64,
    /// What was given as data cannot be used.
    Data = 65,
    /// The host name does not exist.
    NoHost = 68,
    /// A service or resource is not there.
    Unavailable = 69,
    /// A message may have been sent: to repeat the command may deliver it twice.
    Uncertain = 70,
    /// Standard output could not be written.
    Output = 74,
    /// Trying again later may help.
    TryAgain = 75,
    /// The peer does not speak the protocol.
    Protocol = 76,
    /// Refused: authentication or security policy.
    Refused = 77,
    /// A configuration file or setting is wrong.
    Configuration = 78,
    /// Ctrl-C (SIGINT) stopped the command cleanly.
    Interrupted = 130,
    /// SIGTERM stopped the command cleanly.
    Terminated = 143,
}

impl Kind {
    /// The exit code.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// A word for JSON.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Data => "data",
            Self::NoHost => "no-host",
            Self::Unavailable => "unavailable",
            Self::Uncertain => "uncertain",
            Self::Output => "output",
            Self::TryAgain => "try-again",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Configuration => "configuration",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }
}

/// What happened and what to try. Holds no password or token. The words of a server are in `what` and `server`, and may
/// hold a user name: store and log [`to_keep`](Failure::to_keep) only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// What happened, with the server's words.
    pub(crate) what: String,
    pub(crate) advice: Option<String>,
    /// What the server said, for programs.
    pub(crate) server: Option<Box<ServerReply>>,
    /// Which server, as host and port, where one had a part in it.
    pub(crate) place: Option<Box<(String, u16)>>,
    /// What happened without the server's words, where those are in `what`.
    own_words: Option<String>,
    /// Whether a server or the way to it had a part in it.
    is_remote: bool,
    /// The same may succeed without anything being changed, whatever the exit code says.
    pub(crate) is_transient: bool,
    /// Whether the connection has ended where it must not.
    is_closed: bool,
}

impl Failure {
    pub(crate) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            advice: None,
            server: None,
            place: None,
            own_words: None,
            is_remote: false,
            is_transient: matches!(kind, Kind::TryAgain),
            is_closed: false,
        }
    }

    /// A refusal by a server: `what` in our words, then the server's.
    pub(crate) fn said(kind: Kind, what: &str, reply: ServerReply) -> Self {
        Self {
            server: Some(Box::new(reply.clone())),
            own_words: Some(what.to_owned()),
            is_remote: true,
            ..Self::new(kind, format!("{what}: {reply}"))
        }
    }

    /// Marks that a server or the way to it had a part in it: [`at`](Self::at) then names it.
    #[must_use]
    pub(crate) const fn remote(mut self) -> Self {
        self.is_remote = true;
        self
    }

    /// Names the server, if one had a part in it.
    #[must_use]
    pub(crate) fn at(mut self, url: &Url) -> Self {
        if self.is_remote && self.place.is_none() {
            if !self.what.contains(&url.authority()) {
                self.what = format!("{}: {}", url.authority(), self.what);
            }
            self.place = Some(Box::new((url.host.clone(), url.port)));
        }
        self
    }

    /// The same of another kind.
    #[must_use]
    pub(crate) const fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self.is_transient = matches!(kind, Kind::TryAgain);
        self
    }

    /// Marks that the connection has ended where it must not.
    #[must_use]
    pub(crate) const fn closed(mut self) -> Self {
        self.is_closed = true;
        self
    }

    /// Whether the connection has ended where it must not. A peer that was silent for too long has not ended it.
    pub(crate) const fn is_closed_connection(&self) -> bool {
        self.is_closed
    }

    /// Adds to what happened, in our words and the whole.
    #[must_use]
    pub(crate) fn adding(mut self, more: &str) -> Self {
        self.what.push_str(more);
        self
    }

    /// What may be stored and logged: nothing of a server's words but a code that is known.
    pub(crate) fn to_keep(&self) -> String {
        let Some(own) = &self.own_words else { return self.what.clone() };
        match self.server.as_ref().and_then(|server| server.known_code()) {
            Some(code) => format!("{own} ({code})"),
            None => own.clone(),
        }
    }

    /// Adds what to try.
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Says whether the same may succeed without anything being changed.
    #[must_use]
    pub(crate) const fn transient(mut self, is_transient: bool) -> Self {
        self.is_transient = is_transient;
        self
    }

    /// A file that could not be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(Kind::Data, format!("{}: {error}", path.display()))
    }

    /// A file named by an option that cannot be read: what to do depends on why.
    pub(crate) fn reading(path: &std::path::Path, error: &std::io::Error) -> Self {
        let advice = match error.kind() {
            std::io::ErrorKind::NotFound => "check the name of the file",
            std::io::ErrorKind::PermissionDenied => "give the user who runs this the right to read the file",
            std::io::ErrorKind::IsADirectory => "the name of a file in that directory",
            _ => "another file",
        };
        Self::new(Kind::Configuration, format!("{}: {error}", path.display())).advise(advice)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.advice {
            Some(advice) => write!(f, "\n  try: {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<mailstore::Error> for Failure {
    fn from(error: mailstore::Error) -> Self {
        Self::new(Kind::Unavailable, format!("the store: {error}"))
    }
}

/// A store that cannot be opened: its directory is named, and what to try.
pub(crate) fn store_failure(directory: &std::path::Path, error: &mailstore::Error) -> Failure {
    Failure::new(Kind::Unavailable, format!("the store in {}: {error}", directory.display()))
        .advise("give --into a directory that you may write to, on a disk with free space")
}
