//! The configuration file: default connection options for all servers and for single ones, defaults of `send`, and limits
//! of `serve`.
//!
//! ```toml
//! timeout = 60
//!
//! [server."mail.example.com"]
//! ca = "/etc/ssl/our-ca.pem"
//! password-command = "pass mail/example"
//!
//! [serve]
//! sessions-per-address = 50
//! ```
//!
//! The command line overrides a server's table, which overrides the top level. Options whose names begin with `danger`
//! cannot be set here; they must be given each time.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto_smtp::types::Domain;
use serde::Deserialize;

use crate::command_error::{CommandError, ExitCode};
use crate::compose::ComposeLimits;
use crate::options::{ConnectionOptions, describe_url_error, parse_delay, parse_helo};
use crate::user_directories::user_configuration_directory;
use mailclient::endpoint::Url;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    ca: Option<PathBuf>,
    pin: Option<String>,
    mechanism: Option<String>,
    timeout: Option<u64>,
    id: Option<bool>,
    helo: Option<Helo>,
    #[serde(default)]
    server: BTreeMap<String, Server>,
    #[serde(default)]
    serve: Serve,
    #[serde(default)]
    send: Send,
}

/// Defaults of `mailwire send` and `mailwire sendmail`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Send {
    /// The server and the user, as a URL.
    url: Option<String>,
    /// The sender.
    pub(crate) from: Option<String>,
    /// The domain for addresses without one. Default: the domain of `from`.
    pub(crate) domain: Option<String>,
    /// How often to retry a message.
    pub(crate) retries: Option<u32>,
    /// The delays before each retry, in seconds.
    retry_delays: Option<Vec<f64>>,
    /// The most recipients of a message.
    max_recipients: Option<NonZeroUsize>,
    /// The longest subject of a built message, in characters.
    max_subject: Option<NonZeroUsize>,
    /// The largest text, and the largest HTML part, of a built message, in bytes.
    max_body: Option<NonZeroUsize>,
    /// The largest attachment, in bytes.
    max_attachment: Option<NonZeroUsize>,
    /// The largest total of all attachments, in bytes.
    max_attachments: Option<NonZeroUsize>,
}

impl Send {
    /// Returns the URL of the server.
    pub(crate) fn url(&self) -> Result<Option<Url>, CommandError> {
        let parse = |text: &String| {
            text.parse().map_err(|error| invalid_send(&format!("url: {}", describe_url_error(&error))))
        };
        self.url.as_ref().map(parse).transpose()
    }

    /// Returns the delays before each retry; empty if none are set.
    pub(crate) fn retry_delays(&self) -> Result<Vec<Duration>, CommandError> {
        let parse = |seconds: &f64| {
            parse_delay(&seconds.to_string()).map_err(|why| invalid_send(&format!("retry-delays: {why}")))
        };
        self.retry_delays.iter().flatten().map(parse).collect()
    }

    /// Returns the limits of a message.
    pub(crate) fn limits(&self) -> ComposeLimits {
        let default = ComposeLimits::default();
        let or = |configured: Option<NonZeroUsize>, default| configured.map_or(default, NonZeroUsize::get);
        ComposeLimits {
            recipients: or(self.max_recipients, default.recipients),
            subject: or(self.max_subject, default.subject),
            body: or(self.max_body, default.body),
            attachment: or(self.max_attachment, default.attachment),
            attachments: or(self.max_attachments, default.attachments),
        }
    }
}

fn invalid_send(why: &str) -> CommandError {
    CommandError::new(ExitCode::Configuration, format!("[send] of the configuration file: {why}"))
}

/// The limits of `mailwire serve`. Only `compressed-sessions` may be zero.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Serve {
    /// The most sessions at a time. The server rejects further ones with a reply.
    pub(crate) sessions: Option<NonZeroUsize>,
    /// The most sessions at a time from one address (IPv6: one /64 network).
    pub(crate) sessions_per_address: Option<NonZeroUsize>,
    /// The most recipients of one message.
    pub(crate) recipients: Option<NonZeroUsize>,
    /// The largest message, in bytes.
    pub(crate) max_message: Option<NonZeroU64>,
    /// The most errors before a session ends.
    pub(crate) errors: Option<NonZeroU32>,
    /// The most sessions at a time that have not logged in.
    pub(crate) sessions_before_login: Option<NonZeroUsize>,
    /// The most IMAP sessions that are compressed at a time; 0 turns compression off.
    pub(crate) compressed_sessions: Option<usize>,
    /// Seconds from the connection to the login.
    pub(crate) login_timeout: Option<NonZeroU32>,
    /// How many failed logins of an account or an address are answered without delay.
    pub(crate) failed_logins: Option<NonZeroU32>,
    /// The longest delay of the answer to a failed login, in seconds.
    pub(crate) login_delay: Option<NonZeroU32>,
    /// The most failed logins before a session ends.
    pub(crate) login_attempts: Option<NonZeroU32>,
    /// Seconds to wait for the next command, at most the protocol's own limit.
    pub(crate) command_timeout: Option<NonZeroU32>,
    /// Seconds to wait for the next part of a message, at most the protocol's own limit.
    pub(crate) message_timeout: Option<NonZeroU32>,
    /// Seconds for a TLS handshake.
    pub(crate) tls_timeout: Option<NonZeroU32>,
    /// The most messages in one account.
    pub(crate) quota_messages: Option<NonZeroU64>,
    /// The most bytes of messages in one account.
    pub(crate) quota_bytes: Option<NonZeroU64>,
    /// The most mailboxes in one account.
    pub(crate) quota_mailboxes: Option<NonZeroU64>,
    /// The most subscriptions in one account.
    pub(crate) quota_subscriptions: Option<NonZeroU64>,
    /// The most entries of metadata in one account.
    pub(crate) quota_metadata: Option<NonZeroU64>,
    /// The most different keywords in one mailbox.
    pub(crate) quota_keywords: Option<NonZeroU64>,
}

