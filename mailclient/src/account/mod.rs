//! Accounts of a mail client: settings in a store, and secrets that are encrypted there.
//!
//! [`AccountStore`] keeps the accounts. It encrypts every secret with an [`EncryptionKey`] (XChaCha20-Poly1305). Without a key
//! it stores and reads no secret, so that an account can neither be synced nor send. [`AccountForm`] checks what a user has
//! entered, and reports the errors of all fields at once.

mod address;
mod credentials;
#[cfg(feature = "discovery")]
pub mod discovery;
mod error;
mod field_error;
mod form;
mod key;
mod seal;
mod secret;
mod settings;
mod store;
#[cfg(test)]
mod store_tests;

pub use credentials::AccountCredentials;
pub use error::{AccountError, KeyProblem};
pub use field_error::{FieldError, InvalidFields};
pub use form::{AccountForm, ServerForm};
pub use key::EncryptionKey;
pub use mailstore::ClientAccountId as AccountId;
pub use secret::{KEY_BYTES, KEY_VARIABLE, SECRET_LIMIT, SecretField};
pub use settings::{
    Account, AccountSettings, AccountState, AuthMode, IDENTITY_LIMIT, Identity, OAuthProvider,
    ServerSettings, SyncReport, SyncStatus,
};
pub use store::AccountStore;
