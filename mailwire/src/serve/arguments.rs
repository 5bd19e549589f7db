//! The command line of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use io_mio::TrustedProxies;
use mailserver::faults::{DelayRule, DropRule, FailRule, Faults};
use mailserver::{Dialect, HostName, Options};
use mailstore::Account;

use crate::options::{OutputOptions, TraceOptions};

/// The arguments of `mailwire serve`.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("account").args(["user", "add_account", "reset_password"]))]
pub(crate) struct ServeArgs {
    /// The directory for mail, accounts, keys and certificates.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Listen here for submission with STARTTLS; "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1587")]
    pub(crate) smtp: Listen,
    /// Listen here for submission with implicit TLS; "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1465")]
    pub(crate) smtps: Listen,
    /// Listen here for LMTP from programs on this machine, without TLS and login; "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "off")]
    pub(crate) lmtp: Listen,
    /// Listen here for IMAP with STARTTLS; "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1143")]
    pub(crate) imap: Listen,
    /// Listen here for IMAP with implicit TLS; "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1993")]
    pub(crate) imaps: Listen,
    /// Answer requests for health and metrics here (HTTP): /health/live, /health/ready, /metrics. On loopback addresses
    /// without TLS, elsewhere with the server's certificate. "off" for none.
    #[arg(long, value_name = "ADDR", default_value = "off")]
    pub(crate) http: Listen,
    /// The server's name in its greeting, in Received fields and in its generated certificate: a host name, *.DOMAIN
    /// or an IP address. Several may be given; the certificate is valid for all of them.
    #[arg(long, value_name = "HOST", num_args = 1..)]
    pub(crate) name: Vec<HostName>,
    /// Use this certificate chain (PEM) instead of a generated one. SIGHUP reloads it.
    #[arg(long, value_name = "FILE", env = "TLS_CERT_PATH", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", env = "TLS_KEY_PATH", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Create this account if it does not exist. Its password comes from --password-command, MAILWIRE_PASSWORD or a
    /// prompt. May be repeated: new accounts get the same password.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Vec<String>,
    /// Create an account and exit. A running server accepts mail for it from then on. Its password comes from
    /// --password-command or MAILWIRE_PASSWORD; without either, a random password is generated and shown once.
    #[arg(long, value_name = "NAME")]
    pub(crate) add_account: Option<String>,
    /// Set a new password for an account, as --add-account does, and exit. The server rejects the old password from
    /// then on; sessions that are logged in continue.
    #[arg(long, value_name = "NAME")]
    pub(crate) reset_password: Option<String>,
    /// Read the password for --user, --add-account or --reset-password from the first line that this command prints.
    #[arg(long, value_name = "CMD", requires = "account")]
    pub(crate) password_command: Option<String>,
    /// The largest message to accept, in bytes (2 GiB unless the configuration file sets another limit).
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_message: Option<u64>,
    /// Read the limits in the section "serve" of this file instead of mailwire/config.toml in the user's configuration
    /// directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Add Return-Path and Received to messages that are submitted. Without this, messages are stored byte for byte as
    /// they were sent.
    #[arg(long)]
    pub(crate) trace_fields: bool,
    /// Do not add new messages to the index of texts. A search for a text then reads all messages that the index does not
    /// contain.
    #[arg(long)]
    pub(crate) no_search_index: bool,
    /// Accept connections only from these proxies, each an address or a network. Every connection must begin with a
    /// header of the PROXY protocol, version 1 or 2. Does not apply to LMTP.
    #[arg(long, value_name = "NETWORK")]
    pub(crate) proxy_from: Vec<TrustedProxies>,
    /// Store every message in one account, whatever its sender and recipients: the account of --user or the first
    /// one. Loopback addresses only.
    #[arg(long, help_heading = "Catching mail in development")]
    pub(crate) catch_all: bool,
    /// Keep accounts and mail in memory: they are lost when the server stops. Certificates stay in the directory. At most
    /// 1 GiB of mail.
    #[arg(
        long,
        help_heading = "Catching mail in development",
        conflicts_with_all = ["add_account", "reset_password"]
    )]
    pub(crate) in_memory: bool,
    /// Accept any user name and password, and log in to one account: that of --user or the first one. Loopback
    /// addresses only.
    #[arg(long, help_heading = "Catching mail in development")]
    pub(crate) any_login: bool,
    /// Disable TLS on the ports of --smtp and --imap, and accept mail over SMTP without login. Loopback addresses
    /// only.
    #[arg(
        long,
        alias = "danger-plaintext",
        help_heading = "Catching mail in development",
        conflicts_with = "proxy_from"
    )]
    pub(crate) danger_cleartext: bool,
    /// Test clients: answer with this code at a stage of SMTP or LMTP (connect, ehlo, starttls, auth, mail, rcpt,
    /// data, dot), always or with a probability, for all recipients or for some: rcpt=450:0.3,*@example.test. A command
    /// of IMAP is answered with NO, BAD or BYE, which can have a response code in brackets: fetch=NO:0.1.
    #[arg(long, value_name = "STAGE=CODE[:PROBABILITY][,PATTERN]", help_heading = "Faults")]
    pub(crate) fail: Vec<FailRule>,
    /// Delay the answer at a stage: data=2s, rcpt=250ms:0.5.
    #[arg(long, value_name = "STAGE=DURATION[:PROBABILITY]", help_heading = "Faults")]
    pub(crate) delay: Vec<DelayRule>,
    /// Close the connection at a stage instead of answering: dot:0.1.
    #[arg(long, value_name = "STAGE[:PROBABILITY]", help_heading = "Faults")]
    pub(crate) drop: Vec<DropRule>,
    /// Seed the random faults, so that the same sessions get the same faults again.
    #[arg(long, value_name = "NUMBER", help_heading = "Faults")]
    pub(crate) seed: Option<u64>,
    /// Test clients: imitate the IMAP server of this name, with its capabilities and the known defects of its responses:
    /// exchange, gmail, icloud, yahoo, qq, coremail (163.com), dovecot, courier and others.
    #[arg(long, value_name = "SERVER", help_heading = "Faults")]
    pub(crate) behave_like: Option<Dialect>,
    /// The form of the log on standard error.
    #[arg(long, value_name = "FORM", value_enum, default_value_t = LogForm::Text, help_heading = "Log")]
    pub(crate) log_form: LogForm,
    /// Log the client's address with each login, for programs that block addresses, such as fail2ban.
    #[arg(long, help_heading = "Log")]
    pub(crate) log_peers: bool,
    #[command(flatten)]
    pub(crate) trace: TraceOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

