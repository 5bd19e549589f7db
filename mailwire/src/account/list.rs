//! `account list` and `account show`: accounts with their state and the report of the last sync, without secrets.

use mailclient::account::{Account, AccountStore, ServerSettings};
use mailclient::endpoint::Protocol;

use super::arguments::{ListArgs, NamedArgs};
use crate::account_access::AccountAccess;
use crate::command_error::CommandError;
use crate::output::Output;

/// Runs `account list`.
pub(super) fn list(arguments: &ListArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let access = AccountAccess::open(&arguments.location.directory()?, &arguments.location.key)?;
    let accounts = access.accounts.list()?;
    output.json(&serde_json::json!({ "accounts": accounts }));
    for account in &accounts {
        let report = match &account.last_sync {
            None => "never synced".to_owned(),
            Some(report) => {
                let at = jiff::Timestamp::from_second(report.at).map(|at| at.to_string()).unwrap_or_default();
                let error = report.error.as_ref().map_or_else(String::new, |error| format!("; {error}"));
                format!("{at} {}, {} new{error}", report.status.name(), report.imported)
            }
        };
        output.line(format!("{:<30} {:<20} {report}", account.name, account.state.name()));
    }
    Ok(())
}

/// Runs `account show`.
pub(super) fn show(arguments: &NamedArgs) -> Result<(), CommandError> {
    let access = AccountAccess::open(&arguments.location.directory()?, &arguments.location.key)?;
    print(&access.accounts, &arguments.name, Output::from(arguments.output))
}

/// Prints an account, and which secrets it has.
pub(super) fn print(accounts: &AccountStore, name: &str, output: Output) -> Result<(), CommandError> {
    let account = accounts.get(name)?;
    let secrets: Vec<&str> =
        accounts.secret_fields(account.id)?.into_iter().map(mailclient::account::SecretField::name).collect();
    let mut value = serde_json::json!(account);
    if let Some(object) = value.as_object_mut() {
        object.insert("secrets".to_owned(), serde_json::json!(secrets));
    }
    output.json(&value);
    lines(&account, &secrets).iter().for_each(|(name, value)| output.line(format!("{name:<22} {value}")));
    Ok(())
}

fn lines(account: &Account, secrets: &[&str]) -> Vec<(&'static str, String)> {
    let settings = &account.settings;
    let server = |server: &Option<ServerSettings>, protocol| {
        server.as_ref().map(|server| format!("{} user {}", server.url(protocol), server.user))
    };
    let mut lines = vec![
        ("name", account.name.clone()),
        ("address", settings.address.clone()),
        ("auth_mode", settings.auth_mode.to_string()),
        ("state", account.state.to_string()),
    ];
    lines.extend(server(&settings.imap, Protocol::Imap).map(|text| ("imap", text)));
    lines.extend(server(&settings.smtp, Protocol::Smtp).map(|text| ("smtp", text)));
    for identity in &settings.identities {
        lines.push(("identity", format!("{} <{}>", identity.name, identity.address).trim_start().to_owned()));
    }
    lines.push(("secrets", if secrets.is_empty() { "none".to_owned() } else { secrets.join(", ") }));
    if let Some(report) = &account.last_sync {
        let at = jiff::Timestamp::from_second(report.at).map(|at| at.to_string()).unwrap_or_default();
        lines.push(("last_sync_at", at));
        lines.push(("last_sync_status", report.status.name().to_owned()));
        lines.extend(report.error.clone().map(|error| ("last_sync_error", error)));
        lines.push(("last_sync_imported", report.imported.to_string()));
        lines.push(("last_sync_duplicates", report.duplicates.to_string()));
    }
    lines
}
