//! Creates accounts and changes passwords.

use std::path::Path;

use mailstore::{Accounts, Store};
use proto_mail::Secret;
use serde_json::json;

use super::arguments::ServeArgs;
use super::data_directory::{DataDirectory, open_store};
use crate::command_error::{CommandError, ExitCode};
use crate::credentials::{CredentialSource, VARIABLE};
use crate::output::Output;

/// The account that is created if there is none.
const DEFAULT_ACCOUNT: &str = "mailwire";

/// The characters of a generated password, without easily confused ones, and its length: 100 bits of entropy.
const PASSWORD_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const PASSWORD_LENGTH: usize = 20;

/// An account with a generated password, to be shown once.
pub(super) struct GeneratedAccount {
    pub(super) name: &'static str,
    pub(super) password: Secret<String>,
}

/// Obtains the password of the account of `--user` if there is no account yet, before anything is created.
pub(super) fn ask_password_of_new_account(
    directory: &Path,
    arguments: &ServeArgs,
) -> Result<Option<Secret<Vec<u8>>>, CommandError> {
    match arguments.user.first() {
        Some(name) if arguments.in_memory || !directory.join("mail.db").is_file() => {
            given_password(arguments, name).map(Some)
        }
        _ => Ok(None),
    }
}

/// Creates the accounts of `--user`. Without that option, creates one if there is no account at all, and returns it.
pub(super) fn create_initial_accounts(
    store: &dyn Store,
    arguments: &ServeArgs,
    mut password: Option<Secret<Vec<u8>>>,
) -> Result<Option<GeneratedAccount>, CommandError> {
    for name in &arguments.user {
        if store.account(name)?.is_none() {
            let given = password.take().map_or_else(|| given_password(arguments, name), Ok)?;
            create(store, name, given.expose())?;
            password = Some(given);
        }
    }
    if !arguments.user.is_empty() || !store.accounts()?.is_empty() {
        return Ok(None);
    }
    let password = generate_password()?;
    create(store, DEFAULT_ACCOUNT, password.expose().as_bytes())?;
    Ok(Some(GeneratedAccount { name: DEFAULT_ACCOUNT, password }))
}

/// A change of the accounts, in place of serving.
#[derive(Debug, Clone, Copy)]
pub(super) enum AccountChange<'a> {
    Add(&'a str),
    Reset(&'a str),
}

impl<'a> AccountChange<'a> {
    pub(super) fn from_arguments(arguments: &'a ServeArgs) -> Option<Self> {
        let add = arguments.add_account.as_deref().map(Self::Add);
        add.or_else(|| arguments.reset_password.as_deref().map(Self::Reset))
    }

    /// Makes the change, even while a server is running, and shows the password if it was generated.
    pub(super) fn apply(self, arguments: &ServeArgs, output: Output) -> Result<(), CommandError> {
        let path = DataDirectory::locate(arguments.dir.as_deref())?;
        if !path.join("mail.db").is_file() {
            let what = format!("there are no accounts in {}", path.display());
            return Err(CommandError::new(ExitCode::Data, what)
                .advise("start mailwire serve once, or take another directory with --dir DIR"));
        }
        let store = open_store(&path)?;
        let (Self::Add(name) | Self::Reset(name)) = self;
        let found = store.account(name)?;
        let advice = match (self, &found) {
            (Self::Add(_), Some(_)) => Some(("already has that account", "--reset-password NAME")),
            (Self::Reset(_), None) => Some(("has no such account", "--add-account NAME")),
            _ => None,
        };
        if let Some((what, advice)) = advice {
            return Err(
                CommandError::new(ExitCode::Data, format!("{} {what}", path.display())).advise(advice)
            );
        }
        let given = arguments.password_command.is_some() || std::env::var_os(VARIABLE).is_some();
        let password = if given { given_password(arguments, name)? } else { generated_password()? };
        match found {
            Some(account) => store.set_password(account.id, password.expose())?,
            None => create(&store, name, password.expose())?,
        }
        if given {
            output.line(format!("account {name}"));
            output.json(&json!({ "account": name }));
        } else {
            // The password is shown once and then discarded.
            let password = Secret::new(String::from_utf8_lossy(password.expose()).into_owned());
            output.line(format!("account {name} {}", password.expose()));
            output.json(&json!({ "account": name, "password": password.expose() }));
        }
        Ok(())
    }
}

fn given_password(arguments: &ServeArgs, name: &str) -> Result<Secret<Vec<u8>>, CommandError> {
    let password_command = arguments.password_command.as_deref();
    CredentialSource { password_command, token_command: None, timeout: None }.password(name)
}

fn generated_password() -> Result<Secret<Vec<u8>>, CommandError> {
    Ok(Secret::new(generate_password()?.expose().clone().into_bytes()))
}

fn create(store: &dyn Store, name: &str, password: &[u8]) -> Result<(), CommandError> {
    match store.create_account(name, password) {
        Ok(_) => Ok(()),
        Err(error @ mailstore::Error::InvalidName(_)) => {
            Err(CommandError::new(ExitCode::Usage, format!("the account's name: {error}"))
                .advise("letters, digits, \".\", \"-\", \"_\""))
        }
        Err(error) => Err(error.into()),
    }
}

fn generate_password() -> Result<Secret<String>, CommandError> {
    let mut random = [0; PASSWORD_LENGTH];
    getrandom::fill(&mut random).map_err(|error| {
        CommandError::new(ExitCode::Unavailable, format!("no random numbers available: {error}"))
    })?;
    let characters = random.iter().map(|byte| char::from(PASSWORD_ALPHABET[usize::from(byte % 32)]));
    Ok(Secret::new(characters.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_differ() {
        let (one, other) = (generate_password().unwrap(), generate_password().unwrap());
        assert_eq!(one.expose().len(), PASSWORD_LENGTH);
        assert_ne!(one.expose(), other.expose());
    }
}
