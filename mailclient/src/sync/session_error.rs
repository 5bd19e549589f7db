//! Errors of a session by their scope: one request, the session, or the run.

use crate::error::{Error, ErrorKind};

/// A failure to fetch something, by what it ends.
#[derive(Debug, Clone)]
pub(super) enum SessionError {
    /// Only the request failed. The session continues.
    Request(Error),
    /// The session must end.
    Session(Error),
    /// The run must end.
    Run(Error),
}

/// Decides what a failure ends.
pub(super) fn classify(error: Error) -> SessionError {
    match error.kind() {
        ErrorKind::Stopped => SessionError::Run(error),
        _ if error.is_command_refusal() => SessionError::Request(error),
        // An attacker may be on the connection.
        ErrorKind::Refused => SessionError::Run(error),
        _ => SessionError::Session(error),
    }
}
