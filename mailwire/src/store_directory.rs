//! The directory of a store for fetched mail.

use std::path::Path;

use crate::command_error::{CommandError, ExitCode};

/// Checks that a directory is not that of a `mailwire serve`, whose accounts fetched mail would mix with.
pub(crate) fn check_not_served(directory: &Path) -> Result<(), CommandError> {
    if !directory.join("serve.lock").exists() {
        return Ok(());
    }
    Err(CommandError::new(
        ExitCode::Configuration,
        format!("{} is the directory of a mailwire serve and holds its accounts", directory.display()),
    )
    .advise("use another directory with --into; the server's directory is unchanged"))
}

/// Returns whether the directory has a store.
pub(crate) fn has_store(directory: &Path) -> bool {
    directory.join("mail.db").exists()
}
