//! The command line of `account`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use mailclient::account::AuthMode;

use crate::account_access::{KeyOptions, store_directory};
use crate::command_error::CommandError;
use crate::options::{ConnectionOptions, OutputOptions};

const EXAMPLES: &str = "\
Examples:
  mailwire account add ann@example.org --create-key
  mailwire account add ann@example.org --imap-host imap.example.org --smtp-host smtp.example.org --smtp-security starttls
  mailwire account test ann@example.org
  mailwire sync
  mailwire send --account ann@example.org --to bob@example.net --subject Hi --text Hello

Passwords and tokens are encrypted with a key from EMAIL_ENCRYPTION_KEY (32 random bytes in base64) or from a file that
only you can read. Without the key nothing is stored, synced or sent.";

/// The arguments of `mailwire account`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AccountArgs {
    #[command(subcommand)]
    pub(crate) command: AccountCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Find the servers of an address, test them, and keep the account with its password.
    Add(Box<AddArgs>),
    /// List the accounts with their state and the report of the last sync.
    List(ListArgs),
    /// Show one account.
    Show(NamedArgs),
    /// Test both servers of an account, stage by stage.
    Test(TestArgs),
    /// Let the user of an account consent by OAuth 2.0, or enter its password again. Then test it.
    ///
    /// An account of --mode oauth_google needs GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET. One of oauth_microsoft needs
    /// MICROSOFT_CLIENT_ID, and may have MICROSOFT_CLIENT_SECRET and MICROSOFT_TENANT. For oauth_custom, the client secret
    /// comes from MAILWIRE_OAUTH_CLIENT_SECRET at the first time, and is kept encrypted.
    Connect(ConnectArgs),
    /// Neither sync an account nor send with it, until it is resumed.
    Pause(NamedArgs),
    /// Use a paused account again.
    Resume(NamedArgs),
    /// Remove an account and its secrets. Mail that was synced stays in the store.
    Remove(NamedArgs),
    /// Encrypt all secrets with a new key.
    ///
    /// The new key comes from EMAIL_ENCRYPTION_KEY_NEXT. Without it, a key file gets a new random key.
    Rekey(RekeyArgs),
}

impl AccountArgs {
    /// Returns the output options of the subcommand.
    pub(crate) fn output(&self) -> OutputOptions {
        match &self.command {
            AccountCommand::Add(arguments) => arguments.output,
            AccountCommand::List(arguments) => arguments.output,
            AccountCommand::Show(arguments)
            | AccountCommand::Pause(arguments)
            | AccountCommand::Resume(arguments)
            | AccountCommand::Remove(arguments) => arguments.output,
            AccountCommand::Test(arguments) => arguments.output,
            AccountCommand::Connect(arguments) => arguments.output,
            AccountCommand::Rekey(arguments) => arguments.output,
        }
    }
}

/// Where the accounts and the key are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Location {
    /// The store with the accounts. Default: mailwire/mail in the user's data directory.
    #[arg(long, value_name = "DIR", help_heading = "Account")]
    store: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyOptions,
}

impl Location {
    /// Returns the directory of the store.
    pub(crate) fn directory(&self) -> Result<PathBuf, CommandError> {
        store_directory(self.store.as_deref())
    }
}

/// How an account logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Mode {
    /// With a password.
    #[default]
    Password,
    /// With OAuth 2.0 tokens of Google.
    #[value(name = "oauth_google")]
    OauthGoogle,
    /// With OAuth 2.0 tokens of Microsoft.
    #[value(name = "oauth_microsoft")]
    OauthMicrosoft,
    /// With OAuth 2.0 tokens of the provider that the --oauth options name.
    #[value(name = "oauth_custom")]
    OauthCustom,
}

impl From<Mode> for AuthMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Password => Self::Password,
            Mode::OauthGoogle => Self::OauthGoogle,
            Mode::OauthMicrosoft => Self::OauthMicrosoft,
            Mode::OauthCustom => Self::OauthCustom,
        }
    }
}

const SERVERS: &str = "Servers (found by the address if no host is given)";
const OAUTH: &str = "OAuth 2.0 provider of --mode oauth_custom";

