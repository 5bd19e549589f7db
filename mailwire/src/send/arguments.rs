//! The command line of `send`: what can be asked, in which words.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Arg, Args, ValueEnum};

use super::service::Service;
use crate::cli::{Connection, Output, UrlParser};
use crate::url::Url;

const MANY: &str = "Many messages";
const LOOK: &str = "Looking at a server";
const SENDMAIL: &str = "As sendmail";

/// The most that a pause between two tries may last, in seconds.
const LONGEST_DELAY: f64 = 86_400.0;

const SEND_EXAMPLES: &str = "\
Examples:
  mailwire send smtps://me@mail.example --from me@x.example --to you@y.example --subject Hi --text Hello
  mailwire send smtp://me@mail.example --from me@x.example --to you@y.example < message.eml
  mailwire send smtps://me@mail.example --from me@x.example --to archive@y.example --messages old.mbox
  mailwire send smtp://mail.example --from me@x.example --to you@y.example --subject x --stop-after rcpt
  mailwire send -t -f me@x.example < message.eml      (with `url` in [send] of the configuration file)

A message that ends with exit code 70 may have arrived: look before it is sent again.";

#[derive(Debug, Args)]
#[command(after_help = SEND_EXAMPLES)]
pub(crate) struct SendArgs {
    /// The server and the user, as smtps://user@host or the like; without one, `url` in `[send]` of the configuration file.
    /// An address here is a recipient, as with --to.
    #[arg(value_name = "URL|ADDRESS", value_parser = DestinationParser)]
    pub(crate) destinations: Vec<Destination>,
    /// The envelope sender and, in a built message, the From field; "<>" for the empty sender, as reports have it.
    /// Without it, `from` in `[send]` of the configuration file.
    #[arg(long, short = 'f', value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// Who receives; may be given several times.
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(crate) to: Vec<String>,
    /// Who receives a copy; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) cc: Vec<String>,
    /// Who receives a copy unseen by the others; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bcc: Vec<String>,
    /// Send to the addresses in To, Cc and Bcc of the message too; to those in Resent-To, Resent-Cc and Resent-Bcc if
    /// there are some. Bcc is removed in any case.
    #[arg(long, short = 't', conflicts_with_all = ["subject", "text", "html", "attach", "header"])]
    pub(crate) recipients_from_header: bool,
    /// Send every message from there, each in this envelope and all in one session: an mbox file, a Maildir, a
    /// directory of .eml files, or the file of one message; may be given several times. Run again after an
    /// interruption, the same command goes on where it stopped.
    #[arg(long, help_heading = MANY, value_name = "PATH", conflicts_with_all = ["subject", "text", "html", "attach", "header"])]
    pub(crate) messages: Vec<PathBuf>,
    /// Send many messages in so many sessions at once; with fewer, if the server takes no more.
    #[arg(long, help_heading = MANY, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) concurrency: u8,
    /// The subject of a built message.
    #[arg(long, value_name = "TEXT")]
    pub(crate) subject: Option<String>,
    /// The text of a built message; "-" reads it from standard input.
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// A file with the HTML of a built message.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// A file to attach to a built message; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) attach: Vec<PathBuf>,
    /// A field to add to a built message, as 'Name: value'; may be given several times.
    #[arg(long, value_name = "K: V")]
    pub(crate) header: Vec<String>,
    /// Keep in this file what was sent to whom, as hashes, and send nothing twice that stands there. Without it there
    /// is one in the user's data directory for --messages, until all is sent.
    #[arg(long, help_heading = MANY, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Keep no journal: an interrupted run cannot be continued.
    #[arg(long, help_heading = MANY, conflicts_with_all = ["journal", "resend_uncertain"])]
    pub(crate) no_journal: bool,
    /// Send again what an earlier run may have sent and got no answer to: it may arrive twice.
    #[arg(long, help_heading = MANY)]
    pub(crate) resend_uncertain: bool,
    /// Send step by step, show each reply and how long it took, and stop behind this step.
    #[arg(long, help_heading = LOOK, value_name = "STEP", conflicts_with_all = ["messages", "journal"])]
    pub(crate) stop_after: Option<Step>,
    /// Send step by step, and show each reply and how long it took. Nothing is tried again.
    #[arg(long, help_heading = LOOK, conflicts_with_all = ["messages", "journal"])]
    pub(crate) timings: bool,
    /// Retry so many times when the server says to try again (421, 450, 451, 452), cannot be reached or closes the
    /// connection. 3 unless set here or by `retries` in `[send]` of the configuration file.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=50))]
    pub(crate) retries: Option<u32>,
    /// Wait so many seconds before the first retry, before the second and so on; the last delay is used for all that
    /// follow. As many retries as delays, unless --retries says otherwise. Without it 1, 2, 4 and so on, up to 60, and by
    /// chance up to half as much again.
    #[arg(long, value_name = "SECONDS,…", value_delimiter = ',', value_parser = delay)]
    pub(crate) retry_delays: Vec<Duration>,
    /// Try so many times in all: --retries and one.
    #[arg(long, value_name = "N", conflicts_with = "retries", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) attempts: Option<u32>,
    /// The name of the sender, for a From field that is made here.
    #[arg(short = 'F', long = "full-name", help_heading = SENDMAIL, value_name = "NAME")]
    pub(crate) full_name: Option<String>,
    /// Accepted as sendmail does: a line with a single dot never ends the message here.
    #[arg(short = 'i', help_heading = SENDMAIL)]
    pub(crate) ignore_dots: bool,
    /// Accepted as sendmail does (-oi, -oem and the like), without an effect.
    #[arg(short = 'o', help_heading = SENDMAIL, value_name = "OPTION")]
    pub(crate) option: Vec<String>,
    /// `mailwire sendmail` asks.
    #[arg(long, hide = true)]
    pub(crate) as_sendmail: bool,
    #[command(flatten)]
    pub(crate) service: Service,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl SendArgs {
    /// Whether the message is to be built, and not read from standard input.
    pub(crate) fn builds_message(&self) -> bool {
        self.subject.is_some()
            || self.text.is_some()
            || self.html.is_some()
            || !self.attach.is_empty()
            || !self.header.is_empty()
    }

    /// The server that was named; several of them are one too many.
    pub(super) fn urls(&self) -> impl Iterator<Item = &Url> {
        self.destinations.iter().filter_map(|destination| match destination {
            Destination::Server(url) => Some(url),
            Destination::Recipient(_) => None,
        })
    }

    /// The recipients that were named without an option.
    pub(super) fn recipients(&self) -> impl Iterator<Item = &String> {
        self.destinations.iter().filter_map(|destination| match destination {
            Destination::Server(_) => None,
            Destination::Recipient(address) => Some(address),
        })
    }
}

/// An argument without an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    Server(Url),
    Recipient(String),
}

