//! Accounts and passwords.
//!
//! An account has an Argon2id verifier (a PHC string) and the keys that a [`KeyMaker`] derived. A cache of verified
//! passwords holds keyed digests, which are useless outside this process, and no password.

use super::lock::lock;
use super::mailboxes;
use crate::callback::KeyMaker;
use crate::error::{Error, Result};
use crate::types::{Account, AccountId, LoginKeys, Quota, SpecialUse};
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Mutex;

/// The longest password, in bytes. A longer one costs time and adds no security.
const PASSWORD_LIMIT: usize = 1_024;

/// The most verified passwords in the cache.
const CACHE_LIMIT: usize = 1_024;

/// The longest account name, in bytes.
const ACCOUNT_NAME_LIMIT: usize = 255;

/// The verifier with which the password of an unknown account is compared. It costs as much as a real one and matches
/// no password.
const DUMMY_VERIFIER: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// An account as stored.
pub(super) struct StoredAccount {
    pub(super) account: Account,
    pub(super) verifier: String,
    /// Whether keys were derived from this password.
    pub(super) has_keys: bool,
}

/// The data that is stored instead of a password.
pub(super) struct PasswordRecord {
    verifier: String,
    keys: Vec<LoginKeys>,
}

impl PasswordRecord {
    pub(super) fn derive(password: &[u8], maker: Option<&KeyMaker>) -> Result<Self> {
        Ok(Self {
            verifier: make_verifier(password)?,
            keys: maker.map_or_else(Vec::new, |make| make(password)),
        })
    }
}

/// Verifies passwords, with a cache of verified ones.
pub(super) struct PasswordVerifier {
    key: [u8; 32],
    cache: Mutex<HashMap<[u8; 32], AccountId>>,
}

impl PasswordVerifier {
    pub(super) fn new() -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| Error::Crypto)?;
        Ok(Self { key, cache: Mutex::default() })
    }

    /// Returns the account if this password was verified before and is still correct.
    pub(super) fn recall(&self, stored: &StoredAccount, password: &[u8]) -> Option<AccountId> {
        if password.len() > PASSWORD_LIMIT {
            return None;
        }
        lock(&self.cache).get(&self.digest(&stored.verifier, password)).copied()
    }

    /// Returns the cache key of a verified password. It depends on the verifier, so a new password invalidates the old
    /// one.
    fn digest(&self, verifier: &str, password: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.key)
            .chain_update((verifier.len() as u64).to_le_bytes())
            .chain_update(verifier.as_bytes())
            .chain_update(password)
            .finalize()
            .into()
    }

    /// Verifies a password. Does the same work whether the account was found or not.
    pub(super) fn verify(&self, found: Option<&StoredAccount>, password: &[u8]) -> Result<Option<AccountId>> {
        if password.len() > PASSWORD_LIMIT {
            return Ok(None);
        }
        let (account, verifier) = match found {
            Some(stored) => (Some(stored.account.id), stored.verifier.as_str()),
            None => (None, DUMMY_VERIFIER),
        };
        let digest = self.digest(verifier, password);
        if let Some(known) = lock(&self.cache).get(&digest) {
            return Ok(Some(*known));
        }
        let hash = PasswordHash::new(verifier).map_err(|_| Error::Corrupt("a password verifier"))?;
        let right = matches_verifier(password, &hash).ok_or(Error::Corrupt("a password verifier"))?;
        let account = account.filter(|_| right);
        if let Some(account) = account {
            let mut cache = lock(&self.cache);
            if cache.len() >= CACHE_LIMIT {
                cache.clear();
            }
            cache.insert(digest, account);
        }
        Ok(account)
    }
}

