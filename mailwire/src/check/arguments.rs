//! The command line of `check`.

use clap::{Args, ValueEnum};
use mailclient::diagnosis::Stage;
use mailclient::endpoint::Url;

use crate::options::{ConnectionOptions, OutputOptions, UrlParser};

/// The arguments of `mailwire check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The server and the user, for example imaps://user@host. Without a user, the check ends after the capabilities.
    #[arg(value_parser = UrlParser)]
    pub(crate) url: Url,
    /// Stop after this stage.
    #[arg(long, value_name = "STAGE")]
    pub(crate) stop_after: Option<StageName>,
    /// Explain why each of the other mechanisms was not used for the login.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// A stage of a check, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StageName {
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

impl From<StageName> for Stage {
    fn from(name: StageName) -> Self {
        match name {
            StageName::Name => Self::Name,
            StageName::Tcp => Self::Tcp,
            StageName::Greeting => Self::Greeting,
            StageName::Tls => Self::Tls,
            StageName::Certificate => Self::Certificate,
            StageName::Capabilities => Self::Capabilities,
            StageName::Login => Self::Login,
            StageName::Folders => Self::Folders,
        }
    }
}