/// Reads a URL or an address.
#[derive(Debug, Clone, Copy)]
struct DestinationParser;

impl TypedValueParser for DestinationParser {
    type Value = Destination;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Destination, clap::Error> {
        match value.to_str() {
            // What has a colon is a URL without its scheme rather than an address, and may hold a password.
            Some(text) if !text.contains(':') => Ok(Destination::Recipient(text.to_owned())),
            _ => UrlParser.parse_ref(command, argument, value).map(Destination::Server),
        }
    }
}

/// Reads a pause in seconds.
pub(crate) fn delay(text: &str) -> Result<Duration, String> {
    match text.trim().parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST_DELAY).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected seconds from 0 to {LONGEST_DELAY}")),
    }
}

/// The steps of sending, in order; with implicit TLS the greeting comes behind TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Step {
    /// A TCP connection stands.
    Connect,
    /// The server greets.
    Greeting,
    /// TLS stands.
    Tls,
    /// The server has said what it offers.
    Ehlo,
    /// The user is logged in.
    Auth,
    /// The sender is accepted.
    Mail,
    /// Every recipient was answered.
    Rcpt,
    /// The server waits for the message: the connection is closed, and it has none.
    Data,
    /// The message was answered: the connection is closed without QUIT.
    Dot,
    /// All of it.
    Quit,
}