thread_local! {
    /// The memory of Argon2, reused from one password to the next. If each verification allocated it, the allocator
    /// would soon hold many such blocks, and a client that guesses passwords could exhaust the memory.
    static ARGON2_MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Returns whether the password matches the verifier, with the verifier's own parameters. Returns `None` for an
/// incomplete verifier.
fn matches_verifier(password: &[u8], verifier: &PasswordHash) -> Option<bool> {
    let algorithm = Algorithm::try_from(verifier.algorithm.as_str()).ok()?;
    let version = Version::try_from(verifier.version?).ok()?;
    let params = Params::try_from(verifier).ok()?;
    let (salt, expected) = (verifier.salt.as_ref()?, verifier.hash.as_ref()?);
    let mut derived = [0; Output::MAX_LENGTH];
    let derived = derived.get_mut(..expected.as_bytes().len())?;
    #[cfg(test)]
    tests::RUNS.with(|runs| runs.set(runs.get() + 1));
    ARGON2_MEMORY.with_borrow_mut(|memory| {
        memory.resize(params.block_count(), Block::new());
        Argon2::new(algorithm, version, params)
            .hash_password_into_with_memory(password, salt, derived, memory.as_mut_slice())
            .ok()
    })?;
    // The comparison takes constant time.
    Some(Output::new(derived).ok()? == *expected)
}

/// Derives the verifier of a password.
fn make_verifier(password: &[u8]) -> Result<String> {
    if password.len() > PASSWORD_LIMIT {
        return Err(Error::Limit("the length of a password"));
    }
    let hash = argon2()?.hash_password(password).map_err(|_| Error::Crypto)?;
    Ok(hash.to_string())
}

/// Checks an account name.
pub(super) fn check_name(name: &str) -> Result<()> {
    match name {
        "" => Err(Error::InvalidName("an account name has at least one character")),
        _ if name.len() > ACCOUNT_NAME_LIMIT => Err(Error::Limit("the length of an account name")),
        _ if name.chars().any(char::is_control) => {
            Err(Error::InvalidName("an account name has no control characters"))
        }
        _ => Ok(()),
    }
}

pub(super) fn create(tx: &Connection, name: &str, derived: &PasswordRecord) -> Result<Account> {
    if find(tx, name)?.is_some() {
        return Err(Error::Exists("account"));
    }
    tx.execute(
        "INSERT INTO accounts (name, verifier, last_uid_validity) VALUES (?1, ?2, 0)",
        (name, &derived.verifier),
    )?;
    let id = AccountId(tx.last_insert_rowid());
    insert_keys(tx, id, &derived.keys)?;
    let quota = &Quota::UNLIMITED;
    mailboxes::create(tx, quota, id, "INBOX", None)?;
    mailboxes::subscribe(tx, quota, id, "INBOX")?;
    for special_use in SpecialUse::ALL {
        mailboxes::create(tx, quota, id, special_use.mailbox_name(), Some(special_use))?;
        mailboxes::subscribe(tx, quota, id, special_use.mailbox_name())?;
    }
    Ok(Account { id, name: name.to_owned() })
}

pub(super) fn list(tx: &rusqlite::Transaction<'_>) -> Result<Vec<Account>> {
    let mut statement = tx.prepare_cached("SELECT id, name FROM accounts ORDER BY name")?;
    let rows =
        statement.query_map([], |row| Ok(Account { id: AccountId(row.get(0)?), name: row.get(1)? }))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn find(tx: &Connection, name: &str) -> Result<Option<StoredAccount>> {
    let text = "SELECT id, name, verifier, EXISTS (SELECT 1 FROM login_keys WHERE account = id) \
                FROM accounts WHERE name = ?1";
    Ok(tx
        .prepare_cached(text)?
        .query_row([name], |row| {
            let account = Account { id: AccountId(row.get(0)?), name: row.get(1)? };
            Ok(StoredAccount { account, verifier: row.get(2)?, has_keys: row.get(3)? })
        })
        .optional()?)
}

/// Sets a new password and deletes the keys of the old one.
pub(super) fn replace(tx: &Connection, account: AccountId, derived: &PasswordRecord) -> Result<()> {
    if tx.execute("UPDATE accounts SET verifier = ?2 WHERE id = ?1", (account.0, &derived.verifier))? == 0 {
        return Err(Error::NotFound("account"));
    }
    tx.execute("DELETE FROM login_keys WHERE account = ?1", [account.0])?;
    insert_keys(tx, account, &derived.keys)
}

/// Stores keys of the password that `stored` was verified with, unless the password was changed since.
pub(super) fn add_keys(tx: &Connection, stored: &StoredAccount, keys: &[LoginKeys]) -> Result<()> {
    match find(tx, &stored.account.name)? {
        Some(now) if now.verifier == stored.verifier && !now.has_keys => {
            insert_keys(tx, now.account.id, keys)
        }
        _ => Ok(()),
    }
}

pub(super) fn login_keys(tx: &Connection, name: &str, kind: &str) -> Result<Option<String>> {
    let text = "SELECT keys FROM login_keys JOIN accounts ON id = account WHERE name = ?1 AND kind = ?2";
    Ok(tx.prepare_cached(text)?.query_row((name, kind), |row| row.get(0)).optional()?)
}

pub(super) fn store_secret(tx: &Connection) -> Result<Vec<u8>> {
    Ok(tx.query_row("SELECT secret FROM own_secret", [], |row| row.get(0))?)
}

fn insert_keys(tx: &Connection, account: AccountId, keys: &[LoginKeys]) -> Result<()> {
    let mut insert = tx.prepare_cached("INSERT INTO login_keys (account, kind, keys) VALUES (?1, ?2, ?3)")?;
    for keys in keys {
        insert.execute((account.0, keys.kind, &keys.text))?;
    }
    Ok(())
}

/// 19 MiB, two passes, one lane: the recommended minimum for Argon2id, which takes some tens of milliseconds.
fn argon2() -> Result<Argon2<'static>> {
    #[cfg(test)]
    tests::RUNS.with(|runs| runs.set(runs.get() + 1));
    let params = Params::new(19 * 1024, 2, 1, None).map_err(|_| Error::Crypto)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// How often Argon2 ran, or was configured, on this thread.
        pub(super) static RUNS: Cell<u32> = const { Cell::new(0) };
    }

    #[test]
    fn runs_argon2_once_for_each_rejected_login() {
        let stored = StoredAccount {
            account: Account { id: AccountId(1), name: "ann".to_owned() },
            verifier: make_verifier(b"secret").unwrap(),
            has_keys: true,
        };
        let verifier = PasswordVerifier::new().unwrap();
        let runs = |found: Option<&StoredAccount>, password: &[u8]| {
            let before = RUNS.get();
            assert_eq!(verifier.verify(found, password).unwrap(), None);
            RUNS.get() - before
        };
        for _ in 0..2 {
            assert_eq!(
                (runs(Some(&stored), b"wrong"), runs(None, b"wrong"), runs(None, b"secret")),
                (1, 1, 1)
            );
        }
        // No account can have a password that long.
        let long = [b'x'; PASSWORD_LIMIT + 1];
        assert_eq!((runs(Some(&stored), &long), runs(None, &long)), (0, 0));
        assert_eq!(verifier.verify(Some(&stored), b"secret").unwrap(), Some(AccountId(1)));
    }

    #[test]
    fn unknown_account_costs_as_much_as_a_known_one() {
        let real = make_verifier(b"secret").unwrap();
        let cost = |verifier: &str| verifier.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(cost(&real), cost(DUMMY_VERIFIER));
        assert_eq!(real.len(), DUMMY_VERIFIER.len());
        assert!(!real.contains("secret"));
        let verifier = PasswordVerifier::new().unwrap();
        assert_eq!(verifier.verify(None, b"anything").unwrap(), None);
    }

    #[test]
    fn verifies_passwords_correctly_with_reused_memory() {
        use argon2::password_hash::PasswordVerifier;
        for password in [&b"secret"[..], b"", b"another"] {
            let made = make_verifier(password).unwrap();
            let hash = PasswordHash::new(&made).unwrap();
            assert!(argon2().unwrap().verify_password(password, &hash).is_ok(), "the library agrees");
            assert_eq!(matches_verifier(password, &hash), Some(true));
            assert_eq!(matches_verifier(b"wrong", &hash), Some(false));
            assert_eq!(matches_verifier(password, &hash), Some(true));
        }
        for broken in ["$argon2id$v=19$m=19456,t=2,p=1", "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA"]
        {
            assert_eq!(matches_verifier(b"x", &PasswordHash::new(broken).unwrap()), None);
        }
    }

    #[test]
    fn checks_account_names_and_password_length() {
        assert!(check_name("ann@example.org").is_ok());
        for bad in ["", "a\r\nb", "a\0"] {
            assert!(matches!(check_name(bad), Err(Error::InvalidName(_))), "{bad:?}");
        }
        assert!(matches!(check_name(&"x".repeat(256)), Err(Error::Limit(_))));
        assert!(matches!(make_verifier(&[b'x'; 2000]), Err(Error::Limit(_))));
    }
}
