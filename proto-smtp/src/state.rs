//! The order of commands (RFC 5321 §4.1.4, RFC 3207 §4, RFC 4954 §4, RFC 3030 §2), as a table.
//!
//! ```text
//!            EHLO   STARTTLS  AUTH   MAIL   RCPT   DATA   BDAT   RSET   QUIT   NOOP HELP VRFY EXPN
//!            HELO
//! Start      Ready  503       503    503    503    503    503    Start  -      Start
//! Ready      Ready  Start *   Ready  Mail   503    503    503    Ready  -      Ready
//! Mail       Ready  503       503    503    Rcpt   503    503    Ready  -      Mail
//! Rcpt       Ready  503       503    503    Rcpt   Ready  Chunk  Ready  -      Rcpt
//! Chunk      Ready  503       503    503    503    503    Chunk  Ready  -      Chunk
//!
//! *  under TLS, with everything forgotten       DATA and BDAT LAST, once answered, lead to Ready
//! -  the session is over                        MAIL and RCPT that are refused change nothing
//! ```
//!
//! This file knows the table. It does not know why else a command may be refused, nor what answers it.

use crate::types::Verb;

/// Where a session stands between two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The client has not said who it is.
    Start,
    /// It has; no transaction is open.
    Ready,
    /// MAIL was accepted.
    Mail,
    /// A recipient was accepted.
    Rcpt,
    /// A part of the message has come by BDAT.
    Chunk,
}

impl Phase {
    /// Whether a command may come now.
    #[must_use]
    pub const fn admits(self, verb: Verb) -> bool {
        match verb {
            Verb::StartTls | Verb::Auth | Verb::Mail => matches!(self, Self::Ready),
            Verb::Rcpt => matches!(self, Self::Mail | Self::Rcpt),
            Verb::Data => matches!(self, Self::Rcpt),
            Verb::Bdat => matches!(self, Self::Rcpt | Self::Chunk),
            Verb::Ehlo
            | Verb::Helo
            | Verb::Lhlo
            | Verb::Rset
            | Verb::Noop
            | Verb::Vrfy
            | Verb::Expn
            | Verb::Help
            | Verb::Quit
            | Verb::Other => true,
        }
    }

    /// What is missing where a command may not come, in words for a 503.
    #[must_use]
    pub const fn objection(self, verb: Verb) -> &'static str {
        match (self, verb) {
            (Self::Start, _) => "Say EHLO first",
            (_, Verb::StartTls | Verb::Auth) => "Not during a mail transaction",
            (_, Verb::Mail) => "A mail transaction is open already",
            (Self::Ready, _) => "Say MAIL first",
            (Self::Mail, _) => "There is no recipient yet",
            (Self::Chunk, _) => "The message has begun by BDAT",
            (Self::Rcpt, _) => "Not now",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_one_above() {
        const VERBS: [Verb; 7] =
            [Verb::Ehlo, Verb::StartTls, Verb::Auth, Verb::Mail, Verb::Rcpt, Verb::Data, Verb::Bdat];
        for (phase, row) in [
            (Phase::Start, "x......"),
            (Phase::Ready, "xxxx..."),
            (Phase::Mail, "x...x.."),
            (Phase::Rcpt, "x...xxx"),
            (Phase::Chunk, "x.....x"),
        ] {
            for (verb, cell) in VERBS.into_iter().zip(row.chars()) {
                assert_eq!(phase.admits(verb), cell == 'x', "{phase:?} {verb:?}");
            }
            for verb in [Verb::Rset, Verb::Noop, Verb::Quit, Verb::Help, Verb::Vrfy, Verb::Expn] {
                assert!(phase.admits(verb));
            }
        }
    }
}