/// The arguments of `mailwire account add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The address.
    pub(crate) address: String,
    /// The name of the account. Default: the address.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) name: String,
    /// How the account logs in.
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    pub(crate) mode: Mode,
    /// A sender: `Name <address>`. The first one is the default. May be given several times. Default: the address.
    #[arg(long, value_name = "SENDER")]
    pub(crate) identity: Vec<String>,
    /// The user who logs in. Default: what the provider says, or the address.
    #[arg(long, value_name = "NAME", help_heading = SERVERS)]
    pub(crate) user: Option<String>,
    /// The IMAP server.
    #[arg(long, value_name = "HOST", help_heading = SERVERS)]
    pub(crate) imap_host: Option<String>,
    /// Its port. Default: 993 with tls, 143 with starttls.
    #[arg(long, value_name = "PORT", requires = "imap_host", help_heading = SERVERS)]
    pub(crate) imap_port: Option<String>,
    /// How TLS begins: tls (from the first byte) or starttls.
    #[arg(long, value_name = "HOW", requires = "imap_host", help_heading = SERVERS)]
    pub(crate) imap_security: Option<String>,
    /// The submission server.
    #[arg(long, value_name = "HOST", help_heading = SERVERS)]
    pub(crate) smtp_host: Option<String>,
    /// Its port. Default: 465 with tls, 587 with starttls.
    #[arg(long, value_name = "PORT", requires = "smtp_host", help_heading = SERVERS)]
    pub(crate) smtp_port: Option<String>,
    /// How TLS begins: tls (from the first byte) or starttls.
    #[arg(long, value_name = "HOW", requires = "smtp_host", help_heading = SERVERS)]
    pub(crate) smtp_security: Option<String>,
    /// The authorization endpoint.
    #[arg(long, value_name = "URL", help_heading = OAUTH)]
    pub(crate) oauth_authorization_endpoint: Option<String>,
    /// The token endpoint.
    #[arg(long, value_name = "URL", help_heading = OAUTH)]
    pub(crate) oauth_token_endpoint: Option<String>,
    /// The device authorization endpoint.
    #[arg(long, value_name = "URL", help_heading = OAUTH)]
    pub(crate) oauth_device_authorization_endpoint: Option<String>,
    /// The client identifier.
    #[arg(long, value_name = "ID", help_heading = OAUTH)]
    pub(crate) oauth_client_id: Option<String>,
    /// A scope to request. May be given several times.
    #[arg(long, value_name = "SCOPE", help_heading = OAUTH)]
    pub(crate) oauth_scope: Vec<String>,
    /// Read the password from the first line of standard input.
    #[arg(long, conflicts_with_all = ["password_command", "token_command"])]
    pub(crate) password_stdin: bool,
    /// Keep the account without testing its servers.
    #[arg(long)]
    pub(crate) no_test: bool,
    /// Make the key file if there is no key yet. Keep a copy of it: without the key, the secrets are lost.
    #[arg(long)]
    pub(crate) create_key: bool,
    #[command(flatten)]
    pub(crate) location: Location,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// The arguments of `mailwire account list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) location: Location,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// The arguments of a command about one account.
#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// The name of the account.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) location: Location,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// The arguments of `mailwire account test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The name of the account.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) location: Location,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// The arguments of `mailwire account connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The name of the account.
    pub(crate) name: String,
    /// Read the password from the first line of standard input.
    #[arg(long, conflicts_with_all = ["password_command", "token_command"])]
    pub(crate) password_stdin: bool,
    /// Consent on another device, with a code. Not all providers have this for mail.
    #[arg(long)]
    pub(crate) device: bool,
    /// Open the address for the consent in a browser, besides showing it.
    #[arg(long, conflicts_with = "device")]
    pub(crate) open_browser: bool,
    #[command(flatten)]
    pub(crate) location: Location,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// The arguments of `mailwire account rekey`.
#[derive(Debug, Args)]
pub(crate) struct RekeyArgs {
    #[command(flatten)]
    pub(crate) location: Location,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}
