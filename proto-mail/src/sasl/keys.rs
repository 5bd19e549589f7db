//! What a server stores of a password for SCRAM (RFC 5802 §3): salt, iteration count, StoredKey, ServerKey.
//!
//! The keys do not suffice to log in, and each guess at the password costs the iterations. They must still be protected:
//! ServerKey suffices to impersonate the server.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::hash::ScramHash;
use subtle::ConstantTimeEq;

use super::{SaslError, decode_base64, encode_base64};
use crate::Secret;

/// The lowest iteration count that is accepted (RFC 7677 §4).
pub const MIN_ITERATIONS: u32 = 4096;
/// The highest iteration count that is accepted: about a second of computation. A higher count would let a server block
/// its clients. Under a fuzzer it is a hundredth of that.
pub const MAX_ITERATIONS: u32 = if cfg!(fuzzing) { 10_000 } else { 1_000_000 };

/// The longest password, user name or salt of SCRAM, in bytes.
pub(super) const MAX_LEN: usize = 1024;

/// The lengths that a stored salt may have, in bytes.
const SALT_LEN: core::ops::RangeInclusive<usize> = 1..=64;

/// The SCRAM keys of a password: enough to verify it, and not enough to log in with.
pub struct ScramKeys {
    pub(super) hash: ScramHash,
    pub(super) iterations: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Secret<Vec<u8>>,
    pub(super) server_key: Secret<Vec<u8>>,
    /// The user does not exist: every proof is rejected.
    pub(super) decoy: bool,
}

impl ScramKeys {
    /// Derives the keys of a password. This takes about a microsecond per iteration.
    ///
    /// # Errors
    /// [`SaslError::UnencodableCredentials`] if SASLprep rejects the password (RFC 4013), or it is empty or longer than
    /// 1024 bytes; [`SaslError::IterationCount`] outside of [`MIN_ITERATIONS`]`..=`[`MAX_ITERATIONS`];
    /// [`SaslError::Malformed`] if the salt is empty or longer than 64 bytes. Use 16 random bytes.
    pub fn derive(hash: ScramHash, password: &str, salt: &[u8], iterations: u32) -> Result<Self, SaslError> {
        check(iterations, salt)?;
        let password = prepare(password)?;
        let salted = hash.salted(password.expose().as_bytes(), salt, iterations);
        let client_key = hash.hmac(salted.expose(), &[b"Client Key"]);
        Ok(Self {
            hash,
            iterations,
            salt: salt.into(),
            stored_key: hash.digest(client_key.expose()),
            server_key: hash.hmac(salted.expose(), &[b"Server Key"]),
            decoy: false,
        })
    }

    /// Creates keys for a user that does not exist, which no password matches. The same name always gets the same salt,
    /// so that a client cannot tell decoys from real keys by asking twice.
    ///
    /// `secret` is a random value that the server keeps as long as its accounts. `iterations` and `salt_len` (in bytes, at
    /// most 20) must be those of the server's real users.
    #[must_use]
    pub fn decoy(
        hash: ScramHash,
        secret: &Secret<Vec<u8>>,
        username: &str,
        iterations: u32,
        salt_len: usize,
    ) -> Self {
        let name = username.as_bytes();
        let mut salt = hash.hmac(secret.expose(), &[b"salt", name]).expose().clone();
        salt.truncate(salt_len.max(1));
        Self {
            hash,
            iterations: iterations.clamp(MIN_ITERATIONS, MAX_ITERATIONS),
            salt,
            stored_key: hash.hmac(secret.expose(), &[b"stored", name]),
            server_key: hash.hmac(secret.expose(), &[b"server", name]),
            decoy: true,
        }
    }

    /// Returns true if these are the keys of this password; never for a [`decoy`](Self::decoy). Costs as much as
    /// [`derive`](Self::derive) whatever the result, and compares in constant time.
    ///
    /// # Errors
    /// As for [`derive`](Self::derive).
    pub fn verify_password(&self, password: &str) -> Result<bool, SaslError> {
        let derived = Self::derive(self.hash, password, &self.salt, self.iterations)?;
        let same = derived.stored_key.expose().ct_eq(self.stored_key.expose());
        Ok(bool::from(same) && !self.decoy)
    }

    /// Returns the hash of the keys.
    #[must_use]
    pub const fn hash(&self) -> ScramHash {
        self.hash
    }

    /// Returns the keys as text: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, the last three in base64. Other
    /// servers store them in the same form.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        let base64 = |bytes: &[u8]| {
            let line = encode_base64(bytes);
            Secret::new(String::from_utf8_lossy(line.expose()).into_owned())
        };
        Secret::new(alloc::format!(
            "{}${}:{}${}:{}",
            scheme(self.hash),
            self.iterations,
            base64(&self.salt).expose(),
            base64(self.stored_key.expose()).expose(),
            base64(self.server_key.expose()).expose()
        ))
    }

    /// Parses the text that [`to_text`](Self::to_text) returns.
    ///
    /// # Errors
    /// [`SaslError::Malformed`] if it is not of that form, [`SaslError::IterationCount`] as in [`derive`](Self::derive).
    pub fn from_text(text: &str) -> Result<Self, SaslError> {
        let mut parts = text.split('$');
        let (Some(name), Some(how), Some(keys), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SaslError::Malformed);
        };
        let hash = [ScramHash::Sha1, ScramHash::Sha256]
            .into_iter()
            .find(|hash| scheme(*hash) == name)
            .ok_or(SaslError::Malformed)?;
        let (iterations, salt) = how.split_once(':').ok_or(SaslError::Malformed)?;
        let (stored, server) = keys.split_once(':').ok_or(SaslError::Malformed)?;
        let iterations = number(iterations)?;
        let salt = decode_base64(salt.as_bytes())?.expose().clone();
        check(iterations, &salt)?;
        let (stored_key, server_key) = (decode_base64(stored.as_bytes())?, decode_base64(server.as_bytes())?);
        if [&stored_key, &server_key].iter().any(|key| key.expose().len() != hash.output_len()) {
            return Err(SaslError::Malformed);
        }
        Ok(Self { hash, iterations, salt, stored_key, server_key, decoy: false })
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// `posit-number`
pub(super) fn number(text: &str) -> Result<u32, SaslError> {
    if text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) || text.is_empty() {
        return Err(SaslError::Malformed);
    }
    // A number that does not fit is too large.
    text.parse().map_err(|_| SaslError::IterationCount)
}

