//! Syncs the accounts of a store, one after the other, and records the state and the report of each.

use std::path::Path;

use mailclient::account::{Account, AccountState, SyncStatus};
use mailclient::endpoint::Protocol;

use super::arguments::SyncArgs;
use super::report::SyncReport;
use super::run::sync_one;
use crate::account_access::{AccountAccess, state_after};
use crate::command_error::{CommandError, ExitCode};
use crate::output::Output;

/// Syncs the named account, or all accounts that have an IMAP server and are not paused. A failure of one does not stop the
/// others.
pub(super) fn run(arguments: &SyncArgs, directory: &Path) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let access = AccountAccess::open(directory, &arguments.key)?;
    // Without the key there is nothing to begin with.
    access.check_key()?;
    if let Some(name) = &arguments.account {
        return sync_account(arguments, directory, &access, &access.active(name)?);
    }
    let accounts = access.accounts.list()?;
    if accounts.is_empty() {
        return Err(CommandError::new(
            ExitCode::Usage,
            format!("neither a URL nor an account is given, and {} has no accounts", directory.display()),
        )
        .advise("add an account with mailwire account add, or use a URL such as imaps://user@host"));
    }
    if arguments.watch && accounts.len() > 1 {
        return Err(CommandError::new(ExitCode::Usage, "--watch follows one account")
            .advise("name it with --account"));
    }
    let mut failed = Vec::new();
    for account in &accounts {
        if account.state == AccountState::Paused || account.settings.imap.is_none() {
            output.hint(format!("{}: skipped: it is paused or has no IMAP server", account.name));
            continue;
        }
        output.line(format!("{}:", account.name));
        match sync_account(arguments, directory, &access, account) {
            Ok(()) => {}
            Err(failure) if is_signal(&failure) => return Err(failure),
            Err(failure) => {
                output.failure(&failure);
                failed.push((account.name.as_str(), failure.exit_code));
            }
        }
    }
    let Some((_, first)) = failed.first() else { return Ok(()) };
    let exit_code = if failed.iter().all(|(_, code)| code == first) { *first } else { ExitCode::Unavailable };
    let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
    let what = format!("{} of {} accounts failed: {}", failed.len(), accounts.len(), names.join(", "));
    Err(CommandError::new(exit_code, what)
        .reason("imap_sync_failed")
        .advise("see the reports with mailwire account list; the mail of the other accounts is stored"))
}

fn is_signal(failure: &CommandError) -> bool {
    matches!(failure.exit_code, ExitCode::Interrupted | ExitCode::Terminated)
}

fn sync_account(
    arguments: &SyncArgs,
    directory: &Path,
    access: &AccountAccess,
    account: &Account,
) -> Result<(), CommandError> {
    let outcome = fetch(arguments, directory, access, account).map_err(|failure| {
        let mut failure = failure.or_reason("imap_sync_failed");
        failure.what = format!("{}: {}", account.name, failure.what);
        failure
    });
    if !arguments.dry_run {
        let state = match &outcome {
            Ok(()) => AccountState::Connected,
            // The sync was stopped, and says nothing about the account.
            Err(failure) if is_signal(failure) => account.state,
            Err(failure) => state_after(failure),
        };
        access.accounts.set_state(account.id, state)?;
    }
    outcome
}

fn fetch(
    arguments: &SyncArgs,
    directory: &Path,
    access: &AccountAccess,
    account: &Account,
) -> Result<(), CommandError> {
    let mut is_recorded = false;
    let mut record = |report: &SyncReport, error: Option<&str>| {
        is_recorded = true;
        if report.status() == "success" {
            // The command may go on and watch the account.
            access.accounts.set_state(account.id, AccountState::Connected)?;
        }
        let error = error.map(|error| match report.status() {
            "interrupted" => error.to_owned(),
            _ => format!("imap_sync_failed: {error}"),
        });
        Ok(access.accounts.record_sync(account.id, &stored(report, error))?)
    };
    let outcome = access.endpoint(account, Protocol::Imap, &arguments.connection).and_then(|endpoint| {
        if !arguments.dry_run {
            access.accounts.set_state(account.id, AccountState::Syncing)?;
        }
        let synced = sync_one(arguments, directory, &endpoint, &mut record);
        synced.map_err(|failure| failure.at(&endpoint.url))
    });
    if let (Err(failure), false, false) = (&outcome, is_recorded, arguments.dry_run) {
        let code = failure.reason_code().unwrap_or("imap_sync_failed");
        let report = mailclient::account::SyncReport {
            at: jiff::Timestamp::now().as_second(),
            status: SyncStatus::Failed,
            error: Some(format!("{code}: {}", failure.storable())),
            imported: 0,
            duplicates: 0,
        };
        access.accounts.record_sync(account.id, &report)?;
    }
    outcome
}

fn stored(report: &SyncReport, error: Option<String>) -> mailclient::account::SyncReport {
    mailclient::account::SyncReport {
        at: jiff::Timestamp::now().as_second(),
        status: SyncStatus::from_name(report.status()),
        error,
        imported: report.imported,
        duplicates: report.duplicates(),
    }
}
