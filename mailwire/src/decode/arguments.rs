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
    strict: bool,
}

impl DecodeArgs {
    /// Returns how closely the input must follow the grammar.
    pub(super) const fn strictness(&self) -> Strictness {
        if self.strict { Strictness::Strict } else { Strictness::Tolerant }
    }
}

/// How closely the input must follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Exactly.
    Strict,
    /// Known deviations are repaired.
    Tolerant,
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
