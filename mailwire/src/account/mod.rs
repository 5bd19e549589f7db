//! `account`: sets up accounts whose secrets are kept encrypted, so that other commands take `--account NAME` in place of a
//! URL.

mod add;
mod arguments;
mod connect;
mod consent;
mod key_file;
mod list;
mod rekey;
mod test;

pub(crate) use arguments::AccountArgs;

use mailclient::account::{AccountError, AccountStore};

use self::arguments::{AccountCommand, NamedArgs};
use crate::account_access::AccountAccess;
use crate::command_error::CommandError;
use crate::output::Output;

/// Runs the command.
pub(crate) fn run(arguments: &AccountArgs) -> Result<(), CommandError> {
    match &arguments.command {
        AccountCommand::Add(arguments) => add::run(arguments),
        AccountCommand::List(arguments) => list::list(arguments),
        AccountCommand::Show(arguments) => list::show(arguments),
        AccountCommand::Test(arguments) => test::run(arguments),
        AccountCommand::Connect(arguments) => connect::run(arguments),
        AccountCommand::Pause(arguments) => pause_or_resume(arguments, AccountStore::pause),
        AccountCommand::Resume(arguments) => pause_or_resume(arguments, AccountStore::resume),
        AccountCommand::Remove(arguments) => remove(arguments),
        AccountCommand::Rekey(arguments) => rekey::run(arguments),
    }
}

/// Pauses an account, or resumes a paused one, and shows it.
fn pause_or_resume(
    arguments: &NamedArgs,
    change: fn(&AccountStore, &str) -> Result<(), AccountError>,
) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let access = AccountAccess::open(&arguments.location.directory()?, &arguments.location.key)?;
    change(&access.accounts, &arguments.name)?;
    list::print(&access.accounts, &arguments.name, output)
}

fn remove(arguments: &NamedArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let access = AccountAccess::open(&arguments.location.directory()?, &arguments.location.key)?;
    let account = access.accounts.get(&arguments.name)?;
    access.accounts.remove(account.id)?;
    output.json(&serde_json::json!({ "removed": account.name }));
    output.line(format!("removed {}", account.name));
    output.hint("mail that was synced stays in the store");
    Ok(())
}
