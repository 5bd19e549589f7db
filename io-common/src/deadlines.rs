//! The time limits of a driver.

use std::time::Duration;

use proto_mail::{Wait, WaitFor};

/// The minimum rate at which a message must arrive, or output must be read. A slower peer is disconnected, however often
/// it sends a byte. The default is 4 KiB per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinimumRate {
    /// The number of bytes that must pass in each period.
    pub bytes: u64,
    /// The length of a period.
    pub per: Duration,
}

impl Default for MinimumRate {
    fn default() -> Self {
        Self { bytes: 4096, per: Duration::from_secs(60) }
    }
}

/// How long a client may take to log in.
const LOGIN: Duration = Duration::from_secs(60);

/// The time limits of a driver. A machine has limits of its own (from the RFCs) for what it waits for; the shorter one
/// counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlines {
    /// For looking up a name. Default: 15 s.
    pub lookup: Duration,
    /// For connecting, all addresses together. Default: 30 s.
    pub connect: Duration,
    /// For a proxy to open a tunnel, login included. Default: 30 s.
    pub proxy: Duration,
    /// For the greeting. Default: 5 min.
    pub greeting: Duration,
    /// For the next command, as a server. Default: no limit but the machine's.
    pub command: Duration,
    /// For a reply, the rest of one, or the next part of a message. Default: no limit but the machine's.
    pub reply: Duration,
    /// For the reply to the end of a message. Default: no limit but the machine's.
    pub data_end: Duration,
    /// For the TLS handshake. Default: 30 s.
    pub tls: Duration,
    /// For a client to log in, as a server that requires it ([`requires_login`](crate::ServerProtocol::requires_login)): from
    /// the connection until the application calls [`logged_in`](crate::Context::logged_in), TLS included. Default: 60 s.
    pub login: Duration,
    /// The minimum rate of messages and of output.
    pub rate: MinimumRate,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            lookup: Duration::from_secs(15),
            connect: Duration::from_secs(30),
            proxy: Duration::from_secs(30),
            greeting: Duration::from_secs(5 * 60),
            command: Duration::MAX,
            reply: Duration::MAX,
            data_end: Duration::MAX,
            tls: Duration::from_secs(30),
            login: LOGIN,
            rate: MinimumRate::default(),
        }
    }
}

impl Deadlines {
    /// Returns the same limit for every wait, as for a program's `--timeout`.
    ///
    /// The exception is the reply to the end of a message, which gets ten minutes at least (RFC 5321 §4.5.3.2.6): a client
    /// that gives up earlier does not know whether the message was delivered, and sends it twice.
    #[must_use]
    pub fn uniform(limit: Duration) -> Self {
        Self {
            lookup: limit,
            connect: limit,
            proxy: limit,
            greeting: limit,
            command: Duration::MAX,
            reply: limit,
            data_end: limit.max(Duration::from_secs(600)),
            tls: limit,
            login: LOGIN,
            rate: MinimumRate { bytes: 1, per: limit },
        }
    }

    /// Returns the limits of RFC 5321 §4.5.3.2 for a client that delivers mail: the machine's own limit for each reply, and three
    /// minutes for a part of a message to be read (§4.5.3.2.5).
    #[must_use]
    pub fn for_delivery() -> Self {
        Self { rate: MinimumRate { bytes: 1, per: Duration::from_secs(3 * 60) }, ..Self::default() }
    }

    /// Returns how long this wait may last: the shorter of the machine's limit and the driver's. [`Duration::MAX`] if there
    /// is no limit.
    #[must_use]
    pub fn longest(&self, wait: Wait) -> Duration {
        wait.at_most(self.limit(wait.awaited)).after.unwrap_or(Duration::MAX)
    }

    /// Returns the driver's limit for this wait.
    #[must_use]
    pub const fn limit(&self, awaited: WaitFor) -> Duration {
        match awaited {
            WaitFor::Greeting => self.greeting,
            WaitFor::Command => self.command,
            WaitFor::Reply | WaitFor::Remainder | WaitFor::Data => self.reply,
            WaitFor::DataReply => self.data_end,
            WaitFor::TlsHandshake => self.tls,
            _ => Duration::MAX,
        }
    }
}
