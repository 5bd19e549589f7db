//! Passwords: their verifiers, and a cache of those that were verified.
//!
//! A store keeps an Argon2id verifier (a PHC string) and the keys that a [`KeyMaker`] derived. The cache holds keyed
//! digests, which are useless outside this process, and no password.

use crate::callback::KeyMaker;
use crate::error::{Error, Result};
use crate::lock::lock;
use crate::scram_keys;
use crate::types::{Account, AccountId, LoginKeys};
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The longest password, in bytes. A longer one costs time and adds no security.
const PASSWORD_LIMIT: usize = 1_024;

/// The most verified passwords in the cache.
const CACHE_LIMIT: usize = 1_024;

/// The longest account name, in bytes.
const ACCOUNT_NAME_LIMIT: usize = 255;

/// How much computation a password costs. Verifiers keep the cost that they were made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordCost {
    /// Argon2id with 19 MiB and two passes, the recommended minimum: some tens of milliseconds, and more than a second
    /// without optimisation (see the crate's first page).
    #[default]
    Standard,
    /// The least that Argon2id allows, some microseconds, and the least iterations for SCRAM. A stolen verifier is easy to
    /// guess, so this is for tests.
    Minimal,
}

impl PasswordCost {
    fn params(self) -> Result<Params> {
        let params = match self {
            Self::Standard => Params::new(19 * 1024, 2, 1, None),
            Self::Minimal => Params::new(Params::MIN_M_COST, 1, 1, None),
        };
        params.map_err(|_| Error::Crypto)
    }

    /// Returns the verifier with which the password of an unknown account is compared. It costs as much as a real one
    /// and matches no password.
    fn dummy_verifier(self) -> &'static str {
        match self {
            Self::Standard => {
                "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            }
            Self::Minimal => {
                "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            }
        }
    }
}

/// What is needed to verify the password of an account.
pub(crate) struct LoginRecord {
    pub(crate) account: Account,
    pub(crate) verifier: String,
    /// Whether keys were derived from this password.
    pub(crate) has_keys: bool,
}

/// The data that is stored instead of a password.
pub(crate) struct PasswordRecord {
    pub(crate) verifier: String,
    pub(crate) keys: Vec<LoginKeys>,
}

impl PasswordRecord {
    pub(crate) fn derive(password: &[u8], keys: &LoginKeySource, cost: PasswordCost) -> Result<Self> {
        Ok(Self { verifier: make_verifier(password, cost)?, keys: keys.derive(password, cost) })
    }
}

/// Where the login keys of a password come from.
pub(crate) enum LoginKeySource {
    /// [`scram_keys`](crate::scram_keys).
    Scram,
    /// A function of the caller.
    Own(Arc<KeyMaker>),
    /// There are none.
    Nothing,
}

impl LoginKeySource {
    pub(crate) const fn is_some(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    pub(crate) fn derive(&self, password: &[u8], cost: PasswordCost) -> Vec<LoginKeys> {
        match self {
            Self::Scram => match cost {
                PasswordCost::Standard => scram_keys::derive(password),
                PasswordCost::Minimal => scram_keys::derive_with(password, scram_keys::LEAST_ITERATIONS),
            },
            Self::Own(make) => make(password),
            Self::Nothing => Vec::new(),
        }
    }
}

/// Verifies passwords, with a cache of verified ones.
pub(crate) struct PasswordVerifier {
    key: [u8; 32],
    cost: PasswordCost,
    cache: Mutex<HashMap<[u8; 32], AccountId>>,
}

impl PasswordVerifier {
    pub(crate) fn new(cost: PasswordCost) -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| Error::Crypto)?;
        Ok(Self { key, cost, cache: Mutex::default() })
    }

    /// Returns the account if this password was verified before and is still correct.
    pub(crate) fn recall(&self, stored: &LoginRecord, password: &[u8]) -> Option<AccountId> {
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
    pub(crate) fn verify(&self, found: Option<&LoginRecord>, password: &[u8]) -> Result<Option<AccountId>> {
        if password.len() > PASSWORD_LIMIT {
            return Ok(None);
        }
        let (account, verifier) = match found {
            Some(stored) => (Some(stored.account.id), stored.verifier.as_str()),
            None => (None, self.cost.dummy_verifier()),
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
fn make_verifier(password: &[u8], cost: PasswordCost) -> Result<String> {
    if password.len() > PASSWORD_LIMIT {
        return Err(Error::Limit("the length of a password"));
    }
    let hash = argon2(cost)?.hash_password(password).map_err(|_| Error::Crypto)?;
    Ok(hash.to_string())
}

/// Checks an account name.
pub(crate) fn check_account_name(name: &str) -> Result<()> {
    match name {
        "" => Err(Error::InvalidName("an account name has at least one character")),
        _ if name.len() > ACCOUNT_NAME_LIMIT => Err(Error::Limit("the length of an account name")),
        _ if name.chars().any(char::is_control) => {
            Err(Error::InvalidName("an account name has no control characters"))
        }
        _ => Ok(()),
    }
}

fn argon2(cost: PasswordCost) -> Result<Argon2<'static>> {
    #[cfg(test)]
    tests::RUNS.with(|runs| runs.set(runs.get() + 1));
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        /// How often Argon2 ran, or was configured, on this thread.
        pub(crate) static RUNS: Cell<u32> = const { Cell::new(0) };
    }

    #[test]
    fn runs_argon2_once_for_each_rejected_login() {
        let stored = LoginRecord {
            account: Account { id: AccountId(1), name: "ann".to_owned() },
            verifier: make_verifier(b"secret", PasswordCost::Standard).unwrap(),
            has_keys: true,
        };
        let verifier = PasswordVerifier::new(PasswordCost::Standard).unwrap();
        let runs = |found: Option<&LoginRecord>, password: &[u8]| {
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
        for cost in [PasswordCost::Standard, PasswordCost::Minimal] {
            let (real, dummy) = (make_verifier(b"secret", cost).unwrap(), cost.dummy_verifier());
            let parameters = |verifier: &str| verifier.rsplitn(3, '$').last().map(str::to_owned);
            assert_eq!(parameters(&real), parameters(dummy));
            assert_eq!(real.len(), dummy.len());
            assert!(!real.contains("secret"));
            let verifier = PasswordVerifier::new(cost).unwrap();
            assert_eq!(verifier.verify(None, b"anything").unwrap(), None);
        }
    }

    #[test]
    fn verifies_passwords_correctly_with_reused_memory() {
        use argon2::password_hash::PasswordVerifier;
        for password in [&b"secret"[..], b"", b"another"] {
            let made = make_verifier(password, PasswordCost::Standard).unwrap();
            let hash = PasswordHash::new(&made).unwrap();
            assert!(
                argon2(PasswordCost::Standard).unwrap().verify_password(password, &hash).is_ok(),
                "the library agrees"
            );
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
        assert!(check_account_name("ann@example.org").is_ok());
        for bad in ["", "a\r\nb", "a\0"] {
            assert!(matches!(check_account_name(bad), Err(Error::InvalidName(_))), "{bad:?}");
        }
        assert!(matches!(check_account_name(&"x".repeat(256)), Err(Error::Limit(_))));
        assert!(matches!(make_verifier(&[b'x'; 2000], PasswordCost::Standard), Err(Error::Limit(_))));
    }
}
