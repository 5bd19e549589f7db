//! The command line: what can be asked, in which words. It knows nothing of how it is done.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use proto_smtp::types::Domain;

use crate::send::{SendArgs, SendmailArgs};
use crate::serve::faults::{Delay, Drop, Fail, Faults};
use crate::serve::names::HostName;
use crate::sync::{FOLDER_MESSAGES, KEEP_FREE, MESSAGE_BYTES};
use crate::url::Url;
use io_mio::TrustedProxies;

/// IMAP and SMTP that cannot leak a password: check, sync, send and serve mail.
#[derive(Debug, Parser)]
#[command(name = "mailwire", version, about, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
URLs:
  imaps://user@host[:993]  smtps://user@host[:465]   implicit TLS
  imap://user@host[:143]   smtp://user@host[:587]    STARTTLS, required
Nothing ever falls back to cleartext.

The password is asked for at a prompt, or taken from --password-command or MAILWIRE_PASSWORD; never from an argument.

Exit codes (sysexits.h): 0 done, 64 usage, 65 data, 68 no host, 69 unavailable, 70 uncertain (a message may have been
sent: do not repeat the command blindly), 74 output, 75 try again, 76 protocol, 77 refused (authentication or security
policy), 78 configuration, 130 and 143 stopped by Ctrl-C or SIGTERM.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve mail: submission and IMAP, on loopback with a certificate of its own unless told otherwise.
    ///
    /// An account gets the mail for its name, with or without a +tag, at any domain; mail for other names is refused.
    /// Nothing is relayed. Whoever has logged in may send as anybody. A message is acknowledged when it is on disk.
    Serve(Box<ServeArgs>),
    /// Walk through a connection stage by stage and say what is wrong and what to try.
    Check(CheckArgs),
    /// List the folders of an account, and keep the list if --into is given.
    Folders(FoldersArgs),
    /// Fetch every message of an account once into a local store.
    Sync(SyncArgs),
    /// Send a message, built from options or whole from standard input as sendmail takes it; or many from files.
    Send(Box<SendArgs>),
    /// Take the place of sendmail: its options, a message on standard input, the server of the configuration file.
    #[command(disable_help_flag = true)]
    Sendmail(SendmailArgs),
    /// Read raw protocol octets from standard input and print one JSON line per event.
    Decode(DecodeArgs),
}

impl Command {
    /// How to speak to whoever started the command.
    pub(crate) fn output(&self) -> Output {
        match self {
            Self::Serve(arguments) => arguments.output,
            Self::Check(arguments) => arguments.output,
            Self::Folders(arguments) => arguments.output,
            Self::Sync(arguments) => arguments.output,
            Self::Send(arguments) => arguments.output,
            Self::Sendmail(_) => Output::default(),
            Self::Decode(_) => Output::default(),
        }
    }
}

/// How to reach a server, and how to prove who one is.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Trust the certificates in this PEM file instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust exactly the certificate with this fingerprint, whoever signed it.
    #[arg(long, value_name = "sha256:HEX")]
    pub(crate) pin: Option<String>,
    /// Trust any certificate: whoever is on the way can read and change everything.
    #[arg(long)]
    pub(crate) danger_accept_any_certificate: bool,
    /// Speak without TLS: everything can be read and changed on the way.
    #[arg(long)]
    pub(crate) danger_cleartext: bool,
    /// Log in without TLS: the password can be read on the way. Needs --danger-cleartext.
    #[arg(long, requires = "danger_cleartext")]
    pub(crate) danger_cleartext_login: bool,
    /// Take the password from the first line that this command prints.
    #[arg(long, value_name = "CMD")]
    pub(crate) password_command: Option<String>,
    /// Take an OAuth 2 access token from the first line that this command prints.
    #[arg(long, value_name = "CMD", conflicts_with = "password_command")]
    pub(crate) token_command: Option<String>,
    /// Kill the password or token command when it has not ended after so many seconds: 30 unless set for a token, 300 for
    /// a password.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) secret_command_timeout: Option<u64>,
    /// Use this SASL mechanism and no other (SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, PLAIN,
    /// LOGIN, OAUTHBEARER, XOAUTH2), or of several with commas between them the first that the server offers.
    #[arg(long, value_name = "NAME[,NAME]...")]
    pub(crate) mechanism: Option<String>,
    /// Do not tell an IMAP server the name and version of this program after the log-in (ID, RFC 2971). Some
    /// providers open no mailbox without it.
    #[arg(long)]
    pub(crate) no_id: bool,
    /// Give up when nothing happens for so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: Option<u64>,
    /// SMTP: introduce this machine by this name in EHLO or LHLO, and not by the literal of its address.
    #[arg(long, value_name = "NAME", value_parser = helo)]
    pub(crate) helo: Option<Domain<'static>>,
    #[command(flatten)]
    pub(crate) trace: Trace,
    /// Read defaults from this file instead of mailwire/config.toml in the user's configuration directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Reads the name of this machine: a domain in ASCII or an address literal.
