//! The figures of a server, as the program gets them.

use io_common::WorkerStatistics;

use crate::service::Service;

/// The figures of a server. All but those of open sessions and waiting jobs count from the server's start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// The figures of each service, in the order of [`Service::ALL`].
    pub services: Vec<ServiceMetrics>,
    /// The logins of all services.
    pub logins: LoginMetrics,
    /// The messages that were stored, by the way they came.
    pub messages: [MessageMetrics; 3],
    /// The work of sessions on the store.
    pub jobs: WorkerStatistics,
}

/// The figures of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceMetrics {
    /// The service.
    pub service: Service,
    /// The sessions that are open now.
    pub open_sessions: u64,
    /// The sessions that were opened. A connection that was refused, or failed before its first command could be read, may
    /// not count.
    pub sessions: u64,
    /// The sessions that an error ended: a protocol error, a time limit, a lost connection.
    pub failed_sessions: u64,
    /// The commands that sessions passed to the server. Those that the protocol's machine answers by itself are left out.
    pub commands: u64,
    /// The refused commands: NO and BAD in IMAP, replies of 400 and above in SMTP and LMTP, where each refused recipient
    /// of a message counts. Failed logins are among them.
    pub refusals: u64,
    /// The finished TLS handshakes with TLS 1.2.
    pub tls12: u64,
    /// The finished TLS handshakes with TLS 1.3.
    pub tls13: u64,
}

/// The outcomes of logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginMetrics {
    /// The name and the proof were right.
    pub accepted: u64,
    /// The name or the proof was wrong, or the client left an exchange before its end.
    pub rejected: u64,
    /// The server could not answer: the store failed, or too many logins waited.
    pub unavailable: u64,
}

/// The messages that came one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageMetrics {
    /// The way they came.
    pub origin: MessageOrigin,
    /// The number of messages. A message for several recipients counts once.
    pub messages: u64,
    /// Their size in bytes, as they are stored.
    pub bytes: u64,
}

/// How a message came to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageOrigin {
    /// By submission.
    Submission,
    /// By LMTP.
    Lmtp,
    /// By APPEND or REPLACE.
    Append,
}

impl MessageOrigin {
    /// All origins, in the order of [`Metrics::messages`].
    pub const ALL: [Self; 3] = [Self::Submission, Self::Lmtp, Self::Append];

    /// Returns a name for labels: `submission`, `lmtp`, `append`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submission => "submission",
            Self::Lmtp => "lmtp",
            Self::Append => "append",
        }
    }
}
