//! Makes the file with the key of the secrets.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use mailclient::account::EncryptionKey;

use crate::account_access::KeyOptions;
use crate::command_error::{CommandError, ExitCode};
use crate::output::Output;

/// Returns the keys. Makes the key file first if no key exists and `create` is set.
pub(super) fn keys_or_new(
    options: &KeyOptions,
    create: bool,
    output: Output,
) -> Result<Vec<EncryptionKey>, CommandError> {
    let file = options.file().filter(|file| create && !file.exists());
    let (Some(file), None) = (file, EncryptionKey::from_environment()?) else { return options.read() };
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
            CommandError::new(ExitCode::Configuration, format!("{}: {error}", directory.display()))
        })?;
    }
    EncryptionKey::generate()?.create_file(&file)?;
    output.hint(format!("the key is in {}: keep a copy of it", file.display()));
    options.read()
}
