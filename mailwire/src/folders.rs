//! `folders`: lists the folders of an account and, with `--into`, creates them in a local store.

use std::path::{Path, PathBuf};

use clap::Args;
use io_mio::StageReport;
use mailclient::imap::{ImapChannel, Session, SessionTask};
use mailstore::{SpecialUse, SqliteStore, SyncStore};

use crate::account_access::{AccountOptions, endpoint_of};
use crate::command_error::{CommandError, ExitCode, store_error};
use crate::endpoint::Endpoint;
use crate::imap_url::{missing_user, require_imap};
use crate::interrupt::Interrupt;
use crate::options::{ConnectionOptions, OutputOptions, UrlParser};
use crate::output::Output;
use crate::store_directory;
use mailclient::endpoint::{Protocol, Url};
use mailclient::{Folder, sync};

/// The arguments of `mailwire folders`.
#[derive(Debug, Args)]
pub(crate) struct FoldersArgs {
    /// The account, for example imaps://user@host.
    #[arg(value_parser = UrlParser, required_unless_present = "account", conflicts_with = "account")]
    pub(crate) url: Option<Url>,
    /// Create the folders in the store in this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) account: AccountOptions,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// Runs the command.
pub(crate) fn run(arguments: &FoldersArgs) -> Result<(), CommandError> {
    arguments.url.iter().try_for_each(require_imap)?;
    let endpoint =
        endpoint_of(arguments.url.as_ref(), &arguments.account, Protocol::Imap, &arguments.connection)?;
    list(arguments, &endpoint).map_err(|failure| failure.at(&endpoint.url))
}

fn list(arguments: &FoldersArgs, endpoint: &Endpoint) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let credentials = endpoint.credentials()?.ok_or_else(missing_user)?;
    // There is nothing to finish: the first signal ends the command.
    Interrupt::install()?;
    let connector = endpoint.connector(|_: &StageReport| {});
    let folders = endpoint.with_imap_session(&connector, ListFolders(endpoint, credentials))?;
    let failed = match &arguments.into {
        Some(directory) => store_folders(directory, &endpoint.url, &folders)?,
        None => Vec::new(),
    };
    if output.is_json() {
        output.json(&serde_json::json!({ "url": endpoint.url.to_string(), "folders": folders }));
    }
    for folder in &folders {
        let remarks = match (&folder.special_use, folder.selectable) {
            (Some(special_use), _) => format!("  ({special_use})"),
            (None, false) => "  (holds other folders only)".to_owned(),
            (None, true) => String::new(),
        };
        output.line(format!("{}{remarks}", folder.name));
    }
    if failed.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = failed.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    Err(CommandError::new(
        ExitCode::Unavailable,
        format!("{} folders could not be stored: {}", failed.len(), reasons.join("; ")),
    )
    .advise("rename them on the server; all others are stored"))
}

struct ListFolders<'a>(&'a Endpoint, proto_mail::Credentials);

impl SessionTask for ListFolders<'_> {
    type Output = Vec<Folder>;
    type Error = CommandError;

    fn run<C: ImapChannel>(self, mut session: Session<C>) -> Result<Vec<Folder>, CommandError> {
        let folders = session.log_in(&self.0.inner, &self.0.source(&self.1)).and_then(|_| session.folders());
        session.log_out();
        Ok(folders?)
    }
}

/// Creates the folders in the store. Returns the folders that it could not create, and why.
fn store_folders<'f>(
    directory: &Path,
    url: &Url,
    folders: &'f [Folder],
) -> Result<Vec<(&'f str, String)>, CommandError> {
    store_directory::check_not_served(directory)?;
    let store = SqliteStore::open(directory).map_err(|error| store_error(directory, &error))?;
    let account = sync::local_account(&store, url)?;
    let remote = store.remote_account(account, &sync::remote_account_key(url))?.id;
    let mut failed = Vec::new();
    let mut good = Vec::new();
    for folder in folders {
        match folder.check_name() {
            Ok(()) => good.push(folder.clone()),
            Err(failure) => failed.push((folder.name.as_str(), failure.message().to_owned())),
        }
    }
    let names = sync::local_names(&store, account, remote, &good)?;
    let valid = folders.iter().filter(|folder| folder.check_name().is_ok());
    for (folder, name) in valid.zip(&names) {
        let special_use = folder.special_use.as_deref().and_then(SpecialUse::from_attribute);
        if let Err(error) = sync::find_or_create_mailbox(&store, account, name, special_use) {
            failed.push((folder.name.as_str(), format!("the store: {error}")));
        }
    }
    Ok(failed)
}