/// Converts a setting in seconds.
pub(crate) fn seconds(setting: NonZeroU32) -> Duration {
    Duration::from_secs(setting.get().into())
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Server {
    ca: Option<PathBuf>,
    pin: Option<String>,
    mechanism: Option<String>,
    timeout: Option<u64>,
    id: Option<bool>,
    helo: Option<Helo>,
    password_command: Option<String>,
    token_command: Option<String>,
    secret_command_timeout: Option<u64>,
}

/// The client's host name in EHLO.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Helo(Domain<'static>);

impl TryFrom<String> for Helo {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_helo(&text).map(Self).map_err(|why| format!("helo: {why}"))
    }
}

/// Completes the given options with those of the configuration file for this host.
pub(crate) fn complete(mut given: ConnectionOptions, host: &str) -> Result<ConnectionOptions, CommandError> {
    if let Some(file) = read(given.config.as_deref())? {
        apply(&mut given, file, host);
    }
    Ok(given)
}

/// Reads the limits of `mailwire serve`.
pub(crate) fn serve(given: Option<&Path>) -> Result<Serve, CommandError> {
    Ok(read(given)?.unwrap_or_default().serve)
}

/// Reads the defaults of `mailwire send`.
pub(crate) fn send(given: Option<&Path>) -> Result<Send, CommandError> {
    Ok(read(given)?.unwrap_or_default().send)
}

/// Reads the file given, which must exist, or the default file, which may be missing.
fn read(given: Option<&Path>) -> Result<Option<File>, CommandError> {
    let Some(path) = given.map(Path::to_owned).or_else(default_path) else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text, &path).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && given.is_none() => Ok(None),
        Err(error) => Err(CommandError::new(ExitCode::Configuration, format!("{}: {error}", path.display()))),
    }
}

fn parse(text: &str, path: &Path) -> Result<File, CommandError> {
    toml::from_str(text).map_err(|error| {
        // The error's own text quotes the line, which may hold a secret.
        CommandError::new(ExitCode::Configuration, format!("{}: {}", path.display(), error.message()))
    })
}

fn apply(given: &mut ConnectionOptions, mut file: File, host: &str) {
    let server = file.server.remove(host).unwrap_or_default();
    if given.pin.is_none() && given.ca.is_none() && !given.danger_accept_any_certificate {
        given.pin = server.pin.or(file.pin);
        given.ca = server.ca.or(file.ca);
    }
    if given.password_command.is_none() && given.token_command.is_none() {
        given.password_command = server.password_command;
        given.token_command = server.token_command;
    }
    given.secret_command_timeout = given.secret_command_timeout.or(server.secret_command_timeout);
    given.mechanism = given.mechanism.take().or(server.mechanism).or(file.mechanism);
    given.timeout = given.timeout.or(server.timeout).or(file.timeout);
    given.no_id |= server.id.or(file.id) == Some(false);
    given.helo = given.helo.take().or_else(|| server.helo.or(file.helo).map(|helo| helo.0));
}

fn default_path() -> Option<PathBuf> {
    Some(user_configuration_directory()?.join("config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_overrides_server_table_overrides_top_level() {
        let text =
            "timeout = 60\nmechanism = 'PLAIN'\n[server.h]\ntimeout = 5\npassword-command = 'pass x'\n";
        let file = || parse(text, Path::new("c.toml")).unwrap();
        let mut given =
            ConnectionOptions { mechanism: Some("LOGIN".to_owned()), ..ConnectionOptions::default() };
        apply(&mut given, file(), "h");
        assert_eq!((given.timeout, given.mechanism.as_deref()), (Some(5), Some("LOGIN")));
        assert_eq!(given.password_command.as_deref(), Some("pass x"));
        let mut other = ConnectionOptions::default();
        apply(&mut other, file(), "other");
        assert_eq!((other.timeout, other.password_command), (Some(60), None));
    }

    #[test]
    fn each_limit_of_a_message_can_be_set() {
        let text = "[send]\nmax-recipients = 1\nmax-subject = 2\nmax-body = 3\nmax-attachment = 4\n\
            max-attachments = 5\n";
        let set = parse(text, Path::new("c.toml")).unwrap().send.limits();
        let all = (set.recipients, set.subject, set.body, set.attachment, set.attachments);
        assert_eq!(all, (1, 2, 3, 4, 5));
        assert_eq!(Send::default().limits().recipients, 100);
        assert!(parse("[send]\nmax-body = 0\n", Path::new("c.toml")).is_err());
    }

    #[test]
    fn names_an_invalid_file_without_quoting_it() {
        for text in [
            "danger-cleartext = true",
            "[serve]\nsessions = 0",
            "[serve]\nsession = 1",
            "password = 'hunter2'",
            "timeout = 'hunter2",
        ] {
            let failure = parse(text, Path::new("c.toml")).unwrap_err();
            assert_eq!(failure.exit_code, ExitCode::Configuration);
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
        }
    }
}
