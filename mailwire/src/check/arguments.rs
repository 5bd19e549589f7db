//! The command line of `check`.

use clap::{Args, ValueEnum};

use crate::options::{ConnectionOptions, OutputOptions, UrlParser};
use crate::url::Url;

/// The arguments of `mailwire check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The server and the user, for example imaps://user@host. Without a user, the check ends after the capabilities.
    #[arg(value_parser = UrlParser)]
    pub(crate) url: Url,
    /// Stop after this stage.
    #[arg(long, value_name = "STAGE")]
    pub(crate) stop_after: Option<Stage>,
    /// Explain why each of the other mechanisms was not used for the login.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// A stage of a check, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Stage {
    /// The host name is resolved.
    Name,
    /// The TCP connection is established.
    Tcp,
    /// The server has sent its greeting. With implicit TLS, this follows the TLS handshake.
    Greeting,
    /// The TLS handshake is complete.
    Tls,
    /// The server's certificate is verified.
    Certificate,
    /// The server's capabilities are known.
    Capabilities,
    /// The user is logged in.
    Login,
    /// The folders are listed (IMAP only).
    Folders,
}

impl Stage {
    /// Returns the stage's name in the output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Tcp => "tcp",
            Self::Greeting => "greeting",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::Capabilities => "capabilities",
            Self::Login => "login",
            Self::Folders => "folders",
        }
    }
}