/// Prepares a user name or password with SASLprep (RFC 4013). The result is wiped on drop. If it is not ASCII, the
/// `stringprep` crate builds it in a growing string: parts of it may remain in freed memory, which cannot be wiped.
pub(super) fn prepare(text: &str) -> Result<Secret<String>, SaslError> {
    if text.len() > MAX_LEN {
        return Err(SaslError::UnencodableCredentials);
    }
    match saslprep(text)? {
        prepared if prepared.is_empty() => Err(SaslError::UnencodableCredentials),
        prepared => Ok(Secret::new(prepared.into_owned())),
    }
}

#[cfg(feature = "saslprep")]
fn saslprep(text: &str) -> Result<Cow<'_, str>, SaslError> {
    stringprep::saslprep(text).map_err(|_| SaslError::UnencodableCredentials)
}

/// Without SASLprep's tables only printable ASCII is accepted, which SASLprep does not change. Anything else might be
/// another password for a server that has the tables.
#[cfg(not(feature = "saslprep"))]
fn saslprep(text: &str) -> Result<Cow<'_, str>, SaslError> {
    let good = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    if good { Ok(Cow::Borrowed(text)) } else { Err(SaslError::UnencodableCredentials) }
}

const fn scheme(hash: ScramHash) -> &'static str {
    match hash {
        ScramHash::Sha1 => "SCRAM-SHA-1",
        ScramHash::Sha256 => "SCRAM-SHA-256",
    }
}

fn check(iterations: u32, salt: &[u8]) -> Result<(), SaslError> {
    if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
        return Err(SaslError::IterationCount);
    }
    if SALT_LEN.contains(&salt.len()) { Ok(()) } else { Err(SaslError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of RFC 7677's example as other servers store them.
    const STORED: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn keys_have_the_text_form_of_other_servers() {
        let salt = decode_base64(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::derive(ScramHash::Sha256, "pencil", salt.expose(), 4096).unwrap();
        assert_eq!(keys.to_text().expose(), STORED);
        assert_eq!(ScramKeys::from_text(STORED).unwrap().to_text().expose(), STORED);
        assert!(!alloc::format!("{keys:?}").contains("WG5d"));
    }

    #[test]
    fn rejects_malformed_key_texts() {
        let bad = [
            STORED.replace("SHA-256", "SHA-512"),
            STORED.replace("4096", "0"),
            STORED.replace("4096", "+4096"),
            STORED.replace("4096", "4095"),
            STORED.replace("4096", "1000001"),
            STORED.replace("4096", "99999999999"),
            STORED.replace("SHA-256", "SHA-1"),
            STORED.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            STORED.replace("2dU=", ""),
            alloc::format!("{STORED}$"),
            String::new(),
        ];
        for text in bad {
            assert!(ScramKeys::from_text(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_decoy_always_has_the_same_salt_for_a_name() {
        let secret = Secret::new(alloc::vec![7; 32]);
        let decoy = |name: &str| ScramKeys::decoy(ScramHash::Sha256, &secret, name, 4096, 16);
        assert_eq!(decoy("bob").salt, decoy("bob").salt);
        assert_ne!(decoy("bob").salt, decoy("eve").salt);
        assert_eq!((decoy("bob").salt.len(), decoy("bob").iterations), (16, 4096));
    }

    #[test]
    #[cfg(not(feature = "saslprep"))]
    fn without_tables_only_ascii_is_accepted() {
        for good in ["user", "USER", " ~", "p ncil"] {
            assert_eq!(prepare(good).unwrap().expose(), good);
        }
        for bad in ["\u{ad}x", "j\u{fc}rgen", "\u{2168}", "\u{7f}", "\u{7}", "", "a\0"] {
            assert_eq!(prepare(bad).err(), Some(SaslError::UnencodableCredentials), "{bad:?}");
            let keys = ScramKeys::derive(ScramHash::Sha256, bad, b"salt", MIN_ITERATIONS);
            assert_eq!(keys.err(), Some(SaslError::UnencodableCredentials), "{bad:?}");
        }
    }

    #[test]
    #[cfg(feature = "saslprep")]
    fn prepares_the_examples_of_rfc_4013() {
        let prepared = |text| prepare(text).map(|text| text.expose().clone());
        assert_eq!(prepared("I\u{ad}X").unwrap(), "IX");
        assert_eq!(prepared("user").unwrap(), "user");
        assert_eq!(prepared("USER").unwrap(), "USER");
        assert_eq!(prepared("\u{aa}").unwrap(), "a");
        assert_eq!(prepared("\u{2168}").unwrap(), "IX");
        for bad in ["\u{7}", "\u{627}1", "", "\u{ad}"] {
            assert_eq!(prepared(bad), Err(SaslError::UnencodableCredentials), "{bad:?}");
        }
    }
}
