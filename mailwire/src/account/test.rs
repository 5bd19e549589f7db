//! `account test`: tests the servers of an account stage by stage, as `check` does.

use mailclient::account::{Account, AccountState};
use mailclient::diagnosis::Stage;
use mailclient::endpoint::Protocol;
use proto_mail::Credentials;
use serde_json::{Value, json};

use super::arguments::TestArgs;
use crate::account_access::{AccountAccess, state_after};
use crate::check::{Verbosity, diagnose_and_show, stages};
use crate::command_error::CommandError;
use crate::endpoint::Endpoint;
use crate::interrupt::Interrupt;
use crate::options::ConnectionOptions;
use crate::output::{self, Output};

/// Runs the command.
pub(super) fn run(arguments: &TestArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let access = AccountAccess::open(&arguments.location.directory()?, &arguments.location.key)?;
    let account = access.accounts.get(&arguments.name)?;
    Interrupt::install()?;
    let (results, failure) = test_servers(&access, &account, &arguments.connection, output)?;
    output.json(&json!({ "account": account.name, "ok": failure.is_none(), "servers": results }));
    failure.map_or(Ok(()), Err)
}

/// Tests all servers of an account, and records its state. Returns the results as JSON, and the first failure.
pub(super) fn test_servers(
    access: &AccountAccess,
    account: &Account,
    connection: &ConnectionOptions,
    output: Output,
) -> Result<(Vec<Value>, Option<CommandError>), CommandError> {
    let mut results = Vec::new();
    let mut first = None;
    for protocol in [Protocol::Imap, Protocol::Smtp] {
        if account.settings.url(protocol).is_err() {
            continue;
        }
        let endpoint = access.endpoint(account, protocol, connection)?;
        let credentials = endpoint.credentials()?;
        let (result, failure) = test_endpoint(&endpoint, credentials.as_ref(), Stage::Folders, output);
        results.push(result);
        first = first.or(failure);
    }
    let state = first.as_ref().map_or(AccountState::Connected, state_after);
    access.accounts.set_state(account.id, state)?;
    Ok((results, first))
}

/// Tests one server. Returns the result as JSON, and the failure.
pub(super) fn test_endpoint(
    endpoint: &Endpoint,
    credentials: Option<&Credentials>,
    last: Stage,
    output: Output,
) -> (Value, Option<CommandError>) {
    output.line(format!("{}:", endpoint.url));
    let diagnosis = diagnose_and_show(endpoint, credentials, last, Verbosity::Result, output);
    let failure = diagnosis.error().cloned().map(|error| CommandError::from(error).at(&endpoint.url));
    let mut result = json!({
        "url": endpoint.url.to_string(),
        "ok": failure.is_none(),
        "stages": stages(&diagnosis, failure.as_ref()),
    });
    if let (Some(failure), Some(object)) = (&failure, result.as_object_mut()) {
        object.insert("error".to_owned(), output::describe(failure));
    }
    (result, failure)
}
