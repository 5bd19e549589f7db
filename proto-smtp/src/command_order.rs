//! The order of commands (RFC 5321 §4.1.4, RFC 3207 §4, RFC 4954 §4, RFC 3030 §2), as a table.
//!
//! Each cell is the reply code and the next phase; without a phase it stays. In rows with "no" the application rejects
//! the command. A test reads this table and checks the server in each of its cells.
//!
//! ```text
//!              Start      Ready      Mail       Rcpt       Chunk
//! EHLO         250 Ready  250        250 Ready  250 Ready  250 Ready
//! EHLO no      550        550        550        550        550
//! HELO         250 Ready  250        250 Ready  250 Ready  250 Ready
//! LHLO         500        500        500        500        500
//! STARTTLS     503        220 TLS    503        503        503
//! STARTTLS no  503        454        503        503        503
//! AUTH         503        235        503        503        503
//! AUTH no      503        535        503        503        503
//! MAIL         503        250 Mail   503        503        503
//! MAIL no      503        550        503        503        503
//! RCPT         503        503        250 Rcpt   250        503
//! RCPT no      503        503        550        550        503
//! DATA         503        503        503        250 Ready  503
//! DATA no      503        503        503        550 Ready  503
//! DATA end no  503        503        503        550 Ready  503
//! BDAT         503        503        503        250 Chunk  250
//! BDAT no      503        503        503        550 Ready  250
//! BDAT large   503        503        503        552 Ready  552 Ready
//! LAST         503        503        503        250 Ready  250 Ready
//! LAST end no  503        503        503        550 Ready  550 Ready
//! BURL         503        503        503        250 Chunk  250
//! BURL no      503        503        503        550 Ready  550 Ready
//! BURL LAST    503        503        503        250 Ready  250 Ready
//! BURL LAST no 503        503        503        550 Ready  550 Ready
//! BURL bad     503        503        503        501 Ready  501 Ready
//! RSET         250        250        250 Ready  250 Ready  250 Ready
//! NOOP         250        250        250        250        250
//! HELP         214        214        214        214        214
//! HELP MAIL    250        250        250        250        250
//! HELP MAIL no 550        550        550        550        550
//! VRFY         252        252        252        252        252
//! EXPN         250        250        250        250        250
//! EXPN no      550        550        550        550        550
//! ETRN         503        250        503        503        503
//! ETRN no      503        550        503        503        503
//! XCLIENT      503        220 Start  503        503        503
//! XCLIENT no   503        550        503        503        503
//! XFORWARD     503        250        503        503        503
//! XFORWARD no  503        550        503        503        503
//! QUIT         221 End    221 End    221 End    221 End    221 End
//! XYZZY        500        500        500        500        500
//! ```
//!
//! EXPN, ETRN, BURL, XCLIENT and XFORWARD are answered with 502 in every phase where they are not offered. BURL is
//! answered with 530 before the client has authenticated (except in Start), which ends a transaction that expects it. In
//! LMTP (RFC 2033) the rows of EHLO are those of LHLO, EHLO and HELO are answered with 500, and the code of a whole message
//! is sent once for each accepted recipient; so LAST has no reply in Mail, where there is none (RFC 2033 §4.3).
//!
//! RFC 5321 §4.1.4 has no Chunk, and allows NOOP, HELP, EXPN, VRFY and RSET before EHLO. After STARTTLS the session is in
//! Start (RFC 3207 §4.2). STARTTLS is available on cleartext only; AUTH under TLS only, and once. The code of DATA is the
//! one after the message; 354 precedes it.

use crate::command::Verb;

/// The phase of a session between two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The client has not sent EHLO.
    Start,
    /// The client has sent EHLO; no transaction is open.
    Ready,
    /// MAIL was accepted.
    Mail,
    /// A recipient was accepted.
    Rcpt,
    /// A part of the message was received by BDAT.
    Chunk,
}

impl Phase {
    /// Whether a command is allowed.
    #[must_use]
    pub const fn allows(self, verb: Verb) -> bool {
        match verb {
            Verb::StartTls | Verb::Auth | Verb::Mail | Verb::Etrn | Verb::XClient | Verb::XForward => {
                matches!(self, Self::Ready)
            }
            Verb::Rcpt => matches!(self, Self::Mail | Self::Rcpt),
            Verb::Data => matches!(self, Self::Rcpt),
            Verb::Bdat | Verb::Burl => matches!(self, Self::Rcpt | Self::Chunk),
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

    /// Returns why a command is not allowed, as text for a 503 reply.
    #[must_use]
    pub const fn rejection_text(self, verb: Verb) -> &'static str {
        match (self, verb) {
            (Self::Start, _) => "Say EHLO first",
            (_, Verb::StartTls | Verb::Auth | Verb::Etrn | Verb::XClient | Verb::XForward) => {
                "Not during a mail transaction"
            }
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
    fn follows_the_table_of_the_documentation() {
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
                assert_eq!(phase.allows(verb), cell == 'x', "{phase:?} {verb:?}");
            }
            for verb in [Verb::Rset, Verb::Noop, Verb::Quit, Verb::Help, Verb::Vrfy, Verb::Expn] {
                assert!(phase.allows(verb));
            }
        }
    }
}
