//! `account connect`: gets the tokens of an account by the consent of its user, or replaces its password by one that the servers
//! accept.

use std::io::BufRead;
use std::time::Duration;

use mailclient::account::{Account, SecretField};
use mailclient::endpoint::Protocol;
use proto_mail::Secret;
use serde_json::{Value, json};

use super::arguments::ConnectArgs;
use super::consent;
use super::test::test_servers;
use crate::account_access::AccountAccess;
use crate::command_error::{CommandError, ExitCode};
use crate::credentials::CredentialSource;
use crate::interrupt::Interrupt;
use crate::options::ConnectionOptions;
use crate::output::Output;

/// The most bytes of a password on standard input.
const PASSWORD_LIMIT: u64 = 64 * 1024;

/// Runs the command.
pub(super) fn run(arguments: &ConnectArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let access = AccountAccess::open(&arguments.location.directory()?, &arguments.location.key)?;
    access.check_key()?;
    let account = access.accounts.get(&arguments.name)?;
    if account.settings.auth_mode.is_oauth() {
        consent::get_tokens(&access, &account, arguments, output)?;
        let tested = test_servers(&access, &account, &arguments.connection, output)?;
        return show(&account, tested, output);
    }
    if arguments.device || arguments.open_browser {
        let what = format!("the account {:?} logs in with a password, not with OAuth 2.0", account.name);
        return Err(CommandError::new(ExitCode::Usage, what));
    }
    let user = account.settings.url(Protocol::Imap).or_else(|_| account.settings.url(Protocol::Smtp))?.user;
    let user = user.unwrap_or_default();
    let password = read_password(&user, arguments.password_stdin, &arguments.connection)?;
    Interrupt::install()?;
    let before = access.accounts.secret(account.id, SecretField::Password).ok().flatten();
    access.accounts.put_secrets(account.id, &[(SecretField::Password, Some(&password))])?;
    let (results, failure) = test_servers(&access, &account, &arguments.connection, output)?;
    if failure.is_some() {
        // The new one does not work: the old one may.
        access.accounts.put_secrets(account.id, &[(SecretField::Password, before.as_ref())])?;
    }
    show(&account, (results, failure), output)
}

/// Prints what the test found.
fn show(
    account: &Account,
    (results, failure): (Vec<Value>, Option<CommandError>),
    output: Output,
) -> Result<(), CommandError> {
    output.json(&json!({ "account": account.name, "ok": failure.is_none(), "servers": results }));
    match failure {
        Some(failure) => Err(failure),
        None => {
            output.line(format!("connected {}", account.name));
            Ok(())
        }
    }
}

/// Reads a password from standard input, or as other commands do; never from an argument.
pub(super) fn read_password(
    user: &str,
    from_stdin: bool,
    connection: &ConnectionOptions,
) -> Result<Secret<Vec<u8>>, CommandError> {
    if from_stdin {
        return read_line(std::io::stdin().lock());
    }
    let source = CredentialSource {
        password_command: connection.password_command.as_deref(),
        token_command: None,
        timeout: connection.secret_command_timeout.map(Duration::from_secs),
    };
    source.password(user)
}

fn read_line(input: impl BufRead) -> Result<Secret<Vec<u8>>, CommandError> {
    let failed = |why: String| {
        CommandError::new(ExitCode::Configuration, format!("the password on standard input {why}"))
    };
    // The capacity keeps the buffer from moving, which would leave a copy.
    let mut line = Vec::with_capacity(usize::try_from(PASSWORD_LIMIT).unwrap_or_default() + 1);
    let read = input.take(PASSWORD_LIMIT + 1).read_until(b'\n', &mut line);
    let line = Secret::new(line);
    read.map_err(|error| failed(format!("cannot be read: {error}")))?;
    let text = line.expose().strip_suffix(b"\n").unwrap_or(line.expose());
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        return Err(failed("is empty".to_owned()));
    }
    if line.expose().len() as u64 > PASSWORD_LIMIT {
        return Err(failed(format!("has more than {PASSWORD_LIMIT} bytes")));
    }
    Ok(Secret::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_line() {
        assert_eq!(read_line(&b"p w\r\nmore"[..]).unwrap().expose(), b"p w");
        assert_eq!(read_line(&b"p"[..]).unwrap().expose(), b"p");
        assert!(read_line(&b"\r\nx"[..]).is_err());
        assert!(read_line(vec![b'x'; 100_000].as_slice()).is_err());
    }
}
