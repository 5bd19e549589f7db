//! SCRAM keys: the store's, and decoys for unknown users.

use mailstore::Store;
use mailstore::scram_keys::{ITERATIONS, SALT_LEN, kind};
use proto_mail::Secret;
use proto_mail::sasl::{ScramHash, ScramKeys};

pub use mailstore::scram_keys::{derive, derive_with};

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

#[cfg(test)]
mod tests {
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
        let store = SqliteStore::open(directory.path()).unwrap();
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
}
