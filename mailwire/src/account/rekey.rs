//! `account rekey`: encrypts all secrets with a new key.
//!
//! A key file is replaced in three steps, so that the key in force is in a file at any time: the next key is written beside it,
//! the secrets are encrypted with it in one transaction, and its file replaces the old one.

use std::path::Path;

use mailclient::account::{AccountStore, EncryptionKey, KEY_VARIABLE};
use proto_mail::Secret;
use serde_json::json;

use super::arguments::RekeyArgs;
use crate::account_access::{AccountAccess, KeyOptions};
use crate::command_error::{CommandError, ExitCode};
use crate::credentials::NEXT_KEY_VARIABLE;
use crate::output::Output;

/// Runs the command.
pub(super) fn run(arguments: &RekeyArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let access = AccountAccess::open(&arguments.location.directory()?, &arguments.location.key)?;
    access.check_key()?;
    let count = match (next_key()?, EncryptionKey::from_environment()?) {
        (Some(next), _) => access.accounts.rekey(&next)?,
        (None, None) => {
            let file = arguments.location.key.file().ok_or_else(no_next_key)?;
            replace_file(&access, &file)?
        }
        (None, Some(_)) => return Err(no_next_key()),
    };
    output.json(&json!({ "secrets": count }));
    output.line(format!("{count} secrets are encrypted with the new key"));
    if std::env::var_os(NEXT_KEY_VARIABLE).is_some() {
        output.hint(format!("set {KEY_VARIABLE} to the new key now"));
    }
    Ok(())
}

fn no_next_key() -> CommandError {
    CommandError::new(ExitCode::Configuration, "there is no new key")
        .reason("email_encryption_key_missing")
        .advise(format!("set {NEXT_KEY_VARIABLE} to 32 random bytes in base64"))
}

/// Reads the next key from the environment.
fn next_key() -> Result<Option<EncryptionKey>, CommandError> {
    let Some(value) = std::env::var_os(NEXT_KEY_VARIABLE) else { return Ok(None) };
    let value = Secret::new(value.into_encoded_bytes());
    let text = std::str::from_utf8(value.expose()).unwrap_or_default();
    Ok(Some(EncryptionKey::from_base64(text)?))
}

/// Encrypts all secrets with a new random key, and replaces the key file by one with that key.
fn replace_file(access: &AccountAccess, file: &Path) -> Result<u64, CommandError> {
    let next_file = KeyOptions::next_file(file);
    if let Some(next) = EncryptionKey::from_file(&next_file)? {
        // An earlier run was interrupted, before or after the secrets were encrypted with this key.
        let is_in_force = AccountStore::new(access.store.clone(), [next]).check_key().is_ok();
        let finish = || match is_in_force {
            true => std::fs::rename(&next_file, file),
            false => std::fs::remove_file(&next_file),
        };
        finish().map_err(|error| CommandError::file(&next_file, &error))?;
    }
    let next = EncryptionKey::generate()?;
    next.create_file(&next_file)?;
    // After an error, the next run finds out whether the file is needed.
    let count = access.accounts.rekey(&next)?;
    std::fs::rename(&next_file, file).map_err(|error| CommandError::file(file, &error))?;
    Ok(count)
}
