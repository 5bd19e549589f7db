//! Which store and which of its accounts a command reads.

use std::path::PathBuf;

use clap::Args;
use mailstore::{Account, Accounts, Mailbox, SqliteStore, Store};

use crate::command_error::{CommandError, ExitCode, store_error};
use crate::store_directory;

/// The store to read.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreOptions {
    /// Read the store in this directory, which `mailwire sync --into DIR` has filled.
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The account, as user@host. Needed if the store has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
}

/// A store and the account to read.
pub(crate) struct LocalStore {
    pub(crate) store: SqliteStore,
    pub(crate) account: Account,
}

impl StoreOptions {
    /// Opens the store.
    ///
    /// # Errors
    /// There is no store or no such account, or the account is not named and there are several.
    pub(crate) fn open(&self) -> Result<LocalStore, CommandError> {
        if !store_directory::has_store(&self.from) {
            let what = format!("{} has no store", self.from.display());
            return Err(CommandError::new(ExitCode::Data, what)
                .advise("fill it with mailwire sync, and give the same directory"));
        }
        let store = SqliteStore::open(&self.from).map_err(|error| store_error(&self.from, &error))?;
        let mut accounts = store.accounts()?;
        let account = match &self.account {
            Some(name) => accounts.into_iter().find(|account| account.name.eq_ignore_ascii_case(name)),
            None if accounts.len() > 1 => {
                let names: Vec<String> =
                    accounts.iter().take(20).map(|account| account.name.clone()).collect();
                let what = format!("the store has {} accounts: {}", accounts.len(), names.join(", "));
                return Err(CommandError::new(ExitCode::Usage, what).advise("name one with --account"));
            }
            None => accounts.pop(),
        };
        let account = account.ok_or_else(|| {
            let what = match &self.account {
                Some(name) => format!("the store has no account {name}"),
                None => "the store has no account".to_owned(),
            };
            CommandError::new(ExitCode::Data, what)
        })?;
        Ok(LocalStore { store, account })
    }
}

impl LocalStore {
    /// Returns the folders that hold messages, ordered by name.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn folders(&self) -> Result<Vec<Mailbox>, CommandError> {
        Ok(self.store.list(self.account.id)?.into_iter().filter(|mailbox| !mailbox.no_select).collect())
    }

    /// Returns the folders with these names, or all if there are none.
    ///
    /// # Errors
    /// There is no folder of a name, or the store failed.
    pub(crate) fn named_folders(&self, names: &[String]) -> Result<Vec<Mailbox>, CommandError> {
        if names.is_empty() {
            return self.folders();
        }
        names.iter().map(|name| self.folder(name)).collect()
    }

    /// Returns the folder with this name.
    ///
    /// # Errors
    /// There is no such folder, or the store failed.
    pub(crate) fn folder(&self, name: &str) -> Result<Mailbox, CommandError> {
        match self.store.mailbox(self.account.id, name) {
            Ok(mailbox) if !mailbox.no_select => Ok(mailbox),
            Ok(_) | Err(mailstore::Error::NotFound(_)) => {
                Err(CommandError::new(ExitCode::Data, format!("there is no folder {name}"))
                    .advise("list the folders with mailwire list"))
            }
            Err(error) => Err(error.into()),
        }
    }
}
