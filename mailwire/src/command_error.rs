//! The error that a command ends with or reports: what happened, what to try, and an exit code for scripts.

use std::fmt;

use mailclient::account::{AccountError, InvalidFields};
use mailclient::endpoint::Url;
use mailclient::refusal::known_code;
use mailclient::{ErrorKind, Hint, ServerReply, SyncLimit};

/// The exit code of a command that failed: one of `sysexits.h`, or 128 plus the number of the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ExitCode {
    /// The command line is invalid.
    Usage = 64,
    /// The input data cannot be used.
    Data = 65,
    /// The host name does not exist.
    NoHost = 68,
    /// A service or resource is unavailable.
    Unavailable = 69,
    /// A message may have been sent: repeating the command may deliver it twice.
    Uncertain = 70,
    /// Writing to standard output failed.
    Output = 74,
    /// A retry may succeed later.
    TryAgain = 75,
    /// The peer violated the protocol.
    Protocol = 76,
    /// Authentication failed, or the security policy forbids it.
    Refused = 77,
    /// A configuration file or setting is wrong.
    Configuration = 78,
    /// Ctrl-C (SIGINT) stopped the command cleanly.
    Interrupted = 130,
    /// SIGTERM stopped the command cleanly.
    Terminated = 143,
}

impl ExitCode {
    /// Returns the number.
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the name in JSON.
    pub(crate) const fn name(self) -> &'static str {
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

/// What happened and what to try.
///
/// Holds no password or token. The server's text in `what` and `server` may hold a user name: store and log only
/// [`storable`](CommandError::storable).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandError {
    pub(crate) exit_code: ExitCode,
    /// What happened, including the server's text.
    pub(crate) what: String,
    /// What to try.
    pub(crate) advice: Option<String>,
    /// The server's reply, for programs.
    pub(crate) server: Option<Box<ServerReply>>,
    /// The host and port of the server involved.
    pub(crate) host_port: Option<Box<(String, u16)>>,
    /// What happened without the server's text, if that is in `what`.
    own_text: Option<String>,
    /// Whether a server or the network was involved.
    is_remote: bool,
    /// A code that says more than the exit code, for programs.
    reason: Option<&'static str>,
    /// The fields of an account that are invalid.
    pub(crate) fields: Option<Box<InvalidFields>>,
    /// Whether a retry without any change may succeed, whatever the exit code says.
    pub(crate) is_transient: bool,
}

impl CommandError {
    /// Creates a local error without advice.
    pub(crate) fn new(exit_code: ExitCode, what: impl Into<String>) -> Self {
        Self {
            exit_code,
            what: what.into(),
            advice: None,
            server: None,
            host_port: None,
            own_text: None,
            is_remote: false,
            reason: None,
            fields: None,
            is_transient: matches!(exit_code, ExitCode::TryAgain),
        }
    }

    /// Marks an error in which a server or the network was involved, so that [`at`](Self::at) names the server.
    #[must_use]
    pub(crate) const fn remote(mut self) -> Self {
        self.is_remote = true;
        self
    }

    /// Sets a code that says more than the exit code, for programs.
    #[must_use]
    pub(crate) const fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Sets the code of a failure of the network or a server, unless there is a more precise one.
    #[must_use]
    pub(crate) fn or_reason(self, reason: &'static str) -> Self {
        let is_own = matches!(
            self.exit_code,
            ExitCode::Usage | ExitCode::Output | ExitCode::Interrupted | ExitCode::Terminated
        );
        if is_own || self.reason.is_some() { self } else { self.reason(reason) }
    }

