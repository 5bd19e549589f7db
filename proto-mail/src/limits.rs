//! Limits: how much a peer can make this side hold, count or wait for. They hold however the input is split.

/// The limits of one session. All sizes are in bytes.
///
/// The defaults suit a server on the Internet. A client that trusts its server may raise them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest line, its line end included. Default: 64 KiB. SMTP commands have a lower limit of their own
    /// (RFC 5321 §4.5.3.1.4).
    pub line: usize,
    /// The largest literal that is kept in memory as a string (a mailbox name, a search text). Default: 1 MiB. Message
    /// bodies are streamed and do not count.
    pub literal: usize,
    /// The largest command or response, with all literals that are kept in memory. Default: 8 MiB.
    pub frame: usize,
    /// The largest message that a server receives (APPEND, DATA, BDAT). SMTP announces it in SIZE. Default: 64 MiB. A larger
    /// one is refused before it is sent if the client announces its size, and otherwise after it was sent.
    pub message: u64,
    /// How deep lists may nest. Default: 32.
    pub nesting: usize,
    /// How deep the lists of an IMAP THREAD response may nest: how often a thread may branch on the way from its first
    /// message to any other. Default: 256.
    pub thread_nesting: usize,
    /// The most recipients of one mail transaction. Default: 1000 (RFC 5321 §4.5.3.1.8: at least 100).
    pub recipients: usize,
    /// The most lines of one SMTP reply. Default: 1024.
    pub reply_lines: usize,
    /// How many errors of the peer end the session; the last one is still answered. Default: 20.
    pub errors: u32,
    /// How many failed authentications end the session. Default: 3.
    pub auth_attempts: u32,
    /// The most commands that a client may send without authenticating, where authentication is required. Default: 100.
    pub commands_before_auth: u32,
    /// How much output may wait before no more input is processed. Default: 256 KiB.
    pub output_high_water: usize,
}

impl Limits {
    /// The default of [`thread_nesting`](Self::thread_nesting).
    pub const DEFAULT_THREAD_NESTING: usize = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 64 * 1024,
            literal: 1024 * 1024,
            frame: 8 * 1024 * 1024,
            message: 64 * 1024 * 1024,
            nesting: 32,
            thread_nesting: Self::DEFAULT_THREAD_NESTING,
            recipients: 1000,
            reply_lines: 1024,
            errors: 20,
            auth_attempts: 3,
            commands_before_auth: 100,
            output_high_water: 256 * 1024,
        }
    }
}
