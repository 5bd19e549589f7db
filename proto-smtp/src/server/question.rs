//! The questions that the server asks the application, and the token for a reply that is owed.

use proto_mail::token::Token;

use super::session::MailOptions;
use crate::chunking::ChunkEnd;
use crate::command::Verb;

/// A reply that the server owes. Pass it to [`Server::reply`](crate::server::Server::reply).
///
/// It is owned and may be sent to another thread. The session pauses until the reply is given. If it is
/// dropped, the next call of `next_event` replies `451 4.3.0` (see [`proto_mail::token`]).
#[derive(Debug)]
#[must_use = "the client waits for a reply"]
pub struct Reply {
    pub(super) token: Token,
    pub(super) verb: Verb,
}

impl Reply {
    /// Returns the command that is to be answered. The end of a message counts as its DATA or BDAT.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        self.verb
    }
}

/// What the application is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Mail(MailOptions),
    Rcpt,
    Data,
    Chunk {
        size: u64,
        end: ChunkEnd,
    },
    DataEnd,
    Burl(ChunkEnd),
    /// VRFY, EXPN, HELP and ETRN: the reply has no effect.
    Information,
    XClient {
        /// It names the user that the client has authenticated as.
        has_login: bool,
    },
    XForward,
}

impl Question {
    /// Whether a positive reply moves the session forward. Other commands but MAIL count as idle.
    pub(super) const fn is_progress(self) -> bool {
        match self {
            Self::Rcpt | Self::Data | Self::DataEnd | Self::Burl(_) => true,
            Self::Chunk { size, .. } => size > 0,
            // MAIL may be followed by RSET and the same again.
            _ => false,
        }
    }

    /// Whether the reply is the one to a whole message.
    pub(super) fn ends_message(self) -> bool {
        matches!(self, Self::DataEnd | Self::Burl(ChunkEnd::Last))
    }
}
