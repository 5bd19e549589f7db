//! The options that several subcommands share: connection, trace and output, and the parsers of their values.
//!
//! Imports no subcommand.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use proto_smtp::types::Domain;

use mailclient::endpoint::{Url, UrlError};

/// The longest delay before a retry, in seconds.
const MAX_DELAY_SECONDS: f64 = 86_400.0;

/// How to connect to a server and log in.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionOptions {
    /// Trust the certificates in this PEM file instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust only the certificate with this fingerprint, whatever authority signed it.
    #[arg(long, value_name = "sha256:HEX")]
    pub(crate) pin: Option<String>,
    /// Trust any certificate. An attacker on the network can then read and change everything.
    #[arg(long)]
    pub(crate) danger_accept_any_certificate: bool,
    /// Connect without TLS. An attacker on the network can then read and change everything.
    #[arg(long)]
    pub(crate) danger_cleartext: bool,
    /// Log in without TLS. An attacker on the network can then read the password. Needs --danger-cleartext.
    #[arg(long, requires = "danger_cleartext")]
    pub(crate) danger_cleartext_login: bool,
    /// Read the password from the first line that this command prints.
    #[arg(long, value_name = "CMD")]
    pub(crate) password_command: Option<String>,
    /// Read an OAuth 2 access token from the first line that this command prints.
    #[arg(long, value_name = "CMD", conflicts_with = "password_command")]
    pub(crate) token_command: Option<String>,
    /// Kill the password or token command if it has not ended after this time. Default: 30 for a token, 300 for a
    /// password.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) secret_command_timeout: Option<u64>,
    /// Use only this SASL mechanism (SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, PLAIN, LOGIN,
    /// OAUTHBEARER, XOAUTH2). From a comma-separated list, use the first one that the server offers.
    #[arg(long, value_name = "NAME[,NAME]...")]
    pub(crate) mechanism: Option<String>,
    /// Do not send the name and version of this program to an IMAP server after login (ID, RFC 2971). Some providers
    /// open no mailbox without it.
    #[arg(long)]
    pub(crate) no_id: bool,
    /// Give up if nothing happens for this time.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: Option<u64>,
    /// SMTP: send this host name in EHLO or LHLO instead of the local IP address.
    #[arg(long, value_name = "NAME", value_parser = parse_helo)]
    pub(crate) helo: Option<Domain<'static>>,
    #[command(flatten)]
    pub(crate) trace: TraceOptions,
    /// Read defaults from this file instead of mailwire/config.toml in the user's configuration directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Parses the value of `--helo`: a domain in ASCII or an address literal.
pub(crate) fn parse_helo(text: &str) -> Result<Domain<'static>, String> {
    match Domain::parse(text) {
        Ok(domain) if text.is_ascii() => Ok(domain.into_owned()),
        Ok(_) => Err("expected a domain in ASCII (write xn--… for other characters)".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses a delay in seconds, from 0 to [`MAX_DELAY_SECONDS`].
pub(crate) fn parse_delay(text: &str) -> Result<Duration, String> {
    match text.trim().parse::<f64>() {
        Ok(seconds) if (0.0..=MAX_DELAY_SECONDS).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected seconds from 0 to {MAX_DELAY_SECONDS}")),
    }
}

/// What to record of the conversation with the peer.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TraceOptions {
    /// Write the whole conversation to this file, with times and without secrets. "-" writes to standard error.
    #[arg(long, value_name = "FILE", help_heading = "Trace")]
    pub(crate) trace: Option<PathBuf>,
    /// Write the trace as readable lines, or as one JSON object per line.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        requires = "trace",
        help_heading = "Trace"
    )]
    pub(crate) trace_format: TraceFormat,
    /// Write only which command or response each line is, without addresses, user names and mailbox names.
    #[arg(long, requires = "trace", help_heading = "Trace")]
    pub(crate) trace_without_names: bool,
}

/// The format of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum TraceFormat {
    #[default]
    Text,
    Json,
}

/// What to print.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputOptions {
    /// Print JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print no progress and no hints.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Parses a URL argument. Its errors never quote the argument, which may hold a password.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UrlParser;

impl TypedValueParser for UrlParser {
    type Value = Url;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Url, clap::Error> {
        let url = value.to_str().ok_or(UrlError::Syntax("it is not UTF-8")).and_then(str::parse);
        url.map_err(|error| {
            let why = describe_url_error(&error);
            let message = format!("invalid value for '<URL>': {why}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

/// Says why a text is not a URL, and names the command's options.
pub(crate) fn describe_url_error(error: &UrlError) -> String {
    match error {
        UrlError::Path(path) => format!(
            "a URL must not have a path: remove \"/{path}\" (to sync one folder, use --folder {path}; write a slash in a \
             user name as %2F)"
        ),
        UrlError::Password => {
            "a URL must not contain a password: use --password-command, MAILWIRE_PASSWORD or the prompt \
                    (write a colon in a user name as %3A)"
                .to_owned()
        }
        error => error.to_string(),
    }
}