pub(crate) fn helo(text: &str) -> Result<Domain<'static>, String> {
    match Domain::parse(text) {
        Ok(domain) if text.is_ascii() => Ok(domain.into_owned()),
        Ok(_) => Err("expected a domain in ASCII (write xn--… for other characters)".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What to write of the conversation.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Trace {
    /// Write the whole conversation to this file, with times and without secrets; "-" for standard error.
    #[arg(long, value_name = "FILE", help_heading = "Trace")]
    pub(crate) trace: Option<PathBuf>,
    /// Write it as lines for people, or as a JSON object in each line.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        requires = "trace",
        help_heading = "Trace"
    )]
    pub(crate) trace_format: TraceFormat,
    /// Write of each line only which command or answer it is: no address, no name of a user or of a mailbox.
    #[arg(long, requires = "trace", help_heading = "Trace")]
    pub(crate) trace_without_names: bool,
}

/// How a trace looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum TraceFormat {
    #[default]
    Text,
    Json,
}

/// How to speak to whoever started the command.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Print JSON on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing that is not asked for: no progress, no hints.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The server and the user, as imaps://user@host or the like. Without a user, nothing after the capabilities is
    /// tried.
    #[arg(value_parser = UrlParser)]
    pub(crate) url: Url,
    /// Stop behind this stage.
    #[arg(long, value_name = "STAGE")]
    pub(crate) stop_after: Option<Stage>,
    /// Say of each mechanism that was not used to log in why not.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Reads a URL. An error doesn't show it, since somebody may have put a password there.
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
        let read = value.to_str().map_or_else(|| Err("it is not UTF-8".to_owned()), str::parse);
        read.map_err(|why| {
            let message = format!("invalid value for '<URL>': {why}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

/// The stages of a check, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Stage {
    /// The name is looked up.
    Name,
    /// A TCP connection stands.
    Tcp,
    /// The server greets (behind TLS, where TLS is implicit).
    Greeting,
    /// TLS stands.
    Tls,
    /// The certificate was verified.
    Certificate,
    /// The server's capabilities are known.
    Capabilities,
    /// The user is logged in.
    Login,
    /// The folders are listed (IMAP).
    Folders,
}

#[derive(Debug, Args)]
pub(crate) struct FoldersArgs {
    /// The account, as imaps://user@host or the like.
    #[arg(value_parser = UrlParser)]
    pub(crate) url: Url,
    /// Keep the folder tree in the store in this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// The account, as imaps://user@host or the like.
    #[arg(value_parser = UrlParser)]
    pub(crate) url: Url,
    /// Fetch into the store in this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) into: PathBuf,
    /// Only this folder; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) folder: Vec<String>,
    /// Fetch no message that is larger than so many bytes; K, M and G stand for powers of 1024.
    #[arg(long, value_name = "BYTES", help_heading = LIMITS, default_value_t = MESSAGE_BYTES, value_parser = bytes)]
    pub(crate) max_message: u64,
    /// Fetch no folder that has more messages than that.
    #[arg(long, value_name = "N", help_heading = LIMITS, default_value_t = FOLDER_MESSAGES)]
    pub(crate) max_messages: u64,
    /// Stop when so many bytes were fetched; the next run goes on.
    #[arg(long, value_name = "BYTES", help_heading = LIMITS, value_parser = bytes)]
    pub(crate) max_total: Option<u64>,
    /// Stop before the disk has less than so many bytes left.
    #[arg(long, value_name = "BYTES", help_heading = LIMITS, default_value_t = KEEP_FREE, value_parser = bytes)]
    pub(crate) keep_free: u64,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) output: Output,
}

const LIMITS: &str = "Limits";

/// A number of bytes: `1000`, `64K`, `512M`, `2G`.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 30),
        _ => (Some(text), 0),
    };
    digits
        .and_then(|digits| digits.parse::<u64>().ok())
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected a number of bytes, such as 1000, 64K, 512M or 2G".to_owned())
}

