//! Encrypts and decrypts one secret.
//!
//! A sealed secret is a version byte, a random nonce of 24 bytes, and the ciphertext of XChaCha20-Poly1305 with its tag. The
//! associated data binds it to its account, its field and its key number. The plaintext is padded, so that its length does not show
//! that of a password.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use mailstore::{ClientAccountId, SealedSecret, SecretKeyRecord};
use proto_mail::Secret;

use super::error::AccountError;
use super::key::EncryptionKey;
use super::secret::{SECRET_LIMIT, SecretField};

/// The version of the format.
const VERSION: u8 = 1;

const NONCE_BYTES: usize = 24;

/// The padded length of a plaintext is a multiple of this.
const PADDING_BYTES: usize = 64;

/// A key and its number.
pub(super) struct Cipher<'k> {
    key: &'k EncryptionKey,
    pub(super) number: u32,
}

impl<'k> Cipher<'k> {
    pub(super) const fn new(key: &'k EncryptionKey, number: u32) -> Self {
        Self { key, number }
    }

    /// Encrypts a secret of an account.
    pub(super) fn seal(
        &self,
        account: ClientAccountId,
        field: SecretField,
        secret: &[u8],
    ) -> Result<SealedSecret, AccountError> {
        if secret.is_empty() || secret.len() > SECRET_LIMIT {
            return Err(AccountError::SecretLength(field));
        }
        let sealed = self.encrypt(account.0, field.name(), secret)?;
        Ok(SealedSecret { field: field.name().to_owned(), key_number: self.number, sealed })
    }

    /// Decrypts a secret of an account.
    pub(super) fn open(
        &self,
        account: ClientAccountId,
        field: SecretField,
        sealed: &SealedSecret,
    ) -> Result<Secret<Vec<u8>>, AccountError> {
        if sealed.key_number != self.number {
            return Err(AccountError::KeyMismatch);
        }
        self.decrypt(account.0, field.name(), &sealed.sealed).ok_or(AccountError::SecretDamaged(field))
    }

    /// Returns a record by which [`matches`](Self::matches) recognizes the key.
    pub(super) fn record(&self) -> Result<SecretKeyRecord, AccountError> {
        Ok(SecretKeyRecord { number: self.number, check: self.encrypt(0, CHECK_FIELD, CHECK_TEXT)? })
    }

    /// Returns whether the record is of this key.
    pub(super) fn matches(&self, record: &SecretKeyRecord) -> bool {
        let found = self.decrypt(0, CHECK_FIELD, &record.check);
        self.number == record.number && found.is_some_and(|found| found.expose() == CHECK_TEXT)
    }

    fn encrypt(&self, account: i64, field: &str, secret: &[u8]) -> Result<Vec<u8>, AccountError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| AccountError::Random)?;
        let padded = pad(secret);
        let aad = associated_data(account, field, self.number);
        let payload = Payload { msg: padded.expose(), aad: &aad };
        let cipher = XChaCha20Poly1305::new(self.key.expose().into());
        let text = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| AccountError::Random)?;
        Ok([&[VERSION], &nonce[..], &text].concat())
    }

    fn decrypt(&self, account: i64, field: &str, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        let rest = sealed.strip_prefix(&[VERSION])?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let aad = associated_data(account, field, self.number);
        let cipher = XChaCha20Poly1305::new(self.key.expose().into());
        let padded = cipher.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: &aad }).ok()?;
        unpad(&Secret::new(padded))
    }
}

const CHECK_FIELD: &str = "key check";
const CHECK_TEXT: &[u8] = b"the key in force";

/// Returns what binds a sealed secret to its place.
fn associated_data(account: i64, field: &str, key_number: u32) -> Vec<u8> {
    [b"mail account secret\0", &account.to_be_bytes()[..], &key_number.to_be_bytes(), field.as_bytes()]
        .concat()
}

