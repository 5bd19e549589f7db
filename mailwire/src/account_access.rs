//! Access to the accounts of `mailwire account`: where they are, and the key of their secrets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use mailclient::account::{Account, AccountState, AccountStore, EncryptionKey, KEY_VARIABLE};
use mailclient::endpoint::Protocol;
use mailstore::SqliteStore;

use crate::account_login::AccountLogin;
use crate::command_error::{CommandError, ExitCode, store_error};
use crate::endpoint::Endpoint;
use crate::options::ConnectionOptions;
use crate::store_directory;
use crate::user_directories::{user_configuration_directory, user_data_directory};

/// Which account a command uses instead of a URL.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Account")]
pub(crate) struct AccountOptions {
    /// Use this account instead of a URL. See mailwire account.
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// The store with the accounts. Default: mailwire/mail in the user's data directory.
    #[arg(long, value_name = "DIR", requires = "account")]
    pub(crate) store: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyOptions,
}

/// Where the key of the secrets is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeyOptions {
    /// The file with the key of the accounts' secrets, if EMAIL_ENCRYPTION_KEY is not set. Default:
    /// mailwire/encryption.key in the user's configuration directory.
    #[arg(long, value_name = "FILE", help_heading = "Account")]
    pub(crate) key_file: Option<PathBuf>,
}

impl KeyOptions {
    /// Returns the path of the key file, or `None` if there is no directory for it.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.key_file.clone().or_else(|| Some(user_configuration_directory()?.join("encryption.key")))
    }

    /// Returns the path of the next key while all secrets are encrypted with it.
    pub(crate) fn next_file(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".next");
        PathBuf::from(name)
    }

    /// Reads the keys: that of the environment, or else those of the file. There may be two after a rotation was
    /// interrupted.
    pub(crate) fn read(&self) -> Result<Vec<EncryptionKey>, CommandError> {
        if let Some(key) = EncryptionKey::from_environment()? {
            return Ok(vec![key]);
        }
        let Some(file) = self.file() else { return Ok(Vec::new()) };
        let mut keys = Vec::new();
        for path in [&file, &Self::next_file(&file)] {
            keys.extend(EncryptionKey::from_file(path)?);
        }
        if keys.is_empty() && self.key_file.is_some() {
            let what = format!("{}: there is no such key file", file.display());
            let failure = CommandError::new(ExitCode::Configuration, what);
            return Err(failure.reason("email_encryption_key_missing").advise(missing_key_advice()));
        }
        Ok(keys)
    }
}

fn missing_key_advice() -> String {
    format!(
        "set {KEY_VARIABLE} to 32 random bytes in base64, or make a key file with mailwire account add --create-key"
    )
}

/// The accounts of a store.
pub(crate) struct AccountAccess {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) accounts: AccountStore,
    /// The directory of the store.
    pub(crate) directory: PathBuf,
}

impl AccountAccess {
    /// Opens the accounts of a store that exists.
    ///
    /// # Errors
    /// There is no store, it cannot be opened, or a key is invalid.
    pub(crate) fn open(directory: &Path, key: &KeyOptions) -> Result<Self, CommandError> {
        if !store_directory::has_store(directory) {
            let what = format!("{} has no accounts", directory.display());
            return Err(CommandError::new(ExitCode::Configuration, what)
                .reason("account_not_found")
                .advise("add one with mailwire account add, or name another directory"));
        }
        Self::create(directory, key.read()?)
    }

    /// Opens the accounts of a store, and creates the store if it does not exist.
    pub(crate) fn create(directory: &Path, keys: Vec<EncryptionKey>) -> Result<Self, CommandError> {
        store_directory::check_not_served(directory)?;
        let store = SqliteStore::open(directory).map_err(|error| store_error(directory, &error))?;
        let store = Arc::new(store);
        let accounts = AccountStore::new(store.clone(), keys);
        Ok(Self { accounts, store, directory: directory.to_owned() })
    }

    /// Checks that secrets can be read and stored.
    pub(crate) fn check_key(&self) -> Result<(), CommandError> {
        self.accounts.check_key().map_err(|error| {
            let is_missing = error.code() == "email_encryption_key_missing";
            let failure = CommandError::from(error);
            if is_missing { failure.advise(missing_key_advice()) } else { failure }
        })
    }

    /// Returns an account that is not paused.
    pub(crate) fn active(&self, name: &str) -> Result<Account, CommandError> {
        let account = self.accounts.get(name)?;
        if account.state != AccountState::Paused {
            return Ok(account);
        }
        let what = format!("the account {:?} is paused", account.name);
        Err(CommandError::new(ExitCode::Configuration, what)
            .reason("account_paused")
            .advise("resume it with mailwire account resume"))
    }

    /// Returns the endpoint of an account, which logs in with the account's own secret.
    pub(crate) fn endpoint(
        &self,
        account: &Account,
        protocol: Protocol,
        given: &ConnectionOptions,
    ) -> Result<Endpoint, CommandError> {
        self.check_key()?;
        let login = AccountLogin::new(&self.accounts, &self.directory, account, protocol)?;
        Endpoint::of_account(account, protocol, login, given)
    }
}

/// Returns the given directory of the store, or the default one.
pub(crate) fn store_directory(given: Option<&Path>) -> Result<PathBuf, CommandError> {
    given.map(Path::to_owned).or_else(|| Some(user_data_directory()?.join("mail"))).ok_or_else(|| {
        CommandError::new(ExitCode::Configuration, "there is no data directory for the store")
            .advise("name a directory for the store")
    })
}

/// Returns the endpoint of a URL or of an account.
///
/// # Errors
/// Both or neither are given; the account cannot be used; the configuration is invalid.
pub(crate) fn endpoint_of(
    url: Option<&mailclient::endpoint::Url>,
    account: &AccountOptions,
    protocol: Protocol,
    connection: &ConnectionOptions,
) -> Result<Endpoint, CommandError> {
    match (url, &account.account) {
        (Some(url), None) => Endpoint::new(url, connection),
        (None, Some(name)) => {
            let access = AccountAccess::open(&store_directory(account.store.as_deref())?, &account.key)?;
            access.endpoint(&access.active(name)?, protocol, connection)
        }
        (Some(_), Some(_)) => Err(CommandError::new(
            ExitCode::Usage,
            "a URL and --account are given: only one of them is allowed",
        )),
        (None, None) => Err(CommandError::new(ExitCode::Usage, "neither a URL nor an account is given")
            .advise("use a URL such as imaps://user@host, or --account NAME")),
    }
}

/// Returns the state of an account after a failure.
pub(crate) fn state_after(failure: &CommandError) -> AccountState {
    let is_refused_login = failure.exit_code == ExitCode::Refused && failure.server.is_some();
    match failure.reason_code() {
        Some("password_missing" | "oauth_token_missing" | "oauth_refresh_failed") => {
            AccountState::AuthenticationError
        }
        _ if is_refused_login => AccountState::AuthenticationError,
        _ => AccountState::ConnectError,
    }
}
