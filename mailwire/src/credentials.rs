//! Reads a password or token from a command, the environment or a prompt; never from an argument.

use std::io::{IsTerminal, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use mailclient::account::KEY_VARIABLE;
use proto_mail::{Credentials, Secret};

use crate::command_error::{CommandError, ExitCode};

/// The environment variable with the password.
pub(crate) const VARIABLE: &str = "MAILWIRE_PASSWORD";

/// The environment variable with the next key of `mailwire account rekey`.
pub(crate) const NEXT_KEY_VARIABLE: &str = "EMAIL_ENCRYPTION_KEY_NEXT";

/// The longest password or token from a command, in bytes. An OAuth token may have several thousand bytes.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// The most that a command may print, in bytes. Everything after the first line is ignored.
const MAX_OUTPUT_BYTES: u64 = 1024 * 1024;

/// How long a token command may take.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a password command may take. The user may have to type something.
const PASSWORD_TIMEOUT: Duration = Duration::from_secs(300);

/// The longest time between two checks whether a command has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The sources of credentials, in this order: token command, password command, environment, prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CredentialSource<'a> {
    pub(crate) password_command: Option<&'a str>,
    pub(crate) token_command: Option<&'a str>,
    /// How long either command may take, if the user set it.
    pub(crate) timeout: Option<Duration>,
}

impl CredentialSource<'_> {
    /// Reads the credentials of a user.
    pub(crate) fn credentials(self, user: &str) -> Result<Credentials, CommandError> {
        if let Some(command) = self.token_command {
            let token = run(command, "token", self.timeout.unwrap_or(TOKEN_TIMEOUT))?;
            let token = String::from_utf8(token.expose().clone()).map_err(|_| {
                CommandError::new(ExitCode::Data, "the token command printed text that is not UTF-8")
            })?;
            return Ok(Credentials::bearer(user, token));
        }
        Ok(Credentials::password(user, self.password(user)?))
    }

    /// Reads the password of a user.
    pub(crate) fn password(self, user: &str) -> Result<Secret<Vec<u8>>, CommandError> {
        if let Some(command) = self.password_command {
            return run(command, "password", self.timeout.unwrap_or(PASSWORD_TIMEOUT));
        }
        if let Some(password) = std::env::var_os(VARIABLE) {
            let password = Secret::new(password.into_encoded_bytes());
            return require_nonempty(password, &format!("{VARIABLE} is set but empty"));
        }
        if !std::io::stdin().is_terminal() {
            return Err(CommandError::new(
                ExitCode::Configuration,
                "there is no password, and no terminal to ask for it",
            )
            .advise(format!("use --password-command CMD, or set {VARIABLE}")));
        }
        let password = rpassword::prompt_password(format!("Password for {user}: "))
            .map(|password| Secret::new(password.into_bytes()))
            .map_err(|error| {
                CommandError::new(ExitCode::Configuration, format!("the password cannot be read: {error}"))
            })?;
        require_nonempty(password, "the password is empty")
    }
}

/// Rejects an empty password before any server sees it.
fn require_nonempty(password: Secret<Vec<u8>>, what: &str) -> Result<Secret<Vec<u8>>, CommandError> {
    if !password.expose().is_empty() {
        return Ok(password);
    }
    Err(CommandError::new(ExitCode::Configuration, what)
        .advise(format!("type the password at the prompt, or use --password-command CMD or {VARIABLE}")))
}

