//! Limits: how much of anything a peer can make us hold, count or wait for. Each holds under every chunking.

/// The limits of one session. All lengths are in octets.
///
/// The defaults suit an Internet server; a client that trusts its server may raise them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest line, its line end included. SMTP commands have a lower limit of their own (RFC 5321 §4.5.3.1.4).
    pub line: usize,
    /// The largest literal that is kept in memory as a string (a mailbox name, a search text). Bodies are streamed
    /// and not counted here.
    pub literal: usize,
    /// The largest command or response, with all the literals that are kept.
    pub frame: usize,
    /// The largest message: APPEND, DATA, BDAT. What is larger is refused, or swallowed and then refused.
    pub message: u64,
    /// How deep lists may nest.
    pub nesting: usize,
    /// The most recipients of one mail transaction (RFC 5321 §4.5.3.1.8: at least 100).
    pub recipients: usize,
    /// The most lines of one SMTP reply.
    pub reply_lines: usize,
    /// So many errors of a peer end the session: the last is answered, too.
    pub errors: u32,
    /// So many failed authentications end the session.
    pub auth_attempts: u32,
    /// The most commands that a client may give without authenticating, where authentication is required.
    pub commands_before_auth: u32,
    /// How many octets may wait to be sent before no further input is looked at.
    pub output_high_water: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 64 * 1024,
            literal: 1024 * 1024,
            frame: 8 * 1024 * 1024,
            message: 2 * 1024 * 1024 * 1024,
            nesting: 32,
            recipients: 1000,
            reply_lines: 1024,
            errors: 20,
            auth_attempts: 3,
            commands_before_auth: 100,
            output_high_water: 256 * 1024,
        }
    }
}
