//! Whether a session is compressed (COMPRESS, RFC 4978).

/// Whether the session is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Off,
    /// COMPRESS was sent.
    Requested,
    /// The server has agreed. Its reply is still in the receive buffer.
    Agreed,
    /// The driver has to take the compressed bytes.
    Handover,
    On,
}
