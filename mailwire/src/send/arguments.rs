//! The command line of `send`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Arg, Args, ValueEnum};

use super::service_options::ServiceOptions;
use crate::account_access::AccountOptions;
use crate::options::{ConnectionOptions, OutputOptions, UrlParser, parse_delay};
use mailclient::endpoint::Url;

const MANY: &str = "Many messages";
const DIAGNOSIS: &str = "Testing a server";
const SENDMAIL: &str = "As sendmail";

const SEND_EXAMPLES: &str = "\
Examples:
  mailwire send smtps://me@mail.example --from me@x.example --to you@y.example --subject Hi --text Hello
  mailwire send smtp://me@mail.example --from me@x.example --to you@y.example < message.eml
  mailwire send smtps://me@mail.example --from me@x.example --to archive@y.example --messages old.mbox
  mailwire send smtp://mail.example --from me@x.example --to you@y.example --subject x --stop-after rcpt
  mailwire send -t -f me@x.example < message.eml      (with `url` in [send] of the configuration file)

Exit code 70 means that the message may have arrived: check before you send it again.";

/// The arguments of `mailwire send`.
#[derive(Debug, Args)]
#[command(after_help = SEND_EXAMPLES)]
pub(crate) struct SendArgs {
    /// The server and the user, for example smtps://user@host. Default: `url` in `[send]` of the configuration file. An
    /// address here is a recipient, as with --to.
    #[arg(value_name = "URL|ADDRESS", value_parser = DestinationParser)]
    pub(crate) destinations: Vec<Destination>,
    /// The envelope sender and, in a built message, the From field. "<>" is the null sender, which delivery reports use.
    /// Default: `from` in `[send]` of the configuration file.
    #[arg(long, short = 'f', value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// A recipient. May be given several times.
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(crate) to: Vec<String>,
    /// A recipient of a copy. May be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) cc: Vec<String>,
    /// A recipient of a copy that the other recipients do not see. May be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bcc: Vec<String>,
    /// Also send to the addresses in the fields To, Cc and Bcc of the message, or in Resent-To, Resent-Cc and Resent-Bcc
    /// if it has any. Bcc fields are always removed.
    #[arg(long, short = 't', conflicts_with_all = ["subject", "text", "html", "attach", "header"])]
    pub(crate) recipients_from_header: bool,
    /// Send all messages of an mbox file, a Maildir, a directory of .eml files or a file with one message, each with the
    /// same envelope. May be given several times. After an interruption, the same command continues where it stopped.
    #[arg(long, help_heading = MANY, value_name = "PATH", conflicts_with_all = ["subject", "text", "html", "attach", "header"])]
    pub(crate) messages: Vec<PathBuf>,
    /// Use this many sessions at once, or fewer if the server accepts no more.
    #[arg(long, help_heading = MANY, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) concurrency: u8,
    /// The subject of a built message.
    #[arg(long, value_name = "TEXT")]
    pub(crate) subject: Option<String>,
    /// The text of a built message. "-" reads it from standard input.
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// A file with the HTML part of a built message.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// A file to attach to a built message. The name decides its media type, unless that is added: FILE;type=text/plain.
    /// May be given several times.
    #[arg(long, value_name = "FILE[;type=TYPE]")]
    pub(crate) attach: Vec<OsString>,
    /// A header field to add to a built message, as 'Name: value'. May be given several times.
    #[arg(long, value_name = "K: V")]
    pub(crate) header: Vec<String>,
    /// Record in this file, as hashes, what was sent to whom, and send nothing twice. By default, --messages uses a
    /// journal in the user's data directory and deletes it when all messages are sent.
    #[arg(long, help_heading = MANY, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Use no journal. An interrupted run then cannot be continued.
    #[arg(long, help_heading = MANY, conflicts_with_all = ["journal", "resend_uncertain"])]
    pub(crate) no_journal: bool,
    /// Send messages again that an earlier run may have sent without getting a reply. They may arrive twice.
    #[arg(long, help_heading = MANY)]
    pub(crate) resend_uncertain: bool,
    /// Send step by step, show each reply and its time, and stop after this step.
    #[arg(long, help_heading = DIAGNOSIS, value_name = "STEP", conflicts_with_all = ["messages", "journal"])]
    pub(crate) stop_after: Option<Step>,
    /// Send step by step, and show each reply and its time. Nothing is retried.
    #[arg(long, help_heading = DIAGNOSIS, conflicts_with_all = ["messages", "journal"])]
    pub(crate) timings: bool,
    /// Retry this many times if the server replies with a temporary error (421, 450, 451, 452), cannot be reached or
    /// closes the connection. Default: `retries` in `[send]` of the configuration file, or 3.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=50))]
    pub(crate) retries: Option<u32>,
    /// Wait this long before the first retry, the second and so on. The last delay applies to all further retries. Without
    /// --retries, there are as many retries as delays. Default: 1, 2, 4 and so on up to 60, plus up to half as much at
    /// random.
    #[arg(long, value_name = "SECONDS,…", value_delimiter = ',', value_parser = parse_delay)]
    pub(crate) retry_delays: Vec<Duration>,
    /// Try this many times in total: --retries plus one.
    #[arg(long, value_name = "N", conflicts_with = "retries", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) attempts: Option<u32>,
    /// The sender's name, for a From field that mailwire adds.
    #[arg(short = 'F', long = "full-name", help_heading = SENDMAIL, value_name = "NAME")]
    pub(crate) full_name: Option<String>,
    /// Accepted for sendmail: a line with a single dot does not end the message.
    #[arg(short = 'i', help_heading = SENDMAIL)]
    pub(crate) ignore_dots: bool,
    /// Accepted for sendmail (-oi, -oem and so on) and ignored.
    #[arg(short = 'o', help_heading = SENDMAIL, value_name = "OPTION")]
    pub(crate) option: Vec<String>,
    /// Set by `mailwire sendmail`.
    #[arg(long, hide = true)]
    pub(crate) as_sendmail: bool,
    #[command(flatten)]
    pub(crate) service: ServiceOptions,
    #[command(flatten)]
    pub(crate) account: AccountOptions,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

impl SendArgs {
    /// Returns whether to build the message instead of reading it from standard input.
    pub(crate) fn builds_message(&self) -> bool {
        self.subject.is_some()
            || self.text.is_some()
            || self.html.is_some()
            || !self.attach.is_empty()
            || !self.header.is_empty()
    }

