//! SCRAM keys (RFC 5802), derived from each password that is set.

use crate::types::LoginKeys;
use proto_mail::sasl::{ScramHash, ScramKeys};

/// The iterations of new keys. RFC 7677 §4 requires at least 4096; these take some tens of milliseconds on a phone.
pub const ITERATIONS: u32 = 10_000;

/// The least iterations that clients accept, for tests.
pub(crate) const LEAST_ITERATIONS: u32 = 4096;

/// The length of a salt in bytes.
pub const SALT_LEN: usize = 16;

/// Returns the SCRAM keys of a password: SCRAM-SHA-256 and SCRAM-SHA-1, with [`ITERATIONS`]. Returns none for a password that
/// SASLprep forbids, which can still log in by PLAIN.
///
/// Every store derives these keys by default, so a server over it offers SCRAM.
pub fn derive(password: &[u8]) -> Vec<LoginKeys> {
    derive_with(password, ITERATIONS)
}

/// As [`derive`](fn@derive), with this number of iterations of the hash. RFC 7677 §4 requires at least 4,096, which clients check.
pub fn derive_with(password: &[u8], iterations: u32) -> Vec<LoginKeys> {
    let Ok(password) = std::str::from_utf8(password) else { return Vec::new() };
    let mut made = Vec::new();
    for hash in [ScramHash::Sha256, ScramHash::Sha1] {
        let mut salt = [0; SALT_LEN];
        if getrandom::fill(&mut salt).is_err() {
            return Vec::new();
        }
        if let Ok(keys) = ScramKeys::derive(hash, password, &salt, iterations) {
            made.push(LoginKeys { kind: kind(hash).into(), text: keys.to_text().expose().clone() });
        }
    }
    made
}

/// Returns the kind of the keys for this hash, by which [`Accounts::login_keys`](crate::Accounts::login_keys) finds them.
#[must_use]
pub const fn kind(hash: ScramHash) -> &'static str {
    match hash {
        ScramHash::Sha1 => "SCRAM-SHA-1",
        _ => "SCRAM-SHA-256",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_no_keys_from_a_password_that_scram_cannot_carry() {
        assert!(
            derive(b"\xff\xfe").is_empty()
                && derive(b"").is_empty()
                && derive("a\u{7}".as_bytes()).is_empty()
        );
        let kinds: Vec<_> = derive("g\u{f6}\u{f6}d".as_bytes()).into_iter().map(|keys| keys.kind).collect();
        assert_eq!(kinds, ["SCRAM-SHA-256", "SCRAM-SHA-1"]);
    }
}
