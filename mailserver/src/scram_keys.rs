//! SCRAM keys: derived from each new password, and decoys for unknown users.

use mailstore::{LoginKeys, Store};
use proto_mail::Secret;
use proto_mail::sasl::{ScramHash, ScramKeys};

/// The iterations of new keys. RFC 7677 §4 requires at least 4096; these take some tens of milliseconds on a phone.
const ITERATIONS: u32 = 10_000;

/// The length of a salt in bytes.
const SALT_LEN: usize = 16;

/// Returns the SCRAM keys of a password. Returns none for a password that SASLprep forbids, which can still log in by
/// PLAIN.
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

/// Returns the keys of a user, or a decoy. The decoy is computed in any case, so that timing does not reveal which.
pub(super) fn keys_or_decoy(
    store: &dyn Store,
    hash: ScramHash,
    username: &str,
) -> mailstore::Result<ScramKeys> {
    let secret = Secret::new(store.store_secret()?);
    let found = store.login_keys(username, kind(hash))?;
    // Names are case-insensitive, and so must be their decoys.
    let decoy = ScramKeys::decoy(hash, &secret, &username.to_ascii_lowercase(), ITERATIONS, SALT_LEN);
    let real = found.and_then(|text| {
        let text = Secret::new(text);
        ScramKeys::from_text(text.expose())
            .inspect_err(|error| tracing::error!(%error, "cannot read keys in the store"))
            .ok()
    });
    Ok(real.unwrap_or(decoy))
}

pub(super) const fn kind(hash: ScramHash) -> &'static str {
    match hash {
        ScramHash::Sha1 => "SCRAM-SHA-1",
        _ => "SCRAM-SHA-256",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mailstore::{Accounts, SqliteStore};

    use super::*;

    /// Returns the salt and the iterations: the part of the keys that a client sees before it logs in.
    fn seen(store: &dyn Store, name: &str) -> String {
        let text = keys_or_decoy(store, ScramHash::Sha256, name).unwrap().to_text();
        text.expose().rsplit_once('$').unwrap().0.to_owned()
    }

    #[test]
    fn scram_keys_do_not_reveal_which_accounts_exist() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap().with_key_maker(Arc::new(derive));
        store.create_account("ann", b"a password").unwrap();
        assert!(store.login_keys("ann", "SCRAM-SHA-1").unwrap().unwrap().starts_with("SCRAM-SHA-1$10000:"));
        for (name, written_otherwise) in [("ann", "ANN"), ("bob", "Bob")] {
            let shown = seen(&store, name);
            assert!(shown.starts_with("SCRAM-SHA-256$10000:") && shown.len() == 44, "{shown}");
            assert_eq!(shown, seen(&store, name), "the same keys again");
            assert_eq!(shown, seen(&store, written_otherwise));
        }
        assert_ne!(seen(&store, "ann"), seen(&store, "bob"));
        let bob = seen(&store, "bob");
        drop(store);
        assert_eq!(bob, seen(&SqliteStore::open(directory.path()).unwrap(), "bob"), "after a restart");
    }

    #[test]
    fn derives_no_keys_from_a_password_that_scram_cannot_carry() {
        assert!(
            derive(b"\xff\xfe").is_empty()
                && derive(b"").is_empty()
                && derive("a\u{7}".as_bytes()).is_empty()
        );
        assert_eq!(derive(b"good").len(), 2);
    }
}
