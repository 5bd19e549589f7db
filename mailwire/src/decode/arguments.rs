//! The command line of `decode`.

use clap::{Args, ValueEnum};

/// The arguments of `mailwire decode`.
#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// The grammar to parse the input with.
    #[arg(value_name = "WHAT")]
    pub(crate) grammar: Grammar,
    /// Accept only what the RFC allows.
    #[arg(long)]
    pub(crate) strict: bool,
}

/// A grammar that `decode` parses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Grammar {
    /// What an IMAP server sends.
    ImapResponse,
    /// What an IMAP client sends.
    ImapCommand,
    /// What an SMTP server sends.
    SmtpReply,
    /// What an SMTP client sends.
    SmtpCommand,
}
