//! Text that the peer sends.

use alloc::string::String;

use super::SaslError;

/// The longest reason for a failure that is kept, in characters.
const MAX_REASON: usize = 4096;

/// Decodes UTF-8, which the mechanisms require for names and passwords.
pub(super) fn text(bytes: &[u8]) -> Result<String, SaslError> {
    core::str::from_utf8(bytes).map(String::from).map_err(|_| SaslError::Malformed)
}

/// Makes a peer's text safe for a terminal: no control characters, at most [`MAX_REASON`] characters.
pub(super) fn readable(words: &str) -> String {
    words.chars().filter(|char| !char.is_control()).take(MAX_REASON).collect()
}
