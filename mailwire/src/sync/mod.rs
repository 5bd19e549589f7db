//! `sync`: fetches accounts into a local store and follows their changes.

mod accounts;
mod arguments;
mod lock;
mod progress;
mod report;
mod run;

pub(crate) use arguments::SyncArgs;

use self::run::sync_one;
use crate::account_access;
use crate::command_error::CommandError;
use crate::endpoint::Endpoint;
use crate::imap_url::require_imap;

/// Runs the command.
pub(crate) fn run(arguments: &SyncArgs) -> Result<(), CommandError> {
    let directory = account_access::store_directory(arguments.into.as_deref())?;
    let Some(url) = &arguments.url else { return accounts::run(arguments, &directory) };
    require_imap(url)?;
    let endpoint = Endpoint::new(url, &arguments.connection)?;
    let synced = sync_one(arguments, &directory, &endpoint, &mut |_, _| Ok(()));
    synced.map_err(|failure| failure.at(url).or_reason("imap_sync_failed"))
}
