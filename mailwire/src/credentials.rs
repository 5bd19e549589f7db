//! Where a password or token comes from: a command, the environment, or a prompt. Never an argument.

use std::io::{IsTerminal, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use proto_mail::{Credentials, Secret};

use crate::failure::{Failure, Kind};

/// The variable that holds the password.
pub(crate) const VARIABLE: &str = "MAILWIRE_PASSWORD";

/// The largest password or token taken from a command, in octets: an OAuth token may be several thousand long.
const LARGEST: usize = 64 * 1024;

/// The most that a command may print in all, in bytes. What follows the first line is ignored.
const LARGEST_OUTPUT: u64 = 1024 * 1024;

/// How long a token command may take, and a password command, at which a person may have to type something.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
const PASSWORD_TIMEOUT: Duration = Duration::from_secs(300);

/// The time between two looks at whether a command has ended, at most.
const LOOK: Duration = Duration::from_millis(20);

/// Where to look, in this order: the token command, the password command, the environment, a prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) password_command: Option<&'a str>,
    pub(crate) token_command: Option<&'a str>,
    /// How long either command may take, if it was set.
    pub(crate) timeout: Option<Duration>,
}

impl Source<'_> {
    /// The credentials of this user.
    pub(crate) fn credentials(self, user: &str) -> Result<Credentials, Failure> {
        if let Some(command) = self.token_command {
            let token = run(command, "token", self.timeout.unwrap_or(TOKEN_TIMEOUT))?;
            let token = String::from_utf8(token.expose().clone())
                .map_err(|_| Failure::new(Kind::Data, "the token command printed what is not UTF-8"))?;
            return Ok(Credentials::bearer(user, token));
        }
        Ok(Credentials::password(user, self.password(user)?))
    }

    /// The password of this user.
    pub(crate) fn password(self, user: &str) -> Result<Secret<Vec<u8>>, Failure> {
        if let Some(command) = self.password_command {
            return run(command, "password", self.timeout.unwrap_or(PASSWORD_TIMEOUT));
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

/// The first line that a command prints within that time. After it, the command is killed.
fn run(command: &str, what: &str, timeout: Duration) -> Result<Secret<Vec<u8>>, Failure> {
    let failed = |why: String| Failure::new(Kind::Configuration, format!("the {what} command {why}"));
    let until = Instant::now() + timeout;
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| failed(format!("could not be started: {error}")))?;
    let printed = child.stdout.take().map(|output| printed_by(output, until));
    let status = match &printed {
        Some(Ok(_)) => wait(&mut child, until),
        _ => None,
    };
    if status.is_none() {
        // It has ended meanwhile, or it ends now.
        let _ = child.kill();
        let _ = child.wait();
    }
    let late = || {
        let text = format!("did not end within {} s", timeout.as_secs_f64());
        failed(text).advise(format!(
            "run it by itself to see what it waits for; --secret-command-timeout SECONDS gives it more time (for the {what})"
        ))
    };
    let printed = match printed {
        Some(Ok(printed)) => printed,
        Some(Err(Unread::Late)) => return Err(late()),
        Some(Err(Unread::TooMuch)) => {
            return Err(failed(format!("printed more than {LARGEST_OUTPUT} bytes")));
        }
        Some(Err(Unread::Failed(error))) => return Err(failed(format!("could not be read: {error}"))),
        None => return Err(failed("has no output".to_owned())),
    };
    let status = status.ok_or_else(late)?;
    if !status.success() {
        return Err(failed(format!("failed ({status})")));
    }
    let line = printed.expose().split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(failed("printed nothing".to_owned()));
    }
    if line.len() > LARGEST {
        return Err(failed(format!("printed a line of more than {LARGEST} bytes")));
    }
    Ok(Secret::from(line))
}

/// Why the output of a command was not read to its end.
enum Unread {
    Late,
    TooMuch,
    Failed(std::io::Error),
}

/// What a command prints, if its output ends in time. A thread reads it: it may go on for as long as a program that the
/// command started holds the output open, and keeps nothing then.
fn printed_by(output: impl Read + Send + 'static, until: Instant) -> Result<Secret<Vec<u8>>, Unread> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let read = move || {
        let mut printed = Vec::new();
        let read = output.take(LARGEST_OUTPUT + 1).read_to_end(&mut printed);
        let _ = sender.send(read.map(|_| Secret::new(printed)));
    };
    std::thread::Builder::new().name("command".to_owned()).spawn(read).map_err(Unread::Failed)?;
    match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(Ok(printed)) if printed.expose().len() as u64 > LARGEST_OUTPUT => Err(Unread::TooMuch),
        Ok(Ok(printed)) => Ok(printed),
        Ok(Err(error)) => Err(Unread::Failed(error)),
        Err(_) => Err(Unread::Late),
    }
}

/// How a command ended, if it does in time.
fn wait(child: &mut Child, until: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                std::thread::sleep(LOOK.min(left));
            }
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gives_its_first_line() {
        let secret = run("printf 'p w\\r\\nmore\\n'", "password", PASSWORD_TIMEOUT).unwrap();
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
            let failure = run(command, "password", PASSWORD_TIMEOUT).unwrap_err();
            assert_eq!(failure.kind, Kind::Configuration);
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
        }
    }

    #[test]
    fn a_command_that_does_not_end_is_killed() {
        // The second one closes its output first; the third one leaves a program behind that holds it open.
        for command in ["sleep 60", "echo token; exec >&-; sleep 60", "sleep 3 & echo token; exit 0"] {
            let begun = Instant::now();
            let failure = run(command, "token", Duration::from_millis(300)).unwrap_err();
            assert!(begun.elapsed() < Duration::from_secs(2), "{command}: {:?}", begun.elapsed());
            assert!(failure.to_string().contains("did not end within 0.3 s"), "{failure}");
            assert!(failure.advice.is_some_and(|advice| advice.contains("--secret-command-timeout")));
        }
    }

    #[test]
    fn a_command_may_print_only_so_much() {
        let failure = run("yes", "token", TOKEN_TIMEOUT).unwrap_err();
        assert!(failure.to_string().contains("printed more than 1048576 bytes"), "{failure}");
        let failure = run("head -c 70000 /dev/zero | tr '\\0' x", "token", TOKEN_TIMEOUT).unwrap_err();
        assert!(failure.to_string().contains("a line of more than 65536 bytes"), "{failure}");
    }
}
