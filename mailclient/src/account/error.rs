//! Why an operation on accounts failed.

use std::fmt;

use super::field_error::InvalidFields;
use super::secret::{KEY_BYTES, KEY_VARIABLE, SecretField};
use crate::error::{Error, ErrorKind};

/// Why an operation on accounts failed. Holds no secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum AccountError {
    /// There is no key, so no secret can be stored or read.
    KeyMissing,
    /// What was given is not a key.
    KeyInvalid(KeyProblem),
    /// The stored secrets are encrypted with another key.
    KeyMismatch,
    /// A secret does not decrypt: it was changed, or belongs to another account or field.
    SecretDamaged(SecretField),
    /// The account has no such secret.
    SecretMissing(SecretField),
    /// The secret is empty or has more than [`SECRET_LIMIT`](super::SECRET_LIMIT) bytes.
    SecretLength(SecretField),
    /// There is no account with this name.
    NotFound(String),
    /// There is already an account with this name.
    Exists(String),
    /// Fields of the account are invalid.
    Invalid(InvalidFields),
    /// The stored settings of the account cannot be read.
    SettingsDamaged(String),
    /// The account has no server for this protocol: `"imap"` or `"smtp"`.
    NoServer(&'static str),
    /// The random number generator failed.
    Random,
    /// The store failed.
    Store(mailstore::Error),
}

/// Why a text or a file is not a key. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyProblem {
    /// It is not base64 (RFC 4648 §4).
    Alphabet,
    /// It has this many bytes instead of [`KEY_BYTES`].
    Length(usize),
    /// Other users can read or change the file: its path and its mode.
    Permissions(String, u32),
    /// The file cannot be read or written: its path and the reason.
    File(String, String),
}

impl AccountError {
    /// Returns the error's code, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyMissing => "email_encryption_key_missing",
            Self::KeyInvalid(_) => "email_encryption_key_invalid",
            Self::KeyMismatch => "email_encryption_key_mismatch",
            Self::SecretDamaged(_) => "secret_damaged",
            Self::SecretMissing(SecretField::Password) => "password_missing",
            Self::SecretMissing(_) => "oauth_token_missing",
            Self::SecretLength(_) => "secret_invalid",
            Self::NotFound(_) => "account_not_found",
            Self::Exists(_) => "account_exists",
            Self::Invalid(_) => "account_invalid",
            Self::SettingsDamaged(_) => "account_damaged",
            Self::NoServer(_) => "server_not_configured",
            Self::Random => "random_failed",
            Self::Store(_) => "store_failed",
        }
    }

    /// Returns whether a retry of the same call may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_retryable())
    }
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyMissing => f.write_str("there is no key to encrypt the secrets of accounts"),
            Self::KeyInvalid(problem) => {
                write!(f, "the key for the secrets of accounts is invalid: {problem}")
            }
            Self::KeyMismatch => f.write_str("the secrets of the accounts are encrypted with another key"),
            Self::SecretDamaged(field) => {
                write!(f, "the stored {field} does not decrypt: it was changed or belongs to another account")
            }
            Self::SecretMissing(field) => write!(f, "the account has no {field}"),
            Self::SecretLength(field) => write!(f, "the {field} is empty or too long"),
            Self::NotFound(name) => write!(f, "there is no account {name:?}"),
            Self::Exists(name) => write!(f, "there is already an account {name:?}"),
            Self::Invalid(fields) => write!(f, "{fields}"),
            Self::SettingsDamaged(name) => write!(f, "the settings of the account {name:?} cannot be read"),
            Self::NoServer(protocol) => write!(f, "the account has no {protocol} server"),
            Self::Random => f.write_str("the random number generator failed"),
            Self::Store(error) => write!(f, "the store: {error}"),
        }
    }
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alphabet => f.write_str("it is not base64"),
            Self::Length(length) => write!(f, "it has {length} bytes instead of {KEY_BYTES}"),
            Self::Permissions(path, mode) => write!(f, "{path}: other users can read it (mode {mode:04o})"),
            Self::File(path, why) => write!(f, "{path}: {why}"),
        }
    }
}

impl std::error::Error for AccountError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<mailstore::Error> for AccountError {
    fn from(error: mailstore::Error) -> Self {
        Self::Store(error)
    }
}

impl From<AccountError> for Error {
    fn from(error: AccountError) -> Self {
        let kind = match &error {
            AccountError::Invalid(_) | AccountError::SecretLength(_) => ErrorKind::InvalidInput,
            AccountError::NotFound(_) | AccountError::Exists(_) => ErrorKind::Usage,
            AccountError::Store(_) | AccountError::SettingsDamaged(_) | AccountError::Random => {
                ErrorKind::Unavailable
            }
            AccountError::KeyMissing
            | AccountError::KeyInvalid(_)
            | AccountError::KeyMismatch
            | AccountError::SecretDamaged(_)
            | AccountError::SecretMissing(_)
            | AccountError::NoServer(_) => ErrorKind::Configuration,
        };
        let advice = match &error {
            AccountError::KeyMissing => Some(format!("set {KEY_VARIABLE} to 32 random bytes in base64")),
            AccountError::KeyInvalid(KeyProblem::Permissions(path, _)) => Some(format!(
                "chmod 600 {path}; if other users have had access to this machine, use a new key"
            )),
            AccountError::KeyInvalid(_) => {
                Some(format!("set {KEY_VARIABLE} to 32 random bytes in base64 (44 characters)"))
            }
            AccountError::KeyMismatch => Some("use the key with which they were stored".to_owned()),
            AccountError::SecretMissing(SecretField::Password) => Some("set the password again".to_owned()),
            AccountError::SecretMissing(_) => Some("connect the account again".to_owned()),
            AccountError::SecretDamaged(_) => {
                Some("enter the secret again, and find out what has changed the database".to_owned())
            }
            _ => None,
        };
        let converted = Self::new(kind, error.to_string()).with_code(error.code());
        match advice {
            Some(advice) => converted.advise(advice),
            None => converted,
        }
    }
}