/// Puts the length in 4 bytes before the secret, and zeros after it.
fn pad(secret: &[u8]) -> Secret<Vec<u8>> {
    let length = u32::try_from(secret.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut padded = Vec::with_capacity((length.len() + secret.len()).next_multiple_of(PADDING_BYTES));
    padded.extend_from_slice(&length);
    padded.extend_from_slice(secret);
    padded.resize(padded.len().next_multiple_of(PADDING_BYTES), 0);
    Secret::new(padded)
}

fn unpad(padded: &Secret<Vec<u8>>) -> Option<Secret<Vec<u8>>> {
    let (length, rest) = padded.expose().split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    Some(Secret::from(rest.get(..length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: ClientAccountId = ClientAccountId(7);

    fn key() -> EncryptionKey {
        EncryptionKey::generate().unwrap()
    }

    #[test]
    fn opens_what_it_sealed() {
        let key = key();
        let cipher = Cipher::new(&key, 3);
        for length in [1, 59, 60, 61, 200, SECRET_LIMIT] {
            let secret = vec![b'p'; length];
            let sealed = cipher.seal(ACCOUNT, SecretField::Password, &secret).unwrap();
            assert_eq!(cipher.open(ACCOUNT, SecretField::Password, &sealed).unwrap().expose(), &secret);
            assert!(sealed.sealed.len() <= mailstore::SEALED_SECRET_LIMIT);
        }
        for secret in [vec![], vec![b'x'; SECRET_LIMIT + 1]] {
            let outcome = cipher.seal(ACCOUNT, SecretField::AccessToken, &secret);
            assert!(matches!(outcome, Err(AccountError::SecretLength(SecretField::AccessToken))));
        }
    }

    #[test]
    fn sealed_secrets_differ_and_hide_the_length() {
        let key = key();
        let cipher = Cipher::new(&key, 1);
        let seal = |secret: &[u8]| cipher.seal(ACCOUNT, SecretField::Password, secret).unwrap().sealed;
        assert_ne!(seal(b"hunter2"), seal(b"hunter2"));
        assert_eq!(seal(b"x").len(), seal(b"correct horse battery staple").len());
    }

    #[test]
    fn a_secret_that_was_moved_or_changed_does_not_open() {
        let (key, other) = (key(), key());
        let cipher = Cipher::new(&key, 1);
        let sealed = cipher.seal(ACCOUNT, SecretField::RefreshToken, b"token").unwrap();
        let damaged = |outcome: Result<Secret<Vec<u8>>, AccountError>| {
            assert!(matches!(&outcome, Err(AccountError::SecretDamaged(_))), "{outcome:?}");
        };
        damaged(cipher.open(ClientAccountId(8), SecretField::RefreshToken, &sealed));
        damaged(cipher.open(ACCOUNT, SecretField::AccessToken, &sealed));
        damaged(Cipher::new(&other, 1).open(ACCOUNT, SecretField::RefreshToken, &sealed));
        let renumbered = SealedSecret { key_number: 2, ..sealed.clone() };
        damaged(Cipher::new(&key, 2).open(ACCOUNT, SecretField::RefreshToken, &renumbered));
        let outcome = cipher.open(ACCOUNT, SecretField::RefreshToken, &renumbered);
        assert!(matches!(outcome, Err(AccountError::KeyMismatch)));
        for at in 0..sealed.sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed.sealed[at] ^= 1 << bit;
                damaged(cipher.open(ACCOUNT, SecretField::RefreshToken, &changed));
            }
            let cut = SealedSecret { sealed: sealed.sealed[..at].to_vec(), ..sealed.clone() };
            damaged(cipher.open(ACCOUNT, SecretField::RefreshToken, &cut));
        }
    }

    #[test]
    fn recognizes_its_key() {
        let (key, other) = (key(), key());
        let record = Cipher::new(&key, 4).record().unwrap();
        assert!(Cipher::new(&key, 4).matches(&record));
        assert!(!Cipher::new(&other, 4).matches(&record) && !Cipher::new(&key, 5).matches(&record));
    }
}