    /// Returns the URLs given.
    pub(super) fn urls(&self) -> impl Iterator<Item = &Url> {
        self.destinations.iter().filter_map(|destination| match destination {
            Destination::Server(url) => Some(url),
            Destination::Recipient(_) => None,
        })
    }

    /// Returns the recipients given without an option.
    pub(super) fn recipients(&self) -> impl Iterator<Item = &String> {
        self.destinations.iter().filter_map(|destination| match destination {
            Destination::Server(_) => None,
            Destination::Recipient(address) => Some(address),
        })
    }
}

/// A positional argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    Server(Url),
    Recipient(String),
}

/// Parses a URL or an address.
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
            // Text with a colon is a URL without its scheme rather than an address, and may hold a password.
            Some(text) if !text.contains(':') => Ok(Destination::Recipient(text.to_owned())),
            _ => UrlParser.parse_ref(command, argument, value).map(Destination::Server),
        }
    }
}

/// A step of sending, in order. With implicit TLS, the greeting comes after TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Step {
    /// The TCP connection is established.
    Connect,
    /// The server has sent its greeting.
    Greeting,
    /// The TLS handshake is complete.
    Tls,
    /// The server has answered EHLO.
    Ehlo,
    /// The user is logged in.
    Auth,
    /// The server has accepted the sender.
    Mail,
    /// The server has replied for every recipient.
    Rcpt,
    /// The server waits for the message. The connection is closed, and the message is not sent.
    Data,
    /// The server has replied to the message. The connection is closed without QUIT.
    Dot,
    /// The session has ended with QUIT.
    Quit,
}

impl Step {
    /// Returns the step's name in the output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Tls => "tls",
            Self::Ehlo => "ehlo",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Dot => "dot",
            Self::Quit => "quit",
        }
    }
}