#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("account").args(["user", "add_account", "reset_password"]))]
pub(crate) struct ServeArgs {
    /// Where mail, accounts, keys and certificates are kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Submission with STARTTLS; "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1587")]
    pub(crate) smtp: Listen,
    /// Submission with implicit TLS; "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1465")]
    pub(crate) smtps: Listen,
    /// LMTP for programs on this machine, without TLS and without logging in; "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "off")]
    pub(crate) lmtp: Listen,
    /// IMAP with STARTTLS; "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1143")]
    pub(crate) imap: Listen,
    /// IMAP with implicit TLS; "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1993")]
    pub(crate) imaps: Listen,
    /// The server's name: in its greeting, in Received and in its self-made certificate, which is for all names that are
    /// given. A host name, *.DOMAIN or an IP address; several may be given.
    #[arg(long, value_name = "HOST", num_args = 1..)]
    pub(crate) name: Vec<HostName>,
    /// A certificate chain to use instead of a self-made one (PEM). SIGHUP reads it again.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Create this account if it does not exist. Its password comes from --password-command, MAILWIRE_PASSWORD or a
    /// prompt.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Create an account, and serve nothing: a server that runs takes its mail from then on. Its password comes from
    /// --password-command or MAILWIRE_PASSWORD; without either one is made up and shown once.
    #[arg(long, value_name = "NAME")]
    pub(crate) add_account: Option<String>,
    /// Give an account a new password, as --add-account does, and serve nothing. The old one is refused from then on;
    /// sessions that are logged in stay.
    #[arg(long, value_name = "NAME")]
    pub(crate) reset_password: Option<String>,
    /// Take the password of --user, --add-account or --reset-password from the first line that this command prints.
    #[arg(long, value_name = "CMD", requires = "account")]
    pub(crate) password_command: Option<String>,
    /// The largest message taken, in octets (2 GiB unless the configuration file says otherwise).
    #[arg(long, value_name = "OCTETS")]
    pub(crate) max_message: Option<u64>,
    /// Read the limits of the section "serve" from this file instead of mailwire/config.toml in the user's configuration
    /// directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Put Return-Path and Received in front of messages that are sent through this server. Without it they stay
    /// octet for octet as they were sent.
    #[arg(long)]
    pub(crate) trace_fields: bool,
    /// Take connections from these proxies only, an address or a network each; every connection must begin with a header
    /// of the PROXY protocol, version 1 or 2. Not for LMTP.
    #[arg(long, value_name = "NETWORK")]
    pub(crate) proxy_from: Vec<TrustedProxies>,
    /// Put every message into one account, that of --user or the first one, whatever its sender and recipients. Loopback
    /// addresses only.
    #[arg(long, help_heading = "Catching mail in development")]
    pub(crate) catch_all: bool,
    /// Take any name and any password, and log in to one account, that of --user or the first one. Loopback addresses
    /// only.
    #[arg(long, help_heading = "Catching mail in development")]
    pub(crate) any_login: bool,
    /// Speak SMTP and IMAP without TLS on the ports of --smtp and --imap; SMTP takes mail without log-in. Loopback addresses
    /// only.
    #[arg(long, help_heading = "Catching mail in development", conflicts_with = "proxy_from")]
    pub(crate) danger_plaintext: bool,
    /// To test what sends to this server: answer that at a stage of SMTP or LMTP (connect, ehlo, starttls, auth, mail,
    /// rcpt, data, dot), always or with a probability, for every recipient or for some: rcpt=450:0.3,*@example.test.
    #[arg(long, value_name = "STAGE=CODE[:PROBABILITY][,PATTERN]", help_heading = "Faults")]
    pub(crate) fail: Vec<Fail>,
    /// Answer that much later at a stage: data=2s, rcpt=250ms:0.5.
    #[arg(long, value_name = "STAGE=DURATION[:PROBABILITY]", help_heading = "Faults")]
    pub(crate) delay: Vec<Delay>,
    /// Close the connection at a stage instead of answering: dot:0.1.
    #[arg(long, value_name = "STAGE[:PROBABILITY]", help_heading = "Faults")]
    pub(crate) drop: Vec<Drop>,
    /// Draw the same faults for the same sessions again.
    #[arg(long, value_name = "NUMBER", help_heading = "Faults")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) trace: Trace,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl ServeArgs {
    /// The given option that weakens the protection of the server, if there is one.
    pub(crate) fn open_door(&self) -> Option<&'static str> {
        let doors = [
            (self.danger_plaintext, "--danger-plaintext"),
            (self.any_login, "--any-login"),
            (self.catch_all, "--catch-all"),
        ];
        doors.into_iter().find_map(|(given, option)| given.then_some(option))
    }

    /// What is to go wrong. Without a seed every run draws its own.
    pub(crate) fn faults(&self) -> Faults {
        Faults {
            fail: self.fail.clone(),
            delay: self.delay.clone(),
            drop: self.drop.clone(),
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
        }
    }
}

