//! What the commands for IMAP require of a URL.

use mailclient::endpoint::{Protocol, Url};

use crate::command_error::{CommandError, ExitCode};

/// Checks that the URL is an IMAP URL.
pub(crate) fn require_imap(url: &Url) -> Result<(), CommandError> {
    if url.protocol == Protocol::Imap {
        return Ok(());
    }
    Err(CommandError::new(ExitCode::Usage, "this command needs an IMAP URL")
        .advise("use imaps://user@host or imap://user@host"))
}

/// Returns the error for a URL without a user.
pub(crate) fn missing_user() -> CommandError {
    CommandError::new(ExitCode::Usage, "the URL names no user").advise("use imaps://user@host")
}
