//! The interface to accounts: who may log in.

use crate::error::{Error, Result};
use crate::types::{Account, AccountId};
use std::sync::OnceLock;

/// The accounts of a store. All methods block.
///
/// Three methods are required: they suffice where another system keeps the accounts, such as a directory or an
/// application. The defaults of the others say that accounts can't be changed here and that there are no login keys.
pub trait Accounts: Send + Sync {
    /// Returns all accounts, ordered by name.
    fn accounts(&self) -> Result<Vec<Account>>;

    /// Returns the account with this name, or `None`. Names are compared without regard to ASCII case.
    fn account(&self, name: &str) -> Result<Option<Account>>;

    /// Returns the account with this identifier. The default looks through all of them.
    ///
    /// # Errors
    /// `NotFound`.
    fn account_by_id(&self, account: AccountId) -> Result<Account> {
        let found = self.accounts()?.into_iter().find(|found| found.id == account);
        found.ok_or(Error::NotFound("account"))
    }

    /// Returns the account if the password is correct, and `None` otherwise. An unknown name should take as long as a
    /// wrong password. The stores of this crate need tens of milliseconds of computation, and much less for a correct
    /// password that was verified before.
    fn verify_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>>;

    /// Returns the account if this password was verified before and is still correct. `None` says nothing about the
    /// password: call [`verify_password`](Self::verify_password) then. This costs almost nothing, so a server can log
    /// an account's owner in while many guesses wait to be verified.
    fn verify_cached_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        let _ = (name, password);
        Ok(None)
    }

    /// Creates an account with INBOX and a subscribed mailbox for each [`SpecialUse`](crate::SpecialUse). The stores of
    /// this crate keep a verifier of the password (Argon2id) and the keys that a [`KeyMaker`](crate::KeyMaker) derives,
    /// never the password. Account names have 1 to 255 bytes. A password has at most 1,024 bytes.
    ///
    /// # Errors
    /// `Exists`, `InvalidName`; `Limit` for a name or password that is too long; `Refused` if accounts are not created
    /// here.
    fn create_account(&self, name: &str, password: &[u8]) -> Result<Account> {
        let _ = (name, password);
        Err(Error::Refused("accounts can't be created here"))
    }

    /// Replaces the password of an account, and the keys that were derived from the old one.
    ///
    /// # Errors
    /// `NotFound`; `Limit` for a password of more than 1,024 bytes; `Refused` if passwords are not changed here.
    fn set_password(&self, account: AccountId, password: &[u8]) -> Result<()> {
        let _ = (account, password);
        Err(Error::Refused("passwords can't be changed here"))
    }

    /// Returns the keys of this kind that were derived from the account's password, or `None`. They do not suffice to
    /// log in, but they let an attacker guess the password offline and impersonate this server.
    fn login_keys(&self, name: &str, kind: &str) -> Result<Option<String>> {
        let _ = (name, kind);
        Ok(None)
    }

    /// Returns whether [`login_keys`](Self::login_keys) returns keys for accounts that exist. Without keys a server can't
    /// offer mechanisms that keep the password secret, such as SCRAM. The default is no.
    fn has_login_keys(&self) -> bool {
        false
    }

    /// Returns 32 random bytes that were created once and never change. A server derives its answers about accounts
    /// that do not exist from them, so that these answers stay the same. The default changes with each process.
    fn store_secret(&self) -> Result<Vec<u8>> {
        static SECRET: OnceLock<[u8; 32]> = OnceLock::new();
        if let Some(secret) = SECRET.get() {
            return Ok(secret.to_vec());
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|_| Error::Crypto)?;
        Ok(SECRET.get_or_init(|| random).to_vec())
    }
}
