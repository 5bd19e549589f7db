//! The one user that servers' applications know, and their answers about every user.
//!
//! This module knows mechanisms and no protocol.

use std::sync::LazyLock;

use proto_mail::sasl::{MIN_ITERATIONS, ScramHash, ScramKeys};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthRequest, AuthVerdict, Secret};

use crate::invariants::PASSWORD;

/// The salt of the user's keys.
pub const SALT: &[u8; 16] = b"a salt of theirs";

/// Accepts: gives the keys of [`PASSWORD`] if the mechanism asks for keys.
#[must_use]
pub fn accepted(request: &AuthRequest) -> AuthVerdict {
    match request.question() {
        AuthQuestion::Keys { hash, .. } => AuthVerdict::Keys(Box::new(keys(*hash))),
        _ => AuthVerdict::Accept,
    }
}

/// Rejects: gives decoy keys if the mechanism asks for keys.
#[must_use]
pub fn rejected(request: &AuthRequest) -> AuthVerdict {
    match request.question() {
        AuthQuestion::Keys { hash, username } => {
            let secret = Secret::new(b"of this server".to_vec());
            let decoy = ScramKeys::decoy(*hash, &secret, username, MIN_ITERATIONS, SALT.len());
            AuthVerdict::Keys(Box::new(decoy))
        }
        _ => AuthVerdict::Reject,
    }
}

/// The keys of [`PASSWORD`]. Derived once, since that takes longer than a whole conversation.
///
/// # Panics
/// Never: the text is a constant.
#[must_use]
#[expect(clippy::expect_used, reason = "the text is a constant")]
pub fn keys(hash: ScramHash) -> ScramKeys {
    static SHA_1: LazyLock<Secret<String>> = LazyLock::new(|| derived(ScramHash::Sha1));
    static SHA_256: LazyLock<Secret<String>> = LazyLock::new(|| derived(ScramHash::Sha256));
    let text = if hash == ScramHash::Sha1 { &SHA_1 } else { &SHA_256 };
    ScramKeys::from_text(text.expose()).expect("encoded keys parse")
}

#[expect(clippy::expect_used, reason = "the password can be prepared")]
fn derived(hash: ScramHash) -> Secret<String> {
    ScramKeys::derive(hash, PASSWORD, SALT, MIN_ITERATIONS).expect("the password can be prepared").to_text()
}
