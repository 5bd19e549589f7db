//! `folders`: the folder tree of an account, shown and, if wanted, kept.

use std::path::Path;

use io_mio::StageReport;
use mailstore::{SpecialUse, SqliteStore, Store};
use proto_imap::client::Client;

use crate::cli::FoldersArgs;
use crate::connect::Way;
use crate::failure::{Failure, Kind, store_failure};
use crate::imap::{Authenticate, Folder, Reach, Session, Task, with_session};
use crate::local;
use crate::output::Output;
use crate::sync;
use crate::url::{Protocol, Url};

/// Runs the command.
pub(crate) fn run(arguments: &FoldersArgs) -> Result<(), Failure> {
    imap_only(&arguments.url)?;
    let output = Output::from(arguments.output);
    let way = Way::new(&arguments.url, &arguments.connection)?;
    let credentials = way.credentials()?.ok_or_else(no_user)?;
    // Nothing has to be finished: the first signal ends the command.
    crate::interrupt::Interrupt::install()?;
    let folders = with_session(&way, &way.connector(|_: &StageReport| {}), ListFolders(&way, credentials))?;
    let left_out = match &arguments.into {
        Some(directory) => keep(directory, &way.url, &folders)?,
        None => Vec::new(),
    };
    if output.is_json() {
        output.json(&serde_json::json!({ "url": way.url.to_string(), "folders": folders }));
    }
    for folder in &folders {
        let remarks = match (&folder.special_use, folder.selectable) {
            (Some(special_use), _) => format!("  ({special_use})"),
            (None, false) => "  (holds other folders only)".to_owned(),
            (None, true) => String::new(),
        };
        output.line(format!("{}{remarks}", folder.name));
    }
    if left_out.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = left_out.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    Err(Failure::new(
        Kind::Unavailable,
        format!("{} folders could not be kept: {}", left_out.len(), reasons.join("; ")),
    )
    .advise("rename them on the server; the others are kept"))
}

struct ListFolders<'a>(&'a Way, proto_mail::Credentials);

impl Task for ListFolders<'_> {
    type Output = Vec<Folder>;
    type Error = Failure;

    fn run<C: Reach>(self, mut session: Session<C>) -> Result<Vec<Folder>, Failure>
    where
        Client<C>: Authenticate,
    {
        let folders = session.log_in(self.0, &self.1).and_then(|_| session.folders());
        session.log_out();
        folders
    }
}

/// Keeps the folders, and tells which it could not and why: such a folder costs only itself.
fn keep<'f>(directory: &Path, url: &Url, folders: &'f [Folder]) -> Result<Vec<(&'f str, String)>, Failure> {
    sync::not_served(directory)?;
    let store = SqliteStore::open(directory).map_err(|error| store_failure(directory, &error))?;
    let account = local::account(&store, url)?;
    let remote = store.remote_account(account, &local::key(url))?.id;
    let mut left_out = Vec::new();
    let mut good = Vec::new();
    for folder in folders {
        match folder.check_name() {
            Ok(()) => good.push(folder.clone()),
            Err(failure) => left_out.push((folder.name.as_str(), failure.what)),
        }
    }
    let names = local::names(&store, account, remote, &good)?;
    let sound = folders.iter().filter(|folder| folder.check_name().is_ok());
    for (folder, name) in sound.zip(&names) {
        let special_use = folder.special_use.as_deref().and_then(SpecialUse::from_attribute);
        if let Err(error) = local::mailbox(&store, account, name, special_use) {
            left_out.push((folder.name.as_str(), format!("the store: {error}")));
        }
    }
    Ok(left_out)
}

/// Folders are an IMAP matter.
pub(crate) fn imap_only(url: &Url) -> Result<(), Failure> {
    if url.protocol == Protocol::Imap {
        return Ok(());
    }
    Err(Failure::new(Kind::Usage, "this needs an IMAP URL").advise("imaps://user@host or imap://user@host"))
}

/// There is nothing to see without a user.
pub(crate) fn no_user() -> Failure {
    Failure::new(Kind::Usage, "the URL names no user").advise("imaps://user@host")
}
