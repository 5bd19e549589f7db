//! Where a password or token comes from: a command, the environment, or a prompt. Never an argument.

use std::io::IsTerminal;
use std::process::{Command, Stdio};

use proto_mail::{Credentials, Secret};

use crate::failure::{Failure, Kind};

/// The variable that holds the password.
pub(crate) const VARIABLE: &str = "MAILWIRE_PASSWORD";

/// The largest password or token taken from a command, in octets: an OAuth token may be several thousand long.
const LARGEST: usize = 64 * 1024;

/// Where to look, in this order: the token command, the password command, the environment, a prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) password_command: Option<&'a str>,
    pub(crate) token_command: Option<&'a str>,
}

impl Source<'_> {
    /// The credentials of this user.
    pub(crate) fn credentials(self, user: &str) -> Result<Credentials, Failure> {
        if let Some(command) = self.token_command {
            let token = String::from_utf8(run(command, "token")?.expose().clone())
                .map_err(|_| Failure::new(Kind::Data, "the token command printed what is not UTF-8"))?;
            return Ok(Credentials::bearer(user, token));
        }
        Ok(Credentials::password(user, self.password(user)?))
    }

    /// The password of this user.
    pub(crate) fn password(self, user: &str) -> Result<Secret<Vec<u8>>, Failure> {
        if let Some(command) = self.password_command {
            return run(command, "password");
        }
        if let Some(password) = std::env::var_os(VARIABLE) {
            let password = Secret::new(password.into_encoded_bytes());
            return not_empty(password, &format!("{VARIABLE} is set and empty"));
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(Kind::Configuration, "no password: there is no terminal to ask for it")
                .advise(format!("--password-command CMD, or set {VARIABLE}")));
        }
        let password = rpassword::prompt_password(format!("Password for {user}: "))
            .map(|password| Secret::new(password.into_bytes()))
            .map_err(|error| Failure::new(Kind::Configuration, format!("no password: {error}")))?;
        not_empty(password, "the password is empty")
    }
}

/// An empty password is a mistake of the caller: no server is asked about it.
fn not_empty(password: Secret<Vec<u8>>, what: &str) -> Result<Secret<Vec<u8>>, Failure> {
    if !password.expose().is_empty() {
        return Ok(password);
    }
    Err(Failure::new(Kind::Configuration, what).advise(format!(
        "type the password at the prompt, or give it with --password-command CMD or {VARIABLE}"
    )))
}

/// The first line that a command prints.
fn run(command: &str, what: &str) -> Result<Secret<Vec<u8>>, Failure> {
    let failed = |why: String| Failure::new(Kind::Configuration, format!("the {what} command {why}"));
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(format!("could not be started: {error}")))?;
    let printed = Secret::new(output.stdout);
    if !output.status.success() {
        return Err(failed(format!("failed ({})", output.status)));
    }
    let line = printed.expose().split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(failed("printed nothing".to_owned()));
    }
    if line.len() > LARGEST {
        return Err(failed(format!("printed a line of more than {LARGEST} octets")));
    }
    Ok(Secret::from(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gives_its_first_line() {
        let secret = run("printf 'p w\\r\\nmore\\n'", "password").unwrap();
        assert_eq!(secret.expose(), b"p w");
    }

    #[test]
    fn an_empty_password_is_refused_before_any_server_is_asked() {
        let failure = not_empty(Secret::new(Vec::new()), "the password is empty").unwrap_err();
        assert_eq!(failure.kind, Kind::Configuration);
        assert!(failure.advice.is_some_and(|advice| advice.contains("--password-command")));
        assert!(not_empty(Secret::new(b"x".to_vec()), "").is_ok());
    }

    #[test]
    fn a_failing_or_silent_command_is_named_and_not_shown() {
        for command in ["echo hunter2; exit 3", "true", "/nonexistent/hunter2"] {
            let failure = run(command, "password").unwrap_err();
            assert_eq!(failure.kind, Kind::Configuration);
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
        }
    }
}
