//! How a runner ends an SMTP session.

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// With QUIT.
    Quit,
    /// By closing the connection.
    Close,
}
