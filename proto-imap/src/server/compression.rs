//! Whether a session is compressed (COMPRESS, RFC 4978).

/// Whether the session is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Off,
    /// The server has agreed. The receive buffer is not marked yet.
    Agreed,
    /// The receive buffer is marked.
    On,
}