    /// Returns the code that says more than the exit code, if there is one.
    pub(crate) const fn reason_code(&self) -> Option<&'static str> {
        self.reason
    }

    /// Adds the name of the server, if one was involved.
    #[must_use]
    pub(crate) fn at(mut self, url: &Url) -> Self {
        if self.is_remote && self.host_port.is_none() {
            if !self.what.contains(&url.authority()) {
                self.what = format!("{}: {}", url.authority(), self.what);
            }
            self.host_port = Some(Box::new((url.host.clone(), url.port)));
        }
        self
    }

    /// Appends to what happened.
    #[must_use]
    pub(crate) fn append(mut self, more: &str) -> Self {
        self.what.push_str(more);
        self
    }

    /// Returns the text that may be stored and logged: it holds no server text but known codes.
    pub(crate) fn storable(&self) -> String {
        let Some(own) = &self.own_text else { return self.what.clone() };
        match self.server.as_deref().and_then(known_code) {
            Some(code) => format!("{own} ({code})"),
            None => own.clone(),
        }
    }

    /// Sets what to try.
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Creates the error for a file that cannot be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(ExitCode::Data, format!("{}: {error}", path.display()))
    }

    /// Creates the error for an option's file that cannot be read, with advice for the cause.
    pub(crate) fn reading(path: &std::path::Path, error: &std::io::Error) -> Self {
        let advice = match error.kind() {
            std::io::ErrorKind::NotFound => "check the file name",
            std::io::ErrorKind::PermissionDenied => "let the user who runs this command read the file",
            std::io::ErrorKind::IsADirectory => "name a file in that directory",
            _ => "use another file",
        };
        Self::new(ExitCode::Configuration, format!("{}: {error}", path.display())).advise(advice)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.advice {
            Some(advice) => write!(f, "\n  try: {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CommandError {}

impl From<mailclient::Error> for CommandError {
    fn from(error: mailclient::Error) -> Self {
        Self {
            advice: error.hint().map(advice),
            server: error.reply().cloned().map(Box::new),
            own_text: error.own_text().map(str::to_owned),
            host_port: error.host_port().map(|(host, port)| Box::new((host.to_owned(), port))),
            is_remote: error.is_remote(),
            reason: error.code(),
            is_transient: error.is_retryable(),
            ..Self::new(error.kind().into(), describe_limit(&error))
        }
    }
}

impl From<ErrorKind> for ExitCode {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::InvalidInput => Self::Data,
            ErrorKind::NoHost => Self::NoHost,
            ErrorKind::Temporary => Self::TryAgain,
            ErrorKind::Protocol => Self::Protocol,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Configuration => Self::Configuration,
            ErrorKind::Stopped => Self::Interrupted,
            _ => Self::Unavailable,
        }
    }
}

/// Returns what happened, with the option that sets the limit that was exceeded.
fn describe_limit(error: &mailclient::Error) -> String {
    let option = match error.limit() {
        Some(SyncLimit::MessageBytes) => "--max-message",
        Some(SyncLimit::FolderMessages) => "--max-messages",
        Some(SyncLimit::TotalBytes) => "--max-total",
        Some(SyncLimit::FreeSpace) => "--keep-free",
        _ => return error.message().to_owned(),
    };
    format!("{} ({option})", error.message())
}

/// Returns a hint as advice that names the command's options.
fn advice(hint: &Hint) -> String {
    let text = match hint {
        Hint::CheckPassword => {
            "check the user name and the password; many providers require an app password or an OAuth token \
             (--token-command)"
        }
        Hint::RenewToken => {
            "sign in again, so that --token-command prints a new token; the token must be for this user and allow mail \
             access"
        }
        Hint::NeedsTls => "remove --danger-cleartext, or use imaps:// or smtps://",
        Hint::AllowCleartextLogin => "remove --danger-cleartext, or add --danger-cleartext-login",
        Hint::ChooseMechanism => {
            "choose another one with --mechanism; PLAIN and LOGIN reveal the password to the server"
        }
        Hint::ChooseOtherMechanism => "choose another --mechanism",
        Hint::CompareMechanisms => {
            "compare what the server offers with --mechanism; use --token-command if the server requires an OAuth token"
        }
        Hint::TrustCertificate(fingerprint) => {
            return format!(
                "if this is your own server: use --ca FILE with its authority's certificate, or compare the fingerprint \
                 with the one on the server and use --pin {fingerprint}"
            );
        }
        Hint::ListFolders => "run mailwire folders to list the names",
        hint => return hint.to_string(),
    };
    text.to_owned()
}

/// Converts a local error, of a command that prints credentials for example, for a library call that fails with it.
impl From<CommandError> for mailclient::Error {
    fn from(failure: CommandError) -> Self {
        let kind = match failure.exit_code {
            ExitCode::Usage => ErrorKind::Usage,
            ExitCode::Data => ErrorKind::InvalidInput,
            ExitCode::NoHost => ErrorKind::NoHost,
            ExitCode::TryAgain => ErrorKind::Temporary,
            ExitCode::Protocol => ErrorKind::Protocol,
            ExitCode::Refused => ErrorKind::Refused,
            ExitCode::Configuration => ErrorKind::Configuration,
            ExitCode::Interrupted | ExitCode::Terminated => ErrorKind::Stopped,
            ExitCode::Unavailable | ExitCode::Uncertain | ExitCode::Output => ErrorKind::Unavailable,
        };
        let error = Self::new(kind, failure.what);
        let error = if failure.is_remote { error.remote() } else { error };
        let error = match failure.reason {
            Some(reason) => error.with_code(reason),
            None => error,
        };
        match failure.advice {
            Some(advice) => error.advise(advice),
            None => error,
        }
    }
}

impl From<io_mio::Error> for CommandError {
    fn from(error: io_mio::Error) -> Self {
        mailclient::Error::from(error).into()
    }
}

impl From<proto_mail::Error> for CommandError {
    fn from(error: proto_mail::Error) -> Self {
        mailclient::Error::from(error).into()
    }
}

impl From<AccountError> for CommandError {
    fn from(error: AccountError) -> Self {
        let fields = match &error {
            AccountError::Invalid(fields) => Some(Box::new(fields.clone())),
            _ => None,
        };
        Self { fields, ..mailclient::Error::from(error).into() }
    }
}

impl From<mailstore::Error> for CommandError {
    fn from(error: mailstore::Error) -> Self {
        Self::new(ExitCode::Unavailable, format!("the store: {error}"))
    }
}

impl From<mailserver::Error> for CommandError {
    fn from(error: mailserver::Error) -> Self {
        match error {
            mailserver::Error::Store(error) => error.into(),
            mailserver::Error::Driver(error) => error.into(),
            error => Self::new(ExitCode::Unavailable, error.to_string()),
        }
    }
}

/// Creates the error for a store that cannot be opened.
pub(crate) fn store_error(directory: &std::path::Path, error: &mailstore::Error) -> CommandError {
    CommandError::new(ExitCode::Unavailable, format!("the store in {}: {error}", directory.display()))
        .advise("use --into with a writable directory on a disk with free space")
}
