//! What a machine is waiting for. The machine names the wait, the driver owns the clock.

use core::time::Duration;

/// What a machine awaits, and for how long at most.
///
/// The driver arms one timer from this whenever [`generation`](Self::generation) has changed since it last looked,
/// and calls the machine's `timed_out` when it fires. The generation moves on complete steps only (a whole line,
/// an answer), so that a peer who drips octets cannot extend a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// What is awaited.
    pub awaited: WaitFor,
    /// How long at most, from the moment the generation changed. [`Duration::MAX`] means for ever.
    pub after: Duration,
    /// Which wait this is: a new number for each new wait.
    pub generation: u32,
}

/// The things that a mail session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitFor {
    /// The peer's greeting (RFC 5321 §4.5.3.2.1: 5 minutes).
    Greeting,
    /// The peer's next command (a server; RFC 5321 §4.5.3.2.7: 5 minutes, RFC 9051 §5.4: 30 minutes).
    Command,
    /// The peer's answer to a command.
    Reply,
    /// The rest of a command or response that has begun.
    Remainder,
    /// The next part of a message or literal (RFC 5321 §4.5.3.2.5: 3 minutes). The generation moves with each part,
    /// so a driver should also keep a least rate.
    Data,
    /// The answer to the end of a message (RFC 5321 §4.5.3.2.6: 10 minutes).
    DataReply,
    /// Something new in an idle mailbox (RFC 2177: renewed before 29 minutes).
    Idle,
    /// The TLS handshake.
    TlsHandshake,
    /// A delay that the machine imposes on the peer, after a failed authentication, say: the end of this wait is
    /// no failure, and `timed_out` goes on with the session.
    Delay,
    /// An answer of the application: the peer waits for us.
    Application,
    /// Nothing: the session is over.
    Nothing,
}

impl Wait {
    /// A wait without end.
    #[must_use]
    pub const fn forever(awaited: WaitFor, generation: u32) -> Self {
        Self { awaited, after: Duration::MAX, generation }
    }
}

impl WaitFor {
    /// What to say when it did not come in time.
    pub(crate) const fn timeout_text(self) -> &'static str {
        match self {
            Self::Greeting => {
                "no greeting came in time: a server that waits for TLS says nothing, so try implicit TLS, and check \
                 host and port"
            }
            Self::Command => "the client gave no command in time",
            Self::Reply => "no answer came in time: try again later",
            Self::Remainder => "a command or response was begun and not finished in time",
            Self::Data => "the next part of a message did not come in time",
            Self::DataReply => {
                "the server did not say in time whether it took the message: it may or may not have been delivered"
            }
            Self::Idle => "nothing came while idle",
            Self::TlsHandshake => "the TLS handshake did not finish in time",
            Self::Delay => "the delay is over",
            Self::Application => "the application did not answer in time",
            Self::Nothing => "the session is over",
        }
    }
}
