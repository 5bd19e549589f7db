//! Base64 as in SASL lines (RFC 4648 §4): strict, and wiped on drop because it may hold a secret.

use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::SaslError;
use crate::Secret;

/// Encodes a message as base64. The empty message is an empty line; only an initial response writes it as `=`.
#[must_use]
pub fn encode_base64(message: &[u8]) -> Secret<Vec<u8>> {
    let mut line = alloc::vec![0; base64::encoded_len(message.len(), true).unwrap_or(0)];
    // The length is right by construction. If it were not, the line would be empty and the authentication fail.
    let written = STANDARD.encode_slice(message, &mut line).unwrap_or(0);
    line.truncate(written);
    Secret::new(line)
}

/// Decodes a line of base64. Padding is required; spaces and stray bits are rejected.
///
/// # Errors
/// [`SaslError::Malformed`] if it is not base64.
pub fn decode_base64(line: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
    STANDARD.decode(line).map(Secret::new).map_err(|_| SaslError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_and_decodes_the_examples_of_rfc_4648() {
        for (plain, line) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(encode_base64(plain.as_bytes()).expose(), line.as_bytes());
            assert_eq!(decode_base64(line.as_bytes()).unwrap().expose(), plain.as_bytes());
        }
        for bad in ["Zg", "Zg=", "Zh==", "Z g=", "Zg==\r", "!!!!", "="] {
            assert!(decode_base64(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
