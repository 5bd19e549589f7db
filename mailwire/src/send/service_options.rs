//! The options for SMTP extensions (DSN, priority, deadlines and so on), and the parsers of their values.

use clap::{Args, ValueEnum};
use proto_smtp::types::{DeliverBy, EnvelopeId, Interval, Notify, OriginalRecipient, Priority};

/// The options for SMTP extensions.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Service")]
pub(crate) struct ServiceOptions {
    /// Use LMTP, in which the server replies for each recipient after the message. Over TCP, not over a local socket.
    #[arg(long)]
    pub(crate) lmtp: bool,
    /// Send the message as one chunk (BDAT) or with DATA.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) chunking: Chunking,
    /// Request delivery reports: never, or a list of success,failure,delay (DSN).
    #[arg(long, value_name = "WHEN", value_parser = parse_notify)]
    pub(crate) notify: Option<Notify>,
    /// How much of the message a report includes (DSN).
    #[arg(long, value_name = "WHAT")]
    pub(crate) ret: Option<Ret>,
    /// An identifier of this envelope, which reports repeat (DSN).
    #[arg(long, value_name = "TEXT", value_parser = parse_envelope_id)]
    pub(crate) envid: Option<EnvelopeId<'static>>,
    /// The original recipient as TYPE;ADDRESS (rfc822;user@example.org), or "own" for each recipient's own address (DSN).
    #[arg(long, value_name = "WHO", value_parser = parse_original_recipient)]
    pub(crate) orcpt: Option<Original>,
    /// Use SMTPUTF8 if the server offers it, even if neither envelope nor header needs it.
    #[arg(long)]
    pub(crate) smtputf8: bool,
    /// Require verified TLS on every further hop, too. The message is not sent if the server does not offer REQUIRETLS.
    #[arg(long)]
    pub(crate) require_tls: bool,
    /// The priority of the message, from -9 to 9 (MT-PRIORITY).
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_priority)]
    pub(crate) priority: Option<Priority>,
    /// Deliver within this time, or else return the message (120;R) or only notify the sender (120;N). Append T to trace
    /// it (DELIVERBY).
    #[arg(long, value_name = "SECONDS;MODE", allow_hyphen_values = true, value_parser = parse_deliver_by)]
    pub(crate) deliver_by: Option<DeliverBy>,
    /// Ask the server to hold the message for this time. The message is not sent if the server cannot (FUTURERELEASE).
    #[arg(long, value_name = "SECONDS", value_parser = parse_interval)]
    pub(crate) hold_for: Option<Interval>,
}

/// When to send a message with BDAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Chunking {
    /// Use BDAT if the server offers CHUNKING, and DATA otherwise.
    #[default]
    Auto,
    /// Use DATA.
    Never,
    /// Use BDAT; do not send the message otherwise.
    Always,
}

/// How much of the message a report includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ret {
    /// The whole message.
    Full,
    /// Only the header.
    Hdrs,
}

/// The original recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Original {
    /// The recipient's own address.
    Own,
    /// Another address.
    Other(OriginalRecipient<'static>),
}

fn parse_notify(text: &str) -> Result<Notify, String> {
    Notify::parse(text).map_err(|_| "expected never, or some of success,failure,delay".to_owned())
}

fn parse_envelope_id(text: &str) -> Result<EnvelopeId<'static>, String> {
    EnvelopeId::encode(text).map_err(|_| "expected 1 to 100 printable characters".to_owned())
}

fn parse_original_recipient(text: &str) -> Result<Original, String> {
    if text == "own" {
        return Ok(Original::Own);
    }
    let parse = |text: &str| {
        let (kind, address) = text.split_once(';')?;
        Some(OriginalRecipient::encode(kind, address).ok()?.into_owned())
    };
    parse(text).map(Original::Other).ok_or_else(|| "expected TYPE;ADDRESS, or own".to_owned())
}

fn parse_priority(text: &str) -> Result<Priority, String> {
    Priority::parse(text).map_err(|_| "expected a number from -9 to 9".to_owned())
}

fn parse_deliver_by(text: &str) -> Result<DeliverBy, String> {
    DeliverBy::parse(text).map_err(|_| "expected SECONDS;R or SECONDS;N, perhaps followed by T".to_owned())
}

fn parse_interval(text: &str) -> Result<Interval, String> {
    Interval::parse(text).map_err(|_| "expected a number of seconds from 1 to 999999999".to_owned())
}