/// An address to listen on, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) Option<SocketAddr>);

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let address = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        address
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map(|address| Self(Some(address)))
            .map_err(|_| "expected ADDRESS:PORT (port 0 for any) or \"off\"".to_owned())
    }
}

#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// What the octets are.
    pub(crate) what: Decode,
    /// Accept what the RFC allows and nothing else.
    #[arg(long)]
    pub(crate) strict: bool,
}

/// The grammars that `decode` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decode {
    /// What an IMAP server sends.
    ImapResponse,
    /// What an IMAP client sends.
    ImapCommand,
    /// What an SMTP server sends.
    SmtpReply,
    /// What an SMTP client sends.
    SmtpCommand,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bytes_are_read_with_and_without_a_unit() {
        for (text, number) in
            [("1000", Some(1000)), ("64K", Some(65_536)), ("2g", Some(2 << 30)), ("", None), ("x", None)]
        {
            assert_eq!(bytes(text).ok(), number, "{text}");
        }
        assert!(bytes("99999999999G").is_err() && bytes("1é").is_err());
    }

    #[test]
    fn a_password_is_no_argument() {
        for arguments in [
            &["mailwire", "check", "imaps://u@h", "--password", "x"][..],
            &["mailwire", "check", "imaps://u:secret@h"],
        ] {
            assert!(Cli::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn logging_in_without_tls_needs_both_words() {
        let with =
            |more: &[&str]| Cli::try_parse_from([&["mailwire", "check", "imap://u@h"][..], more].concat());
        assert!(with(&["--danger-cleartext-login"]).is_err());
        assert!(with(&["--danger-cleartext-login", "--danger-cleartext"]).is_ok());
    }

    #[test]
    fn listening_can_be_turned_off() {
        assert_eq!("off".parse(), Ok(Listen(None)));
        assert!("localhost:0".parse::<Listen>().is_ok_and(|listen| listen.0.is_some()));
        assert!("example.com".parse::<Listen>().is_err());
    }
}