/// Runs a command and returns the first line that it prints. Kills the command after the timeout.
fn run(command: &str, what: &str, timeout: Duration) -> Result<Secret<Vec<u8>>, CommandError> {
    let failed =
        |why: String| CommandError::new(ExitCode::Configuration, format!("the {what} command {why}"));
    let until = Instant::now() + timeout;
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .env_remove(KEY_VARIABLE)
        .env_remove(NEXT_KEY_VARIABLE)
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| failed(format!("could not be started: {error}")))?;
    let printed = child.stdout.take().map(|output| read_output(output, until));
    let status = match &printed {
        Some(Ok(_)) => wait(&mut child, until),
        _ => None,
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let timed_out = || {
        let text = format!("did not end within {} s", timeout.as_secs_f64());
        failed(text).advise(format!(
            "run it by itself to see what it waits for, or use --secret-command-timeout SECONDS (for the {what})"
        ))
    };
    let printed = match printed {
        Some(Ok(printed)) => printed,
        Some(Err(ReadError::TimedOut)) => return Err(timed_out()),
        Some(Err(ReadError::TooMuch)) => {
            return Err(failed(format!("printed more than {MAX_OUTPUT_BYTES} bytes")));
        }
        Some(Err(ReadError::Failed(error))) => return Err(failed(format!("could not be read: {error}"))),
        None => return Err(failed("has no output".to_owned())),
    };
    let status = status.ok_or_else(timed_out)?;
    if !status.success() {
        return Err(failed(format!("failed ({status})")));
    }
    let line = printed.expose().split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(failed("printed nothing".to_owned()));
    }
    if line.len() > MAX_SECRET_BYTES {
        return Err(failed(format!("printed a line of more than {MAX_SECRET_BYTES} bytes")));
    }
    Ok(Secret::from(line))
}

/// Why the output of a command was not read completely.
enum ReadError {
    TimedOut,
    TooMuch,
    Failed(std::io::Error),
}

/// Reads the output of a command until `until`. A thread reads it, and continues after a timeout for as long as any
/// program holds the output open; it then discards the output.
fn read_output(output: impl Read + Send + 'static, until: Instant) -> Result<Secret<Vec<u8>>, ReadError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let read = move || {
        let mut printed = Vec::new();
        let read = output.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut printed);
        let _ = sender.send(read.map(|_| Secret::new(printed)));
    };
    std::thread::Builder::new().name("command".to_owned()).spawn(read).map_err(ReadError::Failed)?;
    match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(Ok(printed)) if printed.expose().len() as u64 > MAX_OUTPUT_BYTES => Err(ReadError::TooMuch),
        Ok(Ok(printed)) => Ok(printed),
        Ok(Err(error)) => Err(ReadError::Failed(error)),
        Err(_) => Err(ReadError::TimedOut),
    }
}

/// Waits for a command to end. Returns `None` at `until`.
fn wait(child: &mut Child, until: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                std::thread::sleep(POLL_INTERVAL.min(left));
            }
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_line_of_a_command() {
        let secret = run("printf 'p w\\r\\nmore\\n'", "password", PASSWORD_TIMEOUT).unwrap();
        assert_eq!(secret.expose(), b"p w");
    }

    #[test]
    fn rejects_an_empty_password() {
        let failure = require_nonempty(Secret::new(Vec::new()), "the password is empty").unwrap_err();
        assert_eq!(failure.exit_code, ExitCode::Configuration);
        assert!(failure.advice.is_some_and(|advice| advice.contains("--password-command")));
        assert!(require_nonempty(Secret::new(b"x".to_vec()), "").is_ok());
    }

    #[test]
    fn errors_never_quote_the_command() {
        for command in ["echo hunter2; exit 3", "true", "/nonexistent/hunter2"] {
            let failure = run(command, "password", PASSWORD_TIMEOUT).unwrap_err();
            assert_eq!(failure.exit_code, ExitCode::Configuration);
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
        }
    }

    #[test]
    fn kills_a_command_that_does_not_end() {
        // The second one closes its output first. The third one leaves a program running that holds it open.
        for command in ["sleep 60", "echo token; exec >&-; sleep 60", "sleep 3 & echo token; exit 0"] {
            let begun = Instant::now();
            let failure = run(command, "token", Duration::from_millis(300)).unwrap_err();
            assert!(begun.elapsed() < Duration::from_secs(2), "{command}: {:?}", begun.elapsed());
            assert!(failure.to_string().contains("did not end within 0.3 s"), "{failure}");
            assert!(failure.advice.is_some_and(|advice| advice.contains("--secret-command-timeout")));
        }
    }

    #[test]
    fn limits_the_output_of_a_command() {
        let failure = run("yes", "token", TOKEN_TIMEOUT).unwrap_err();
        assert!(failure.to_string().contains("printed more than 1048576 bytes"), "{failure}");
        let failure = run("head -c 70000 /dev/zero | tr '\\0' x", "token", TOKEN_TIMEOUT).unwrap_err();
        assert!(failure.to_string().contains("a line of more than 65536 bytes"), "{failure}");
    }
}