impl ServeArgs {
    /// Returns the first option given that weakens the server's protection.
    pub(crate) fn weakening_option(&self) -> Option<&'static str> {
        let options = [
            (self.danger_cleartext, "--danger-cleartext"),
            (self.any_login, "--any-login"),
            (self.catch_all, "--catch-all"),
        ];
        options.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }

    /// Returns the options of the server. `account` is that of `--catch-all` and `--any-login`.
    pub(super) fn server_options(&self, account: Option<&Account>) -> Options {
        let mut options = Options::default();
        options.names.clone_from(&self.name);
        options.catch_all = account.filter(|_| self.catch_all).map(|account| account.id);
        options.any_login = account.filter(|_| self.any_login).map(|account| account.id);
        options.trace_fields = self.trace_fields;
        options.search_index = !self.no_search_index;
        options.log_peers = self.log_peers;
        options.faults = self.faults();
        options.behave_like = self.behave_like;
        options
    }

    /// Returns the faults to inject. Without `--seed` each run has a random seed.
    fn faults(&self) -> Faults {
        Faults {
            fail: self.fail.clone(),
            delay: self.delay.clone(),
            drop: self.drop.clone(),
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
        }
    }

    /// Parses the arguments that follow `mailwire serve`. Panics if they are invalid.
    #[cfg(test)]
    pub(super) fn parse_from<W: Into<std::ffi::OsString>>(words: impl IntoIterator<Item = W>) -> Self {
        use clap::FromArgMatches;
        let words = words.into_iter().map(Into::into);
        let command = Self::augment_args(clap::Command::new("serve").no_binary_name(true));
        Self::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
    }
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogForm {
    /// A line of text for each event.
    Text,
    /// A line of JSON for each event.
    Json,
}

/// An address to listen on, or `off`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_listen_addresses_and_off() {
        assert_eq!("off".parse(), Ok(Listen(None)));
        assert!("localhost:0".parse::<Listen>().is_ok_and(|listen| listen.0.is_some()));
        assert!("example.com".parse::<Listen>().is_err());
    }
}
