//! The command line of `check`.

use clap::{Args, ValueEnum};
use mailclient::diagnosis::Stage;
use mailclient::endpoint::{Protocol, Url};

use crate::account_access::AccountOptions;
use crate::options::{ConnectionOptions, OutputOptions, UrlParser};

/// The arguments of `mailwire check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The server and the user, for example imaps://user@host. Without a user, the check ends after the capabilities.
    #[arg(value_parser = UrlParser, required_unless_present = "account", conflicts_with = "account")]
    pub(crate) url: Option<Url>,
    /// With --account, check this server of the account.
    #[arg(
        long,
        value_enum,
        value_name = "PROTOCOL",
        default_value_t,
        requires = "account",
        help_heading = "Account"
    )]
    pub(crate) protocol: ServerProtocol,
    /// Stop after this stage.
    #[arg(long, value_name = "STAGE")]
    pub(crate) stop_after: Option<StageName>,
    /// Explain why each of the other mechanisms was not used for the login.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) account: AccountOptions,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// A server of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ServerProtocol {
    /// The IMAP server.
    #[default]
    Imap,
    /// The submission server.
    Smtp,
}

impl From<ServerProtocol> for Protocol {
    fn from(protocol: ServerProtocol) -> Self {
        match protocol {
            ServerProtocol::Imap => Self::Imap,
            ServerProtocol::Smtp => Self::Smtp,
        }
    }
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
