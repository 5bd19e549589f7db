//! What can be asked of a server for a message, beside carrying it: the options, and how their values are read.
//!
//! Where they go in a command, `envelope` knows.

use clap::{Args, ValueEnum};
use proto_smtp::types::{DeliverBy, EnvelopeId, Interval, Notify, OriginalRecipient, Priority};

/// What is asked of the server for a message, beside carrying it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Service")]
pub(crate) struct Service {
    /// Speak LMTP, where each recipient has an answer of its own behind the message. By TCP, not by a local socket.
    #[arg(long)]
    pub(crate) lmtp: bool,
    /// Send the message as one chunk (BDAT) or by DATA.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) chunking: Chunking,
    /// When a report is wanted: never, or some of success,failure,delay (DSN).
    #[arg(long, value_name = "WHEN", value_parser = notify)]
    pub(crate) notify: Option<Notify>,
    /// How much of the message a report should hold (DSN).
    #[arg(long, value_name = "WHAT")]
    pub(crate) ret: Option<Ret>,
    /// A name for this sending, which reports repeat (DSN).
    #[arg(long, value_name = "TEXT", value_parser = envelope_id)]
    pub(crate) envid: Option<EnvelopeId<'static>>,
    /// Who the recipient was at first, as TYPE;ADDRESS (rfc822;someone@example.org), or "own" for the address that each
    /// recipient has here (DSN).
    #[arg(long, value_name = "WHO", value_parser = original_recipient)]
    pub(crate) orcpt: Option<Original>,
    /// Ask for SMTPUTF8 where it is offered, even if nothing in envelope or header needs it.
    #[arg(long)]
    pub(crate) smtputf8: bool,
    /// Require verified TLS for the rest of the way, too; without the server's REQUIRETLS the message is not sent.
    #[arg(long)]
    pub(crate) require_tls: bool,
    /// How urgent the message is, from -9 to 9 (MT-PRIORITY).
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = priority)]
    pub(crate) priority: Option<Priority>,
    /// Deliver within so many seconds and else return it (120;R) or only say so (120;N), with a T behind to trace it
    /// (DELIVERBY).
    #[arg(long, value_name = "SECONDS;MODE", allow_hyphen_values = true, value_parser = deliver_by)]
    pub(crate) deliver_by: Option<DeliverBy>,
    /// Hold the message for so many seconds; a server that cannot is not sent it (FUTURERELEASE).
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    pub(crate) hold_for: Option<Interval>,
}

/// Whether a message goes by BDAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Chunking {
    /// By BDAT where the server offers CHUNKING, and else by DATA.
    #[default]
    Auto,
    /// By DATA.
    Never,
    /// By BDAT, or not at all.
    Always,
}

/// How much of a message a report holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ret {
    /// The whole message.
    Full,
    /// The header alone.
    Hdrs,
}

/// Who a recipient was at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Original {
    /// The same as now.
    Own,
    /// Somebody else.
    Other(OriginalRecipient<'static>),
}

fn notify(text: &str) -> Result<Notify, String> {
    Notify::parse(text).map_err(|_| "expected never, or some of success,failure,delay".to_owned())
}

fn envelope_id(text: &str) -> Result<EnvelopeId<'static>, String> {
    EnvelopeId::encode(text).map_err(|_| "expected 1 to 100 printable characters".to_owned())
}

fn original_recipient(text: &str) -> Result<Original, String> {
    if text == "own" {
        return Ok(Original::Own);
    }
    let read = |text: &str| {
        let (kind, address) = text.split_once(';')?;
        Some(OriginalRecipient::encode(kind, address).ok()?.into_owned())
    };
    read(text).map(Original::Other).ok_or_else(|| "expected TYPE;ADDRESS, or own".to_owned())
}

fn priority(text: &str) -> Result<Priority, String> {
    Priority::parse(text).map_err(|_| "expected a number from -9 to 9".to_owned())
}

fn deliver_by(text: &str) -> Result<DeliverBy, String> {
    DeliverBy::parse(text)
        .map_err(|_| "expected SECONDS;R, SECONDS;N, or one of them with a T behind".to_owned())
}

fn interval(text: &str) -> Result<Interval, String> {
    Interval::parse(text).map_err(|_| "expected a number of seconds from 1 to 999999999".to_owned())
}
